"""Pieces of objects larger than a window sees, put together along the lines between windows.

Each window answers for its core: a piece is clipped to it, and two pieces of one class are of one
object where they touch along the line between their windows. No pixel and no score of another
window is needed, so that the result is the same however windows were collected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.objects.candidates import BOTTOM, LEFT, RIGHT, TOP, Candidates, polygons_of, shapes_of

ENOUGH = 0.5
"""Share of the shorter of two stretches along a line that must touch the other."""

COVERED = 0.5
"""Share of a piece under a whole object of its class from which on it is a part of that one."""


@dataclass(frozen=True)
class MergedObjects:
    """Objects made of pieces, in order of the keys of their first pieces.

    Attributes
    ----------
    shapes : object array (n,)
        Polygons in global pixels.
    keys : int32 array (n, 3)
        Of each one's first piece.
    classes : int32 array (n,)
    scores : float32 array (n,)
        Means over the area of the pieces.
    parts : int32 array (n,)
        How many pieces.
    cut : bool array (n,)
        Whether an edge of a window that a piece touches has no other piece beyond it.
    """

    shapes: npt.NDArray[Any]
    keys: npt.NDArray[np.int32]
    classes: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    parts: npt.NDArray[np.int32]
    cut: npt.NDArray[np.bool_]


def covered_pieces(
    pieces: Candidates, wholes: Candidates, *, agnostic: bool = False
) -> npt.NDArray[np.bool_]:
    """Which pieces lie at least by half under one whole object of their class.

    They are the same object, which another window has seen whole.
    """
    covered = np.zeros(len(pieces), bool)
    if not len(pieces) or not len(wholes):
        return covered
    under, over = shapes_of(pieces.detections), shapes_of(wholes.detections)
    piece, whole = shapely.STRtree(over).query(under)
    if not agnostic:
        alike = pieces.detections.classes[piece] == wholes.detections.classes[whole]
        piece, whole = piece[alike], whole[alike]
    common = shapely.area(shapely.intersection(under[piece], over[whole]))
    covered[piece[common >= COVERED * shapely.area(under[piece])]] = True
    return covered


def merge_pieces(pieces: Candidates, stride: int) -> MergedObjects:
    """Join pieces that touch along the lines between the cores of their windows.

    Two are joined where what they have in common of a line is at least half of the shorter of
    their two stretches of it. Objects are the connected components.

    Parameters
    ----------
    pieces : Candidates
        In any order; the result does not depend on it.
    stride : int
        Width of the cores, px.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pieces = pieces.take(np.lexsort(pieces.keys.T[::-1]))
    shapes = clipped(pieces, stride)
    there = shapely.area(shapes) > 0
    pieces, shapes = pieces.take(there), shapes[there]
    count = len(pieces)
    first, second, sides = _contacts(pieces, shapes, stride)
    links = coo_array((np.ones(len(first), bool), (first, second)), shape=(count, count))
    groups, label = connected_components(links, directed=False)
    joined = np.zeros(count, np.uint8)
    np.bitwise_or.at(joined, first, sides[0])
    np.bitwise_or.at(joined, second, sides[1])
    is_open = ((pieces.sides & ~joined) != 0) | pieces.cut
    return _joined(pieces, shapes, label, groups, is_open)


def clipped(pieces: Candidates, stride: int) -> npt.NDArray[Any]:
    """What each piece covers of its window's core: object array ``(n,)`` of polygons."""
    row, col = pieces.keys[:, 0].astype(np.int64), pieces.keys[:, 1].astype(np.int64)
    lower = np.stack([col, row], axis=1) * float(stride)
    boxes = pieces.detections.boxes
    if pieces.detections.outlines is not None:
        cores = shapely.box(*lower.T, *(lower + stride).T)
        return polygons_of(shapely.intersection(shapes_of(pieces.detections), cores))
    x0, y0 = np.maximum(boxes[:, :2], lower).T
    x1, y1 = np.minimum(boxes[:, 2:], lower + stride).T
    polygons: npt.NDArray[Any] = shapely.box(x0, y0, np.maximum(x0, x1), np.maximum(y0, y1))
    return polygons


def _contacts(
    pieces: Candidates, shapes: npt.NDArray[Any], stride: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.uint8]]:
    """Pairs of pieces that touch enough: their numbers, and on which sides of each."""
    firsts, seconds, sides = [], [], []
    edges = _edges(shapes)
    for axis, own, others in ((0, RIGHT, LEFT), (1, BOTTOM, TOP)):
        first, second = _along(pieces, edges, stride, axis)
        firsts.append(first)
        seconds.append(second)
        sides.append(np.repeat(np.array([[own], [others]], np.uint8), len(first), axis=1))
    return np.concatenate(firsts), np.concatenate(seconds), np.concatenate(sides, axis=1)


def _edges(
    shapes: npt.NDArray[Any],
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """All straight edges of polygons: whose, and ``x, y`` of both ends ``(n, 2, 2)``."""
    parts, of_part = shapely.get_parts(shapes, return_index=True)
    rings, of_ring = shapely.get_rings(parts, return_index=True)
    coords, of_coord = shapely.get_coordinates(rings, return_index=True)
    follows = of_coord[1:] == of_coord[:-1]
    ends = np.stack([coords[:-1][follows], coords[1:][follows]], axis=1)
    return of_part[of_ring[of_coord[1:][follows]]], ends


def _along(
    pieces: Candidates,
    edges: tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]],
    stride: int,
    axis: int,
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Pairs that touch across vertical lines (axis 0) or horizontal ones (axis 1).

    The first of a pair lies left of the line, or above it.
    """
    owner, ends = edges
    # keys have the row first, and so the other way round than x and y
    core, beside = (pieces.keys[owner, n].astype(np.int64) for n in (1 - axis, axis))
    place = ends[:, :, axis]
    upper = (place == ((core + 1) * stride)[:, None]).all(axis=1)
    lower = (place == (core * stride)[:, None]).all(axis=1)
    reach = np.sort(ends[:, :, 1 - axis], axis=1)
    lengths = reach[:, 1] - reach[:, 0]
    count = len(pieces)
    of_upper = np.bincount(owner[upper], lengths[upper], count)
    of_lower = np.bincount(owner[lower], lengths[lower], count)
    pair_first, pair_second, common = _touching(
        (core[upper] + 1, beside[upper], owner[upper], reach[upper]),
        (core[lower], beside[lower], owner[lower], reach[lower]),
    )
    alike = pieces.detections.classes[pair_first] == pieces.detections.classes[pair_second]
    pairs = np.stack([pair_first[alike], pair_second[alike]], axis=1)
    pairs, which = np.unique(pairs, axis=0, return_inverse=True)
    total = np.bincount(which.reshape(-1), common[alike], len(pairs))
    first, second = pairs[:, 0], pairs[:, 1]
    enough = (total > 0) & (total >= ENOUGH * np.minimum(of_upper[first], of_lower[second]))
    return first[enough], second[enough]


_Stretches = tuple[
    npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.intp], npt.NDArray[np.float64]
]


def _touching(
    stretches: _Stretches, other: _Stretches
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Stretches of the same line between the same windows that overlap: whose, and by how much."""
    if not len(stretches[0]) or not len(other[0]):
        none = np.empty(0, np.intp)
        return none, none, np.empty(0)
    lines, others = (
        shapely.linestrings(np.stack([np.repeat(line[:, None], 2, axis=1), reach], axis=2))
        for line, _, _, reach in (stretches, other)
    )
    first, second = shapely.STRtree(others).query(lines)
    same = (stretches[0][first] == other[0][second]) & (stretches[1][first] == other[1][second])
    first, second = first[same], second[same]
    low = np.maximum(stretches[3][first, 0], other[3][second, 0])
    high = np.minimum(stretches[3][first, 1], other[3][second, 1])
    common = high - low
    longer = common > 0
    return stretches[2][first[longer]], other[2][second[longer]], common[longer]


def _joined(
    pieces: Candidates,
    shapes: npt.NDArray[Any],
    label: npt.NDArray[np.int32],
    groups: int,
    is_open: npt.NDArray[np.bool_],
) -> MergedObjects:
    """One object of each group of pieces, which are in order of their keys."""
    areas, scores = shapely.area(shapes), pieces.detections.scores.astype(np.float64)
    order = np.argsort(label, kind="stable")
    starts = np.searchsorted(label[order], np.arange(groups))
    firsts = order[starts] if groups else np.empty(0, np.intp)
    by_first = np.argsort(firsts, kind="stable")
    merged = np.empty(groups, object)
    mean = np.empty(groups, np.float64)
    cut = np.empty(groups, bool)
    ends = np.append(starts[1:], len(label))
    for place, group in enumerate(by_first):
        members = order[starts[group] : ends[group]]
        merged[place] = shapely.union_all(shapes[members])
        mean[place] = np.average(scores[members], weights=areas[members])
        cut[place] = is_open[members].any()
    firsts = firsts[by_first]
    return MergedObjects(
        shapely.normalize(merged),
        pieces.keys[firsts],
        pieces.detections.classes[firsts],
        mean.astype(np.float32),
        (ends - starts)[by_first].astype(np.int32),
        cut,
    )
