"""Observations as they are: a series of dates, in physical units, for models of time series."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from rsscale.composites.time_windows import TimeWindow
from rsscale.composites.validity import invalid_pixels, physical
from rsscale.cube.order import canonical_order, per_scene
from rsscale.cube.slices import Blocks, map_pixels, planes
from rsscale.decorators.first_argument import CUBE, first_is
from rsscale.errors import RecipeError


@first_is(xr.DataArray, expected=CUBE)
def series(
    cube: xr.DataArray, start: str | date | None = None, end: str | date | None = None
) -> xr.DataArray:
    """Make a series of the observations of a cube, lazily: what models of time series take.

    An observation is what one scene, a slice of the cube along time, holds at a pixel. It counts
    when all its bands are valid, and is missing for all bands when one is nodata, as in a
    composite. Scale and offset are applied in float32.

    Parameters
    ----------
    cube : xr.DataArray
        ``(time, band, y, x)`` of :func:`rsscale.load`, masked or not;
        :func:`rsscale.merge_days` makes one observation of the scenes of a day.
    start, end : str or date, optional
        First and last day (UTC), both included; all dates when omitted.

    Returns
    -------
    xr.DataArray
        float32 ``(time, band, y, x)``, NaN where missing, in the order of (datetime, id).
        Coordinates: ``time``, ``observations(time, y, x)`` uint8, 1 where there is one; ``band``,
        ``y``, ``x``, ``spatial_ref``. Chunks of the cube in ``y`` and ``x``.

    Raises
    ------
    RecipeError
        When the span ends before it starts, or a day is none.
    """
    times = cube["time"].values.astype("datetime64[ns]")
    order = canonical_order(cube)
    inside = _span(times, start, end).holds(times[order])
    chosen = tuple(int(number) for number in order[inside])
    bands = cube.sizes["band"]
    both = _observations(cube, chosen)  # (time, band + 1, y, x); the last says where there is one
    spatial = {k: v for k, v in cube.coords.items() if set(v.dims) <= {"y", "x"}}
    return xr.DataArray(
        both[:, :bands],
        dims=("time", "band", "y", "x"),
        coords={
            "time": ("time", times[list(chosen)]),
            "band": cube["band"].values,
            "observations": (("time", "y", "x"), both[:, bands].astype("uint8")),
            **spatial,
        },
        attrs={"nodata": float("nan")},
        name="series",
    )


def _span(
    times: npt.NDArray[np.datetime64], start: str | date | None, end: str | date | None
) -> TimeWindow:
    """The days from start to end; to the first or last date where they are not given."""
    days = times.astype("datetime64[D]") if len(times) else np.zeros(1, "datetime64[D]")
    first, last = _day(start, days.min().item()), _day(end, days.max().item())
    if start is None:
        first = min(first, last)
    if end is None:
        last = max(first, last)
    return TimeWindow("series", first, last)


def _day(day: str | date | None, default: date) -> date:
    if day is None:
        return default
    try:
        return day if isinstance(day, date) else date.fromisoformat(day)
    except ValueError:
        raise RecipeError(f"{day!r} is no day; expected YYYY-MM-DD") from None


def _observations(cube: xr.DataArray, chosen: Sequence[int]) -> Any:
    import dask.array as da

    data = cube.data if cube.chunks else da.from_array(cube.values)
    shape = (len(chosen), cube.sizes["band"] + 1)
    if not chosen:  # Dask has no blocks over an axis of no length
        return da.zeros((*shape, *data.shape[2:]), "float32", chunks=(-1, -1, *data.chunks[2:]))
    return map_pixels(
        _block,
        data,
        shape,
        "float32",
        chosen=tuple(chosen),
        scale=per_scene(cube, "scale", 1.0),
        offset=per_scene(cube, "offset", 0.0),
        fill=cube.attrs.get("nodata", float("nan")),
    )


def _block(
    blocks: Blocks,
    *,
    chosen: Sequence[int],
    scale: npt.NDArray[np.float32],
    offset: npt.NDArray[np.float32],
    fill: float,
) -> npt.NDArray[np.float32]:
    """Observations of some pixels ``(time, band + 1, h, w)``; 1 in the last where there is one."""
    import torch

    cpu, every = torch.device("cpu"), planes(blocks)
    out = np.empty((len(chosen), scale.shape[1] + 1, *blocks[0][0].shape[2:]), np.float32)
    for into, number in zip(out, chosen, strict=True):
        missing = invalid_pixels(every[number], fill)
        for band, plane in enumerate(every[number]):
            into[band] = physical(plane, scale[number, band], offset[number, band], cpu).numpy()
            into[band][missing] = np.nan
        into[-1] = ~missing
    return out
