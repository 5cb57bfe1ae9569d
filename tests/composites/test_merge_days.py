import pickle

import dask
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from series import cube_of, gaps

from rsscale.composites.composite import composite
from rsscale.composites.merge_days import merge_days
from rsscale.errors import RecipeError

# Three overpasses; the second of two tiles, the last of three, across midnight UTC.
TIMES = [
    "2023-05-01T10:00", "2023-05-04T10:10:00", "2023-05-04T10:10:14",
    "2023-05-07T23:59:50", "2023-05-08T00:00:04", "2023-05-08T00:00:18",
]  # fmt: skip
DAYS = ["2023-05-01", "2023-05-04", "2023-05-04", "2023-05-08", "2023-05-08", "2023-05-08"]
IDS = ["a", "b", "c", "d", "e", "f"]


def scenes(data, **how):
    cube = cube_of(data, TIMES, **how)
    solar = ("time", np.array(DAYS, "datetime64[D]").astype("datetime64[s]"))
    return cube.assign_coords(id=("time", IDS), solar_day=solar)


def column(values):
    return np.array(values, "uint16").reshape(-1, 1, 1, 1)


def test_the_first_valid_scene_of_a_day_wins():
    assert merge_days(scenes(column([1, 2, 3, 4, 5, 6]))).values.ravel().tolist() == [1, 2, 4]
    assert merge_days(scenes(column([1, 0, 3, 0, 0, 6]))).values.ravel().tolist() == [1, 3, 6]
    assert merge_days(scenes(column([0] * 6))).values.ravel().tolist() == [0, 0, 0]


def test_all_bands_are_of_one_scene():
    data = np.zeros((6, 2, 1, 1), "uint16")
    data[1, 0] = 7  # its other band is nodata
    data[2] = 8
    data[4, 1] = 9  # nor is there another scene that day
    out = merge_days(scenes(data))
    assert out.values[..., 0, 0].tolist() == [[0, 0], [8, 8], [0, 0]]


def test_coordinates():
    cube = scenes(column(range(1, 7)), scale=1e-4).assign_coords(
        platform=("time", ["x", "y", "y", "z", "z", "z"]), tile=("time", list("ABCDEF"))
    )
    out = merge_days(cube)
    assert out.dims == ("time", "band", "y", "x")
    assert out.dtype == "uint16"
    assert out.attrs["nodata"] == 0
    np.testing.assert_array_equal(out.time, cube.time[[0, 1, 3]])
    assert out.id.values.tolist() == ["a", "b+c", "d+e+f"]
    assert [str(d)[:10] for d in out.solar_day.values] == ["2023-05-01", "2023-05-04", "2023-05-08"]
    assert out.platform.values.tolist() == ["x", "y", "z"]
    assert "tile" not in out.coords
    assert out.scale.values.ravel().tolist() == [np.float32(1e-4)] * 3
    np.testing.assert_array_equal(out.x, cube.x)


def test_utc_dates_stand_in():
    cube = scenes(column(range(1, 7))).drop_vars(["solar_day", "id"])
    out = merge_days(cube)
    assert out.values.ravel().tolist() == [1, 2, 4, 5]
    assert "id" not in out.coords


def test_order_is_by_moment_and_id_whatever_the_slices():
    cube = scenes(column(range(1, 7)))
    same = cube.assign_coords(time=np.array(DAYS, "datetime64[ns]"), id=("time", list("afebcd")))
    for order in ([0, 1, 2, 3, 4, 5], [5, 3, 1, 0, 2, 4]):
        out = merge_days(same.isel(time=order))
        assert out.values.ravel().tolist() == [1, 3, 4]
        assert out.id.values.tolist() == ["a", "e+f", "b+c+d"]


@given(seed=st.integers(0, 2**32 - 1), data=st.data())
@settings(max_examples=20, deadline=None)
def test_values_do_not_depend_on_chunks(seed, data):
    numbers = gaps((6, 2, 9, 10), seed)
    offset = np.random.default_rng(seed).choice([0, -0.1], (6, 1))
    chunks = tuple(data.draw(st.integers(1, n)) for n in numbers.shape)
    with dask.config.set(scheduler="synchronous"):
        one = merge_days(scenes(numbers, scale=1e-4, offset=offset)).compute()
        other = merge_days(scenes(numbers, scale=1e-4, offset=offset, chunks=chunks)).compute()
    assert one.values.tobytes() == other.values.tobytes()


def by_hand(numbers, scale, offset):
    """Scenes that lose at a pixel become nodata there; no slice is merged."""
    left = numbers.copy()
    valid = (numbers != 0).all(axis=1)
    for day in set(DAYS):
        seen = np.zeros(valid.shape[1:], bool)
        for scene in (n for n in range(6) if DAYS[n] == day):
            left[scene][:, seen] = 0
            seen |= valid[scene]
    return scenes(left, scale=scale, offset=offset)


@pytest.mark.parametrize("reducer", ["median", "mean", "p25", "geomedian"])
@pytest.mark.parametrize("offset", [[0] * 6, [0, -0.1, -0.1, 0, 0, 0], [0, -0.1, 0, 0, -0.1, 0]])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_composite_is_the_same_to_the_bit(reducer, offset, dtype):
    numbers = gaps((6, 3, 20, 21), 5, share=0.2).astype(dtype)
    offset = np.array(offset)[:, None]
    cube = scenes(numbers, scale=1e-4, offset=offset)
    merged = merge_days(cube)
    shared = all(len({o for o, d in zip(offset[:, 0], DAYS, strict=True) if d == day}) == 1
                 for day in DAYS)  # fmt: skip
    assert merged.dtype == (dtype if shared else "float32")
    if not shared:
        assert (merged.scale == 1).all()
        assert (merged.offset == 0).all()
        assert np.isnan(merged.attrs["nodata"])
    out = composite(merged, "month", reducer).compute()
    expected = composite(by_hand(numbers, 1e-4, offset), "month", reducer).compute()
    assert out.values.tobytes() == expected.values.tobytes()
    np.testing.assert_array_equal(out.observations, expected.observations)
    assert out.observations.max() == 3  # days, not scenes


def test_lazy_and_few_tasks():
    cube = scenes(gaps((6, 2, 32, 32), 1), chunks=(6, 2, 16, 16))
    out = merge_days(cube)
    assert out.chunks == ((3,), (2,), (16, 16), (16, 16))
    assert len(out.__dask_graph__()) - len(cube.__dask_graph__()) <= 4
    assert merge_days(cube).data.name == out.data.name
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(out)).compute(), out.compute())


def test_no_scenes():
    cube = cube_of(np.ones((0, 2, 3, 4), "uint16"), [])
    assert merge_days(cube).shape == (0, 2, 3, 4)


def test_a_cube_that_does_not_say_its_nodata():
    cube = scenes(column(range(1, 7)))
    del cube.attrs["nodata"]
    with pytest.raises(RecipeError, match="attribute nodata is None and its type uint16"):
        merge_days(cube)
