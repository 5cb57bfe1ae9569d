"""Polygons of a run: those of the whole map, each once, however it was cut or stopped."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import yaml
from formula_pass import CLASSES, SMALL, allowed, formula_recipe
from rasterio import features

import rsscale as rs
from rsscale.errors import RecipeError

EXACT = {"kind": "polygons", "of": "map"}
SIMPLE = EXACT | {
    "simplify": 15,
    "connectivity": 8,
    "minimum": 0.05,
    "classes": ["water", "built", "open forest"],
    "holes": {"below": 0.5},
}
FIELDS = EXACT | {
    "instances": {"interior": "crops", "boundary": "built", "grow": 3},
    "simplify": 12,
}
STEPS = {"exact": EXACT, "simple": SIMPLE, "fields": FIELDS}


@pytest.fixture(scope="module", autouse=True)
def formula_allowed() -> Iterator[None]:
    with allowed():
        yield


def recipe_of(folder: Path, tile: int = 384, steps: Any = STEPS, **changes: Any) -> dict[str, Any]:
    options = {"layers": ["classification"]}
    return formula_recipe(folder, tile=tile, shape=SMALL, options=options, steps=steps, **changes)


def traced(folder: Path, tile: int = 384, client: Any = None, **changes: Any) -> rs.Run:
    recipe = recipe_of(folder, tile, **changes)
    return rs.run(recipe, folder / f"run-{tile}", client, threads=1, device="cpu")


def rows(run: rs.Run, step: str) -> pd.DataFrame:
    return run.table(step).to_pandas().sort_values("id", ignore_index=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> rs.Run:
    return traced(tmp_path_factory.mktemp("polygons"))


@pytest.mark.slow
@pytest.mark.extended
def test_ten_thousand_are_those_of_rasterio_over_the_whole_map(run: rs.Run) -> None:
    layer = run.open()["classification"][0].load()
    values = layer.to_numpy()
    found = features.shapes(
        values, mask=values != 255, connectivity=4, transform=layer.odc.geobox.affine
    )
    shapes, classes = zip(*found, strict=True)
    wanted = np.array([shapely.geometry.shape(shape) for shape in shapes], object)
    assert len(wanted) > 10_000
    table = rows(run, "exact")
    own = shapely.from_wkb(table["geometry"].to_numpy())
    plain = [
        sorted(zip(shapely.to_wkb(shapely.normalize(shapely.simplify(g, 0))), c, strict=True))
        for g, c in ((wanted, map(int, classes)), (own, table["class"]))
    ]
    assert plain[0] == plain[1]
    assert shapely.area(own).sum() == 100 * (values != 255).sum()


@pytest.mark.slow
@pytest.mark.extended
def test_columns_say_what_a_polygon_is(run: rs.Run) -> None:
    table = run.table("exact")
    assert table.schema.metadata[b"geo"]
    frame = rows(run, "exact")
    assert frame["id"].is_unique
    names = {one.value: one.name for one in CLASSES}
    assert (frame["name"] == frame["class"].map(names)).all()
    assert set(frame["span"]) == {"2023"}
    assert frame["score"].isna().all()
    assert set(frame["step"]) == {"exact"}
    assert set(frame["run"]) == {"formula"}
    assert 0 < frame["cut"].sum() < len(frame)
    facts = run.state["steps"]["exact"]["facts"]
    assert facts["polygons"] == len(frame)
    assert facts["square_metres"] == pytest.approx(frame["area_m2"].sum())
    assert 10 < facts["across"] < 1000
    assert f"{len(frame):,} polygons" in run.summary()


@pytest.mark.slow
@pytest.mark.extended
def test_a_polygon_lies_with_the_tile_of_its_first_pixel(run: rs.Run) -> None:
    several = 0
    for path in (run.path / "tables/exact/2023").glob("*.parquet"):
        frame = gpd.read_parquet(path)
        ix, iy = (int(part[1:]) for part in path.stem.split("_"))
        for name in frame["id"]:
            row, col = (int(n) for n in name[1:].split("_"))
            assert (col // 384, -(row // 384) - 1) == (ix, iy)
        several += int((frame.geometry.bounds["maxx"] > (ix + 1) * 3840).sum())
    assert several > 10


@pytest.mark.slow
@pytest.mark.extended
def test_they_are_those_in_memory(run: rs.Run) -> None:
    layer = run.open()["classification"][0].load()
    for step, given in (("simple", SIMPLE), ("fields", FIELDS)):
        options = {key: value for key, value in given.items() if key not in {"kind", "of"}}
        wanted = rs.polygonize(layer, **options).sort_values("id", ignore_index=True)
        found = rows(run, step)
        assert len(found) > 300
        for column in ("id", "class", "name", "x", "y", "area_m2", "parts", "cut"):
            np.testing.assert_array_equal(found[column], wanted[column], column)
        assert [*found["geometry"]] == [*shapely.to_wkb(
            shapely.orient_polygons(wanted.geometry.to_numpy(), exterior_cw=False)
        )]  # fmt: skip


@pytest.mark.slow
@pytest.mark.extended
def test_rows_of_the_gather_grow_with_the_edges_of_tiles(run: rs.Run) -> None:
    """And no step that all tiles' rows are read of has a geometry."""
    assert run.table("exact-contacts").column_names == ["place", "contact", "hash"]
    assert run.table("exact-joined").num_rows < 0.03 * run.table("exact-parts").num_rows


def assert_equal(first: rs.Run, second: rs.Run) -> None:
    for step in STEPS:
        pd.testing.assert_frame_equal(rows(first, step), rows(second, step))


@pytest.mark.extended
def test_another_tile_size_gives_the_same(tmp_path: Path, run: rs.Run) -> None:
    assert_equal(traced(tmp_path, 256), run)


@pytest.mark.extended
def test_every_tile_size_and_worker_count_gives_the_same(
    tmp_path: Path, run: rs.Run, two_workers: str
) -> None:
    for tile, client in ((300, two_workers), (512, two_workers), (1024, None)):
        assert_equal(traced(tmp_path, tile, client), run)


@pytest.mark.long
@pytest.mark.parametrize("step", ["exact-parts", "exact-joined", "exact"])
def test_a_killed_run_goes_on_to_the_same_polygons(tmp_path: Path, run: rs.Run, step: str) -> None:
    """Killed as a tile of a step is to be entered; the first time, so that resume goes on."""
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe_of(tmp_path)))
    out = tmp_path / "run"
    program = (
        "import os, signal, sys; from rsscale.store import ledger; write = ledger.Ledger.commit; "
        f"die = lambda *a: os.kill(os.getpid(), signal.SIGKILL) if a[1].key.step == {step!r} "
        "else write(*a); ledger.Ledger.commit = die; "
        "from rsscale.cli import main; sys.argv = sys.argv[1:]; main()"
    )
    command = [sys.executable, "-c", program, "rsscale", "--quiet", "run",
               str(tmp_path / "recipe.yaml"), "--out", str(out), "--device", "cpu",
               "--threads", "1"]  # fmt: skip
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "RSSCALE_PASSES": "formula_pass"}
    killed = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert list(out.glob("ledger/map/2023/*.json"))
    assert not (out / "ledger/exact").exists()
    assert_equal(rs.resume(out), run)


@pytest.mark.extended
def test_years_are_apart(tmp_path: Path) -> None:
    steps = {"exact": EXACT | {"minimum": 1.0}}
    traced(tmp_path, steps=steps, periods=[2023])
    run = traced(tmp_path, steps=steps, periods=[2023, 2024])
    # The gather has changed, and none of its rows of the first year.
    lines = (tmp_path / "run-384/events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    later = [one for one in events if one["event"] == "tile" and one["epoch"] == 2]
    assert {one["span"] for one in later if one["step"] == "exact"} == {"2024"}
    frame = rows(run, "exact")
    by_year = frame.groupby("span").size()
    assert set(by_year.index) == {"2023", "2024"}
    layer = run.open()["classification"].load()
    for number, span in enumerate(("2023", "2024")):
        wanted = rs.polygonize(layer[number], minimum=1.0).sort_values("id")
        assert frame.loc[frame["span"] == span, "id"].tolist() == wanted["id"].tolist()


@pytest.mark.extended
def test_a_change_beyond_a_tile_changes_the_polygon_of_its_owner(tmp_path: Path) -> None:
    """A step with other pixels, updated: all its polygons are those of a new run."""
    first = {"sieved": {"kind": "minimum-mapping-unit", "of": "map", "hectares": 0.1},
             "exact": EXACT | {"of": "sieved"}}  # fmt: skip
    second = first | {"sieved": first["sieved"] | {"hectares": 0.3}}
    traced(tmp_path / "a", steps=first)
    recipe = recipe_of(tmp_path / "a", steps=second)
    updated = rs.run(recipe, tmp_path / "a/run-384", threads=1, device="cpu", update=True)
    new = traced(tmp_path / "b", steps=second)
    pd.testing.assert_frame_equal(rows(updated, "exact"), rows(new, "exact"))


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"of": None}, "steps.exact: needs 'of': the one step whose classes become polygons"),
        ({"layer": "classes"}, "the step to polygonize has no layer 'classes'; it has classific"),
        ({"layer": "temperature"}, "holds no classes, but quantities"),
        ({"classes": ["watr"]}, "classes names 'watr'.*did you mean 'water'"),
        ({"classes": []}, "classes: a list of at least 1|classes"),
        ({"minimum": -1}, "minimum: input should be greater than or equal to 0"),
        ({"minimum": float("nan")}, "minimum: input should be a finite number"),
        ({"simplify": -2}, "simplify: input should be greater than or equal to 0"),
        ({"holes": "drop"}, "holes"),
        ({"holes": {"below": 0}}, "holes"),
        ({"connectivity": 6}, "connectivity"),
        ({"cell": 8}, "cell is 8 px; expected 32 to 4096, usually 256"),
        ({"cell": 512}, "tiles of 384 px read 385 px around them, to whole cells of 512 px"),
        ({"instances": {"interior": "crops", "boundary": "crops"}}, "are both 'crops'"),
        ({"instances": {"interior": "crop", "boundary": "built"}}, "interior is 'crop'"),
        ({"instances": {"interior": "crops", "boundary": "built", "grow": 65}}, "grow is 65 px"),
        (
            {"classes": ["water"], "instances": {"interior": "crops", "boundary": "built"}},
            "has both 'classes' and 'instances'",
        ),
    ],
)
def test_what_can_not_be_is_refused(tmp_path: Path, step: dict, message: str) -> None:
    given = {key: value for key, value in (EXACT | step).items() if value is not None}
    recipe = recipe_of(tmp_path, steps={"exact": given})
    recipe["steps"]["map"]["layers"] = ["classification", "temperature"]
    with pytest.raises(RecipeError, match=message):
        rs.plan(recipe)
