"""Random crops of scenes with the objects in them, turned and flipped, as batches of a detector."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import shapely
import torch

from rsscale.errors import RecipeError
from rsscale.learn.model import given
from rsscale.learners.base import Balance
from rsscale.learners.checkpoint import generator_state
from rsscale.learners.chips import Days
from rsscale.model.outputs import ObjectKind
from rsscale.model.spec import ModelSpec
from rsscale.network.normalize import window_batch
from rsscale.object_scenes.cuts import cut_objects, has_deep_part, turned, turned_image
from rsscale.object_scenes.scenes import OUTSIDE, ObjectScenes, Scene
from rsscale.object_scenes.targets import Target, targets_of

STEP = 32
"""Crops are multiples of so many pixels: pyramids of features halve an image five times."""
MOST_ZOOM = 8
"""How much crops can be enlarged."""
# Less than this says little of what it is a part of, px.
_LEAST_DEPTH = 16
# How many crops lie anywhere: ground without objects is to be known too.
_ANYWHERE = 0.2
_TRIES = 10
# How often a crop loses one of its time windows, so that a cloudy season is nothing new.
_WINDOW_DROPOUT = 0.1
# Standard deviation of the gain and of the shift of each band, in deviations of its values:
# light and haze differ from image to image.
_JITTER = 0.1


@dataclass(frozen=True)
class CropRules:
    """How crops are cut.

    Attributes
    ----------
    size : int
        Width of a crop, px.
    visible : float
        Share of an object from which on a crop that cuts it keeps it.
    balance : str
        ``"sampling"``: classes are drawn by the square root of their objects, so that rare ones
        come more often than they occur; else each object as often as any other.
    halo : int
        Of the model's windows, px: of an object that is wider, any part is kept that reaches so far
        from each edge that cuts it, at least 16 px.
    zoom : float
        Crops are enlarged by up to so much, and so are their objects: for those that are larger on
        the map than what is labelled. 1 for not.
    jitter : float
        How much the brightness of bands is changed, in standard deviations; 0 for not.
    """

    size: int = 256
    visible: float = 0.5
    balance: Balance = "sampling"
    halo: int = 64
    zoom: float = 1.0
    jitter: float = _JITTER

    def __post_init__(self) -> None:
        if self.size < STEP or not 0 < self.visible <= 1:
            raise RecipeError(
                f"crops are {self.size} px wide and keep objects of which {self.visible:g} is "
                f"seen; expected at least {STEP} px, and a share above 0 up to 1"
            )
        if not 1 <= self.zoom <= MOST_ZOOM:
            raise RecipeError(
                f"crops are enlarged by up to {self.zoom:g}; expected 1, for not, to {MOST_ZOOM}"
            )

    @property
    def depth(self) -> int:
        """How far a part reaches from the edges that cut it, px, that is kept of large objects."""
        return max(self.halo, _LEAST_DEPTH)


class ObjectCrops:
    """Random crops of the training's places; of all other pixels nothing is seen.

    Parameters
    ----------
    scenes : ObjectScenes
    places : int array
        Those that are learnt from.
    spec : ModelSpec
    rules : CropRules
    seed : int
    kind : str
        What is learnt of objects: their boxes, outlines or turned boxes.
    """

    def __init__(
        self,
        scenes: ObjectScenes,
        places: npt.NDArray[np.int64],
        spec: ModelSpec,
        rules: CropRules,
        seed: int,
        *,
        kind: ObjectKind = "boxes",
    ) -> None:
        self.scenes, self.places, self.spec, self.rules = scenes, places, spec, rules
        self.kind = kind
        self.random = np.random.default_rng(seed)
        smallest = min(min(scene.shape) for scene in scenes.scenes)
        self.size = min(rules.size, smallest) // STEP * STEP
        if not self.size:
            raise RecipeError(
                f"an image is {smallest} px wide or high; at least {STEP} px are needed"
            )
        inside = np.isin(scenes.groups, places)
        of_centres = zip(scenes.of_scene[inside], scenes.positions[inside], strict=True)
        self._chosen = np.array([*of_centres, *self._parts()], np.int64).reshape(-1, 2)
        self._classes = np.array(
            [scenes.scenes[scene].classes[position] for scene, position in self._chosen], np.int64
        )
        counts = np.bincount(self._classes, minlength=len(spec.classes))
        weights = np.sqrt(counts) if rules.balance == "sampling" else counts.astype(np.float64)
        self._chance = weights / max(weights.sum(), 1e-9)
        areas = np.array([s.shape[0] * s.shape[1] for s in scenes.scenes], np.float64)
        self._chance_of_scene = areas / areas.sum()

    def _parts(self) -> Iterator[tuple[int, int]]:
        """Scene and position of objects with their centre elsewhere of which a deep part is seen.

        Large ones mostly, that stand on lines between places: else few crops would hold them.
        """
        for number, scene in enumerate(self.scenes.scenes):
            sides = scene.bounds[:, 2:] - scene.bounds[:, :2]
            is_large = (sides > self.rules.depth).any(axis=1)
            elsewhere = ~np.isin(scene.places_of_objects, self.places)
            for position in np.flatnonzero(is_large & elsewhere).tolist():
                box, (height, width) = scene.bounds[position], scene.shape
                x0, y0 = np.clip(np.floor(box[:2]), 0, (width, height)).astype(int).tolist()
                x1, y1 = np.clip(np.ceil(box[2:]), 0, (width, height)).astype(int).tolist()
                seen = self._seen(scene, slice(y0, y1), slice(x0, x1))
                if has_deep_part(box - (x0, y0, x0, y0), seen, self.rules.depth):
                    yield number, position

    def batches(self, count: int, device: torch.device) -> ObjectBatches:
        """What a detector is given, and its targets, again and again."""
        return ObjectBatches(self, count, device)

    def draw(self, count: int) -> tuple[torch.Tensor, list[Target], Days]:
        """Images ``(N, C, size, size)``, the targets of each, and days."""
        drawn = [self._crop() for _ in range(count)]
        images = torch.from_numpy(np.stack([image for image, *_ in drawn]))
        scenes = [scene for *_, scene in drawn]
        days = {
            name: np.concatenate([np.atleast_2d(scene.days[name]) for scene in scenes])
            for name in scenes[0].days
        }
        return images, [target for _, target, _ in drawn], days

    def _crop(self) -> tuple[npt.NDArray[np.float32], Target, Scene]:
        size = self._size()
        scene, rows, cols = self._window(size)
        image = scene.read(rows, cols)
        seen = self._seen(scene, rows, cols) & np.isfinite(image).any(axis=0)
        near = _near(scene, rows, cols)
        moved = shapely.transform(scene.objects[near], lambda xy: xy - (cols.start, rows.start))
        if size != self.size:
            image, seen = enlarged(image, self.size), enlarged(seen, self.size)
            moved = shapely.transform(moved, lambda xy: xy * (self.size / size))
        cut = cut_objects(np.asarray(moved, object), seen, self.rules.visible, self.rules.depth)
        image[:, ~cut.seen] = np.nan
        self._drop_a_window(image)
        self._change_brightness(image)
        turns, flip = int(self.random.integers(4)), bool(self.random.integers(2))
        boxes, outlines = turned(cut.boxes, cut.outlines, self.size, turns, flip=flip)
        classes = scene.classes[near[cut.which]]
        target = targets_of(boxes, outlines, classes, self.size, self.kind)
        return turned_image(image, turns, flip=flip), target, scene

    def _size(self) -> int:
        """Pixels of a scene along a crop: fewer where it is enlarged."""
        if self.rules.zoom == 1:
            return self.size
        # As many of each size as of its double.
        larger = float(self.rules.zoom ** self.random.random())
        return max(round(self.size / larger), _LEAST_DEPTH)

    def _window(self, size: int) -> tuple[Scene, slice, slice]:
        """A window of a scene: around an object, or sometimes anywhere."""
        if self.random.random() < _ANYWHERE or not len(self._chosen):
            for _ in range(_TRIES):
                number = int(self.random.choice(len(self.scenes.scenes), p=self._chance_of_scene))
                scene = self.scenes.scenes[number]
                rows, cols = (self._start(0, length, length, size) for length in scene.shape)
                if self._seen(scene, rows, cols).mean() > 0.25 or not len(self._chosen):
                    return scene, rows, cols
        number = int(self.random.choice(len(self._chance), p=self._chance))
        of_class = self._chosen[self._classes == number]
        of_scene, position = of_class[self.random.integers(len(of_class))].tolist()
        scene = self.scenes.scenes[of_scene]
        x0, y0, x1, y1 = scene.bounds[position]
        rows, cols = (
            self._start(low, high, length, size)
            for low, high, length in zip((y0, x0), (y1, x1), scene.shape, strict=True)
        )
        return scene, rows, cols

    def _start(self, low: float, high: float, length: int, size: int) -> slice:
        """A span of a crop's width that holds the middle of ``low`` to ``high`` somewhere.

        Of what is longer than the crop it holds any point, so that its ends are seen too.
        """
        if high - low >= length:
            start = int(self.random.integers(length - size + 1))
        else:
            point = (low + high) / 2
            if high - low > size:
                point = low + (high - low) * self.random.random()
            start = int(point) - int(self.random.integers(size))
            start = min(max(start, 0), length - size)
        return slice(start, start + size)

    def _seen(self, scene: Scene, rows: slice, cols: slice) -> npt.NDArray[np.bool_]:
        places = scene.places.window(rows, cols)
        return np.asarray((places != OUTSIDE) & np.isin(places, self.places))

    def _drop_a_window(self, image: npt.NDArray[np.float32]) -> None:
        first = 0
        for network_input in self.spec.inputs:
            if network_input.length > 1 and self.random.random() < _WINDOW_DROPOUT:
                start = first + int(self.random.integers(network_input.length)) * len(
                    network_input.bands
                )
                image[start : start + len(network_input.bands)] = np.nan
            first += network_input.channels

    def _change_brightness(self, image: npt.NDArray[np.float32]) -> None:
        """Another gain and offset for each band, the same at all its times."""
        if not self.rules.jitter:
            return
        first = 0
        for network_input in self.spec.inputs:
            bands = len(network_input.bands)
            gain, shift = self.rules.jitter * self.random.standard_normal((2, bands, 1, 1))
            mean = np.asarray(network_input.mean, np.float64).reshape(-1, 1, 1)
            std = np.asarray(network_input.std, np.float64).reshape(-1, 1, 1)
            gain, shift = np.exp(gain), mean + shift * std
            for time in range(network_input.length):
                start = first + time * bands
                part = image[start : start + bands]
                image[start : start + bands] = (part - mean) * gain + shift
            first += network_input.channels


def enlarged(image: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """An image ``(..., h, h)`` with its nearest pixels repeated to ``(..., size, size)``."""
    index = (2 * np.arange(size) + 1) * image.shape[-1] // (2 * size)
    return np.ascontiguousarray(image[..., index[:, None], index])


def _near(scene: Scene, rows: slice, cols: slice) -> npt.NDArray[np.intp]:
    """Which objects of a scene reach into a window."""
    x0, y0, x1, y1 = scene.bounds.T
    return np.flatnonzero(
        (x1 > cols.start) & (x0 < cols.stop) & (y1 > rows.start) & (y0 < rows.stop)
    )


class ObjectBatches:
    """Batches of random crops without end; they go on from where a checkpoint was made.

    Parameters
    ----------
    crops : ObjectCrops
    count : int
        Of a batch.
    device : torch.device
    """

    def __init__(self, crops: ObjectCrops, count: int, device: torch.device) -> None:
        self._crops, self._count, self._device = crops, count, device

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[Any, torch.Tensor]:
        images, targets, days = self._crops.draw(self._count)
        windows = given(window_batch(images.to(self._device), days, self._crops.spec))
        moved = [{name: value.to(self._device) for name, value in t.items()} for t in targets]
        return (windows, moved), torch.zeros(0)

    def state(self) -> dict[str, Any]:
        """See :class:`~rsscale.learners.checkpoint.Resumable`."""
        return generator_state(self._crops.random)

    def restore(self, state: dict[str, Any]) -> None:
        """See :class:`~rsscale.learners.checkpoint.Resumable`."""
        self._crops.random.bit_generator.state = state
