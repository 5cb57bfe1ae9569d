"""Reduce a series of observations to one value for each window of time: the composite."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from rsscale.composites.fallback import Scenes, composite_block, substitutes, windows_by_year
from rsscale.composites.reducer_names import check_fallback, check_reducer
from rsscale.composites.time_windows import TimeWindow, time_windows
from rsscale.cube.order import canonical_order, per_scene
from rsscale.cube.slices import map_pixels
from rsscale.decorators.first_argument import CUBE, first_is
from rsscale.errors import RecipeError

# Reducers whose values no observation need have.
_IN_BETWEEN = ("median", "mean", "geomedian")
_warned_of: set[tuple[str, ...]] = set()


@first_is(xr.DataArray, expected=CUBE)
def composite(
    cube: xr.DataArray,
    by: str | Mapping[str, Any] = "season",
    reducer: str = "median",
    *,
    years: Sequence[int] | None = None,
    missing: str = "leave",
    device: str = "cpu",
) -> xr.DataArray:
    """Reduce the observations of each window of time to one value a pixel and band, lazily.

    An observation is what one scene, a slice of the cube along time, holds at a pixel. It counts
    when all its bands are valid, and is left out for all bands when one is nodata, so that a
    spectrum always comes from the same observations. Scale and offset are applied to each
    observation before reducing, in float32.

    Parameters
    ----------
    cube : xr.DataArray
        ``(time, band, y, x)`` of :func:`rsscale.cube.load.load`, masked or not.
    by : str or mapping
        The windows of a year, see :func:`time_windows`.
    reducer : str
        Of the valid observations, each band by itself:

        - ``"median"``: the middle one, or the mean of the middle two.
        - ``"mean"``: their sum in order of (datetime, id), over their number.
        - ``"min"``, ``"max"``.
        - ``"p1"`` … ``"p99"``: a percentile, linear between ranks (``numpy.percentile``).

        Or a spectrum as a whole:

        - ``"best-pixel"``: the observation nearest to the middle of the window, the earlier one
          on a tie. Of the scores of White et al. (2014, Canadian Journal of Remote Sensing 40(3))
          this is the one for the day of the year; the mask decides on clouds.
        - ``"medoid"``: the observation with the least sum of distances to the others (Flood 2013).
        - ``"geomedian"``: the point with the least sum of distances to all observations
          (Roberts, Mueller, McIntyre 2017); not itself an observation. Of two, their mean.

        Distances are Euclidean over the bands, in their physical units.
    years : sequence of int, optional
        Which years; by default those in whose windows a date of the cube lies. Dates in
        December alone make no next year (it has the winter they belong to), unless they
        are all there is.
    missing : str
        The fallback for pixels without an observation in a window. ``"leave"``: NaN.
        ``"neighbour"``: the value of the window of the same year that has one and is nearest in
        time, middle to middle, the earlier one on a tie. ``"linear"``: between the values of the
        windows of the same year before and after that have one, by the time between their middles;
        before the first and after the last of them, its value. ``"year"``: all observations of the
        year's windows reduced together. Pixels without any in the year stay NaN.
    device : str
        Where torch reduces: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ….

    Returns
    -------
    xr.DataArray
        float32 ``(time, band, y, x)``, NaN where there is no observation, chunks of the cube in
        ``y`` and ``x``, which may be uneven: ``.chunk(y=1024, x=1024).to_zarr(...)`` stores it.
        All windows of all years, also empty ones. Coordinates: ``time`` (start
        of the window), ``window(time)`` and ``year(time)``, ``observations(time, y, x)`` (uint8,
        number of observations in the window, 0 also where the fallback filled it, 254 for more;
        lazy), ``band``, ``y``, ``x``, ``spatial_ref``.
        Values are bitwise independent of chunks, of the order of the cube's slices, and of
        scenes that hold only nodata.

    Raises
    ------
    RecipeError
        When windows, reducer, years, the fallback or the device make no sense.
    """
    check_reducer(reducer)
    check_fallback(missing)
    _check_device(device)
    _warn_of_codes(cube, reducer)
    times = cube["time"].values.astype("datetime64[ns]")
    windows = [(y, w) for y in _years(times, by, years) for w in time_windows(by, y)]
    order = canonical_order(cube)
    scenes = tuple(_scenes([w], times, order, reducer) for _, w in windows)
    of_years: Scenes = ()
    if missing == "year":
        groups = [[w for y, w in windows if y == year] for year in sorted({y for y, _ in windows})]
        of_years = tuple(_scenes(group, times, order, reducer) for group in groups)
    # (window, band + 1, y, x); the last is the count
    both = _reduced(
        cube,
        scenes=scenes,
        of_years=of_years,
        instead=substitutes(windows, missing),
        linear=windows_by_year(windows, missing),
        reducer=reducer,
        device=device,
    )
    bands = cube.sizes["band"]
    spatial = {k: v for k, v in cube.coords.items() if set(v.dims) <= {"y", "x"}}
    return xr.DataArray(
        both[:, :bands],
        dims=("time", "band", "y", "x"),
        coords={
            "time": ("time", np.array([w.start for _, w in windows], "datetime64[ns]")),
            "band": cube["band"].values,
            "window": ("time", np.array([w.name for _, w in windows], dtype=str)),
            "year": ("time", np.array([y for y, _ in windows], dtype="int16")),
            "observations": (("time", "y", "x"), both[:, bands].astype("uint8")),
            **spatial,
        },
        attrs={"nodata": float("nan"), "reducer": reducer, "missing": missing},
        name="composite",
    )


def _warn_of_codes(cube: xr.DataArray, reducer: str) -> None:
    """Warn, once in a process, where codes would be averaged: 6.5 is none of them."""
    bands = cube["band"].values.tolist()
    codes = tuple(str(band) for band in cube.attrs.get("categorical", ()) if band in bands)
    if not codes or codes in _warned_of or cube.sizes["time"] < 2:
        return
    if reducer in _IN_BETWEEN or reducer.startswith("p"):
        _warned_of.add(codes)
        logging.getLogger(__name__).warning(
            "%s holds codes, and where observations differ %s makes numbers between them, which "
            "are none; leave it out (a mask does), or take the reducer best-pixel or medoid",
            " and ".join(map(repr, codes)), reducer,
        )  # fmt: skip


def _check_device(device: str) -> None:
    if device == "cpu":
        return
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise RecipeError(
            f"device {device!r} cannot be used ({reason}); "
            "expected cpu, or a device of this machine"
        ) from None


def _scenes(
    windows: Sequence[TimeWindow],
    times: npt.NDArray[np.datetime64],
    order: npt.NDArray[np.intp],
    reducer: str,
) -> tuple[int, ...]:
    """Slices of the cube in any of the windows, in canonical order or the best pixel first."""
    inside = np.zeros(times.shape, bool)
    for window in windows:
        inside |= window.holds(times)
    chosen = order[inside[order]]
    if reducer == "best-pixel" and len(chosen):
        span = TimeWindow("all", min(w.start for w in windows), max(w.end for w in windows))
        chosen = chosen[np.argsort(np.abs(times[chosen] - span.middle), kind="stable")]
    return tuple(chosen.tolist())


def _years(
    times: npt.NDArray[np.datetime64], by: str | Mapping[str, Any], years: Sequence[int] | None
) -> list[int]:
    if years is not None:
        bad = [y for y in years if isinstance(y, bool) or not isinstance(y, int | np.integer)]
        if bad:
            raise RecipeError(f"composite years hold {bad[0]!r}; expected whole numbers")
        return sorted({int(y) for y in years})
    of_dates = times.astype("datetime64[Y]").astype(int) + 1970
    is_december = times.astype("datetime64[M]").astype(int) % 12 == 11
    calendar_years = set(of_dates.tolist())
    touched, founded = set(), set()
    for year in calendar_years | {y + 1 for y in calendar_years}:
        inside = np.zeros(times.shape, bool)
        for window in time_windows(by, year):
            inside |= window.holds(times)
        touched |= {year} if inside.any() else set()
        founded |= {year} if (inside & ((of_dates >= year) | ~is_december)).any() else set()
    return sorted((calendar_years & touched) | founded or touched or calendar_years)


def _reduced(cube: xr.DataArray, *, scenes: Scenes, **how: Any) -> Any:
    """The composite and its counts as one array; ``how`` is for :func:`composite_block`."""
    import dask.array as da

    scene_count, bands = cube.sizes["time"], cube.sizes["band"]
    data = cube.data if cube.chunks else da.from_array(cube.values)
    if not (scene_count and scenes):  # Dask has no blocks over an axis of no length
        rows, cols = data.chunks[2:]
        shape = (len(scenes), bands + 1, *cube.shape[2:])
        counts = da.zeros((shape[0], 1, *shape[2:]), dtype="float32", chunks=(-1, 1, rows, cols))
        values = da.full(
            (shape[0], bands, *shape[2:]), np.float32("nan"), chunks=(-1, -1, rows, cols)
        )
        return da.concatenate([values, counts], axis=1)
    return map_pixels(
        composite_block,
        data,
        (len(scenes), bands + 1),
        "float32",
        scenes=scenes,
        scale=per_scene(cube, "scale", 1.0),
        offset=per_scene(cube, "offset", 0.0),
        fill=cube.attrs.get("nodata", float("nan")),
        **how,
    )
