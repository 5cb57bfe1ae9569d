"""Footprints of items, and whether they meet an area.

A footprint decides what is searched for, so a wrong one must not lose an item whose pixels
are in the area: what is missing, broken or contradicts the item's rasters is replaced by
what the item says otherwise; an item that says nothing is kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.geo.antimeridian import box_on_globe, jumps, on_globe
from rsscale.geo.raster_bounds import raster_of

ItemDict = dict[str, Any]
# Longitudes go on beyond 180 by a turn or two, not by thousands.
_TURNS = 2
Shapes = npt.NDArray[np.object_]


def meets(area: Any, items: Sequence[ItemDict]) -> npt.NDArray[np.bool_]:
    """Which items may have a pixel in an area.

    Parameters
    ----------
    area : shapely geometry
        In EPSG:4326, between -180 and 180.
    items : sequence of dict
        STAC items as JSON objects.

    Returns
    -------
    numpy.ndarray
        One bool an item. True where the footprint meets the area; where footprint and rasters
        lie apart, one of them is wrong, and either may meet it. True also where an item has
        neither a footprint, nor a bbox, nor rasters with a place.
    """
    shapely.prepare(area)
    shapes = footprints(items)
    inside = _intersects(area, shapes)
    for number in map(int, np.flatnonzero(~inside)):
        place = raster_place(items[number])
        shape = shapes[number]
        if place is None:
            inside[number] = shape is None
        elif shape is None or not _intersects(place, np.array([shape], object))[0]:
            inside[number] = shapely.intersects(area, place)
    return inside


def footprints(items: Sequence[ItemDict]) -> Shapes:
    """The items' footprints in degrees, between -180 and 180; ``None`` where there is none.

    From the geometry, cut at the antimeridian and around the poles; where it is ``null`` or
    broken from the bbox.

    Parameters
    ----------
    items : sequence of dict
        STAC items as JSON objects.

    Returns
    -------
    numpy.ndarray
        Of shapely geometries, one an item.
    """
    texts = [json.dumps(item.get("geometry")) for item in items]
    # Not GeoJSON, or null: both become None.
    shapes: Shapes = np.array(shapely.from_geojson(texts, on_invalid="ignore"), dtype=object)
    west, south, east, north = shapely.bounds(shapes).T
    with np.errstate(invalid="ignore"):
        plain = (west >= -180) & (east <= 180) & (south >= -90) & (north <= 90)
        plain &= east - west <= 180
    for number in map(int, np.flatnonzero(~plain)):
        shapes[number] = _footprint(shapes[number], items[number])
    return shapes


def raster_place(item: ItemDict) -> Any:
    """A box in degrees that holds the item's rasters by their ``proj:`` fields, or ``None``."""
    common = item.get("properties") or {}
    for asset in (item.get("assets") or {}).values():
        raster = raster_of(asset, common) if isinstance(asset, Mapping) else None
        if raster is not None:
            return raster.degrees_box()
    return None


def _footprint(shape: Any, item: ItemDict) -> Any:
    """A footprint that is not plain: missing, broken, or across the antimeridian."""
    box = _box(item.get("bbox"))
    if shape is None or shape.is_empty or not np.isfinite(shape.bounds).all():
        return box
    west, south, east, north = shape.bounds
    if south < -90 or north > 90 or max(-west, east) > _TURNS * 360:
        return box  # latitude and longitude changed places, or metres
    if not jumps(shape) or _is_across(item.get("bbox")):
        return on_globe(shape)
    # It may be meant as it is drawn, around the globe. The rasters know; else both count.
    place = raster_place(item)
    if place is not None:
        return place
    return shapely.union_all(shapely.make_valid(np.array([shape, on_globe(shape)], object)))


def _is_across(bbox: Any) -> bool:
    """Whether a bbox crosses the antimeridian: its west is greater than its east."""
    edges = _edges(bbox)
    return edges is not None and edges[0] > edges[2]


def _box(bbox: Any) -> Any:
    edges = _edges(bbox)
    if edges is None:
        return None
    west, south, east, north = edges
    inside = -360 <= west <= 360 and -360 <= east <= 360 and -90 <= south <= north <= 90
    return box_on_globe(west, south, east, north) if inside else None


def _edges(bbox: Any) -> tuple[float, float, float, float] | None:
    try:
        values = [float(value) for value in bbox]
    except (TypeError, ValueError):
        return None
    if len(values) not in (4, 6) or not np.isfinite(values).all():
        return None
    half = len(values) // 2
    return values[0], values[1], values[half], values[half + 1]


def _intersects(area: Any, shapes: Shapes) -> npt.NDArray[np.bool_]:
    """Mask of shapes that meet an area; False for ``None``."""
    try:
        return np.array(shapely.intersects(area, shapes), dtype=bool)
    except shapely.GEOSException:
        # A footprint that crosses itself can stop the exact test. Its box is a superset.
        boxes = [None if shape is None else shapely.box(*shape.bounds) for shape in shapes]
        return np.array(shapely.intersects(area, np.array(boxes, object)), dtype=bool)
