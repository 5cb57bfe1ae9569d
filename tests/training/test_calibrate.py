"""Calibration on held-out blocks: known temperatures come back, figures are of blocks left out."""

import numpy as np
import pytest

from rsscale.accuracy.calibration import fit_temperature, reliability, softmax
from rsscale.learners.base import Predictions
from rsscale.model.outputs import ClassOutput
from rsscale.training.calibrate import calibrate


def held(
    temperature: float = 1.0, blocks: int = 40, pixels: int = 200, seed: int = 0
) -> Predictions:
    """Scores that are too sure by a temperature, of classes drawn from what is true."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (blocks * pixels, 4))
    drawn = random.random((len(logits), 1))
    truth = (softmax(logits).cumsum(axis=1) < drawn).sum(axis=1)
    groups = np.repeat(np.arange(blocks), pixels)
    return Predictions((logits * temperature).astype(np.float32), truth, groups)


def test_scores_are_calibrated() -> None:
    found = calibrate(held(temperature=3.0), 0.9)
    assert found is not None
    assert found.temperature == pytest.approx(3.0, rel=0.06)
    assert found.error < 0.02 < found.error_before
    assert 0.89 < found.coverage < 0.9 + 1 / 40 + 0.01  # one block of 41 is counted as missed
    assert 1 < found.set_size < 4
    assert found.blocks == 40
    output = found.apply_to(ClassOutput())
    assert output.temperature == found.temperature
    assert output.conformal is not None
    assert (output.conformal.level, len(output.conformal.thresholds)) == (0.9, 4)


def test_figures_are_of_blocks_that_were_left_out() -> None:
    """One block that is wholly wrong: what was fitted on it must not be measured on it."""
    some = held(temperature=1.0, blocks=4, pixels=300)
    wrong = some.groups == 0
    truth = np.where(wrong, (some.numbers.argmax(axis=1) + 1) % 4, some.truth)
    found = calibrate(Predictions(some.numbers * 2, truth, some.groups), 0.8)
    assert found is not None
    cooled = softmax(some.numbers * 2, found.temperature)
    fitted = reliability(cooled, truth, some.groups).error
    assert found.error > fitted  # that of the pixels it was fitted to flatters


def test_too_few_blocks_say_nothing() -> None:
    assert calibrate(held(blocks=2), 0.9) is None
    three = calibrate(held(blocks=3), 0.9)
    assert three is not None
    assert three.apply_to(ClassOutput()).conformal is None  # each would hold every class
    assert "too few places for conformal sets of 90%" in str(three)
    nothing = held(blocks=3)
    nothing.numbers[5, 1] = np.nan
    assert calibrate(nothing, 0.9) is None


def test_probabilities_have_no_temperature() -> None:
    some = held(blocks=40)
    given = Predictions(
        softmax(some.numbers).astype(np.float32), some.truth, some.groups, are_probabilities=True
    )
    found = calibrate(given, 0.9)
    assert found is not None
    assert found.temperature == 1.0
    assert found.error == found.error_before < 0.02
    assert 0.89 < found.coverage < 0.94
    assert found.apply_to(ClassOutput("none")).conformal is not None


def test_of_many_blocks_some_are_left_out_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time does not grow with the square of samples that are blocks of their own."""
    fits: list[int] = []

    def counted(scores: np.ndarray, truth: np.ndarray, groups: np.ndarray) -> float:
        fits.append(len(truth))
        return fit_temperature(scores, truth, groups)

    monkeypatch.setattr("rsscale.training.calibrate.fit_temperature", counted)
    found = calibrate(held(temperature=3.0, blocks=3050, pixels=1), 0.9)
    assert found is not None
    assert len(fits) == 101
    assert sum(3050 - count for count in fits) == 3050  # each block once, and all in the end
    assert found.blocks == 3050
    assert found.temperature == pytest.approx(3.0, rel=0.15)
    assert 0.87 < found.coverage < 0.93


def test_a_temperature_that_does_not_help_elsewhere_is_left_out() -> None:
    """Two blocks are too sure, two are not sure enough: what three say harms the fourth."""
    sure, unsure = held(temperature=2.0, blocks=2), held(temperature=0.5, blocks=2, seed=1)
    joined = sure + Predictions(unsure.numbers, unsure.truth, unsure.groups + 2)
    found = calibrate(joined, 0.9)
    assert found is not None
    assert found.temperature == 1.0
    assert found.error == found.error_before
    assert "probabilities stay as they are, expected calibration error" in str(found)
