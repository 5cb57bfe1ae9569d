"""Find the bands of an item by name, in every dialect that catalogues use."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rsscale.errors import BandError
from rsscale.items.features import Asset, FeatureAsset, Item

# Bands whose values are codes or bit fields: an average of two codes is a third, wrong code.
CATEGORICAL = frozenset({
    "scl", "fmask", "qa", "qa_pixel", "pixel_qa", "bqa", "cloud_qa", "qa_radsat",
    "qa_aerosol", "sr_qa_aerosol", "mask", "cloudmask", "cloud_mask", "classification",
    "landcover", "land_cover", "label", "labels", "lulc", "qa60", "clm", "udm", "udm1",
    "state", "state_1km", "sur_refl_state", "sur_refl_state_1km", "qc", "sur_refl_qc", "quality",
    "quality_flags",
})  # fmt: skip

# Bands of per cent, of which 0 is a value, though some catalogues declare it to be nodata.
PERCENTAGES = frozenset({
    "cloud", "clouds", "cld", "clp", "cldprb", "msk_cldprb", "cloud_probability", "cloud_prob",
    "cloudprobability", "snow", "snw", "snwprb", "msk_snwprb", "snow_probability", "snow_prob",
    "s2cloudless", "probability",
})  # fmt: skip

_SUFFIX = re.compile(r"(\.tiff?|-jp2)$")
_RESOLUTION = re.compile(r"_(\d+)m$")


def plain(name: str) -> str:
    """A band's name without what catalogues add to it.

    Lower case, without the suffix of a file (``QA_PIXEL.TIF``), a resolution (``SCL_20m``) or
    the ``oa_`` of Digital Earth Australia's observation attributes (``oa_fmask``).
    """
    bare = _RESOLUTION.sub("", _SUFFIX.sub("", name.lower()))
    return bare.removeprefix("oa_")


def is_code(name: str) -> bool:
    """Whether a band of this name is known to hold codes or bits."""
    return plain(name) in CATEGORICAL


def is_percentage(name: str) -> bool:
    """Whether a band of this name is known to hold probabilities or cover in per cent."""
    return plain(name) in PERCENTAGES


def find_assets(item: Item, bands: Sequence[str]) -> list[str | None]:
    """The keys of the assets that are meant by some bands; ``None`` where there is none.

    In this order: the key itself; the band's name or common name; the same without regard to
    what :func:`plain` takes off. Of several fits, the only TIFF is meant, then the finest of one
    band's resolutions.

    Raises
    ------
    BandError
        When several assets fit, or the asset holds several bands.
    """
    known: dict[str, set[str]] | None = None
    found: list[str | None] = []
    for band in bands:
        if band in item.assets:
            _check_single(item, band)
            found.append(band)
            continue
        known = _vocabulary(item) if known is None else known
        found.append(_find(item, band, known))
    return found


def _vocabulary(item: Item) -> dict[str, set[str]]:
    """Names of the assets that can be a band: of one, or that say nothing and are rasters."""
    counts = {key: len(described(asset)) for key, asset in item.assets.items()}
    return {
        key: names(key, item)
        for key, count in counts.items()
        if count == 1 or (count == 0 and _is_raster(item.assets[key]))
    }


def _find(item: Item, band: str, known: Mapping[str, set[str]]) -> str | None:
    fits = [key for key, given in known.items() if band in given]
    if not fits:
        wanted = plain(band)
        fits = [key for key, given in known.items() if wanted in map(plain, given)]
    fits = _best(fits, item.assets)
    if len(fits) > 1:
        raise BandError(
            f"band {band!r} fits several assets of item {item.id!r}: {', '.join(fits)}; "
            "use one of these names"
        )
    return fits[0] if fits else None


def _check_single(item: Item, band: str) -> None:
    count = len(described(item.assets[band]))
    if count > 1:
        raise BandError(
            f"asset {band!r} of item {item.id!r} holds {count} bands in one file; "
            "only assets of one band can be loaded"
        )


def described(asset: Asset) -> list[dict[str, Any]]:
    """One dict a band in the file, whichever dialects describe them, merged by position."""
    if not isinstance(asset, FeatureAsset):  # a pystac object may have changed
        return _described(asset)
    if asset.described is None:
        asset.described = _described(asset)
    return asset.described


def _described(asset: Asset) -> list[dict[str, Any]]:
    merged: list[dict[str, Any]] = []
    for name in ("eo:bands", "bands", "raster:bands"):
        entries = asset.extra_fields.get(name)
        if isinstance(entries, list):
            merged += ({} for _ in range(len(entries) - len(merged)))
            for target, entry in zip(merged, entries, strict=False):
                target.update(entry if isinstance(entry, dict) else _entry(entry, asset))
    return merged


def names(key: str, item: Item) -> set[str]:
    """All names of an asset: its key, and of one with one band the band's name and common name."""
    asset = item.assets[key]
    found = described(asset)
    if len(found) != 1:
        return {key}
    given = [found[0].get(field) for field in ("name", "common_name", "eo:common_name")]
    given.append(asset.extra_fields.get("eo:common_name"))
    return {key, *(str(name) for name in given if name)}


def known_names(items: Sequence[Item]) -> list[str]:
    """Asset keys that look like bands, and their common names, for a message."""
    known: dict[str, None] = {}
    for item in items[:50]:
        for key, asset in item.assets.items():
            kind = asset.media_type or ""
            if len(described(asset)) == 1 or "tif" in kind or "jp2" in kind or not kind:
                known[key] = None
                known.update(dict.fromkeys(sorted(names(key, item))))
    return list(known)


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
    sizes = {key: int(match[1]) for key in fits if (match := _RESOLUTION.search(key))}
    if len(sizes) == len(fits) > 1 and len({_RESOLUTION.sub("", key) for key in fits}) == 1:
        return [min(sizes, key=sizes.__getitem__)]
    return list(fits)
