"""Comparing learners on a table: same folds, the table as text, JSON and frame, and what lacks."""

import json
from pathlib import Path

import numpy as np
import pytest
from point_series import BANDS, long_form

import rsscale as rs
from rsscale.classical.point_estimator import PointEstimator
from rsscale.comparison.trials import Contender, try_all
from rsscale.errors import RecipeError
from rsscale.learners.base import Design, Loop
from rsscale.learners.point_network import PointNetwork
from rsscale.learners.point_samples import point_samples
from rsscale.training.split import SplitPlan

pytest.importorskip("skops", reason="the extra 'classical' is not installed")
LEARNERS = {"pixel": {"width": 8}, "random_forest": {"n_estimators": 15}, "nearest_neighbours": {}}


def windows(count: int = 120, noise: float = 0.1) -> rs.SeriesTable:
    """Two windows of two bands; the class shifts them."""
    random = np.random.default_rng(0)
    targets = np.arange(count) % 3
    values = random.normal(0, noise, (count, 2, 2)) + 0.1 * targets[:, None, None]
    return rs.SeriesTable.of_arrays(
        values, [100, 200], np.array(["oak", "elm", "ash"])[targets], bands=["red", "nir"],
        times=["a", "b"], groups=np.arange(count) // 6, name="s2",
    )  # fmt: skip


@pytest.fixture(scope="module")
def comparison() -> rs.Comparison:
    return rs.compare_table(windows(), LEARNERS, folds=4, epochs=5, device="cpu", seed=3)


def test_each_learner_has_the_figures_that_its_own_training_has(comparison: rs.Comparison) -> None:
    frame = comparison.to_frame()
    for name, hyperparameters in LEARNERS.items():
        options = {"epochs": 5, "device": "cpu"} if name == "pixel" else {}
        _, report = rs.train_table(
            windows(), architecture=name, hyperparameters=hyperparameters, folds=4, seed=3,
            **options,
        )  # fmt: skip
        row = frame.loc[name]
        assert row["overall accuracy"] == report.scores.accuracy
        assert row["balanced accuracy"] == report.scores.balanced_accuracy
        assert row["calibration error"] == pytest.approx(report.calibration.error)
        has_sets = any(report.calibration.thresholds)
        assert np.isfinite(row["coverage"]) == has_sets
        assert not has_sets or row["coverage"] == pytest.approx(report.calibration.coverage)
        assert {n: row[f"F1 {n}"] for n in report.f1} == report.f1


def test_the_margin_is_of_the_network_over_the_best_baseline(comparison: rs.Comparison) -> None:
    trials = {trial.learner: trial for trial in comparison.trials}
    best = max((t for t in comparison.trials if t.is_baseline), key=lambda t: t.scores.accuracy)
    margin = comparison.margin
    assert margin is not None
    assert (margin.learner, margin.other) == ("pixel", best.learner)
    expected = trials["pixel"].scores.accuracy - best.scores.accuracy
    assert margin.difference == pytest.approx(expected)
    assert margin.low < margin.difference < margin.high
    assert margin.places == 20


def test_it_is_printed_and_saved(comparison: rs.Comparison, tmp_path: Path) -> None:
    text = str(comparison)
    head = text.splitlines()[0].split()
    assert head == ["pixel", "random_forest", "nearest_neighbours"]
    assert "tested on the same 120 labelled pixels in 4 folds" in text
    assert "pixel over " in text
    assert all(f"F1 {name}" in text for name in ("oak", "elm", "ash"))
    comparison.save(tmp_path / "c.json")
    content = json.loads((tmp_path / "c.json").read_text())
    assert content["tested"] == {"ash": 40, "elm": 40, "oak": 40}
    assert [len(each["folds"]) for each in content["learners"]] == [4, 4, 4]
    assert content["margin"]["places"] == 20
    html = comparison._repr_html_()
    assert "<table" in html
    assert "random_forest" in html


@pytest.mark.extended
def test_a_class_that_is_not_tested_says_so() -> None:
    """Of two groups that hold a class, one stays with the training; the other may be in no test."""
    table = windows(60)
    rare = np.where(np.arange(60) < 3, "rare", table.targets)
    some = rs.SeriesTable(table.inputs, rare, table.groups)
    found = rs.compare_table(some, ["random_forest"], folds=0, test=0.3, seed=1)
    assert "'rare' has no sample to test" in str(found)
    assert np.isnan(found.to_frame().loc["random_forest", "F1 rare"])
    assert "not estimable" in str(found)
    assert found.properties()["learners"][0]["F1 rare"] is None
    folded = rs.compare_table(some, ["random_forest"], folds=3)
    assert "'rare' has no sample to test" in str(folded)


def test_values_are_compared_by_error_and_variance() -> None:
    random = np.random.default_rng(0)
    values = random.random((80, 1, 2))
    truth = np.stack([values[:, 0, 0] * 3, values[:, 0, 1] - 1], axis=1)
    table = rs.SeriesTable.of_arrays(
        values, [100], truth, bands=BANDS, times=["a"], quantities=["height", "depth"],
        groups=np.arange(80) // 4,
    )  # fmt: skip
    found = rs.compare_table(table, folds=2, epochs=3, device="cpu")
    assert list(found.to_frame().columns) == [
        "RMSE height", "RMSE depth", "R2 height", "R2 depth", "seconds",
    ]  # fmt: skip
    assert list(found.to_frame().index) == ["pixel", "random_forest", "nearest_neighbours"]
    assert "gradient_boosting: it learns one value" in str(found)
    assert found.margin is not None
    assert found.margin.measure == "R2"


def test_what_can_not_be_compared_is_refused() -> None:
    with pytest.raises(RecipeError, match="expected one or more, each once"):
        rs.compare_table(windows(), [])
    alone = rs.SeriesTable(windows().inputs, windows().targets, np.zeros(120, np.int64))
    with pytest.raises(RecipeError, match="there is nothing to test on"):
        rs.compare_table(alone, ["random_forest"], folds=0)
    with pytest.raises(RecipeError, match="no setting 'epoch'; it has epochs"):
        rs.compare_table(windows(), ["random_forest"], epoch=3)
    with pytest.raises(rs.ModelError, match="'florest' is not known"):
        rs.compare_table(windows(), ["florest"], folds=2)


def test_a_network_has_a_validation_and_a_forest_learns_from_it() -> None:
    """Both are tested on the same samples; what is kept from the network is the forest's."""
    task, samples = point_samples(rs.read_series_table(
        long_form(60), bands=BANDS, label="label", nodata=-9999, scale=1e-4, blocks=2.0
    ))  # fmt: skip
    seen: dict[str, list[tuple[int, int]]] = {"network": [], "forest": []}

    class Network(PointNetwork):
        def fit(self, training, validation):
            seen["network"].append((len(training), len(validation)))
            return super().fit(training, validation)

    class Forest(PointEstimator):
        def fit(self, training, validation):
            seen["forest"].append((len(training), len(validation)))
            return super().fit(training, validation)

    contenders = [
        Contender(Network(Design("m", "tempcnn", {"width": 4}), task, Loop(2, 8)), False),
        Contender(Forest(Design("m", "random_forest", {"n_estimators": 3}), task), True),
    ]
    try_all(contenders, samples, task, SplitPlan(validation=0.25, folds=2))
    for (training, validation), (all_of_it, none) in zip(*seen.values(), strict=True):
        assert validation > 0
        assert (training + validation, 0) == (all_of_it, none)
