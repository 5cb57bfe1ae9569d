"""Read the metadata of STAC assets, in every dialect that catalogues use.

The same fact stands in ``raster:bands``, in STAC 1.1's ``bands``, on the asset itself or
in the item's properties. The functions here look in all of them and give one answer.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from rsscale.errors import BandError, ItemError, nearest
from rsscale.geo.antimeridian import centre_longitude
from rsscale.geo.raster_bounds import RasterBounds, raster_of, rasters_of, scope_of
from rsscale.geo.stac_crs import crs_text
from rsscale.items.bands import described, find_assets, is_code, known_names
from rsscale.items.features import Asset, Item


def canonical(items: Iterable[Item | Mapping[str, Any]]) -> list[Item]:
    """The items as objects, sorted by (datetime, id).

    Raises
    ------
    ItemError
        When an item has neither ``datetime`` nor ``start_datetime``.
    """
    made = [_from_json(item) if isinstance(item, Mapping) else item for item in items]
    return sorted(made, key=lambda item: (moment(item), item.id))


def _from_json(item: Mapping[str, Any]) -> Item:
    import pystac

    return pystac.Item.from_dict(dict(item))


def moment(item: Item) -> datetime:
    """When the item was acquired, in UTC: ``datetime``, else ``start_datetime``."""
    when = item.datetime
    if when is None:
        start = item.properties.get("start_datetime")
        if start is None:
            raise ItemError(
                f"item {item.id!r} has neither datetime nor start_datetime; "
                "leave it out or give it a date"
            )
        when = start if isinstance(start, datetime) else _parsed(start)
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def _parsed(text: str) -> datetime:
    from pystac.utils import str_to_datetime

    return str_to_datetime(text)


@dataclass(frozen=True)
class Selection:
    """The assets of a cube: which file holds which band of which item.

    Attributes
    ----------
    items : tuple of pystac.Item or Feature
        Sorted by (datetime, id).
    bands : tuple of str
        As they were asked for.
    keys : tuple of tuple of str
        Asset keys, ``keys[item][band]``.
    """

    items: tuple[Item, ...]
    bands: tuple[str, ...]
    keys: tuple[tuple[str, ...], ...]

    def is_categorical(self, column: int) -> bool:
        """Whether a band holds codes; by its name alone when there are no items."""
        return is_code(self.bands[column]) or any(
            is_categorical(row[column], item.assets[row[column]])
            for item, row in zip(self.items, self.keys, strict=True)
        )


def choose_assets(items: Iterable[Item | Mapping[str, Any]], bands: Sequence[str]) -> Selection:
    """Find the asset of each band in each item.

    A band is an asset key, or else a common name or band name (``eo:bands`` of STAC 1.0,
    ``bands`` of 1.1) that exactly one single-band asset has; else the same where names differ
    only in case, in a suffix or in a prefix (:func:`rsscale.items.bands.find_assets`).

    Raises
    ------
    BandError
        When no item has a band (the message names those there are), when some item lacks
        it (the message names item and band), or when a name fits several assets.
    ItemError
        When an item has no date.
    """
    ordered = canonical(items)
    found = [find_assets(item, bands) for item in ordered]
    for column, band in enumerate(bands):
        lacking = [i.id for i, row in zip(ordered, found, strict=True) if row[column] is None]
        if lacking and len(lacking) == len(ordered):
            known = known_names(ordered)
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


def location(asset: Asset) -> str:
    """Location of an asset: a URL, or a local path.

    An absolute path is local, whatever the item's own address is: pystac would take it as a
    path on the server that the item came from.
    """
    if os.path.isabs(asset.href):  # noqa: PTH117 -- a Path of each takes longer than all else
        return asset.href
    return asset.get_absolute_href() or asset.href


def field(item: Item, asset: Asset, name: str) -> Any:
    """A raster fact such as ``"nodata"``, ``"scale"``, ``"offset"`` or ``"data_type"``.

    Looked for in the band's object (``raster:bands`` of STAC 1.0, ``bands`` of 1.1), then
    on the asset, then in the item's properties, each with and without the ``raster:``
    prefix. ``None`` when it is nowhere.
    """
    found = described(asset)
    scopes = [found[0] if found else {}, asset.extra_fields, item.properties]
    for scope in scopes:
        for key in (name, f"raster:{name}"):
            if scope.get(key) is not None:
                return scope[key]
    return None


def nodata(item: Item, asset: Asset) -> float | None:
    """The nodata value that metadata declares, in the file's own numbers; ``None`` if none."""
    value = field(item, asset, "nodata")
    return None if value is None else float(value)  # float() also reads STAC's "nan" and "inf"


def data_type(item: Item, asset: Asset) -> np.dtype[Any] | None:
    """The NumPy type that metadata declares; ``None`` if none, or not a NumPy type."""
    name = field(item, asset, "data_type")
    if name is None:  # which NumPy would take for float64
        return None
    try:
        return np.dtype(name)  # type: ignore[no-any-return]
    except TypeError:
        return None


def is_categorical(band: str, asset: Asset) -> bool:
    """Whether values are codes or bits: by name, or by the classification extension."""
    scopes: list[dict[str, Any]] = [asset.extra_fields, *described(asset)]
    classified = any(key.startswith("classification:") for scope in scopes for key in scope)
    return classified or is_code(band)


def projection(item: Item, asset: Asset, name: str) -> Any:
    """A ``proj:`` field of the asset, else of the item: ``"transform"``, ``"shape"`` and so on.

    An item's transform belongs to its shape: neither is taken for an asset that has another
    one of its own, such as a preview.
    """
    return scope_of(name, asset.extra_fields, item.properties).get(f"proj:{name}")


def crs(item: Item, asset: Asset) -> str | None:
    """The CRS that metadata declares, as text that pyproj reads; ``None`` if none does.

    From ``proj:code``, ``proj:epsg``, ``proj:wkt2`` or ``proj:projjson``, of the asset before the
    item's.
    """
    return crs_text(asset.extra_fields, item.properties)


def raster(item: Item, asset: Asset) -> RasterBounds | None:
    """The box of pixels that metadata declares; ``None`` where it declares none."""
    return raster_of(asset.extra_fields, item.properties)


def rasters(item: Item, asset: Asset) -> tuple[RasterBounds, ...]:
    """Every box of pixels that metadata declares: by transform and shape, then by a box."""
    return rasters_of(asset.extra_fields, item.properties)


def solar_day(item: Item) -> np.datetime64:
    """The day on which the item was taken, by the sun: where it is, not in Greenwich.

    Local mean solar time is UTC plus the centre longitude at 15 degrees an hour. Scenes of one
    pass share the day even where UTC's midnight falls between them, as it does in eastern
    Australia; not where the antimeridian does: there the date itself changes.

    Parameters
    ----------
    item : pystac.Item
        The centre comes from its footprint, also across the antimeridian; without one from
        its bbox, then from its rasters' ``proj:`` fields. One that says nowhere where it is
        keeps the UTC day. It is taken to be less than half the globe wide.

    Returns
    -------
    numpy.datetime64
        In days.

    Raises
    ------
    ItemError
        When the item has no date.
    """
    centre = centre_longitude(item.geometry, item.bbox)
    if centre is None:
        boxes = (raster(item, asset) for asset in item.assets.values())
        centre = next((box.centre_longitude() for box in boxes if box is not None), 0.0)
    utc = np.datetime64(moment(item).replace(tzinfo=None), "us")
    local = utc + np.timedelta64(round(centre / 15 * 3_600_000_000), "us")
    day: np.datetime64 = local.astype("datetime64[D]")
    return day
