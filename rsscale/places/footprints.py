"""Footprints of items: where their geometry, or else their bbox, says that they lie."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.geo.antimeridian import box_on_globe, jumps, on_globe
from rsscale.places.raster_bounds import raster_of

ItemDict = dict[str, Any]
Shapes = npt.NDArray[np.object_]
# Longitudes go on beyond 180 by a turn or two, not by thousands.
_TURNS = 2


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
    texts = [json.dumps(item.get("geometry"), default=str) for item in items]
    # Not GeoJSON, or null: both become None.
    with np.errstate(all="ignore"):  # of numbers that no float holds
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
    except (TypeError, ValueError, OverflowError):
        return None
    if len(values) not in (4, 6) or not np.isfinite(values).all():
        return None
    half = len(values) // 2
    return values[0], values[1], values[half], values[half + 1]
