"""Specifications of satellite products: scale, offset and nodata of their bands.

For items that do not say it themselves. Level 1 of Landsat, quality bands (but Sentinel-2's SCL)
and auxiliary layers are not here: their files' own headers tell what there is to tell.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from rsscale.items import assets
from rsscale.items.bands import names
from rsscale.items.features import Item
from rsscale.items.records import plain


@dataclass(frozen=True)
class BandSpec:
    """The numbers of one band.

    Attributes
    ----------
    scale, offset : float
        ``value = number * scale + offset``: reflectance from 0 to 1, kelvin.
    kind : str
        NumPy type.
    nodata : float
        In the file's numbers.
    """

    scale: float
    offset: float
    kind: str
    nodata: float

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the file's numbers."""
        return np.dtype(self.kind)


Rule = Callable[[Item, str], BandSpec | None]
"""Maps an item and the key of an asset to its specification."""


def specification(item: Item, key: str) -> BandSpec | None:
    """The specification of an asset; ``None`` for other products, or other kinds of numbers."""
    return specified(product_rule(item), item, key, assets.data_type(item, item.assets[key]))


def product_rule(item: Item) -> Rule | None:
    """The rule for the bands of an item's product; ``None`` for an unknown product."""
    return next((rule for applies, rule in _PRODUCTS if applies(item)), None)


def product_name(item: Item) -> str | None:
    """``"sentinel-2"``, ``"landsat"``, ``"hls"`` or ``"dea"``; ``None`` for another product."""
    rule = product_rule(item)
    return next((name for name, candidate in _NAMES.items() if candidate is rule), None)


def specified(
    rule: Rule | None, item: Item, key: str, declared: np.dtype[Any] | None
) -> BandSpec | None:
    """The :func:`specification` of an asset, by its item's rule and the type that it declares."""
    spec = rule(item, key) if rule else None
    if spec is None or declared is None:
        return spec
    # A quicklook in uint8, or reflectance in float32, is no file of the product.
    return spec if declared.kind in "iu" and declared.itemsize == spec.dtype.itemsize else None


# --- Sentinel-2 (sentiwiki.copernicus.eu, S2 Products) ---------------------------------------

_S2_OFFSET = -0.1
_S2_BASELINE = (4, 0)
_S2_COLLECTION = re.compile(r"sentinel-?s?-?2", re.IGNORECASE)
_S2_ID = re.compile(r"^S2[A-D]_", re.IGNORECASE)
# Band names of ESA, with the resolution that some catalogues append, and common names.
_S2_REFLECTANCE = re.compile(
    r"^(B(0[1-9]|8A|1[0-2])(_\d+m)?|coastal|blue|green|red|rededge\d*|nir(08|09)?|cirrus"
    r"|swir(16|22)?)$",
    re.IGNORECASE,
)
_S2_ATMOSPHERE = re.compile(r"^(AOT|WVP)(_\d+m)?$", re.IGNORECASE)


def is_sentinel2(item: Item) -> bool:
    """Whether an item is ESA's scene of Sentinel-2: by its metadata, its collection or its id.

    What others made of Sentinel-2 (HLS, Digital Earth Australia) has other numbers.
    """
    if _is_hls(item) or _is_dea(item):
        return False
    properties = item.properties
    given = (properties.get("constellation"), properties.get("platform"), item.collection_id)
    return (
        "s2:processing_baseline" in properties
        or any(_S2_COLLECTION.search(str(name)) for name in given if name)
        or bool(_S2_ID.match(item.id))
    )


def baseline(item: Item) -> tuple[int, int]:
    """Sentinel-2's processing baseline as (major, minor); (0, 0) when nothing tells it.

    From ``s2:processing_baseline``, ``processing:version`` or the product's name; never from the
    sensing date: old scenes are processed again.
    """
    properties = item.properties
    for key in ("s2:processing_baseline", "sentinel:processing_baseline", "processing:version"):
        match = re.match(r"^0?(\d{1,2})\.(\d{1,2})", str(properties.get(key, "")))
        if match:
            return int(match[1]), int(match[2])
    for key in ("s2:product_uri", "sentinel:product_id", "s2:granule_id", "s2:datatake_id"):
        match = re.search(r"_N(\d\d)\.?(\d\d)(_|$)", str(properties.get(key, "")))
        if match:
            return int(match[1]), int(match[2])
    match = re.search(r"_N(\d\d)(\d\d)_", item.id)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _sentinel2(item: Item, key: str) -> BandSpec | None:
    """Reflectance is shifted from baseline 04.00 on, so that dark pixels aren't cut off at 0."""
    if plain(key) == "scl":
        return BandSpec(1.0, 0.0, "uint8", 0)
    if _S2_ATMOSPHERE.match(key):
        return BandSpec(0.001, 0.0, "uint16", 0)
    if not any(_S2_REFLECTANCE.match(name) for name in names(key, item)):
        return None
    offset = _S2_OFFSET if baseline(item) >= _S2_BASELINE else 0.0
    return BandSpec(0.0001, offset, "uint16", 0)


# --- Landsat Collection 2 Level 2 -------------------------------------------------------------
# https://www.usgs.gov/faqs/how-do-i-use-a-scale-factor-landsat-level-2-science-products

_LANDSAT_ID = re.compile(r"^L[COTEM]0\d_L2S[PR]_\d{6}(_\d{8}){1,2}_02_(T1|T2|RT)", re.IGNORECASE)
_LANDSAT_COLLECTION = re.compile(r"^landsat-c2-?(l2|ard-s[rt])", re.IGNORECASE)
_LANDSAT_FILE = re.compile(r"_(SR|ST)_B\d+(_\w+)?\.TIFF?$", re.IGNORECASE)
_LANDSAT_BAND = re.compile(
    r"^((?P<SR>SR_B\d|coastal|blue|green|red|nir(08)?|swir(16|22))"
    r"|(?P<ST>ST_B\d+|lwir(11)?))(\.TIFF?)?$",
    re.IGNORECASE,
)
_LANDSAT = {
    "SR": BandSpec(0.0000275, -0.2, "uint16", 0),
    "ST": BandSpec(0.00341802, 149.0, "uint16", 0),
}


def _is_landsat2(item: Item) -> bool:
    properties = item.properties
    number = str(properties.get("landsat:collection_number", "")).lstrip("0")
    level = str(properties.get("landsat:correction", ""))
    product = str(properties.get("landsat:product_id", ""))
    return (
        (number == "2" and level in ("L2SP", "L2SR"))
        or any(_LANDSAT_ID.match(name) for name in (item.id, product))
        or bool(_LANDSAT_COLLECTION.match(item.collection_id or ""))
    )


def _landsat2(item: Item, key: str) -> BandSpec | None:
    """By the file's name, which USGS keeps; B6 is a thermal band before Landsat 8."""
    match = _LANDSAT_FILE.search(urlsplit(item.assets[key].href).path)
    if match:
        return _LANDSAT[match[1].upper()]
    for name in sorted(names(key, item)):
        band_match = _LANDSAT_BAND.match(name)
        if band_match:
            return _LANDSAT["SR" if band_match["SR"] else "ST"]
    return None


# --- Digital Earth Australia, analysis ready data ---------------------------------------------
# https://knowledge.dea.ga.gov.au/data/product/dea-surface-reflectance-nbart-landsat-8-oli-tirs/

_DEA_PRODUCT = re.compile(r"^ga_(ls\d[a-z]|s2[a-d]m)_ard_\d")
_DEA_BAND = re.compile(r"^nbart?_(?!contiguity)")


def _is_dea(item: Item) -> bool:
    product = item.properties.get("odc:product") or item.collection_id
    return bool(_DEA_PRODUCT.match(str(product)))


def _dea(item: Item, key: str) -> BandSpec | None:
    given = names(key, item)
    return BandSpec(0.0001, 0.0, "int16", -999) if any(map(_DEA_BAND.match, given)) else None


# --- Harmonized Landsat and Sentinel-2 (HLS v2.0 User Guide, 6.3) -----------------------------

_HLS_ID = re.compile(r"^HLS\.[LS]30\.", re.IGNORECASE)
_HLS_BAND = re.compile(r"^B(0[1-9]|8A|1[0-2])$")


def _is_hls(item: Item) -> bool:
    return bool(_HLS_ID.match(item.id))


def _hls(item: Item, key: str) -> BandSpec | None:
    thermal = "L30" in item.id and key in ("B10", "B11")  # brightness temperatures
    known = _HLS_BAND.match(key) and not thermal
    return BandSpec(0.0001, 0.0, "int16", -9999) if known else None


# The first that applies; what was made of Sentinel-2 stands before Sentinel-2.
_PRODUCTS: tuple[tuple[Callable[[Item], bool], Rule], ...] = (
    (_is_hls, _hls),
    (_is_dea, _dea),
    (_is_landsat2, _landsat2),
    (is_sentinel2, _sentinel2),
)

_NAMES: dict[str, Rule] = {
    "hls": _hls,
    "dea": _dea,
    "landsat": _landsat2,
    "sentinel-2": _sentinel2,
}
