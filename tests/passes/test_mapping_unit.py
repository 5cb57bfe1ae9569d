"""A minimum mapping unit as a pass: the sieve of the whole map, however it was cut or stopped."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import yaml
from formula_pass import CLASSES, allowed, formula_recipe

import rsscale as rs
from rsscale.errors import RecipeError, RsscaleError
from rsscale.geo.lattice import PixelBox
from rsscale.geo.pixel_area import pixel_areas
from rsscale.patches.elimination import LeastUnits
from rsscale.patches.parts import decide_part, decide_rest

YEARS = [2023, 2024]
STEP = {"kind": "minimum-mapping-unit", "of": "map", "hectares": 0.2}
LAYERS = ["classification", "confidence"]
CHANGE = {"kind": "post-classification", "of": "map", "from": 2023, "to": 2024}
STABLE = {"kind": "minimum-mapping-unit", "of": "change", "layer": "change", "hectares": 0.5}


def recipe_of(folder: Path, tile: int = 384, **step: Any) -> dict[str, Any]:
    steps = {"sieved": STEP | step, "change": CHANGE, "stable": STABLE}
    return formula_recipe(folder, tile=tile, periods=YEARS, options={"layers": LAYERS}, steps=steps)


def mapped(folder: Path, tile: int = 384, client: Any = None, **step: Any) -> rs.Run:
    with allowed():
        recipe = recipe_of(folder, tile, **step)
        return rs.run(recipe, folder / f"run-{tile}", client, threads=1, device="cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> rs.Run:
    return mapped(tmp_path_factory.mktemp("sieve"))


def over_the_area(ds: xr.Dataset) -> xr.Dataset:
    return ds.sel(x=slice(729_005, 742_001), y=slice(4_989_003, 4_980_000)).load()


def whole(classes: xr.DataArray, hectares: dict[int, float], connectivity: int = 4) -> np.ndarray:
    """The sieve of one year's map as one image, with areas in square metres."""
    grid = rs.Grid("EPSG:32631", resolution=10)
    row, col = round(-float(classes.y[0]) / 10 - 0.5), round(float(classes.x[0]) / 10 - 0.5)
    box = PixelBox(row, col, row + classes.sizes["y"], col + classes.sizes["x"])
    units = np.rint(pixel_areas(grid, box) * 1e5).astype(np.int64)
    values, least = classes.values, LeastUnits({k: round(v * 1e9) for k, v in hectares.items()})
    part = decide_part(values, values != 255, units, box, least=least, connectivity=connectivity)
    rest = decide_rest([part.rows()], least=least, connectivity=connectivity)
    return np.append(part.classes(*rest), 255)[part.pieces.of_pixel]


@pytest.mark.extended
def test_it_is_the_sieve_of_the_whole_map(run: rs.Run) -> None:
    before, after = run.open()["classification"].load(), run.open("sieved")["classification"].load()
    for number in range(2):
        wanted = whole(before[number], dict.fromkeys((1, 2, 4, 9), 0.2))
        np.testing.assert_array_equal(after[number].values, wanted)
        assert (before[number].values != wanted).sum() > 1000
    assert after.dtype == np.uint8
    assert after.attrs["flag_meanings"] == before.attrs["flag_meanings"]
    facts = run.state["steps"]["sieved"]["facts"]
    assert facts["sieved"] == int((before.values != after.values).sum())
    assert "of the pixels were in pieces below the mapping unit" in run.summary()


@pytest.mark.extended
def test_rows_of_tiles_grow_with_their_edges(run: rs.Run) -> None:
    pieces = run.table("sieved-pieces").to_pandas()
    assert set(run.table("sieved-decided").column_names) == {"span", "x", "y", "place", "class"}
    assert len(pieces) < 0.02 * run.open()["classification"].size


def test_classes_have_units_of_their_own_and_others_are_kept(tmp_path: Path) -> None:
    step = STEP | {"hectares": {"water": 0.3, "built": 0.05}, "connectivity": 8}
    recipe = formula_recipe(
        tmp_path, options={"layers": ["classification"]}, steps={"sieved": step}
    )
    with allowed():
        run = rs.run(recipe, tmp_path / "run", threads=1, device="cpu")
    before, after = run.open()["classification"].load(), run.open("sieved")["classification"].load()
    wanted = whole(before[0], {1: 0.3, 9: 0.05}, 8)
    np.testing.assert_array_equal(after[0].values, wanted)
    kept = np.isin(before[0].values, (2, 4))
    assert (after[0].values[kept] == before[0].values[kept]).all()


@pytest.mark.extended
def test_small_changes_are_dropped_and_their_layers_agree(run: rs.Run) -> None:
    before, after = run.open("change").load(), run.open("stable").load()
    assert set(after.data_vars) == {"change", "from", "to"}
    change = after["change"][0].values
    np.testing.assert_array_equal(change, whole(before["change"][0], {1: 0.5}))
    dropped = (before["change"][0].values == 1) & (change == 0)
    assert dropped.sum() > 1000
    assert ((before["change"][0].values == change) | dropped).all()
    np.testing.assert_array_equal(after["from"].values, before["from"].values)
    old, new = after["from"][0].values, after["to"][0].values
    np.testing.assert_array_equal(new[~dropped], before["to"][0].values[~dropped])
    known = change != 255
    assert ((old != new)[known] == (change == 1)[known]).all()


@pytest.mark.extended
def test_every_tile_size_and_worker_count_gives_the_same(
    tmp_path: Path, run: rs.Run, two_workers: str
) -> None:
    wanted = {step: over_the_area(run.open(step)) for step in ("sieved", "stable")}
    for tile, client in ((512, two_workers), (1024, two_workers)):
        other = mapped(tmp_path, tile, client)
        for step, first in wanted.items():
            second = over_the_area(other.open(step))
            for name in first.data_vars:
                np.testing.assert_array_equal(first[name].values, second[name].values)


@pytest.mark.extended
def test_a_further_year_computes_no_tile_of_the_others(tmp_path: Path, run: rs.Run) -> None:
    """The gather has changed then, and none of its rows of the first year."""
    recipe = formula_recipe(
        tmp_path, tile=384, periods=YEARS[:1], options={"layers": LAYERS}, steps={"sieved": STEP}
    )
    with allowed():
        rs.run(recipe, tmp_path / "run", threads=1, device="cpu")
        grown = rs.run(recipe | {"periods": YEARS}, tmp_path / "run", threads=1, device="cpu")
    later = [event for event in grown.events() if event["event"] == "tile" and event["epoch"] == 2]
    assert {event["span"] for event in later if event["step"] == "sieved"} == {"2024"}
    xr.testing.assert_equal(grown.open("sieved").load(), run.open("sieved").load())


@pytest.mark.long
def test_a_killed_run_goes_on_to_the_same_map(tmp_path: Path, run: rs.Run) -> None:
    """Killed between the steps: all pieces are there, what they decide together is not entered."""
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe_of(tmp_path)))
    out = tmp_path / "run"
    command = [sys.executable, "-m", "rsscale", "--quiet", "run", str(tmp_path / "recipe.yaml"),
               "--out", str(out), "--device", "cpu", "--threads", "1"]  # fmt: skip
    # The gather is the tile x0_y0, where the area has none.
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "RSSCALE_PASSES": "formula_pass",
        "RSSCALE_FAILPOINTS": "after-shards@x0_y0=kill",
    }
    killed = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(list(out.glob("ledger/sieved-pieces/2024/*.json"))) > 3
    assert not (out / "ledger/sieved").exists()
    with allowed():
        done = rs.resume(out)
    for step in ("sieved", "stable"):
        first, second = run.open(step).load(), done.open(step).load()
        for layer in first.data_vars:
            np.testing.assert_array_equal(first[layer].values, second[layer].values)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"hectares": 0}, "hectares: is 0; expected an area above 0, such as 0.5"),
        ({"hectares": -1}, "hectares: is -1"),
        ({"hectares": {"water": float("nan")}}, "hectares.water: input should be a finite number"),
        ({"hectares": 1e6}, r"hectares is 1e\+06, and all tiles of the area have .* together"),
        ({"hectares": {"watr": 1}}, "names the class 'watr'.*did you mean 'water'"),
        ({"connectivity": 6}, "connectivity"),
        ({"layer": "confidenc"}, "the step to sieve has no layer 'confidenc'"),
        ({"of": None}, "needs 'of'"),
    ],
)
def test_what_can_not_be_is_refused(tmp_path: Path, step: dict, message: str) -> None:
    recipe = recipe_of(tmp_path, **step)
    recipe["steps"]["sieved"] = {
        k: v for k, v in recipe["steps"]["sieved"].items() if v is not None
    }
    with allowed(), pytest.raises(RecipeError, match=message):
        rs.plan(recipe)


def test_quantities_are_no_classes(tmp_path: Path) -> None:
    steps = {"sieved": STEP | {"layer": "temperature"}}
    recipe = formula_recipe(tmp_path, options={"layers": ["temperature"]}, steps=steps)
    with allowed(), pytest.raises(RecipeError, match="holds no classes, but quantities"):
        rs.plan(recipe)


def test_a_preview_says_what_it_lacks(tmp_path: Path) -> None:
    box = {"bbox": [5.97, 44.96, 5.98, 44.97], "device": "cpu"}
    with allowed():
        assert "classification" in rs.preview(recipe_of(tmp_path), step="map", **box)
        with pytest.raises(RsscaleError, match="a preview has a box alone; preview the step that"):
            rs.preview(recipe_of(tmp_path), step="sieved", **box)


@pytest.mark.parametrize(
    ("grid", "least"),
    [
        ({"crs": "EPSG:4326", "resolution": 0.001, "tile": 128}, 3.0),
        ({"crs": "EPSG:2154", "resolution": 100, "tile": 64}, 3.5),
        ({"crs": "EPSG:3857", "resolution": 100, "tile": 128}, 2.5),
    ],
    ids=["degrees", "lambert", "mercator"],
)
def test_hectares_are_those_on_the_ground(
    tmp_path: Path, grid: dict[str, Any], least: float
) -> None:
    """Pixels of some 0.9, 1.0 and 0.5 hectares; no piece below is left but islands in nodata."""
    steps = {"sieved": STEP | {"hectares": least}}
    recipe = formula_recipe(
        tmp_path, grid=grid, options={"layers": ["classification"]}, steps=steps
    )
    with allowed():
        done = rs.run(recipe, tmp_path / "run", threads=1, device="cpu")
    after = done.open("sieved")["classification"][0].load()
    own = rs.Grid(grid["crs"], resolution=grid["resolution"])
    step = grid["resolution"]
    row, col = round(-float(after.y[0]) / step - 0.5), round(float(after.x[0]) / step - 0.5)
    box = PixelBox(row, col, row + after.sizes["y"], col + after.sizes["x"])
    square_metres = np.broadcast_to(pixel_areas(own, box), after.shape)
    units = np.rint(square_metres * 100).astype(np.int64)
    values = after.values
    part = decide_part(values, values != 255, units, box, least=LeastUnits({}, 1), connectivity=4)
    pieces = part.pieces
    has_neighbour = np.zeros(len(pieces.units), bool)
    has_neighbour[pieces.borders.first] = has_neighbour[pieces.borders.second] = True
    assert has_neighbour.sum() > 10
    assert (pieces.units[has_neighbour] >= least * 1e6 - 100).all()
    smallest = pieces.units[has_neighbour].min() / 1e6
    assert smallest < least + 1


@pytest.mark.extended
def test_names_of_classes_are_kept(run: rs.Run) -> None:
    names = run.open("sieved")["classification"].attrs["flag_meanings"].split()
    assert names == [one.name.replace(" ", "_") for one in CLASSES]
