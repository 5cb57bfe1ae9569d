"""A run's objects against true ones: files, classes, areas, spans, and the command line."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import geopandas as gpd
import pytest
import shapely
import yaml
from forked import run_command
from index_pass import AREA, index_recipe
from object_pass import CLASSES, KIND, SquaresPass

import rsscale as rs
from rsscale.errors import RecipeError, RunFolderError
from rsscale.object_assessment.objects_of_step import AssessedStep
from rsscale.steps.kinds import ALLOWED

OPTIONS = {"threads": 1, "device": "cpu"}


@pytest.fixture(scope="module", autouse=True)
def passes_allowed() -> Iterator[None]:
    with mock.patch.dict(os.environ, {ALLOWED: "index_pass,object_pass"}):
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> rs.Run:
    folder = tmp_path_factory.mktemp("objects")
    recipe = index_recipe(folder, tile=128, steps={"squares": {"kind": KIND}}, periods=[2023, 2024])
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return rs.run(folder / "recipe.yaml", out=folder / "run", **OPTIONS)


@pytest.fixture(scope="module")
def found(run: rs.Run) -> gpd.GeoDataFrame:
    return AssessedStep.open(run, "squares", 2023).read()


@pytest.fixture
def truth(found: gpd.GeoDataFrame, tmp_path: Path) -> Path:
    """Every second of what is found, and as many beside; in another CRS."""
    half = found.iloc[::2]
    missed = half.copy()
    missed.geometry = missed.translate(50, 50)  # between the squares
    frame = gpd.GeoDataFrame(
        {"kind": [*half["name"], *missed["name"]]},
        geometry=[*half.geometry, *missed.geometry],
        crs=found.crs,
    )
    frame.to_crs("EPSG:4326").to_file(tmp_path / "truth.gpkg")
    return tmp_path / "truth.gpkg"


def test_figures_and_the_file(run, found, truth):
    scores = rs.assess_objects(run, truth, step="squares", span=2023, class_column="kind")
    area = shapely.Polygon(AREA)
    inside = shapely.intersects_xy(area, found.x, found.y)
    at = scores.overall.thresholds[0.5]
    half = inside[::2]
    missed = shapely.intersects_xy(area, found.x[::2] + 50, found.y[::2] + 50)
    assert at.true == half.sum()
    assert at.false == inside.sum() - half.sum()
    assert at.missed == missed.sum()
    assert at.precision.low < at.precision.value < at.precision.high
    assert list(scores.classes) == [one.name for one in CLASSES]
    content = json.loads((Path(run.path) / "objects-accuracy.json").read_text())
    figures = content["steps"]["squares"]["2023"]
    assert content["format"] == 1
    assert figures["overall"]["thresholds"]["0.5"]["recall"]["value"] == at.recall.value
    assert len(figures["files"]["truth"]["sha256"]) == 64
    assert len(figures["version"]) == 16
    rs.assess_objects(run, truth)
    kept = json.loads((Path(run.path) / "objects-accuracy.json").read_text())["steps"]["squares"]
    assert kept["2023"] == figures
    assert kept["2024"]["files"]["truth"]["class_column"] is None
    assert "the last of 2023, 2024" in kept["2024"]["notes"][-1]


def test_only_where_the_truth_is_complete(run, found, truth, tmp_path):
    west = shapely.box(729_000, 4_980_000, 731_000, 4_985_000)
    gpd.GeoDataFrame(geometry=[west], crs=found.crs).to_file(tmp_path / "within.gpkg")
    scores = rs.assess_objects(run, truth, span=2023, within=tmp_path / "within.gpkg")
    inside = shapely.intersects_xy(
        shapely.intersection(west, shapely.Polygon(AREA)), found.x, found.y
    )
    at = scores.overall.thresholds[0.5]
    assert at.true + at.false == inside.sum()
    gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs=found.crs).to_file(
        tmp_path / "far.gpkg"
    )
    with pytest.raises(RecipeError, match=r"far\.gpkg share no area with the run"):
        rs.assess_objects(run, truth, within=tmp_path / "far.gpkg")


def test_regions_and_sizes_on_the_command_line(run, found, truth, tmp_path):
    halves = [shapely.box(729_000, 4_980_000, 731_000, 4_985_000),
              shapely.box(731_000, 4_980_000, 734_000, 4_985_000)]  # fmt: skip
    zones = gpd.GeoDataFrame({"code": ["west", "east"]}, geometry=halves, crs=found.crs)
    zones.to_file(tmp_path / "zones.gpkg")
    command = ["--quiet", "assess", str(run.path),
               "--objects", str(truth), "--class", "kind", "--span", "2023",
               "--regions", str(tmp_path / "zones.gpkg"), "--region-id", "code",
               "--sizes", "1000,2000", "--iou", "0.5", "--iou", "0.75"]  # fmt: skip
    done = run_command(*command)
    assert done.returncode == 0, done.stderr
    for text in ("IoU 0.75", "pond", "west", "1,000 to 2,000 m²", "95% intervals", "AP50"):
        assert text in done.stdout
    scores = json.loads((Path(run.path) / "objects-accuracy.json").read_text())["steps"]["squares"]
    counts = [scores["2023"]["regions"][name]["truth"] for name in ("west", "east")]
    assert sum(counts) == scores["2023"]["overall"]["truth"]
    refused = run_command(*command[:3], "--objects", str(tmp_path / "none.gpkg"))
    assert refused.returncode == 2
    assert "there are no true objects at" in refused.stderr


def test_refusals(run, truth):
    with pytest.raises(RunFolderError, match=r"has no step 'square'.*did you mean 'squares'"):
        rs.assess_objects(run, truth, step="square")
    with pytest.raises(
        RecipeError, match=r"'map' writes no objects; those that do are \['squares'\]"
    ):
        rs.assess_objects(run, truth, step="map")
    with pytest.raises(RecipeError, match=r"no span '2022'; it has \['2023', '2024'\]"):
        rs.assess_objects(run, truth, span=2022)
    with pytest.raises(RecipeError, match=r"no column 'kinds'.*did you mean 'kind'"):
        rs.assess_objects(run, truth, class_column="kinds")
    (Path(run.path) / "objects-accuracy.json").write_text("[]")
    with pytest.raises(RunFolderError, match="not of format 1; remove it"):
        rs.assess_objects(run, truth)
    (Path(run.path) / "objects-accuracy.json").unlink()


def test_a_lost_table_is_not_a_tile_without_objects(run, truth, tmp_path):
    shutil.copytree(run.folder.url, tmp_path / "run")
    next((tmp_path / "run" / "tables" / "squares" / "2023").glob("*.parquet")).unlink()
    with pytest.raises(RunFolderError, match=r"is damaged.*rsscale resume"):
        rs.assess_objects(tmp_path / "run", truth, step="squares", span=2023)


def test_objects_come_in_one_order_for_any_tiles(found):
    assert list(found["id"]) == sorted(found["id"])


def test_true_objects_of_another_year_do_not_count(
    run: rs.Run, found: gpd.GeoDataFrame, tmp_path: Path
) -> None:
    half = found.iloc[::2]
    years = [2023] * len(half) + [2024] * len(found)
    truth = gpd.GeoDataFrame(
        {"kind": [*half["name"], *found["name"]], "year": years},
        geometry=[*half.geometry, *found.geometry],
        crs=found.crs,
    )
    truth.to_file(tmp_path / "years.gpkg")
    options = {"step": "squares", "span": 2023, "class_column": "kind", "resamples": 0}
    of_all = rs.assess_objects(run, tmp_path / "years.gpkg", **options)
    assert of_all.truth == len(found)
    scores = rs.assess_objects(run, tmp_path / "years.gpkg", period_column="year", **options)
    assert scores.truth == len(half)
    with pytest.raises(RecipeError, match=r"no column 'yaer' of the year.*did you mean 'year'"):
        rs.assess_objects(run, tmp_path / "years.gpkg", period_column="yaer", **options)
    truth[truth.year == 2024].to_file(tmp_path / "later.gpkg")
    with pytest.raises(RecipeError, match=r"have none of 2023 in 'year', only of \[2024\]"):
        rs.assess_objects(run, tmp_path / "later.gpkg", period_column="year", **options)


def training_record(boxes: dict[str, tuple[float, float, float, float]], crs: str) -> str:
    """``training.json`` with a place of each role."""
    places = [
        {"id": number, "role": role, "shape": shapely.geometry.mapping(shapely.box(*box))}
        for number, (role, box) in enumerate(boxes.items())
    ]
    return json.dumps({"format": 1, "split": {"crs": crs, "places": places}})


@pytest.fixture
def trained(run: rs.Run, tmp_path: Path) -> Iterator[Path]:
    """A run whose step says that a model of digest ``abc`` made it; the file of its training."""
    shutil.copytree(run.folder.url, tmp_path / "run")
    record = tmp_path / "run" / "models" / "abc" / "training.json"
    record.parent.mkdir(parents=True)
    (record.parent / "item.json").write_text("{}")
    with mock.patch.object(SquaresPass, "models", {"2023": "abc", "2024": "abc"}, create=True):
        yield record


def test_objects_where_the_model_was_trained_are_left_out(trained, found, truth, tmp_path):
    low, middle, high = 730_000, 731_000, 731_500
    boxes = {
        "training": (low, 4_980_000, middle, 4_985_000),
        "validation": (middle, 4_980_000, high, 4_985_000),
        "test": (high, 4_980_000, 740_000, 4_985_000),
    }
    trained.write_text(training_record(boxes, found.crs.to_string()))
    options = {"span": 2023, "class_column": "kind", "resamples": 0}
    scores = rs.assess_objects(tmp_path / "run", truth, **options)
    area = shapely.difference(
        shapely.Polygon(AREA), shapely.box(low, 4_980_000, high, 4_985_000).buffer(5)
    )
    inside = shapely.intersects_xy(area, found.x, found.y)
    assert 0 < inside.sum() < len(found)
    at = scores.overall.thresholds[0.5]
    assert at.true == inside[::2].sum()
    assert at.true + at.false == inside.sum()
    everywhere = rs.assess_objects(tmp_path / "run", truth, trained=True, **options)
    gone = everywhere.overall.truth - scores.overall.truth
    assert gone > 0
    said = f"{gone} true objects, and what was detected there, lie in 2 places of the model's"
    assert scores.notes[0].startswith(said)
    assert everywhere.notes[0].startswith(f"figures are too good: {gone} true objects lie in 2")
    content = json.loads((tmp_path / "run" / "objects-accuracy.json").read_text())
    assert content["steps"]["squares"]["2023"]["files"]["training"] == {
        "model": "abc", "places": 2, "known": True, "counts": True,
    }  # fmt: skip


def test_a_run_on_trained_ground_alone_measures_nothing(trained, truth, tmp_path):
    boxes = {"training": (5.0, 44.0, 7.0, 46.0)}  # in degrees: places may be of another CRS
    trained.write_text(training_record(boxes, "EPSG:4326"))
    with pytest.raises(RecipeError, match=r"all .* true objects lie where the model was trained"):
        rs.assess_objects(tmp_path / "run", truth, span=2023)


def test_a_model_without_a_record_of_its_training_is_told(trained, truth, tmp_path):
    scores = rs.assess_objects(tmp_path / "run", truth, span=2023, resamples=0)
    assert "keeps no record of its model's training" in scores.notes[0]
    trained.write_text(training_record({}, ""))
    scores = rs.assess_objects(tmp_path / "run", truth, span=2023, resamples=0)
    assert "does not say where it was" in scores.notes[0]
