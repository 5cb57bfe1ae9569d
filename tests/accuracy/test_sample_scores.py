"""Scores against scikit-learn."""

import numpy as np
import pytest

from rsscale.accuracy.sample_scores import ClassScores, ValueScores


def test_scores_of_classes_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

    random = np.random.default_rng(0)
    truth = random.integers(0, 4, 200)
    found = np.where(random.random(200) < 0.6, truth, random.integers(0, 4, 200))
    scores = ClassScores.of(("a", "b", "c", "d"), found, truth)
    assert scores.accuracy == pytest.approx(accuracy_score(truth, found))
    assert scores.balanced_accuracy == pytest.approx(balanced_accuracy_score(truth, found))
    assert list(scores.f1.values()) == pytest.approx(list(f1_score(truth, found, average=None)))
    assert sum(scores.samples.values()) == scores.count == 200


def test_a_class_that_is_not_there_is_not_estimable() -> None:
    scores = ClassScores.of(("a", "b", "c"), np.array([0, 1, 2]), np.array([0, 1, 1]))
    assert np.isnan(scores.f1["c"])
    assert scores.balanced_accuracy == pytest.approx((1 + 0.5) / 2)
    assert "not estimable" in "\n".join(scores.lines())


def test_errors_of_values_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import r2_score, root_mean_squared_error

    random = np.random.default_rng(0)
    truth = random.normal(size=(50, 2))
    found = truth + random.normal(0.1, 0.3, (50, 2))
    scores = ValueScores(("h", "v"), found - truth, truth)
    rmse = root_mean_squared_error(truth, found, multioutput="raw_values")
    assert list(scores.rmse.values()) == pytest.approx(list(rmse))
    assert list(scores.r2.values()) == pytest.approx(
        list(r2_score(truth, found, multioutput="raw_values"))
    )
    assert list(scores.bias.values()) == pytest.approx(list((found - truth).mean(axis=0)))


def test_of_nothing_nothing_is_known() -> None:
    none = ClassScores.of(("a", "b"), np.zeros(0, int), np.zeros(0, int))
    assert np.isnan(none.accuracy)
    assert np.isnan(none.balanced_accuracy)
    values = ValueScores(("h",), np.zeros((0, 1)), np.zeros((0, 1)))
    assert np.isnan([values.rmse["h"], values.bias["h"], values.r2["h"]]).all()
