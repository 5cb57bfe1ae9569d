"""Pairs of a predicted and a true object that may be matched, and how close they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.object_scores.scored_objects import ScoredObjects

_Floats = npt.NDArray[np.float64]
_Indices = npt.NDArray[np.intp]

# Predicted objects whose pairs are found at a time: thousands that lie on one another make
# thousands of pairs each.
_CHUNK = 256
# A polygon fills its bounding box so exactly: it is an upright box, whose overlap is arithmetic.
_BOX = 1e-12


@dataclass(frozen=True)
class Candidates:
    """Pairs that may be matched, of one class and image each.

    Attributes
    ----------
    predicted, truth : intp arrays (n,)
        Positions of the objects.
    closeness : float64 array (n,)
        Intersection over union, 0 to 1; of points the distance in metres, negative, so that
        the larger is the closer.
    """

    predicted: _Indices
    truth: _Indices
    closeness: _Floats


def overlapping(predicted: ScoredObjects, truth: ScoredObjects, least: float) -> Candidates:
    """Pairs of polygons with an intersection over union of at least ``least``.

    Of polygons, not of their bounding boxes. A pair whose bounding boxes rule the overlap out is
    never intersected.

    Parameters
    ----------
    predicted, truth : ScoredObjects
        Polygons.
    least : float
        Above 0.
    """
    a, b = _Outlines.of(predicted.shapes), _Outlines.of(truth.shapes)
    pairs = []
    for p, t in _near(a.bounds, b.bounds, predicted, truth):
        both = np.minimum(a.bounds[p, 2:], b.bounds[t, 2:])
        sides = np.clip(both - np.maximum(a.bounds[p, :2], b.bounds[t, :2]), 0, None)
        shared = sides[:, 0] * sides[:, 1]  # an upper bound; exact of two boxes
        at_most = np.minimum(shared, np.minimum(a.areas[p], b.areas[t]))
        can = at_most >= least * (1 - 1e-9) * (a.areas[p] + b.areas[t] - at_most)
        pairs.append(_overlaps(p[can], t[can], shared[can], a, b))
    every = _joined(pairs)
    kept = every.closeness >= least * (1 - 1e-9)
    return Candidates(every.predicted[kept], every.truth[kept], every.closeness[kept])


def within_distance(predicted: ScoredObjects, truth: ScoredObjects, metres: float) -> Candidates:
    """Pairs of which one is a point: the centres lie so near, or the polygon holds the point.

    Parameters
    ----------
    predicted, truth : ScoredObjects
        At least one of points.
    metres : float
        On the ground; 0 asks that the point is held.
    """
    reach = metres / predicted.scale
    a = shapely.bounds(predicted.shapes).reshape(-1, 4) + np.hstack([-reach, reach])
    b = shapely.bounds(truth.shapes).reshape(-1, 4)
    pairs = []
    for p, t in _near(a, b, predicted, truth):
        steps = (predicted.centre[p] - truth.centre[t]) * predicted.scale[p]
        distance = np.hypot(steps[:, 0], steps[:, 1])
        kept = distance <= metres
        others = np.flatnonzero(~kept)
        kept[others] = shapely.intersects(predicted.shapes[p[others]], truth.shapes[t[others]])
        pairs.append((p[kept], t[kept], -distance[kept]))
    return _joined(pairs)


@dataclass(frozen=True)
class _Outlines:
    shapes: npt.NDArray[np.object_]
    bounds: _Floats
    areas: _Floats  # in units of the CRS
    is_box: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, shapes: npt.NDArray[np.object_]) -> _Outlines:
        bounds = shapely.bounds(shapes).reshape(-1, 4)
        areas = shapely.area(shapes)
        whole = (bounds[:, 2] - bounds[:, 0]) * (bounds[:, 3] - bounds[:, 1])
        is_box = np.abs(areas - whole) <= _BOX * whole
        return cls(shapes, bounds, np.where(is_box, whole, areas), is_box)


def _overlaps(
    p: _Indices, t: _Indices, shared: _Floats, a: _Outlines, b: _Outlines
) -> tuple[_Indices, _Indices, _Floats]:
    """Intersection over union of pairs; ``shared`` is the area that their bounding boxes share."""
    drawn = np.flatnonzero(~(a.is_box[p] & b.is_box[t]))
    shared = shared.copy()
    shared[drawn] = shapely.area(shapely.intersection(a.shapes[p[drawn]], b.shapes[t[drawn]]))
    return p, t, shared / (a.areas[p] + b.areas[t] - shared)


def _near(
    a: _Floats, b: _Floats, predicted: ScoredObjects, truth: ScoredObjects
) -> Iterator[tuple[_Indices, _Indices]]:
    """Pairs whose bounding boxes touch, of one class and image, some predicted objects at a time.

    Objects of other classes and images are moved apart: images share their pixel coordinates, and
    no pair of two images is ever made.
    """
    if not len(a) or not len(b):
        return
    everything = np.concatenate([a, b])
    low = everything[:, :2].min(axis=0)
    apart = everything[:, 2:].max(axis=0) - low + 1
    a, b = (
        _moved(bounds - np.tile(low, 2), objects.images, objects.classes, apart)
        for bounds, objects in ((a, predicted), (b, truth))
    )
    tree = shapely.STRtree(shapely.box(*b.T))
    for start in range(0, len(a), _CHUNK):
        p, t = tree.query(shapely.box(*a[start : start + _CHUNK].T))
        p = p + start
        # Moved coordinates are rounded: edges that touch may meet those of the next class.
        same = (predicted.images[p] == truth.images[t]) & (predicted.classes[p] == truth.classes[t])
        yield p[same], t[same]


def _moved(bounds: _Floats, images: _Indices, classes: _Indices, apart: _Floats) -> _Floats:
    steps = np.stack([images * apart[0], classes * apart[1]], axis=1)
    moved: _Floats = bounds + np.tile(steps, 2)
    return moved


def _joined(parts: list[tuple[_Indices, _Indices, _Floats]]) -> Candidates:
    if not parts:
        none = np.empty(0, np.intp)
        return Candidates(none, none, np.empty(0))
    p, t, closeness = (np.concatenate(some) for some in zip(*parts, strict=True))
    return Candidates(p, t, closeness)
