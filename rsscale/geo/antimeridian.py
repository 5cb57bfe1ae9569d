"""Geometry in degrees across the antimeridian and around the poles.

GeoJSON wants a shape that crosses the antimeridian to be cut there (RFC 7946, 3.1.9), and a box
across it to have west > east (5.2). Catalogues also write longitudes beyond 180, or let a
ring jump from 179 to -179. Here all of them become polygons between -180 and 180.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.affinity import translate

Floats = npt.NDArray[np.float64]

# An edge from -180 to 180 is that of a shape around the whole globe, not a jump.
_WHOLE = 359.999
_MOST_TURNS = 100


def box_on_globe(west: float, south: float, east: float, north: float) -> Any:
    """Turn a box in degrees into polygons between -180 and 180.

    With west > east it lies across the antimeridian; longitudes may lie beyond 180 as well.
    """
    if west > east:
        east += 360.0
    if east - west >= _WHOLE:
        west, east = -180.0, 180.0
    return _wrap(shapely.box(west, max(south, -90.0), east, min(north, 90.0)))


def on_globe(shape: Any, *, whole: float = _WHOLE) -> Any:
    """Turn a polygon or multipolygon in degrees into polygons between -180 and 180.

    Rings that jump by more than half the globe, lie beyond 180 or go around a pole are cut at
    the antimeridian; a shape that has none of these is returned as it is.

    Parameters
    ----------
    shape : shapely geometry
        Longitude first; finite.
    whole : float
        An edge of more than 180 degrees is a jump, but one of so many goes around the globe;
        infinite for rings whose edges are known to be short.
    """
    parts = [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon"]
    odd = [_is_odd(part, whole) for part in parts]
    if not any(odd):
        return shape
    made = [_on_globe(p, whole) if is_odd else p for p, is_odd in zip(parts, odd, strict=True)]
    return _polygons(made)


def jumps(shape: Any, *, whole: float = _WHOLE) -> bool:
    """Whether a ring has an edge of more than half the globe, but not all of it.

    Such a ring may mean the shape as it is drawn, around the globe, or one across the
    antimeridian.
    """
    return any(_is_jump(np.diff(_lon_lat(ring)[0]), whole).any() for ring in _rings(shape))


def centre_longitude(
    geometry: Mapping[str, Any] | None, bbox: Sequence[float] | None
) -> float | None:
    """Middle of the shortest range of longitudes that holds an item, in degrees.

    Parameters
    ----------
    geometry : GeoJSON geometry or None
        Also cut at the antimeridian, across it or beyond it.
    bbox : sequence of 4 or 6 floats, or None
        Used where there is no geometry.

    Returns
    -------
    float or None
        Between -180 and 180; ``None`` when both are missing or unreadable.
    """
    lons = _longitudes(geometry) if isinstance(geometry, Mapping) else None
    # Without NumPy, which takes five times as long for the few corners of a footprint.
    if not lons and isinstance(bbox, Sequence) and len(bbox) in (4, 6):
        lons = _range(bbox)
    if not lons or not all(map(math.isfinite, lons)):
        return None
    if {abs(lon) for lon in lons} == {180.0} and min(lons) < max(lons):
        return 0.0  # the whole globe
    return _middle(lons)


def _range(bbox: Sequence[Any]) -> list[float] | None:
    try:
        west, east = float(bbox[0]), float(bbox[len(bbox) // 2])
    except (TypeError, ValueError, OverflowError):
        return None
    return [west, east + 360.0 if west > east else east]


def _middle(lons: Iterable[float]) -> float:
    around = sorted({lon % 360.0 for lon in lons})
    gaps = [after - before for before, after in pairwise([*around, around[0] + 360.0])]
    widest = gaps.index(max(gaps))
    start = around[(widest + 1) % len(around)]
    middle = start + (360.0 - gaps[widest]) / 2
    return (middle + 180.0) % 360.0 - 180.0


def _longitudes(geometry: Mapping[str, Any]) -> list[float] | None:
    if geometry.get("type") == "Polygon":
        try:  # as nearly all are; a shapely object of each takes ten times as long
            return [float(xy[0]) for ring in geometry["coordinates"] for xy in ring]
        except (TypeError, ValueError, LookupError, OverflowError):
            return None
    try:
        shape = shapely.geometry.shape(geometry)
    except Exception:  # noqa: BLE001 -- whatever shapely trips over
        return None
    longitudes: list[float] = shapely.get_coordinates(shape)[:, 0].tolist()
    return longitudes


def unwrap(lons: Floats, *, whole: float = math.inf) -> Floats:
    """Longitudes along the last axis without jumps; they may leave [-180, 180]."""
    steps = np.diff(lons, axis=-1)
    steps = np.where(_is_jump(steps, whole), steps - 360.0 * np.sign(steps), steps)
    first = lons[..., :1]
    return np.concatenate([first, first + np.cumsum(steps, axis=-1)], axis=-1)


def _is_jump(steps: Floats, whole: float) -> npt.NDArray[np.bool_]:
    is_jump: npt.NDArray[np.bool_] = (np.abs(steps) > 180.0) & (np.abs(steps) < whole)
    return is_jump


def _rings(shape: Any) -> list[Any]:
    polygons = [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon"]
    return [ring for part in polygons for ring in (part.exterior, *part.interiors)]


def _lon_lat(ring: Any) -> tuple[Floats, Floats]:
    coordinates = shapely.get_coordinates(ring)
    return coordinates[:, 0], coordinates[:, 1]


def _is_odd(polygon: Any, whole: float) -> bool:
    west, _, east, _ = polygon.bounds
    return west < -180.0 or east > 180.0 or jumps(polygon, whole=whole)


def _on_globe(polygon: Any, whole: float) -> Any:
    outer = _filled(polygon.exterior, whole)
    holes = [_filled(ring, whole) for ring in polygon.interiors]
    return shapely.difference(outer, shapely.union_all(holes)) if holes else outer


def _filled(ring: Any, whole: float) -> Any:
    """The polygon inside a ring, between -180 and 180."""
    lons, lats = _lon_lat(ring)
    lons = unwrap(lons, whole=whole)
    turn = lons[-1] - lons[0]
    if abs(turn) > 180.0:  # once around: it ends where it began, at the pole's side
        pole = math.copysign(90.0, lats.mean())
        lons[-1] = lons[0] + math.copysign(360.0, turn)  # exactly, or a slit stays open
        lons = np.concatenate([lons, [lons[-1], lons[0]]])
        lats = np.concatenate([lats, [pole, pole]])
    return _wrap(shapely.make_valid(shapely.Polygon(np.column_stack([lons, lats]))))


def _wrap(shape: Any) -> Any:
    """Cut a shape at odd multiples of 180 degrees and move the parts to between -180 and 180.

    One that goes around the globe a hundred times is not in degrees, and lies nowhere: empty.
    """
    west, _, east, _ = shape.bounds
    first, last = math.floor((west + 180.0) / 360.0), math.ceil((east - 180.0) / 360.0)
    if first == last == 0:
        return shape
    if last - first > _MOST_TURNS:
        return shapely.Polygon()
    parts = []
    for turn in range(first, max(first, last) + 1):
        window = shapely.box(360.0 * turn - 180.0, -90.0, 360.0 * turn + 180.0, 90.0)
        part = shapely.intersection(shape, window)
        if part.area > 0:
            parts.append(translate(part, xoff=-360.0 * turn))
    return _polygons(parts)


def _polygons(shapes: Sequence[Any]) -> Any:
    """Union of the polygons among shapes; a repair also leaves lines and points."""
    parts = shapely.get_parts(shapely.get_parts(np.array(shapes, object)))
    return shapely.union_all([part for part in parts if part.geom_type == "Polygon"])
