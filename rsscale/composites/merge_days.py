"""Merge the scenes of each solar day into one slice of a cube."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from rsscale.composites.validity import invalid_pixels, physical
from rsscale.cube.masks import cube_nodata
from rsscale.cube.order import canonical_order, per_scene
from rsscale.cube.slices import Blocks, map_pixels, planes
from rsscale.decorators.first_argument import CUBE, first_is
from rsscale.memory import mmap_array


@first_is(xr.DataArray, expected=CUBE)
def merge_days(cube: xr.DataArray) -> xr.DataArray:
    """Merge the scenes of each solar day, lazily: the first valid observation counts.

    Neighbouring tiles of one overpass overlap. Unmerged, they are several observations of the
    same moment, which weigh more in a composite and are counted as often. To be done after
    masking, so that a clear observation is not hidden by a cloudy one.

    Parameters
    ----------
    cube : xr.DataArray
        ``(time, band, y, x)`` of :func:`rsscale.cube.load.load`, masked. The day is the
        coordinate ``solar_day(time)`` (datetime64[D]); without one, the UTC date.

    Returns
    -------
    xr.DataArray
        ``(day, band, y, x)`` with the dimension still named ``time``, in order of the first
        scenes' (datetime, id). At each pixel all bands are those of the first observation, in
        that order, that is valid in all of them; without one they are nodata. Chunks of the
        cube in ``y`` and ``x``, values independent of them. ``time`` is the first scene's, ``id``
        their ids with ``+`` between, ``solar_day`` the day; other coordinates along ``time``
        stay where the scenes of each day agree. Type, ``scale``, ``offset`` and nodata stay
        when the scenes of each day share scale and offset; else values are physical
        float32, scale 1, offset 0, nodata NaN, so that a composite is the same to the bit.

    Raises
    ------
    RecipeError
        When the cube does not say its nodata.

    Examples
    --------
    Between mask and composite::

        cube = rs.mask(rs.load(items, geobox, ["red", "nir", "scl"]), "sentinel2-scl")
        comp = rs.composite(merge_days(cube), by="season")
    """
    import dask.array as da

    groups = _groups(cube)
    if not groups:
        return cube
    plan = _Plan.of(cube, groups)
    data = cube.data if cube.chunks else da.from_array(cube.values)
    merged = map_pixels(
        _merge_block,
        data,
        (len(groups), cube.sizes["band"]),
        plan.dtype,
        plan=plan,
    )
    coords = {k: v for k, v in cube.coords.items() if "time" not in v.dims}
    return xr.DataArray(
        merged,
        dims=cube.dims,
        coords={**coords, **_merged_coords(cube, groups, plan)},
        attrs={**cube.attrs, "nodata": plan.nodata.item()},
        name=cube.name,
    )


@dataclass(frozen=True)
class _Plan:
    """How to merge a block.

    Attributes
    ----------
    groups : tuple of tuple of int
        Slices of each day, in canonical order.
    scale, offset : numpy.ndarray or None
        ``(time, band)`` float32, to be applied; None where values stay as they are.
    fill : float
        Nodata of the cube.
    nodata : numpy scalar
        Nodata of the result, of its type.
    """

    groups: tuple[tuple[int, ...], ...]
    scale: npt.NDArray[np.float32] | None
    offset: npt.NDArray[np.float32] | None
    fill: float
    nodata: np.generic

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.nodata.dtype

    @classmethod
    def of(cls, cube: xr.DataArray, groups: tuple[tuple[int, ...], ...]) -> _Plan:
        fill = cube_nodata(cube)
        scale, offset = per_scene(cube, "scale", 1.0), per_scene(cube, "offset", 0.0)
        if all((t[list(g)] == t[g[0]]).all() for t in (scale, offset) for g in groups):
            return cls(groups, None, None, float(fill), fill)
        return cls(groups, scale, offset, float(fill), np.float32("nan"))


def _groups(cube: xr.DataArray) -> tuple[tuple[int, ...], ...]:
    """Indices of the slices of each day, in order of (datetime, id)."""
    times = cube["time"].values.astype("datetime64[ns]")
    known = cube["solar_day"].values if "solar_day" in cube.coords else times
    days = known.astype("datetime64[D]")
    groups: dict[Any, list[int]] = {}
    for index in canonical_order(cube).tolist():
        groups.setdefault(days[index], []).append(index)
    return tuple(map(tuple, groups.values()))


def _merged_coords(
    cube: xr.DataArray, groups: Sequence[Sequence[int]], plan: _Plan
) -> dict[str, Any]:
    first = [group[0] for group in groups]
    coords: dict[str, Any] = {}
    for key, value in cube.coords.items():
        if "time" not in value.dims:
            continue
        values = value.transpose("time", ...).values
        if key == "id":
            joined = ["+".join(str(values[i]) for i in group) for group in groups]
            coords["id"] = ("time", np.array(joined, dtype=str))
        elif key in ("scale", "offset") and plan.scale is not None:
            shape = len(groups), cube.sizes["band"]
            number = np.full(shape, 1.0 if key == "scale" else 0.0, "float32")
            coords[str(key)] = (("time", "band"), number)
        elif key in ("time", "solar_day") or all(
            (values[list(group)] == values[group[0]]).all() for group in groups
        ):
            dims = value.transpose("time", ...).dims
            coords[str(key)] = (dims, values[first])
    return coords


def _merge_block(blocks: Blocks, *, plan: _Plan) -> npt.NDArray[Any]:
    """Merge the scenes of some pixels to ``(days, B, h, w)``."""
    scenes = planes(blocks)
    shape = scenes[0][0].shape
    out = mmap_array((len(plan.groups), len(scenes[0]), *shape), plan.dtype)
    out[...] = plan.nodata
    for day, group in zip(out, plan.groups, strict=True):
        wanted = np.ones(shape, bool)
        for number in group:
            taken = wanted & ~invalid_pixels(scenes[number], plan.fill)
            if taken.any():
                _copy(scenes[number], day, taken, number, plan)
                wanted &= ~taken
            if not wanted.any():
                break
    return out


def _copy(
    scene: Sequence[npt.NDArray[Any]],
    day: npt.NDArray[Any],
    taken: npt.NDArray[np.bool_],
    at: int,
    plan: _Plan,
) -> None:
    import torch

    for band, (source, target) in enumerate(zip(scene, day, strict=True)):
        if plan.scale is None or plan.offset is None:
            np.copyto(target, source, where=taken)
        else:
            values = physical(
                source, plan.scale[at, band], plan.offset[at, band], torch.device("cpu")
            )
            np.copyto(target, values.numpy(), where=taken)
