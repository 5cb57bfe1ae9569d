"""Chips and some of their labelled pixels together, for learners of images and of pixels alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rsscale.geo.sample_groups import GroupShapes
from rsscale.layers import NODATA
from rsscale.learn.model import Model
from rsscale.learners.base import Fitted, Learner, Predictions, Task
from rsscale.learners.chips import Chips, InputBands
from rsscale.learners.point_samples import PointSamples, point_samples
from rsscale.points.series_table import SeriesInput, SeriesTable
from rsscale.reference.unused_labels import UnusedLabels
from rsscale.sampling.pixel_choice import MOST_PIXELS, chosen_pixels
from rsscale.text.wording import counted


@dataclass(frozen=True, eq=False)
class ChipPixels:
    """Chips, and the pixels of them that all learners are tested on.

    Attributes
    ----------
    chips : Chips
        With all labels, which networks of images learn from.
    tested : uint8 array (N, H, W)
        Class values of the pixels that are tested; 255 elsewhere.
    pixels : PointSamples
        Those pixels, which learners of pixels learn from: chip by chip, row by row.
    chip : int64 array (P,)
        The chip of each pixel.
    """

    chips: Chips
    tested: npt.NDArray[np.uint8]
    pixels: PointSamples
    chip: npt.NDArray[np.int64]

    @classmethod
    def of(
        cls,
        chips: Chips,
        inputs: Sequence[InputBands],
        task: Task,
        most: int = MOST_PIXELS,
    ) -> tuple[ChipPixels, list[str]]:
        """Take pixels of chips; those are left out that no learner of pixels could tell.

        Parameters
        ----------
        chips : Chips
        inputs : sequence of InputBands
            What the channels are.
        task : Task
        most : int
            Of a class and a chip at most.

        Returns
        -------
        (ChipPixels, list of str)
            The second says what is left out.
        """
        thinned: Counter[int] = Counter()
        tested = _thinned(chips, most, thinned)
        numbers = np.flatnonzero(tested != NODATA)
        chip, pixel = np.divmod(numbers, tested[0].size)
        images = [
            chips.images[k].reshape(chips.images.shape[1], -1)[:, pixel[chip == k]].T
            for k in range(len(chips))
        ]
        table = SeriesTable(
            _inputs(np.concatenate(images), chips, chip, inputs),
            tested.ravel()[numbers],
            chips.groups[chip],
        )
        seen = np.logical_or.reduce([part.valid.any(axis=1) for part in table.inputs])
        tested.ravel()[numbers[~seen]] = NODATA
        _, pixels = point_samples(table.seen, task.classes)
        notes = [
            f"{counted(thinned[c.value], 'labelled pixel')} of {c.name!r}: beyond {most:,} of a "
            "class in a chip"
            for c in task.classes
            if thinned[c.value]
        ]
        if not seen.all():
            blind = counted(int((~seen).sum()), "labelled pixel")
            notes.append(f"{blind} without all bands at any time")
        return cls(chips, tested, pixels, chip[seen]), notes

    @property
    def groups(self) -> npt.NDArray[np.int64]:
        """The place of each chip."""
        return self.chips.groups

    @property
    def places(self) -> GroupShapes | None:
        """Where the groups lie."""
        return self.chips.places

    @property
    def unused(self) -> UnusedLabels:
        """Labels that are in no chip."""
        return self.chips.unused

    def __len__(self) -> int:
        return len(self.chips)

    def counts(self, task: Task) -> npt.NDArray[np.int64]:
        """Tested pixels ``(N, K)`` of each chip, by class."""
        return replace(self.chips, labels=self.tested).counts(task)

    def subset(self, keep: npt.NDArray[np.bool_]) -> ChipPixels:
        """Some of the chips, with their pixels."""
        of_pixels = keep[self.chip]
        renumbered = np.cumsum(keep) - 1
        return ChipPixels(
            self.chips.subset(keep),
            self.tested[keep],
            self.pixels.subset(of_pixels),
            renumbered[self.chip[of_pixels]],
        )


@dataclass(frozen=True)
class OnChips:
    """A learner of images, tested on the pixels that are chosen."""

    learner: Learner[Chips]

    @property
    def name(self) -> str:
        """Of the learner."""
        return self.learner.name

    def fit(self, training: ChipPixels, validation: ChipPixels) -> Fitted:
        """See :class:`~rsscale.learners.base.Learner`; it learns from all labels."""
        return self.learner.fit(training.chips, validation.chips)

    def predict(self, model: Model, samples: ChipPixels) -> Predictions:
        """See :class:`~rsscale.learners.base.Learner`."""
        return self.learner.predict(model, replace(samples.chips, labels=samples.tested))


@dataclass(frozen=True)
class OnPixels:
    """A learner of single pixels."""

    learner: Learner[PointSamples]

    @property
    def name(self) -> str:
        """Of the learner."""
        return self.learner.name

    def fit(self, training: ChipPixels, validation: ChipPixels) -> Fitted:
        """See :class:`~rsscale.learners.base.Learner`."""
        return self.learner.fit(training.pixels, validation.pixels)

    def predict(self, model: Model, samples: ChipPixels) -> Predictions:
        """See :class:`~rsscale.learners.base.Learner`."""
        return self.learner.predict(model, samples.pixels)


def _thinned(chips: Chips, most: int, thinned: Counter[int]) -> npt.NDArray[np.uint8]:
    """The labels that are tested: of a class in a chip no more than so many, as in a training."""
    tested = np.full_like(chips.labels, NODATA)
    origins = np.zeros((len(chips), 2), np.int64) if chips.origins is None else chips.origins
    for number, (label, (row, col)) in enumerate(zip(chips.labels, origins.tolist(), strict=True)):
        pixels, left = chosen_pixels(label, (row, col), most)
        tested[number].ravel()[pixels] = label.ravel()[pixels]
        thinned.update(left)
    return tested


def _inputs(
    values: npt.NDArray[np.float32],
    chips: Chips,
    chip: npt.NDArray[np.int64],
    inputs: Sequence[InputBands],
) -> tuple[SeriesInput, ...]:
    """Channels ``(P, C)`` of pixels as the inputs of a table."""
    parts, first = [], 0
    for part in inputs:
        last = first + part.channels
        of_input = values[:, first:last].reshape(len(values), part.length, len(part.bands))
        days = chips.days.get(part.name)
        if days is None:  # in the middle of equal parts of a year
            days = (366 * (np.arange(part.length) + 0.5) / part.length).round().astype(np.float32)
        of_pixels = days[chip] if days.ndim == 2 else np.tile(days, (len(values), 1))
        parts.append(SeriesInput(part.name, part.bands, of_input, of_pixels, part.times))
        first = last
    return tuple(parts)
