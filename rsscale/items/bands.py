"""Find the bands of an item by name, in every dialect that catalogues use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from typing import Any, Self

from rsscale.errors import BandError, RecipeError
from rsscale.items.features import Asset, FeatureAsset, Item
from rsscale.items.records import RESOLUTION_SUFFIX, plain

# Bands whose values are codes or bit fields: an average of two codes is a third, wrong code.
CATEGORICAL = frozenset({
    "scl", "fmask", "qa", "qa_pixel", "pixel_qa", "bqa", "cloud_qa", "qa_radsat",
    "qa_aerosol", "sr_qa_aerosol", "mask", "cloudmask", "cloud_mask", "classification",
    "landcover", "land_cover", "label", "labels", "lulc", "qa60", "clm", "udm", "udm1", "udm2",
    "ortho_udm2", "state", "state_1km", "sur_refl_state", "sur_refl_state_1km", "qc", "sur_refl_qc",
    "quality", "quality_flags",
})  # fmt: skip

# Red, green and blue by what catalogues call them; of B01 the numbers are Sentinel-2's and HLS's.
_COLOURS = ("red", "green", "blue")
_NATURAL = (_COLOURS, ("b04", "b03", "b02"), ("r", "g", "b"))
_PICTURES = frozenset({
    "visual", "overview", "thumbnail", "preview", "rendered_preview", "tci", "browse",
})  # fmt: skip
# Bands that a message lists.
_LISTED = 12
# A number of a band has fewer.
_DIGITS = 6


def is_code(name: str) -> bool:
    """Whether a band of this name is known to hold codes or bits."""
    return plain(name) in CATEGORICAL


@dataclass(frozen=True)
class AssetBand:
    """Where a band is: the key of an asset, and its number in the file.

    Attributes
    ----------
    key : str
    index : int or None
        From 1, as GDAL counts; ``None`` for an asset that holds one band.
    count : int or None
        Bands that the item says the file has.
    """

    key: str
    index: int | None = None
    count: int | None = None


@dataclass(frozen=True)
class BandRequest:
    """One band that is asked for, and what it is called in each collection.

    Attributes
    ----------
    name : str
        What it is called in the cube.
    any_of : tuple of str
        Names of which an item has exactly one.
    by_collection : mapping of collection to str
        Goes before.
    """

    name: str
    any_of: tuple[str, ...]
    by_collection: Mapping[str, str]

    @classmethod
    def of(cls, name: str, where: Any) -> Self:
        """A band whose names are a text, a list of texts, or a mapping from collections."""
        if isinstance(where, str):
            return cls(name, (where,), {})
        if isinstance(where, Mapping) and where and all(isinstance(v, str) for v in where.values()):
            return cls(name, (name,), {str(k): v for k, v in where.items()})
        if isinstance(where, (list, tuple)) and where and all(isinstance(v, str) for v in where):
            return cls(name, tuple(where), {})
        raise RecipeError(
            f"band {name!r} has the names {where!r}; expected a name, a list of names, or a "
            f"name for each collection, as in {{{name}: {{COLLECTION: B05}}}}"
        )

    def names(self, collection: str | None) -> tuple[str, ...]:
        """Its names in a collection."""
        known = self.by_collection.get(collection or "")
        return self.any_of if known is None else (known,)


BandsLike = Sequence[str | Mapping[str, Any]] | Mapping[str, Any]
"""Names of bands, some as ``{name: names}``; see :meth:`BandRequest.of`."""


def band_requests(bands: BandsLike) -> tuple[BandRequest, ...]:
    """Bands as :func:`rsscale.load` takes them.

    Raises
    ------
    RecipeError
        When they are no list or mapping of names.
    """
    if isinstance(bands, (str, bytes)) or not isinstance(bands, (Mapping, Iterable)):
        raise RecipeError(f"bands is {bands!r}; expected a list of at least one band name")
    requests = []
    for band in [dict(bands)] if isinstance(bands, Mapping) else bands:
        named = {band: band} if isinstance(band, str) else band
        if not isinstance(named, Mapping) or not all(isinstance(name, str) for name in named):
            raise RecipeError(f"bands has {band!r}; expected a name, or {{name: names}}")
        requests += [BandRequest.of(name, where) for name, where in named.items()]
    return tuple(requests)


def find_bands(item: Item, requests: Sequence[BandRequest]) -> list[AssetBand | None]:
    """Where the bands of an item are; ``None`` where it has no such band.

    In this order: the asset with that key; an asset of one band with that name or common name;
    the same without regard to what :func:`plain` takes off; ``asset.4`` or ``asset.nir``, a
    band of a file by its number or name; a band of that name in a file of several. Of several
    fits, the only TIFF is meant, then the finest of one band's resolutions. Pictures of the
    data (``visual``, ``overview``, ``thumbnail``) are read only where they are named.

    Raises
    ------
    BandError
        When several assets or bands fit, or an asset of several bands is asked for as one.
    """
    finder = _Finder(item)
    places: list[AssetBand | None] = []
    for request in requests:
        names_here = request.names(item.collection_id)
        fits = {place: name for name in names_here if (place := finder.find(name)) is not None}
        if len(fits) > 1:
            raise BandError(
                f"item {item.id!r} has {' and '.join(map(repr, fits.values()))}, and band "
                f"{request.name!r} is one of them; say which by collection, as in "
                f"{{{request.name}: {{{item.collection_id}: {next(iter(fits.values()))}}}}}"
            )
        places.append(next(iter(fits), None))
    return places


class _Finder:
    """The bands of one item by name."""

    def __init__(self, item: Item) -> None:
        self._item = item

    def find(self, band: str) -> AssetBand | None:
        if band in self._item.assets:
            self._check_single(band)
            return AssetBand(band)
        fits = [key for key, given in self._single.items() if band in given]
        if not fits:
            wanted = plain(band)
            fits = [key for key, given in self._single.items() if wanted in map(plain, given)]
        fits = _best(fits, self._item.assets)
        if len(fits) > 1:
            raise BandError(
                f"band {band!r} fits several assets of item {self._item.id!r}: "
                f"{', '.join(fits)}; use one of these names"
            )
        return AssetBand(fits[0]) if fits else self._dotted(band) or self._inside(band)

    @cached_property
    def _single(self) -> dict[str, set[str]]:
        """Names of the assets that can be a band: of one, or that say nothing and are rasters."""
        counts = {key: len(described(asset)) for key, asset in self._item.assets.items()}
        return {
            key: names(key, self._item)
            for key, count in counts.items()
            if count == 1 or (count == 0 and _is_raster(self._item.assets[key]))
        }

    @cached_property
    def _several(self) -> list[str]:
        """Keys of the assets of several bands; pictures only where there is nothing else."""
        assets = self._item.assets
        keys = [k for k, a in assets.items() if len(described(a)) > 1 and _is_raster(a)]
        data = [key for key in keys if not _is_picture(key, assets[key])]
        return data or ([] if any(not _is_picture(k, assets[k]) for k in self._single) else keys)

    def _dotted(self, band: str) -> AssetBand | None:
        """``asset.4`` or ``asset.nir``; a key may hold dots itself."""
        for at in (match.start() for match in re.finditer(r"\.", band)):
            key, inner = band[:at], band[at + 1 :]
            if key not in self._item.assets or not inner:
                continue
            listed = described(self._item.assets[key])
            count = len(listed) if len(listed) > 1 else None
            if inner.isdecimal() and int(inner) > 0 and len(inner) < _DIGITS:
                return self._numbered(key, int(inner), count)
            return self._named([key], inner, band)
        return None

    def _numbered(self, key: str, index: int, count: int | None) -> AssetBand:
        if count is not None and index > count:
            raise BandError(
                f"band {index} of asset {key!r} of item {self._item.id!r} is not there: the item "
                f"lists {count}: {_listed_bands(self._item.assets[key])}"
            )
        return AssetBand(key, index, count)

    def _inside(self, band: str) -> AssetBand | None:
        """A band by its name in any file of several."""
        return self._named(self._several, band, band)

    def _named(self, keys: Sequence[str], inner: str, band: str) -> AssetBand | None:
        every = [
            (AssetBand(key, index, len(listed) if len(listed) > 1 else None), _names_of(entry))
            for key in keys
            for listed in [described(self._item.assets[key])]
            for index, entry in enumerate(listed, start=1)
        ]
        fits = [place for place, given in every if inner in given]
        if not fits:
            fits = [place for place, given in every if plain(inner) in map(plain, given)]
        if len(fits) > 1:
            several = ", ".join(f"{place.key}.{place.index}" for place in fits[:_LISTED])
            raise BandError(
                f"band {band!r} fits several bands of item {self._item.id!r}: {several}; use one "
                "of these"
            )
        return fits[0] if fits else None

    def _check_single(self, key: str) -> None:
        count = len(described(self._item.assets[key]))
        if count > 1:
            raise BandError(
                f"asset {key!r} of item {self._item.id!r} holds {count} bands in one file: "
                f"{_listed_bands(self._item.assets[key])}; name one of them, or give its number, "
                f"as in '{key}.1'"
            )


def _names_of(entry: Mapping[str, Any]) -> list[str]:
    given = (entry.get(field) for field in ("name", "common_name", "eo:common_name"))
    return [name for name in given if isinstance(name, str) and name]


def _listed_bands(asset: Asset) -> str:
    """The bands of a file for a message: their common names, else names or numbers."""
    listed = described(asset)
    words = [
        (_names_of(entry) or [str(number)])[-1]
        for number, entry in enumerate(listed[:_LISTED], start=1)
    ]
    return ", ".join(words) + (
        f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    )


def _is_picture(key: str, asset: Asset) -> bool:
    """Whether an asset is a rendering of the data for people."""
    roles = getattr(asset, "roles", None) or asset.extra_fields.get("roles")
    listed = roles if isinstance(roles, (list, tuple)) else []
    is_shown = "data" not in listed and any(role in _PICTURES for role in listed)
    return plain(key) in _PICTURES or is_shown


def described(asset: Asset) -> list[dict[str, Any]]:
    """One dict a band in the file, whichever dialects describe them, merged by position."""
    if not isinstance(asset, FeatureAsset):  # a pystac object may have changed
        return _described(asset)
    if asset.described is None:
        asset.described = _described(asset)
    return asset.described


def _described(asset: Asset) -> list[dict[str, Any]]:
    merged: list[dict[str, Any]] = []
    none: dict[str, Any] = {}
    for name in ("eo:bands", "bands", "raster:bands"):
        entries = asset.extra_fields.get(name)
        if isinstance(entries, list):
            given = [e if isinstance(e, dict) else _entry(e, asset) for e in entries]
            merged = [{**m, **g} for m, g in zip_longest(merged, given, fillvalue=none)]
    return merged


def names(key: str, item: Item) -> set[str]:
    """All names of an asset: its key, and of one with one band the band's name and common name."""
    asset = item.assets[key]
    bands = described(asset)
    if len(bands) != 1:
        return {key}
    given = [bands[0].get(field) for field in ("name", "common_name", "eo:common_name")]
    given.append(asset.extra_fields.get("eo:common_name"))
    return {key, *(str(name) for name in given if name)}


def known_names(items: Sequence[Item]) -> list[str]:
    """Asset keys that look like bands, and their common names, for a message."""
    known: dict[str, None] = {}
    for item in items[:50]:
        for key, asset in item.assets.items():
            listed = described(asset)
            if len(listed) > 1 and _is_raster(asset):
                known.update(dict.fromkeys(_dotted_names(key, listed)))
            elif len(listed) == 1 or _is_raster(asset):
                known[key] = None
                known.update(dict.fromkeys(sorted(names(key, item))))
    return list(known)


def _dotted_names(key: str, listed: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"{key}.{(_names_of(entry) or [str(number)])[-1]}"
        for number, entry in enumerate(listed[:_LISTED], start=1)
    ]


def _entry(entry: Any, asset: Asset) -> dict[str, Any]:
    """One band's object where it is, as before STAC 1.0, an index into a list of the item's."""
    if isinstance(entry, int) and asset.owner is not None:
        listed = asset.owner.properties.get("eo:bands")
        if isinstance(listed, list) and 0 <= entry < len(listed):
            entry = listed[entry]
    return entry if isinstance(entry, dict) else {}


def _is_raster(asset: Asset) -> bool:
    kind = asset.media_type or ""
    return not kind or "tif" in kind or "jp2" in kind


def _best(fits: Sequence[str], assets: Mapping[str, Asset]) -> list[str]:
    """Fewer of several fits, where all but one are copies of it."""
    if len(fits) > 1:
        # Some catalogues list every band twice, as COG and as the original JPEG 2000.
        tiffs = [key for key in fits if "tif" in (assets[key].media_type or "")]
        fits = tiffs if len(tiffs) == 1 else fits
    sizes = {key: int(match[1]) for key in fits if (match := RESOLUTION_SUFFIX.search(key))}
    if len(sizes) == len(fits) > 1 and len({RESOLUTION_SUFFIX.sub("", key) for key in fits}) == 1:
        return [min(sizes, key=sizes.__getitem__)]
    return list(fits)


def natural_colours_of(item: Item, bands: BandsLike) -> tuple[str, str, str] | None:
    """The bands that show red, green and blue, as an item describes them; None where it does not.

    Parameters
    ----------
    item : Item
        Its common names (``eo:common_name``) tell what ``B4`` or ``SR_B3`` means on its satellite.
    bands : sequence
        As :func:`rsscale.load` takes them.
    """
    requests = band_requests(bands)
    try:
        named = dict(zip(find_bands(item, requests), requests, strict=True))
        colours = find_bands(item, band_requests(_COLOURS))
    except BandError:  # several fit: it is not known which is meant
        return None
    red, green, blue = (None if place is None else named.get(place) for place in colours)
    if red is None or green is None or blue is None:
        return None
    return red.name, green.name, blue.name


def natural_colours(bands: Iterable[str]) -> tuple[str, str, str] | None:
    """The bands that show red, green and blue, as they are called; None where they are not known.

    Numbers without a zero, such as ``B4``, mean other colours on each Landsat, and are not taken.
    """
    by_name = {band.lower(): band for band in bands}
    for red, green, blue in _NATURAL:
        if {red, green, blue} <= by_name.keys():
            return by_name[red], by_name[green], by_name[blue]
    return None
