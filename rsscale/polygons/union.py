"""The union of polygons that share vertices, for those of millions of vertices, too."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import shapely

_Shapes = npt.NDArray[np.object_]
_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]
_Bools = npt.NDArray[np.bool_]


def union_of_pieces(polygons: _Shapes) -> shapely.Geometry:
    """The union of polygons that do not overlap and share the vertices where they touch.

    Holes that share no vertex with another polygon are holes of the union as they are. They are
    set aside meanwhile: of a polygon that reaches over a landscape, they are most of it.

    Parameters
    ----------
    polygons : array of shapely.Polygon or shapely.MultiPolygon
        That are connected with each other.

    Returns
    -------
    shapely.Polygon or shapely.MultiPolygon
        Not normalized.
    """
    if (shapely.get_type_id(polygons) != shapely.GeometryType.POLYGON).any():
        return shapely.coverage_union_all(polygons)
    _, points, (ring_ends, polygon_ends) = shapely.to_ragged_array(polygons)
    aside = _untouched_holes(points, ring_ends, polygon_ends)
    if not aside.any():
        return shapely.coverage_union_all(polygons)
    outer = shapely.coverage_union_all(_with_rings(points, ring_ends, polygon_ends, ~aside))
    if outer.geom_type != "Polygon":
        return shapely.coverage_union_all(polygons)
    _, around, (around_ends, _) = shapely.to_ragged_array([outer])
    holes, lengths = _rings(points, ring_ends, aside)
    ends = np.concatenate([around_ends, around_ends[-1] + np.cumsum(lengths)])
    joined: shapely.Polygon = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON,
        np.concatenate([around, holes]),
        (ends, np.array([0, len(ends) - 1])),
    )[0]
    return joined


def _untouched_holes(points: _Floats, ring_ends: _Ints, polygon_ends: _Ints) -> _Bools:
    """Which rings are holes without a vertex of another polygon."""
    ring = np.repeat(np.arange(len(ring_ends) - 1), np.diff(ring_ends))
    polygon = np.repeat(np.arange(len(polygon_ends) - 1), np.diff(ring_ends[polygon_ends]))
    # Complex numbers order points as they are, without a key that might not be unique.
    order = np.argsort(np.ascontiguousarray(points).view(np.complex128)[:, 0])
    starts = np.flatnonzero((np.diff(points[order], axis=0, prepend=np.nan) != 0).any(axis=1))
    of = polygon[order]
    shared = np.minimum.reduceat(of, starts) != np.maximum.reduceat(of, starts)
    hole = np.ones(len(ring_ends) - 1, bool)
    hole[polygon_ends[:-1]] = False
    hole[ring[order[np.repeat(shared, np.diff(starts, append=len(of)))]]] = False
    return hole


def _with_rings(points: _Floats, ring_ends: _Ints, polygon_ends: _Ints, kept: _Bools) -> _Shapes:
    """Polygons without some of their holes."""
    left, lengths = _rings(points, ring_ends, kept)
    rings_before = np.concatenate([[0], np.cumsum(kept)])
    out: _Shapes = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON,
        left,
        (np.concatenate([[0], np.cumsum(lengths)]), rings_before[polygon_ends]),
    )
    return out


def _rings(points: _Floats, ring_ends: _Ints, which: _Bools) -> tuple[_Floats, _Ints]:
    """The points of some rings, and how many each has."""
    lengths = np.diff(ring_ends)
    return points[np.repeat(which, lengths)], lengths[which]
