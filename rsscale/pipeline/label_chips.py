"""Cut labelled chips from the cube that the map of a recipe reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt
import shapely
from odc.geo.geom import Geometry

from rsscale.errors import AreaError, RecipeError
from rsscale.geo.grid import Grid
from rsscale.geo.ground import GroundScale, scale_of
from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.inference.stack import InputStack
from rsscale.items.item_index import ItemIndex
from rsscale.layers import NODATA
from rsscale.learners.chips import InputBands
from rsscale.model.model_input import DAYS
from rsscale.model.outputs import EmbeddingOutput
from rsscale.model.spec import ModelSpec
from rsscale.progress import progress
from rsscale.recipe import Recipe, TrainRecipe
from rsscale.reference.labels import Labels
from rsscale.reference.unused_labels import Reason, UnusedLabels
from rsscale.runs.find_items import check_reach, find_items, index_items
from rsscale.steps.input_windows import span, window_names
from rsscale.steps.inputs import prepare

# Chips of one such block are read together: a COG block is decoded once, not once a chip.
_READ_TOGETHER = 512
CONTEXT = 32
"""Pixels around a chip, without labels: a label at its edge is seen in its surroundings too."""


@dataclass(frozen=True, eq=False)
class LabelledChip:
    """The imagery of a block of the grid, and the labels in it.

    Attributes
    ----------
    period : int
    block : PixelBox
        Where labels count: a block of the global lattice.
    group : int
        The place that is never parted between training and test.
    image : float32 array (C, H, W)
        Of the block and its context, NaN where nothing was seen.
    labels : uint8 array (H, W)
        Class values; 255 is unlabelled, as all of the context is.
    days : mapping of input name to float32 array (T,)
        Of each input that has them.
    """

    period: int
    block: PixelBox
    group: int
    image: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    days: Mapping[str, npt.NDArray[np.float32]]


class ChipReader:
    """Reads the chips of a recipe's labels, block by block, of every training period.

    A chip is a block of the global lattice and some context around it; labels count only in the
    block itself, so that no label pixel is in two chips, or in two groups.

    Parameters
    ----------
    recipe : Recipe
    labels : Labels
    inputs : sequence of InputBands
    takes : tuple of str
        What the model takes beside values, see :class:`rsscale.ModelInput`.
    context : int
        Pixels around a block.

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
        context: int = CONTEXT,
    ) -> None:
        settings = train_settings(recipe)
        self._recipe, self._labels, self._grid = recipe, labels, recipe.grid.build()
        self._context = context
        self._spec = _as_they_are(inputs, tuple(extra for extra in takes if extra == DAYS))
        periods = settings.periods or recipe.periods
        self._by_period = {period: labels.on(self._grid, period) for period in periods}
        blocks = {period: some.blocks(settings.chip) for period, some in self._by_period.items()}
        self.blocks = {period: some for period, some in blocks.items() if some}
        self.unused = labels.unused_in(self._by_period)
        if not self.blocks:
            advice = "; ".join(self.left_out) or "check train.periods and train.period_column"
            raise RecipeError(
                f"{settings.labels} has no label for the periods {list(periods)}: {advice}"
            )
        every = [block for some in self.blocks.values() for block in some]
        self._group_size = _group_size(settings, self._grid, every)

    @property
    def left_out(self) -> list[str]:
        """A line for each class and reason of labels that are not used."""
        return self.unused.lines()

    def __len__(self) -> int:
        return sum(map(len, self.blocks.values()))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of all images together, ``(N, C, H, W)``."""
        width = train_settings(self._recipe).chip + 2 * self._context
        return len(self), self._spec.channels, width, width

    def __iter__(self) -> Iterator[LabelledChip]:
        unseen = UnusedLabels()
        with progress("read chips", len(self), "chips") as bar:
            for period, blocks in self.blocks.items():
                sources = _find_sources(self._recipe, self._grid, blocks, period)
                for together in _together(blocks):
                    for chip in self._read(sources, period, together):
                        unseen += self._unseen(chip, sources)
                        yield chip
                        bar.advance()
        self.unused += unseen

    def _read(
        self, sources: Mapping[str, ItemIndex], period: int, blocks: Sequence[PixelBox]
    ) -> Iterator[LabelledChip]:
        """Chips that are read together; as a window of the model is made, so is a chip."""
        around = reduce(PixelBox.__or__, blocks).pad(self._context)
        inputs = prepare(self._recipe, self._grid, sources, period, around)
        stack = InputStack(inputs.compute(None), self._spec, around)
        rows, cols = self._group_size
        for block in blocks:
            box = block.pad(self._context)
            image, chosen = (
                np.empty((self._spec.channels, *box.shape), np.float32),
                stack.choose(box),
            )
            stack.fill(image, box, chosen)
            labels = np.full(box.shape, NODATA, np.uint8)
            labels[block.slices(box)] = self._by_period[period].rasterize(block)
            group = block.row0 // rows * 1_000_003 + block.col0 // cols
            yield LabelledChip(period, block, group, image, labels, chosen.days)

    def _unseen(self, chip: LabelledChip, sources: Mapping[str, ItemIndex]) -> UnusedLabels:
        """Labelled pixels of a chip where nothing was seen, by class and reason."""
        blind = chip.labels[~np.isfinite(chip.image).any(axis=0)]
        counts = {c.name: int((blind == c.value).sum()) for c in self._labels.classes}
        if not any(counts.values()):
            return UnusedLabels()
        around = self._grid.geobox_of(chip.block)
        is_imaged = any(
            sources[name].touching(around, *span(imagery, chip.period))
            for name, imagery in self._recipe.inputs.items()
        )
        reason = Reason.MASKED if is_imaged else Reason.OUTSIDE_IMAGERY
        return UnusedLabels.of_pixels(counts, reason)


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


def input_bands(recipe: Recipe) -> list[InputBands]:
    """The inputs of the model to be, in the recipe's order."""
    settings = train_settings(recipe)
    period = (settings.periods or recipe.periods)[0]
    return [
        InputBands(name, imagery.bands, (), settings.observations)
        if imagery.series
        else InputBands(name, imagery.bands, window_names(imagery, period))
        for name, imagery in recipe.inputs.items()
    ]


def _group_size(settings: TrainRecipe, grid: Grid, blocks: Sequence[PixelBox]) -> tuple[int, int]:
    """Rows and columns of pixels of a spatial group, by the scale amid the labels."""
    around = reduce(PixelBox.__or__, blocks)
    try:
        scale = scale_of(grid.geobox_of(around))
    except AreaError:  # axes so skewed that no block is square: as the CRS counts
        unit = grid.pixel_width / grid.resolution
        scale = GroundScale(unit, unit)
    rows, cols = scale.pixels(settings.split.blocks, grid.resolution)
    return max(rows, settings.chip), max(cols, settings.chip)


def _find_sources(
    recipe: Recipe, grid: Grid, blocks: Sequence[PixelBox], period: int
) -> dict[str, ItemIndex]:
    """Items around the labels only: a country is not searched for a few polygons."""
    boxes = [grid.geobox_of(block).extent.geom for block in blocks]
    around = Geometry(shapely.union_all(boxes), grid.crs).to_crs("EPSG:4326")
    items = find_items(recipe, around, CONTEXT + 16, (period,))
    indexes = index_items(recipe, grid, items)
    check_reach(recipe, grid, indexes, [block.pad(CONTEXT + 16) for block in blocks], (period,))
    return indexes


def _together(blocks: Sequence[PixelBox]) -> Iterator[list[PixelBox]]:
    """Blocks that lie in one larger block of the lattice."""
    groups: dict[tuple[int, int], list[PixelBox]] = defaultdict(list)
    for block in blocks:
        groups[block.row0 // _READ_TOGETHER, block.col0 // _READ_TOGETHER].append(block)
    yield from groups.values()


def _as_they_are(inputs: Sequence[InputBands], takes: tuple[str, ...]) -> ModelSpec:
    """A contract that takes inputs without scaling."""
    return ModelSpec(
        name="chips",
        inputs=tuple(i.unscaled(takes) for i in inputs),
        classes=(),
        lattice=Lattice(1, 0),
        architecture="none",
        output=EmbeddingOutput(1),
        layout="mapping",
    )
