"""Series in long form become arrays: dates, gaps, groups; what is wrong is said."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely
from point_series import BANDS, long_form

import rsscale as rs
from rsscale.errors import RecipeError


def read(frame: pd.DataFrame, **options: object) -> rs.SeriesTable:
    defaults: dict = {"bands": BANDS, "label": "label", "nodata": -9999, "scale": 1e-4}
    return rs.read_series_table(frame, **{**defaults, **options})


def test_rows_of_a_sample_become_its_series_in_order() -> None:
    frame = long_form(20)
    table = read(frame.sample(frac=1, random_state=0))
    (one,) = table.inputs
    assert len(table) == 20
    for number, (name, rows) in enumerate(frame.groupby("sample_id", sort=True)):
        index = sorted(frame["sample_id"].unique()).index(name)
        assert index == number
        days = rows["date"].dt.dayofyear.to_numpy()
        np.testing.assert_array_equal(one.days[index, : len(days)], days)
        assert (one.days[index, len(days) :] == 0).all()
        expected = rows[list(BANDS)].where(rows["red"] != -9999).to_numpy() * 1e-4
        np.testing.assert_allclose(one.values[index, : len(days)], expected, rtol=1e-6)  # noqa: PD011
        assert np.isnan(one.values[index, len(days) :]).all()  # noqa: PD011
        assert table.targets[index] == rows["label"].iloc[0]
    assert one.times == ()
    assert "not grouped" in table.notes[0]


def test_samples_may_have_a_table_of_their_own(tmp_path: Path) -> None:
    frame = long_form(20)
    about = frame.drop_duplicates("sample_id")[["sample_id", "label", "x", "y"]]
    together = read(frame, blocks=2.5)
    apart = read(frame.drop(columns=["label", "x", "y"]), samples=about[::-1], blocks=2.5)
    np.testing.assert_array_equal(together.targets, apart.targets)
    np.testing.assert_array_equal(together.groups, apart.groups)
    assert together.notes == ()
    frame.to_parquet(tmp_path / "series.parquet")
    stored = read(tmp_path / "series.parquet", blocks=2.5)
    np.testing.assert_array_equal(stored.inputs[0].values, together.inputs[0].values)


def test_blocks_are_squares_of_land() -> None:
    table = read(long_form(60), blocks=2.5)
    about = long_form(60).drop_duplicates("sample_id").set_index("sample_id")
    cells = [
        tuple(np.floor(about.loc[f, ["x", "y"]].to_numpy(float) / 2.5)) for f in sorted(about.index)
    ]
    same = np.array([[a == b for b in cells] for a in cells])
    np.testing.assert_array_equal(table.groups[:, None] == table.groups[None], same)


def test_blocks_by_geometry() -> None:
    frame = long_form(20)
    points = shapely.points(frame["x"], frame["y"])
    expected = read(frame, blocks=2.5).groups
    for geometry in (points, shapely.to_wkb(points)):
        located = frame.drop(columns=["x", "y"]).assign(geometry=geometry)
        np.testing.assert_array_equal(read(located, blocks=2.5).groups, expected)


def test_several_inputs_have_their_own_gaps() -> None:
    frame = long_form(20).assign(vv=1.0)
    table = read(frame, bands={"s2": BANDS, "s1": ("vv",)}, scale={"red": 1e-4, "nir": 1e-4})
    optical, radar = table.inputs
    assert radar.valid.sum() == len(frame)
    assert optical.valid.sum() == (frame["red"] != -9999).sum() < len(frame)
    assert np.nanmax(radar.values) == 1.0


def test_samples_that_nobody_saw_are_left_out() -> None:
    frame = long_form(20)
    frame.loc[frame["sample_id"].isin(["p3", "p7"]), "nir"] = -9999
    table = read(frame)
    assert len(table) == 18
    assert table.notes[-1] == "2 samples without a valid observation are left out"
    with pytest.raises(RecipeError, match="no sample has an observation"):
        read(frame.assign(nir=-9999.0))
    with pytest.raises(RecipeError, match="has no sample"):
        read(frame.iloc[:0])


def test_composites_have_a_row_for_each_window() -> None:
    frame = pd.concat([g.head(3) for _, g in long_form(10, gaps=0).groupby("sample_id")])
    table = read(frame, times=("spring", "summer", "autumn"))
    assert table.inputs[0].values.shape == (10, 3, 2)  # noqa: PD011
    assert table.inputs[0].times == ("spring", "summer", "autumn")
    with pytest.raises(RecipeError, match=r"'p\d' has 2 rows; the 3 time windows .* row of nodata"):
        read(frame.iloc[1:], times=("spring", "summer", "autumn"))


def test_one_row_a_sample_needs_no_date() -> None:
    frame = long_form(10, gaps=0).drop_duplicates("sample_id")
    table = read(frame, date=None, label=None, values=["height"])
    assert table.inputs[0].times == ("year",)
    assert table.targets.shape == (10, 1)
    with pytest.raises(RecipeError, match="without a date each sample is one row"):
        read(long_form(10), date=None)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"bands": ("red", "nirr")}, "no column 'nirr'.*did you mean 'nir'"),
        ({"label": "lable"}, "no column 'lable'.*did you mean 'label'"),
        ({"label": "date"}, "has several values of date"),
        ({"values": ["height"]}, "either label.*or values"),
        ({"label": None}, "either label.*or values"),
        ({"date": "label"}, "column 'label' has no dates"),
        ({"bands": ("label",)}, "something else than numbers"),
        ({"group": "label", "blocks": 1.0}, "either group"),
        ({"blocks": -1.0}, "expected a positive number"),
        ({"samples": pd.DataFrame({"sample_id": ["p0"], "label": ["a"]})}, "not in the table of"),
    ],
)
def test_what_is_wrong_is_said(options: dict, reason: str) -> None:
    with pytest.raises(RecipeError, match=reason):
        read(long_form(6), **options)


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("no")
    for name in ("a.parquet", "b.parquet"):
        with pytest.raises(RecipeError, match=f"{name} can't be read as a Parquet table"):
            read(tmp_path / name)


def test_arrays_are_taken_as_they_are() -> None:
    values = np.arange(24, dtype=float).reshape(2, 4, 3)
    valid = np.array([[True, True, False, True]] * 2)
    dates = np.array(["2020-12-31", "2021-01-01", "2021-02-01", "NaT"], "datetime64[D]")
    table = rs.SeriesTable.of_arrays(
        values, dates, ["a", "b"], bands=("x", "y", "z"), valid=valid, groups=["east", "west"]
    )
    (one,) = table.inputs
    assert one.days.tolist() == [[366, 1, 32, 0]] * 2
    np.testing.assert_array_equal(one.valid, valid)
    assert len(set(table.groups)) == 2
    with pytest.raises(RecipeError, match="days of the year"):
        rs.SeriesTable.of_arrays(values, [400] * 4, ["a", "b"], bands=("x", "y", "z"))
    with pytest.raises(RecipeError, match="and 2 bands"):
        rs.SeriesTable.of_arrays(values, [4] * 4, ["a", "b"], bands=("x", "y"))
    with pytest.raises(RecipeError, match="targets"):
        rs.SeriesTable.of_arrays(values, [4] * 4, ["a"], bands=("x", "y", "z"))
    with pytest.raises(RecipeError, match="1 samples have no number"):
        rs.SeriesTable.of_arrays(
            values, [4] * 4, [[1.0], [np.nan]], bands=("x", "y", "z"), quantities=["h"]
        )
