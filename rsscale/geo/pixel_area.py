"""How much ground a pixel covers: on the ellipsoid, or in the grid's own CRS."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj

from rsscale.errors import RecipeError
from rsscale.geo.grid import Grid
from rsscale.geo.ground import positions
from rsscale.geo.lattice import PixelBox

_Array = npt.NDArray[np.float64]

# The scale of a projection is taken at nodes this far apart at most, and is linear between them:
# an error of (distance / radius of the Earth) ** 2, below 1e-7.
_NODES_METRES = 2000.0
_NODES_PIXELS = 64
_DIGITS = 8
_RADIUS = 6.4e6
# Of a CRS that counts as one of equal areas.
_EQUAL = 1e-6


def pixel_areas(grid: Grid, box: PixelBox) -> _Array:
    """Area of each pixel of a box on the ellipsoid of the grid's CRS.

    A pixel's value does not depend on the box. On a geographic grid it is the exact area between
    two parallels and two meridians; on a projected one the area scale of the projection at the
    pixel's centre, to better than 1e-6.

    Parameters
    ----------
    grid : Grid
    box : PixelBox

    Returns
    -------
    float64 array (rows, cols)
        Square metres; ``(rows, 1)`` on a geographic grid, where all of a row are equal. NaN where
        the projection has no ground.
    """
    crs = pyproj.CRS(grid.crs)
    if crs.is_geographic:
        return _between_parallels(crs, grid, box)
    distance = grid.resolution * _unit(crs)
    nodes = 1
    while nodes < _NODES_PIXELS and 2 * nodes * distance <= _NODES_METRES:
        nodes *= 2
    rows, row_shares = _nodes(box.row0, box.row1, nodes)
    cols, col_shares = _nodes(box.col0, box.col1, nodes)
    (x0, y0), res = grid.origin, grid.resolution
    x, y = np.meshgrid(x0 + (cols + 0.5) * res, y0 - (rows + 0.5) * res)
    at_nodes = res**2 * _ground(grid.crs)(x, y)
    # First along rows, then along columns: the same operations for a pixel in every box.
    first, share = row_shares
    by_row = at_nodes[first] * (1 - share)[:, None] + at_nodes[first + 1] * share[:, None]
    first, share = col_shares
    areas: _Array = by_row[:, first] * (1 - share) + by_row[:, first + 1] * share
    return areas


def plane_area(grid: Grid, extent: PixelBox) -> float:
    """Square metres of a pixel in the plane of the grid's CRS, where that is one of equal areas.

    Parameters
    ----------
    grid : Grid
    extent : PixelBox
        Where the areas of the CRS must be true.

    Raises
    ------
    RecipeError
        When they are not.
    """
    crs = pyproj.CRS(grid.crs)
    advice = "use the area on the ellipsoid, or a grid in an equal-area CRS such as EPSG:3035"
    if crs.is_geographic:
        raise RecipeError(f"pixels of {grid.crs} are degrees, which have no area; {advice}")
    plane = _unit(crs) ** 2
    x = grid.origin[0] + np.linspace(extent.col0, extent.col1, 9) * grid.resolution
    y = grid.origin[1] - np.linspace(extent.row0, extent.row1, 9) * grid.resolution
    scale = plane / _ground(grid.crs)(*np.meshgrid(x, y))
    off = np.nanmax(np.abs(scale - 1), initial=0.0)
    if off > _EQUAL:
        raise RecipeError(
            f"{grid.crs} is no equal-area CRS: areas in it are up to {off:.2%} off here; {advice}"
        )
    return grid.resolution**2 * plane


def units_per_hectare(grid: Grid) -> int:
    """A power of ten: units of area that a pixel is a number of about eight digits of.

    Areas that are rounded to whole units have exact sums, the same in any order.
    """
    crs = pyproj.CRS(grid.crs)
    metres = _unit(crs) * (_RADIUS if crs.is_geographic else 1.0)
    hectares = (grid.resolution * metres) ** 2 / 10_000
    return int(10 ** max(_DIGITS - 1 - math.floor(math.log10(hectares)), 0))


def _between_parallels(crs: pyproj.CRS, grid: Grid, box: PixelBox) -> _Array:
    """Of an ellipsoid: b² Δλ / 2 · [sin φ / (1 - e² sin² φ) + artanh(e sin φ) / e]."""
    ellipsoid, unit = crs.ellipsoid, crs.axis_info[0].unit_conversion_factor
    if ellipsoid is None:
        raise RecipeError(f"{grid.crs} has no ellipsoid")
    a, b = ellipsoid.semi_major_metre, ellipsoid.semi_minor_metre
    e = math.sqrt(1 - (b / a) ** 2)
    edges = (grid.origin[1] - np.arange(box.row0, box.row1 + 1) * grid.resolution) * unit
    sine = np.sin(np.clip(edges, -math.pi / 2, math.pi / 2))
    curved = np.arctanh(e * sine) / e if e else sine
    zone = sine / (1 - (e * sine) ** 2) + curved
    areas: _Array = b**2 / 2 * grid.resolution * unit * (zone[:-1] - zone[1:])
    return areas[:, None]


def _nodes(start: int, stop: int, width: int) -> tuple[_Array, tuple[npt.NDArray[np.int64], Any]]:
    """Nodes around pixels, and for each pixel its node before and the share of the one after."""
    pixels = np.arange(start, stop)
    before = pixels // width
    nodes = np.arange(before[0], before[-1] + 2) * float(width)
    return nodes, (before - before[0], (pixels - before * width) / width)


def _unit(crs: pyproj.CRS) -> float:
    return float(crs.axis_info[0].unit_conversion_factor)


@lru_cache(maxsize=8)
def _ground(name: str) -> Callable[[Any, Any], _Array]:
    """For places in a projected CRS: square metres on the ellipsoid of a square unit of it."""
    place, step = positions(name)

    def ground(x: Any, y: Any) -> _Array:
        along_x = place(x + step, y) - place(x - step, y)
        along_y = place(x, y + step) - place(x, y - step)
        areas: _Array = np.linalg.norm(np.cross(along_x, along_y), axis=-1) / (2 * step) ** 2
        return areas

    return ground
