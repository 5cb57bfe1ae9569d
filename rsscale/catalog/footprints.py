"""Whether items meet an area.

A footprint decides what is searched for, so a wrong one must not lose an item whose pixels
are in the area: what is missing, broken or contradicts the item's rasters is replaced by
what the item says otherwise; an item that says nothing is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.places.footprints import ItemDict, Shapes, footprints, raster_place

__all__ = ["ItemDict", "footprints", "meets", "raster_place"]


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


def _intersects(area: Any, shapes: Shapes) -> npt.NDArray[np.bool_]:
    """Mask of shapes that meet an area; False for ``None``."""
    try:
        return np.array(shapely.intersects(area, shapes), dtype=bool)
    except shapely.GEOSException:
        # A footprint that crosses itself can stop the exact test. Its box is a superset.
        boxes = [None if shape is None else shapely.box(*shape.bounds) for shape in shapes]
        return np.array(shapely.intersects(area, np.array(boxes, object)), dtype=bool)
