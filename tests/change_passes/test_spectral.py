"""Change without labels as a pass: that of whole images, however they were cut."""

import os
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import xarray as xr
from formula_pass import SMALL, allowed, formula_recipe, over

import rsscale as rs
from rsscale.errors import RecipeError, TilesFailedError

STEP = {"kind": "spectral-change", "of": "map", "from": 2019, "to": 2020}
# Of the formula's layers: seven bands, some of them without a value, and one of another scale.
BANDS = ["confidence", "probability", "temperature", "index"]
METHODS = ("ir-mad", "change-vector", "spectral-angle", "embedding-distance")


def recipe_of(folder: Path, tile: int = 384, **step: Any) -> dict[str, Any]:
    """One method, or all of them; the shift of the dates is looked for by one, alike for all."""
    steps = {
        method: STEP
        | {"bands": BANDS, "method": method, "variates": method == "ir-mad"}
        | {"register": "warn" if method == "change-vector" else "off"}
        | step
        for method in (METHODS if "method" not in step else (step["method"],))
    }
    return formula_recipe(folder, tile=tile, periods=[2019, 2020], steps=steps, shape=SMALL)


def mapped(folder: Path, tile: int = 384, client: Any = None, **step: Any) -> rs.Run:
    with allowed():
        recipe = recipe_of(folder, tile, **step)
        return rs.run(recipe, folder / f"run-{tile}", client, threads=1, device="cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> rs.Run:
    return mapped(tmp_path_factory.mktemp("spectral"))


def over_the_area(ds: xr.Dataset) -> xr.Dataset:
    found: xr.Dataset = over(ds, SMALL)
    return found


def layers(run: rs.Run) -> dict[str, xr.DataArray]:
    """All layers of all methods."""
    return {
        f"{method}-{name}": array
        for method in METHODS
        for step in (method, f"{method}-magnitude")
        for name, array in over_the_area(run.open(step)).items()
    }


def both(run: rs.Run) -> xr.DataArray:
    """The two dates in memory, ``(time, band, y, x)``."""
    ds = run.open().load()
    known = ds["classification"] != 255
    one = [
        ds["confidence"].astype("float32").where(known).expand_dims("band", 1),
        ds["probability"].astype("float32").where(known).rename({"class": "band"}),
        (ds["temperature"].astype("float32") * np.float32(0.01) + 15).where(known)
        .expand_dims("band", 1),
        ds["index"].expand_dims("band", 1),
    ]  # fmt: skip
    return xr.concat([a.drop_vars("band", errors="ignore").transpose("time", "band", "y", "x")
                      for a in one], "band")  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.extended
def test_it_is_the_change_of_the_whole_images(run: rs.Run, method: str) -> None:
    dates = both(run)
    seen = dates.notnull().all(("time", "band")).values
    change = run.open(method).squeeze("time").load()
    assert set(change.data_vars) == {"change", "change_probability"}
    name = "chi_square" if method == "ir-mad" else "magnitude"
    stored = run.open(f"{method}-magnitude")[name].squeeze("time").load()
    np.testing.assert_array_equal(np.isfinite(stored.values), seen)
    for layer in change.data_vars:
        np.testing.assert_array_equal(change[layer].values != 255, seen)
    (row,) = run.table(f"{method}-threshold").to_pylist()
    heights = np.sqrt(stored.values) if method == "ir-mad" else stored.values
    np.testing.assert_array_equal(change["change"].values[seen] == 1,
                                  heights[seen] > np.float32(row["threshold"]))  # fmt: skip
    facts = run.state["steps"][method]["facts"]
    assert facts["compared"] == seen.sum()
    assert facts["changed"] == (change["change"].values == 1).sum() > 0


@pytest.mark.extended
def test_every_tile_size_and_worker_count_gives_the_same(
    tmp_path: Path, run: rs.Run, two_workers: str
) -> None:
    wanted = layers(run)
    assert len(wanted) == 13
    for tile in (192, 512):
        other = mapped(tmp_path, tile, two_workers)
        for method in METHODS:
            tables = [f"{method}-threshold"]
            tables += [f"{method}-estimate"] if method in ("ir-mad", "change-vector") else []
            for table in tables:
                assert run.table(table).equals(other.table(table)), table
        for name, array in layers(other).items():
            np.testing.assert_array_equal(wanted[name].values, array.values, name)


@pytest.mark.long
def test_a_sample_of_few_of_the_pixels_is_the_same_in_all_tiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rsscale.change_passes.pair_sample.SAMPLE", 3000)
    runs = [mapped(tmp_path, tile, method="ir-mad") for tile in (192, 512)]
    samples = [run.table("ir-mad-sample") for run in runs]
    assert len(samples[1]) < len(samples[0])
    first, second = (run.table("ir-mad-estimate") for run in runs)
    assert first.equals(second)
    found = [over_the_area(run.open("ir-mad"))["change_probability"].values for run in runs]
    np.testing.assert_array_equal(*found)


@pytest.mark.long
def test_a_run_that_was_interrupted_goes_on_to_the_same(tmp_path: Path, run: rs.Run) -> None:
    """The map of some tiles is missing at first: what sees all tiles waits for them."""
    stops = tmp_path / "stops"
    stops.touch()
    tiles = sorted(Path(name).stem for name in run.folder.storage.names("ledger/map/2019"))
    fails = {"fails": [tiles[len(tiles) // 2]], "while_there": str(stops)}
    with allowed():
        recipe = recipe_of(tmp_path)
        recipe["steps"]["map"] |= fails
        with pytest.raises(TilesFailedError):
            rs.run(recipe, tmp_path / "run", threads=1, device="cpu")
        stops.unlink()
        done = rs.resume(tmp_path / "run")
    wanted = layers(run)
    for name, array in layers(done).items():
        np.testing.assert_array_equal(wanted[name].values, array.values, name)


def test_a_preview_needs_to_be_told_what_all_tiles_tell(tmp_path: Path) -> None:
    box = [6.0, 44.965, 6.01, 44.975]

    def preview(step: str = "one", **options: Any) -> xr.Dataset:
        recipe = formula_recipe(
            tmp_path,
            tile=384,
            periods=[2019, 2020],
            steps={"one": STEP | {"bands": BANDS} | options},
        )
        with allowed():
            return rs.preview(recipe, box, step=step, device="cpu")

    with pytest.raises(
        RecipeError, match=r"made of all tiles.*rs.detect_spectral_change does the same"
    ):
        preview()
    with pytest.raises(RecipeError, match=r"'one-estimate' is made of all tiles.*'scale: none'"):
        preview(method="change-vector")
    with pytest.raises(
        RecipeError, match=r"'one-threshold' is made of all.*give 'threshold' a number"
    ):
        preview(method="spectral-angle")
    assert "classification" in preview("map")
    found = preview(method="spectral-angle", threshold=20)
    assert set(found.data_vars) == {"change"}
    angle = preview("one-magnitude", method="spectral-angle", threshold=20)["magnitude"].values
    seen = np.isfinite(angle)
    np.testing.assert_array_equal(found["change"].values[seen], angle[seen] > 20)
    assert (found["change"].values[~seen] == 255).all()
    assert 0 < found["change"].values[seen].mean() < 1


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"method": "irmad"}, "method: input should be 'change-vector', 'ir-mad'"),
        ({"threshold": "otzu"}, "threshold: is 'otzu'; expected otsu, kit.*did you mean 'otsu'"),
        ({"threshold": -1.0}, "threshold is -1.0; expected a number of 0 or more"),
        (
            {"threshold": {"false_alarm": 2, "stable": "x"}},
            "expected a share between 0 and 1 and a file",
        ),
        (
            {"threshold": {"false_alarm": 0.1}},
            "expected otsu, kittler-illingworth, a number, or {f",
        ),
        ({"threshold": True}, "threshold is true; expected a number"),
        ({"threshold": {"false_alarm": 0.1, "stable": "no.gpkg"}}, "no file of stable pixels at"),
        ({"method": "change-vector", "variates": True}, "variates are those of ir-mad, and the me"),
        ({"scale": "none"}, "scale is of change-vector, and the method is ir-mad"),
        ({"least_shared": 0.5}, "least_shared is of change-vector, and the method is ir-mad"),
        (
            {"method": "spectral-angle", "bands": ["index"]},
            "there is 1 band, and .*'spectral-angle'",
        ),
        ({"from": 2020, "to": 2020}, "from is 2020 and to is 2020"),
    ],
)
def test_what_can_not_be_is_refused(tmp_path: Path, step: dict, message: str) -> None:
    recipe = formula_recipe(
        tmp_path, tile=384, periods=[2019, 2020], steps={"one": STEP | {"bands": BANDS} | step}
    )
    with allowed(), pytest.raises(RecipeError, match=message):
        rs.plan(recipe)


def stable_file(folder: Path, bounds: tuple[float, float, float, float]) -> str:
    import geopandas as gpd
    import shapely

    frame = gpd.GeoDataFrame(geometry=[shapely.box(*bounds)], crs="EPSG:32631")
    frame.to_crs("EPSG:4326").to_file(folder / "stable.gpkg")
    return str(folder / "stable.gpkg")


@pytest.mark.extended
def test_stable_pixels_bound_the_false_alarms(tmp_path: Path) -> None:
    """Polygons of any CRS; no more than the rate of their pixels is called changed."""
    bounds = (731_000.0, 4_982_000.0, 733_000.0, 4_983_000.0)
    given = {"false_alarm": 0.02, "stable": stable_file(tmp_path, bounds)}
    run = mapped(tmp_path, method="change-vector", threshold=given, register="off")
    change = over_the_area(run.open("change-vector"))["change"]
    inside = change.sel(x=slice(731_020, 732_980), y=slice(4_982_980, 4_982_020)).values
    assert (inside != 255).sum() > 10_000
    assert (inside == 1).sum() / (inside != 255).sum() == pytest.approx(0.02, abs=0.003)


def test_stable_pixels_elsewhere_are_refused(tmp_path: Path) -> None:
    far = stable_file(tmp_path, (100_000.0, 4_100_000.0, 110_000.0, 4_110_000.0))
    recipe = recipe_of(tmp_path, method="ir-mad", threshold={"false_alarm": 0.1, "stable": far})
    with allowed(), pytest.raises(RecipeError, match=r"none of the polygons of .* touches the rec"):
        rs.plan(recipe)


@pytest.mark.extended
def test_dates_that_no_pixel_has_both_of_are_refused_by_name(tmp_path: Path) -> None:
    """As where one of them is all cloud: nothing is called changed, or unchanged."""
    nothing = {"kind": "empty_pass:EmptyPass", "of": "map"}
    recipe = recipe_of(tmp_path, method="ir-mad", of="empty", bands=["index"])
    recipe["steps"]["empty"] = nothing
    with mock.patch.dict(os.environ, {"RSSCALE_PASSES": "formula_pass, empty_pass"}):
        with pytest.raises(TilesFailedError, match=r"0 pixels have values at both dates.*clouds"):
            rs.run(recipe, tmp_path / "run", threads=1, device="cpu")
        recipe = recipe_of(tmp_path, method="change-vector", of="empty", bands=["index"],
                           scale="none", threshold=3, register="off")  # fmt: skip
        recipe["steps"]["empty"] = nothing
        run = rs.run(recipe, tmp_path / "given", threads=1, device="cpu")
    assert (run.open("change-vector")["change"] == 255).all()
    assert run.state["steps"]["change-vector"]["facts"]["compared"] == 0
