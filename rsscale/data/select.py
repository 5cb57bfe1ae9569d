"""Which items can hold a pixel of a box.

Selection must never decide a value: a pixel's value would then depend on the box that was
asked for. So an item is left out only where its *rasters* can't reach the box; its footprint
is not asked, since footprints are simplified and sometimes wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

import numpy as np
import pystac
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.geom import box as box_geometry
from odc.geo.types import wh_

from rsscale.data import assets
from rsscale.data.interval import item_range

_EVERYWHERE = (-np.inf, -np.inf, np.inf, np.inf)
# How far a resampling kernel reaches beyond a raster's edge, in its own pixels.
_SUPPORT = 3


class ItemIndex:
    """Items by where their rasters lie and when they were taken.

    Parameters
    ----------
    items : iterable of pystac.Item
        Sorted by (datetime, id) here.
    crs : str
        The grid's CRS.
    bands : sequence of str
        Bands that will be read; each item must have them.

    Raises
    ------
    BandError
        When no item, or not every item, has a band.
    """

    def __init__(self, items: Iterable[pystac.Item], crs: str, bands: Sequence[str]) -> None:
        chosen = assets.select(items, bands)
        self.items = chosen.items
        bounds = [
            _raster_bounds(item, row, crs)
            for item, row in zip(chosen.items, chosen.keys, strict=True)
        ]
        self._bounds = np.array(bounds, np.float64).reshape(-1, 4)
        moments = [_moments(item) for item in self.items]
        self._starts = np.array([start for start, _ in moments], "datetime64[us]")
        self._ends = np.array([end for _, end in moments], "datetime64[us]")

    def __len__(self) -> int:
        return len(self.items)

    def touching(self, geobox: GeoBox, start: date, end: date) -> list[pystac.Item]:
        """Items that can hold a pixel of ``geobox`` taken from ``start`` to ``end``, inclusive.

        Parameters
        ----------
        geobox : GeoBox
            In the CRS of the index.
        start, end : date
            The last day counts whole.
        """
        left, bottom, right, top = geobox.boundingbox.bbox
        first, after = np.datetime64(start, "D"), np.datetime64(end, "D") + 1
        hit = (
            (self._bounds[:, 0] < right)
            & (self._bounds[:, 2] > left)
            & (self._bounds[:, 1] < top)
            & (self._bounds[:, 3] > bottom)
            & (self._starts < after)
            & (self._ends >= first)
        )
        return [self.items[i] for i in np.flatnonzero(hit)]


def _raster_bounds(
    item: pystac.Item, keys: Sequence[str], crs: str
) -> tuple[float, float, float, float]:
    """Bounds of an item's rasters in ``crs``; everywhere when it does not say."""
    boxes = {_geobox(item, item.assets[key]) for key in keys}
    bounds = [_bounds_in(box, crs) for box in boxes if box is not None]
    if None in boxes or not bounds:
        return _EVERYWHERE
    lows, highs = np.min(bounds, axis=0), np.max(bounds, axis=0)
    return float(lows[0]), float(lows[1]), float(highs[2]), float(highs[3])


def _geobox(item: pystac.Item, asset: pystac.Asset) -> GeoBox | None:
    crs = assets.crs(item, asset)
    transform = assets.projection(item, asset, "transform")
    shape = assets.projection(item, asset, "shape")
    if not (crs and transform and shape):
        return None
    return GeoBox(wh_(int(shape[1]), int(shape[0])), Affine(*transform[:6]), crs)


def _bounds_in(geobox: GeoBox, crs: str) -> tuple[float, float, float, float]:
    bounds = geobox.pad(_SUPPORT).boundingbox
    step = max(bounds.span_x, bounds.span_y) / 64
    left, bottom, right, top = (
        box_geometry(*bounds.bbox, geobox.crs).to_crs(crs, resolution=step).boundingbox.bbox
    )
    # A raster that leaves the projection's domain may lie anywhere.
    if not np.isfinite([left, bottom, right, top]).all():
        return _EVERYWHERE
    return left, bottom, right, top


def _moments(item: pystac.Item) -> tuple[np.datetime64, np.datetime64]:
    start, end = item_range(item.properties)
    nominal = assets.moment(item)
    return tuple(  # type: ignore[return-value]
        np.datetime64((moment or nominal).replace(tzinfo=None), "us") for moment in (start, end)
    )
