"""From a series of looks to one value a window of time: the composite."""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from rsscale.errors import RecipeError, nearest

_MONTHS = "january february march april may june july august september october november december"
_SEASONS = {  # meteorological; winter is named for the year it ends in
    "winter": ("-1-12-01", "02-29"),
    "spring": ("03-01", "05-31"),
    "summer": ("06-01", "08-31"),
    "autumn": ("09-01", "11-30"),
}
_BY = ("year", "season", "month")
_DAY = re.compile(r"^(-1-)?(\d\d)-(\d\d)$")


@dataclass(frozen=True)
class TimeWindow:
    """A named span of days, both ends included."""

    name: str
    start: date
    end: date

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise RecipeError(
                f"time window {self.name!r} ends on {self.end}, before it starts on {self.start}; "
                'for a start in the year before write "-1-MM-DD"'
            )

    def holds(self, times: npt.NDArray[np.datetime64]) -> npt.NDArray[np.bool_]:
        """Which times (UTC) lie in the window."""
        after = np.datetime64(self.end + timedelta(days=1), "ns")
        inside: npt.NDArray[np.bool_] = (times >= np.datetime64(self.start, "ns")) & (times < after)
        return inside


def time_windows(by: str | Mapping[str, Any], year: int) -> tuple[TimeWindow, ...]:
    """The windows of one year.

    Parameters
    ----------
    by : str or mapping
        ``"year"``: January to December. ``"season"``: winter (December of the year before to
        February), spring, summer, autumn. ``"month"``: january to december. Or
        ``{"windows": {name: [first, last]}}`` with days as ``"MM-DD"``, or ``"-1-MM-DD"`` for
        the year before, both included; ``"02-29"`` is the last of February in any year.
    year : int

    Returns
    -------
    tuple of TimeWindow
        In the order given, which is the order of ``time`` in a composite.

    Raises
    ------
    RecipeError
        When ``by`` is not one of these.
    """
    return tuple(
        TimeWindow(name, _day(first, year, name), _day(last, year, name))
        for name, (first, last) in _definitions(by).items()
    )


def _definitions(by: str | Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    if by == "year":
        return {"year": ("01-01", "12-31")}
    if by == "season":
        return _SEASONS
    if by == "month":
        return {  # 2000 was a leap year, so February ends on the 29th, or the last day it has
            name: (f"{m:02}-01", f"{m:02}-{calendar.monthrange(2000, m)[1]:02}")
            for m, name in enumerate(_MONTHS.split(), start=1)
        }
    if isinstance(by, str):
        raise RecipeError(
            f"composite by {by!r} is unknown; expected {', '.join(_BY)} or windows"
            f"{nearest(by, _BY)}"
        )
    windows = by.get("windows")
    if set(by) != {"windows"} or not isinstance(windows, Mapping) or not windows:
        raise RecipeError(
            f"composite windows are {dict(by)!r}; "
            'expected {"windows": {name: ["MM-DD", "MM-DD"], …}}'
        )
    for name, ends in windows.items():
        if isinstance(ends, str) or not isinstance(ends, Sequence) or len(ends) != 2:
            raise RecipeError(f"time window {name!r} is {ends!r}; expected [first day, last day]")
    return {str(name): (str(ends[0]), str(ends[1])) for name, ends in windows.items()}


def _day(text: str, year: int, name: str) -> date:
    match = _DAY.match(text)
    if match:
        month, day = int(match[2]), int(match[3])
        year -= 1 if match[1] else 0
        if (month, day) == (2, 29) and not calendar.isleap(year):
            day = 28
        try:
            return date(year, month, day)
        except ValueError:
            pass
    raise RecipeError(
        f"time window {name!r} has the day {text!r}; "
        'expected "MM-DD", or "-1-MM-DD" for the year before'
    )


def composite(
    cube: xr.DataArray,
    by: str | Mapping[str, Any] = "season",
    reducer: str = "median",
    *,
    years: Sequence[int] | None = None,
) -> xr.DataArray:
    """Reduce the looks of each window of time to one value a pixel and band, lazily.

    A look counts when all its bands are valid there; it is left out for all bands when one
    is nodata, so that a spectrum always comes from the same looks. Scale and offset are
    applied to each look before reducing, in float32.

    Parameters
    ----------
    cube : xr.DataArray
        ``(time, band, y, x)`` of :func:`rsscale.data.load.load`, masked or not.
    by : str or mapping
        The windows of a year, see :func:`time_windows`.
    reducer : str
        ``"median"``: of the valid looks, the mean of the middle two when they are even.
        ``"mean"``: their sum in order of (datetime, id), over their number.
    years : sequence of int, optional
        Which years; by default those of the cube's dates, without a year in none of whose
        windows a date lies (December belongs to the next year's winter).

    Returns
    -------
    xr.DataArray
        float32 ``(time, band, y, x)``, NaN where there is no look, chunks of the cube in ``y`` and
        ``x``. All windows of all years, also empty ones. Coordinates: ``time`` (start of the
        window), ``window(time)`` and ``year(time)``, ``observations(time, y, x)`` (uint8,
        number of looks, 254 for more; lazy), ``band``, ``y``, ``x``, ``spatial_ref``.
        Values are bitwise independent of chunks, and of looks that hold only nodata.

    Raises
    ------
    RecipeError
        When windows, reducer or years make no sense.
    """
    from rsscale.data.reducers import REDUCERS  # brings torch; windows of time do not need it

    if reducer not in REDUCERS:
        raise RecipeError(
            f"reducer {reducer!r} is unknown; expected {', '.join(REDUCERS)}"
            f"{nearest(reducer, REDUCERS)}"
        )
    times = cube["time"].values.astype("datetime64[ns]")
    windows = [(y, w) for y in _years(times, by, years) for w in time_windows(by, y)]
    looks = tuple(tuple(np.flatnonzero(w.holds(times)).tolist()) for _, w in windows)
    both = _reduced(cube, looks, reducer)  # (window, band + 1, y, x); the last is the count
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
        attrs={"nodata": float("nan"), "reducer": reducer},
        name="composite",
    )


def _years(
    times: npt.NDArray[np.datetime64], by: str | Mapping[str, Any], years: Sequence[int] | None
) -> list[int]:
    if years is not None:
        bad = [y for y in years if isinstance(y, bool) or not isinstance(y, int | np.integer)]
        if bad:
            raise RecipeError(f"composite years hold {bad[0]!r}; expected whole numbers")
        return sorted({int(y) for y in years})
    calendar_years = {int(y) + 1970 for y in times.astype("datetime64[Y]").astype(int)}
    around = sorted(calendar_years | {y + 1 for y in calendar_years})
    touched = {y for y in around if any(w.holds(times).any() for w in time_windows(by, y))}
    return sorted(calendar_years & touched or touched or calendar_years)


def _reduced(cube: xr.DataArray, looks: tuple[tuple[int, ...], ...], reducer: str) -> Any:
    import dask.array as da

    from rsscale.data.reducers import reduce_looks

    looks_n, bands = cube.sizes["time"], cube.sizes["band"]
    data = cube.data if cube.chunks else da.from_array(cube.values)
    data = data.rechunk({0: -1, 1: -1}) if looks_n and data.npartitions > 1 else data
    rows, cols = data.chunks[2:]
    if not (looks_n and looks):  # Dask has no blocks over an axis of no length
        shape = (len(looks), bands + 1, *cube.shape[2:])
        counts = da.zeros((shape[0], 1, *shape[2:]), dtype="float32", chunks=(-1, 1, rows, cols))
        values = da.full(
            (shape[0], bands, *shape[2:]), np.float32("nan"), chunks=(-1, -1, rows, cols)
        )
        return da.concatenate([values, counts], axis=1)
    return data.map_blocks(
        reduce_looks,
        looks=looks,
        scale=_per_look(cube, "scale", 1.0),
        offset=_per_look(cube, "offset", 0.0),
        fill=cube.attrs.get("nodata", float("nan")),
        reducer=reducer,
        dtype="float32",
        chunks=((len(looks),), (bands + 1,), rows, cols),
        meta=np.empty((0, 0, 0, 0), "float32"),
    )


def _per_look(cube: xr.DataArray, name: str, default: float) -> npt.NDArray[np.float32]:
    shape = cube.sizes["time"], cube.sizes["band"]
    if name not in cube.coords:
        return np.full(shape, default, "float32")
    values: npt.NDArray[np.float32] = cube[name].transpose("time", "band").values.astype("float32")
    return values
