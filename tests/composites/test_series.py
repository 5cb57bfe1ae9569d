"""A series is what was observed: in physical units, in order, missing where it is missing."""

import numpy as np
import pytest
import xarray as xr

from rsscale.composites.composite import composite
from rsscale.composites.series import series
from rsscale.errors import RecipeError

TIMES = np.array(["2023-05-01T10:30", "2023-02-03", "2023-05-01T10:30", "2023-11-30"], "M8[ns]")
NODATA = 0


def cube(chunks: int | None = None) -> xr.DataArray:
    random = np.random.default_rng(3)
    values = random.integers(1, 60_000, (4, 2, 9, 11)).astype("uint16")
    values[random.random(values.shape) < 0.2] = NODATA
    made = xr.DataArray(
        values,
        dims=("time", "band", "y", "x"),
        coords={
            "time": TIMES,
            "id": ("time", ["z", "b", "a", "c"]),
            "band": ["red", "nir"],
            "scale": (("time", "band"), np.full((4, 2), 1e-4)),
            "offset": (("time", "band"), [[0, 0], [-0.1, -0.1], [0, 0], [-0.1, 0.2]]),
            "y": np.arange(9)[::-1],
            "x": np.arange(11),
        },
        attrs={"nodata": NODATA},
    )
    return made if chunks is None else made.chunk(y=chunks, x=chunks, time=1)


@pytest.mark.parametrize("chunks", [None, 4])
def test_a_series_is_each_observation_in_physical_units(chunks: int | None) -> None:
    found, raw = series(cube(chunks)), cube()
    order = [1, 2, 0, 3]  # by (datetime, id)
    assert found.chunks is not None
    assert found.time.values.tolist() == TIMES[order].tolist()
    known = (raw.values != NODATA).all(axis=1)[order]
    want = raw.values.astype("float64") * 1e-4 + raw.offset.values[:, :, None, None]
    want = np.where(known[:, None], want[order], np.nan)
    assert np.allclose(found.values, want, atol=1e-6, equal_nan=True)
    assert np.array_equal(found.observations.values, known.astype("uint8"))
    assert (found.dtype, found.dims) == ("float32", ("time", "band", "y", "x"))


def test_a_series_has_the_values_of_a_composite_of_single_days() -> None:
    """To the bit: one number in a file is one value, whichever way it is taken."""
    raw = cube()[[0, 1, 3]]
    daily = composite(raw, {"days": 1}, "mean", years=[2023])
    found = series(raw)
    of_days = daily.isel(time=[int(day) - 1 for day in found.time.dt.dayofyear])
    assert np.array_equal(found.values, of_days.values, equal_nan=True)


def test_a_series_of_a_span_of_days_holds_both_ends() -> None:
    found = series(cube(), "2023-02-03", "2023-05-01")
    assert found.sizes["time"] == 3
    assert series(cube(), start="2023-02-04").sizes["time"] == 3
    assert series(cube(), end="2023-02-02").sizes["time"] == 0
    assert series(cube(), "2024-01-01", "2024-12-31").compute().shape == (0, 2, 9, 11)
    with pytest.raises(RecipeError, match="ends on 2023-01-01, before it starts on 2023-02-01"):
        series(cube(), "2023-02-01", "2023-01-01")
    with pytest.raises(RecipeError, match="'last May' is no day; expected YYYY-MM-DD"):
        series(cube(), "last May")


def test_gaps_are_filled_linearly_in_time() -> None:
    random = np.random.default_rng(0)
    windows = {f"w{k}": (a, b) for k, (a, b) in enumerate(
        [("01-01", "01-10"), ("02-01", "03-20"), ("04-01", "04-02"), ("07-01", "09-30"),
         ("11-05", "12-31")]
    )}  # fmt: skip
    days = np.array([5, 50, 91, 230, 330])
    times = np.datetime64("2023-01-01", "ns") + days.astype("m8[D]")
    values = random.random((5, 2, 12, 13)).astype("float32")
    values[np.broadcast_to((random.random((5, 12, 13)) < 0.6)[:, None], values.shape)] = np.nan
    raw = xr.DataArray(
        values,
        dims=("time", "band", "y", "x"),
        coords={"time": times, "band": ["a", "b"]},
        attrs={"nodata": float("nan")},
    )
    how = {"by": {"windows": windows}, "reducer": "mean", "years": [2023]}
    plain = composite(raw, **how)
    found = composite(raw.chunk(y=5, x=6), missing="linear", **how)
    starts = np.array([f"2023-{a}" for a, _ in windows.values()], "M8[s]")
    ends = np.array([f"2023-{b}" for _, b in windows.values()], "M8[s]") + np.timedelta64(1, "D")
    middles = (starts.astype(float) + ends.astype(float)) / 2
    want = np.full(plain.shape, np.nan)
    for band, row, col in np.ndindex(plain.shape[1:]):
        pixel = plain.values[:, band, row, col]
        known = np.isfinite(pixel)
        if known.any():
            want[:, band, row, col] = np.interp(middles, middles[known], pixel[known])
    assert np.isnan(want).any()
    assert np.allclose(found.values, want, atol=1e-6, equal_nan=True)
    assert np.array_equal(found.observations.values, plain.observations.values)
    reverse = {k: windows[k] for k in reversed(windows)}
    again = composite(raw, missing="linear", **{**how, "by": {"windows": reverse}})
    assert np.array_equal(again.values[::-1], found.values, equal_nan=True)


def test_gaps_are_filled_within_a_year_alone() -> None:
    """A map of a year must not depend on which others are made."""
    times = np.array(["2022-11-15", "2024-01-20"], "M8[ns]")
    raw = xr.DataArray(
        np.ones((2, 1, 2, 2), "float32"),
        dims=("time", "band", "y", "x"),
        coords={"time": times, "band": ["a"]},
        attrs={"nodata": float("nan")},
    )
    found = composite(raw, "month", "mean", years=[2022, 2023, 2024], missing="linear")
    assert np.isfinite(found.sel(time="2022").values).all()
    assert np.isnan(found.sel(time="2023").values).all()
