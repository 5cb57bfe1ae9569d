"""Calibration: temperatures that are known come back, errors are those of the definition."""

import numpy as np
import pytest

from rsscale.accuracy.calibration import (
    block_weights,
    conformal_thresholds,
    coverage,
    fit_temperature,
    reliability,
    softmax,
)
from rsscale.errors import ModelError


def drawn(
    pixels: int, classes: int, temperature: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Scores that are too sure by a temperature, and classes drawn from what is true."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (pixels, classes))
    probability = softmax(logits)
    truth = (probability.cumsum(axis=1) < random.random((pixels, 1))).sum(axis=1)
    return logits * temperature, truth


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("classes", [2, 6])
def test_the_temperature_comes_back(temperature: float, classes: int) -> None:
    scores, truth = drawn(40_000, classes, temperature)
    found = fit_temperature(scores, truth)
    assert found == pytest.approx(temperature, rel=0.04)
    before, after = (reliability(softmax(scores, t), truth).error for t in (1.0, found))
    assert after < 0.01
    if temperature != 1.0:
        assert before > 5 * after
    assert (softmax(scores, found).argmax(1) == scores.argmax(1)).all()


def test_one_column_is_the_score_of_a_sigmoid() -> None:
    scores, truth = drawn(20_000, 2, 2.0)
    single = scores[:, 1:] - scores[:, :1]
    assert fit_temperature(single, truth) == pytest.approx(fit_temperature(scores, truth), rel=1e-2)
    assert np.allclose(softmax(single), softmax(scores))
    assert np.allclose(softmax(single)[:, 1], 1 / (1 + np.exp(-single[:, 0])))


def test_the_error_is_that_of_its_definition() -> None:
    scores, truth = drawn(999, 3, 2.5)
    probability = softmax(scores)
    best, right = probability.max(1), probability.argmax(1) == truth
    want = 0.0
    for k in range(15):
        inside = (best >= k / 15) & ((best < (k + 1) / 15) | (k == 14))
        if inside.any():
            want += inside.mean() * abs(best[inside].mean() - right[inside].mean())
    assert reliability(probability, truth).error == pytest.approx(want)


def test_blocks_weigh_the_same_however_many_pixels_they_hold() -> None:
    groups = np.array([7] * 90 + [3] * 10)
    weight = block_weights(100, groups)
    assert weight[:90].sum() == pytest.approx(0.5)
    assert weight[90:].sum() == pytest.approx(0.5)
    scores, truth = drawn(100, 3, 1.0)
    alone = [reliability(softmax(scores[g]), truth[g], bins=1) for g in (groups == 7, groups == 3)]
    both = reliability(softmax(scores), truth, groups, bins=1)
    assert both.accuracy[0] == pytest.approx(np.mean([a.accuracy[0] for a in alone]))


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
def test_sets_hold_the_truth_with_their_level_in_new_blocks(level: float) -> None:
    """Over many draws: blocks differ in how sure the model is there, which pixels hide."""
    held = []
    for seed in range(60):
        random = np.random.default_rng(seed)
        groups = np.repeat(np.arange(80), 40)
        scores, truth = drawn(len(groups), 4, 1.0, seed)
        scores *= random.uniform(0.2, 3.0, 80)[groups, None]  # too sure in some, not in others
        probability = softmax(scores)
        for_level = groups < 50
        thresholds = conformal_thresholds(
            probability[for_level], truth[for_level], groups[for_level], level=level
        )
        test = ~for_level
        held.append(coverage(probability[test], truth[test], thresholds, groups[test])[0])
    assert np.mean(held) >= level - 0.005
    assert np.mean(held) < level + 0.035


def test_each_class_has_its_level() -> None:
    scores, truth = drawn(30_000, 3, 1.0)
    scores[:, 0] -= 1.5  # a class that is mostly missed
    probability = softmax(scores)
    half = np.arange(30_000) < 15_000
    alike, own = (
        conformal_thresholds(probability[half], truth[half], level=0.9, by_class=by_class)
        for by_class in (False, True)
    )
    assert len(set(alike)) == 1
    rare = ~half & (truth == 0)
    assert coverage(probability[rare], truth[rare], alike)[0] < 0.85
    assert coverage(probability[rare], truth[rare], own)[0] == pytest.approx(0.9, abs=0.02)
    without = conformal_thresholds(
        probability[half & (truth != 2)], truth[half & (truth != 2)], level=0.9, by_class=True
    )
    assert 0 < without[2] < 1  # that over all


def test_too_few_blocks_for_a_level_leave_all_classes() -> None:
    scores, truth = drawn(400, 3, 1.0)
    groups = np.arange(400) // 100
    thresholds = conformal_thresholds(softmax(scores), truth, groups, level=0.95)
    assert thresholds == (0.0, 0.0, 0.0)
    assert coverage(softmax(scores), truth, thresholds) == pytest.approx((1.0, 3.0))


def test_nothing_to_calibrate_with_is_refused() -> None:
    nothing = np.zeros((0, 3)), np.zeros(0, int)
    with pytest.raises(ModelError, match="0 held-out pixels"):
        fit_temperature(*nothing)
    with pytest.raises(ModelError, match="from 0 pixels"):
        conformal_thresholds(*nothing)
    scores, truth = drawn(10, 3, 1.0)
    scores[3, 1] = np.nan
    with pytest.raises(ModelError, match="10 held-out pixels with 1 scores that are no numbers"):
        fit_temperature(scores, truth)
    with pytest.raises(ModelError, match=r"level 1\.5"):
        conformal_thresholds(softmax(scores), truth, level=1.5)
