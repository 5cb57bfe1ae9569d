"""From stored numbers to physical values: ``value = number * scale + offset``.

Cubes keep the numbers of the files. Scale and offset travel as coordinates
``scale(time, band)`` and ``offset(time, band)`` and are applied once, block by block, by
:func:`rsscale.data.composite.composite` (or by :func:`to_reflectance` for a look at the
scenes themselves), never while reading.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pystac
import xarray as xr

from rsscale.data import assets

_S2_SCALE = 0.0001
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


def scale_offset(item: pystac.Item, asset: str) -> tuple[float, float]:
    """Scale and offset of one asset of one item.

    In this order; the first that applies decides:

    1. Codes and bit fields (SCL, Fmask, …) are ``(1, 0)`` whatever is written.
    2. ``earthsearch:boa_offset_applied: true`` (or the older ``sentinel:`` name): the
       offset is 0, whatever baseline or asset say. Earth Search subtracts the offset from
       the pixels, and its items then still carry ``offset: -0.1`` in ``raster:bands``; its
       maintainers name the property, not the asset's field, as the truth
       (github.com/Element84/earth-search issues 9 and 66). ``false`` decides nothing.
    3. ``scale`` and ``offset`` of ``raster:bands``, of ``bands`` (STAC 1.1), or
       ``raster:scale`` and ``raster:offset`` of the asset. Each of the two counts only when
       it is written down; a missing one is taken from the next rule.
    4. Sentinel-2 without metadata: scale 0.0001, and offset -0.1 from processing baseline
       04.00 on, else 0. The baseline is ``s2:processing_baseline``, ``processing:version``
       or the ``Nxxyy`` of the product name; without any of them the offset is 0. Never the
       sensing date: old scenes are reprocessed with new baselines. AOT and WVP have a scale
       of 0.001 and no offset.
    5. Anything else is ``(1, 0)``.

    Parameters
    ----------
    item : pystac.Item
    asset : str
        The asset's key in the item.

    Returns
    -------
    (float, float)
        ``value = number * scale + offset``; for Sentinel-2 the value is reflectance, 0 to 1.
    """
    one = item.assets[asset]
    if assets.is_categorical(asset, one):
        return 1.0, 0.0
    default_scale, default_offset = _default(item, asset, one)
    scale = assets.field(item, one, "scale")
    offset = assets.field(item, one, "offset")
    scale = default_scale if scale is None else float(scale)
    offset = default_offset if offset is None else float(offset)
    return scale, 0.0 if _offset_applied(item) else offset


def is_sentinel2(item: pystac.Item) -> bool:
    """Whether an item is a Sentinel-2 scene: by its metadata, its collection or its id."""
    properties = item.properties
    names = (properties.get("constellation"), properties.get("platform"), item.collection_id)
    return (
        "s2:processing_baseline" in properties
        or any(_S2_COLLECTION.search(str(name)) for name in names if name)
        or bool(_S2_ID.match(item.id))
    )


def is_reflectance(asset: str, item: pystac.Item) -> bool:
    """Whether a Sentinel-2 asset holds reflectance: by its key or its band's names."""
    return any(_S2_REFLECTANCE.match(name) for name in assets.names(asset, item))


def known_type(item: pystac.Item, key: str) -> np.dtype[Any] | None:
    """The type of a Sentinel-2 band, for items that do not say it; ``None`` if not known."""
    if not is_sentinel2(item):
        return None
    if key.lower() == "scl":
        return np.dtype("uint8")
    known = _S2_ATMOSPHERE.match(key) or is_reflectance(key, item)
    return np.dtype("uint16") if known else None


def known_nodata(item: pystac.Item, key: str) -> float | None:
    """Zero for a Sentinel-2 band, for items that do not say it; ``None`` if not known."""
    return None if known_type(item, key) is None else 0.0


def _default(item: pystac.Item, key: str, asset: pystac.Asset) -> tuple[float, float]:
    if not is_sentinel2(item):
        return 1.0, 0.0
    if _S2_ATMOSPHERE.match(key):
        return 0.001, 0.0
    if not is_reflectance(key, item) or assets.data_type(item, asset) == np.dtype("uint8"):
        return 1.0, 0.0  # a quicklook or a stretched copy holds no reflectance
    return _S2_SCALE, _S2_OFFSET if _baseline(item) >= _S2_BASELINE else 0.0


def _offset_applied(item: pystac.Item) -> bool:
    keys = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
    return any(item.properties.get(key) is True for key in keys)


def _baseline(item: pystac.Item) -> tuple[int, int]:
    """Processing baseline as (major, minor); (0, 0) when nothing tells it."""
    properties = item.properties
    for key in ("s2:processing_baseline", "sentinel:processing_baseline", "processing:version"):
        match = re.match(r"^0?(\d{1,2})\.(\d{1,2})", str(properties.get(key, "")))
        if match:
            return int(match[1]), int(match[2])
    for name in (properties.get("s2:product_uri"), item.id):
        match = re.search(r"_N(\d\d)(\d\d)_", str(name))
        if match:
            return int(match[1]), int(match[2])
    return 0, 0


def to_reflectance(cube: xr.DataArray) -> xr.DataArray:
    """Physical values of a cube's scenes, lazily.

    Parameters
    ----------
    cube : xr.DataArray
        ``(time, band, y, x)`` as :func:`rsscale.data.load.load` gives it.

    Returns
    -------
    xr.DataArray
        float32, NaN where nodata; codes such as SCL keep their numbers. ``scale`` and
        ``offset`` are 1 and 0, so that they are not applied twice.
    """
    fill = cube.attrs["nodata"]
    scale = cube["scale"].astype("float32")
    offset = cube["offset"].astype("float32")
    values = cube.astype("float32") * scale + offset
    invalid = cube.isnull() if np.isnan(fill) else cube == fill
    out: xr.DataArray = values.where(~invalid).transpose(*cube.dims)
    out = out.assign_coords(scale=xr.ones_like(scale), offset=xr.zeros_like(offset))
    attrs: dict[str, Any] = {**cube.attrs, "nodata": float("nan")}
    return out.assign_attrs(attrs).rename(cube.name)
