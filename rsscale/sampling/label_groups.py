"""Groups of labelled pixels that are never parted between training and test: blocks, polygons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.errors import AreaError, RecipeError
from rsscale.geo.grid import Grid
from rsscale.geo.ground import GroundScale, scale_of
from rsscale.geo.lattice import PixelBox
from rsscale.geo.sample_groups import BlockGroups
from rsscale.layers import NODATA, Period
from rsscale.recipe import TrainRecipe
from rsscale.reference.grid_features import GridFeatures
from rsscale.reference.grid_labels import GridLabels
from rsscale.reference.labels import Labels

Values = npt.NDArray[np.uint8]


class LabelGroups(Protocol):
    """Protocol of groups of labels."""

    @property
    def kind(self) -> str:
        """What they are, in words."""

    @property
    def remark(self) -> str:
        """How they differ from what was asked for; empty where they don't."""

    def groups_in(self, period: Period, block: PixelBox) -> list[int]:
        """Groups that have a label in a block; a chip is made for each."""

    def labels(self, period: Period, block: PixelBox, group: int) -> Values:
        """Class values of a group in a block; 255 elsewhere."""

    def shapes_of(self, groups: Iterable[int]) -> dict[int, shapely.Geometry]:
        """Shapes of groups in the grid's CRS."""


@dataclass(frozen=True)
class ByBlock:
    """Groups that are blocks of the grid.

    Attributes
    ----------
    blocks : BlockGroups
    by_period : mapping of year, or pair of years, to GridLabels
    kind, remark : str
        See :class:`LabelGroups`.
    """

    blocks: BlockGroups
    by_period: Mapping[Period, GridLabels]
    kind: str
    remark: str = ""

    def groups_in(self, period: Period, block: PixelBox) -> list[int]:  # noqa: ARG002
        """See :class:`LabelGroups`: one, whatever its labels."""
        return [self.blocks.group_of(block)]

    def labels(self, period: Period, block: PixelBox, group: int) -> Values:  # noqa: ARG002
        """See :class:`LabelGroups`: all of the block."""
        return self.by_period[period].rasterize(block)

    def shapes_of(self, groups: Iterable[int]) -> dict[int, shapely.Geometry]:
        """See :class:`LabelGroups`."""
        return self.blocks.shapes_of(groups)


def block_groups(
    settings: TrainRecipe,
    grid: Grid,
    blocks: Sequence[PixelBox],
    by_period: Mapping[Period, GridLabels],
) -> ByBlock:
    """Spatial groups of the asked width on the ground, by the scale amid the labels."""
    around = reduce(PixelBox.__or__, blocks)
    try:
        scale = scale_of(grid.geobox_of(around))
    except AreaError:  # axes so skewed that no block is square: as the CRS counts
        unit = grid.pixel_width / grid.resolution
        scale = GroundScale(unit, unit)
    width, chip = settings.split.blocks, settings.chip
    rows, cols = (max(size, chip) for size in scale.pixels(width, grid.resolution))
    kind, remark = f"blocks of {width:g} m, to whole chips of {chip} px", ""
    if max(rows, cols) == chip:
        high, wide = (chip * grid.resolution * unit for unit in (scale.y, scale.x))
        ground = f"{wide:,.0f}" if round(wide) == round(high) else f"{wide:,.0f} x {high:,.0f}"
        kind = f"blocks of {ground} m: chips of {chip} px"
        if round(min(wide, high)) > width:
            remark = (
                f"places are {ground} m wide and not {width:,.10g}, as train.split.blocks asks: "
                f"a chip of {chip} px is never parted; a smaller train.chip allows smaller ones"
            )
    return ByBlock(BlockGroups(grid, rows, cols, chip), by_period, kind, remark)


@dataclass(frozen=True, eq=False)
class ByPolygon:
    """Groups that are features of the labels: polygons, or points one by one.

    A feature that labels several periods is one group.

    Attributes
    ----------
    labels_of : Labels
    by_period : mapping of year, or pair of years, to GridLabels

    Raises
    ------
    RecipeError
        When the labels are a raster, which has no features.
    """

    labels_of: Labels
    by_period: Mapping[Period, GridLabels]
    kind: str = "polygons of the labels"
    remark: str = ""

    def __post_init__(self) -> None:
        if not all(isinstance(labels, GridFeatures) for labels in self.by_period.values()):
            raise RecipeError(
                f"labels {self.labels_of.source} are a raster, which has no polygons; leave "
                "train.split.by out: blocks are the groups"
            )

    def groups_in(self, period: Period, block: PixelBox) -> list[int]:
        """See :class:`LabelGroups`."""
        return sorted(set(self._rows(period, block).ravel().tolist()) - {-1})

    def labels(self, period: Period, block: PixelBox, group: int) -> Values:
        """See :class:`LabelGroups`."""
        values = self.by_period[period].rasterize(block)
        return np.where(self._rows(period, block) == group, values, np.uint8(NODATA))

    def shapes_of(self, groups: Iterable[int]) -> dict[int, shapely.Geometry]:
        """See :class:`LabelGroups`."""
        shapes: dict[int, shapely.Geometry] = {}
        for period, labels in self.by_period.items():
            rows = self._index(period)
            if isinstance(labels, GridFeatures):
                shapes |= dict(zip(rows.tolist(), (s for s, _ in labels.shapes), strict=True))
        return {group: shapes[group] for group in sorted(set(groups))}

    def _rows(self, period: Period, block: PixelBox) -> npt.NDArray[np.int64]:
        """Row of the labels that each pixel is of; -1 where unlabelled."""
        labels = self.by_period[period]
        if not isinstance(labels, GridFeatures):
            raise TypeError("only features have rows")
        rows: npt.NDArray[np.int64] = np.append(self._index(period), -1)[labels.owners(block)]
        return rows

    def _index(self, period: Period) -> npt.NDArray[np.int64]:
        return np.asarray(self.labels_of.of(period).frame.index, np.int64)
