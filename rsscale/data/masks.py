"""Pixels that cannot be used: clouds, shadows, defects, by a band of codes or bits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from rsscale.errors import RecipeError, nearest

_CLEAR, _DROPPED, _UNSEEN = np.uint8(0), np.uint8(1), np.uint8(2)


@dataclass(frozen=True)
class MaskRule:
    """Which values of a band make a look unusable; exactly one of the three is given.

    Attributes
    ----------
    band : str
        A band of codes or bits; it is left out of the masked cube.
    keep : tuple of int, optional
        Codes that are usable; all others are dropped.
    drop : tuple of int, optional
        Codes that are dropped; all others are usable.
    bits : tuple of int, optional
        Bit numbers, 0 the lowest; a value with any of them set is dropped.
    """

    band: str
    keep: tuple[int, ...] | None = None
    drop: tuple[int, ...] | None = None
    bits: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        given = [n for n in ("keep", "drop", "bits") if getattr(self, n) is not None]
        if len(given) != 1:
            raise RecipeError(
                f"the mask by band {self.band!r} has {' and '.join(given) or 'no rule'}; "
                "give exactly one of keep, drop, bits"
            )
        if self.bits is not None and not all(0 <= bit < 64 for bit in self.bits):
            raise RecipeError(f"mask bits are {list(self.bits)}; bit numbers go from 0 to 63")

    def dropped(self, codes: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Where values of the band are unusable."""
        if self.bits is not None:
            flags = np.uint64(sum(1 << bit for bit in self.bits))
            hit: npt.NDArray[np.bool_] = (codes.astype("uint64", copy=False) & flags) != 0
            return hit
        if self.keep is not None:
            return np.isin(codes, self.keep, invert=True)
        return np.isin(codes, self.drop or ())


PRESETS: dict[str, MaskRule] = {
    # Classes of Sen2Cor's scene classification (Sentinel-2 L2A Algorithm Theoretical Basis
    # Document; sentiwiki.copernicus.eu, S2 Processing, Level-2A). Kept are 4 vegetation,
    # 5 not vegetated, 6 water, 7 unclassified, 11 snow or ice. Class 7 is mostly clear
    # ground that fits no other class: leaving it out loses towns and bare fields. Dropped
    # are 0 no data, 1 saturated or defective, 2 dark area (topographic shadow since
    # baseline 04.00, much missed cloud shadow before), 3 cloud shadow, 8 and 9 cloud of
    # medium and high probability, 10 thin cirrus.
    "sentinel2-scl": MaskRule("scl", keep=(4, 5, 6, 7, 11)),
}


def mask(
    cube: xr.DataArray, by: str | Mapping[str, Any] | MaskRule, *, dilate: float = 0.0
) -> xr.DataArray:
    """Set unusable looks to nodata and leave the mask band out, lazily.

    Parameters
    ----------
    cube : xr.DataArray
        ``(time, band, y, x)`` of :func:`rsscale.data.load.load`, with the mask's band in it.
    by : str, mapping or MaskRule
        A preset (``"sentinel2-scl"``: keeps SCL 4, 5, 6, 7, 11), or ``{"band": name}`` with
        one of ``"keep": [codes]``, ``"drop": [codes]``, ``"bits": [bit numbers]``.
    dilate : float
        Also drop what lies within this many metres of a dropped pixel, counted in whole
        pixels, rounded up. Nodata of the mask band itself, such as beyond the edge of a swath, is
        invalid but does not grow. Read that much more around an area than is needed.

    Returns
    -------
    xr.DataArray
        The other bands, in the same type and chunks; invalid looks hold ``attrs["nodata"]``
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
    fill = cube.dtype.type(cube.attrs["nodata"])
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
    looks, _, rows, cols = rest.data.chunks
    data = _apply(rest.data, states.rechunk((looks, rows, cols)), fill)
    categorical = [b for b in rest.attrs.get("categorical", []) if b != rule.band]
    out: xr.DataArray = rest.copy(data=data).assign_attrs(categorical=categorical)
    return out


def mask_rule(by: str | Mapping[str, Any] | MaskRule) -> MaskRule:
    """The rule that a preset's name or a mapping of a recipe stands for."""
    if isinstance(by, MaskRule):
        return by
    if isinstance(by, str):
        if by not in PRESETS:
            raise RecipeError(
                f"there is no mask {by!r}; there are {', '.join(PRESETS)}{nearest(by, PRESETS)}, "
                "or give a band with keep, drop or bits"
            )
        return PRESETS[by]
    known = ("band", "keep", "drop", "bits")
    for key in by:
        if key not in known:
            raise RecipeError(
                f"a mask has no key {key!r}; expected {', '.join(known)}{nearest(str(key), known)}"
            )
    if not isinstance(by.get("band"), str):
        raise RecipeError("a mask needs band: the name of a band of codes or bits")
    return MaskRule(by["band"], *(_codes(key, by.get(key)) for key in known[1:]))


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
    geobox = cube.odc.geobox
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


def _codes(key: str, value: Any) -> tuple[int, ...] | None:
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise RecipeError(f"mask {key} is {value!r}; expected a list of whole numbers")
    if any(isinstance(v, bool) or not isinstance(v, int | np.integer) for v in value):
        raise RecipeError(f"mask {key} is {list(value)}; expected a list of whole numbers")
    return tuple(int(v) for v in value)


def _without(cube: xr.DataArray, at: int) -> xr.DataArray:
    last = cube.sizes["band"] - 1
    if at == last:  # slices keep blocks as they are, a list makes new ones
        return cube.isel(band=slice(0, at))
    if at == 0:
        return cube.isel(band=slice(1, None))
    return cube.isel(band=[b for b in range(last + 1) if b != at])


def _states(codes: npt.NDArray[Any], *, rule: MaskRule, fill: Any) -> npt.NDArray[np.uint8]:
    """Clear, dropped or unseen, for ``(time, y, x)`` of the mask band."""
    states = rule.dropped(codes).astype("uint8")
    states[np.isnan(codes) if np.isnan(fill) else codes == fill] = _UNSEEN
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
    return np.where((states != _CLEAR)[:, None], fill, block)


def _grow(states: npt.NDArray[np.uint8], *, radius: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Drop what is clear within the radius of a dropped pixel, look by look."""
    out = states.copy()
    for look, grown in zip(states, out, strict=True):
        dropped = look == _DROPPED
        if dropped.any():
            grown[dilated(dropped, radius) & (look == _CLEAR)] = _DROPPED
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
