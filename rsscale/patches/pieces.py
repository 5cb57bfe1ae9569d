"""Pieces of a map: connected pixels of one class, and the borders that they share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from rsscale.geo.lattice import PixelBox, position_hash

Connectivity = Literal[4, 8]
"""Whether pixels that touch at a corner alone are connected."""

EDGE = 1 << 32
"""Weight in a border of an edge that two pixels share; a corner weighs 1, so that no number of
corners outweighs an edge."""

_Ints = npt.NDArray[np.int64]
_COLUMN = 1 << 31


@dataclass(frozen=True)
class Borders:
    """How much border pieces share.

    Attributes
    ----------
    first, second : int64 array
        The two pieces, each pair once.
    weight : int64 array
        Edges of pixels that they share, times ``EDGE``; with 8-connectivity and their corners.
    """

    first: _Ints
    second: _Ints
    weight: _Ints


@dataclass(frozen=True)
class Pieces:
    """The pieces of an image, in the order of their first pixels.

    Attributes
    ----------
    of_pixel : int32 array (y, x)
        The piece of each pixel, -1 where it has no class.
    classes : int64 array (piece,)
    pixels : int64 array (piece,)
        How many it has.
    units : int64 array (piece,)
        Its area, in whole units.
    places : int64 array (piece,)
        Its first pixel on the grid, by row and then by column; see :func:`places_of`.
    on_edge : bool array (piece,)
        Whether it has a pixel at the edge of the image, and may go on beyond.
    borders : Borders
    """

    of_pixel: npt.NDArray[np.int32]
    classes: _Ints
    pixels: _Ints
    units: _Ints
    places: _Ints
    on_edge: npt.NDArray[np.bool_]
    borders: Borders


def places_of(rows: _Ints, cols: _Ints) -> _Ints:
    """Pixels of the grid as one number each, in the order of rows and then of columns.

    Neighbours differ by 1 along a row and by ``1 << 32`` along a column.
    """
    return (np.asarray(rows, np.int64) << 32) + (np.asarray(cols, np.int64) + _COLUMN)


def rows_and_columns(places: _Ints) -> tuple[_Ints, _Ints]:
    """Rows and columns of the grid of places."""
    return places >> 32, (places & 0xFFFFFFFF) - _COLUMN


def lots(places: _Ints) -> npt.NDArray[np.uint64]:
    """A number that looks random for each place, no two of them the same."""
    return position_hash(*rows_and_columns(places))


def find_pieces(
    classes: npt.NDArray[np.integer],
    valid: npt.NDArray[np.bool_],
    units: npt.NDArray[np.int64],
    box: PixelBox,
    connectivity: Connectivity,
) -> Pieces:
    """Find the pieces of an image, and the borders between them.

    Rows are taken as runs of one class, of which there are far fewer than pixels; runs that
    touch are joined by the connected components of their graph.

    Parameters
    ----------
    classes : integer array (y, x)
    valid : bool array (y, x)
        Pixels without it belong to no piece and are no one's neighbour.
    units : int64 array, broadcast to (y, x)
        Area of each pixel.
    box : PixelBox
        Where the image lies on the grid.
    connectivity : 4 or 8

    Returns
    -------
    Pieces
    """
    run, first = _runs(classes, valid)
    run_class, is_valid = classes.ravel()[first].astype(np.int64), valid.ravel()[first]
    a, b, weight = _contacts(run, first, is_valid, connectivity)
    same = run_class[a] == run_class[b]
    of_run, first_run = _joined(a[same], b[same], is_valid)
    of_pixel, count = of_run[run], len(first_run)
    rows, cols = np.divmod(first[first_run], classes.shape[1])
    lengths = np.diff(first, append=classes.size)
    area = np.add.reduceat(np.broadcast_to(units, classes.shape).ravel(), first)
    return Pieces(
        of_pixel=of_pixel,
        classes=run_class[first_run],
        pixels=_sums(lengths, of_run, is_valid, count),
        units=_sums(area, of_run, is_valid, count),
        places=places_of(rows + box.row0, cols + box.col0),
        on_edge=_at_edge(of_pixel, count),
        borders=summed(of_run[a[~same]], of_run[b[~same]], weight[~same]),
    )


def summed(
    first: npt.NDArray[np.integer], second: npt.NDArray[np.integer], weight: _Ints
) -> Borders:
    """Borders with each pair once, the lower number first, without those of one and the same."""
    low, high = np.minimum(first, second).astype(np.int64), np.maximum(first, second)
    apart = low != high
    low, high, weight = low[apart], high[apart], weight[apart]
    pair, total = sums_by(low << 32 | high, weight)
    return Borders(pair >> 32, pair & 0xFFFFFFFF, total)


def sums_by(key: _Ints, weight: _Ints) -> tuple[_Ints, _Ints]:
    """The different keys in their order, and the sum of the weights of each."""
    order = np.argsort(key, kind="stable")
    key = key[order]
    begins = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]])) if len(key) else order
    return key[begins], np.add.reduceat(weight[order], begins) if len(key) else weight


def _runs(
    classes: npt.NDArray[np.integer], valid: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int32], _Ints]:
    """Runs of one class along rows: the run of each pixel ``(y, x)``, each one's first pixel."""
    starts = np.ones(classes.shape, bool)
    starts[:, 1:] = (classes[:, 1:] != classes[:, :-1]) | (valid[:, 1:] != valid[:, :-1])
    run = (np.cumsum(starts, dtype=np.int32) - np.int32(1)).reshape(classes.shape)
    return run, np.flatnonzero(starts)


def _contacts(
    run: npt.NDArray[np.int32],
    first: _Ints,
    is_valid: npt.NDArray[np.bool_],
    connectivity: Connectivity,
) -> tuple[_Ints, _Ints, _Ints]:
    """Pairs of runs with a class that touch, and the weight of the border between them."""
    pairs = [(a, b, count * EDGE) for a, b, count in _beside(run, first, run.shape[1])]
    if connectivity == 8:
        pairs += [*_touching(run[:-1, :-1], run[1:, 1:]), *_touching(run[:-1, 1:], run[1:, :-1])]
    a, b, weight = (np.concatenate(part) for part in zip(*pairs, strict=True))
    both = is_valid[a] & is_valid[b]
    return a[both], b[both], weight[both]


def _joined(
    a: _Ints, b: _Ints, is_valid: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int32], _Ints]:
    """Runs joined to pieces by pairs of one class that touch.

    Returns
    -------
    of_run : int32 array (run,)
        The piece of each run, -1 where it has no class.
    first_run : int64 array (piece,)
        The first run of each piece, which has its first pixel.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(a), np.int8), (a, b)), (len(is_valid),) * 2)
    count, label = connected_components(graph, directed=False)
    # Runs are in raster order. Written backwards, so that the first is what stays.
    first_run = np.empty(count, np.int64)
    first_run[label[::-1]] = np.arange(len(is_valid))[::-1]
    first_run = np.sort(first_run[is_valid[first_run]])
    rank = np.full(count, -1, np.int32)
    rank[label[first_run]] = np.arange(len(first_run))
    return rank[label], first_run


def _at_edge(of_pixel: npt.NDArray[np.int32], count: int) -> npt.NDArray[np.bool_]:
    """Which of the pieces have a pixel at the edge of the image."""
    edge = np.concatenate([of_pixel[0], of_pixel[-1], of_pixel[:, 0], of_pixel[:, -1]])
    on_edge = np.zeros(count, bool)
    on_edge[edge[edge >= 0]] = True
    return on_edge


def _beside(
    run: npt.NDArray[np.int32], first: _Ints, width: int
) -> Iterator[tuple[npt.NDArray[np.integer], npt.NDArray[np.integer], _Ints]]:
    """Runs that share edges, and how many: one after the other in a row, one below the other."""
    follows = np.flatnonzero(first % width != 0)
    yield follows - 1, follows, np.ones(len(follows), np.int64)
    yield from _touching(run[:-1], run[1:])


def _touching(
    above: npt.NDArray[np.int32], below: npt.NDArray[np.int32]
) -> Iterator[tuple[npt.NDArray[np.integer], npt.NDArray[np.integer], _Ints]]:
    """Pairs of runs at the same pixels of two arrays of the same shape, and at how many."""
    if not above.size:
        return
    starts = np.ones(above.shape, bool)
    starts[:, 1:] = (above[:, 1:] != above[:, :-1]) | (below[:, 1:] != below[:, :-1])
    first = np.flatnonzero(starts)
    count = np.diff(first, append=above.size)
    yield above.ravel()[first], below.ravel()[first], count


def _sums(
    values: _Ints, of_run: npt.NDArray[np.int32], where: npt.NDArray[np.bool_], count: int
) -> _Ints:
    total = np.zeros(count, np.int64)
    np.add.at(total, of_run[where], values[where])
    return total
