"""Compare where ``proj:`` fields put a raster with the footprint of its item.

Footprints are drawn coarsely: buffered, simplified, or around the valid pixels alone. So a raster
is doubted only where it lies elsewhere, and where the footprint reaches far beyond it, tiles look
for its pixels in both.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import shapely

from rsscale.places.footprints import ItemDict, footprints
from rsscale.places.raster_bounds import WGS84, RasterBounds, bounds_in

Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""

# Of the smaller of two boxes; those that share less lie apart.
_TOUCHING = 0.01
# Of a footprint; a raster that holds less may be described too small.
_COVERED = 0.9
_TURNS = (-360.0, 0.0, 360.0)
# A grid of so many pixels a side stands for a box: bounds leave room of three pixels around it.
_PIXELS = 100
# Of GDAL's order (c, a, b, f, d, e), read as STAC's (a, b, c, d, e, f).
_GDAL_ORDER = (1, 2, 0, 4, 5, 3)


class Agreement(enum.Enum):
    """How a raster and a footprint fit together."""

    AGREE = "agree"
    PARTLY = "partly"
    APART = "apart"


class PlaceCheck:
    """Compares rasters with footprints; projects each raster once.

    Parameters
    ----------
    rasters : iterable of RasterBounds
        All that will be asked for.
    """

    def __init__(self, rasters: Iterable[RasterBounds]) -> None:
        unique = list(dict.fromkeys(rasters))
        self._boxes = dict(zip(unique, _boxes(unique), strict=True))

    def box(self, raster: RasterBounds) -> Box:
        """A box in degrees around a raster; infinite where it cannot be projected."""
        return self._boxes[raster]

    def compare(self, raster: RasterBounds, footprint: Sequence[Box]) -> Agreement:
        """Compare a raster with the parts of a footprint, in degrees; with none it agrees."""
        if not footprint:
            return Agreement.AGREE
        box = self._boxes[raster]
        if box[2] - box[0] > 180.0:
            ordered = tuple(raster.transform[place] for place in _GDAL_ORDER)
            swapped = _boxes([RasterBounds(raster.crs, ordered, raster.shape)])[0]
            fits = swapped[2] - swapped[0] <= 180.0 and not lie_apart(swapped, footprint)
            return Agreement.APART if fits else Agreement.AGREE
        if lie_apart(box, footprint):
            return Agreement.APART
        whole = sum(_area(part) for part in footprint)
        covered = sum(_shared(box, part) for part in footprint)
        return Agreement.AGREE if covered >= _COVERED * whole else Agreement.PARTLY

    def choose(
        self, rasters: Sequence[RasterBounds], footprint: Sequence[Box]
    ) -> tuple[RasterBounds | None, Agreement]:
        """Of several descriptions of one raster the one that fits best; ``None`` if all lie apart.

        Without a footprint, two that lie apart cannot both be right, and none is chosen.
        """
        if not footprint and len(rasters) > 1:
            first, second = (self._boxes[raster] for raster in rasters[:2])
            if np.isfinite([first, second]).all() and lie_apart(first, [second]):
                return None, Agreement.APART
        agreements = [(raster, self.compare(raster, footprint)) for raster in rasters]
        for wanted in (Agreement.AGREE, Agreement.PARTLY):
            for raster, agreement in agreements:
                if agreement is wanted:
                    return raster, agreement
        return None, Agreement.APART


def footprint_boxes(items: Sequence[ItemDict]) -> list[tuple[Box, ...]]:
    """Boxes in degrees of the parts of items' footprints; none where an item has no footprint.

    Parameters
    ----------
    items : sequence of dict
        With ``geometry``, ``bbox``, ``properties`` and ``assets``, as STAC items have them.
    """
    shapes = footprints(items)
    bounds = shapely.bounds(shapes)
    boxes: list[tuple[Box, ...]] = [
        () if np.isnan(box[0]) else (tuple(box),) for box in bounds.tolist()
    ]
    for number in map(int, np.flatnonzero(bounds[:, 2] - bounds[:, 0] > 180.0)):
        parts = shapely.bounds(shapely.get_parts(shapes[number]))
        boxes[number] = tuple(tuple(part) for part in parts.tolist())
    return boxes


def box_raster(box: Box) -> RasterBounds:
    """A box in degrees as a raster, to be projected like one."""
    left, bottom, right, top = box
    step_x, step_y = (right - left) / _PIXELS, (top - bottom) / _PIXELS
    return RasterBounds(WGS84, (step_x, 0.0, left, 0.0, -step_y, top), (_PIXELS, _PIXELS))


def lie_apart(box: Box, footprint: Sequence[Box]) -> bool:
    """Whether a box shares next to nothing with the parts of a footprint, in degrees."""
    for part in footprint:
        smaller = min(_area(box), _area(part))
        if smaller <= 0 and _meet(box, part):  # a point or a line
            return False
        if smaller > 0 and _shared(box, part) >= _TOUCHING * smaller:
            return False
    return True


def shown_box(box: Sequence[float]) -> str:
    """A box in degrees for a message."""
    return "[" + ", ".join(f"{edge:.3f}" for edge in box) + "]"


def _boxes(rasters: Sequence[RasterBounds]) -> list[Box]:
    bounds: Any = bounds_in(rasters, WGS84).tolist()
    return [tuple(box) for box in bounds]


def _area(box: Box) -> float:
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def _shared(a: Box, b: Box) -> float:
    """Area that two boxes share; longitudes repeat."""
    high = min(a[3], b[3]) - max(a[1], b[1])
    if high <= 0:
        return 0.0
    wide = (min(a[2] + turn, b[2]) - max(a[0] + turn, b[0]) for turn in _TURNS)
    return high * sum(max(width, 0.0) for width in wide)


def _meet(a: Box, b: Box) -> bool:
    """Whether two boxes, of which one may have no area, touch."""
    high = a[1] <= b[3] and b[1] <= a[3]
    return high and any(a[0] + turn <= b[2] and b[0] <= a[2] + turn for turn in _TURNS)
