"""Which items can hold a pixel of a box.

Selection must never decide a value: a pixel's value would then depend on the box that was
asked for. So an item is left out only where its *rasters* can't reach the box; its footprint
is not asked, since footprints are simplified and sometimes wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pystac
from odc.geo.geobox import GeoBox

from rsscale.geo.raster_bounds import EVERYWHERE, RasterBounds, bounds_in, is_degrees
from rsscale.items import assets
from rsscale.items.interval import item_range

# Longitudes repeat: an item at 181 may hold pixels of a box at -179.
_TURNS = (-360.0, 0.0, 360.0)


class Lookup(Protocol):
    """Finds the items of a box: those in memory, or those that a run has frozen."""

    def touching(self, geobox: GeoBox, start: date, end: date) -> list[pystac.Item]:
        """See :meth:`ItemIndex.touching`."""

    def digest(self, geobox: GeoBox, start: date, end: date) -> str:
        """Hash of the items that :meth:`touching` returns."""

    def cost(self, geobox: GeoBox, start: date, end: date) -> tuple[int, float]:
        """How many items that is, and the bytes that they decode to."""


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
        moments = [_moments(item) for item in self.items]
        self.extents = Extents(
            bounds=_all_bounds(chosen, crs),
            starts=np.array([start for start, _ in moments], "datetime64[us]"),
            ends=np.array([end for _, end in moments], "datetime64[us]"),
            turns=_TURNS if is_degrees(crs) else (0.0,),
        )

        self._bands = len(bands)

    def __len__(self) -> int:
        return len(self.items)

    def digest(self, geobox: GeoBox, start: date, end: date) -> str:
        """Hash of the ids of what :meth:`touching` returns."""
        ids = [item.id for item in self.touching(geobox, start, end)]
        return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]

    def cost(self, geobox: GeoBox, start: date, end: date) -> tuple[int, float]:
        """How many items touch a box, and the bytes that they decode to, as uint16."""
        rows = self.extents.touching(geobox, start, end)
        left, bottom, right, top = geobox.boundingbox.bbox
        bounds = np.clip(self.extents.bounds[rows], [left, bottom] * 2, [right, top] * 2)
        covered = (bounds[:, 2] - bounds[:, 0]) * (bounds[:, 3] - bounds[:, 1])
        pixels = float(covered.sum()) / abs(geobox.resolution.x) ** 2
        return len(rows), pixels * self._bands * 2

    def touching(self, geobox: GeoBox, start: date, end: date) -> list[pystac.Item]:
        """Items that can hold a pixel of ``geobox`` taken from ``start`` to ``end``, inclusive.

        Parameters
        ----------
        geobox : GeoBox
            In the CRS of the index.
        start, end : date
            The last day counts whole.
        """
        return [self.items[row] for row in self.extents.touching(geobox, start, end)]


@dataclass(frozen=True)
class Extents:
    """Where the rasters of many items lie, and when they were taken.

    Attributes
    ----------
    bounds : float64 array (N, 4)
        West, south, east, north in the CRS of the index.
    starts, ends : datetime64[us] array (N,)
        First and last moment, UTC.
    turns : tuple of float
        What may be added to a longitude.
    """

    bounds: npt.NDArray[np.float64]
    starts: npt.NDArray[np.datetime64]
    ends: npt.NDArray[np.datetime64]
    turns: tuple[float, ...]

    def touching(self, geobox: GeoBox, start: date, end: date) -> npt.NDArray[np.intp]:
        """Numbers of the items that :meth:`ItemIndex.touching` returns."""
        left, bottom, right, top = geobox.boundingbox.bbox
        west, south, east, north = self.bounds.T
        first, after = np.datetime64(start, "D"), np.datetime64(end, "D") + 1
        hit = (south < top) & (north > bottom) & (self.starts < after) & (self.ends >= first)
        hit &= np.logical_or.reduce(
            [(west < right + turn) & (east > left + turn) for turn in self.turns]
        )
        return np.flatnonzero(hit)


def _all_bounds(chosen: assets.Selection, crs: str) -> npt.NDArray[np.float64]:
    """Bounds of each item's rasters, ``(N, 4)``; everywhere when it does not say."""
    rows = [
        {assets.raster(item, item.assets[key]) for key in keys}
        for item, keys in zip(chosen.items, chosen.keys, strict=True)
    ]
    # Scenes of one tile share their raster: each is projected once.
    rasters: list[RasterBounds] = list(
        dict.fromkeys(r for row in rows for r in row if r is not None)
    )
    known: dict[RasterBounds | None, npt.NDArray[np.float64]] = dict(
        zip(rasters, bounds_in(rasters, crs), strict=True)
    )
    known[None] = np.array(EVERYWHERE)
    out = np.empty((len(rows), 4))
    for number, row in enumerate(rows):
        boxes = np.array([known[raster] for raster in row or {None}])
        out[number, :2], out[number, 2:] = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    return out


def _moments(item: pystac.Item) -> tuple[np.datetime64, np.datetime64]:
    start, end = item_range(item.properties)
    nominal = assets.moment(item)
    return tuple(  # type: ignore[return-value]
        np.datetime64((moment or nominal).replace(tzinfo=None), "us") for moment in (start, end)
    )
