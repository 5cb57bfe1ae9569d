"""What STAC items say about their assets, in every dialect that catalogues use.

The same fact stands in ``raster:bands``, in STAC 1.1's ``bands``, on the asset itself or
in the item's properties. The functions here look in all of them and give one answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
from pystac.utils import str_to_datetime

from rsscale.errors import BandError, ItemError, nearest

# Bands whose values are codes or bit fields: an average of two codes is a third, wrong code.
CATEGORICAL = frozenset({
    "scl", "fmask", "oa_fmask", "qa", "qa_pixel", "pixel_qa", "bqa", "cloud_qa", "qa_radsat",
    "qa_aerosol", "sr_qa_aerosol", "mask", "cloudmask", "cloud_mask", "classification",
    "landcover", "land_cover", "label", "labels",
})  # fmt: skip


def canonical(items: Iterable[pystac.Item | Mapping[str, Any]]) -> list[pystac.Item]:
    """The items as pystac objects, sorted by (datetime, id).

    Raises
    ------
    ItemError
        When an item has neither ``datetime`` nor ``start_datetime``.
    """
    made = [i if isinstance(i, pystac.Item) else pystac.Item.from_dict(dict(i)) for i in items]
    return sorted(made, key=lambda item: (moment(item), item.id))


def moment(item: pystac.Item) -> datetime:
    """When the item was acquired, in UTC: ``datetime``, else ``start_datetime``."""
    when = item.datetime
    if when is None:
        start = item.properties.get("start_datetime")
        if start is None:
            raise ItemError(
                f"item {item.id!r} has neither datetime nor start_datetime; "
                "leave it out or give it a date"
            )
        when = start if isinstance(start, datetime) else str_to_datetime(start)
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


@dataclass(frozen=True)
class Selection:
    """The assets of a cube: which file holds which band of which item.

    Attributes
    ----------
    items : tuple of pystac.Item
        Sorted by (datetime, id).
    bands : tuple of str
        As they were asked for.
    keys : tuple of tuple of str
        Asset keys, ``keys[item][band]``.
    """

    items: tuple[pystac.Item, ...]
    bands: tuple[str, ...]
    keys: tuple[tuple[str, ...], ...]

    def is_categorical(self, column: int) -> bool:
        """Whether a band holds codes; by its name alone when there are no items."""
        name = self.bands[column].lower()
        return name in CATEGORICAL or any(
            is_categorical(row[column], item.assets[row[column]])
            for item, row in zip(self.items, self.keys, strict=True)
        )


def select(items: Iterable[pystac.Item | Mapping[str, Any]], bands: Sequence[str]) -> Selection:
    """Find the asset of each band in each item.

    A band is an asset key, or else a common name or band name (``eo:bands`` of STAC 1.0,
    ``bands`` of 1.1) that exactly one single-band asset has; of several, the only one that
    is a TIFF.

    Raises
    ------
    BandError
        When no item has a band (the message names those there are), when some item lacks
        it (the message names item and band), or when a name fits several assets.
    ItemError
        When an item has no date.
    """
    ordered = canonical(items)
    found = [[_find(item, band) for band in bands] for item in ordered]
    for column, band in enumerate(bands):
        lacking = [i.id for i, row in zip(ordered, found, strict=True) if row[column] is None]
        if lacking and len(lacking) == len(ordered):
            known = _band_names(ordered)
            raise BandError(
                f"no item has band {band!r}; there are {', '.join(known)}{nearest(band, known)}"
            )
        if lacking:
            raise BandError(
                f"item {lacking[0]!r} has no asset {band!r}, but other items do "
                f"({len(lacking)} of {len(ordered)} lack it); leave those items out"
            )
    keys = tuple(tuple(key for key in row if key is not None) for row in found)
    return Selection(tuple(ordered), tuple(bands), keys)


def _find(item: pystac.Item, band: str) -> str | None:
    if band in item.assets:
        count = len(_bands(item.assets[band]))
        if count > 1:
            raise BandError(
                f"asset {band!r} of item {item.id!r} holds {count} bands in one file; "
                "only assets of one band can be loaded"
            )
        return band
    fits = [
        key
        for key, asset in item.assets.items()
        if len(_bands(asset)) == 1 and band in _names(asset)
    ]
    if len(fits) > 1:
        # Some catalogues list every band twice, as COG and as the original JPEG 2000.
        tiffs = [key for key in fits if "tif" in (item.assets[key].media_type or "")]
        fits = tiffs if len(tiffs) == 1 else fits
    if len(fits) > 1:
        raise BandError(
            f"band {band!r} fits several assets of item {item.id!r}: {', '.join(fits)}; "
            "use one of these names"
        )
    return fits[0] if fits else None


def _bands(asset: pystac.Asset) -> list[dict[str, Any]]:
    """One dict a band in the file, whichever dialects describe them, merged by position."""
    fields = asset.extra_fields
    lists = [fields.get(name) for name in ("eo:bands", "bands", "raster:bands")]
    known = [entries for entries in lists if isinstance(entries, list)]
    merged: list[dict[str, Any]] = [{} for _ in range(max(map(len, known), default=0))]
    for entries in known:
        for target, entry in zip(merged, entries, strict=False):
            # Ancient items hold indices into a list of the collection instead of objects.
            target.update(entry if isinstance(entry, dict) else {})
    return merged


def names(key: str, item: pystac.Item) -> set[str]:
    """All names of an asset of one band: its key, its band's name and common name."""
    asset = item.assets[key]
    return {key, *_names(asset)} if len(_bands(asset)) == 1 else {key}


def _names(asset: pystac.Asset) -> set[str]:
    one = _bands(asset)[0]
    names = [one.get(key) for key in ("name", "common_name", "eo:common_name")]
    return {str(n) for n in (*names, asset.extra_fields.get("eo:common_name")) if n}


def _band_names(items: Sequence[pystac.Item]) -> list[str]:
    """Asset keys that look like bands, and their common names."""
    known: dict[str, None] = {}
    for item in items[:50]:
        for key, asset in item.assets.items():
            kind = asset.media_type or ""
            if len(_bands(asset)) == 1 or "tif" in kind or "jp2" in kind or not kind:
                known[key] = None
                known.update(dict.fromkeys(sorted(names(key, item))))
    return list(known)


def location(asset: pystac.Asset) -> str:
    """Where an asset lies: a URL, or a local path.

    An absolute path is local, whatever the item's own address is: pystac would take it as a
    path on the server that the item came from.
    """
    if Path(asset.href).is_absolute():
        return asset.href
    return asset.get_absolute_href() or asset.href


def field(item: pystac.Item, asset: pystac.Asset, name: str) -> Any:
    """A raster fact such as ``"nodata"``, ``"scale"``, ``"offset"`` or ``"data_type"``.

    Looked for in the band's object (``raster:bands`` of STAC 1.0, ``bands`` of 1.1), then
    on the asset, then in the item's properties, each with and without the ``raster:``
    prefix. ``None`` when it is nowhere.
    """
    bands = _bands(asset)
    scopes = [bands[0] if bands else {}, asset.extra_fields, item.properties]
    for scope in scopes:
        for key in (name, f"raster:{name}"):
            if scope.get(key) is not None:
                return scope[key]
    return None


def nodata(item: pystac.Item, asset: pystac.Asset) -> float | None:
    """The nodata value that metadata declares, in the file's own numbers; ``None`` if none."""
    value = field(item, asset, "nodata")
    return None if value is None else float(value)  # float() also reads STAC's "nan" and "inf"


def data_type(item: pystac.Item, asset: pystac.Asset) -> np.dtype[Any] | None:
    """The NumPy type that metadata declares; ``None`` if none, or not a NumPy type."""
    name = field(item, asset, "data_type")
    if name is None:  # which NumPy would take for float64
        return None
    try:
        return np.dtype(name)  # type: ignore[no-any-return]
    except TypeError:
        return None


def is_categorical(band: str, asset: pystac.Asset) -> bool:
    """Whether values are codes or bits: by name, or by the classification extension."""
    scopes: list[dict[str, Any]] = [asset.extra_fields, *_bands(asset)]
    classified = any(key.startswith("classification:") for scope in scopes for key in scope)
    return classified or band.lower() in CATEGORICAL


def projection(item: pystac.Item, asset: pystac.Asset, name: str) -> Any:
    """A ``proj:`` field of the asset, else of the item: ``"transform"``, ``"shape"`` and so on."""
    key = f"proj:{name}"
    value = asset.extra_fields.get(key)
    return item.properties.get(key) if value is None else value


def crs(item: pystac.Item, asset: pystac.Asset) -> str | None:
    """The CRS that metadata declares, as text that pyproj reads; ``None`` if none does."""
    code = projection(item, asset, "code")
    if code:
        return str(code)
    epsg = projection(item, asset, "epsg")
    if epsg:
        return f"EPSG:{int(epsg)}"
    wkt = projection(item, asset, "wkt2")
    if wkt:
        return str(wkt)
    projjson = projection(item, asset, "projjson")
    if projjson:
        from pyproj import CRS

        return str(CRS.from_json_dict(projjson).to_wkt())
    return None
