"""What is measured of models: sums over folds are exact, predictions are few of each place."""

import numpy as np
import pytest

from rsscale.layers import Layer
from rsscale.learners.base import Predictions, Task
from rsscale.legend.classes import LandClass
from rsscale.training.measured import Measured, most_of_place, thinned

CLASSES = Task(classes=(LandClass(1, "a", "#000000"), LandClass(2, "b", "#ffffff")))
VALUES = Task(quantities=(Layer("h", dtype="float32"),))


def predictions(count: int, places: int, seed: int = 0) -> Predictions:
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(count, 2)).astype(np.float32)
    return Predictions(
        numbers, random.integers(0, 2, count), random.integers(-3, places - 3, count)
    )


def test_scores_of_folds_are_those_of_all_samples_together() -> None:
    whole = predictions(500, 8)
    parts = [whole.subset(whole.groups % 3 == k) for k in range(3)]
    first, *rest = (Measured.of(part, CLASSES, 10) for part in parts)
    together = sum(rest, first)
    assert np.array_equal(together.scores.confusion, CLASSES.score(whole).confusion)
    assert np.bincount(together.predictions.groups + 3).tolist() == [10] * 8
    truth = whole.truth[:, None].astype(float)
    values = Predictions(whole.numbers[:, :1], truth, whole.groups)
    halves = [Measured.of(values.subset(whole.groups % 2 == k), VALUES, 5) for k in range(2)]
    assert (halves[0] + halves[1]).scores.rmse == pytest.approx(VALUES.score(values).rmse)
    with pytest.raises(TypeError):
        halves[0].scores + first.scores


def test_predictions_of_a_place_do_not_depend_on_the_others() -> None:
    whole = predictions(2000, 5)
    kept = thinned(whole, 100)
    assert np.bincount(kept.groups + 3).tolist() == [100] * 5
    for group in range(-3, 2):
        alone = thinned(whole.subset(whole.groups == group), 100)
        of_all = kept.subset(kept.groups == group)
        assert np.array_equal(alone.numbers, of_all.numbers)
        assert np.array_equal(alone.truth, of_all.truth)
    assert thinned(whole, 2000) is whole
    # Half a million of a thousand places, and one of each where places are samples.
    assert (most_of_place(1000), most_of_place(10**6), most_of_place(0)) == (500, 1, 500_000)


def test_predictions_that_are_no_numbers_count_in_no_score() -> None:
    whole = predictions(300, 4)
    whole.numbers[:7, 1] = np.nan
    whole.numbers[7:9, 0] = np.inf
    found = Measured.of(whole, CLASSES, 1000)
    assert found.not_numbers == 9
    rest = whole.subset(np.arange(300) >= 9)
    assert np.array_equal(found.scores.confusion, CLASSES.score(rest).confusion)
    assert len(found.predictions.truth) == 291
