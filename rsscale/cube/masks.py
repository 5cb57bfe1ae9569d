"""Mask clouds, shadows and defects by a band of codes or bits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from rsscale.cube.mask_rules import PRESETS, MaskRule, is_one_of, mask_rule
from rsscale.errors import RecipeError, nearest
from rsscale.geo.georeference import geobox_of
from rsscale.memory import mmap_array

__all__ = ["PRESETS", "MaskRule", "dilated", "dilation_pixels", "mask", "mask_rule"]

_CLEAR, _DROPPED, _UNSEEN = np.uint8(0), np.uint8(1), np.uint8(2)


def mask(
    cube: xr.DataArray, by: str | Mapping[str, Any] | MaskRule, *, dilate: float = 0.0
) -> xr.DataArray:
    """Set unusable observations to nodata and leave the mask band out, lazily.

    Parameters
    ----------
    cube : xr.DataArray
        ``(time, band, y, x)`` of :func:`rsscale.cube.load.load`, with the mask's band in it.
    by : str, mapping or MaskRule
        A preset: ``"sentinel2-scl"`` (keeps SCL 4, 5, 6, 7, 11), ``"landsat-qa-pixel"``
        (Collection 2; drops fill, cloud, dilated cloud, cirrus, shadow), ``"fmask"`` (Zhu's
        codes; drops cloud and shadow), ``"dea-fmask"`` (the codes of ``oa_fmask`` and
        python-fmask), ``"hls-fmask"`` (bits; drops cloud, its neighbourhood, shadow). None
        drops snow or water. Or ``{"band": name}`` with one of ``"keep": [codes]``,
        ``"drop": [codes]``, ``"bits": [bit numbers]`` and ``"fields": {"first-last bit":
        [numbers]}``, and, if need be, ``"unseen": [values]``; see :class:`MaskRule`.
    dilate : float
        Also drop what lies within this many metres of a dropped pixel, counted in whole
        pixels, rounded up. Nodata of the mask band itself (the cube's, NaN, or the rule's
        unseen values), such as beyond the edge of a swath, is invalid but does not grow. Read
        that much more around an area than is needed.

    Returns
    -------
    xr.DataArray
        The other bands, in the same type and chunks; invalid observations hold ``attrs["nodata"]``
        in all bands. Values do not depend on the chunks.

    Raises
    ------
    RecipeError
        When the preset, the band or the rule is unknown, or the dilation cannot be done.
    """
    rule = mask_rule(by)
    bands = [str(band) for band in cube["band"].values]
    if rule.band not in bands:
        raise RecipeError(
            f"the mask needs band {rule.band!r}, which is not loaded; there are "
            f"{', '.join(bands)}{nearest(rule.band, bands)}"
        )
    radius = dilation_pixels(cube, dilate)
    at = bands.index(rule.band)
    fill = cube_nodata(cube)
    states = cube.isel(band=at).data.map_blocks(_states, rule=rule, fill=fill, dtype="uint8")
    if max(radius) > 0 and states.size:
        states = states.map_overlap(
            _grow,
            # Dask refuses to look further than the array reaches.
            depth={axis + 1: min(radius[axis], states.shape[axis + 1]) for axis in (0, 1)},
            boundary="none",
            dtype="uint8",
            meta=np.empty((0, 0, 0), "uint8"),
            radius=radius,
        )
    rest = _without(cube, at)
    # Very thin chunks were joined for the overlap; values are the same either way.
    scenes, _, rows, cols = rest.data.chunks
    data = _apply(rest.data, states.rechunk((scenes, rows, cols)), fill)
    categorical = [b for b in rest.attrs.get("categorical", []) if b != rule.band]
    out: xr.DataArray = rest.copy(data=data).assign_attrs(categorical=categorical)
    return out


def cube_nodata(cube: xr.DataArray) -> Any:
    """The cube's nodata as a number of its type.

    Raises
    ------
    RecipeError
        When the cube says none, and is of a type without NaN.
    """
    nodata = cube.attrs.get("nodata", np.nan if cube.dtype.kind == "f" else None)
    if nodata is None or (cube.dtype.kind != "f" and nodata != nodata // 1):
        raise RecipeError(
            f"the cube's attribute nodata is {nodata!r} and its type {cube.dtype}; expected a "
            "number of that type, as load gives it: cube.assign_attrs(nodata=0)"
        )
    return cube.dtype.type(nodata)


def dilation_pixels(cube: xr.DataArray, metres: float) -> tuple[int, int]:
    """Radius of the dilation in (rows, columns), rounded up.

    Raises
    ------
    RecipeError
        When it is negative, or the CRS counts degrees: then a metre is not the same number
        of pixels everywhere.
    """
    if metres == 0:
        return 0, 0
    if not (math.isfinite(metres) and metres > 0):
        raise RecipeError(f"dilate is {metres}; expected metres, 0 or more")
    geobox = geobox_of(cube)
    unit = geobox.crs.proj.axis_info[0].unit_conversion_factor
    if geobox.crs.geographic:
        raise RecipeError(
            f"dilate is {metres:g} metres, but the grid is in degrees ({geobox.crs}); "
            "use a projected CRS, or no dilation"
        )
    resolution = abs(geobox.resolution.y) * unit, abs(geobox.resolution.x) * unit
    # A radius that is a whole number of pixels but for rounding stays that number.
    rows, cols = (math.ceil(metres / r - 1e-9) for r in resolution)
    return rows, cols


def _without(cube: xr.DataArray, at: int) -> xr.DataArray:
    last = cube.sizes["band"] - 1
    if at == last:  # slices keep blocks as they are, a list makes new ones
        return cube.isel(band=slice(0, at))
    if at == 0:
        return cube.isel(band=slice(1, None))
    return cube.isel(band=[b for b in range(last + 1) if b != at])


def _states(codes: npt.NDArray[Any], *, rule: MaskRule, fill: Any) -> npt.NDArray[np.uint8]:
    """Clear, dropped or unseen, for ``(time, y, x)`` of the mask band."""
    unseen = is_one_of(codes, rule.unseen)
    if not np.isnan(fill):
        unseen |= codes == fill
    if codes.dtype.kind == "f":
        unseen |= ~np.isfinite(codes)
        codes = np.where(np.isfinite(codes), codes, 0)
    states = rule.dropped(codes).astype("uint8")
    states[unseen] = _UNSEEN
    return states


def _apply(data: Any, states: Any, fill: Any) -> Any:
    import dask.array as da

    return da.blockwise(
        _fill_invalid, "tbyx", data, "tbyx", states, "tyx", dtype=data.dtype, fill=fill,
        meta=np.empty((0, 0, 0, 0), data.dtype),
    )  # fmt: skip


def _fill_invalid(
    block: npt.NDArray[Any], states: npt.NDArray[np.uint8], *, fill: Any
) -> npt.NDArray[Any]:
    out = mmap_array(block.shape, block.dtype)  # not on the heap, as what is read
    for scene, masked, of_scene in zip(block, out, states, strict=True):
        np.copyto(masked, scene)
        np.copyto(masked, fill, where=of_scene != _CLEAR)
    return out


def _grow(states: npt.NDArray[np.uint8], *, radius: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Drop what is clear within the radius of a dropped pixel, scene by scene."""
    out = states.copy()
    for scene, grown in zip(states, out, strict=True):
        dropped = scene == _DROPPED
        if dropped.any():
            grown[dilated(dropped, radius) & (scene == _CLEAR)] = _DROPPED
    return out


def dilated(flags: npt.NDArray[np.bool_], radius: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Binary dilation by a disk of ``(rows, columns)`` radius.

    The disk is cut into rows, and a row's window is found by the difference of a running
    sum: the cost grows with the radius, not with its square.
    """
    height, width = flags.shape
    ry, rx = radius
    # counts[:, i] is the number of flags left of column i, continued past both ends.
    counts = np.zeros((height, width + 1), "int32")
    np.cumsum(flags, axis=1, out=counts[:, 1:])
    columns = np.arange(width)
    out = np.zeros_like(flags)
    for dy in range(min(ry, height - 1) + 1):
        half = math.floor(rx * math.sqrt(1 - (dy / ry) ** 2) + 1e-9) if ry else rx
        right = np.minimum(columns + half + 1, width)
        left = np.maximum(columns - half, 0)
        near = counts[:, right] != counts[:, left]
        out[dy:] |= near[: height - dy]
        out[: height - dy] |= near[dy:]
    return out
