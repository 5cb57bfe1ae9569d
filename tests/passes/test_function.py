"""A user's function as a step of a recipe: the same map for every tile size and cluster."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tile_functions
import xarray as xr
from index_pass import classes, index_recipe
from landscape import Landscape

import rsscale as rs
from rsscale.cluster.connection import connect
from rsscale.errors import RecipeError, TilesFailedError
from rsscale.geo.rasterize import area_mask
from rsscale.layers import TileKey
from rsscale.plans.plan import RunPlan
from rsscale.plans.planning import open_recipe
from rsscale.recipe import read_recipe
from rsscale.runs.verification import verify
from rsscale.steps.fingerprint import fingerprint
from rsscale.store.run_folder import RunFolder

OPTIONS: dict[str, Any] = {"threads": 1, "device": "cpu"}
COPY = [{"name": "classification", "overview": "mode"}]


@pytest.fixture(scope="module", autouse=True)
def allowed() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RSSCALE_PASSES", "index_pass")
        patch.setenv("RSSCALE_FUNCTIONS", "other, tile_functions")
        yield


@pytest.fixture(scope="module")
def workers(two_workers: str) -> Iterator[Any]:
    with connect(two_workers) as client:
        yield client


def step(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "function",
        "of": "map",
        "function": f"tile_functions:{name}",
        "layers": COPY,
        **changes,
    }


def events(out: Path, kind: str = "tile", of: str = "f") -> list[dict[str, Any]]:
    """Events of a step since the last start."""
    lines = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    start = max(n for n, line in enumerate(lines) if line["event"] == "started")
    return [line for line in lines[start:] if line["event"] == kind and line["step"] == of]


def whole(out: Path, function: Any, halo: int, layer: str, **parameters: Any) -> np.ndarray:
    """The function over the whole extent at once; nodata outside the area."""
    plan = RunPlan.read(RunFolder.at(out))
    around = plan.extent.pad(halo)
    values = np.full(around.shape, 255, np.uint8)
    values[halo : values.shape[0] - halo, halo : values.shape[1] - halo] = np.where(
        area_mask(plan.setup.shape, plan.grid, plan.extent), classes(plan.extent, 2023), 255
    )
    array = xr.DataArray(values, dims=("y", "x"), attrs={"nodata": 255})
    found = function({"map": array.to_dataset(name="classification")}, **parameters)[layer].values
    if found.shape == around.shape:
        found = found[halo : found.shape[0] - halo, halo : found.shape[1] - halo]
    inside = area_mask(plan.setup.shape, plan.grid, plan.extent)
    return np.where(
        inside, found, np.array(255 if found.dtype == np.uint8 else np.nan, found.dtype)
    )


MAJORITY = step("majority", halo=2, layers=[{"name": "majority", "overview": "mode"}])
DISTANCE = step(
    "distance",
    halo=12,
    layers=[{"name": "distance", "dtype": "float32", "long_name": "distance", "units": "px"}],
    parameters={"most": 12},
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "tile"),
    [
        pytest.param("here", 64, marks=pytest.mark.extended),
        ("here", 160),
        ("on two workers", 100),
        pytest.param("here", 100, marks=pytest.mark.extended),
        pytest.param("on two workers", 64, marks=pytest.mark.extended),
        pytest.param("on two workers", 160, marks=pytest.mark.extended),
    ],
)
def test_tiles_give_what_the_whole_map_gives(
    tile: int, where: str, workers: Any, tmp_path: Path
) -> None:
    recipe = index_recipe(tmp_path, tile=tile, steps={"f": MAJORITY, "far": DISTANCE})
    out = tmp_path / "run"
    run = rs.run(recipe, out, workers if where != "here" else None, **OPTIONS)
    found, far = run.open("f"), run.open("far")
    np.testing.assert_array_equal(
        found["majority"].values[0], whole(out, tile_functions.majority, 2, "majority")
    )
    np.testing.assert_array_equal(
        far["distance"].values[0], whole(out, tile_functions.distance, 12, "distance", most=12)
    )
    assert len(np.unique(far["distance"].values)) > 20
    assert np.nanmax(far["distance"].values) == 12
    assert far["distance"].attrs["long_name"] == "distance"
    assert far["distance"].attrs["units"] == "px"
    if where != "here":
        assert len({one["worker"] for one in events(out)}) == 2
    assert verify(out).sound == run.state["tiles"]["total"]


@pytest.mark.extended
def test_all_periods_at_once_and_layers_with_an_axis(tmp_path: Path) -> None:
    layers = [
        {"name": "ones", "overview": "mean"},
        {"name": "each", "axis": {"name": "value", "values": [1, 2, 3]}},
    ]
    recipe = index_recipe(
        tmp_path,
        periods=[2022, 2023, 2024],
        steps={"f": step("years", at="all", layers=layers)},
    )
    found = rs.run(recipe, tmp_path / "run", **OPTIONS).open("f")
    plan = RunPlan.read(RunFolder.at(tmp_path / "run"))
    every = np.stack([classes(plan.extent, year) for year in (2022, 2023, 2024)])
    inside = area_mask(plan.setup.shape, plan.grid, plan.extent)
    assert dict(found.sizes) == {"time": 1, "value": 3, "y": inside.shape[0], "x": inside.shape[1]}
    for value in (1, 2, 3):
        expected = np.where(inside, (every == value).sum(axis=0), 255)
        np.testing.assert_array_equal(found["each"].sel(value=value).values[0], expected)
    np.testing.assert_array_equal(found["ones"].values, found["each"].sel(value=1).values)


@pytest.mark.extended
def test_it_reads_another_run_and_one_period(tmp_path: Path) -> None:
    rs.run(index_recipe(tmp_path, tile=128, periods=[2022, 2023]), tmp_path / "one", **OPTIONS)
    other = {"run": str(tmp_path / "one"), "step": "map"}
    steps = {
        "f": step("differs", of={"a": "map", "b": other}, layers=[{"name": "differs"}], at=2023),
    }
    recipe = index_recipe(tmp_path, periods=[2022, 2023], steps=steps)
    found = rs.run(recipe, tmp_path / "two", **OPTIONS).open("f")["differs"]
    assert list(found.time.dt.year.values) == [2023]
    assert set(np.unique(found.values)) == {0, 255}


@pytest.mark.extended
def test_it_reads_composites_in_memory(landscape: Landscape, tmp_path: Path) -> None:
    layers = [{"name": "brightness", "dtype": "float32"}, {"name": "observations"}]
    recipe = landscape.recipe(
        model=None, steps={"f": step("brightness", of="s2", halo=3, layers=layers)}
    )
    run = rs.run(recipe, tmp_path / "run", **OPTIONS)
    found = run.open("f").isel(time=0).load()
    seen = found["brightness"].notnull()
    assert 0.1 < float(seen.mean()) < 1
    assert 0 < float(found["brightness"].max()) < 2
    assert {"read", "prepare", "compute", "write"} == set(run.state["stages"])
    box = found["brightness"].odc.geobox[760:800, 800:860]
    part = rs.preview(recipe, box.extent.to_crs("EPSG:4326"), step="f", **OPTIONS).isel(time=0)
    there = found.sel(y=part.y, x=part.x)
    assert bool(part["brightness"].notnull().any())
    for name in ("brightness", "observations"):
        np.testing.assert_array_equal(part[name].values, there[name].values)


def test_a_plan_of_a_recipe_without_inputs(tmp_path: Path) -> None:
    planned = rs.plan(index_recipe(tmp_path, steps={"f": MAJORITY}), threads=1, device="cpu")
    assert [one.name for one in planned.steps] == ["map", "f"]
    assert planned.steps[1].overhead == pytest.approx((68 / 64) ** 2)
    assert "items     none" in repr(planned)
    with pytest.raises(RecipeError, match=r"of step 'map' needs about .*GiB"):
        rs.plan(index_recipe(tmp_path, steps={"f": MAJORITY}), memory=2**20)
    with pytest.raises(RecipeError, match="needs 'inputs': the imagery"):
        rs.plan(index_recipe(tmp_path, model="model", steps={}) | {"steps": {}})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("wrong_type", r"'wrong_type' returned layer 'classification' as float64 \(y 164, x 164\)"),
        ("wrong_type", r"on tile f/2023/x\S+; declared is uint8 \(y 160, x 160\), or \(y 164, x"),
        ("wrong_shape", r"as uint8 \(y 163, x 164\).*declared is uint8 \(y 160, x 160\)"),
        ("wrong_layer", r"returned the layers clasification on.*declared are classification"),
        ("no_dataset", r"returned DataArray on tile .*; expected an xarray\.Dataset"),
        ("raises", r"function 'raises' raised ZeroDivisionError on tile \S+: of 1 inputs"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "where", ["here", pytest.param("on two workers", marks=pytest.mark.extended)]
)
def test_a_function_that_breaks_its_promise_fails_its_tile_by_name(
    function: str, said: str, where: str, workers: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("rsscale.cluster.engine.Patience.pause", lambda *_: 0.0)
    steps = {"f": step(function, halo=2), "g": step("same")}
    recipe = index_recipe(tmp_path, tile=160, steps=steps)
    out = tmp_path / "run"
    with pytest.raises(TilesFailedError, match=said):
        rs.run(recipe, out, workers if where != "here" else None, **OPTIONS)
    failed = events(out, "tile-failed")
    assert len(failed) == len(events(out, of="g")) == len(events(out, of="map")) > 3
    # A broken promise is not tried again; what a function raises is.
    assert min(one["attempts"] for one in failed) == (3 if function == "raises" else 1)
    assert all("\n" not in one["error"] for one in failed)


def test_a_resume_computes_the_tile_that_failed_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rsscale.cluster.engine.Patience.pause", lambda *_: 0.0)
    mark = tmp_path / "mark"
    mark.touch()
    given = {"mark": str(mark), "x": 731_005.0}
    recipe = index_recipe(
        tmp_path, tile=320, steps={"f": step("fails_while_there", parameters=given)}
    )
    with pytest.raises(TilesFailedError, match=r"raised KeyError on tile f/2023/x\S+: 'no such"):
        rs.run(recipe, tmp_path / "run", **OPTIONS)
    failed = {one["tile"] for one in events(tmp_path / "run", "tile-failed")}
    done = {one["tile"] for one in events(tmp_path / "run")}
    assert failed
    assert done
    mark.unlink()
    rs.resume(tmp_path / "run")
    assert {one["tile"] for one in events(tmp_path / "run")} == failed
    assert events(tmp_path / "run", of="map") == []


def test_modules_that_are_not_allowed_are_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = index_recipe(tmp_path, steps={"f": step("same")})
    rs.run(recipe, tmp_path / "run", **OPTIONS)
    monkeypatch.setenv("RSSCALE_FUNCTIONS", "tile")
    with pytest.raises(RecipeError, match=r"steps\.f.*set RSSCALE_FUNCTIONS=tile,tile_functions"):
        rs.run(recipe, tmp_path / "other", **OPTIONS)
    assert not (tmp_path / "other").exists()
    with pytest.raises(RecipeError, match="RSSCALE_FUNCTIONS"):
        rs.resume(tmp_path / "run")
    total = rs.Run(tmp_path / "run").state["tiles"]["total"]
    assert verify(tmp_path / "run").sound == total


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"of": None}, "steps.f: needs 'of'"),
        ({"halo": 65}, "halo of 65 px is larger than a tile"),
        ({"halo": -1}, "halo: input should be greater"),
        ({"function": "tile_functions.same"}, "function: is .*expected module:function"),
        ({"function": "tile_functions:sme"}, "tile_functions:sme can't be imported"),
        ({"function": "tile_functions:np"}, "tile_functions:np is module; expected a function"),
        ({"parameters": {"size": 3}}, r"can't be called .*parameters \['size'\]: .*'size'"),
        ({"layers": []}, "layers: input should be a list of at least 1, found"),
        ({"layers": [{"name": "a", "dtype": "float64"}]}, "'float64'.*did you mean 'float32'"),
        ({"layers": [{"name": "a", "nodata": 256}]}, "nodata 256"),
        ({"layers": [{"name": "a", "colour": 1}]}, "layers.0.colour: unknown key"),
        ({"at": 2021}, "'map' is not of 2021, it is of 2023"),
        ({"of": "s2", "at": "all"}, "'s2' is an input"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    inputs = {"s2": {"catalog": "nowhere", "bands": ["red"]}}
    recipe = index_recipe(tmp_path, steps={"f": step("same", **changes)}, inputs=inputs)
    with pytest.raises(RecipeError, match=said):
        rs.run(recipe, tmp_path / "run", **OPTIONS)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"halo": 3},
        {"function": "tile_functions:process", "layers": [{"name": "process", "dtype": "int16"}]},
        {"layers": [{"name": "classification", "nodata": 0}]},
        {"parameters": {"size": 3}, "function": "tile_functions:majority"},
    ],
)
def test_the_fingerprint_knows_all_that_decides_values(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    class Nothing:
        def digest(self, *_: object) -> str:
            return ""

    found = set()
    for one in ({}, changes):
        recipe = read_recipe(index_recipe(tmp_path, steps={"f": step("same", **one)}))
        setup, _ = open_recipe(recipe, RunFolder.at(tmp_path / "run"))
        opened: Any = setup.steps["f"]
        opened.sources = {"map": Nothing()}
        tile = next(setup.grid.tiles(setup.area))
        key = TileKey("f", "2023", tile.ix, tile.iy)
        found.add(fingerprint(opened, key, setup.grid, setup.shape))
    assert len(found) == 2
