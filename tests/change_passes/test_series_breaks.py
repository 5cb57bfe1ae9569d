"""Alerts of a series as a pass: what the arrays say, however it is cut, and as scenes come in."""

import json
import os
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from dated_scenes import (
    BREAK,
    BROKEN,
    CLOUDED,
    HEIGHT,
    LATE,
    NORTH,
    SATURATED,
    SETTINGS,
    WEST,
    WIDTH,
    alerts_recipe,
    dates,
    nir,
    write_dated,
)

import rsscale as rs
from rsscale.breaks.alerts import CONFIRMED, NONE, PROVISIONAL, REJECTED, Monitoring, find_breaks
from rsscale.breaks.harmonic import Season
from rsscale.breaks.layers import break_values
from rsscale.breaks.monitor import Boundary
from rsscale.change_passes.series_breaks import BreaksPass
from rsscale.errors import RecipeError

DATES = dates(date(2021, 1, 5), date(2023, 8, 30))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dated")
    for day in DATES:
        write_dated(folder, day)
    return folder


@pytest.fixture(scope="module")
def run(archive: Path) -> rs.Run:
    return rs.run(alerts_recipe(archive), archive / "run", **SETTINGS)


def layers_of(run: rs.Run | Path, step: str = "alerts") -> xr.Dataset:
    """Stored values over the scenes' pixels."""
    path = run if isinstance(run, Path) else Path(str(run.path))
    stored = xr.open_zarr(path / f"{step}.zarr", decode_cf=False).squeeze("time").load()
    rows = NORTH - 10 * (np.arange(HEIGHT) + 0.5)
    return stored.reindex(y=rows, x=WEST + 10 * (np.arange(WIDTH) + 0.5))


def days(values: list[date]) -> np.ndarray:
    return np.array(values, "datetime64[D]").astype(np.int64)


def test_it_is_the_breaks_of_the_whole_series(run: rs.Run) -> None:
    values = np.stack([nir(day) for day in DATES]).astype(np.float32)
    values[values == 0] = np.nan
    series = (values * np.float32(0.0001)).astype(np.float64).reshape(len(DATES), -1)
    begin, end, start = days([date(2021, 1, 1), date(2022, 12, 31), date(2023, 1, 1)])
    rule = Monitoring(
        Season(1, False, (begin + end) / 2), (begin, end), start, Boundary(0.05, 0.25, 1.5),
        fewest=6,
    )  # fmt: skip
    wanted = break_values(find_breaks(series, days(DATES), rule))
    found = layers_of(run)
    inside = ~np.isnan(found["observations"].values) & (found["observations"].values != 65535)
    assert inside.sum() > 0.85 * HEIGHT * WIDTH
    for name, of_layer in wanted.items():
        shaped = of_layer.reshape(HEIGHT, WIDTH)
        np.testing.assert_array_equal(found[name].values[inside], shaped[inside], name)


def test_a_change_is_confirmed_with_its_date(run: rs.Run) -> None:
    found = layers_of(run)
    broken = found["alert"].values[BROKEN]
    assert (broken == CONFIRMED).mean() > 0.98
    first = days([day for day in DATES if day >= BREAK])[:2]
    assert np.isin(found["change_date"].values[BROKEN][broken == CONFIRMED], first).mean() > 0.97
    assert abs(np.median(found["magnitude"].values[BROKEN]) + 0.12) < 0.005
    elsewhere = found["alert"].values.copy()
    elsewhere[BROKEN] = NONE
    assert np.isin(elsewhere, [PROVISIONAL, CONFIRMED, REJECTED]).mean() < 0.05
    assert (elsewhere == CONFIRMED).mean() < 0.01
    for place in (CLOUDED, LATE, SATURATED):
        assert (found["alert"].values[place] == 255).all()
    assert (found["observations"].values[CLOUDED] == 0).all()
    assert (found["observations"].values[LATE] > 5).all()


def test_dates_are_read_as_dates(run: rs.Run) -> None:
    day = run.open("alerts")["change_date"].squeeze("time").load()
    alert = run.open("alerts")["alert"].squeeze("time").load()
    assert day.dtype.kind == "M"
    np.testing.assert_array_equal(np.isnat(day), ~alert.isin([1, 2, 3]))
    middle = np.sort(day.values[alert == CONFIRMED])[int((alert == CONFIRMED).sum() / 2)]
    assert middle.astype("datetime64[D]").item() == min(d for d in DATES if d >= BREAK)


def test_hectares_of_each_state_and_what_was_seen_too_rarely(run: rs.Run) -> None:
    found = layers_of(run)
    facts = run.state["steps"]["alerts"]["facts"]
    confirmed = int((found["alert"] == CONFIRMED).sum())
    assert facts["confirmed"] == confirmed
    assert facts["monitored"] + facts["too_few"] == facts["pixels"]
    assert facts["too_few"] > 20 * 25 + 15 * 30
    hectares = facts["confirmed_area"] / facts["per_hectare"]
    assert hectares == pytest.approx(confirmed / 100, rel=0.002)
    said = run.summary()
    assert f"{hectares:,.1f} ha confirmed" in said
    assert "of the pixels have too few observations" in said


@pytest.mark.extended
@pytest.mark.parametrize("tile", [96, 256])
def test_every_tile_size_and_worker_count_gives_the_same(
    archive: Path, run: rs.Run, two_workers: str, tmp_path: Path, tile: int
) -> None:
    other = rs.run(alerts_recipe(archive, tile=tile), tmp_path / "run", two_workers, **SETTINGS)
    first, second = layers_of(run), layers_of(other)
    for name in first.data_vars:
        np.testing.assert_array_equal(first[name].values, second[name].values, str(name))
    counted, others = (r.state["steps"]["alerts"]["facts"] for r in (run, other))
    assert {name: others[name] for name in BreaksPass.facts} == {
        name: counted[name] for name in BreaksPass.facts
    }


def test_strips_of_a_tile_give_the_same(
    archive: Path, run: rs.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rsscale.composites.strips.STRIP_BYTES", 1 << 20)
    monkeypatch.setattr("rsscale.composites.strips._BEYOND", 0)
    monkeypatch.setattr("rsscale.change_passes.series_breaks._AT_ONCE", 777)
    other = rs.run(alerts_recipe(archive, tile=256), tmp_path / "run", **SETTINGS)
    for name, of_layer in layers_of(run).items():
        np.testing.assert_array_equal(of_layer.values, layers_of(other)[name].values)


def entries(run: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (run / "ledger/alerts/all").glob("*.json")}


@pytest.mark.extended
def test_new_scenes_touch_their_tiles_and_settle_alerts(tmp_path: Path) -> None:
    """An update is the run from nothing, and computes no more than it must."""
    folder, out = tmp_path / "copy", tmp_path / "run"
    folder.mkdir()
    shown = [day for day in DATES if day < BREAK][:-2] + [d for d in DATES if d >= BREAK][:2]
    for day in shown:
        write_dated(folder, day)
    rs.run(alerts_recipe(folder), out, **SETTINGS)
    before, first = entries(out), layers_of(out)
    broken = first["alert"].values[BROKEN]
    assert (broken == PROVISIONAL).mean() > 0.7
    # Scenes over a corner that holds part of the broken place.
    corner = {"rows": slice(0, 20), "cols": slice(0, 36)}
    for day in [d for d in DATES if d >= BREAK][2:5]:
        write_dated(folder, day, **corner)
    foreseen = rs.changes(alerts_recipe(folder), out, **SETTINGS, update=True)
    assert str(foreseen.items["s2"]) == f"3 new, 0 changed, 0 gone, {len(shown)} as they were"
    rs.run(alerts_recipe(folder), out, **SETTINGS, update=True)
    after, second = entries(out), layers_of(out)
    computed = {name for name in before if before[name] != after[name]}
    assert len(before) > len(computed) == foreseen.tiles["alerts"].to_compute == 1
    touched = second["alert"].values[10:20, 20:36]
    settled = np.isin(touched, [CONFIRMED, REJECTED])
    assert (touched == CONFIRMED).mean() > 0.95
    assert settled.mean() > 0.97
    np.testing.assert_array_equal(first["alert"].values[:, 40:], second["alert"].values[:, 40:])
    anew = layers_of(rs.run(alerts_recipe(folder), tmp_path / "anew", **SETTINGS))
    for name in second.data_vars:
        np.testing.assert_array_equal(second[name].values, anew[name].values)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"s2": {"series": None, "composite": {"by": "year"}}},
         r"steps.alerts: the input 's2' has composites.*set inputs.s2.series: true"),
        ({"s2": {"merge_days": None}}, r"set inputs.s2.merge_days: true"),
        ({"step": {"of": None}}, r"needs 'of': one input whose series it reads.*inputs s2"),
        ({"step": {"monitor": 2024}}, r"monitor is 2024-01-01, and the periods are \[2021"),
        ({"step": {"monitor": 2021}}, "monitoring begins after the first day of the first"),
        ({"step": {"history": [2021, 2023]}}, r"history is \[2021, 2023\].*begins on 2023-01-01"),
        ({"step": {"history": [2020, 2022]}}, r"history is \[2020, 2022\], the periods are"),
        ({"step": {"band": "red"}}, "has the band 'red'; the input has nir"),
        ({"step": {"band": "nir", "index": "NDVI"}}, "choose one"),
        ({"step": {"index": "NDVI"}}, "made of the bands .*call bands so"),
        ({"step": {"index": "NDWX"}, "s2": {"bands": ["nir", "red"]}}, "no spectral index 'NDWX'"),
        ({"s2": {"bands": ["nir", "red"]}}, "needs 'band', one of nir, red, or 'index'"),
        ({"step": {"observations": 3}}, "observations is 3, and a model of 1 harmonics has 3"),
        ({"step": {"level": 0.9}}, "level: input should be less than or equal to 0.5"),
        ({"step": {"window": 0.3}}, r"window: is 0.3; expected one of \[0.25, 0.5, 1.0\]"),
        ({"step": {"range": [1, 0]}}, "range: is .*expected the least and the greatest"),
        ({"step": {"monitr": 2022}}, "monitr: unknown key; did you mean 'monitor'"),
    ],
)  # fmt: skip
def test_what_can_not_be_is_refused(archive: Path, changes: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        rs.plan(alerts_recipe(archive, **changes))


def test_an_index_by_its_name_a_missing_year_and_a_start_within_a_year(
    archive: Path, tmp_path: Path
) -> None:
    """NDVI of two bands; the year between history and monitoring is not there."""
    recipe = alerts_recipe(
        archive,
        tile=256,
        periods=[2021, 2023],
        s2={"bands": ["nir", "red"]},
        step={
            "index": "ndvi",
            "history": [2021, 2021],
            "monitor": "2023-02-01",
            "range": [-1, 0.8],
            "process": "cusum",
        },
    )
    run = rs.run(recipe, tmp_path / "run", **SETTINGS)
    found = layers_of(run)
    assert "median of NDVI" in found["magnitude"].attrs["long_name"]
    broken = found["alert"].values[BROKEN]
    assert (broken == CONFIRMED).mean() > 0.95
    told = found["change_date"].values[BROKEN][broken == CONFIRMED]
    assert told.min() >= days([date(2023, 2, 1)])[0]
    # Saturated: an NDVI of 0.85, which is out of range.
    assert (found["observations"].values[SATURATED] == 0).all()
    # Observations of January 2023 are neither history nor monitored.
    seen = [day for day in DATES if day.year == 2021 or day >= date(2023, 2, 1)]
    assert found["observations"].values[20:30, 5:15].max() <= len(seen)


def test_a_box_is_previewed(archive: Path, run: rs.Run) -> None:
    bbox = alerts_recipe(archive)["bbox"]
    seen = rs.preview(alerts_recipe(archive), bbox=bbox, step="alerts", device="cpu")
    first = layers_of(run)
    again = seen["alert"].squeeze().reindex(y=first.y, x=first.x, fill_value=255)
    np.testing.assert_array_equal(again.values, first["alert"].fillna(255).values)


@pytest.mark.extended
def test_no_scene_at_all_is_nodata(archive: Path, tmp_path: Path) -> None:
    """Where a tile has no items: of a part of the area that no scene covers."""
    west, south, _, north = alerts_recipe(archive)["bbox"]
    recipe = alerts_recipe(archive, tile=64) | {"bbox": [west - 0.02, south, west + 0.004, north]}
    found = rs.run(recipe, tmp_path / "run", **SETTINGS)
    assert found.state["steps"]["alerts"]["facts"]["too_few"] > 0


@pytest.mark.long
def test_a_run_that_was_killed_goes_on(archive: Path, run: rs.Run, tmp_path: Path) -> None:
    """Killed between the layers of a tile; what is resumed is what was never interrupted."""
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(alerts_recipe(archive)))
    command = [
        sys.executable, "-m", "rsscale", "run", str(recipe), "--out", str(tmp_path / "run"),
        "--device", "cpu", "--threads", "1",
    ]  # fmt: skip
    tile = next(iter(sorted(path.stem for path in (archive / "run/ledger/alerts/all").iterdir())))
    died = subprocess.run(
        command,
        env={**os.environ, "RSSCALE_FAILPOINTS": f"between-layers@{tile}=kill"},
        capture_output=True,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    assert tile not in {path.stem for path in (tmp_path / "run/ledger/alerts/all").glob("*")}
    resumed = layers_of(rs.resume(tmp_path / "run"))
    for name, of_layer in layers_of(run).items():
        np.testing.assert_array_equal(of_layer.values, resumed[name].values)


@pytest.mark.extended
def test_a_year_is_added(archive: Path, tmp_path: Path) -> None:
    """The step stays of all periods: each tile is computed anew, with the history that it had."""
    step = {"history": [2021, 2021], "monitor": 2022}
    first = alerts_recipe(archive, tile=256, periods=[2021, 2022], step=step)
    out = tmp_path / "run"
    before = layers_of(rs.run(first, out, **SETTINGS))
    more = alerts_recipe(archive, tile=256, step=step)
    foreseen = rs.changes(more, out, **SETTINGS)
    assert str(foreseen.tiles["alerts"]) == "1 of 1"
    grown = layers_of(rs.run(more, out, **SETTINGS))
    assert (before["alert"].values[BROKEN] == CONFIRMED).mean() < 0.02
    assert (grown["alert"].values[BROKEN] == CONFIRMED).mean() > 0.97
    anew = layers_of(rs.run(more, tmp_path / "anew", **SETTINGS))
    for name in anew.data_vars:
        np.testing.assert_array_equal(grown[name].values, anew[name].values)


DATA = Path(__file__).resolve().parents[2] / "../shared/data/cbers-bahia"


def test_real_series_of_a_year(tmp_path: Path) -> None:
    """CBERS-4, 23 composites of 16 days: of what was seen once, alerts are few, and greener."""
    if not DATA.exists():
        pytest.skip(f"the example imagery is not at {DATA}; it is not part of the project")
    recipe = {
        "name": "bahia",
        "bbox": [-46.55, -12.95, -46.5, -12.9],
        "grid": {"crs": "EPSG:32723", "resolution": 64, "tile": 256},
        "periods": [2018, 2019],
        "inputs": {
            "cbers": {
                "catalog": str(DATA / "catalog.json"), "bands": ["NDVI"], "series": True,
                "merge_days": True,
            },
        },
        "steps": {
            "alerts": {
                "kind": "series-breaks", "of": "cbers", "monitor": "2019-05-01", "harmonics": 1,
                "trend": False,
            },
        },
    }  # fmt: skip
    run = rs.run(recipe, tmp_path / "run", **SETTINGS)
    facts = run.state["steps"]["alerts"]["facts"]
    assert facts["monitored"] > 0.99 * facts["pixels"]
    assert 0 < facts["confirmed"] < 0.25 * facts["pixels"]
    found = run.open("alerts").squeeze("time").load()
    seen = found["observations"].values[found["alert"].values != 255]
    assert 20 <= np.median(seen) <= 23
    day = found["change_date"].values[found["alert"].values == CONFIRMED]
    assert day.min() >= np.datetime64("2019-05-01")
