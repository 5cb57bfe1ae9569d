"""Classical learners in a recipe: they map the features that they learnt, of any kind of input."""

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from landscape import Landscape

import rsscale as rs
from rsscale import cli
from rsscale.comparison.chip_pixels import ChipPixels
from rsscale.learners.base import Task
from rsscale.learners.point_batches import predict_numbers
from rsscale.pipeline.training import (
    Reading,
    labelled_chips,
    labelled_pixels,
    read_recipe_labels,
    train_recipe,
)
from rsscale.recipe import read_recipe
from rsscale.sampling.label_chips import input_bands
from rsscale.sampling.work_folder import open_work_folder
from rsscale.steps.kinds import check_recipe_steps

pytestmark = pytest.mark.slow
pytest.importorskip("skops", reason="the extra 'classical' is not installed")
pytest.importorskip("lightgbm", reason="the extra 'classical' is not installed")
FOREST = ("random_forest", {"n_estimators": 10, "indices": ["NDVI"]}, "model.skops")
BOOSTING = ("gradient_boosting", {"n_estimators": 5, "min_child_samples": 1}, "model.txt")
NEIGHBOURS = ("nearest_neighbours", {"n_neighbors": 3}, "model.skops")
X, Y = 736_005, 4_985_005  # amid the western scenes, in the middle of a pixel


def recipe_of(
    landscape: Landscape, folder: Path, *, series: bool = False, **train: Any
) -> dict[str, Any]:
    """Points of two classes in six places a kilometre apart, in chips of 32 px."""
    places = [(X + 1000 * (k % 3), Y + 1000 * (k // 3)) for k in range(6)]
    points = [shapely.Point(x + 70 * (j % 2), y + 90 * j) for x, y in places for j in range(3)]
    names = ["crop" if k % 2 else "wood" for k in range(len(points))]
    frame = gpd.GeoDataFrame({"kind": names}, geometry=points, crs="EPSG:32631")
    frame.to_file(folder / "labels.gpkg")
    recipe = landscape.recipe(model=str(folder / "trained"))
    recipe["train"] = {
        "labels": str(folder / "labels.gpkg"), "class": "kind", "chip": 32, "stride": 32,
        "split": {"blocks": 900, "validation": 0, "test": 0}, **train,
    }  # fmt: skip
    if series:
        imagery = {k: v for k, v in recipe["inputs"]["s2"].items() if k != "composite"}
        recipe["inputs"] = {"s2": imagery | {"series": True, "merge_days": True}}
        recipe["train"]["observations"] = 3
    return recipe


@pytest.mark.parametrize(
    ("architecture", "hyperparameters", "file", "series"),
    [
        (*FOREST, True),
        (*BOOSTING, False),
        pytest.param(*FOREST, False, marks=pytest.mark.extended),
        pytest.param(*BOOSTING, True, marks=pytest.mark.extended),
        pytest.param(*NEIGHBOURS, False, marks=pytest.mark.extended),
        pytest.param(*NEIGHBOURS, True, marks=pytest.mark.extended),
    ],
)
def test_what_was_learnt_is_what_is_mapped(
    landscape: Landscape,
    tmp_path: Path,
    architecture: str,
    hyperparameters: dict[str, Any],
    file: str,
    series: bool,
) -> None:
    chosen = hyperparameters | ({"places": 6} if series else {})
    content = recipe_of(
        landscape, tmp_path, series=series, architecture=architecture, hyperparameters=chosen
    )
    model, report = train_recipe(content, device="cpu")
    assert (report.learner, report.fit) == (architecture, None)
    written = (tmp_path / "trained" / file).read_bytes()
    train_recipe(content, device="cpu")
    assert (tmp_path / "trained" / file).read_bytes() == written
    recipe = read_recipe(content)
    with open_work_folder(tmp_path / "work") as work:
        reading = Reading(recipe, read_recipe_labels(recipe), work)
        table = labelled_pixels(reading, model.spec.inputs[0].takes)
    learnt = predict_numbers(rs.open_model(tmp_path / "trained"), table).argmax(axis=1)
    frame = gpd.read_file(tmp_path / "labels.gpkg")
    west, south, east, north = frame.to_crs("EPSG:4326").total_bounds
    around = (west - 1e-3, south - 1e-3, east + 1e-3, north + 1e-3)
    mapped = rs.preview(content, bbox=around, device="cpu").classification.isel(time=0)
    at = [int(mapped.sel(x=p.x, y=p.y, method="nearest")) for p in frame.geometry]
    values = np.array([c.value for c in model.spec.classes])[learnt]
    assert len(set(at)) == 2
    assert sorted(at) == sorted(values.tolist())


def test_it_is_refused_before_imagery_is_read(landscape: Landscape, tmp_path: Path) -> None:
    content = recipe_of(landscape, tmp_path, architecture="random_forest")
    for hyperparameters, match in (
        ({"trees": 3}, "no hyperparameter 'trees'; it has indices, bands, places, bootstrap"),
        ({"indices": ["NDVX"]}, "no spectral index 'NDVX'"),
        ({"indices": ["NDMI"]}, "which no input has"),
    ):
        content["train"]["hyperparameters"] = hyperparameters
        content["inputs"]["s2"]["catalog"] = "nowhere.json"
        with pytest.raises(rs.ModelError, match=match):
            train_recipe(content, device="cpu")
    content["train"] |= {"hyperparameters": {}, "members": 2}
    with pytest.raises(rs.RecipeError, match="these are of networks: leave them out"):
        train_recipe(content, device="cpu")
    content["train"] |= {"architecture": "random_florest", "members": 1}
    with pytest.raises(rs.ModelError, match="and to train on pixels random_forest"):
        train_recipe(content, device="cpu")


@pytest.mark.extended
def test_a_recipe_compares_its_network_with_the_traditional_way(
    landscape: Landscape, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command line: chips are read once, no model is left, the table is kept as JSON."""
    content = recipe_of(landscape, tmp_path, steps=2, batch=2, split={"blocks": 900, "folds": 2})
    (tmp_path / "recipe.json").write_text(json.dumps(content))
    path = tmp_path / "recipe.yaml"
    path.write_text((tmp_path / "recipe.json").read_text())
    names = "random_forest,nearest_neighbours"
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", str(path), "--learners", names, "--device", "cpu"])
    assert ended.value.code in (0, None)
    text = capsys.readouterr().out
    assert text.splitlines()[0].split() == ["unet", "random_forest", "nearest_neighbours"]
    assert "tested on the same 18 labelled pixels in 2 folds" in text
    saved = json.loads((tmp_path / "recipe-comparison.json").read_text())
    assert [each["learner"] for each in saved["learners"]] == ["unet", *names.split(",")]
    assert saved["tested"] == {"crop": 9, "wood": 9}
    assert not (tmp_path / "trained").exists()
    assert not list(tmp_path.glob("*.comparison"))


def test_a_comparison_begins_anew_where_that_is_asked_for(
    landscape: Landscape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupted one says that ``--fresh`` does it."""
    asked: list[bool] = []

    def opened(_: Path, *, fresh: bool) -> None:
        asked.append(fresh)
        raise rs.RecipeError("enough")

    monkeypatch.setattr("rsscale.comparison.compare.open_work_folder", opened)
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe_of(landscape, tmp_path)))
    for flags in (["--fresh"], []):
        with pytest.raises(SystemExit):
            cli.main(["train", str(path), "--learners", "random_forest", *flags])
    assert asked == [True, False]


def test_learners_of_pixels_alone_need_no_images(landscape: Landscape, tmp_path: Path) -> None:
    content = recipe_of(landscape, tmp_path, split={"blocks": 900, "folds": 2})
    found = rs.compare(content, {"random_forest": {"n_estimators": 5}, "nearest_neighbours": {}})
    assert [trial.learner for trial in found.trials] == ["random_forest", "nearest_neighbours"]
    assert found.to_frame().notna()["overall accuracy"].all()
    with pytest.raises(rs.ModelError, match="no hyperparameter 'trees'"):
        rs.compare(content, {"random_forest": {"trees": 5}})


def test_a_comparison_and_a_training_take_the_same_pixels(
    landscape: Landscape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of labels that have more than are taken of a chip, with images and without."""
    content = recipe_of(landscape, tmp_path)
    fields = [shapely.box(X + 400 * k, Y, X + 400 * k + 330, Y + 500) for k in range(3)]
    frame = gpd.GeoDataFrame({"kind": ["crop", "wood", "crop"]}, geometry=fields, crs="EPSG:32631")
    frame.to_file(tmp_path / "labels.gpkg")
    recipe = read_recipe(content)
    labels, task = read_recipe_labels(recipe), Task(classes=read_recipe_labels(recipe).classes)
    monkeypatch.setattr("rsscale.pipeline.training.MOST_PIXELS", 40)
    with open_work_folder(tmp_path / "pixels") as work:
        table = labelled_pixels(Reading(recipe, labels, work))
    with open_work_folder(tmp_path / "chips") as work:
        chips = labelled_chips(Reading(recipe, labels, work), ())
        both, notes = ChipPixels.of(chips, input_bands(recipe), task, 40)
    compared = both.pixels.table
    np.testing.assert_array_equal(compared.inputs[0].values, table.inputs[0].values)
    assert np.array_equal(compared.groups, table.groups)
    assert np.array_equal(compared.targets, table.targets)
    assert 200 < len(table) < (chips.labels != 255).sum() / 2
    left = [{line.split(":")[0] for line in of if "beyond" in line} for of in (notes, table.notes)]
    assert left[0] == left[1]
    assert any(" of 'crop': beyond " in line for line in notes)


def test_what_a_classical_learner_can_t_have_is_refused_before_anything_is_read(
    landscape: Landscape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rsscale.comparison.compare.open_work_folder", None)
    content = recipe_of(landscape, tmp_path, architecture="random_forest", members=3)
    with pytest.raises(rs.RecipeError, match=r"random_forest has members: 3, .*leave them out"):
        rs.compare(content, ["random_forest", "nearest_neighbours"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"change": {"from": 2022, "to": 2023, "method": "temporal-model"}}, "add probability to"),
        ({"steps": {"later": {"kind": "temporal-model", "of": "map"}}}, "steps.later: needs the"),
        ({"steps": {"later": {"kind": "temporal-model", "of": "map", "stey": 1}}}, "'stay'"),
    ],
)
def test_a_change_that_could_not_work_is_refused_before_the_training(
    landscape: Landscape,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    message: str,
) -> None:
    monkeypatch.setattr("rsscale.pipeline.training.open_work_folder", None)
    content = recipe_of(landscape, tmp_path, architecture="random_forest") | changes
    content["periods"] = [2022, 2023]
    with pytest.raises(rs.RecipeError, match=message):
        train_recipe(content)
    layers = {"layers": ["classification", "probability"]}
    if "stey" not in str(changes):
        check_recipe_steps(read_recipe(content | {"output": layers}))
