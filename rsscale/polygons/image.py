"""The polygons of an image: all cells that a box touches, joined as far as it can be known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rsscale.errors import RsscaleError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.geo.pixel_area import pixel_areas, units_per_hectare
from rsscale.patches.pieces import rows_and_columns
from rsscale.polygons.cell import ClassImage, cell_parts
from rsscale.polygons.parts import Parts
from rsscale.polygons.rules import M2_PER_HECTARE, PolygonRules

MOST_PIECES = 500_000
"""Pieces that are traced together at most: about a gigabyte."""


def box_around(core: PixelBox, rules: PolygonRules) -> PixelBox:
    """The pixels that the polygons of a box are traced from: whole cells, and their margin."""
    return core.snap(rules.cell).pad(rules.margin)


def image_parts(image: ClassImage, core: PixelBox, rules: PolygonRules) -> Parts:
    """Trace the pieces whose first pixel lies in a box, and join those that touch.

    A piece belongs to the box that holds the first of its pixels in its cell, in the order of
    reading: to one of any boxes that cover the plane.

    Parameters
    ----------
    image : ClassImage
        Holds :func:`box_around` of the box.
    core : PixelBox
    rules : PolygonRules

    Returns
    -------
    Parts
        Their contacts are those with pieces of other boxes.

    Raises
    ------
    RsscaleError
        For more pieces than are traced together.
    """
    tile_parts: list[Parts] = []
    count = 0
    for cell in core.blocks(rules.cell):
        parts = cell_parts(image, cell, rules)
        row, col = rows_and_columns(parts.place)
        mine = (row >= core.row0) & (row < core.row1) & (col >= core.col0) & (col < core.col1)
        tile_parts.append(parts.take(mine))
        count += int(mine.sum())
        if count > MOST_PIECES:
            _refuse(count, len(tile_parts), core, rules)
    return Parts.together(tile_parts).joined()


def _refuse(count: int, cells: int, core: PixelBox, rules: PolygonRules) -> None:
    pixels = cells * rules.cell**2 / count
    raise RsscaleError(
        f"the pixels from row {core.row0}, column {core.col0} have {count:,} pieces in their first "
        f"{cells} cells of {rules.cell} px, one for {pixels:.1f} px; expected at most "
        f"{MOST_PIECES:,} pieces in a tile. Drop single pixels first, with a step of the kind "
        "minimum-mapping-unit or a minimum, or use a smaller grid.tile"
    )


def class_image(
    values: npt.NDArray[np.integer], valid: npt.NDArray[np.bool_], grid: Grid, box: PixelBox
) -> ClassImage:
    """Classes over a box of a grid with the areas of their pixels on the ellipsoid.

    Raises
    ------
    RsscaleError
        Where a pixel with a class has no ground.
    """
    per_hectare = units_per_hectare(grid)
    units = np.rint(pixel_areas(grid, box) * (per_hectare / M2_PER_HECTARE))
    if not np.isfinite(units).all():
        if not np.isfinite(np.broadcast_to(units, valid.shape)[valid]).all():
            raise RsscaleError(
                f"the CRS {grid.crs} has no ground for some pixels with a class, from row "
                f"{box.row0} and column {box.col0} on; map on a CRS that covers the area"
            )
        units = np.nan_to_num(units)
    square_metres = M2_PER_HECTARE / per_hectare
    return ClassImage(values, valid, units.astype(np.int64), square_metres, box)
