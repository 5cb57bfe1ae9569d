"""Training a detector by a recipe: chips of the imagery, objects of a vector file, resume."""

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
import torch
import yaml
from aerial_archive import CRS, NORTH, PIXEL, WEST, AerialArchive, make
from safetensors.torch import load_file

import rsscale as rs
from rsscale.cli import main
from rsscale.errors import RecipeError
from rsscale.object_training.report import ObjectReport
from rsscale.pipeline.model_card import describe_model
from rsscale.pipeline.object_training import read_scenes
from rsscale.pipeline.training import train_recipe
from rsscale.recipe import read_recipe
from rsscale.sampling.object_chips import read_recipe_objects
from rsscale.sampling.work_folder import WorkFolder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> AerialArchive:
    return make(tmp_path_factory.mktemp("air") / "archive")


@pytest.fixture(scope="module")
def trained(archive: AerialArchive, tmp_path_factory: pytest.TempPathFactory, drawing: Any) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    with drawing():
        train_recipe(archive.recipe(folder), device="cpu")
    return folder / "model"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_a_recipe_trains_a_detector_and_its_folder_tells_of_it(
    archive: AerialArchive, trained: Path
) -> None:
    model = rs.open_model(trained, device="cpu")
    assert model.spec.finds_objects
    assert [c.name for c in model.spec.classes] == ["shed", "tree"]
    assert [i.times for i in model.spec.inputs] == [("year",)]
    story = json.loads((trained / "training.json").read_text())
    assert story["kind"] == "objects"
    assert story["labels"]["file"] == "objects.gpkg"
    objects = gpd.read_file(archive.folder / "objects.gpkg")
    used = story["labels"]["used"]
    masked = {
        name: by_reason["masked"]["features"]
        for name, by_reason in story["labels"]["unused"].items()
    }
    for name, count in objects["kind"].value_counts().items():
        assert used[name] + masked[name] == count
    assert sum(story["trained"].values()) + sum(story["tested"].values()) < sum(used.values())
    places = json.loads((trained / "split.geojson").read_text())["features"]
    assert {place["properties"]["role"] for place in places} == {"training", "validation", "test"}
    assert {"curves.png", "split.png", "objects.png"} <= {path.name for path in trained.iterdir()}
    card = str(describe_model(trained))
    assert "trained on" in card
    assert "AP50  precision  recall" in card
    assert not (trained.parent / "model.training").exists()


def test_scenes_hold_the_imagery_and_the_objects_of_the_grid(
    archive: AerialArchive, tmp_path: Path
) -> None:
    recipe = read_recipe(archive.recipe(tmp_path))
    objects = read_recipe_objects(recipe)
    (tmp_path / "work").mkdir()
    scenes = read_scenes(recipe, objects, WorkFolder(tmp_path / "work"), None)
    frame = gpd.read_file(archive.folder / "objects.gpkg")
    for scene in scenes.scenes:
        row, col = scene.origin
        for shape, place in zip(scene.objects, scene.rows, strict=True):
            moved = shapely.transform(shape, lambda xy, at=(col, row): (xy + at) * [PIXEL, -PIXEL])
            assert moved.equals_exact(frame.geometry[place], 1e-6, normalize=True)
    rows = [
        int(scenes.scenes[s].rows[p])
        for s, p in zip(scenes.of_scene, scenes.positions, strict=True)
    ]
    assert len(rows) == len(set(rows))  # each object is of one chip
    assert len(rows) + sum(scenes.unused.counts.values()) == len(frame)


@pytest.mark.extended
def test_a_training_that_was_stopped_goes_on_with_equal_bits(
    archive: AerialArchive, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rsscale.learners import fit

    real = fit._Step.__call__
    made = []

    def stops(step: Any, given: Any, targets: torch.Tensor) -> float:
        if len(made) == 2:
            raise OSError("the power went")
        made.append(real(step, given, targets))
        return made[-1]

    monkeypatch.setattr(fit._Step, "__call__", stops)
    monkeypatch.setattr("rsscale.learners.checkpoint.EVERY_S", 0.0)
    with pytest.raises(OSError, match="the power went"):
        train_recipe(archive.recipe(tmp_path), device="cpu")
    assert (tmp_path / "model.training").exists()
    made.extend([0.0])  # so that it stops no more
    train_recipe(archive.recipe(tmp_path), device="cpu")
    assert len(made) == 2 + 1 + 2  # of four steps two were kept
    expected, found = weights(trained), weights(tmp_path / "model")
    assert expected.keys() == found.keys()
    assert all(expected[name].equal(found[name]) for name in expected)


def test_without_within_the_chips_that_hold_an_object_are_labelled(
    archive: AerialArchive, tmp_path: Path
) -> None:
    frame = gpd.read_file(archive.folder / "objects.gpkg").to_crs("EPSG:4326")
    frame.to_file(tmp_path / "degrees.gpkg")
    content = archive.recipe(
        tmp_path, labels=str(tmp_path / "degrees.gpkg"), within=None, architecture="maskrcnn",
        hyperparameters={"backbone": "small", "width": 16, "representation": 32, "most": 3},
        steps=1,
    )  # fmt: skip
    model, report = train_recipe(content, device="cpu")
    assert isinstance(report, ObjectReport)
    assert model.spec.objects.kind == "outlines"
    assert any("every object is taken to be labelled in the" in line for line in report.remarks)
    assert "train.within" in str(report)


@pytest.mark.parametrize(
    ("train", "told"),
    [
        ({"members": 3}, "train.members is of maps of pixels, and 'fcos' finds objects"),
        ({"edge": 5.0}, "train.edge is of maps of pixels"),
        ({"split": {"folds": 3}}, "train.split.folds is 3; a detector is measured on a test"),
        ({"balance": "weights"}, "train.balance is 'weights'; of detectors"),
        (
            {"architecture": "unet", "hyperparameters": {}},
            "is of detectors, and 'unet' maps pixels",
        ),
        (
            {"architecture": "fcos-orientd"},
            r"'fcos-orientd' is none \(did you mean 'fcos-oriented'\?\); leave it out",
        ),
        ({"within": "nowhere.gpkg"}, "there are no polygons at .*nowhere.gpkg"),
        ({"class": "sort"}, "have no column 'sort'"),
    ],
)
def test_what_does_not_fit_a_detector_is_refused_before_imagery_is_read(
    archive: AerialArchive, tmp_path: Path, train: dict[str, Any], told: str
) -> None:
    with pytest.raises(RecipeError, match=told):
        train_recipe(archive.recipe(tmp_path, **train), device="cpu")


def test_objects_elsewhere_are_refused_or_counted(archive: AerialArchive, tmp_path: Path) -> None:
    far = shapely.box(0, 0, 10, 10)
    gpd.GeoDataFrame({"kind": ["shed"]}, geometry=[far], crs=CRS).to_file(tmp_path / "far.gpkg")
    with pytest.raises(RecipeError, match=r"far\.gpkg"):
        train_recipe(archive.recipe(tmp_path, labels=str(tmp_path / "far.gpkg")), device="cpu")
    half = shapely.box(WEST, NORTH - 80, WEST + 80, NORTH)
    gpd.GeoDataFrame(geometry=[half], crs=CRS).to_file(tmp_path / "half.gpkg")
    recipe = read_recipe(archive.recipe(tmp_path, within=str(tmp_path / "half.gpkg")))
    objects = read_recipe_objects(recipe)
    (tmp_path / "work").mkdir()
    scenes = read_scenes(recipe, objects, WorkFolder(tmp_path / "work"), None)
    lines = scenes.unused.lines()
    assert any("outside the polygons of train.within" in line for line in lines)
    bounds = [
        scenes.scenes[s].bounds[p] for s, p in zip(scenes.of_scene, scenes.positions, strict=True)
    ]
    assert len(bounds) == len(scenes)
    assert np.isfinite(bounds).all()


@pytest.mark.extended
def test_a_detector_of_ones_own_is_trained_and_opened_again(
    archive: AerialArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RSSCALE_ARCHITECTURES", "own_detector")
    own: dict[str, Any] = {"architecture": "own_detector:make", "hyperparameters": {"width": 32}}
    train_recipe(archive.recipe(tmp_path, **own, objects="boxes", steps=1), device="cpu")
    opened = rs.open_model(tmp_path / "model", device="cpu")
    assert opened.spec.architecture == "own_detector:make"
    assert opened.spec.objects.kind == "boxes"


def test_a_command_tells_a_mistake_in_one_line(
    archive: AerialArchive, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "boxes.csv"
    table.write_text("xmin,ymin,xmax,ymax,kind\n9,1,2,5,shed\n")
    content = archive.recipe(tmp_path, labels=str(table), labels_crs="pixels")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(SystemExit) as ended:
        main(["train", str(tmp_path / "recipe.yaml")])
    assert ended.value.code == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert "the box of row 0 is inverted: xmin 9, ymin 1, xmax 2, ymax 5" in told[0]


def test_boxes_of_a_table_may_count_pixels_of_the_grid(
    archive: AerialArchive, tmp_path: Path
) -> None:
    frame = gpd.read_file(archive.folder / "objects.gpkg")
    table = frame.bounds.assign(kind=frame["kind"])
    # Columns run east from the origin of the grid, rows south.
    pixels = table.assign(
        xmin=table["minx"] / PIXEL, xmax=table["maxx"] / PIXEL,
        ymin=-table["maxy"] / PIXEL, ymax=-table["miny"] / PIXEL,
    )  # fmt: skip
    pixels[["xmin", "ymin", "xmax", "ymax", "kind"]].to_csv(tmp_path / "boxes.csv", index=False)
    content = archive.recipe(tmp_path, labels=str(tmp_path / "boxes.csv"), labels_crs="pixels")
    told = read_recipe_objects(read_recipe(content))
    same = read_recipe_objects(read_recipe(archive.recipe(tmp_path)))
    np.testing.assert_allclose(
        shapely.bounds(told.table.shapes), shapely.bounds(same.table.shapes), atol=1e-6
    )
