"""Mask clouds, shadows and defects by a band of codes or bits."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Sequence
from functools import partial, reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from rsscale.cluster.sealed import Sealed
from rsscale.cube.mask_rules import PRESETS, MaskLike, MaskRule, is_one_of, mask_rule, mask_rules
from rsscale.decorators.first_argument import CUBE, first_is
from rsscale.errors import AreaError, RecipeError, nearest
from rsscale.geo.georeference import geobox_of
from rsscale.geo.ground import PixelRadii, pixel_radii
from rsscale.memory import mmap_array

__all__ = ["PRESETS", "MaskRule", "dilated", "dilation_pixels", "mask", "mask_rule"]

_log = logging.getLogger(__name__)
_WARNED: set[str] = set()

_CLEAR, _DROPPED, _UNSEEN = np.uint8(0), np.uint8(1), np.uint8(2)


@first_is(xr.DataArray, expected=CUBE)
def mask(
    cube: xr.DataArray, by: MaskLike | Sequence[MaskLike], *, dilate: float = 0.0
) -> xr.DataArray:
    """Set unusable observations to nodata and leave the mask bands out, lazily.

    Parameters
    ----------
    cube : xr.DataArray
        ``(time, band, y, x)`` of :func:`rsscale.cube.load.load`, with the mask's band in it.
    by : str, mapping or MaskRule, or a sequence of them
        A preset: ``"sentinel2-scl"`` (keeps SCL 4, 5, 6, 7, 11), ``"landsat-qa-pixel"``
        (Collection 2; drops fill, cloud, dilated cloud, cirrus, shadow), ``"fmask"`` (Zhu's
        codes; drops cloud and shadow), ``"dea-fmask"`` (the codes of ``oa_fmask`` and
        python-fmask), ``"hls-fmask"`` (bits; drops cloud, its neighbourhood, shadow). None
        drops snow or water. Or ``{"band": name}`` with one of ``"keep": [codes]``,
        ``"drop": [codes]``, ``"bits": [bit numbers]`` and ``"fields": {"first-last bit":
        [numbers]}``, and, if need be, ``"unseen": [values]``; see :class:`MaskRule`. Of
        several rules, each of a band of its own, what any drops is dropped, in any order.
    dilate : float
        Also drop what lies within this many metres on the ground of a dropped pixel, counted in
        whole pixels, rounded up: in degrees and Web Mercator these are more to the north. Nodata
        of the mask band itself (the cube's, NaN, or the rule's unseen values), such as beyond the
        edge of a swath, is invalid but does not grow. Read that much more around an area than is
        needed.

    Warns
    -----
    UserWarning
        When the band was not read by nearest. While computing, by logging: when the band is nodata
        for most of what other bands hold.

    Returns
    -------
    xr.DataArray
        The other bands, in the same type and chunks; invalid observations hold ``attrs["nodata"]``
        in all bands. Values do not depend on the chunks.

    Raises
    ------
    RecipeError
        When the preset, the band or the rule is unknown, the rule names bits or codes that the
        type of the band's files does not have, or the dilation cannot be done.
    """
    rules = mask_rules(by)
    bands = [str(band) for band in cube["band"].values]
    for rule in rules:
        if rule.band not in bands:
            raise RecipeError(
                f"the mask needs band {rule.band!r}, which is not loaded; there are "
                f"{', '.join(bands)}{nearest(rule.band, bands)}"
            )
        band = cube.isel(band=bands.index(rule.band))
        rule.check_type(_type_of_files(band))
        _warn_of_averages(band, rule)
    radii, fill, rest = dilation_pixels(cube, dilate), cube_nodata(cube), cube
    by_rule = [_states_of(cube, bands.index(rule.band), rule, fill, radii) for rule in rules]
    for rule in rules:
        rest = _without(rest, [str(band) for band in rest["band"].values].index(rule.band))
    data = _apply(rest.data, by_rule, rules, fill)
    dropped = {rule.band for rule in rules}
    categorical = [b for b in rest.attrs.get("categorical", []) if b not in dropped]
    out: xr.DataArray = rest.copy(data=data).assign_attrs(categorical=categorical)
    return out


def _states_of(cube: xr.DataArray, at: int, rule: MaskRule, fill: Any, radii: PixelRadii) -> Any:
    """What one rule says of each pixel, as a Dask array ``(time, y, x)``."""
    band = cube.isel(band=at)
    unseen = _unseen(band, rule, fill)
    states = band.data.map_blocks(Sealed(partial(_states, rule=rule, unseen=unseen)), dtype="uint8")
    if max(radii.largest) > 0 and states.size:
        states = _dilated_states(states, radii)
    return states


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


def dilation_pixels(cube: xr.DataArray, metres: float) -> PixelRadii:
    """Radius of the dilation in pixels, rounded up.

    Raises
    ------
    RecipeError
        When it is negative, or no length in metres can be measured on the grid.
    """
    if metres == 0:
        return PixelRadii(((0, 0),))
    if not (math.isfinite(metres) and metres > 0):
        raise RecipeError(f"dilate is {metres}; expected metres, 0 or more")
    try:
        return pixel_radii(geobox_of(cube), metres)
    except AreaError as error:
        raise RecipeError(f"dilate is {metres:g} metres, but {error}") from None


def _dilated_states(states: Any, radii: PixelRadii) -> Any:
    """Dilate by the radius of each pixel; where there are several, once by each of them."""
    import dask.array as da

    grown = [
        states.map_overlap(
            Sealed(partial(_grow, radius=radius)),
            # Dask refuses to look further than the array reaches.
            depth={axis + 1: min(radius[axis], states.shape[axis + 1]) for axis in (0, 1)},
            boundary="none",
            dtype="uint8",
            meta=np.empty((0, 0, 0), "uint8"),
        )
        for radius in radii.radii
    ]
    if radii.which is None:
        return grown[0]
    _, rows, cols = states.chunks
    which = da.from_array(radii.which, chunks=(rows, cols))
    dilated_states = states
    for index, dilation in enumerate(grown):
        dilated_states = da.where(which == index, dilation.rechunk(states.chunks), dilated_states)
    return dilated_states


def _without(cube: xr.DataArray, at: int) -> xr.DataArray:
    last = cube.sizes["band"] - 1
    if at == last:  # slices keep blocks as they are, a list makes new ones
        return cube.isel(band=slice(0, at))
    if at == 0:
        return cube.isel(band=slice(1, None))
    return cube.isel(band=[b for b in range(last + 1) if b != at])


def _type_of_files(band: xr.DataArray) -> np.dtype[Any]:
    """Type of a band's files, as the cube says; else its own."""
    known = str(band.coords["file_dtype"].values) if "file_dtype" in band.coords else ""
    return np.dtype(known) if known else band.dtype


def _warn_of_averages(band: xr.DataArray, rule: MaskRule) -> None:
    """Warn where codes or bits were interpolated: a mean of two codes is a third."""
    method = str(band.coords["resampling"].values) if "resampling" in band.coords else "nearest"
    if method != "nearest":
        warnings.warn(
            f"the mask's band {rule.band!r} was read {method}: where its files are off the grid, "
            f"its numbers are averages; load it with resampling={{{rule.band!r}: 'nearest'}}",
            stacklevel=3,
        )


def _unseen(band: xr.DataArray, rule: MaskRule, fill: Any) -> tuple[Any, ...]:
    """Values of the mask band that say that nothing was seen, as the cube holds them."""
    own = float(band.coords["file_nodata"]) if "file_nodata" in band.coords else math.nan
    if rule.unseen is None or math.isnan(own) or own in rule.unseen:
        return (*(rule.unseen or ()), fill)
    if own == fill:
        return rule.unseen  # the rule says that it is a value
    raise RecipeError(
        f"unseen of the mask by {rule.band!r} is {list(rule.unseen)}, but {own:g} was its nodata "
        f"when it was read, and is {fill} in the cube; load it with "
        f"nodata={{{rule.band!r}: {rule.unseen[0] if rule.unseen else None}}}"
    )


def _states(
    codes: npt.NDArray[Any], *, rule: MaskRule, unseen: tuple[Any, ...]
) -> npt.NDArray[np.uint8]:
    """Clear, dropped or unseen, for ``(time, y, x)`` of the mask band."""
    # Off the heap, and scene by scene: states outlive what is read and predicted beside them.
    out = mmap_array(codes.shape, "uint8")
    for scene, states in zip(codes, out, strict=True):
        nothing = is_one_of(scene, unseen)
        finite = scene
        if codes.dtype.kind == "f":
            nothing |= ~np.isfinite(scene)
            finite = np.where(np.isfinite(scene), scene, 0)
        states[...] = rule.dropped(finite)
        states[nothing] = _UNSEEN
    return out


def _apply(data: Any, by_rule: Sequence[Any], rules: Sequence[MaskRule], fill: Any) -> Any:
    import dask.array as da

    # Very thin chunks were joined for the overlap; values are the same either way.
    scenes, _, rows, cols = data.chunks
    blocks = [part for states in by_rule for part in (states.rechunk((scenes, rows, cols)), "tyx")]
    suspects = tuple(rule.band if rule.unseen is None else None for rule in rules)
    return da.blockwise(
        Sealed(partial(_fill_invalid, fill=fill, suspects=suspects)), "tbyx", data, "tbyx", *blocks,
        dtype=data.dtype, meta=np.empty((0, 0, 0, 0), data.dtype),
    )  # fmt: skip


def _fill_invalid(
    block: npt.NDArray[Any],
    *by_rule: npt.NDArray[np.uint8],
    fill: Any,
    suspects: Sequence[str | None],
) -> npt.NDArray[Any]:
    """Fill what any rule drops; each of them may have been misled by nodata of its own band."""
    for states, suspect in zip(by_rule, suspects, strict=True):
        if suspect is not None:
            _warn_of_nodata(block, states, fill, suspect)
    out = mmap_array(block.shape, block.dtype)  # not on the heap, as what is read
    for scene, masked, *by_rule_of_scene in zip(block, out, *by_rule, strict=True):
        np.copyto(masked, scene)
        np.copyto(masked, fill, where=reduce(np.maximum, by_rule_of_scene) != _CLEAR)
    return out


def _warn_of_nodata(
    block: npt.NDArray[Any], states: npt.NDArray[np.uint8], fill: Any, band: str
) -> None:
    """Say it, once a process, where a mask has no value for most of what the other bands hold."""
    if band in _WARNED or not block.size:
        return
    for scene, state in zip(block, states, strict=True):
        unseen = state == _UNSEEN
        if np.count_nonzero(unseen) * 2 <= unseen.size:
            continue
        valid = ~np.isnan(scene[0]) if np.isnan(fill) else scene[0] != fill
        count = np.count_nonzero(valid)
        if count and np.count_nonzero(valid & unseen) * 2 > count:
            _WARNED.add(band)
            _log.warning(
                "the mask's band %r is nodata for most pixels of a scene that other bands hold; "
                "where that number is a value (0 per cent, no bit set), give the mask "
                "'unseen: []'",
                band,
            )
            return


def _grow(states: npt.NDArray[np.uint8], *, radius: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Drop what is clear within the radius of a dropped pixel, scene by scene."""
    out = mmap_array(states.shape, states.dtype)  # not on the heap, as they are
    for scene, grown in zip(states, out, strict=True):
        np.copyto(grown, scene)
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
