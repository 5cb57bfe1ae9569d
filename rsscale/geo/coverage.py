"""Which pixels a polygon holds, and what part of each it covers, whatever the box.

Both are told from a polygon's edges in global pixel coordinates, each edge always taken from
north to south. So two polygons that share an edge agree about it to the bit: a pixel's centre on
the edge is in exactly one of them, and their shares of a pixel add up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox

# Parts of a pixel that shares are counted in. Sums of whole parts are exact, in any order.
_PARTS = 2.0**26

_Array = npt.NDArray[Any]


def pixel_edges(shape: shapely.Geometry, grid: Grid) -> _Array:
    """Edges of a polygon in pixels: columns ``x0, y0, x1, y1, turn``; ``y0 < y1``, growing south.

    ``turn`` is 1 where the polygon lies east of the edge and -1 where it lies west. Edges along
    rows are left out: they decide nothing.

    Parameters
    ----------
    shape : Polygon or MultiPolygon
        In the grid's CRS.
    grid : Grid

    Returns
    -------
    float64 array (edges, 5)
    """
    # Normalised: outer rings run clockwise, holes the other way.
    rings = shapely.get_rings(shapely.get_parts(shapely.normalize(shape)))
    points, ring = shapely.get_coordinates(rings, return_index=True)
    x = (points[:, 0] - grid.origin[0]) / grid.resolution
    y = (grid.origin[1] - points[:, 1]) / grid.resolution
    is_edge = (ring[1:] == ring[:-1]) & (y[1:] != y[:-1])
    ends = np.stack([x[:-1], y[:-1], x[1:], y[1:]], axis=1)[is_edge]
    north_first = ends[:, 1] < ends[:, 3]
    ends[~north_first] = ends[~north_first][:, [2, 3, 0, 1]]
    # Clockwise, what goes south has the inside to its west.
    return np.column_stack([ends, np.where(north_first, -1.0, 1.0)])


def centres(edges: _Array, box: PixelBox) -> npt.NDArray[np.bool_]:
    """Pixels of a box whose centre lies in a polygon; bool ``(rows, cols)``.

    A centre on an edge belongs to the polygon east of it, on an edge along a row to the one south.
    """
    x0, y0, x1, y1, turn = edges.T
    # Rows whose line of centres crosses the edge, its northern end included.
    first = np.clip(np.ceil(y0 - 0.5), box.row0, box.row1)
    last = np.clip(np.ceil(y1 - 0.5), box.row0, box.row1)
    edge, row = _each(first, last)
    x = x0[edge] + (row + 0.5 - y0[edge]) * ((x1 - x0) / (y1 - y0))[edge]
    col = np.clip(np.ceil(x - 0.5), box.col0, box.col1)
    winding = _sum_at(row, col, turn[edge], box).cumsum(axis=1)
    inside: npt.NDArray[np.bool_] = winding[:, :-1] > 0
    return inside


def coverage(edges: _Array, box: PixelBox) -> npt.NDArray[np.float64]:
    """Share of each pixel of a box that a polygon covers, 0 to 1; float64 ``(rows, cols)``.

    Exact but for rounding to 2**-26 of a pixel.
    """
    near = (edges[:, 3] > box.row0) & (edges[:, 1] < box.row1)
    edge, x, y = _cut(edges[near], box)
    y = np.round(y * _PARTS) / _PARTS
    # Pieces between two cuts of the same edge: each lies in one pixel, or beside the box.
    piece = np.flatnonzero((edge[1:] == edge[:-1]) & (y[1:] > y[:-1]))
    row = np.floor((y[piece] + y[piece + 1]) / 2)
    middle = (x[piece] + x[piece + 1]) / 2
    height = (y[piece + 1] - y[piece]) * edges[near][edge[piece], 4]
    inside = (row >= box.row0) & (row < box.row1) & (middle < box.col1)
    row, middle, height = row[inside], middle[inside], height[inside]
    col = np.maximum(np.floor(middle), box.col0)
    # East of a piece, of its own pixel a part is covered and of all further ones the whole height.
    own = np.round(height * np.minimum(col + 1 - middle, 1) * _PARTS) / _PARTS
    sums = _sum_at(row, col, own, box) + _sum_at(row, col + 1, height - own, box)
    shares: npt.NDArray[np.float64] = np.clip(sums.cumsum(axis=1)[:, :-1], 0.0, 1.0)
    return shares


def _cut(edges: _Array, box: PixelBox) -> tuple[_Array, _Array, _Array]:
    """Edges cut at all borders of a box's pixels: edge, x and y of each cut, in order."""
    x0, y0, x1, y1, _ = edges.T
    slope = (x1 - x0) / (y1 - y0)
    west, east = np.minimum(x0, x1), np.maximum(x0, x1)
    at_row, row = _each(_above(y0, box.row0), _upto(y1, box.row1 + 1))
    at_col, col = _each(_above(west, box.col0), _upto(east, box.col1 + 1))
    every = np.arange(len(edges))
    edge = np.concatenate([every, every, at_row, at_col])
    x = np.concatenate([x0, x1, x0[at_row] + (row - y0[at_row]) * slope[at_row], col])
    cut = np.clip(y0[at_col] + (col - x0[at_col]) / slope[at_col], y0[at_col], y1[at_col])
    y = np.concatenate([y0, y1, row, cut])
    order = np.lexsort((x * np.sign(slope[edge]), y, edge))
    return edge[order], x[order], y[order]


def _above(low: _Array, start: int) -> _Array:
    """The first whole number beyond each, and not before a start."""
    first: _Array = np.maximum(np.floor(low) + 1, start)
    return first


def _upto(high: _Array, stop: int) -> _Array:
    """The first whole number that is not below each, and not after a stop."""
    last: _Array = np.minimum(np.ceil(high), stop)
    return last


def _each(first: _Array, last: _Array) -> tuple[_Array, _Array]:
    """All whole numbers of half-open ranges, and which range each is of."""
    count = np.maximum(last - first, 0).astype(np.int64)
    which = np.repeat(np.arange(len(count)), count)
    start = np.cumsum(count) - count
    numbers: _Array = first[which] + (np.arange(len(which)) - start[which])
    return which, numbers


def _sum_at(row: _Array, col: _Array, values: _Array, box: PixelBox) -> _Array:
    """Sums of values by pixel, with one more column."""
    height, width = box.shape
    place = (row - box.row0).astype(np.int64) * (width + 1) + (col - box.col0).astype(np.int64)
    sums: _Array = np.bincount(place, weights=values, minlength=height * (width + 1))
    return sums.reshape(height, width + 1)
