"""A publication holds what the run holds, is written once, and is refused where it is wrong."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import xarray as xr
import yaml
import zarr
from forked import run_command
from formula_pass import AREA, CLASSES
from published_runs import make_run
from rio_cogeo import cog_validate

import rsscale as rs
from rsscale.cli import main
from rsscale.errors import RecipeError, RunFolderError
from rsscale.finished_runs.finished_run import read_finished
from rsscale.finished_runs.publishing_checks import without_gates
from rsscale.publishing import publish as publishing
from rsscale.publishing.target import claim
from rsscale.store.lease import acquire
from rsscale.store.storage import open_storage


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def contents(store: Path) -> dict[str, Any]:
    """Metadata of a store as JSON, whose keys have no order; the rest as bytes."""
    return {
        path.relative_to(store).as_posix(): json.loads(path.read_text())
        if path.suffix == ".json"
        else path.read_bytes()
        for path in store.rglob("*")
        if path.is_file()
    }


def shard(store: Path, layer: str) -> Path:
    """One stored object of a layer."""
    return max(path for path in (store / layer / "c").rglob("*") if path.is_file())


def copy(run: Path, folder: Path) -> Path:
    shutil.copytree(run, folder)
    return folder


def change_state(run: Path, **changes: Any) -> None:
    state = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(state | changes))


def test_the_zarr_is_the_runs_with_overviews(finished: Path, published: Path) -> None:
    for store in ("product.zarr", "change.zarr"):
        before, after = xr.open_zarr(finished / store), xr.open_zarr(published / store)
        xr.testing.assert_identical(before.drop_attrs(), after.drop_attrs())
        assert after.attrs["multiscales"]["layout"][1]["asset"] == "1"
        half = xr.open_zarr(published / store, group="1")
        assert float(half.x[1] - half.x[0]) == 20
        assert half.sizes["x"] * 2 >= after.sizes["x"]


@pytest.mark.extended
def test_overviews_are_those_of_the_step_to_the_byte(finished: Path, tmp_path: Path) -> None:
    """A run that has them is copied, and one that lacks them gets the same."""
    steps = {
        "overviews": {"kind": "overviews", "of": "map"},
        "coarse": {"kind": "overviews", "of": "change"},
    }
    run = make_run(tmp_path, steps=steps)
    rs.publish(run, tmp_path / "out", cogs="none")
    rs.publish(finished, tmp_path / "made", cogs="none")
    for store in ("product.zarr", "change.zarr"):
        assert digests(run / store) == digests(tmp_path / "out" / store)
        found, wanted = contents(tmp_path / "made" / store), contents(tmp_path / "out" / store)
        assert found == wanted
        assert any("/c/" in name and name.startswith("1/") for name in found)


def within(store: Any, file: Any) -> tuple[slice, slice]:
    """Rows and columns of a store, which has whole tiles, that a file has, cut to the area."""
    row = round((store["y"][0] + 5 - file.bounds.top) / 10)
    col = round((file.bounds.left - store["x"][0] + 5) / 10)
    return slice(row, row + file.height), slice(col, col + file.width)


def test_files_hold_what_the_store_holds_and_are_valid(published: Path) -> None:
    product = zarr.open_group(published / "product.zarr")
    with rasterio.open(published / "cogs/classification_2023.tif") as file:
        rows, cols = within(product, file)
        assert file.shape == (901, 1301)
    inside = (product["classification"][1][rows, cols] != 255).sum()
    assert inside == (product["classification"][1] != 255).sum() > 0
    for place, year in enumerate((2022, 2023)):
        for name in ("classification", "confidence", "probability", "temperature", "index"):
            path = published / f"cogs/{name}_{year}.tif"
            stored = product[name][place][..., rows, cols]
            with rasterio.open(path) as file:
                np.testing.assert_array_equal(file.read().reshape(stored.shape), stored)
    files = sorted((published / "cogs").glob("*.tif"))
    assert len(files) == 2 * 5 + 4
    for path in files:
        valid, errors, warnings = cog_validate(path, strict=True, quiet=True)
        assert (valid, errors, warnings) == (True, [], [])
    with rasterio.open(published / "cogs/classification_2023.tif") as file:
        assert file.colormap(1)[9] == (0xD7, 0x19, 0x1C, 255)
        assert file.descriptions == ("classification",)
        assert file.nodata == 255
    with rasterio.open(published / "cogs/probability_2023.tif") as file:
        assert file.descriptions == tuple(f"probability of {c.name}" for c in CLASSES)


def test_published_again_nothing_is_written(
    finished: Path, published: Path, tmp_path: Path
) -> None:
    out = copy(published, tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    again = rs.publish(finished, out)
    assert (again.written, again.removed) == (0, 0)
    assert again.kept > 100
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == times


def test_what_was_lost_or_damaged_is_mended(
    finished: Path, published: Path, tmp_path: Path
) -> None:
    out = copy(published, tmp_path / "out")
    shard(out / "product.zarr", "classification").write_bytes(b"damaged")
    (out / "cogs/classification_2023.tif").unlink()
    (out / "cogs/confidence_2022.tif").write_bytes(b"cut short")
    (out / "cogs/of_an_older_version.tif").write_bytes(b"old")
    # Shards where no tile is now, of a period and a level that are not there any more.
    stale = ["classification/c/1/9/9", "classification/c/7/0/0", "1/classification/c/0/5/0",
             "2/classification/c/0/0/0"]  # fmt: skip
    for name in stale:
        (out / "product.zarr" / name).parent.mkdir(parents=True, exist_ok=True)
        (out / "product.zarr" / name).write_bytes(b"old")
    (out / "collection.json").unlink()
    again = rs.publish(finished, out)
    assert digests(out) == digests(published)
    assert again.removed == 1 + len(stale)


@pytest.mark.extended
def test_a_kill_leaves_no_collection_and_the_next_call_goes_on(
    finished: Path, published: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    env = {"RSSCALE_FAILPOINTS": "before-rename=kill/60", "RSSCALE_FAILPOINT_SEED": "1"}
    ended = run_command("--quiet", "publish", str(finished), str(out), env=env)
    assert ended.returncode == -9
    assert (out / "publication.json").exists()
    assert not (out / "collection.json").exists()
    rs.publish(finished, out)
    for partial in out.rglob(".*.partial"):
        partial.unlink()
    assert digests(out) == digests(published)


def test_no_file_has_a_path_of_this_machine(finished: Path, published: Path) -> None:
    places = {str(finished), str(finished.parent), str(Path.home()), str(Path(__file__).parents[2])}
    for path in published.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert [place for place in places if place.encode() in content] == [], path
    recipe = yaml.safe_load((published / "provenance/recipe.yaml").read_text())
    assert recipe["steps"]["communes"]["zones"] == "zones.gpkg"


def test_zones_as_geoparquet(finished: Path, published: Path) -> None:
    table = gpd.read_parquet(published / "tables/communes.parquet")
    assert table["code"].tolist() == ["A/1", "Ängsö ö", "far"]
    assert table["people"].tolist() == [5, 7, 9]
    assert table.crs.to_epsg() == 32631
    rows = rs.Run(finished).table("communes").to_pandas()
    for code, hectares in zip(table["code"], table["2023 open forest"], strict=True):
        picked = rows[(rows["zone"] == code) & (rows["span"] == "2023") & (rows["class"] == 2)]
        assert hectares == pytest.approx(picked["hectares"].sum())
    assert table["hectares"].iloc[0] == pytest.approx(
        rows[(rows["zone"] == "A/1") & (rows["span"] == "2022")]["hectares"].sum()
    )


def test_the_data_card_says_what_it_is(published: Path) -> None:
    card = (published / "README.md").read_text()
    for text in ("| 9 | built | #d7191c |", "EPSG:32631, pixels of 10 m", "-32768",
                 "0.01 * stored + 15", "none was stated", "product.zarr", "Cite as:"):  # fmt: skip
        assert text in card


def test_about_is_said_in_catalogue_and_card(finished: Path, tmp_path: Path) -> None:
    about = {
        "id": "forests-of-x", "title": "Forests of X", "licence": "CC-BY-4.0", "version": "2.1",
        "providers": [{"name": "Agency", "url": "https://agency.example", "roles": ["producer"]}],
        "doi": "10.1234/abc", "limits": ["Not for parcels."], "contact": "maps@agency.example",
    }  # fmt: skip
    (tmp_path / "about.yaml").write_text(yaml.safe_dump(about))
    rs.publish(finished, tmp_path / "out", cogs="none", about=tmp_path / "about.yaml")
    found = json.loads((tmp_path / "out/collection.json").read_text())
    assert (found["id"], found["license"], found["version"]) == ("forests-of-x", "CC-BY-4.0", "2.1")
    assert found["sci:doi"] == "10.1234/abc"
    assert [one["name"] for one in found["providers"]] == ["Agency"]
    card = (tmp_path / "out/README.md").read_text()
    assert "# Forests of X" in card
    assert "- Not for parcels." in card
    assert "Agency, Forests of X, version 2.1" in card
    # Another product is not written over it.
    with pytest.raises(RunFolderError, match=r"holds another product.*forests-of-x"):
        rs.publish(finished, tmp_path / "out", cogs="none")


@pytest.mark.parametrize(
    ("box", "before", "is_same"),
    [
        ([5, 45, 6, 46], [5, 45, 6, 46], True),
        ([5, 45, 7, 46], [5, 45, 6, 46], True),  # it grew
        ([5, 45, 6, 46], [5, 45, 7, 46], False),
        ([5, 45, 6, 46], [7, 45, 8, 46], False),  # another district by the same recipe
        ([5, 45, 6, 46], [5, 45, 6, 47], False),
        ([170, -20, -170, -10], [175, -20, -175, -10], True),
        ([170, -20, -170, -10], [-175, -20, -170, -10], True),
        ([170, -20, 175, -10], [170, -20, -175, -10], False),
        ([5, 45, 6, 46], None, False),
    ],
)
def test_a_product_may_grow_and_not_move(
    tmp_path: Path, box: list[float], before: list[float] | None, is_same: bool
) -> None:
    marker = {"format": 1, "id": "map", "bbox": before}
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "publication.json").write_text(json.dumps(marker))
    run, target = open_storage(tmp_path / "run"), open_storage(tmp_path / "out")
    if is_same:
        assert claim(target, {"id": "map", "bbox": box}, run).url == target.url
        return
    with pytest.raises(RunFolderError, match=r"holds another product.*bbox.*--about"):
        claim(target, {"id": "map", "bbox": box}, run)


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"license": "MIT"}, "unknown key 'license'.*did you mean 'licence'"),
        ({"doi": "not a doi"}, "doi: "),
        ({"providers": [{"name": "A", "roles": ["boss"]}]}, r"providers\.0\.roles"),
        ([], "is no mapping"),
    ],
)
def test_about_that_is_wrong(finished: Path, tmp_path: Path, about: Any, said: str) -> None:
    path = tmp_path / "about.yaml"
    path.write_text(yaml.safe_dump(about) if about else "- a\n")
    with pytest.raises(RecipeError, match=said):
        rs.publish(finished, tmp_path / "out", about=path)
    assert not (tmp_path / "out").exists()


def test_a_run_that_is_not_finished(finished: Path, tmp_path: Path) -> None:
    run = copy(finished, tmp_path / "run")
    state = json.loads((run / "run.json").read_text())
    tiles = {"done": 3, "total": 30, "failed": 0}
    change_state(run, state="running", tiles=tiles)
    with pytest.raises(RunFolderError, match=r"was cut short: 3 of 30.*rsscale resume"):
        rs.publish(run, tmp_path / "out")
    with (
        acquire(open_storage(run)),
        pytest.raises(RunFolderError, match=r"is not finished: 3 of 30 tiles.*--partial"),
    ):
        rs.publish(run, tmp_path / "out")
    change_state(run, state="interrupted", tiles=tiles)
    with pytest.raises(RunFolderError, match=r"was cut short: 3 of 30.*rsscale resume"):
        rs.publish(run, tmp_path / "out")
    failed = [{"key": "map/2023/x1_y2", "error": "no clear day"}]
    change_state(run, state="failed", tiles=tiles, failed=failed)
    with pytest.raises(RunFolderError, match=r"failed tiles.*map/2023/x1_y2: no clear day"):
        rs.publish(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert state["state"] == "done"


@pytest.mark.extended
def test_a_part_is_published_by_name(finished: Path, tmp_path: Path) -> None:
    tile = next((finished / "ledger/map/2023").iterdir()).stem
    with pytest.raises(rs.TilesFailedError):
        make_run(tmp_path, options={"fails": [tile]})
    run = tmp_path / "run"
    with pytest.raises(RunFolderError, match=r"has failed tiles"):
        rs.publish(run, tmp_path / "out")
    rs.publish(run, tmp_path / "out", partial=True, steps=["map"], layers=["classification"])
    product = zarr.open_group(run / "product.zarr")
    stored = product["classification"][1]
    with rasterio.open(tmp_path / "out/cogs/classification_2023.tif") as file:
        np.testing.assert_array_equal(file.read(1), stored[within(product, file)])
    assert "Parts are missing" in (tmp_path / "out/README.md").read_text()


def test_areas_of_a_map_that_is_left_out_are_too(finished: Path, tmp_path: Path) -> None:
    rs.publish(finished, tmp_path, steps=["change"], cogs="none")
    assert not (tmp_path / "tables").exists()
    page = json.loads((tmp_path / "viewer/viewer.json").read_text())
    assert page["regions"] == []
    assert {layer["step"] for layer in page["layers"]} == {"change"}
    assert "communes" not in (tmp_path / "README.md").read_text()


def test_a_target_that_holds_something_else(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/letter.txt").write_text("dear")
    with pytest.raises(RunFolderError, match=r"holds 'letter.txt', which is no published product"):
        rs.publish(finished, tmp_path / "out")
    with pytest.raises(RunFolderError, match=r"is a file; give a folder"):
        rs.publish(finished, tmp_path / "out/letter.txt")
    with pytest.raises(RunFolderError, match=r"is a run folder or lies in one"):
        rs.publish(finished, finished)
    with pytest.raises(RunFolderError, match=r"is a run folder or lies in one"):
        rs.publish(finished, finished / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["letter.txt"]


def test_stored_objects_that_are_lost_or_damaged(finished: Path, tmp_path: Path) -> None:
    run = copy(finished, tmp_path / "run")
    lost = shard(run / "product.zarr", "confidence")
    lost.write_bytes(lost.read_bytes()[:-9] + b"another b")
    with pytest.raises(RunFolderError, match=r"layer 'confidence' of tile .* is not what was wri"):
        rs.publish(run, tmp_path / "out")
    lost.unlink()
    with pytest.raises(RunFolderError, match=r"layer 'confidence' of tile .* is lost"):
        rs.publish(run, tmp_path / "out")
    assert not (tmp_path / "out/collection.json").exists()


def gates(run: Path, *failed: str, versions: dict[str, str] | None = None) -> None:
    found = [{"name": name, "title": name, "status": "failed", "text": f"{name} are bad"}
             for name in failed]  # fmt: skip
    content = {"format": 1, "passed": not failed, "gates": found, "version": versions or {}}
    (run / "gates.json").write_text(json.dumps(content))


def test_a_product_without_gates_says_so(finished: Path, published: Path, tmp_path: Path) -> None:
    run, out = copy(finished, tmp_path / "run"), copy(published, tmp_path / "out")
    said = rs.publish(run, out)
    assert "no quality gates were checked of map" in str(said).splitlines()[2]
    assert "rsscale gates" in repr(said)
    gates(run, versions={"map": read_finished(rs.Run(run), (), partial=False).versions["map"]})
    assert without_gates(read_finished(rs.Run(run), (), partial=False)) == []


def test_gates_that_failed(finished: Path, tmp_path: Path) -> None:
    run = copy(finished, tmp_path / "run")
    gates(run, "seams", "blank-tiles")
    with pytest.raises(
        RunFolderError, match=r"quality gate 'seams': seams are bad.*--override sea"
    ):
        rs.publish(run, tmp_path / "out", override=["blank-tiles"])
    both = r"'seams' \(nor 'blank-tiles'\): .*--override seams --override blank-tiles$"
    with pytest.raises(RunFolderError, match=both):  # all at once, not one after the other
        rs.publish(run, tmp_path / "out")
    with pytest.raises(RecipeError, match=r"no gate 'seems' failed.*did you mean 'seams'"):
        rs.publish(run, tmp_path / "out", override=["seems"])
    assert not (tmp_path / "out").exists()
    rs.publish(run, tmp_path / "out", cogs="none", override=["seams", "blank-tiles"])
    found = json.loads((tmp_path / "out/collection.json").read_text())
    assert [one["name"] for one in found["rsscale:gates_overridden"]] == ["seams", "blank-tiles"]
    assert "seams: failed; published all the same" in (tmp_path / "out/README.md").read_text()
    gates(run, versions={"map": "0" * 16})
    with pytest.raises(RunFolderError, match=r"'outdated'.*another version of map.*rsscale gates"):
        rs.publish(run, tmp_path / "out")


def test_areas_of_another_version_of_the_map(finished: Path, tmp_path: Path) -> None:
    run = copy(finished, tmp_path / "run")
    areas = {"format": 1, "step": "map", "version": "0" * 16, "periods": {}}
    (run / "areas.json").write_text(json.dumps(areas))
    with pytest.raises(RunFolderError, match=r"'outdated-areas'.*another version of map.*--sample"):
        rs.publish(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    rs.publish(run, tmp_path / "out", cogs="none", override=["outdated-areas"])
    found = json.loads((tmp_path / "out/collection.json").read_text())
    assert [one["name"] for one in found["rsscale:gates_overridden"]] == ["outdated-areas"]


def test_what_is_asked_for_is_not_there(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(RecipeError, match=r"no layer 'clasification'.*did you mean 'classificat"):
        rs.publish(finished, out, layers=["clasification"])
    with pytest.raises(RecipeError, match=r"no period '2021'; there are 2022, 2023, 2022-2023"):
        rs.publish(finished, out, periods=[2021])
    with pytest.raises(RecipeError, match=r"no layer classification has the period 2022-2023"):
        rs.publish(finished, out, layers=["classification"], periods=["2022-2023"])
    with pytest.raises(
        RecipeError, match=r"step 'communes' of .* has no layers or objects; there are map, ch"
    ):
        rs.publish(finished, out, steps=["communes"])
    with pytest.raises(RecipeError, match=r"--regions FILE --region-id COLUMN"):
        rs.publish(finished, out, cogs="region")
    with pytest.raises(RecipeError, match=r"there are no regions at"):
        rs.publish(finished, out, cogs="region", regions=tmp_path / "no.gpkg", region_id="code")
    with pytest.raises(RunFolderError, match=r"is not a run folder"):
        rs.publish(tmp_path, out)
    assert not out.exists()


def test_a_run_that_changes_meanwhile(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy(finished, tmp_path / "run")
    write = publishing.write_measured

    def and_change(*given: Any) -> Any:
        next((run / "ledger/map/2023").iterdir()).unlink()
        return write(*given)

    monkeypatch.setattr(publishing, "write_measured", and_change)
    with pytest.raises(RunFolderError, match=r"step 'map' of .* changed while it was published"):
        rs.publish(run, tmp_path / "out", cogs="none")
    assert not (tmp_path / "out/collection.json").exists()


@pytest.mark.slow
@pytest.mark.extended
def test_a_new_version_replaces_the_old_one(
    finished: Path, published: Path, tmp_path: Path
) -> None:
    out = copy(published, tmp_path / "out")
    rs.publish(finished, out, steps=["map"], layers=["classification"])
    names = digests(out)
    assert {name for name in names if name.endswith(".tif")} == {
        "cogs/classification_2022.tif", "cogs/classification_2023.tif",
    }  # fmt: skip
    files = [name for name in names if not name.startswith("viewer/")]
    assert [name for name in files if "2022-2023" in name or name.startswith("change")] == []
    rs.publish(finished, out)
    assert digests(out) == digests(published)


@pytest.mark.long
def test_a_run_that_grew_replaces_all_of_it(tmp_path: Path) -> None:
    """Its extent grew, so that shards of the same tiles have other names."""
    options = {"layers": ["classification"]}
    run = make_run(tmp_path, options=options)
    out = tmp_path / "out"
    rs.publish(run, out)
    more = shapely.union(shapely.Polygon(AREA), shapely.box(724_000, 4_983_000, 735_000, 4_995_000))
    gpd.GeoDataFrame(geometry=[more], crs="EPSG:32631").to_file(tmp_path / "area.gpkg")
    make_run(tmp_path, options=options)
    rs.publish(run, out)
    rs.publish(run, tmp_path / "anew")
    assert digests(out) == digests(tmp_path / "anew")


@pytest.mark.extended
def test_a_bucket_gets_the_same_objects(
    finished: Path,
    published: Path,
    s3_server: str,  # noqa: ARG001 -- the environment names it
    tmp_path: Path,
) -> None:
    result = rs.publish(finished, "s3://maps/published")
    assert result.collection == "s3://maps/published/collection.json"
    wanted = digests(published)
    there = open_storage("s3://maps/published")
    found = {name: hashlib.sha256(there.read(name)).hexdigest() for name in there.names()}
    assert found == wanted
    again = rs.publish(finished, "s3://maps/published")
    assert again.written == 0
    run = open_storage("s3://maps/to-publish")
    for path in finished.rglob("*"):
        if path.is_file():
            run.put_file(path.relative_to(finished).as_posix(), path)
    rs.publish("s3://maps/to-publish", tmp_path / "out")
    assert digests(tmp_path / "out") == wanted


def test_the_command(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["publish", str(finished), str(out), "--cogs", "none", "--no-model"]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{out}/collection.json\n3 items, ")
    with pytest.raises(SystemExit) as ended:
        main([*words, "--override", "seams"])
    assert ended.value.code == 2
    assert "error: no gate 'seams' failed" in capsys.readouterr().err


@pytest.mark.extended
def test_what_was_measured_goes_along(finished: Path, tmp_path: Path) -> None:
    run = copy(finished, tmp_path / "run")
    areas = {
        "format": 1, "design": "stratified", "confidence": 0.95,
        "sample": {"path": "/home/me/secret/sample.gpkg", "sha256": "00"},
        "periods": {"2023": {"classes": [
            {"value": 1, "name": "water", "users": {"value": 0.9}, "producers": {"value": 0.8},
             "hectares": {"value": 1234.5, "se": 100.2, "low": 1038.1, "high": 1430.9}},
            {"value": 9, "name": "built", "hectares": {"value": None, "why": "no samples"}},
            {"value": 5, "name": "ice | snow", "hectares": {"value": 250.0, "se": None}},
            {"value": 2, "name": "forest",
             "hectares": {"value": 1110.0, "se": None, "low": 883.0, "high": 1940.0}},
        ], "overall": {"value": 0.9, "se": 0.02, "low": 0.86, "high": 0.94}}},
        "change": {"2022-2023": {
            "changed": {"hectares": {"value": 262.3, "se": 42.7, "low": 176.7, "high": 348.0}},
            "transitions": [
                {"from": "water", "to": "water", "units": 40,
                 "hectares": {"value": 700.0, "se": 9.0, "low": 680.0, "high": 720.0}},
                {"from": "water", "to": "built", "units": 3,
                 "hectares": {"value": 27.0, "se": 16.0, "low": 0.0, "high": 62.0}},
            ]}},
    }  # fmt: skip
    (run / "areas.json").write_text(json.dumps(areas))
    (run / "areas.csv").write_text("class,hectares\nwater,1234.5\n")
    (run / "report.html").write_text(
        "<p>of /home/me/secret/sample.gpkg</p> <a href='https://a.b/c'>"
    )
    rs.publish(run, tmp_path / "out", cogs="none")
    out = tmp_path / "out"
    assert json.loads((out / "areas.json").read_text())["sample"]["path"] == "sample.gpkg"
    assert (out / "report.html").read_text() == "<p>of sample.gpkg</p> <a href='https://a.b/c'>"
    card = (out / "README.md").read_text()
    assert "| water | 1,234 | 100 | 1,038 to 1,431 | 0.900 | 0.800 |" in card
    assert "| built | not estimable: no samples |" in card
    assert r"| ice \| snow | 250 | – | – | not est" in card  # noqa: RUF001 -- a dash as in tables
    # A standard error that is not known is not 0.
    assert "| forest | 1,110 | – | 883 to 1,940 |" in card  # noqa: RUF001 -- likewise
    assert "Overall accuracy 0.900 (0.860 to 0.940)." in card
    assert "### Change 2022-2023" in card
    assert "| all | changed | 262 | 42.7 | 177 to 348 |" in card
    assert "| water | built | 27.0 | 16.0 | 0 to 62.0 |" in card
    assert "| water | water |" not in card
    accuracy = {"overall": 0.8, "classes": {name: {"f1": 0.5} for name in ("built", "water")}}
    (run / "accuracy.json").write_text(json.dumps(accuracy))
    rs.publish(run, tmp_path / "out", cogs="none")
    card = (out / "README.md").read_text()
    assert card.index("| water | not est") < card.index("| built | not estimable | not")
    collection = json.loads((out / "collection.json").read_text())
    assert collection["assets"]["report.html"]["type"] == "text/html"


def test_a_run_of_imagery_and_a_model(landscape_run: Path, tmp_path: Path) -> None:
    out, run = tmp_path / "out", tmp_path / "run"
    state = json.loads((landscape_run / "run.json").read_text())
    (digest,) = {kept[1] for kept in state["attachments"]["map"].values()}
    shutil.copytree(landscape_run, run)
    # As a run of a detector keeps it: with paths of labels, and where they are.
    (run / f"models/{digest}/training.json").write_text('{"labels": "/home/me/labels.gpkg"}')
    rs.publish(run, out, cogs="tile", layers=["classification"])
    assert not list(out.rglob("training.json"))
    item = json.loads((out / f"provenance/models/{digest}/item.json").read_text())
    weights = item["assets"]["model"]["href"]
    assert (out / f"provenance/models/{digest}" / weights).exists()
    documents = [json.loads(path.read_text()) for path in (out / "items").iterdir()]
    scenes = {scene for one in documents for scene in one["properties"].get("rsscale:scenes", ())}
    inputs = gpd.read_parquet(out / "provenance/s2.parquet")
    assert scenes
    assert scenes <= set(inputs["id"])
    assert str(landscape_run.parent).encode() not in b"".join(
        inputs["rsscale:item"].str.encode("utf-8")
    )
    rs.publish(run, out, cogs="tile", layers=["classification"], model=False)
    assert not (out / "provenance/models").exists() or not list(
        (out / "provenance/models").rglob("*.json")
    )
