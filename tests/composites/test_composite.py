import pickle
from datetime import date

import dask
import numpy as np
import pytest
import torch
from series import cube_of, days, gaps

from rsscale.composites import reducers
from rsscale.composites.composite import composite
from rsscale.composites.percentile import sorting_network
from rsscale.composites.time_windows import TimeWindow, time_windows
from rsscale.errors import RecipeError


def oracle(data, how, scale=1.0, offset=0.0):
    """By NumPy: scenes with any nodata left out, ``(B, y, x)`` and the number of scenes."""
    valid = (data != 0).all(axis=1)
    values = data.astype("float32") * np.float32(scale) + np.float32(offset)
    values = np.where(valid[:, None], values, np.nan)
    out = np.full(data.shape[1:], np.nan, "float32")
    seen = valid.any(axis=0)
    out[:, seen] = getattr(np, f"nan{how}")(values[:, :, seen], axis=0)
    return out, valid.sum(axis=0)


# Reducing


@pytest.mark.parametrize("scenes", [1, 2, 3, 4, 7, 12, 33])
@pytest.mark.parametrize("reducer", ["median", "mean"])
def test_values_are_those_of_numpy(scenes, reducer):
    data = gaps((scenes, 2, 17, 23), scenes, share=0.25)
    out = composite(cube_of(data, days(scenes), scale=1e-4, offset=-0.1), "year", reducer).compute()
    expected, count = oracle(data, reducer, 1e-4, -0.1)
    assert out.dtype == "float32"
    if reducer == "median":
        np.testing.assert_array_equal(out[0], expected)
    else:
        np.testing.assert_allclose(out[0], expected, rtol=1e-5, atol=1e-7)
    assert out.observations.dtype == "uint8"
    np.testing.assert_array_equal(out.observations[0], count)
    if scenes < 3:
        assert (count == 0).any()  # pixels without a scene are part of the test


def test_median_of_even_scenes_is_the_mean_of_the_middle_two():
    data = np.array([10, 40, 20, 30], "uint16").reshape(4, 1, 1, 1)
    assert composite(cube_of(data, days(4)), "year").values.item() == 25


@pytest.mark.parametrize("reducer", ["median", "p10", "best-pixel"])
def test_codes_that_are_averaged_are_warned_of_once(reducer, caplog, monkeypatch):
    monkeypatch.setattr("rsscale.composites.composite._warned_of", set())
    cube = cube_of(np.array([4, 9], "uint16").reshape(2, 1, 1, 1), days(2))
    coded = cube.assign_attrs(categorical=cube.band.values.tolist())
    for some in (cube, coded.isel(time=[0]), coded, coded):
        composite(some, "year", reducer)
    assert caplog.text.count(f"holds codes, and where observations differ {reducer}") == (
        reducer != "best-pixel"
    )


def test_scale_and_offset_belong_to_the_scene():
    data = np.array([2000, 3000], "uint16").reshape(2, 1, 1, 1)
    cube = cube_of(data, days(2), scale=1e-4, offset=np.array([[0.0], [-0.1]]))
    assert composite(cube, "year", "mean").values.item() == pytest.approx(0.2)
    # Negative reflectance is a value; wrapped around in uint16 it would be 6.5.
    dark = cube_of(np.full((2, 1, 1, 1), 500, "uint16"), days(2), scale=1e-4, offset=-0.1)
    assert composite(dark, "year").values.item() == pytest.approx(-0.05)


@pytest.mark.parametrize("reducer", ["median", "mean"])
@pytest.mark.parametrize("fill", [np.nan, -9999.0])
def test_float_cubes(reducer, fill):
    data = gaps((6, 2, 9, 9), 1, dtype="float32")
    expected, count = oracle(data, reducer)
    cube = cube_of(np.where(data == 0, np.float32(fill), data), days(6), fill=fill)
    out = composite(cube, "year", reducer).compute()
    np.testing.assert_allclose(out[0], expected, rtol=1e-6)
    np.testing.assert_array_equal(out.observations[0], count)


def test_infinite_and_nan_scenes_are_left_out():
    data = np.array([1, np.inf, 3, np.nan, -np.inf, 5], "float32").reshape(6, 1, 1, 1)
    for reducer in ("median", "mean"):
        out = composite(cube_of(data, days(6), fill=-1), "year", reducer)
        assert out.values.item() == 3
        assert out.observations.values.item() == 3


def test_strips_do_not_show(monkeypatch):
    data = gaps((5, 2, 30, 30), 3)
    whole = composite(cube_of(data, days(5)), "year").compute()
    monkeypatch.setattr(reducers, "STRIP", 7)
    monkeypatch.setattr(reducers, "NUMBER_STRIP", 7)
    strips = composite(cube_of(data, days(5)), "year").compute()
    np.testing.assert_array_equal(whole, strips)


def test_observations_saturate():
    out = composite(cube_of(np.ones((300, 1, 1, 1), "uint16"), days(300, step=1)), "year").compute()
    assert out.observations.values.tolist() == [[[254]]]
    assert out.values.item() == 1


def test_network_sorts_every_zero_one_sequence():
    # The zero-one principle: a network that sorts these sorts everything.
    for size in range(1, 13):
        rows = (np.arange(2**size)[:, None] >> np.arange(size)) & 1
        for ranks in (size // 2 + 1, size):
            values = rows.copy()
            for low, high in sorting_network(size, ranks):
                pair = values[:, [low, high]]
                values[:, low], values[:, high] = pair.min(axis=1), pair.max(axis=1)
            np.testing.assert_array_equal(values[:, :ranks], np.sort(rows, axis=1)[:, :ranks])


@pytest.mark.parametrize("size", [31, 64, 100])
def test_network_sorts_many(size):
    values = np.random.default_rng(size).integers(0, 50, (200, size))
    expected = np.sort(values, axis=1)
    for low, high in sorting_network(size, size):
        pair = values[:, [low, high]]
        values[:, low], values[:, high] = pair.min(axis=1), pair.max(axis=1)
    np.testing.assert_array_equal(values, expected)


def test_threads_give_the_same():
    before = torch.get_num_threads()
    data = gaps((6, 2, 64, 64), 5)
    cube = cube_of(data, days(6), chunks=(6, 2, 16, 16))
    with dask.config.set(scheduler="synchronous"):
        one = composite(cube, "year").compute()
    with dask.config.set(scheduler="threads", num_workers=8):
        many = composite(cube, "year").compute()
    np.testing.assert_array_equal(one, many)
    assert torch.get_num_threads() == before  # a setting of the process, not ours to change


# Windows of time


def test_seasons():
    winter, spring, summer, autumn = time_windows("season", 2023)
    assert winter == TimeWindow("winter", date(2022, 12, 1), date(2023, 2, 28))
    assert spring == TimeWindow("spring", date(2023, 3, 1), date(2023, 5, 31))
    assert summer == TimeWindow("summer", date(2023, 6, 1), date(2023, 8, 31))
    assert autumn == TimeWindow("autumn", date(2023, 9, 1), date(2023, 11, 30))
    assert time_windows("season", 2024)[0].end == date(2024, 2, 29)


def test_year_and_months():
    assert time_windows("year", 2023) == (TimeWindow("year", date(2023, 1, 1), date(2023, 12, 31)),)
    months = time_windows("month", 2023)
    assert [w.name for w in months[:3]] == ["january", "february", "march"]
    assert sum((w.end - w.start).days + 1 for w in months) == 365
    assert sum((w.end - w.start).days + 1 for w in time_windows("month", 2024)) == 366


def test_windows_of_ones_own():
    by = {"windows": {"cold": ["-1-11-15", "02-29"], "day": ["06-21", "06-21"]}}
    assert time_windows(by, 2023) == (
        TimeWindow("cold", date(2022, 11, 15), date(2023, 2, 28)),
        TimeWindow("day", date(2023, 6, 21), date(2023, 6, 21)),
    )
    assert time_windows({"windows": {"leap": ["-1-02-29", "02-29"]}}, 2025) == (
        TimeWindow("leap", date(2024, 2, 29), date(2025, 2, 28)),
    )


def test_both_ends_belong_to_a_window():
    times = np.array(
        ["2022-11-30T23:59:59", "2022-12-01", "2023-02-28T23:59:59.999", "2023-03-01"],
        "datetime64[ns]",
    )
    assert time_windows("season", 2023)[0].holds(times).tolist() == [False, True, True, False]
    data = np.arange(1, 5, dtype="uint16").reshape(4, 1, 1, 1)
    out = composite(cube_of(data, times), "season", "mean", years=[2023]).compute()
    assert out.values[:2].ravel().tolist() == [2.5, 4.0]


def test_all_windows_of_all_years_are_there():
    data = np.array([5, 7], "uint16").reshape(2, 1, 1, 1)
    cube = cube_of(data, ["2023-07-01", "2025-01-10"])
    out = composite(cube, "season", years=[2025, 2023]).compute()
    assert out.window.values.tolist() == ["winter", "spring", "summer", "autumn"] * 2
    assert out.year.values.tolist() == [2023] * 4 + [2025] * 4
    assert out.time.dtype == "datetime64[ns]"
    assert out.time.values[0] == np.datetime64("2022-12-01")
    assert out.observations.values.ravel().tolist() == [0, 0, 1, 0, 1, 0, 0, 0]
    expected = [np.nan, np.nan, 5, np.nan, 7, np.nan, np.nan, np.nan]
    np.testing.assert_array_equal(out.values.ravel(), expected)


@pytest.mark.parametrize(
    ("times", "by", "years"),
    [
        (["2023-03-01", "2023-12-24"], "season", [2023]),  # a calendar year of scenes
        (["2022-12-24", "2023-10-01"], "season", [2023]),  # a season year of scenes
        (["2022-05-01", "2024-05-01"], "season", [2022, 2024]),
        (["2023-12-24"], "season", [2024]),
        (["2023-12-24"], {"windows": {"s": ["06-01", "07-01"]}}, [2023]),
        (["2022-12-24", "2023-12-24"], "year", [2022, 2023]),
    ],
)
def test_years_of_the_dates(times, by, years):
    cube = cube_of(np.ones((len(times), 1, 1, 1), "uint16"), times)
    assert sorted(set(composite(cube, by).year.values.tolist())) == years


def test_no_scenes_at_all():
    cube = cube_of(np.ones((0, 2, 3, 4), "uint16"), [])
    out = composite(cube, "season", years=[2023])
    assert out.shape == (4, 2, 3, 4)
    assert np.isnan(out.values).all()
    assert (out.observations.values == 0).all()
    assert composite(cube, "season").shape == (0, 2, 3, 4)
    assert composite(cube, "season").compute().shape == (0, 2, 3, 4)


# What it is to work with


def test_lazy_picklable_and_few_tasks():
    cube = cube_of(gaps((4, 2, 64, 64), 1), days(4), chunks=(4, 2, 32, 32))
    out = composite(cube, "season")
    assert out.chunks[2:] == ((32, 32), (32, 32))
    assert out.observations.chunks is not None
    again = pickle.loads(pickle.dumps(out))
    np.testing.assert_array_equal(again.compute(), out.compute())
    assert len(out.__dask_graph__()) - len(cube.__dask_graph__()) <= 4 * 5
    assert composite(cube, "season").data.name == out.data.name  # the same work has one name


@pytest.mark.parametrize(
    ("by", "reducer", "years", "message"),
    [
        ("seasons", "median", None, "did you mean 'season'"),
        ("season", "medain", None, "did you mean 'median'"),
        ({"window": {}}, "median", None, "expected"),
        ({"windows": {}}, "median", None, "expected"),
        ({"windows": {"a": "06-01"}}, "median", None, "first day, last day"),
        ({"windows": {"a": ["06-01"]}}, "median", None, "first day, last day"),
        ({"windows": {"a": ["06-31", "07-01"]}}, "median", None, "06-31"),
        ({"windows": {"a": ["-2-06-01", "07-01"]}}, "median", None, "-2-06-01"),
        ({"windows": {"winter": ["12-01", "02-28"]}}, "median", None, "-1-MM-DD"),
        ("season", "median", ["2023"], "whole numbers"),
    ],
)
def test_errors(by, reducer, years, message):
    cube = cube_of(np.ones((1, 1, 1, 1), "uint16"), ["2023-06-01"])
    with pytest.raises(RecipeError, match=message):
        composite(cube, by, reducer, years=years)


@pytest.mark.filterwarnings("ignore:The data type")  # of names, in Zarr 3
@pytest.mark.parametrize("chunks", [(5, 10, 3), (1, 16, 1), (18,)])
def test_a_composite_in_even_chunks_is_stored_as_it_is(tmp_path, chunks):
    import xarray as xr

    data = gaps((3, 2, 18, 18), 3, share=0.25)
    made = composite(cube_of(data, days(3)).chunk(y=chunks, x=chunks), "season")
    made.chunk(y=8, x=8).to_zarr(tmp_path / "composite.zarr", consolidated=False)
    stored = xr.open_dataarray(tmp_path / "composite.zarr", engine="zarr", consolidated=False)
    np.testing.assert_array_equal(stored, made)
    np.testing.assert_array_equal(stored.observations, made.observations)
    assert list(stored.window.values) == list(made.window.values)
