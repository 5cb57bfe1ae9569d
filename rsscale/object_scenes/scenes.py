"""Images with their objects, and the place that each pixel is in: what a detector learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.geo.sample_groups import GroupShapes, some_of
from rsscale.learners.base import Task
from rsscale.learners.chips import Images, InputBands, ObservedWindows
from rsscale.reference.unused_labels import UnusedLabels

OUTSIDE = -1
"""The place of a pixel around which not every object is labelled, or nothing was seen."""
# Scenes that shares of windows are counted of, and pixels along a side of each.
_MOST_COUNTED, _MOST_ALONG = 500, 512
Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


class Places(Protocol):
    """Protocol of the places of an image's pixels."""

    def window(self, rows: slice, cols: slice) -> Ids:
        """The place of each pixel of a window; :data:`OUTSIDE` of those that are in none."""


@dataclass(frozen=True, eq=False)
class OnePlace:
    """An image of which the labelled pixels are in one place, such as a chip.

    Attributes
    ----------
    number : int
        Of the place.
    labelled : bool array (H, W)
        Where every object is labelled and something was seen.
    """

    number: int
    labelled: npt.NDArray[np.bool_]

    def window(self, rows: slice, cols: slice) -> Ids:
        """See :class:`Places`."""
        return np.where(self.labelled[rows, cols], np.int64(self.number), np.int64(OUTSIDE))


@dataclass(frozen=True, eq=False)
class BlockPlaces:
    """An image that is cut into places, squares of some pixels.

    Attributes
    ----------
    block : int
        Width of a place, px.
    shape : (int, int)
        Rows and columns of the image.
    first : int
        Number of the first place: images don't share places.
    labelled : bool array (H, W), optional
        Where every object is labelled; everywhere when left out.
    """

    block: int
    shape: tuple[int, int]
    first: int = 0
    labelled: npt.NDArray[np.bool_] | None = None

    def window(self, rows: slice, cols: slice) -> Ids:
        """See :class:`Places`."""
        row, col = (
            np.arange(*part.indices(length), dtype=np.int64) // self.block
            for part, length in zip((rows, cols), self.shape, strict=True)
        )
        numbers: Ids = self.first + row[:, None] * self.across + col
        if self.labelled is None:
            return numbers
        return np.where(self.labelled[rows, cols], numbers, np.int64(OUTSIDE))

    @property
    def across(self) -> int:
        """Places beside each other."""
        return -(-self.shape[1] // self.block)

    @property
    def count(self) -> int:
        """Places of the image."""
        return -(-self.shape[0] // self.block) * self.across

    def boxes(self) -> dict[int, tuple[int, int, int, int]]:
        """``x0, y0, x1, y1`` of each place in pixels of the image."""
        height, width = self.shape
        boxes = {}
        for number in range(self.count):
            row, col = (part * self.block for part in divmod(number, self.across))
            east, south = min(col + self.block, width), min(row + self.block, height)
            boxes[self.first + number] = (col, row, east, south)
        return boxes


@dataclass(frozen=True, eq=False)
class Scene:
    """An image with its objects.

    Attributes
    ----------
    images : Images
        Of which ``images[number]`` is this one, ``(C, H, W)`` float32, NaN where nothing was seen.
    number : int
    shape : (int, int)
        Rows and columns.
    places : Places
    objects : array of shapely.Geometry (n,)
        Outlines in pixels of the image: ``x`` counts columns, ``y`` rows, a pixel of column 3
        covers ``x`` from 3 to 4. Also those that reach into the image from outside.
    classes : int64 array (n,)
        Number of the class of each, from 0.
    rows : int64 array (n,)
        Row of the labels that each is of.
    origin : (int, int)
        Row and column of the first pixel on the grid.
    days : mapping of input name to float32 array (1, T)
    """

    images: Images
    number: int
    shape: tuple[int, int]
    places: Places
    objects: npt.NDArray[np.object_]
    classes: Ids
    rows: Ids
    origin: tuple[int, int] = (0, 0)
    days: Mapping[str, Floats] = field(default_factory=dict)

    def read(self, rows: slice, cols: slice) -> Floats:
        """A window ``(C, h, w)`` of the image, a copy."""
        return np.array(self.images[self.number, :, rows, cols])

    @cached_property
    def bounds(self) -> npt.NDArray[np.float64]:
        """``x0, y0, x1, y1`` ``(n, 4)`` of the objects."""
        return np.asarray(shapely.bounds(self.objects), np.float64).reshape(-1, 4)

    @cached_property
    def places_of_objects(self) -> Ids:
        """The place ``(n,)`` that the centre of each object lies in."""
        return self.place_of(self.bounds)

    def place_of(self, bounds: npt.NDArray[np.float64]) -> Ids:
        """The place ``(n,)`` that the centre of each box lies in."""
        centre = np.floor([bounds[:, [0, 2]].mean(axis=1), bounds[:, [1, 3]].mean(axis=1)])
        places = np.full(len(bounds), OUTSIDE, np.int64)
        height, width = self.shape
        for index, (col, row) in enumerate(centre.T.astype(np.int64).tolist()):
            if 0 <= row < height and 0 <= col < width:
                places[index] = self.places.window(slice(row, row + 1), slice(col, col + 1))[0, 0]
        return places


@dataclass(frozen=True, eq=False)
class ObjectScenes:
    """All scenes of a training; objects are its samples.

    Attributes
    ----------
    scenes : tuple of Scene
    unused : UnusedLabels
        Objects that are not learnt from, by class and reason.
    notes : tuple of str
        What else is to be said of the labels, a line each.
    places : GroupShapes, optional
        Where the places lie.
    """

    scenes: tuple[Scene, ...]
    unused: UnusedLabels = field(default_factory=UnusedLabels)
    notes: tuple[str, ...] = ()
    places: GroupShapes | None = None
    _of: tuple[npt.NDArray[Any], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        parts: list[list[Ids]] = [[], [], [], []]
        for number, scene in enumerate(self.scenes):
            groups = scene.places_of_objects
            inside = np.flatnonzero(groups != OUTSIDE)
            of_scene = (np.full(len(inside), number), inside, groups[inside], scene.classes[inside])
            for part, values in zip(parts, of_scene, strict=True):
                part.append(np.asarray(values, np.int64))
        joined = tuple(np.concatenate([np.zeros(0, np.int64), *part]) for part in parts)
        object.__setattr__(self, "_of", joined)

    def __len__(self) -> int:
        return len(self.groups)

    @property
    def of_scene(self) -> Ids:
        """Number of the scene ``(N,)`` in which each object has its centre."""
        return self._of[0]

    @property
    def positions(self) -> Ids:
        """Number ``(N,)`` of each object in its scene."""
        return self._of[1]

    @property
    def groups(self) -> Ids:
        """The place of each object ``(N,)``: that of its centre."""
        return self._of[2]

    @property
    def classes(self) -> Ids:
        """Number of the class of each object ``(N,)``."""
        return self._of[3]

    def counts(self, task: Task) -> Ids:
        """One ``(N, K)`` in the column of each object's class."""
        return np.eye(len(task.classes), dtype=np.int64)[self.classes]

    def named(self, task: Task, places: Ids) -> dict[str, int]:
        """Objects of each class that have their centre in some places."""
        inside = self.classes[np.isin(self.groups, places)]
        numbers = np.bincount(inside, minlength=len(task.classes))
        return {name: int(n) for name, n in zip(task.names, numbers, strict=True)}

    def by_place(self, task: Task) -> dict[int, dict[str, int]]:
        """Objects of each class in each place that has one, or is known to have none."""
        known = {*self.groups.tolist(), *(self.places.shapes if self.places else ())}
        return {place: self.named(task, np.array([place])) for place in sorted(known)}

    def observed(self, inputs: Sequence[InputBands]) -> dict[str, dict[str, float]]:
        """Share of the labelled pixels that each time window of each input has values of.

        Of many scenes some, drawn at random, are looked at, and of large ones each second, third …
        pixel; series have no windows, and are left out.
        """
        counter = ObservedWindows(inputs)
        for number in some_of(len(self.scenes), _MOST_COUNTED).tolist():
            scene = self.scenes[number]
            rows, cols = (slice(None, None, -(-size // _MOST_ALONG)) for size in scene.shape)
            counter.add(scene.read(rows, cols)[:, scene.places.window(rows, cols) != OUTSIDE])
        return counter.shares()


def scene_objects(
    shapes: npt.NDArray[np.object_], classes: Sequence[int] | Ids, rows: Sequence[int] | Ids
) -> tuple[npt.NDArray[np.object_], Ids, Ids]:
    """Objects as arrays of their types, for a :class:`Scene`."""
    return (
        np.asarray(shapes, object).reshape(-1),
        np.asarray(classes, np.int64),
        np.asarray(rows, np.int64),
    )
