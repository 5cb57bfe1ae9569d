"""Labelled chips: checked, cut into random crops, and split by place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rsscale.errors import RecipeError
from rsscale.layers import NODATA
from rsscale.learn.architectures import MAX_DEPTH
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import ModelInput
from rsscale.model.spec import ModelSpec

Days = Mapping[str, npt.NDArray[np.float32]]
"""Days of the year by the name of the input: ``(T,)`` of all chips, or ``(N, T)`` of each."""

UNLABELLED = -1
"""The target that :func:`to_targets` gives for label 255."""
MULTIPLE = 2 ** (MAX_DEPTH - 1)
"""Crops and padded chips are multiples of this many pixels, which every network takes."""
_CROP = 96
# How often a crop loses one of its time windows, so that a cloudy season is nothing new.
_WINDOW_DROPOUT = 0.1


@dataclass(frozen=True)
class InputBands:
    """An input of the model to be: its name, bands, and time windows or observations at most."""

    name: str
    bands: tuple[str, ...]
    times: tuple[str, ...]
    series: int = 0

    @property
    def length(self) -> int:
        """Time windows, or observations at most."""
        return self.series or len(self.times)

    @property
    def channels(self) -> int:
        """Time windows times bands."""
        return self.length * len(self.bands)


@dataclass(frozen=True)
class Chips:
    """Labelled images.

    Attributes
    ----------
    images : float32 array (N, C, H, W)
        In the composite's units, NaN where nothing was seen; channels input by input, time by
        time, band by band.
    labels : uint8 array (N, H, W)
        Class values; 255 is unlabelled.
    groups : int array (N,)
        The spatial block of each chip: validation takes whole blocks.
    left_out : tuple of str
        Labels that are in no chip: how many, of which class, and why.
    days : mapping of input name to float32 array (T,) or (N, T)
        Day of the year of each time window, or of each chip's observations, 0 for blanks; for
        networks that take days.
    """

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    groups: npt.NDArray[np.int64]
    left_out: tuple[str, ...] = ()
    days: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        images, labels, groups = (a.shape for a in (self.images, self.labels, self.groups))
        if len(images) != 4 or labels != (images[0], *images[2:]) or groups != images[:1]:
            raise RecipeError(
                f"chips have images {images}, labels {labels} and groups {groups}; "
                "expected (N, C, H, W), (N, H, W) and (N,)"
            )

    @property
    def seen(self) -> Chips:
        """The same without labels where nothing was seen at any time: nothing to learn there."""
        blind = ~np.isfinite(self.images).any(axis=1)
        return replace(self, labels=np.where(blind, np.uint8(NODATA), self.labels))

    def subset(self, keep: npt.NDArray[np.bool_]) -> Chips:
        """Some of the chips."""
        images, labels, groups = self.images[keep], self.labels[keep], self.groups[keep]
        return replace(self, images=images, labels=labels, groups=groups, days=self.days_of(keep))

    def days_of(self, which: npt.NDArray[Any]) -> dict[str, npt.NDArray[np.float32]]:
        """Days of some of the chips, where each has its own; the same as before of time windows."""
        return {name: d[which] if d.ndim == 2 else d for name, d in self.days.items()}


class Crops:
    """Random crops around labelled pixels, rare classes more often than they occur.

    A class is drawn with a probability that grows with the square root of its pixels, then one
    of its pixels, then a crop that holds the pixel somewhere; so no crop is without labels.
    """

    def __init__(self, chips: Chips, spec: ModelSpec, seed: int) -> None:
        self.spec, self.chips = spec, chips
        self.images = chips.images
        self.targets = to_targets(chips.labels, spec)
        self.random = np.random.default_rng(seed)
        self.size = min(_CROP, *chips.images.shape[-2:]) // MULTIPLE * MULTIPLE
        # Flat indices: eight bytes a labelled pixel, and there may be a hundred million.
        self.pixels = [np.flatnonzero(self.targets == k) for k in range(len(spec.classes))]
        weight = np.sqrt([len(p) for p in self.pixels])
        self.chance = weight / weight.sum()
        self.times = [(i.length, len(i.bands)) for i in spec.inputs]

    def draw(self, count: int) -> tuple[torch.Tensor, torch.Tensor, Days]:
        """``(N, C, H, W)`` images, ``(N, H, W)`` class indices, -1 where unlabelled, and days."""
        drawn = [self._one() for _ in range(count)]
        images, targets = (np.stack([crop[k] for crop in drawn]) for k in (0, 1))
        days = self.chips.days_of(np.array([crop[2] for crop in drawn]))
        return torch.from_numpy(images), torch.from_numpy(targets).long(), days

    def _one(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any], int]:
        pixels = self.pixels[self.random.choice(len(self.pixels), p=self.chance)]
        pixel = pixels[self.random.integers(len(pixels))]
        chip, row, col = np.unravel_index(pixel, self.targets.shape)
        rows, cols = (
            self._span(center, length)
            for center, length in zip((row, col), self.images.shape[-2:], strict=True)
        )
        image = self.images[chip, :, rows, cols].copy()
        target = self.targets[chip, rows, cols]
        self._drop_a_window(image)
        turns, flip = int(self.random.integers(4)), bool(self.random.integers(2))
        image, target = np.rot90(image, turns, (1, 2)), np.rot90(target, turns)
        if flip:
            image, target = image[..., ::-1], target[..., ::-1]
        return np.ascontiguousarray(image), np.ascontiguousarray(target), int(chip)

    def _span(self, center: int, length: int) -> slice:
        start = int(center) - int(self.random.integers(self.size))
        start = min(max(start, 0), length - self.size)
        return slice(start, start + self.size)

    def _drop_a_window(self, image: npt.NDArray[np.float32]) -> None:
        first = 0
        for times, bands in self.times:
            if times > 1 and self.random.random() < _WINDOW_DROPOUT:
                start = first + int(self.random.integers(times)) * bands
                image[start : start + bands] = np.nan
            first += times * bands


def to_targets(labels: npt.NDArray[np.uint8], spec: ModelSpec) -> npt.NDArray[np.int16]:
    """Class values to output channels; 255 to -1."""
    table = np.full(256, UNLABELLED, np.int16)
    for index, land_class in enumerate(spec.classes):
        table[land_class.value] = index
    return table[labels]


def with_statistics(
    chips: Chips, inputs: Sequence[InputBands], takes: tuple[str, ...] = ()
) -> list[ModelInput]:
    """Inputs with mean and standard deviation of each band over all valid pixels and times."""
    found, first = [], 0
    for input_bands in inputs:
        mean, std = [], []
        for index, band in enumerate(
            input_bands.bands
        ):  # by band: a float64 copy of all is too much
            last = first + input_bands.channels
            values = chips.images[:, first + index : last : len(input_bands.bands)]
            values = values[np.isfinite(values)]
            if not len(values):
                raise RecipeError(
                    f"band {band!r} of input {input_bands.name!r} has no value under the labels; "
                    "leave it out, or check its dates and mask"
                )
            mean.append(_rounded(values.mean(dtype=np.float64)))
            std.append(_rounded(max(values.std(dtype=np.float64), 1e-6)))
        found.append(
            ModelInput(
                input_bands.name,
                input_bands.bands,
                input_bands.times,
                tuple(mean),
                tuple(std),
                input_bands.series,
                takes,
            )
        )
        first += input_bands.channels
    return found


def _rounded(value: float) -> float:
    """Rounded to six digits, for readable contracts."""
    return float(f"{value:.6g}")


def validation_groups(chips: Chips, share: float, seed: int) -> npt.NDArray[np.int64]:
    """Whole spatial blocks to keep back: the share, at least one when there are three.

    A block that holds all the labels of a class stays with the training.
    """
    groups = np.unique(chips.groups)
    wanted = round(share * len(groups))
    if share > 0 and len(groups) >= 3:
        wanted = max(wanted, 1)
    counts = np.array(
        [np.bincount(chips.labels[chips.groups == g].ravel(), minlength=256) for g in groups]
    )
    left = counts.sum(axis=0)
    kept_back: list[int] = []
    for index in np.random.default_rng(seed + 1).permutation(len(groups)):
        if len(kept_back) < wanted and not ((left > 0) & (left == counts[index]))[:NODATA].any():
            kept_back.append(int(groups[index]))
            left = left - counts[index]
    return np.array(sorted(kept_back), np.int64)


def check_chips(chips: Chips, inputs: Sequence[InputBands], classes: Sequence[LandClass]) -> None:
    """Refuse chips that do not fit the inputs or classes, or that nothing can be learnt from."""
    channels = sum(input_bands.channels for input_bands in inputs)
    if chips.images.shape[1] != channels:
        raise RecipeError(
            f"the chips have {chips.images.shape[1]} channels, the inputs' bands and time windows "
            f"make {channels}"
        )
    if min(chips.images.shape[-2:]) < MULTIPLE:
        raise RecipeError(
            f"the chips are {chips.images.shape[-2:]} px; at least {MULTIPLE} are needed each way"
        )
    if not (chips.labels != NODATA).any():
        raise RecipeError("there is no labelled pixel; check the labels' period and place")
    if not (chips.seen.labels != NODATA).any():
        raise RecipeError(
            "all imagery under the labels is missing; check the dates, the mask and the area"
        )
    known = [c.value for c in classes]
    others = sorted(set(np.unique(chips.labels).tolist()) - {NODATA, *known})
    if others:
        raise RecipeError(f"the labels hold the class value {others[0]}; the classes are {known}")


def check_classes(chips: Chips, classes: Sequence[LandClass]) -> None:
    """Refuse classes that no pixel is labelled with; what was left out is the likely reason."""
    for land_class in classes:
        if not (chips.labels == land_class.value).any():
            reasons = [line for line in chips.left_out if repr(land_class.name) in line]
            why = f" ({'; '.join(reasons)})" if reasons else ""
            raise RecipeError(
                f"class {land_class.name!r} has no labelled pixel to train on{why}; add labels for "
                "it, or leave it out of the classes"
            )
