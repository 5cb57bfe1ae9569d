"""A run that grows: periods, area and steps are added, and what is there stays as it is."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fault_archive
import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr
import yaml
from formula_pass import AREA, allowed, formula_recipe

import rsscale as rs
from rsscale.errors import RunFolderError
from rsscale.runs.verification import verify
from rsscale.store.run_folder import RunFolder
from rsscale.store.storage import Folder

SETTINGS: dict[str, Any] = {"threads": 1, "device": "cpu"}
# In the south-east of the whole area: it grows north and west, where shards get other numbers.
PART = shapely.box(507_000, 4_589_400, 513_500, 4_594_000)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two years, and the area's south-east in a file of its own."""
    folder = tmp_path_factory.mktemp("growth") / "archive"
    fault_archive.make(folder)
    whole = gpd.read_file(folder / "area.gpkg").geometry.iloc[0]
    part = gpd.GeoDataFrame(geometry=[whole & PART], crs=fault_archive.CRS)
    part.to_file(folder / "part.gpkg")
    return folder


def recipe(archive: Path, **changes: Any) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((archive / "recipe.yaml").read_text())
    content["inputs"]["s2"]["catalog"] = str(archive / "catalog.json")
    content |= {"model": str(archive / "model"), "area": str(archive / "area.gpkg")}
    return {key: value for key, value in (content | changes).items() if value is not None}


def small(archive: Path, **changes: Any) -> dict[str, Any]:
    return recipe(archive, periods=[2023], area=str(archive / "part.gpkg"), **changes)


CHANGE = {"from": 2022, "to": 2023}


@pytest.fixture(scope="module")
def first(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("first") / "run"
    rs.run(small(archive), out, **SETTINGS)
    return out


@pytest.fixture
def copy(first: Path, tmp_path: Path) -> Path:
    shutil.copytree(first, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(scope="module")
def at_once(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> rs.Run:
    out = tmp_path_factory.mktemp("at-once") / "run"
    return rs.run(recipe(archive, change=CHANGE), out, **SETTINGS)


MAP = {"layers": ["classification", "confidence"]}


@pytest.fixture(scope="module")
def formula(archive: Path) -> Iterator[dict[str, dict[str, Any]]]:
    """Recipes of a map without imagery: its south-east in one year, and all of it in two."""
    folder = archive.parent / "formula"
    left, bottom, right, top = shapely.Polygon(AREA).bounds
    part = shapely.box((left + right) / 2, bottom, right, (bottom + top) / 2)
    whole = formula_recipe(folder, tile=128, periods=[2022, 2023], options=MAP)
    frame = gpd.GeoDataFrame(geometry=[shapely.Polygon(AREA) & part], crs="EPSG:32631")
    frame.to_file(folder / "part.gpkg")
    with allowed():
        yield {
            "part": whole | {"periods": [2023], "area": str(folder / "part.gpkg")},
            "whole": whole,
        }


@pytest.fixture(scope="module")
def formula_at_once(formula: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> rs.Run:
    return rs.run(formula["whole"], tmp_path_factory.mktemp("formula") / "run", **SETTINGS)


def computed(out: Path) -> list[str]:
    """Keys of the tiles that the last command computed."""
    lines = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    start = max(n for n, line in enumerate(lines) if line["event"] == "started")
    told = [line for line in lines[start:] if line["event"] == "tile"]
    return [f"{line['step']}/{line['span']}/{line['tile']}" for line in told]


def contents(out: Path) -> set[str]:
    """Digests of all shards; those of coordinates are not among them."""
    layers = ("classification", "confidence", "observations", "change", "from", "to")
    folders = [folder for name in layers for folder in out.glob(f"*.zarr/{name}/c")]
    shards = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in shards}


def same(one: xr.Dataset, other: xr.Dataset) -> None:
    assert set(one.data_vars) == set(other.data_vars)
    for name in one.data_vars:
        np.testing.assert_array_equal(one[name].values, other[name].values, err_msg=str(name))
    np.testing.assert_array_equal(one.time, other.time)
    np.testing.assert_array_equal(one.x, other.x)
    np.testing.assert_array_equal(one.y, other.y)


@pytest.mark.slow
@pytest.mark.extended
def test_a_run_grows_by_a_period_then_area_then_a_step(
    archive: Path, copy: Path, at_once: rs.Run
) -> None:
    before, entries = contents(copy), {p.stem for p in (copy / "ledger/map/2023").iterdir()}
    period = small(archive) | {"periods": [2022, 2023]}
    rs.run(period, copy, **SETTINGS)
    assert sorted(computed(copy)) == sorted(f"map/2022/{tile}" for tile in entries)
    assert before <= contents(copy)

    before = contents(copy)
    run = rs.run(recipe(archive), copy, **SETTINGS)
    done = computed(copy)
    new = {p.stem for p in (copy / "ledger/map/2023").iterdir()} - entries
    cut = {key.rpartition("/")[2] for key in done} - new
    assert new
    assert {f"map/{year}/{tile}" for tile in new for year in (2022, 2023)} <= set(done)
    # Of the old ones, just those that the first area cut.
    assert len(done) == 2 * (len(new) + len(cut))
    whole = entries - cut
    assert whole
    assert {d for d in before if d in contents(copy)} >= shards_of(run, whole)

    before = contents(copy)
    run = rs.run(recipe(archive, change=CHANGE), copy, **SETTINGS)
    assert {key.split("/")[0] for key in computed(copy)} == {"change"}
    assert before <= contents(copy)
    same(run.open().load(), at_once.open().load())
    same(run.open_change().load(), at_once.open_change().load())
    assert verify(copy).damaged == ()
    assert verify(copy).sound == run.state["tiles"]["total"]


def shards_of(run: rs.Run, tiles: set[str]) -> set[str]:
    folder = run.folder.storage.path / "ledger/map"
    entries = [json.loads((folder / y / f"{t}.json").read_text())
               for t in tiles for y in ("2022", "2023")]  # fmt: skip
    return {digest for entry in entries for digest in entry["digests"].values()}


def test_the_same_recipe_again_computes_nothing(archive: Path, copy: Path) -> None:
    rs.run(small(archive), copy, **SETTINGS)
    assert computed(copy) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "phase",
    [2, *(pytest.param(phase, marks=pytest.mark.extended) for phase in (1, 3))],
)
@pytest.mark.extended
def test_growth_that_was_cut_short_is_finished_by_the_same_command(
    formula: dict[str, Any],
    formula_at_once: rs.Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    phase: int,
) -> None:
    """A death between any two moves of shards loses none."""
    write, out = RunFolder.write_state, tmp_path / "run"
    rs.run(formula["part"], out, **SETTINGS)
    before = contents(out)

    def dying(folder: RunFolder, state: dict[str, Any]) -> None:
        write(folder, state)
        if state.get("moving", {}).get("phase", 0) == phase:
            raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "write_state", dying)
    with pytest.raises(KeyboardInterrupt):
        rs.run(formula["whole"], out, **SETTINGS)
    monkeypatch.undo()
    with pytest.raises(RunFolderError, match="was cut short"):
        rs.resume(out)
    with allowed():
        run = rs.run(formula["whole"], out, **SETTINGS)
    same(run.open().load(), formula_at_once.open().load())
    assert before & contents(out)


@pytest.mark.extended
def test_a_death_among_moves_loses_no_shard(
    formula: dict[str, Any],
    formula_at_once: rs.Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    move, count, out = Folder.move, [0], tmp_path / "run"
    rs.run(formula["part"], out, **SETTINGS)

    def dying(self: Folder, name: str, target: str) -> bool:
        count[0] += 1
        if count[0] in (7, 31):
            raise KeyboardInterrupt
        return move(self, name, target)

    monkeypatch.setattr(Folder, "move", dying)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            rs.run(formula["whole"], out, **SETTINGS)
    run = rs.run(formula["whole"], out, **SETTINGS)
    assert count[0] > 31
    same(run.open().load(), formula_at_once.open().load())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("removed", "named"),
    [
        ({"periods": [2022]}, "periods.2023.*put that back"),
        ({"area": "part.gpkg"}, "area;.*choose another --out.*area.geojson"),
        ({"change": None}, "steps.change.*put that back"),
    ],
)
def test_removing_is_refused_with_what_to_do(
    archive: Path, at_once: rs.Run, removed: dict[str, Any], named: str
) -> None:
    content = recipe(archive, change=CHANGE) | removed
    if "area" in removed:
        content["area"] = str(archive / "part.gpkg")
    if removed.get("periods") or "change" in removed:
        content.pop("change", None)
    before = (at_once.folder.storage.path / "run.json").read_bytes()
    with pytest.raises(RunFolderError, match=rf"has more than the recipe: .*{named}"):
        rs.run(content, at_once.path, **SETTINGS)
    assert (at_once.folder.storage.path / "run.json").read_bytes() == before


@pytest.mark.extended
def test_another_version_of_an_algorithm_is_refused_and_an_update_redoes_its_step(
    archive: Path, at_once: rs.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rsscale.change_passes.comparison import ComparePass

    shutil.copytree(at_once.path, tmp_path / "run")
    monkeypatch.setattr(ComparePass, "version", "2")
    again = recipe(archive, change=CHANGE)
    for go_on in (lambda: rs.resume(tmp_path / "run"), lambda: rs.run(again, tmp_path / "run")):
        with pytest.raises(RunFolderError, match=r"'change'.*version 1.*version 2.*--update"):
            go_on()
    run = rs.run(again, tmp_path / "run", update=True, **SETTINGS)
    assert {key.split("/")[0] for key in computed(tmp_path / "run")} == {"change"}
    assert len(computed(tmp_path / "run")) == run.state["steps"]["change"]["tiles"]["total"]


def test_a_folder_of_another_format_is_refused(copy: Path) -> None:
    state = json.loads((copy / "run.json").read_text())
    del state["format"]
    (copy / "run.json").write_text(json.dumps(state))
    with pytest.raises(RunFolderError, match=r"format 0 .* reads 1; .*empty folder"):
        rs.resume(copy)


def test_what_only_reaches_the_items_is_no_other_recipe(
    archive: Path, copy: Path, tmp_path: Path
) -> None:
    shutil.copytree(archive, tmp_path / "mirror")
    mirrored = small(archive)
    mirrored["inputs"]["s2"] |= {
        "catalog": str(tmp_path / "mirror/catalog.json"),
        "loader": "odc-stac",
    }
    rs.run(mirrored, copy, **SETTINGS)
    assert computed(copy) == []


@pytest.mark.extended
def test_items_that_changed_meanwhile_are_not_seen_by_tiles_that_are_done(
    archive: Path, tmp_path: Path
) -> None:
    """Growing keeps what is there, whatever the catalogue says by then; --update asks it anew."""
    own = tmp_path / "archive"
    shutil.copytree(archive, own)
    out = tmp_path / "run"
    rs.run(small(own), out, **SETTINGS)
    done = {p.name: p.read_bytes() for p in (out / "ledger/map/2023").iterdir()}
    # A scene of 2023 now has another offset, and there is a new one of the same year.
    path = next(own.glob("scene_2023-05-06/*.json"))
    item = json.loads(path.read_text())
    item["assets"]["red"]["raster:bands"][0]["offset"] = -0.05
    path.write_text(json.dumps(item))
    new = item | {"id": "scene_new"}
    new["properties"] = item["properties"] | {"datetime": "2023-07-01T00:00:00Z"}
    (own / "scene_new").mkdir()
    (own / "scene_new/scene_new.json").write_text(json.dumps(new))
    catalog = json.loads((own / "catalog.json").read_text())
    catalog["links"].append({"rel": "item", "href": "./scene_new/scene_new.json"})
    (own / "catalog.json").write_text(json.dumps(catalog))
    wide = recipe(own, periods=[2023])
    rs.run(wide, out, **SETTINGS)
    kept = {p.name: p.read_bytes() for p in (out / "ledger/map/2023").iterdir()}
    whole = [name for name in done if f"map/2023/{Path(name).stem}" not in computed(out)]
    assert whole
    assert all(kept[name] == done[name] for name in whole)
    seen = [set(json.loads(kept[name])["inputs"]) for name in kept]
    assert any("scene_new" in ids for ids in seen)
    assert all("scene_new" not in json.loads(kept[name])["inputs"] for name in whole)
    rs.run(wide, out, update=True, **SETTINGS)
    assert {f"map/2023/{Path(name).stem}" for name in whole} <= set(computed(out))


def test_steps_alone_search_no_catalogue(
    archive: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rsscale.plans.planning.find_items", None)
    steps = {"overviews": {"kind": "overviews", "of": "map", "levels": 1}}
    run = rs.run(small(archive, steps=steps), copy, **SETTINGS)
    assert {key.split("/")[0] for key in computed(copy)} == {"overviews"}
    assert run.open(level=1).classification.sizes["time"] == 1
