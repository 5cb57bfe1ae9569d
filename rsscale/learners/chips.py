"""Labelled chips: images with the classes of some of their pixels, in memory or on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rsscale.errors import RecipeError
from rsscale.geo.sample_groups import GroupShapes, some_of
from rsscale.layers import NODATA
from rsscale.learn.architectures import MAX_DEPTH
from rsscale.learners.base import Task
from rsscale.model.model_input import ModelInput
from rsscale.model.spec import ModelSpec
from rsscale.reference.unused_labels import UnusedLabels

Days = Mapping[str, npt.NDArray[np.float32]]
"""Days of the year by the name of the input: ``(T,)`` of all chips, or ``(N, T)`` of each."""

UNLABELLED = -1
"""The target that :func:`to_targets` gives for label 255."""
_MOST_COUNTED = 500  # chips that shares are counted of
MULTIPLE: int = 2 ** (MAX_DEPTH - 1)
"""Crops and padded chips are multiples of this many pixels, which every network takes."""


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

    def unscaled(self, takes: tuple[str, ...] = ()) -> ModelInput:
        """The input of a contract, its values as they are."""
        count = len(self.bands)
        unknown = (0.0,) * count, (1.0,) * count
        return ModelInput(self.name, self.bands, self.times, *unknown, self.series, takes)


class Images(Protocol):
    """Protocol of images ``(N, C, H, W)`` float32: an array, a file mapped into memory, a part."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(N, C, H, W)``."""

    def __getitem__(self, key: Any) -> npt.NDArray[np.float32]:
        """Of a chip's number, and windows of it."""


@dataclass(frozen=True, eq=False)
class SelectedImages:
    """Some of the chips of images that stay where they are.

    Attributes
    ----------
    images : Images
    chosen : int array (M,)
        Their numbers.
    """

    images: Images
    chosen: npt.NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        """``(M, C, H, W)``."""
        return (len(self.chosen), *self.images.shape[1:])

    def __getitem__(self, key: Any) -> npt.NDArray[np.float32]:
        number, *rest = key if isinstance(key, tuple) else (key,)
        return self.images[(int(self.chosen[number]), *rest)]


class ObservedWindows:
    """Counts the pixels that each time window of each input has values of all bands of.

    Parameters
    ----------
    inputs : sequence of InputBands
    """

    def __init__(self, inputs: Sequence[InputBands]) -> None:
        self._inputs = tuple(inputs)
        self._seen = np.zeros(sum(part.length for part in inputs))
        self._total = 0

    def add(self, values: npt.NDArray[np.float32]) -> None:
        """Count pixels ``(C, n)``; NaN is not seen."""
        first, counts = 0, []
        for part in self._inputs:
            last = first + part.channels
            whole = np.isfinite(values[first:last]).reshape(part.length, len(part.bands), -1)
            counts.append(whole.all(axis=1).sum(axis=1))
            first = last
        self._seen += np.concatenate(counts)
        self._total += values.shape[1]

    def shares(self) -> dict[str, dict[str, float]]:
        """By input and window, four digits; inputs that are series have no windows."""
        shares = iter((self._seen / max(self._total, 1)).round(4).tolist())
        by_input = {part.name: [next(shares) for _ in range(part.length)] for part in self._inputs}
        return {
            part.name: dict(zip(part.times, by_input[part.name], strict=True))
            for part in self._inputs
            if part.times
        }


@dataclass(frozen=True)
class Chips:
    """Labelled images.

    Attributes
    ----------
    images : Images (N, C, H, W)
        float32, in the composite's units, NaN where nothing was seen; channels input by input,
        time by time, band by band. An array, or what reads chip by chip.
    labels : uint8 array (N, H, W)
        Class values; 255 is unlabelled.
    groups : int array (N,)
        The spatial block of each chip: validation and test take whole blocks.
    left_out : tuple of str
        Labels that are in no chip: how many, of which class, and why.
    days : mapping of input name to float32 array (T,) or (N, T)
        Day of the year of each time window, or of each chip's observations, 0 for blanks; for
        networks that take days.
    is_seen : bool
        Whether labels are only where something was seen.
    places : GroupShapes, optional
        Where the groups lie.
    unused : UnusedLabels
        What ``left_out`` says, as numbers.
    origins : int64 array (N, 2), optional
        Row and column of each chip's first pixel on the grid.
    """

    images: Images
    labels: npt.NDArray[np.uint8]
    groups: npt.NDArray[np.int64]
    left_out: tuple[str, ...] = ()
    days: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    is_seen: bool = False
    places: GroupShapes | None = None
    unused: UnusedLabels = field(default_factory=UnusedLabels)
    origins: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        images, labels, groups = (a.shape for a in (self.images, self.labels, self.groups))
        if len(images) != 4 or labels != (images[0], *images[2:]) or groups != images[:1]:
            raise RecipeError(
                f"chips have images {images}, labels {labels} and groups {groups}; "
                "expected (N, C, H, W), (N, H, W) and (N,)"
            )

    def __len__(self) -> int:
        return len(self.groups)

    @property
    def seen(self) -> Chips:
        """The same without labels where nothing was seen at any time: nothing to learn there."""
        if self.is_seen:
            return self
        labels = self.labels.copy()
        for number, label in enumerate(labels):
            label[~np.isfinite(self.images[number]).any(axis=0)] = NODATA
        return replace(self, labels=labels, is_seen=True)

    def counts(self, task: Task) -> npt.NDArray[np.int64]:
        """Labelled pixels ``(N, K)`` of each chip, by class."""
        values = [c.value for c in task.classes]
        counts = [np.bincount(label.ravel(), minlength=256)[values] for label in self.labels]
        return np.array(counts, np.int64).reshape(len(self), len(values))

    def observed(self, inputs: Sequence[InputBands]) -> dict[str, dict[str, float]]:
        """Share of the labelled pixels that each time window of each input has values of.

        Of many chips some, drawn at random, are looked at; series have no windows, and are left
        out.
        """
        counter = ObservedWindows(inputs)
        for number in some_of(len(self), _MOST_COUNTED).tolist():
            rows, cols = np.nonzero(self.labels[number] != NODATA)
            counter.add(self.images[number][:, rows, cols])
        return counter.shares()

    def subset(self, keep: npt.NDArray[np.bool_]) -> Chips:
        """Some of the chips; their images are not copied."""
        images = SelectedImages(self.images, np.flatnonzero(keep))
        origins = None if self.origins is None else self.origins[keep]
        return replace(
            self,
            images=images,
            labels=self.labels[keep],
            groups=self.groups[keep],
            days=self.days_of(keep),
            origins=origins,
        )

    def days_of(self, which: npt.NDArray[Any]) -> dict[str, npt.NDArray[np.float32]]:
        """Days of some of the chips, where each has its own; the same as before of time windows."""
        return {name: d[which] if d.ndim == 2 else d for name, d in self.days.items()}


def to_targets(labels: npt.NDArray[np.uint8], spec: ModelSpec) -> npt.NDArray[np.int16]:
    """Class values to output channels; 255 to -1."""
    table = np.full(256, UNLABELLED, np.int16)
    for index, land_class in enumerate(spec.classes):
        table[land_class.value] = index
    return table[labels]


def with_statistics(
    chips: Chips, inputs: Sequence[InputBands], takes: tuple[str, ...] = ()
) -> list[ModelInput]:
    """Inputs with mean and standard deviation of each band over all valid pixels and times.

    Raises
    ------
    RecipeError
        When a band has no value in any chip.
    """
    totals = [_Moments(len(i.bands)) for i in inputs]
    for number in range(len(chips)):
        image, first = chips.images[number], 0
        for input_bands, moments in zip(inputs, totals, strict=True):
            last = first + input_bands.channels
            moments.add(image[first:last].reshape(input_bands.length, len(input_bands.bands), -1))
            first = last
    with_values = []
    for input_bands, moments in zip(inputs, totals, strict=True):
        for band, count in zip(input_bands.bands, moments.count, strict=True):
            if not count:
                raise RecipeError(
                    f"band {band!r} of input {input_bands.name!r} has no value under the labels; "
                    "leave it out, or check its dates and mask"
                )
        mean, std = (tuple(map(_rounded, values)) for values in (moments.mean, moments.std))
        with_values.append(replace(input_bands.unscaled(takes), mean=mean, std=std))
    return with_values


class _Moments:
    """Mean and standard deviation of bands, chip after chip, without a copy of all.

    Chan, Golub & LeVeque 1983, https://doi.org/10.1080/00031305.1983.10483115.
    """

    def __init__(self, bands: int) -> None:
        self.count = np.zeros(bands)
        self.mean = np.zeros(bands)
        self._squares = np.zeros(bands)  # of differences to the mean

    def add(self, values: npt.NDArray[np.float32]) -> None:
        """Values ``(T, B, pixels)``, of which those that are no number don't count."""
        for band in range(len(self.count)):
            of_band = values[:, band]
            known = of_band[np.isfinite(of_band)].astype(np.float64)
            if not len(known):
                continue
            total = self.count[band] + len(known)
            apart = known.mean() - self.mean[band]
            self._squares[band] += known.var() * len(known)
            self._squares[band] += apart**2 * self.count[band] * len(known) / total
            self.mean[band] += apart * len(known) / total
            self.count[band] = total

    @property
    def std(self) -> npt.NDArray[np.float64]:
        """Standard deviation of each band, at least 1e-6."""
        deviation = np.sqrt(self._squares / np.maximum(self.count, 1))
        return np.maximum(deviation, 1e-6)


def _rounded(value: float) -> float:
    """Rounded to six digits, for readable contracts."""
    return float(f"{value:.6g}")
