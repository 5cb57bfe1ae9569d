import dask
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from series import cube_of, days, gaps

from rsscale.composites import geomedian as spectra
from rsscale.composites import reducers
from rsscale.composites.composite import composite
from rsscale.composites.reducer_names import REDUCERS
from rsscale.errors import RecipeError

ALL = (*REDUCERS, "p1", "p10", "p25", "p75", "p90", "p99")


def scenes_gone(shape, seed, share=0.4):
    """Scenes that are whole or not there at all."""
    rng = np.random.default_rng(seed)
    data = rng.integers(1, 10_000, shape).astype("uint16")
    data[rng.random((shape[0], 1, *shape[2:])).repeat(shape[1], 1) < share] = 0
    return data


def reduced(data, reducer, times=None, by="year", **how):
    times = days(len(data)) if times is None else times
    return composite(cube_of(data, times), by, reducer, **how).compute()


# Ranks


@pytest.mark.parametrize("scenes", [1, 2, 3, 7, 12])
@pytest.mark.parametrize("percent", [1, 10, 25, 50, 75, 90, 99])
def test_percentiles_are_those_of_numpy(scenes, percent):
    data = gaps((scenes, 2, 15, 16), scenes, share=0.2)
    valid = (data != 0).all(axis=1)
    out = reduced(data, f"p{percent}")[0].values
    assert np.isnan(out[:, ~valid.any(axis=0)]).all()
    seen = valid.any(axis=0)
    values = np.where(valid[:, None], data, np.nan)[:, :, seen]
    expected = np.nanpercentile(values, percent, axis=0)
    np.testing.assert_allclose(out[:, seen], expected, rtol=1e-6)


def test_p50_is_the_median():
    data = gaps((8, 2, 15, 16), 1)
    np.testing.assert_array_equal(reduced(data, "p50"), reduced(data, "median"))


@pytest.mark.parametrize("reducer", ["min", "max"])
def test_least_and_greatest(reducer):
    data = gaps((5, 2, 15, 16), 2)
    valid = (data != 0).all(axis=1)
    worst = {"min": np.inf, "max": -np.inf}[reducer]
    expected = getattr(np, reducer)(np.where(valid[:, None], data, worst), axis=0)
    expected[:, ~valid.any(axis=0)] = np.nan
    np.testing.assert_array_equal(reduced(data, reducer)[0], expected)


# One scene for the whole spectrum


def test_best_pixel_is_nearest_to_the_middle():
    times = ["2023-01-20", "2023-06-30", "2023-07-03", "2023-12-01"]  # the middle is 2 July, noon
    data = np.array([1, 2, 3, 4], "uint16").reshape(4, 1, 1, 1)
    assert reduced(data, "best-pixel", times).values.item() == 3
    data[2] = 0
    out = reduced(data, "best-pixel", times)
    assert out.values.item() == 2
    assert out.observations.values.item() == 3
    data[1] = 0
    assert reduced(data, "best-pixel", times).values.item() == 4


@pytest.mark.parametrize("swapped", [False, True])
def test_best_pixel_takes_the_earlier_of_two_as_near(swapped):
    times = np.array(["2023-06-21T00", "2023-06-22T00"], "datetime64[ns]")
    data = np.array([7, 8], "uint16").reshape(2, 1, 1, 1)
    if swapped:  # the order of the slices must not matter
        times, data = times[::-1], data[::-1].copy()
    by = {"windows": {"day": ["06-21", "06-21"], "both": ["06-21", "06-21"]}}
    out = reduced(data, "best-pixel", times, by)
    assert out.values.ravel().tolist() == [7, 7]
    by = {"windows": {"two": ["06-20", "06-22"]}}  # middle: 21 June, noon
    assert reduced(data, "best-pixel", times, by).values.item() == 7


def test_scenes_of_one_moment_are_taken_by_id():
    data = np.array([7, 8], "uint16").reshape(2, 1, 1, 1)
    cube = cube_of(data, ["2023-06-21"] * 2)
    for ids, expected in ((["a", "b"], 7), (["b", "a"], 8)):
        named = cube.assign_coords(id=("time", ids))
        assert composite(named, "year", "best-pixel").values.item() == expected


@pytest.mark.parametrize("reducer", ["best-pixel", "medoid"])
def test_spectra_are_whole_scenes(reducer):
    data = gaps((6, 3, 13, 14), 3, share=0.2)
    out = reduced(data, reducer)[0].values
    valid = (data != 0).all(axis=1)
    same = (data == out).all(axis=1) & valid
    np.testing.assert_array_equal(same.any(axis=0), valid.any(axis=0))


def test_medoid_has_the_least_sum_of_distances():
    data = scenes_gone((7, 3, 9, 10), 4)
    out = reduced(data, "medoid")[0].values
    for y, x in np.ndindex(9, 10):
        scenes = data[data[:, 0, y, x] > 0, :, y, x].astype("float64")
        if not len(scenes):
            assert np.isnan(out[:, y, x]).all()
            continue
        sums = np.linalg.norm(scenes[:, None] - scenes, axis=2).sum(axis=1)
        np.testing.assert_array_equal(out[:, y, x], scenes[sums.argmin()])


# The geometric median


def total_distance(point, scenes):
    return np.linalg.norm(scenes - point, axis=1).sum()


@pytest.mark.parametrize("bands", [1, 2, 4])
def test_geomedian_is_the_minimum_that_scipy_finds(bands):
    data = scenes_gone((9, bands, 6, 7), bands, share=0.3)
    out = reduced(data, "geomedian")[0].values
    several = 0
    for y, x in np.ndindex(6, 7):
        scenes = data[data[:, 0, y, x] > 0, :, y, x].astype("float64")
        if len(scenes) < 3:
            continue
        several += 1
        options = {"xatol": 1e-3, "fatol": 1e-6, "maxiter": 8000, "maxfev": 8000}
        best = minimize(
            total_distance, scenes.mean(axis=0), (scenes,), "Nelder-Mead", options=options
        )
        # The median of an even number of single values is a segment: compare the sum.
        assert total_distance(out[:, y, x], scenes) <= best.fun * (1 + 1e-5)
        if bands > 1:
            np.testing.assert_allclose(out[:, y, x], best.x, atol=10)
    assert several > 20


def test_geomedian_of_few_scenes():
    data = np.array([[10, 20], [30, 60]], "uint16").reshape(2, 2, 1, 1)
    assert reduced(data[:1], "geomedian").values.ravel().tolist() == [10, 20]
    assert reduced(data, "geomedian").values.ravel().tolist() == [20, 40]
    empty = np.zeros((2, 2, 1, 1), "uint16")
    assert np.isnan(reduced(empty, "geomedian").values).all()


def test_geomedian_that_is_a_scene():
    # With an angle of more than 120° the corner is the median (Fermat's point); the mean of
    # the second starts on a scene that is not the median.
    corner = np.array([[100, 100], [200, 110], [1, 110]], "uint16").reshape(3, 2, 1, 1)
    np.testing.assert_allclose(reduced(corner, "geomedian").values.ravel(), [100, 100], atol=0.01)
    on_a_scene = np.array([[4, 4], [1, 4], [1, 4], [8, 4], [6, 4]], "uint16").reshape(5, 2, 1, 1)
    np.testing.assert_allclose(reduced(on_a_scene, "geomedian").values.ravel(), [4, 4], atol=1e-3)
    leaves = np.array([[3, 9], [1, 9], [1, 9], [1, 9], [9, 9]], "uint16").reshape(5, 2, 1, 1)
    np.testing.assert_allclose(reduced(leaves, "geomedian").values.ravel(), [1, 9], atol=1e-3)


def test_geomedian_stays_on_a_scene_that_it_meets():
    # The mean is the first scene, and the pull of the others (0.41) is weaker than its hold.
    scenes = [[100, 100], [140, 100], [80, 120], [80, 80]]
    data = np.array(scenes, "uint16").reshape(4, 2, 1, 1)
    assert reduced(data, "geomedian").values.ravel().tolist() == [100, 100]


def test_geomedian_does_not_follow_an_extrapolation_astray(monkeypatch):
    data = scenes_gone((9, 2, 6, 7), 1, share=0.1)
    expected = reduced(data, "geomedian")
    monkeypatch.setattr(spectra, "_extrapolated", lambda start, *_: start + 5000)
    np.testing.assert_allclose(reduced(data, "geomedian"), expected, atol=20)


def test_geomedian_of_equal_scenes_is_that_scene():
    data = np.full((5, 3, 2, 2), 1234, "uint16")
    assert (reduced(data, "geomedian").values == 1234).all()


def test_geomedian_resists_an_outlier():
    data = np.full((5, 2, 1, 1), 1000, "uint16") + np.arange(5, dtype="uint16").reshape(5, 1, 1, 1)
    data[2] = 60_000
    assert (np.abs(reduced(data, "geomedian").values - 1002) < 2).all()


def test_geomedian_resolves_small_differences_of_large_values():
    data = np.array([60000, 60001, 60003], "uint16").reshape(3, 1, 1, 1)
    assert reduced(data, "geomedian").values.item() == pytest.approx(60001, abs=0.01)


# All of them

# One low and one high percentile: the others run the same code. Empty windows are filled after
# reducing, so those rules are tried with the reducers to which the order of scenes matters.
CUTS = [(reducer, "leave") for reducer in (*REDUCERS, "p25", "p90")] + [
    (reducer, missing)
    for reducer in ("mean", "best-pixel", "geomedian")
    for missing in ("neighbour", "year")
]


@given(seed=st.integers(0, 2**32 - 1), data=st.data())
@settings(max_examples=10, deadline=None)
@pytest.mark.parametrize(("reducer", "missing"), CUTS)
def test_bits_do_not_depend_on_chunks_order_or_empty_scenes(reducer, missing, seed, data):
    scenes = data.draw(st.integers(1, 8))
    numbers = gaps((scenes, 2, 11, 9), seed, share=0.3)
    times = days(scenes, step=17)
    offset = np.random.default_rng(seed).choice([0, -0.1], (scenes, 1))
    how = {"by": "month", "reducer": reducer, "missing": missing, "years": [2023]}
    one = composite(cube_of(numbers, times, scale=1e-4, offset=offset), **how)
    at = data.draw(st.integers(0, scenes))
    more = np.insert(numbers, at, 0, axis=0)
    times = np.insert(times, at, times[min(at, scenes - 1)])
    offset = np.insert(offset, at, -0.3, axis=0)
    order = data.draw(st.permutations(range(scenes + 1)))
    chunks = (
        data.draw(st.sampled_from([1, 2, -1])),
        data.draw(st.sampled_from([1, 2])),
        data.draw(st.integers(1, 11)),
        data.draw(st.integers(1, 9)),
    )
    other = composite(
        cube_of(more[order], times[order], chunks=chunks, scale=1e-4, offset=offset[order]),
        **how,
    )
    with dask.config.set(scheduler="synchronous"):
        one, other = one.compute(), other.compute()
    assert one.values.tobytes() == other.values.tobytes()
    np.testing.assert_array_equal(one.observations, other.observations)


@pytest.mark.parametrize("scenes", [1, 2, 5])
@pytest.mark.parametrize("reducer", ALL)
def test_strips_where_all_or_nothing_is_valid_show_no_difference(monkeypatch, reducer, scenes):
    data = gaps((scenes, 2, 12, 64), 3, share=0.3)
    data[:, :, :4] = np.random.default_rng(4).integers(1, 6, (scenes, 2, 4, 64))  # many ties
    data[:, :, 4:6] = 0
    data[0, :, 6:8] = 0
    whole = reduced(data, reducer)
    monkeypatch.setattr(reducers, "STRIP", 64)
    monkeypatch.setattr(reducers, "NUMBER_STRIP", 64)
    rows = reduced(data, reducer)
    assert whole.values.tobytes() == rows.values.tobytes()
    assert np.array_equal(whole.observations, rows.observations)
    assert np.isnan(rows.values[..., 4:6, :]).all()
    assert np.isfinite(rows.values[..., :4, :]).all()


@pytest.mark.parametrize("reducer", ALL)
def test_strips_do_not_show(monkeypatch, reducer):
    data = scenes_gone((9, 3, 60, 61), 3)
    whole = reduced(data, reducer)
    monkeypatch.setattr(reducers, "STRIP", 37)
    monkeypatch.setattr(reducers, "NUMBER_STRIP", 37)
    assert reduced(data, reducer).values.tobytes() == whole.values.tobytes()


@pytest.mark.parametrize("reducer", ALL)
@pytest.mark.parametrize("fill", [np.nan, -9999.0])
def test_float_cubes(reducer, fill):
    data = gaps((6, 2, 9, 9), 1, dtype="float32")
    cube = cube_of(np.where(data == 0, np.float32(fill), data), days(6), fill=fill)
    plain = composite(cube_of(data.astype("uint16"), days(6)), "year", reducer).compute()
    out = composite(cube, "year", reducer).compute()
    np.testing.assert_array_equal(out, plain)
    np.testing.assert_array_equal(out.observations, plain.observations)


@pytest.mark.parametrize("reducer", ALL)
def test_one_scene_is_itself_and_none_is_nan(reducer):
    data = np.array([0, 500], "uint16").reshape(1, 1, 1, 2)
    out = reduced(data, reducer, by="season", years=[2023])
    np.testing.assert_array_equal(out.sel(time="2022-12-01")[0, 0], [np.nan, 500])
    assert np.isnan(out[1:]).all()
    assert out.attrs["reducer"] == reducer


@pytest.mark.parametrize("reducer", ["p0", "p100", "p2.5", "p", "percentile", "p10 ", 10, None])
def test_unknown_reducers(reducer):
    with pytest.raises(RecipeError, match="from p1 to p99"):
        reduced(np.ones((1, 1, 1, 1), "uint16"), reducer)


@pytest.mark.parametrize("device", ["cdua", "cuda:99"])
def test_a_device_that_is_not_there(device):
    with pytest.raises(RecipeError, match=f"device '{device}' cannot be used"):
        reduced(np.ones((1, 1, 1, 1), "uint16"), "median", device=device)
