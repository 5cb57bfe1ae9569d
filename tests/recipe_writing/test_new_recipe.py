"""New recipes: of a STAC API and of files, read as any other, and refused where they can't work."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import geopandas as gpd
import pytest
import shapely
from stac_factory import make_item, write_items

import rsscale as rs
from rsscale.cli import main
from rsscale.demo.serve import find_program, serve_catalog
from rsscale.errors import RecipeError
from rsscale.recipe_writing.answers import Answers, label_columns
from rsscale.recipe_writing.imagery import probe_imagery
from rsscale.recipe_writing.questions import ask_for, refuse_missing
from rsscale.recipe_writing.write import _outward, new_recipe
from rsscale.simulation.simulate import SimulatedArchive
from rsscale.steps.kinds import check_recipe_steps


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> SimulatedArchive:
    """A small archive of Sentinel-2, with labels."""
    return rs.simulate(tmp_path_factory.mktemp("archive"), size=256, years=[2023], dates=4)


@pytest.fixture(scope="module")
def api(archive) -> Iterator[str]:
    """The same by a STAC API."""
    try:
        find_program()
    except rs.MissingExtraError as error:
        pytest.skip(str(error))
    with serve_catalog(archive.root / "items.json") as address:
        yield address


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["recipe", "new", *map(str, words)])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.mark.slow
@pytest.mark.extended
def test_a_recipe_of_an_api_is_planned(archive, api: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "work").mkdir()
    target = tmp_path / "work" / "recipe.yaml"
    code, out, err = run(
        capsys, "--catalog", api, "--area", archive.area, "--periods", "2023",
        "--labels", archive.labels, "--class", "landcover", "--to", target,
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert f"rsscale train {target}" in out
    recipe = rs.read_recipe(target)
    (imagery,) = recipe.inputs.values()
    assert imagery.collection == archive.collection
    assert imagery.bands == ("blue", "green", "red", "nir", "swir16", "swir22")
    assert imagery.mask is not None
    assert imagery.mask.preset == "sentinel2-scl"
    assert recipe.grid.crs == "EPSG:32631"
    assert recipe.grid.resolution == 10
    assert recipe.train is not None
    assert (recipe.train.class_, recipe.train.period_column) == ("landcover", "year")
    # With a model that reads just what the recipe gives, it is planned.
    import torch

    model = rs.Model.of(
        torch.nn.Conv2d(6, 2, 1), inputs={"s2": imagery.bands}, times=("year",),
        classes=[rs.LandClass(1, "a", "#111111"), rs.LandClass(2, "b", "#eeeeee")],
    )  # fmt: skip
    plan = rs.plan(target, model=model)
    assert plan.tiles > 0
    (note,) = rs.plan(target).notes
    assert note.startswith("there is no model at ")


def test_paths_count_from_the_recipe_and_comments_stand_in_a_column(archive, tmp_path) -> None:
    answers = Answers(str(archive.catalog), str(archive.area), (2023, 2024))
    text = new_recipe(answers, tmp_path / "a.yaml").read_text()
    assert f"area: {archive.area}  #" in text  # elsewhere: as it was given
    assert "change: {kind: temporal-model, of: map, sample_every: 2}" in text  # a small area
    check_recipe_steps(rs.read_recipe(tmp_path / "a.yaml"))  # as training does, before it reads
    assert "# train: {labels: labels.gpkg, class: COLUMN}" in text
    grid = text.split("grid:\n")[1].split("\n\n")[0].splitlines()
    assert len({line.index("  # ") for line in grid}) == 1


def test_change_of_an_area_that_is_not_small_has_the_short_form(
    archive, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("rsscale.recipe_writing.write._SAMPLED", 100)
    answers = Answers(str(archive.catalog), str(archive.area), (2023, 2024))
    text = new_recipe(answers, tmp_path / "a.yaml").read_text()
    assert "change: {from: 2023, to: 2024, method: temporal-model}" in text
    check_recipe_steps(rs.read_recipe(tmp_path / "a.yaml"))


def test_pixels_in_degrees_are_told_in_metres(archive, tmp_path: Path) -> None:
    document = json.loads(Path(archive.items).read_text())
    for item in document["features"]:
        kept = item["properties"].items()
        item["properties"] = {k: v for k, v in kept if k != "gsd" and not k.startswith("proj:")}
        for asset in item["assets"].values():
            asset |= {
                "proj:code": "EPSG:4326",
                "proj:shape": [100, 100],
                "proj:transform": [1.3e-4, 0, 5.9, 0, -9e-5, 47.6],
            }
    catalog = tmp_path / "items.json"
    catalog.write_text(json.dumps(document))
    answers = Answers(str(catalog), str(archive.area), (2023,), collection=archive.collection)
    text = new_recipe(answers, tmp_path / "a.yaml").read_text()
    assert "  resolution: 10 " in text


def test_what_items_cover_is_told_where_no_area_was_given(archive) -> None:
    with pytest.raises(RecipeError, match=r"--area must be given .*\. Its items lie in [-\d.,]+$"):
        refuse_missing({"catalog": str(archive.catalog), "periods": (2023,)})
    with pytest.raises(RecipeError, match=r"recipe new --help$"):
        refuse_missing({"catalog": "https://example.org/stac", "periods": (2023,)})


def test_a_file_that_is_there_is_kept(archive, tmp_path: Path, capsys) -> None:
    target = tmp_path / "recipe.yaml"
    target.write_text("mine")
    words = ("--catalog", archive.catalog, "--area", archive.area, "--periods", "2023")
    code, _, err = run(capsys, *words, "--to", target)
    assert (code, target.read_text()) == (2, "mine")
    assert "is there already; give another name with --to" in err
    code, _, err = run(capsys, *words, "--to", tmp_path / "none" / "a.yaml")
    assert code == 2
    assert "make it first" in err


def test_what_nobody_can_be_asked_for_is_named(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    code, _, err = run(capsys, "--catalog", "catalog.json")
    assert code == 2
    assert "--area and --periods must be given" in err
    code, _, err = run(capsys, "--periods", "20x3")
    assert "periods is '20x3'; expected years such as 2023 2024" in err
    assert list(tmp_path.iterdir()) == []


BAD = {
    "no such collection": ({"collection": "sentinel-2-l1c"}, "no collection 'sentinel-2-l1c'"),
    "no such band": ({"bands": ("red", "nri")}, "no band 'nri'.*did you mean 'nir'"),
    "no items": ({"periods": (1999,)}, "no items"),
    "an area elsewhere": ({"area": "20,10,20.1,10.1"}, "no items"),
    "no such area": ({"area": "none.gpkg"}, "none.gpkg"),
    "a CRS in degrees": ({"crs": "EPSG:4326"}, "EPSG:4326"),
    "no such signer": ({"sign": "planetary"}, "planetary-computer"),
    "a bad name": ({"name": "a b"}, "name"),
    "no such labels": ({"labels": "none.gpkg"}, "no labels at none.gpkg"),
}


@pytest.mark.parametrize("what", BAD)
def test_answers_that_can_not_work_are_refused(archive, tmp_path: Path, what: str) -> None:
    changes, said = BAD[what]
    given = {"catalog": str(archive.catalog), "area": str(archive.area), "periods": (2023,)}
    with pytest.raises(rs.RsscaleError, match=said):
        new_recipe(Answers(**(given | changes)), tmp_path / "a.yaml")
    assert list(tmp_path.iterdir()) == []


def test_the_column_of_the_class_is_told_where_it_can_be(tmp_path: Path) -> None:
    path = str(tmp_path / "labels.gpkg")
    columns = {"code": [1, 2], "kind": ["a", "b"], "Year": [2023, 2024]}
    place = [shapely.box(0, 0, 1, 1)] * 2
    gpd.GeoDataFrame(columns, geometry=place, crs="EPSG:32631").to_file(path)
    found = label_columns(path, None)
    assert (found.class_, found.year) == ("kind", "Year")
    assert label_columns(path, "code").class_ == "code"
    with pytest.raises(rs.RecipeError, match=r"no column 'knd'; there are .* mean 'kind'"):
        label_columns(path, "knd")
    two = columns | {"name": ["x", "y"]}
    gpd.GeoDataFrame(two, geometry=place, crs="EPSG:32631").to_file(tmp_path / "two.gpkg")
    with pytest.raises(rs.RecipeError, match="say which one is the class with --class"):
        label_columns(str(tmp_path / "two.gpkg"), None)


def scene(name: str, bands: dict[str, list[str]], crs: str, pixel: float, **changes) -> dict:
    """An item with assets of some roles, projected."""
    found = make_item(name, west=10.0, south=50.0, **changes)
    found["properties"] |= {
        "platform": "aerial-1", "proj:code": crs, "proj:shape": [100, 100],
        "proj:transform": [pixel, 0, 600_000, 0, -pixel, 5_600_000],
    }  # fmt: skip
    kind = "image/tiff; application=geotiff"
    found["assets"] = {
        key: {"href": f"./{name}_{key}.tif", "type": kind, "roles": roles}
        for key, roles in bands.items()
    }
    return found


def look(tmp_path: Path, *items: dict, collection: str | None = None, bands: tuple = ()):
    path = write_items(list(items), tmp_path / "items.json")
    area = rs.read_area((10.2, 50.2, 10.8, 50.8))
    return probe_imagery(str(path), collection, area, (2023,), bands=bands)


def test_landsat_has_its_mask_bands_and_origin(tmp_path: Path) -> None:
    names = ["blue", "green", "red", "nir08", "swir16", "swir22", "lwir11"]
    bands = {name: ["data"] for name in names} | {"qa_pixel": ["cloud"], "thumbnail": ["thumbnail"]}
    item = scene(
        "LC08_L2SP_194025_20230615_20230620_02_T1", bands, "EPSG:32632", 30.0,
        collection="landsat-c2-l2",
    )  # fmt: skip
    item["properties"]["proj:transform"] = [30.0, 0, 600_015.0, 0, -30.0, 5_600_025.0]
    found = look(tmp_path, item)
    assert (found.product, found.collection) == ("landsat", "landsat-c2-l2")
    assert found.bands == ("blue", "green", "red", "nir08", "swir16", "swir22")
    assert found.others == ("lwir11",)
    assert (found.mask, found.resolution, found.origin) == ("landsat-qa-pixel", 30.0, (15, 15))


def test_imagery_of_no_known_product_has_all_its_bands_and_its_own_projection(tmp_path) -> None:
    bands = {"b1": ["data"], "b2": ["data"], "visual": ["visual"]}
    found = look(tmp_path, scene("a", bands, "EPSG:3035", 2.5))
    assert (found.product, found.bands, found.mask) == (None, ("b1", "b2"), None)
    assert (found.crs, found.resolution) == ("EPSG:3035", 2.5)
    path = tmp_path / "items.json"
    text = new_recipe(Answers(str(path), "10.2,50.2,10.8,50.8", (2023,)), tmp_path / "a.yaml")
    assert "crs: EPSG:3035" in text.read_text()
    assert "No preset is known for this imagery" in text.read_text()


def test_too_many_bands_and_several_collections_are_told(tmp_path: Path) -> None:
    many = {f"b{k}": ["data"] for k in range(20)}
    with pytest.raises(rs.RecipeError, match="has 20 bands; say which ones to use with --bands"):
        look(tmp_path, scene("a", many, "EPSG:3035", 2.5))
    assert look(tmp_path, scene("a", many, "EPSG:3035", 2.5), bands=("b7",)).bands == ("b7",)
    other = scene("b", many, "EPSG:3035", 2.5, collection="s1")
    with pytest.raises(rs.RecipeError, match="2 collections: s1, s2; say which one"):
        look(tmp_path, scene("a", many, "EPSG:3035", 2.5), other)


def written(tmp_path: Path, *items: dict, periods: tuple = (2023,), **answers) -> str:
    """The recipe of some items around 10 to 11 degrees east."""
    path = write_items(list(items), tmp_path / "items.json")
    area = answers.pop("area", "10.2,50.2,10.8,50.8")
    given = Answers(str(path), area, periods, **answers)
    target = tmp_path / "new.yaml"
    target.unlink(missing_ok=True)
    return new_recipe(given, target).read_text()


def test_seasons_are_told_apart_where_each_has_scenes(tmp_path: Path) -> None:
    # One a month, so three a season; December of the year before is of its winter.
    months = ["2022-12-05T10:00:00Z", *(f"2023-{m:02}-05T10:00:00Z" for m in range(1, 12))]
    items = [
        scene(f"a{n}", {"b1": ["data"]}, "EPSG:32632", 10.0, when=when)
        for n, when in enumerate(months)
    ]
    assert "composite: {by: season, reducer: median}" in written(tmp_path, *items)
    # A summer with one clear scene alone, and a second year with a single scene.
    for item in items[7:9]:
        item["properties"]["eo:cloud_cover"] = 90
    text = written(tmp_path, *items)
    assert "composite: {by: year, reducer: median}  # not by season" in text
    assert "2023 has 3 in winter, 3 in spring, 1 in summer, 3 in autumn" in text
    late = scene("b", {"b1": ["data"]}, "EPSG:32632", 10.0, when="2024-04-05T10:00:00Z")
    text = written(tmp_path, *items, late, periods=(2023, 2024))
    assert "2024 has 0 in winter, 1 in spring, 0 in summer, 0 in autumn" in text


def test_pixels_begin_where_those_of_the_imagery_do(tmp_path: Path) -> None:
    item = scene("a", {"b1": ["data"], "fmask": ["data"]}, "EPSG:32632", 30.0)
    item["properties"]["proj:transform"] = [30.0, 0, 462405.0, 0, -30.0, 1741815.0]
    text = written(tmp_path, item, area="10.2,50.2,10.4,50.4")
    assert "origin: [15, 15]" in text
    assert "# metres, as the finest of the bands\n" in text
    assert "mask: {preset: fmask, dilate: 60}" in text
    assert "bands: [b1]" in text
    # Other pixels than the imagery's, or another zone than its own: those of the CRS.
    text = written(tmp_path, item, area="10.2,50.2,10.4,50.4", resolution=20.0)
    assert "origin:" not in text
    assert "# metres, as asked\n" in text
    assert "origin:" not in written(tmp_path, item, crs="EPSG:32633")


@pytest.mark.parametrize(
    ("apart", "count", "said"),
    [
        (8_000, 12, "split: {blocks: 5000, folds: 5}"),
        (1_100, 12, "split: {blocks: 1000, folds: 5}"),
        (1_100, 60, "split: {blocks: 5000, validation: 0.2, test: 0.2}"),
        (40, 12, "split: {by: polygon, folds: 5}"),
        (5, 60, "split: {by: polygon, validation: 0.2, test: 0.2}"),
    ],
)
def test_the_split_and_the_learner_go_by_the_labels(tmp_path, apart, count, said) -> None:
    shapes = [
        shapely.box(x, 5_600_000, x + 30, 5_600_030)
        for x in range(600_000, 600_000 + count * apart, apart)
    ]
    path = tmp_path / "labels.gpkg"
    kinds = {"kind": ["a", "b"] * (count // 2)}
    gpd.GeoDataFrame(kinds, geometry=shapes, crs="EPSG:32632").to_file(path)
    item = scene("a", {"b1": ["data"]}, "EPSG:32632", 10.0)
    text = written(tmp_path, item, labels=str(path), area="10,50,12.5,51")
    assert said in text
    assert ("chip: 64 " in text) == ("blocks: 1000" in said)
    # Few labels teach a network little.
    assert ("architecture: unet " in text) == (count == 60)
    assert ("architecture: random_forest " in text) == (count == 12)
    assert f"labels: {path.name}\n" in text  # beside the recipe


def test_areas_beyond_a_zone_need_a_projection(tmp_path: Path) -> None:
    path = write_items([scene("a", {"b1": ["data"]}, "EPSG:32632", 10.0)], tmp_path / "i.json")
    for area, said in (("5,50,16,51", "11.0 degrees wide"), ("10,50,11,84.5", "beyond UTM")):
        with pytest.raises(rs.RecipeError, match=said):
            new_recipe(Answers(str(path), area, (2023,)), tmp_path / "a.yaml")
    path = new_recipe(Answers(str(path), "10,50,11,51", (2023,)), tmp_path / "a.yaml")
    assert "crs: EPSG:32632  # UTM zone of the middle of the area\n" in path.read_text()


def test_questions_are_asked_for_what_is_missing_alone(archive) -> None:
    asked: list[str] = []
    told: list[str] = []

    def ask(question: str, default: str | None) -> str:
        asked.append(question)
        return {"area": "5,47,6,48"}.get(question, default or "")

    said = ask_for({"catalog": str(archive.catalog), "collection": None}, ask, told.append)
    assert asked == ["collection", "area", "years, separated by blanks", "labels"]
    assert said["area"] == "5,47,6,48"
    assert said["periods"] == (2024,)
    assert said["labels"] is None
    assert any("Collections there" in line for line in told)


@pytest.mark.extended
def test_a_terminal_is_asked(archive, api: str, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    answers = f"{api}\n\n{archive.area}\n2023\n\n"
    os.write(ours, answers.encode())
    done = subprocess.run(
        [sys.executable, "-m", "rsscale", "recipe", "new", "--to", "a.yaml"], stdin=theirs,
        capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False,
    )  # fmt: skip
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0, done.stderr
    assert "Collections there: sentinel-2-l2a" in done.stdout
    assert rs.read_recipe(tmp_path / "a.yaml").periods == (2023,)


def test_a_box_is_never_rounded_inward(archive, capsys, tmp_path: Path) -> None:
    west, south, east, north = box = rs.read_area(archive.area).boundingbox.bbox
    code, _, _ = run(
        capsys, "--catalog", archive.catalog, f"--area={','.join(map(repr, box))}",
        "--periods", "2023", "--to", tmp_path / "recipe.yaml",
    )  # fmt: skip
    assert code == 0
    written = rs.read_recipe(tmp_path / "recipe.yaml").bbox
    assert written is not None
    assert written[0] <= west
    assert written[1] <= south
    assert written[2] >= east
    assert written[3] >= north
    assert written == pytest.approx(box, abs=1.1e-6)


def test_edges_that_have_six_digits_stay_as_they_are() -> None:
    edges = (-93.3509556704985, -0.1, 10.0, 54.1234561)
    assert list(_outward(edges)) == ["-93.350956", "-0.1", "10", "54.123457"]
