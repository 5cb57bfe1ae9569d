"""Where groups of labelled samples lie: blocks of a grid, or any shapes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import shapely

from rsscale.errors import AreaError
from rsscale.geo.grid import Grid
from rsscale.geo.ground import ground_scale
from rsscale.geo.lattice import PixelBox

MOST_POINTS = 2000
"""Labels whose positions are kept for a map of a split."""
_ROW = 1_000_003
_HALF = _ROW // 2


@dataclass(frozen=True, eq=False)
class GroupShapes:
    """Shapes of groups of samples, and where some of their labels lie.

    Attributes
    ----------
    kind : str
        What the groups are, such as ``"blocks of 1500 m"``.
    crs : str
        Of the shapes and points, as an authority's code or WKT; empty where it is not known.
    shapes : mapping of group to geometry
        Of any type.
    points : float64 array (M, 2)
        x and y of labels.
    labels : array (M,)
        Their class values or names.
    remark : str
        How they differ from what was asked for; empty where they don't.
    """

    kind: str
    crs: str
    shapes: Mapping[int, shapely.Geometry]
    points: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))
    labels: npt.NDArray[Any] = field(default_factory=lambda: np.zeros(0, np.int64))
    remark: str = ""

    @classmethod
    def around_points(
        cls,
        kind: str,
        points: npt.NDArray[np.float64],
        groups: npt.NDArray[np.int64],
        labels: npt.NDArray[Any],
        *,
        crs: str = "",
        blocks: float | None = None,
    ) -> GroupShapes:
        """Groups of samples at points ``(N, 2)``: their blocks, else the boxes around them."""
        shapes = {}
        for group in np.unique(groups).tolist():
            own = points[groups == group]
            low, high = own.min(axis=0), own.max(axis=0)
            if blocks is not None:
                low = np.floor(low / blocks) * blocks
                high = low + blocks
            shapes[group] = shapely.box(*low, *high)
        chosen = some_of(len(points), MOST_POINTS)
        return cls(kind, crs, shapes, points[chosen], labels[chosen])

    @property
    def metres(self) -> tuple[float, float] | None:
        """Metres on the ground of a unit along x and y, amid the shapes; None if not known."""
        if not self.crs or not self.shapes:
            return None
        west, south, east, north = shapely.total_bounds(list(self.shapes.values()))
        try:
            scale = ground_scale(self.crs, (west + east) / 2, (south + north) / 2)
        except AreaError:
            return None
        return scale.x, scale.y

    @property
    def unit(self) -> str:
        """Of the coordinates: ``"m"``, ``"°"`` or another's name; empty if not known."""
        return unit_of(self.crs)

    @property
    def crs_name(self) -> str:
        """A short name: the code, else what the CRS calls itself."""
        if not self.crs:
            return ""
        crs = pyproj.CRS(self.crs)
        code = crs.to_epsg()
        return f"EPSG:{code}" if code else crs.name

    def to_lonlat(self) -> dict[int, shapely.Geometry]:
        """The shapes in EPSG:4326, as GeoJSON has them; none where the CRS is not known."""
        if not self.crs:
            return {}
        change = pyproj.Transformer.from_crs(self.crs, "EPSG:4326", always_xy=True)
        return {
            group: shapely.transform(shape, change.transform, interleaved=False)
            for group, shape in self.shapes.items()
        }


@dataclass(frozen=True)
class BlockGroups:
    """Groups that are blocks of a grid: whole chips, whose upper left corner lies in a cell.

    Attributes
    ----------
    grid : Grid
    rows, cols : int
        Of a cell, px.
    chip : int
        Width of a chip, px: no chip is parted, so that lines between groups are those of chips.
    """

    grid: Grid
    rows: int
    cols: int
    chip: int

    def group_of(self, chip: PixelBox) -> int:
        """The group of a chip."""
        return chip.row0 // self.rows * _ROW + chip.col0 // self.cols

    def box_of(self, group: int) -> PixelBox:
        """All pixels of a group."""
        col = (group + _HALF) % _ROW - _HALF
        row = (group - col) // _ROW
        edges = (row * self.rows, col * self.cols, (row + 1) * self.rows, (col + 1) * self.cols)
        return PixelBox(*(-(-edge // self.chip) * self.chip for edge in edges))

    def shape_of(self, group: int) -> shapely.Geometry:
        """The group's box in the grid's CRS."""
        return self.grid.geobox_of(self.box_of(group)).extent.geom

    def shapes_of(self, groups: Iterable[int]) -> dict[int, shapely.Geometry]:
        """Boxes of several groups in the grid's CRS."""
        return {group: self.shape_of(group) for group in sorted(set(groups))}


def unit_of(crs: str) -> str:
    """The unit of a CRS's coordinates: ``"m"``, ``"°"`` or another's name; empty of no CRS."""
    if not crs:
        return ""
    unit = pyproj.CRS(crs).axis_info[0].unit_name
    return {"metre": "m", "degree": "°"}.get(unit, unit)


def some_of(count: int, most: int, seed: int | tuple[int, ...] = 0) -> npt.NDArray[np.int64]:
    """Numbers of at most so many of ``count`` things, drawn at random, ascending.

    Evenly spaced pixels of an image would lie on lines.
    """
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))
