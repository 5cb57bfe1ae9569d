"""Training from series at points: it learns, parts by place, repeats itself, and maps imagery."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from point_series import BANDS, long_form

import rsscale as rs
from rsscale.errors import ModelError, RecipeError
from rsscale.geo.lattice import Lattice
from rsscale.learn.models import open_model, save_model
from rsscale.learners.point_batches import predict_numbers

SMALL = {
    "tempcnn": {"width": 8, "places": 12},
    "ltae": {"width": 32, "heads": 4},
    "fusion": {"width": 32},
    "pixel": {"width": 16},
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def table_of(frame: pd.DataFrame, **options: object) -> rs.SeriesTable:
    defaults: dict = {
        "bands": BANDS, "label": "label", "nodata": -9999, "scale": 1e-4, "blocks": 2.0,
    }  # fmt: skip
    return rs.read_series_table(frame, **{**defaults, **options})


def run(table: rs.SeriesTable, architecture: str = "ltae", **options: object) -> tuple:
    defaults: dict = {"epochs": 25, "batch": 16, "seed": 1, "device": "cpu", "learning_rate": 1e-2}
    return rs.train_table(
        table,
        architecture=architecture,
        hyperparameters=SMALL[architecture],
        **{**defaults, **options},
    )


@pytest.fixture(scope="module")
def trained() -> tuple:
    return run(table_of(long_form()))


@pytest.mark.parametrize("architecture", ["tempcnn", "ltae", "fusion"])
def test_seasons_are_told_apart_where_nothing_was_trained(architecture: str) -> None:
    model, report = run(table_of(long_form()), architecture)
    assert model.spec.layout == "mapping"
    assert model.spec.inputs[0].takes == ("days", "valid")
    elsewhere = table_of(long_form(60, seed=5))
    found = predict_numbers(model, elsewhere).argmax(axis=1)
    names = np.array([c.name for c in model.spec.classes])
    assert (names[found] == elsewhere.targets).mean() > 0.95
    assert report.scores.accuracy > 0.9
    assert report.scores.count > 10


def test_the_same_seed_gives_the_same_weights(trained: tuple) -> None:
    again, report = run(table_of(long_form()))
    other, _ = run(table_of(long_form()), seed=2)
    first = trained[0].module.state_dict()
    assert all(torch.equal(v, again.module.state_dict()[k]) for k, v in first.items())
    assert not all(torch.equal(v, other.module.state_dict()[k]) for k, v in first.items())
    assert report.properties() == trained[1].properties()


def test_cross_validation_tests_every_sample_once() -> None:
    table = table_of(long_form())
    _, report = run(table, folds=3, epochs=12)
    assert report.scores.count == len(table) == sum(f.scores.count for f in report.folds)
    assert report.scores.accuracy > 0.9
    total = sum(f.scores.confusion for f in report.folds)
    np.testing.assert_array_equal(total, report.scores.confusion)
    assert "3 folds of places that their models were not trained on" in str(report)
    assert report.properties()["rsscale:training"]["folds"] == 3


def test_a_fold_is_not_trained_on_its_own_labels() -> None:
    """Labels that say nothing can't be predicted; a fold that was trained on would know them."""
    frame = long_form(90, gaps=0.0)
    names = frame["sample_id"].unique()
    random = dict(zip(names, np.random.default_rng(0).permutation(len(names)) % 2, strict=True))
    frame = frame.assign(label=["ab"[random[s]] for s in frame["sample_id"]])
    _, report = run(table_of(frame), folds=3, epochs=12)
    assert 0.3 < report.scores.accuracy < 0.7


def test_folds_that_lack_a_class_say_so() -> None:
    frame = long_form(60)
    rare = frame["sample_id"].isin(["p1", "p2"])
    frame = frame.assign(label=frame["label"].where(~rare, "rare"))
    about = frame.drop_duplicates("sample_id").assign(
        field=lambda f: f["sample_id"].str[1:].astype(int) // 3
    )
    table = table_of(frame, samples=about, group="field", blocks=None)
    _, report = run(table, folds=2, epochs=2)
    # All of it is one field, which stays with the training: it could not be told without.
    assert [line for line in report.remarks if "fold" in line] == [
        "fold 1 has no 'rare' to test", "fold 2 has no 'rare' to test",
    ]  # fmt: skip
    assert all(fold.trained["rare"] == 2 for fold in report.folds)


def test_values_are_learnt_in_their_own_units() -> None:
    table = table_of(long_form(), label=None, values=["height"])
    model, report = run(table, "tempcnn", epochs=40)
    assert [layer.name for layer in model.spec.output.quantities] == ["height"]
    found = predict_numbers(model, table)
    assert np.abs(found - table.targets).mean() < 0.5  # of a spread of 1
    assert 3 < found.mean() < 6
    assert report.scores.rmse["height"] < 0.8 < table.targets.std()
    assert "RMSE height" in str(report)


@pytest.mark.parametrize("balance", ["sampling", "none"])
def test_rare_classes_may_be_balanced_otherwise(balance: str) -> None:
    _, report = run(table_of(long_form()), balance=balance)
    assert report.scores.balanced_accuracy > 0.8


def test_the_model_maps_imagery_of_the_same_bands(tmp_path: Path) -> None:
    """Two fields in a scene, as series with gaps and more dates than any sample had."""
    model, _ = run(table_of(long_form()), observations=50, lattice=Lattice(16, 0))
    save_model(model, tmp_path / "m")
    model = open_model(tmp_path / "m", device="cpu")
    scene = scene_of(long_form(2, seed=9, gaps=0.0))
    found = rs.predict({"series": scene}, model)
    names = {c.value: c.name for c in model.spec.classes}
    labels = found["classification"].values.squeeze()  # noqa: PD011
    assert {names[int(v)] for v in np.unique(labels[:, :8])} == {"late"}
    assert {names[int(v)] for v in np.unique(labels[:, 8:])} == {"early"}
    with pytest.raises(ModelError, match="wants band 'nir'"):
        rs.predict({"series": scene.sel(band=["red"])}, model)


def scene_of(frame: pd.DataFrame) -> xr.DataArray:
    """The first sample on the left, the second on the right, on the dates of either."""
    dates = np.unique(frame["date"])
    values = np.full((len(dates), 2, 16, 16), np.nan, np.float32)
    for column, (_, rows) in enumerate(frame.groupby("sample_id")):
        at = np.searchsorted(dates, rows["date"])
        pixels = rows[list(BANDS)].to_numpy()[:, :, None, None] * 1e-4
        values[at, :, :, 8 * column : 8 * (column + 1)] = pixels
    import odc.geo.xr
    from odc.geo.geobox import GeoBox

    box = GeoBox(
        (16, 16),
        GeoBox.from_bbox((0, 0, 160, 160), "EPSG:32633", shape=(16, 16)).affine,
        "EPSG:32633",
    )
    coords = odc.geo.xr.xr_coords(box)
    seen = np.isfinite(values).all(axis=1).astype(np.uint8)
    return xr.DataArray(
        values,
        dims=("time", "band", "y", "x"),
        coords={
            "time": dates,
            "band": list(BANDS),
            "observations": (("time", "y", "x"), seen),
            **coords,
        },
    )


def test_without_groups_to_keep_back_it_says_so() -> None:
    model, report = run(table_of(long_form(12), blocks=100.0), epochs=2)
    assert report.scores.count == 0
    assert "accuracy not estimable: all places were trained on" in str(report)
    assert report.properties()["rsscale:training"]["accuracy"] is None
    assert not model.module.training


def test_what_is_wrong_is_said() -> None:
    table = table_of(long_form(30))
    with pytest.raises(RecipeError, match="looks 23 px around a pixel"):
        rs.train_table(table, architecture="utae")
    with pytest.raises(ModelError, match="did you mean 'ltae'"):
        rs.train_table(table, architecture="ltea")
    with pytest.raises(RecipeError, match=r"no setting 'epoch'.*did you mean 'epochs'"):
        rs.train_table(table, epoch=3)
    with pytest.raises(RecipeError, match="balance is 'weight'"):
        rs.train_table(table, balance="weight")
    with pytest.raises(RecipeError, match="at least 2"):
        rs.train_table(table, batch=1)
    with pytest.raises(RecipeError, match="there is one class"):
        run(table_of(long_form(30).assign(label="a")))
    with pytest.raises(RecipeError, match="40 folds of"):
        run(table, folds=40)
    names = ("early", "late", "other")
    classes = [rs.LandClass(k, name, "#000000") for k, name in enumerate(names)]
    with pytest.raises(RecipeError, match="class 'other' has no sample"):
        run(table, classes=classes)
    with pytest.raises(RecipeError, match="the layers"):
        run(table_of(long_form(30), label=None, values=["height"]), quantities=[rs.Layer("depth")])
    with pytest.raises(RecipeError, match="diverged"):
        run(table, learning_rate=1e30, epochs=3)


@pytest.mark.extended
def test_a_classical_learner_is_tested_in_the_folds_of_the_networks() -> None:
    pytest.importorskip("skops", reason="the extra 'classical' is not installed")
    table = table_of(long_form())
    _, forest = rs.train_table(table, architecture="random_forest", folds=3, seed=1)
    _, network = run(table, folds=3, epochs=2)
    for one, other in zip(forest.folds, network.folds, strict=True):
        assert one.scores.samples == other.scores.samples
    assert forest.fit is None
    assert forest.calibration.temperature == 1.0
    assert sum(forest.trained.values()) == len(table)  # nothing is kept for a validation
    assert forest.scores.accuracy > 0.9


@pytest.mark.parametrize("folds", [0, 3])
def test_an_epoch_sees_the_samples_of_the_training_once(folds: int) -> None:
    """Neither those of the validation nor those of the test are in it."""
    table = table_of(long_form())
    _, report = run(table, epochs=3, batch=8, patience=0, folds=folds)
    learnt = sum(report.trained.values())
    assert learnt < 0.85 * 120 if folds else learnt < 0.7 * 120
    assert len(report.fit.losses) == 3 * (learnt // 8)
