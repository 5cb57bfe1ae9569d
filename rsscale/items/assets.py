"""Read the metadata of STAC assets, in every dialect that catalogues use.

The same fact stands in ``raster:bands``, in STAC 1.1's ``bands``, on the asset itself or
in the item's properties. The functions here look in all of them and give one answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsscale.errors import BandError, ItemError, nearest
from rsscale.geo.antimeridian import centre_longitude
from rsscale.items.bands import (
    AssetBand,
    BandRequest,
    BandsLike,
    band_requests,
    described,
    find_bands,
    is_code,
    known_names,
)
from rsscale.items.features import Asset, Item, ItemsLike, canonical, chosen_href, moment
from rsscale.places.raster_bounds import RasterBounds, raster_of, rasters_of, scope_of
from rsscale.places.stac_crs import crs_text

_MOST_NAMED = 8  # assets in a message


@dataclass(frozen=True)
class Selection:
    """The bands of a cube: which file holds which band of which item.

    Attributes
    ----------
    items : tuple of pystac.Item or Feature
        Sorted by :func:`item_order`.
    bands : tuple of str
        Their names in the cube.
    places : tuple of tuple of AssetBand
        Asset keys and numbers of bands, ``places[item][band]``.
    """

    items: tuple[Item, ...]
    bands: tuple[str, ...]
    places: tuple[tuple[AssetBand, ...], ...]

    def is_categorical(self, column: int) -> bool:
        """Whether a band holds codes; by its name alone when there are no items."""
        return is_code(self.bands[column]) or any(
            is_categorical(row[column].key, item.assets[row[column].key], row[column].index)
            for item, row in zip(self.items, self.places, strict=True)
        )


def choose_assets(items: ItemsLike, bands: BandsLike) -> Selection:
    """Find each band in each item.

    A band is an asset key, or else a common name or band name (``eo:bands`` of STAC 1.0,
    ``bands`` of 1.1) that exactly one band has, alone in its file or not; else the same where
    names differ only in case, in a suffix or in a prefix; or a band of a file by its number
    (:func:`rsscale.items.bands.find_bands`).

    Raises
    ------
    BandError
        When no item has a band (the message names those there are), when some item lacks
        it (the message names item and band), or when a name fits several.
    ItemError
        When an item has no date.
    """
    ordered, requests = canonical(items), band_requests(bands)
    rows = [find_bands(item, requests) for item in ordered]
    for column, request in enumerate(requests):
        lacking = [i for i, row in zip(ordered, rows, strict=True) if row[column] is None]
        if lacking and len(lacking) == len(ordered):
            raise _no_such_band(request, ordered)
        if lacking:
            asked = " or ".join(map(repr, request.names(lacking[0].collection_id)))
            having = next((i, r[column]) for i, r in zip(ordered, rows, strict=True) if r[column])
            raise BandError(
                f"item {lacking[0].id!r} has no asset {asked}, but other items do "
                f"({len(lacking)} of {len(ordered)} lack it); leave those items out "
                "(missing_asset: skip), or say what it is called in them "
                f"({_names_for(request.name, lacking[0], *having)})"
            )
        _check_alike(request.name, ordered, [row[column] for row in rows])
    places = tuple(tuple(place for place in row if place is not None) for row in rows)
    return Selection(tuple(ordered), tuple(request.name for request in requests), places)


def _names_for(band: str, lacking: Item, having: Item, place: AssetBand | None) -> str:
    """How to say what a band is called in items that lack it, by what those alone have."""
    own = [key for key in lacking.assets if key not in having.assets]
    other = own[0] if len(own) == 1 else "…"
    here = band if place is None else place.key
    first, second = lacking.collection_id, having.collection_id
    pair = f"[{here}, {other}]" if first == second else f"{{{first}: {other}, {second}: {here}}}"
    there = f"; of their own they have {', '.join(own[:_MOST_NAMED])}" if len(own) > 1 else ""
    return f"names: {{{band}: {pair}}}{there}"


def _is_there(item: Item, place: AssetBand | None, alternate: Sequence[str]) -> bool:
    """Whether a band has a file; the address of a broken asset is empty."""
    # An alternate that it lacks is no missing file: whoever asked for it has to hear of it.
    return place is not None and chosen_href(item.assets[place.key], alternate) != ""


def with_all_bands(
    items: ItemsLike, bands: BandsLike, alternate: Sequence[str] = ()
) -> tuple[list[Item], list[Item]]:
    """Items that have all bands, and those that lack one or its address; each sorted.

    ``alternate`` says which of its addresses is read, as for
    :func:`rsscale.items.features.location`.

    Raises
    ------
    BandError
        When no item has one of the bands, or a name fits several.
    """
    ordered, requests = canonical(items), band_requests(bands)
    rows = [find_bands(item, requests) for item in ordered]
    for column, request in enumerate(requests):
        if ordered and all(row[column] is None for row in rows):
            raise _no_such_band(request, ordered)
    whole = [
        all(_is_there(item, place, alternate) for place in row)
        for item, row in zip(ordered, rows, strict=True)
    ]
    if ordered and not any(whole):
        asked = ", ".join(request.name for request in requests)
        raise BandError(f"no item has all of the bands {asked}; each lacks one of them")
    return (
        [item for item, has_all in zip(ordered, whole, strict=True) if has_all],
        [item for item, has_all in zip(ordered, whole, strict=True) if not has_all],
    )


def _no_such_band(request: BandRequest, items: Sequence[Item]) -> BandError:
    known = known_names(items)
    asked = {name for item in items[:50] for name in request.names(item.collection_id)}
    called = "" if asked == {request.name} else f" (called {', '.join(sorted(asked))})"
    return BandError(
        f"no item has band {request.name!r}{called}; there are {', '.join(known)}"
        f"{nearest(request.name, known)}"
    )


def _check_alike(name: str, items: Sequence[Item], places: Sequence[AssetBand | None]) -> None:
    """Refuse a band that is a file of its own in some items and part of a file in others.

    What is called alike is then mostly a picture of the data, with other numbers.
    """
    kinds: dict[str | None, dict[bool, str]] = {}
    for item, place in zip(items, places, strict=True):
        if place is not None:
            known = kinds.setdefault(item.collection_id, {})
            known.setdefault(place.index is None, item.id)
    for by_kind in kinds.values():
        if len(by_kind) > 1:
            raise BandError(
                f"band {name!r} is a file of its own in item {by_kind[True]!r} and one of several "
                f"in a file of item {by_kind[False]!r} of the same collection; leave one of the "
                "two kinds out (exclude)"
            )


def field(item: Item, asset: Asset, name: str, index: int | None = None) -> Any:
    """A raster fact such as ``"nodata"``, ``"scale"``, ``"offset"`` or ``"data_type"``.

    Looked for in the band's object (``raster:bands`` of STAC 1.0, ``bands`` of 1.1), then
    on the asset, then in the item's properties, each with and without the ``raster:``
    prefix. ``None`` when it is nowhere.

    Parameters
    ----------
    item : Item
    asset : Asset
    name : str
    index : int, optional
        Number of the band in its file, from 1; the first one when omitted.
    """
    bands = described(asset)
    number = (index or 1) - 1
    own = bands[number] if number < len(bands) else {}
    prefixed = f"raster:{name}"
    for scope in (own, asset.extra_fields, item.properties):
        value = scope.get(name)
        if value is None:
            value = scope.get(prefixed)
        if value is not None:
            return value
    return None


def number(item: Item, key: str, name: str, index: int | None = None) -> float | None:
    """A :func:`field` that is a number; ``None`` when it is nowhere.

    Raises
    ------
    ItemError
        When it is something else; the message names item, asset and field.
    """
    value = field(item, item.assets[key], name, index)
    if value is None:
        return None
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        with suppress(ValueError, OverflowError):
            return float(value)  # which also reads STAC's "nan" and "inf"
    raise ItemError(
        f"item {item.id!r}, asset {key!r}: {name} is {str(value)[:60]!r}; expected a number"
    )


def finite(item: Item, key: str, name: str, index: int | None = None) -> float | None:
    """A :func:`number` that is neither NaN nor infinite.

    Raises
    ------
    ItemError
        When it is; the message names item, asset and field.
    """
    value = number(item, key, name, index)
    if value is not None and not math.isfinite(value):
        raise ItemError(
            f"item {item.id!r}, asset {key!r}: {name} is {value}; expected a finite number: "
            "correct the item, or leave it out (exclude)"
        )
    return value


def nodata(item: Item, key: str, index: int | None = None) -> float | None:
    """The nodata value that metadata declares, in the file's own numbers; ``None`` if none."""
    return number(item, key, "nodata", index)


def data_type(item: Item, asset: Asset, index: int | None = None) -> np.dtype[Any] | None:
    """The NumPy type that metadata declares; ``None`` if none, or not a NumPy type."""
    name = field(item, asset, "data_type", index)
    if not isinstance(name, str):  # NumPy would take None for float64
        return None
    try:
        return np.dtype(name)
    except TypeError:
        return None


def is_categorical(band: str, asset: Asset, index: int | None = None) -> bool:
    """Whether values are codes or bits: by name, or by the classification extension."""
    bands = described(asset)
    own = bands if index is None else bands[index - 1 : index]
    scopes: list[dict[str, Any]] = [asset.extra_fields, *own]
    if any(map(is_code, _band_names(band, own if index is not None else ()))):
        return True
    for scope in scopes:  # a generator takes three times as long
        for key in scope:
            if key.startswith("classification:"):
                return True
    return False


def _band_names(band: str, entries: Iterable[Mapping[str, Any]]) -> list[str]:
    return [band, *(str(entry.get("name") or "") for entry in entries)]


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
