"""The figures of the benchmark of change, counted by hand."""

import numpy as np
import pytest

from benchmarks.change_figures import Prediction, Truth, calibration_error, false_at, measure

YEARS = (2021, 2022, 2023)


def truth() -> Truth:
    """Ten by ten pixels; a column changes in 2022, another in 2023, one comes back."""
    classes = np.ones((3, 10, 10), np.uint8)
    classes[1:, :, 0] = 2
    classes[2:, :, 1] = 2
    classes[1, :, 2] = 3
    where = np.ones((10, 10), bool)
    where[9] = False
    return Truth(classes, YEARS, where)


def test_a_change_is_a_class_that_is_not_the_same_in_all_years() -> None:
    one = truth()
    assert one.changed.all(axis=0).tolist() == [True] * 3 + [False] * 7
    assert one.since[0].tolist() == [2022, 2023, 2023] + [0] * 7
    assert one.near_border[0].tolist() == [True] * 4 + [False] * 6


def test_figures_are_shares_of_the_pixels_that_are_measured() -> None:
    real = truth()
    changed = np.zeros((10, 10), bool)
    changed[:, [0, 1, 3, 7]] = True
    known = np.ones((10, 10), bool)
    known[:, 8] = False
    year = np.full((10, 10), 2022)
    figures = measure(real, Prediction(changed, known, None, year))
    assert figures.precision == 0.5
    assert figures.recall == pytest.approx(2 / 3)
    assert figures.f1 == pytest.approx(4 / 7)
    assert figures.area_ratio == pytest.approx(4 / 3)
    assert figures.false == pytest.approx(1e5 * 2 / 7)
    assert figures.false_at_border == 0.5  # the column beside the changed ones
    assert figures.year_right == 0.5
    assert figures.mapped == 0.9
    assert figures.calibration is figures.differencing is None


def test_false_pixels_are_compared_at_the_same_recall() -> None:
    real = truth()
    probability = np.zeros((10, 10), np.float32)
    probability[:, :2] = 0.9
    probability[:, 3] = 0.5
    probability[:, 2] = 0.4
    said = Prediction(probability >= 0.5, np.ones((10, 10), bool), probability)
    assert false_at(real, said, 2 / 3) == 0
    assert false_at(real, said, 1) == 9
    # A method that finds all that changed with two false columns: the other has half of them.
    changed = np.zeros((10, 10), bool)
    changed[:, [0, 1, 2, 5, 6]] = True
    method = Prediction(changed, np.ones((10, 10), bool))
    assert measure(real, method, said).differencing == 0.5


def test_a_probability_is_calibrated_where_it_comes_true_as_often() -> None:
    probability = np.repeat([0.1, 0.8], 10).astype(np.float32)
    outcome = np.array([1] + [0] * 9 + [1] * 8 + [0] * 2, bool)
    assert calibration_error(probability, outcome) == pytest.approx(0, abs=1e-6)
    assert calibration_error(probability, ~outcome) == pytest.approx(0.7, abs=1e-6)
    assert calibration_error(probability[:0], outcome[:0]) == 0


def test_a_method_is_cut_where_it_finds_as_much_as_differencing_does() -> None:
    real, every = truth(), np.ones((10, 10), bool)
    labels = np.zeros((10, 10), bool)
    labels[:, [0, 1, 3]] = True  # two of three columns that changed, and one that did not
    probability = np.zeros((10, 10), np.float32)
    probability[:, :2] = 0.3
    probability[:3, 5] = 0.9
    method = Prediction(probability >= 0.5, every, probability)
    assert measure(real, method, Prediction(labels, every)).as_it_is == 3
    assert measure(real, Prediction(labels, every), method).as_it_is is None
