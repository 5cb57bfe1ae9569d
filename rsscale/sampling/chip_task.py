"""Read some chips at once: the unit of work of a training's reading, here or on a worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.cluster.versions import refuse_other_versions
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.inference.stack import InputStack
from rsscale.inputs.prepare import prepare
from rsscale.inputs.windows import span
from rsscale.items.item_store import Lookup
from rsscale.layers import NODATA, Period, year_of
from rsscale.legend.classes import LandClass
from rsscale.model.spec import ModelSpec
from rsscale.recipe import Recipe
from rsscale.reference.unused_labels import Reason, UnusedLabels
from rsscale.runs.worker import released_afterwards
from rsscale.sampling.pixel_choice import chosen_pixels

Arrays = dict[str, npt.NDArray[Any]]
DAYS_OF = "days."
"""Prefix of the arrays that hold the days of an input."""


@dataclass(frozen=True, eq=False)
class ChipTask:
    """Chips that are read together.

    Attributes
    ----------
    number : int
        Of the task.
    first : int
        Number of its first chip.
    period : int or YearPair
        What the labels are true for, and inputs are read of.
    blocks : tuple of PixelBox
        Where labels count: blocks of the global lattice.
    groups : tuple of int
        The place of each, that is never parted between training and test.
    labels : tuple of uint8 array
        Class values in each block; 255 is unlabelled.
    sources : mapping of input name to Lookup
        The items that can reach them, and no others: they travel with the task.
    """

    number: int
    first: int
    period: Period
    blocks: tuple[PixelBox, ...]
    groups: tuple[int, ...]
    labels: tuple[npt.NDArray[np.uint8], ...]
    sources: Mapping[str, Lookup]


@dataclass(frozen=True, eq=False)
class ChipPart:
    """What was read for a task.

    Attributes
    ----------
    number, first : int
        Of the task, and of its first chip.
    arrays : dict of array
        Of chips ``images``, ``labels``, ``origins (N, 2)``, the row and column of their first
        pixel, ``groups`` and ``days.<input>``; of single pixels
        ``values (P, C)``, ``targets``, ``groups`` and ``days.<input>``.
    unused : UnusedLabels
        Labelled pixels where nothing was seen.
    thinned : mapping of class value to int
        Pixels that were not taken.
    missing : mapping of asset to str
        What could not be read and counts as not seen.
    decoded : int
        Bytes of pixels that were read.
    constant : mapping of fact to number
        Observations that are the same number in all bands, see
        :data:`rsscale.inference.constant_pixels.CONSTANT_FACTS`.
    """

    number: int
    first: int
    arrays: Arrays
    unused: UnusedLabels = field(default_factory=UnusedLabels)
    thinned: Mapping[int, int] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    decoded: int = 0
    constant: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ChipReading:
    """How chips are read; called with a task.

    Attributes
    ----------
    recipe : Recipe
    grid : Grid
    spec : ModelSpec
        Of a model that takes the inputs as they are.
    classes : tuple of LandClass
    context : int
        Pixels around a block.
    most : int, optional
        Take single pixels, so many of a class in a chip at most; images when None.
    versions : mapping of package to version, optional
        Of the process that asks; a worker must have the same.
    """

    recipe: Recipe
    grid: Grid
    spec: ModelSpec
    classes: tuple[LandClass, ...]
    context: int
    most: int | None = None
    versions: Mapping[str, str] | None = None

    def __call__(self, task: ChipTask) -> ChipPart:
        """Read the chips of a task; as a window of the model is made, so is a chip."""
        if self.versions is not None:
            refuse_other_versions(self.versions)
        with released_afterwards():
            boxes = [
                self._box(*labelled) for labelled in zip(task.blocks, task.labels, strict=True)
            ]
            around = reduce(PixelBox.__or__, boxes)
            inputs = prepare(self.recipe, self.grid, task.sources, task.period, around)
            stack = InputStack(inputs.compute(None), self.spec, around)
            chips = [_Chip(task, place, box) for place, box in enumerate(boxes)]
            unused, thinned = UnusedLabels(), Counter[int]()
            parts = []
            for chip in chips:
                image, days = self._image(stack, chip.box)
                seen = self._seen(image)
                unused += self._unseen(task, chip, seen)
                if self.most is None:
                    parts.append(chip.as_image(image, days, seen))
                else:
                    parts.append(chip.as_pixels(image, days, seen, self.most, thinned))
            arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return ChipPart(
            task.number,
            task.first,
            arrays,
            unused,
            thinned,
            dict(inputs.missing),
            inputs.meter.decoded_bytes,
            inputs.constant.facts(),
        )

    def _box(self, block: PixelBox, labels: npt.NDArray[np.uint8]) -> PixelBox:
        """What is read of a block: of single pixels of composites no more than around them.

        Which observations of a series are taken depends on all of a window: it is read whole.
        """
        if self.most is None or any(part.series for part in self.spec.inputs):
            return block.pad(self.context)
        rows, cols = np.nonzero(labels != NODATA)
        return PixelBox(
            block.row0 + int(rows.min()),
            block.col0 + int(cols.min()),
            block.row0 + int(rows.max()) + 1,
            block.col0 + int(cols.max()) + 1,
        )

    def _image(
        self, stack: InputStack, box: PixelBox
    ) -> tuple[npt.NDArray[np.float32], dict[str, npt.NDArray[np.float32]]]:
        image, chosen = np.empty((self.spec.channels, *box.shape), np.float32), stack.choose(box)
        stack.fill(image, box, chosen)
        return image, chosen.days

    def _seen(self, image: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        """Where a chip was seen: by any input, or by each as the model to be asks for."""
        known = np.isfinite(image)
        seen = np.asarray(known.any(axis=0))
        first = 0
        for model_input in self.spec.inputs if self.spec.seen == "all" else ():
            seen &= known[first : first + model_input.channels].any(axis=0)
            first += model_input.channels
        return seen

    def _unseen(self, task: ChipTask, chip: _Chip, seen: npt.NDArray[np.bool_]) -> UnusedLabels:
        """Labelled pixels of a chip where nothing was seen, by class and reason."""
        blind = chip.labels[~seen]
        counts = {c.name: int((blind == c.value).sum()) for c in self.classes}
        if not any(counts.values()):
            return UnusedLabels()
        around = self.grid.geobox_of(chip.block)
        is_imaged = any(
            task.sources[name].touching(around, *span(imagery, year_of(task.period, name)))
            for name, imagery in self.recipe.inputs.items()
        )
        reason = Reason.MASKED if is_imaged else Reason.OUTSIDE_IMAGERY
        return UnusedLabels.of_pixels(counts, reason)


class _Chip:
    """A chip of a task: its box, and its labels there."""

    def __init__(self, task: ChipTask, place: int, box: PixelBox) -> None:
        self.block, self.box = task.blocks[place], box
        self._group = task.groups[place]
        self.labels = np.full(box.shape, NODATA, np.uint8)
        both = self.block & box
        self.labels[both.slices(box)] = task.labels[place][both.slices(self.block)]

    def as_image(
        self,
        image: npt.NDArray[np.float32],
        days: Mapping[str, npt.NDArray[np.float32]],
        seen: npt.NDArray[np.bool_],
    ) -> Arrays:
        """The whole chip, without labels where nothing was seen."""
        self.labels[~seen] = NODATA
        return {
            "images": image[None],
            "labels": self.labels[None],
            "origins": np.array([(self.box.row0, self.box.col0)], np.int64),
            "groups": np.array([self._group], np.int64),
            **{DAYS_OF + name: of_chip[None] for name, of_chip in days.items()},
        }

    def as_pixels(
        self,
        image: npt.NDArray[np.float32],
        days: Mapping[str, npt.NDArray[np.float32]],
        seen: npt.NDArray[np.bool_],
        most: int,
        thinned: Counter[int],
    ) -> Arrays:
        """Its labelled pixels as rows."""
        self.labels[~seen] = NODATA
        numbers, left = chosen_pixels(self.labels, (self.box.row0, self.box.col0), most)
        thinned.update(left)
        rows, cols = np.unravel_index(numbers, self.labels.shape)
        return {
            "values": np.ascontiguousarray(image[:, rows, cols].T),
            "targets": self.labels.ravel()[numbers],
            "groups": np.full(len(numbers), self._group, np.int64),
            **{DAYS_OF + name: np.tile(d, (len(numbers), 1)) for name, d in days.items()},
        }
