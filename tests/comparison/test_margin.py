"""The margin of a learner: gains add up to the figure, intervals count places and not samples."""

import numpy as np
import pytest

from rsscale.accuracy.place_interval import LEVEL, place_interval
from rsscale.comparison.margin import Margin, gains
from rsscale.layers import Layer
from rsscale.learners.base import Predictions, Task
from rsscale.legend.classes import LandClass

CLASSES = Task(classes=(LandClass(1, "a", "#000000"), LandClass(2, "b", "#ffffff")))
VALUES = Task(quantities=(Layer("h", dtype="float32"), Layer("d", dtype="float32")))


def predictions(numbers: np.ndarray, truth: np.ndarray) -> Predictions:
    return Predictions(numbers.astype(np.float32), truth, np.zeros(len(truth), np.int64))


def test_gains_have_the_mean_of_the_figure() -> None:
    random = np.random.default_rng(0)
    of_classes = predictions(random.random((50, 2)), random.integers(0, 2, 50))
    assert gains(CLASSES, of_classes).mean() == pytest.approx(CLASSES.score(of_classes).accuracy)
    truth = random.normal(0, 2, (50, 2))
    of_values = predictions(truth + random.normal(0, 1, (50, 2)), truth)
    expected = np.mean(list(VALUES.score(of_values).r2.values()))
    assert gains(VALUES, of_values).mean() == pytest.approx(expected, abs=1e-6)


def test_the_interval_is_that_of_students_t_where_places_are_alike_in_size() -> None:
    """With as many samples in each place the ratio estimator is the mean of their means."""
    from scipy import stats

    random = np.random.default_rng(1)
    of_places = random.normal(0.1, 0.2, 12)
    differences, groups = np.repeat(of_places, 5), np.repeat(np.arange(12), 5)
    low, high = stats.t.interval(LEVEL, 11, of_places.mean(), stats.sem(of_places))
    assert place_interval(differences, groups) == pytest.approx((of_places.mean(), low, high))


def test_more_samples_of_the_same_places_say_no_more() -> None:
    random = np.random.default_rng(2)
    differences, groups = random.normal(0, 1, 40), np.arange(40) % 8
    once = place_interval(differences, groups)
    assert place_interval(np.tile(differences, 9), np.tile(groups, 9)) == pytest.approx(once)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    held = 0
    for _ in range(400):
        sizes = random.integers(1, 30, 15)
        groups = np.repeat(np.arange(15), sizes)
        means = random.normal(0.05, 0.1, 15)
        _, low, high = place_interval(means[groups] + random.normal(0, 0.2, len(groups)), groups)
        held += low <= 0.05 <= high
    assert 0.9 < held / 400 < 0.99


def test_one_place_has_no_interval() -> None:
    mean, low, high = place_interval(np.array([1.0, 0.0]), np.array([3, 3]))
    assert mean == 0.5
    assert np.isnan([low, high]).all()
    margin = Margin("a", "b", "R2", mean, low, high, 1)
    assert "no interval" in str(margin)
    assert not margin.is_clear


def test_predictions_that_are_no_numbers_gain_nothing() -> None:
    numbers = np.array([[1.0, 0.0], [np.nan, 0.0], [0.0, 1.0], [np.inf, 0.0]])
    assert gains(CLASSES, predictions(numbers, np.zeros(4, int))).tolist() == [1, 0, 0, 0]
    truth = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 8.0], [0.0, 0.0]])
    said = np.where(np.isnan(numbers), np.nan, truth)
    assert gains(VALUES, predictions(said, truth)).tolist() == [1, 0, 1, 1]
