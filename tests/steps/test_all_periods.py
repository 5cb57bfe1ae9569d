"""The series of an input at all periods: one after the other, no observation twice."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from dated_scenes import SETTINGS, alerts_recipe, write_dated

import rsscale as rs
from rsscale.cluster.profile import NumericProfile
from rsscale.errors import RecipeError
from rsscale.layers import TileKey
from rsscale.plans.plan import RunPlan
from rsscale.recipe import read_recipe
from rsscale.steps.base import ALL, Resources
from rsscale.steps.sources import InputSource
from rsscale.store.run_folder import RunFolder

DATES = [date(2021, 3, 1), date(2021, 11, 20), date(2022, 2, 3), date(2022, 12, 24),
         date(2023, 1, 9), date(2023, 6, 1)]  # fmt: skip


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dated")
    for day in reversed(DATES):
        write_dated(folder, day)
    return folder


def opened(folder: Path, out: Path, **changes: Any) -> tuple[InputSource, TileKey]:
    """The source of a planned run, as a worker opens it, and one of its tiles."""
    recipe = alerts_recipe(folder, tile=256, step={"observations": 4}, **changes)
    rs.run(recipe, out, **SETTINGS)
    (step,) = RunPlan.read(RunFolder.at(out)).steps
    (path,) = (out / "ledger/alerts/all").iterdir()
    x, y = path.stem.split("_")
    source = step.sources["series"]
    assert isinstance(source, InputSource)
    return source, TileKey("alerts", ALL, int(x[1:]), int(y[1:]))


def read(source: InputSource, key: TileKey) -> xr.DataArray:
    box = source.grid.tile_at(key.ix, key.iy).box
    profile = NumericProfile(device="cpu", threads=1)
    return source.read(box, key, Resources(profile))["composite"]


def test_dates_of_all_periods_are_in_order(archive: Path, tmp_path: Path) -> None:
    source, key = opened(archive, tmp_path / "run")
    series = read(source, key)
    assert series.dims == ("time", "band", "y", "x")
    assert series["time"].values.astype("datetime64[D]").tolist() == DATES
    assert source.days(key) == (date(2021, 1, 1), date(2023, 12, 31))
    box = source.grid.tile_at(key.ix, key.iy).box
    assert len(source.inputs(box, key)) == len(DATES)
    whole = series.compute(scheduler="synchronous")
    for period in (2021, 2022, 2023):
        one = InputSource(source.name, source.recipe, source.grid, source.lookups, at=str(period))
        part = read(one, key).compute(scheduler="synchronous")
        np.testing.assert_array_equal(part, whole.sel(time=str(period)))


def test_days_of_two_periods_are_read_once(archive: Path, tmp_path: Path) -> None:
    """Seasons of eighteen months overlap by half a year."""
    source, key = opened(archive, tmp_path / "run", s2={"series": ["-1-07-01", "12-31"]})
    series = read(source, key)
    assert series["time"].values.astype("datetime64[D]").tolist() == DATES
    assert source.days(key) == (date(2020, 7, 1), date(2023, 12, 31))


def test_a_missing_period_is_left_out(archive: Path, tmp_path: Path) -> None:
    source, key = opened(archive, tmp_path / "run", periods=[2021, 2023])
    kept = [day for day in DATES if day.year != 2022]
    assert read(source, key)["time"].values.astype("datetime64[D]").tolist() == kept


def test_what_it_can_not_be_of_is_refused(archive: Path, tmp_path: Path) -> None:
    source, _ = opened(archive, tmp_path / "run")
    with pytest.raises(RecipeError, match=r"input 's2' is not of 2024; it is of \['2021'"):
        InputSource("s2", source.recipe, source.grid, source.lookups, at="2024")
    static = alerts_recipe(archive, s2={"series": None, "static": True, "merge_days": None})
    with pytest.raises(RecipeError, match="is static, and has no series of all periods"):
        InputSource("s2", read_recipe(static), source.grid, source.lookups, at=ALL)
