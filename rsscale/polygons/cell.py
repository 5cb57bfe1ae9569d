"""The pieces of one cell: a pure function of its pixels and those just around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.geo.lattice import PixelBox
from rsscale.patches.pieces import find_pieces, rows_and_columns
from rsscale.polygons.contacts import cell_contacts
from rsscale.polygons.parts import Parts
from rsscale.polygons.regions import NONE, Regions, class_regions, instance_regions
from rsscale.polygons.rings import trace, vertices_of
from rsscale.polygons.rules import PolygonRules

_Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ClassImage:
    """Classes over a box of the grid, which must hold the margin of each cell that is traced.

    Attributes
    ----------
    values : integer array (y, x)
    valid : bool array (y, x)
        Pixels with a class.
    units : int64 array, broadcast to (y, x)
        Area of each pixel, in units of :func:`rsscale.geo.pixel_area.units_per_hectare`.
    square_metres : float
        Of a unit.
    box : PixelBox
    """

    values: npt.NDArray[np.integer]
    valid: _Bools
    units: npt.NDArray[np.int64]
    square_metres: float
    box: PixelBox

    def part(self, box: PixelBox) -> ClassImage:
        """A part of it."""
        at = box.slices(self.box)
        units = np.broadcast_to(self.units, self.values.shape)[at]
        return ClassImage(self.values[at], self.valid[at], units, self.square_metres, box)


def cell_parts(image: ClassImage, cell: PixelBox, rules: PolygonRules) -> Parts:
    """Trace the pieces of a cell: 4-connected pixels of a class or instance.

    Parameters
    ----------
    image : ClassImage
        Holds the cell and its margin.
    cell : PixelBox
    rules : PolygonRules

    Returns
    -------
    Parts
        Polygons in pixels of the grid, whose vertices on the sides of the cell are those of the
        cell beside it, and simplified together, so that neighbours share their borders.
    """
    around = image.part(cell.pad(rules.margin))
    regions = _regions(around, rules)
    own = (slice(1, -1), slice(1, -1))
    label, units = regions.label[own], image.part(cell).units
    pieces = find_pieces(label, label != NONE, units, cell, 4)
    piece, first = pieces.of_pixel, pieces.places
    keys, owner = cell_contacts(regions, piece, cell)
    least = rules.minimum / image.square_metres
    dropped = (pieces.units < least) & ~np.isin(np.arange(len(first)), owner)
    kept = np.flatnonzero(~dropped)
    number = np.full(len(first) + 1, NONE, np.int32)
    number[kept] = np.arange(len(kept), dtype=np.int32)
    piece = number[piece]
    value = regions.value[own]
    rows, cols = rows_and_columns(first[kept])
    return Parts(
        place=first[kept],
        value=value[rows - cell.row0, cols - cell.col0].astype(np.int32),
        units=pieces.units[kept],
        cut=_beside_nothing(around.valid, rules.margin, piece, len(kept)),
        pieces=np.ones(len(kept), np.int32),
        geometry=_polygons(regions, piece, len(kept), cell, _tolerance(units, image, rules)),
        contacts=keys,
        owner=number[owner].astype(np.int64),
    )


def _regions(around: ClassImage, rules: PolygonRules) -> Regions:
    if rules.instances is None:
        return class_regions(around.values, around.valid, rules)
    first = around.box.row0, around.box.col0
    return instance_regions(around.values, around.valid, first, rules, rules.instances)


def _beside_nothing(valid: _Bools, margin: int, piece: npt.NDArray[np.int32], count: int) -> _Bools:
    """Which pieces have a pixel with an edge to one without a value."""
    keep = slice(margin - 1, len(valid) - margin + 1)
    seen = valid[keep, keep]
    edge = ~(seen[:-2, 1:-1] & seen[2:, 1:-1] & seen[1:-1, :-2] & seen[1:-1, 2:])
    cut = np.zeros(count, bool)
    cut[piece[edge & (piece >= 0)]] = True
    return cut


def _tolerance(units: npt.NDArray[np.int64], image: ClassImage, rules: PolygonRules) -> float:
    """The tolerance in pixels of the cell; its square is what areas of triangles are below."""
    height, width = units.shape
    middle = float(units[height // 2, width // 2]) * image.square_metres
    return rules.simplify / float(np.sqrt(middle)) if middle > 0 else 0.0


def _polygons(
    regions: Regions,
    piece: npt.NDArray[np.int32],
    count: int,
    cell: PixelBox,
    tolerance: float,
) -> npt.NDArray[np.object_]:
    """The polygon of each piece, in pixels of the grid."""
    if not count:
        return np.empty(0, object)
    polygons, numbers = trace(piece, vertices_of(regions, piece))
    if tolerance > 0:
        polygons = shapely.coverage_simplify(polygons, tolerance, simplify_boundary=False)
    mine = np.flatnonzero(numbers >= 0)
    mine = mine[np.argsort(numbers[mine])]
    moved: npt.NDArray[np.object_] = shapely.transform(
        polygons[mine], lambda xy: xy + np.array([cell.col0, cell.row0])
    )
    return moved
