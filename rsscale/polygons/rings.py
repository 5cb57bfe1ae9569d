"""Rings of pieces: polygons that have a vertex wherever borders meet, as a valid coverage has."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.geo.rasterize import raster_features
from rsscale.polygons.regions import Regions

_Ints = npt.NDArray[np.int64]
_Bools = npt.NDArray[np.bool_]
_Floats = npt.NDArray[np.float64]


def trace(piece: npt.NDArray[np.int32], vertices: _Bools) -> tuple[npt.NDArray[np.object_], _Ints]:
    """Trace the polygons of an image along the edges of its pixels, those of no piece too.

    Parameters
    ----------
    piece : int32 array (rows, cols)
        4-connected pixels of a number are a polygon.
    vertices : bool array (rows + 1, cols + 1)
        Corners of pixels where a polygon whose border passes has a vertex.

    Returns
    -------
    polygons : array of shapely.Polygon
        ``x`` counts columns, ``y`` rows, from the first corner.
    numbers : int64 array
        The number of each.
    """
    shapes = raster_features().shapes(piece)
    outlines = [(shape["coordinates"], number) for shape, number in shapes]
    rings = [ring for polygon, _ in outlines for ring in polygon]
    lengths = np.array([len(ring) for ring in rings], np.int64)
    points = np.fromiter(
        chain.from_iterable(chain.from_iterable(rings)), np.float64, 2 * int(lengths.sum())
    ).reshape(-1, 2)
    ends = np.cumsum(lengths)
    points, moved = _with_vertices(points, ends, vertices)
    ring_starts = np.concatenate([[0], moved])
    per_polygon = np.concatenate([[0], np.cumsum([len(polygon) for polygon, _ in outlines])])
    polygons = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, points, (ring_starts, per_polygon)
    )
    return polygons, np.array([int(number) for _, number in outlines], np.int64)


def vertices_of(regions: Regions, piece: npt.NDArray[np.int32]) -> _Bools:
    """Corners of a cell's pixels where borders meet, inside of it and on its sides.

    On a side they are those of the pixels on both sides of it, so that both cells have the same.

    Parameters
    ----------
    regions : Regions
    piece : int32 array (rows, cols)
        Number of each pixel's piece.

    Returns
    -------
    bool array (rows + 1, cols + 1)
    """
    around = np.pad(piece, 1, constant_values=-2)
    a, b, c, d = around[:-1, :-1], around[:-1, 1:], around[1:, :-1], around[1:, 1:]
    meets: _Bools = (a != b).astype(np.int8) + (c != d) + (a != c) + (b != d) >= 3
    north_west, north_east, south_west, south_east = (_quarter(regions.state, k) for k in range(4))
    grown = np.logical_or.reduce([_quarter(regions.grown, k) for k in range(4)])
    for side in (0, -1):
        meets[side] = ((north_west != north_east) | (south_west != south_east) | grown)[side]
        down = (north_west != south_west) | (north_east != south_east) | grown
        meets[:, side] = down[:, side]
    for row in (0, -1):
        for col in (0, -1):
            meets[row, col] = True
    return meets


def _quarter(array: npt.NDArray[Any], which: int) -> npt.NDArray[Any]:
    """Of each corner the pixel north-west, north-east, south-west or south-east of it."""
    down, right = divmod(which, 2)
    height, width = array.shape[0] - 1, array.shape[1] - 1
    return array[down : down + height, right : right + width]


def _with_vertices(points: _Floats, ends: _Ints, vertices: _Bools) -> tuple[_Floats, _Ints]:
    """Closed rings along rows and columns with more vertices on their edges; their new ends."""
    rows, cols = vertices.shape
    by_row, by_col = np.flatnonzero(vertices), np.flatnonzero(vertices.T)
    x, y = points.astype(np.int64).T
    x1, y1 = np.roll(x, -1), np.roll(y, -1)
    is_last = np.zeros(len(x), bool)
    is_last[ends - 1] = True
    level = y == y1
    start = np.where(level, y * cols + x, x * rows + y)
    stop = np.where(level, y1 * cols + x1, x1 * rows + y1)
    low, high = np.minimum(start, stop), np.maximum(start, stop)
    first = np.where(level, *(np.searchsorted(order, low, "right") for order in (by_row, by_col)))
    after = np.where(level, *(np.searchsorted(order, high, "left") for order in (by_row, by_col)))
    count = np.where(is_last, 0, after - first)
    edge = np.repeat(np.arange(len(x)), count)
    nth = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    forward = stop[edge] > start[edge]
    at = np.where(forward, first[edge] + nth, after[edge] - 1 - nth)
    in_row, in_col = (np.append(order, 0)[np.minimum(at, len(order))] for order in (by_row, by_col))
    position = np.cumsum(count + 1) - (count + 1)
    out = np.empty((len(x) + len(edge), 2))
    out[position] = points
    where = position[edge] + 1 + nth
    out[where, 0] = np.where(level[edge], in_row % cols, x[edge])
    out[where, 1] = np.where(level[edge], y[edge], in_col % rows)
    return out, position[ends - 1] + 1
