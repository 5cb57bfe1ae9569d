"""A report tells its story in files, the same way whatever was trained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import torch
from point_series import BANDS, long_form

import rsscale as rs
from rsscale.errors import ModelError
from rsscale.learners.fit import learning_rates
from rsscale.learners.point_batches import predict_numbers
from rsscale.model.files import REPORT_FILES, is_calibrated, read_training
from rsscale.model.outputs import ClassOutput
from rsscale.model.validation import check_model_item
from rsscale.training.background import _plain


def trained(**options: Any) -> tuple:
    reading = {"label": "label", "blocks": 2.0, "crs": "EPSG:4326"} | options.pop("reading", {})
    table = rs.read_series_table(long_form(), bands=BANDS, nodata=-9999, scale=1e-4, **reading)
    return rs.train_table(
        table, architecture="pixel" if options.pop("flat", False) else "ltae",
        hyperparameters={"width": 32, "heads": 4}, epochs=6, batch=16, device="cpu", seed=1,
        **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, drawing: Any) -> tuple[Path, Any]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    model, report = trained()
    torch.set_num_threads(before)
    path = tmp_path_factory.mktemp("story") / "model"
    with drawing():
        rs.save_model(model, path, report=report)
    return path, report


def test_the_folder_holds_what_the_report_knows(folder: tuple[Path, Any]) -> None:
    path, report = folder
    training = read_training(path)
    assert training["scores"]["confusion_matrix"] == report.scores.confusion.tolist()
    assert training["trained"] == dict(report.trained)
    assert training["curve"]["kept"] == report.fit.kept
    assert training["curve"]["loss"] == pytest.approx(report.fit.losses, rel=1e-5)
    assert len(training["curve"]["learning_rate"]) == len(training["curve"]["loss"])
    assert training["settings"]["loop"]["batch"] == 16
    assert training["settings"]["design"]["architecture"] == "ltae"
    assert training["calibration"]["temperature"] == pytest.approx(report.calibration.temperature)
    after = training["calibration"]["reliability"]
    assert sum(after["weight"]) == pytest.approx(1, abs=1e-4)
    assert training["versions"]["torch"] == torch.__version__.split("+")[0]
    assert training["labels"]["used"] == {"early": 80, "late": 40}


def test_each_place_has_its_role_its_labels_and_its_box(folder: tuple[Path, Any]) -> None:
    path, report = folder
    split = read_training(path)["split"]
    assert (split["groups"], split["crs"]) == ("blocks of 2 °", "EPSG:4326")
    counts = {"training": 0, "validation": 0, "test": 0}
    for place in split["places"]:
        counts[place["role"]] += sum(place["labels"].values())
        assert place["id"] in getattr(report.split, place["role"])
        own = shapely.geometry.shape(place["shape"])
        assert own.area == 4
    assert counts["training"] == sum(report.trained.values())
    assert counts["test"] == report.scores.count
    inside = shapely.union_all([shapely.geometry.shape(p["shape"]) for p in split["places"]])
    assert all(inside.intersects(shapely.Point(x, y)) for x, y, _ in split["points"])
    assert sum(name == "late" for _, _, name in split["points"]) == 40


def test_the_split_is_geojson_in_degrees(folder: tuple[Path, Any]) -> None:
    path, _ = folder
    features = json.loads((path / "split.geojson").read_text())["features"]
    places = read_training(path)["split"]["places"]
    assert [f["properties"]["role"] for f in features] == [p["role"] for p in places]
    assert sum(f["properties"]["labels late"] for f in features) == 40
    assert all(shapely.geometry.shape(f["geometry"]).bounds[2] <= 10 for f in features)


def test_the_item_names_every_file_and_stays_a_model(folder: tuple[Path, Any]) -> None:
    path, _ = folder
    item = json.loads((path / "item.json").read_text())
    check_model_item(item, "item.json")
    named = {asset["href"].removeprefix("./") for asset in item["assets"].values()}
    assert named | {"item.json"} == {file.name for file in path.iterdir()}
    assert all(asset["roles"] for asset in item["assets"].values())
    assert item["assets"]["split-picture"]["roles"] == ["graphic"]
    assert rs.open_model(path).spec.name == "series"


def test_an_older_story_goes_with_its_model(folder: tuple[Path, Any], tmp_path: Path) -> None:
    _, report = folder
    model, _ = trained(test=0.0)
    rs.save_model(model, tmp_path / "m", report=report)
    rs.save_model(model, tmp_path / "m")
    assert not {file.name for file in (tmp_path / "m").iterdir()} & set(REPORT_FILES)
    assert read_training(tmp_path / "m") is None
    (tmp_path / "m" / "training.json").write_text('{"format": 99}')
    with pytest.raises(ModelError, match="has the format 99; expected 1"):
        read_training(tmp_path / "m")


def test_folds_say_where_each_place_was_tested() -> None:
    _, report = trained(folds=3)
    story = report.to_dict()
    tested = dict.fromkeys((1, 2, 3), 0)
    for place in story["split"]["places"]:
        tested[place["fold"]] += sum(place["labels"].values())
    assert tested == {f["number"]: sum(f["tested"].values()) for f in story["folds"]}
    assert {place["role"] for place in story["split"]["places"]} == {"training", "validation"}


def test_values_and_places_without_coordinates_have_a_story_too(tmp_path: Path) -> None:
    frame = long_form().assign(field=lambda f: f["sample_id"].str[-1]).drop(columns=["x", "y"])
    table = rs.read_series_table(
        frame, bands=BANDS, values=["height"], group="field", nodata=-9999, scale=1e-4
    )
    model, report = rs.train_table(table, architecture="ltae", hyperparameters={"width": 32},
                                   epochs=3, device="cpu")  # fmt: skip
    rs.save_model(model, tmp_path / "m", report=report)
    training = read_training(tmp_path / "m")
    assert training["quantities"] == ["height"]
    assert training["scores"]["rmse"]["height"] == pytest.approx(report.scores.rmse["height"])
    truth = np.array(training["pairs"]["height"])
    assert np.sqrt(((truth[:, 0] - truth[:, 1]) ** 2).mean()) == pytest.approx(
        report.scores.rmse["height"], rel=1e-4
    )
    features = json.loads((tmp_path / "m" / "split.geojson").read_text())["features"]
    assert [f["geometry"] for f in features] == [None] * 10


def test_a_report_shows_itself_in_a_notebook(folder: tuple[Path, Any]) -> None:
    _, report = folder
    assert report.verdict in report._repr_html_()
    assert report.plot().axes[0].get_xlabel() == "class in the labels"
    assert report.plot("reliability").axes[1].get_ylabel() == "share of pixels"
    with pytest.raises(ModelError, match=r"no picture 'curve'; .*did you mean 'curves'"):
        report.plot("curve")


def test_learning_rates_are_those_of_the_loop() -> None:
    rates = learning_rates(0.1, 20)
    assert len(rates) == 20
    assert max(rates) == pytest.approx(0.1)
    assert rates.index(max(rates)) == 2
    assert rates[-1] < 1e-5


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("folds", [0, 3])
def test_a_model_that_predicts_no_numbers_is_saved_and_says_so(
    every: int, folds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def strange(model: Any, table: Any) -> np.ndarray:
        numbers = predict_numbers(model, table)
        numbers[::every, 1] = np.nan
        return numbers

    monkeypatch.setattr("rsscale.learners.point_network.predict_numbers", strange)
    model, report = trained(folds=folds)
    tested = report.scores.count + report.not_numbers
    assert tested == 120 if folds else tested < 60
    assert report.not_numbers >= -(-tested // every)
    assert report.not_numbers < tested or every == 1
    assert report.calibration is None
    rs.save_model(model, tmp_path / "m", report=report)
    training = read_training(tmp_path / "m")
    assert training["not_numbers"] == report.not_numbers
    assert training["remarks"] == list(report.remarks)
    assert "probabilities are not calibrated: not all predictions are numbers" in report.remarks
    assert f"{report.not_numbers} predictions of the model are no numbers" in str(report)
    if every == 1:
        assert report.verdict.startswith(f"accuracy not estimable: all {tested} predictions are no")


def test_values_that_are_no_numbers_are_told_as_none() -> None:
    frame = long_form()
    table = rs.read_series_table(
        frame, bands=BANDS, values=["height"], nodata=-9999, scale=1e-4, blocks=2.0
    )
    _, report = rs.train_table(table, architecture="pixel", epochs=1, device="cpu")
    predictions = report.predictions
    predictions.numbers[:2] = [[np.inf], [np.nan]]
    story = replace(report, predictions=predictions).to_dict()
    assert [said for _, said in story["pairs"]["height"][:2]] == [None, None]
    json.dumps(story, allow_nan=False)
    strange = replace(report.background, settings=_plain({"rate": np.inf, "left": [np.nan, 1.5]}))
    settings = replace(report, background=strange).to_dict()["settings"]
    assert settings == {"rate": "inf", "left": ["nan", 1.5]}


def test_what_was_not_done_is_said_in_a_line_each() -> None:
    _, report = trained(reading={"blocks": 100.0})
    why = "there are too few, or each holds all that is left of a class"
    assert report.remarks == (
        f"no place was kept for validation: {why}; the weights are those of the last step, 42",
        f"no place was kept for the test: {why}",
        "probabilities are not calibrated: no place was left to test on",
    )
    assert all(line in str(report) for line in report.remarks)
    assert report.properties()["rsscale:training"]["remarks"] == list(report.remarks)
    _, report = trained(validation=0.0, test=0.05)
    assert len(report.split.test) == 2
    assert report.remarks == (
        "probabilities are not calibrated: that takes 3 places that were tested, and there are 2",
    )
    _, report = trained()
    assert report.remarks == ()
    assert "25 places (blocks of 2 °): 16 for training, 4 for validation, 5 for test" in str(report)


def test_a_model_is_calibrated_if_its_item_says_so(folder: tuple[Path, Any]) -> None:
    path, _ = folder
    item = json.loads((path / "item.json").read_text())
    spec = rs.ModelSpec.from_item(item)
    assert is_calibrated(spec, item["properties"])
    plain = replace(spec, output=ClassOutput())
    assert is_calibrated(plain, item["properties"])  # no temperature was better than none
    assert not is_calibrated(plain, {})
    assert not is_calibrated(plain, {"rsscale:training": {"calibration": None}})
    assert is_calibrated(replace(spec, output=ClassOutput(temperature=1.2)), {})
