"""Calibration on held-out blocks: known temperatures come back, figures are of blocks left out."""

import numpy as np
import pytest

from rsscale.accuracy.calibration import reliability, softmax
from rsscale.learn.held_out import HeldOut, calibrate
from rsscale.model.outputs import ClassOutput


def held(temperature: float = 1.0, blocks: int = 40, pixels: int = 200, seed: int = 0) -> HeldOut:
    """Scores that are too sure by a temperature, of classes drawn from what is true."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (blocks * pixels, 4))
    drawn = random.random((len(logits), 1))
    truth = (softmax(logits).cumsum(axis=1) < drawn).sum(axis=1)
    groups = np.repeat(np.arange(blocks), pixels)
    return HeldOut((logits * temperature).astype(np.float32), truth, groups)


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
    truth = np.where(wrong, (some.scores.argmax(axis=1) + 1) % 4, some.truth)
    found = calibrate(HeldOut(some.scores * 2, truth, some.groups), 0.8)
    assert found is not None
    cooled = softmax(some.scores * 2, found.temperature)
    fitted = reliability(cooled, truth, some.groups).error
    assert found.error > fitted  # that of the pixels it was fitted to flatters


def test_too_few_blocks_say_nothing() -> None:
    assert calibrate(held(blocks=2), 0.9) is None
    three = calibrate(held(blocks=3), 0.9)
    assert three is not None
    assert three.apply_to(ClassOutput()).conformal is None  # each would hold every class
    assert "too few blocks for sets of 90%" in str(three)
    nothing = held(blocks=3)
    nothing.scores[5, 1] = np.nan
    assert calibrate(nothing, 0.9) is None


def test_accuracy_is_that_of_the_confusion_matrix() -> None:
    scores = np.eye(3, dtype=np.float32)[[0, 0, 1, 1, 0, 1]]
    accuracy, f1 = HeldOut(scores, np.array([0, 0, 1, 0, 1, 1]), np.zeros(6, int)).accuracy()
    assert accuracy == pytest.approx(4 / 6)
    assert f1[:2] == pytest.approx([2 / 3, 2 / 3])
    assert np.isnan(f1[2])
    one_class, _ = HeldOut(scores[:2], np.array([0, 0]), np.zeros(2, int)).accuracy()
    assert np.isnan(one_class)
