import numpy as np
import pytest
from series import cube_of, days, gaps

from rsscale.composites.composite import composite
from rsscale.errors import RecipeError

MIDDLES = ["2023-01-15", "2023-04-15", "2023-07-15", "2023-10-15"]  # one scene a season


def one_pixel(values, times=MIDDLES, **how):
    data = np.array(values, "uint16").reshape(-1, 1, 1, 1)
    return composite(cube_of(data, times), "season", years=[2023], **how).compute()


def test_windows_without_a_scene_are_left_by_default():
    out = one_pixel([1, 0, 0, 4])
    np.testing.assert_array_equal(out.values.ravel(), [1, np.nan, np.nan, 4])
    assert out.attrs["missing"] == "leave"


@pytest.mark.parametrize(
    ("scenes", "filled"),
    [
        ([1, 0, 3, 4], [1, 1, 3, 4]),  # winter's middle is 91 days from spring's, summer's 92
        ([1, 0, 0, 4], [1, 1, 4, 4]),
        ([0, 0, 0, 4], [4, 4, 4, 4]),
        ([1, 0, 0, 0], [1, 1, 1, 1]),
        ([1, 2, 3, 4], [1, 2, 3, 4]),
    ],
)
def test_nearest_window_in_time(scenes, filled):
    out = one_pixel(scenes, missing="neighbour")
    assert out.values.ravel().tolist() == filled
    assert out.observations.values.ravel().tolist() == [int(scene > 0) for scene in scenes]


def test_the_earlier_window_on_a_tie():
    by = {"windows": {"c": ["03-01", "03-10"], "b": ["02-09", "02-18"], "a": ["01-20", "01-29"]}}
    data = np.array([1, 0, 3], "uint16").reshape(3, 1, 1, 1)
    cube = cube_of(data, ["2023-01-25", "2023-02-14", "2023-03-05"])
    out = composite(cube, by, missing="neighbour")
    assert out.values.ravel().tolist() == [3, 1, 1]  # by time, not by the order of the windows


def test_a_year_is_not_filled_from_another():
    data = np.array([1, 5], "uint16").reshape(2, 1, 1, 1)
    cube = cube_of(data, ["2022-10-15", "2023-07-15"])
    for missing in ("neighbour", "year"):
        out = composite(cube, "season", years=[2022, 2023], missing=missing)
        assert out.values.ravel().tolist() == [1] * 4 + [5] * 4
        alone = composite(cube, "season", years=[2023], missing=missing)
        np.testing.assert_array_equal(alone, out[4:])


def test_the_year_is_reduced_from_all_its_scenes():
    times = ["2023-01-15", "2023-01-20", "2023-04-01", "2023-10-01", "2022-06-01"]
    out = one_pixel([1, 2, 9, 30, 77], times, missing="year")
    assert out.values.ravel().tolist() == [1.5, 9, 5.5, 30]
    assert out.observations.values.ravel().tolist() == [2, 1, 0, 1]


def test_scenes_in_two_windows_count_once_for_the_year():
    by = {"windows": {"a": ["01-01", "06-30"], "b": ["01-01", "03-31"], "c": ["12-01", "12-31"]}}
    data = np.array([1, 8], "uint16").reshape(2, 1, 1, 1)
    out = composite(cube_of(data, ["2023-02-01", "2023-05-01"]), by, "mean", missing="year")
    assert out.values.ravel().tolist() == [4.5, 1, 4.5]


def test_best_pixel_of_the_year_is_nearest_to_its_middle():
    # December to November: the middle is the end of May.
    out = one_pixel([1, 2, 0, 4], missing="year", reducer="best-pixel")
    assert out.values.ravel().tolist() == [1, 2, 2, 4]


@pytest.mark.parametrize("missing", ["neighbour", "year"])
def test_every_pixel_by_itself(missing):
    data = gaps((12, 2, 10, 11), 1, share=0.5)
    left = composite(cube_of(data, days(12, step=30)), "month", years=[2023]).compute()
    out = composite(
        cube_of(data, days(12, step=30)), "month", years=[2023], missing=missing
    ).compute()
    np.testing.assert_array_equal(out.observations, left.observations)
    there = left.notnull().values
    np.testing.assert_array_equal(out.values[there], left.values[there])
    assert not there.all()
    whole = composite(cube_of(data, days(12, step=30)), "year", years=[2023]).compute()
    nothing = np.isnan(out.values).any(axis=(0, 1))
    np.testing.assert_array_equal(nothing, whole.observations.values[0] == 0)
    if missing == "year":
        expected = np.broadcast_to(whole.values, out.shape)[~there]
        np.testing.assert_array_equal(out.values[~there], expected)


def test_no_scenes_at_all():
    cube = cube_of(np.ones((0, 2, 3, 4), "uint16"), [])
    out = composite(cube, "season", years=[2023], missing="year").compute()
    assert out.shape == (4, 2, 3, 4)
    assert np.isnan(out.values).all()


@pytest.mark.parametrize("missing", ["neighbor", None, "interpolate"])
def test_unknown_rules(missing):
    with pytest.raises(RecipeError, match="expected leave, neighbour, linear, year"):
        one_pixel([1, 0, 0, 4], missing=missing)
