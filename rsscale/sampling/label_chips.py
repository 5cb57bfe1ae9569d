"""Read labelled chips from the cube that the map of a recipe reads."""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import shapely
from odc.geo.geom import Geometry

from rsscale.cluster.versions import versions
from rsscale.errors import RecipeError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.geo.sample_groups import MOST_POINTS, GroupShapes, some_of
from rsscale.inference.constant_pixels import constant_lines
from rsscale.inputs.windows import mask_margin, span, window_names
from rsscale.items.item_index import ItemIndex
from rsscale.items.item_store import Lookup, ScenesInMemory
from rsscale.layers import NODATA, Period, YearPair, year_of
from rsscale.learners.chips import InputBands
from rsscale.model.model_input import DAYS, Seen
from rsscale.model.outputs import EmbeddingOutput
from rsscale.model.spec import ModelSpec
from rsscale.plans.find_items import check_reach, find_items, index_items
from rsscale.progress.bars import announce, progress
from rsscale.recipe import Recipe, TrainRecipe
from rsscale.reference.labels import Labels
from rsscale.sampling.carry_out import read_parts
from rsscale.sampling.chip_parts import ChipParts
from rsscale.sampling.chip_task import Arrays, ChipPart, ChipReading, ChipTask
from rsscale.sampling.label_groups import ByPolygon, LabelGroups, block_groups
from rsscale.sampling.stored_images import StoredImages
from rsscale.sampling.work_folder import WorkFolder
from rsscale.training.checks import check_disk

if TYPE_CHECKING:
    from distributed import Client

_log = logging.getLogger("rsscale")
# Chips of one such block are read together: a COG block is decoded once, not once a chip.
_READ_TOGETHER = 512
# Of the images of one task: a worker holds two of them, and they travel.
_TASK_BYTES = 64 << 20
_WAY = 3  # of what is kept of a chip, and which pixels are taken: raised when either changes
Chip = tuple[PixelBox, int]
"""A block of the global lattice, and the group whose labels count in it."""
CONTEXT = 32
"""Pixels around a chip, without labels: a label at its edge is seen in its surroundings too."""


class ChipReader:
    """Reads the chips of a recipe's labels, of every training period, here or on a cluster.

    A chip is a block of the global lattice and some context around it; labels count only in the
    block itself, so that no label pixel is in two chips, or in two groups. Where polygons are the
    groups, a block has a chip for each of them, with the labels of that one alone.

    Parameters
    ----------
    recipe : Recipe
    labels : Labels
    inputs : sequence of InputBands
    takes : tuple of str
        What the model takes beside values, see :class:`rsscale.ModelInput`.
    most : int, optional
        Take single pixels, so many of a class in a chip at most; images when omitted.
    context : int
        Pixels around a chip, of images.

    Attributes
    ----------
    unused : UnusedLabels
        Labels that are in no chip: how many, of which class, and why; complete once all are read.

    Raises
    ------
    RecipeError
        When there is no label in any training period.
    """

    def __init__(
        self,
        recipe: Recipe,
        labels: Labels,
        inputs: Sequence[InputBands],
        takes: tuple[str, ...],
        most: int | None = None,
        *,
        context: int = CONTEXT,
    ) -> None:
        settings = train_settings(recipe)
        self._recipe, self.grid, self._most = recipe, recipe.grid.build(), most
        self._reading = ChipReading(
            recipe,
            self.grid,
            _as_they_are(
                inputs, tuple(extra for extra in takes if extra == DAYS), seen_by(settings)
            ),
            labels.classes,
            context if most is None else 0,
            most,
            versions(),
        )
        periods = label_periods(recipe, labels)
        by_period = {period: labels.on(self.grid, period) for period in periods}
        blocks = {period: some.blocks(settings.chip) for period, some in by_period.items()}
        self.blocks = {period: some for period, some in blocks.items() if some}
        self.unused = labels.unused_in(by_period)
        if not self.blocks:
            advice = "; ".join(self.left_out) or "check train.periods and train.period_column"
            raise RecipeError(
                f"{settings.labels} has no label for the periods {list(periods)}: {advice}"
            )
        every = [block for some in self.blocks.values() for block in some]
        self.groups: LabelGroups = (
            ByPolygon(labels, by_period)
            if settings.split.by == "polygon"
            else block_groups(settings, self.grid, every, by_period)
        )
        self._chips = {
            period: [(b, group) for b in some for group in self.groups.groups_in(period, b)]
            for period, some in self.blocks.items()
        }

    @property
    def left_out(self) -> list[str]:
        """A line for each class and reason of labels that are not used."""
        return self.unused.lines()

    def __len__(self) -> int:
        return sum(map(len, self._chips.values()))

    @property
    def periods(self) -> list[Period]:
        """What each chip is of, in the order in which they are read."""
        return [task.period for task in self._tasks({}, with_labels=False) for _ in task.blocks]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of all images together, ``(N, C, H, W)``."""
        width = train_settings(self._recipe).chip + 2 * self._reading.context
        return len(self), self._reading.spec.channels, width, width

    @cached_property
    def places(self) -> GroupShapes:
        """Boxes of the groups, and where some labels lie, by the labels alone."""
        chips = [
            (period, block, group) for period, some in self._chips.items() for block, group in some
        ]
        chosen = [chips[number] for number in some_of(len(chips), MOST_POINTS)]
        most = max(MOST_POINTS // len(chosen), 1)
        positions, values = zip(
            *(self._some_labels(p, block, group, most) for p, block, group in chosen), strict=True
        )
        return GroupShapes(
            self.groups.kind,
            str(self.grid.crs),
            self.groups.shapes_of(group for *_, group in chips),
            np.concatenate(positions),
            np.concatenate(values),
            self.groups.remark,
        )

    def _some_labels(
        self, period: Period, block: PixelBox, group: int, most: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]]:
        """Positions ``(M, 2)`` and values of some labelled pixels, spread over a chip."""
        labels = self.groups.labels(period, block, group)
        rows, cols = np.nonzero(labels != NODATA)
        chosen = some_of(len(rows), most, (block.row0 % 2**32, block.col0 % 2**32))
        rows, cols = rows[chosen], cols[chosen]
        to_crs = self.grid.geobox_of(block).affine
        x, y = to_crs.c + to_crs.a * (cols + 0.5), to_crs.f + to_crs.e * (rows + 0.5)
        return np.stack([x, y], axis=1), labels[rows, cols]

    def read(
        self, work: WorkFolder, cluster: Client | str | None = None
    ) -> tuple[Arrays, StoredImages | None, ChipPart]:
        """Read all chips that the work folder does not hold yet.

        Parameters
        ----------
        work : WorkFolder
        cluster : distributed.Client or str, optional
            As :func:`rsscale.run` takes it; in this process when omitted.

        Returns
        -------
        dict of array
            Of all chips or pixels in order, see :class:`~rsscale.sampling.chip_task.ChipPart`.
        StoredImages or None
            Of all chips.
        ChipPart
            What was counted.

        Raises
        ------
        RecipeError
            When the disk is too small.
        ReadError
            When an asset can't be read.
        KeyboardInterrupt
            After Ctrl-C or SIGTERM, once the chips in hand are kept.
        """
        sources = {
            period: _find_sources(
                self._recipe, self.grid, blocks, period, self._reading.context or CONTEXT
            )
            for period, blocks in self.blocks.items()
        }
        work.begin_reading(self._settings(sources))
        parts = ChipParts(work.chips, None if self._most else self.shape)
        places = list(self._tasks(sources, with_labels=False))
        left = sum(len(task.blocks) for task in places if task.number not in parts)
        if not self._most:
            check_disk(left, self.shape, work.path)
        if left < len(self):
            announce(f"goes on reading: {len(self) - left:,} of {len(self):,} chips are kept")
        with progress("read chips", len(self), "chips") as bar:
            bar.keep(len(self) - left)
            todo = (task for task in self._tasks(sources) if task.number not in parts)
            if left and not read_parts(todo, self._reading, parts, cluster, bar):
                left = sum(len(task.blocks) for task in places if task.number not in parts)
                raise KeyboardInterrupt(
                    f"interrupted with {len(self) - left:,} of {len(self):,} chips read, which are "
                    "kept; the same command goes on from there, with --fresh it begins anew"
                )
        arrays, counted = parts.join(len(places))
        self.unused += counted.unused
        for line in constant_lines(counted.constant):
            _log.warning("around the labels %s", line)
        return arrays, parts.images, counted

    def _tasks(
        self, sources: Mapping[Period, Mapping[str, ItemIndex]], *, with_labels: bool = True
    ) -> Iterator[ChipTask]:
        """Chips that are read together, in order; without labels only their places."""
        number = first = 0
        _, channels, height, width = self.shape
        most = max(_TASK_BYTES // (4 * channels * height * width), 1)
        for period, every in self._chips.items():
            for chips in _together(every, most if self._most is None else None):
                blocks, groups = zip(*chips, strict=True)
                labels: tuple[npt.NDArray[np.uint8], ...] = ()
                near: dict[str, Lookup] = {}
                if with_labels:
                    labels = tuple(self.groups.labels(period, *chip) for chip in chips)
                    near = self._near(sources[period], period, blocks)
                yield ChipTask(number, first, period, blocks, groups, labels, near)
                number, first = number + 1, first + len(blocks)

    def _near(
        self, sources: Mapping[str, ItemIndex], period: Period, blocks: Sequence[PixelBox]
    ) -> dict[str, Lookup]:
        """The items that can reach some blocks."""
        around = reduce(PixelBox.__or__, blocks).pad(self._reading.context)
        near: dict[str, Lookup] = {}
        for name, index in sources.items():
            imagery = self._recipe.inputs[name]
            margin = mask_margin(imagery, self.grid, around)
            # Twice: how far a mask reaches differs a little from box to box.
            geobox = self.grid.geobox_of(around.pad(2 * margin + 1))
            rows = index.extents.rows(geobox, *span(imagery, year_of(period, name)))
            scenes = index.read(map(int, rows))
            near[name] = ScenesInMemory(scenes, index.extents.take(rows), index.crs)
        return near

    def _settings(self, sources: Mapping[Period, Mapping[str, ItemIndex]]) -> dict[str, Any]:
        """All that decides what is read, by what a person calls it."""
        labels, items = hashlib.sha256(), hashlib.sha256()
        for task in self._tasks(sources):
            labels.update(repr((task.period, task.blocks, task.groups)).encode())
            labels.update(b"".join(array.tobytes() for array in task.labels))
            for name, lookup in task.sources.items():
                items.update(name.encode() + lookup.extents.digests.tobytes())
        recipe, reading = self._recipe, self._reading
        return {
            "inputs": {name: imagery.processing() for name, imagery in recipe.inputs.items()},
            "grid": recipe.grid.model_dump(mode="json"),
            "labels": labels.hexdigest(),
            "items": items.hexdigest(),
            "network's inputs": [repr(part) for part in reading.spec.inputs],
            "chips": [*self.shape, reading.context, reading.most],
            "way of reading": _WAY,
            "versions": dict(versions()),
        }


def train_settings(recipe: Recipe) -> TrainRecipe:
    """The section ``train`` of a recipe.

    Raises
    ------
    RecipeError
        When there is none.
    """
    if recipe.train is None:
        raise RecipeError(
            f"recipe {recipe.name!r} has no 'train' section; add one with 'labels' and 'class'"
        )
    return recipe.train


def recipe_of_inputs(recipe: Recipe) -> Recipe:
    """A recipe whose inputs are those of the model to be: of change one of them at two dates."""
    change = train_settings(recipe).change
    return recipe if change is None else recipe.of_two_dates(change.of)


def seen_by(settings: TrainRecipe) -> Seen:
    """Which inputs must have seen a pixel that is learnt from, or mapped: of change both dates."""
    return "all" if settings.change else "any"


def label_periods(recipe: Recipe, labels: Labels) -> tuple[Period, ...]:
    """What is trained on: years, or of labels of change the pairs that these are between."""
    settings = train_settings(recipe)
    if settings.change is None:
        return settings.periods or recipe.periods
    before, after = settings.change.from_, settings.change.to
    if before is None or after is None:
        return labels.pairs
    return (YearPair(before, after),)


def input_bands(recipe: Recipe) -> list[InputBands]:
    """The inputs of the model to be, in the recipe's order."""
    period = ((recipe.train and recipe.train.periods) or recipe.periods)[0]
    return [
        InputBands(name, imagery.bands, (), train_settings(recipe).observations)
        if imagery.series
        else InputBands(name, imagery.bands, window_names(imagery, period))
        for name, imagery in recipe.inputs.items()
    ]


def _find_sources(
    recipe: Recipe, grid: Grid, blocks: Sequence[PixelBox], period: Period, context: int
) -> dict[str, ItemIndex]:
    """Items around the labels only: a country is not searched for a few polygons."""
    boxes = [grid.geobox_of(block).extent.geom for block in blocks]
    around = Geometry(shapely.union_all(boxes), grid.crs).to_crs("EPSG:4326")
    read = [block.pad(context + 16) for block in blocks]
    sources: dict[str, ItemIndex] = {}
    for name in recipe.inputs:
        years = (year_of(period, name),)
        index = index_items(recipe, grid, find_items(recipe, around, context + 16, years, (name,)))
        check_reach(recipe, grid, index, read, years)
        sources |= index
    return sources


def _together(chips: Sequence[Chip], most: int | None = None) -> Iterator[list[Chip]]:
    """Chips that lie in one larger block of the lattice, so many at most."""
    near: dict[tuple[int, int], list[Chip]] = defaultdict(list)
    for chip in chips:
        near[chip[0].row0 // _READ_TOGETHER, chip[0].col0 // _READ_TOGETHER].append(chip)
    for some in near.values():
        for start in range(0, len(some), most or len(some)):
            yield some[start : start + (most or len(some))]


def _as_they_are(inputs: Sequence[InputBands], takes: tuple[str, ...], seen: Seen) -> ModelSpec:
    """A contract that takes inputs without scaling."""
    return ModelSpec(
        name="chips",
        inputs=tuple(i.unscaled(takes) for i in inputs),
        classes=(),
        lattice=Lattice(1, 0),
        architecture="none",
        output=EmbeddingOutput(1),
        layout="mapping",
        seen=seen,
    )
