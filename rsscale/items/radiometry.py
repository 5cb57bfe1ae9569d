"""From stored numbers to physical values: ``value = number * scale + offset``.

Cubes keep the numbers of the files. Scale and offset travel as coordinates
``scale(time, band)`` and ``offset(time, band)`` and are applied once, block by block, by
:func:`rsscale.composites.composite.composite` (or by :func:`to_reflectance` for a look at the
scenes themselves), never while reading.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from rsscale.decorators.first_argument import CUBE, first_is
from rsscale.errors import ItemError
from rsscale.items import assets
from rsscale.items.features import Item
from rsscale.items.products import BandSpec, is_sentinel2, specification

__all__ = [
    "is_sentinel2", "known_nodata", "known_type", "scale_offset", "scaling", "to_reflectance",
]  # fmt: skip

# A written scale that is the specification's, but for rounding.
_SAME = 1e-3


def scale_offset(item: Item, asset: str, index: int | None = None) -> tuple[float, float]:
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
    4. What the product's specification says (:mod:`rsscale.items.products`), for Sentinel-2,
       Landsat Collection 2 Level 2, HLS and the surface reflectance of Digital Earth Australia.
       Its offset belongs to its scale: to another one that is written down it is not added.
       A file of another kind of number (uint8, float32) is not the product's.
    5. Anything else is ``(1, 0)``.

    An Earth Search item whose flag is ``false`` though its pixels were shifted (issue 71 there)
    cannot be told from one that is right.

    Parameters
    ----------
    item : pystac.Item or Feature
    asset : str
        The asset's key in the item.
    index : int, optional
        Number of the band, from 1, in a file of several.

    Returns
    -------
    (float, float)
        ``value = number * scale + offset``; for Sentinel-2 the value is reflectance, 0 to 1.
    """
    if assets.is_categorical(asset, item.assets[asset], index):
        return 1.0, 0.0
    return scaling(item, asset, None if index else specification(item, asset), index)


def scaling(
    item: Item, asset: str, known: BandSpec | None, index: int | None = None
) -> tuple[float, float]:
    """Result of :func:`scale_offset` for measurements, by the product's specification."""
    scale = assets.finite(item, asset, "scale", index)
    offset = assets.finite(item, asset, "offset", index)
    if offset is None and known and (scale is None or _same(scale, known.scale)):
        offset = known.offset
    if scale is None:
        scale = known.scale if known else 1.0
    if not scale:
        raise ItemError(
            f"item {item.id!r}, asset {asset!r}: scale is 0, which makes all values one; correct "
            "the item, or leave it out (exclude)"
        )
    return scale, 0.0 if _offset_applied(item) else offset or 0.0


def known_type(item: Item, key: str) -> np.dtype[Any] | None:
    """The type that a product's specification gives a band; ``None`` if not known."""
    known = specification(item, key)
    return known.dtype if known else None


def known_nodata(item: Item, key: str) -> float | None:
    """The nodata value that a product's specification gives a band; ``None`` if not known."""
    known = specification(item, key)
    return known.nodata if known else None


def _same(value: float, other: float) -> bool:
    return abs(value - other) <= _SAME * abs(other)


def _offset_applied(item: Item) -> bool:
    keys = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
    return any(item.properties.get(key) is True for key in keys)


@first_is(xr.DataArray, expected=CUBE)
def to_reflectance(cube: xr.DataArray) -> xr.DataArray:
    """Convert the stored numbers of a cube to physical values by its scale and offset, lazily.

    Parameters
    ----------
    cube : xr.DataArray
        ``(time, band, y, x)`` as :func:`rsscale.cube.load.load` gives it.

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
