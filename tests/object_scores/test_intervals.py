"""Intervals by block bootstrap: they cover, they need blocks, and a seed repeats them."""

import numpy as np
import pytest
from scored_scenes import boxes

import rsscale as rs
from rsscale.object_scores.average_precision import average_precision, resampled_precision
from rsscale.object_scores.resampling import Resampling


def clustered(seed, blocks=60, each=12, spread=0.25):
    """Objects in blocks whose share that is found differs: ``predicted, truth``, recall 0.6."""
    random = np.random.default_rng(seed)
    share = np.clip(random.normal(0.6, spread, blocks), 0, 1)
    x = (np.arange(blocks) * 1000)[:, None] + 50 + np.arange(each) * 60
    corners = np.stack([x, np.full_like(x, 50), x + 20, np.full_like(x, 70)], axis=-1)
    found = random.random((blocks, each)) < share[:, None]
    predicted = corners[found]
    return (
        boxes(predicted, score=random.random(len(predicted))),
        boxes(corners.reshape(-1, 4)),
    )


@pytest.mark.extended
def test_intervals_cover_the_recall_that_blocks_have():
    """Where blocks differ, single objects as the sample would cover half as often as promised."""
    covered = {1000.0: 0, 60.0: 0}
    for seed in range(30):
        for block in covered:
            predicted, truth = clustered(seed)
            found = rs.score_objects(
                predicted.drop(columns="score"), truth, block=block, resamples=200
            )
            recall = found.overall.thresholds[0.5].recall
            covered[block] += recall.low <= 0.595 <= recall.high  # 0.6, cut at 1
    assert covered[1000.0] >= 25
    assert covered[60.0] < covered[1000.0]


def test_the_same_seed_gives_the_same_intervals():
    pair = clustered(1)
    one, again, other = (
        rs.score_objects(*pair, seed=seed).overall.thresholds[0.5].recall for seed in (0, 0, 1)
    )
    assert (one.low, one.high) == (again.low, again.high)
    assert (one.low, one.high) != (other.low, other.high)
    assert one.low < one.value < one.high
    assert 0 < one.se < 0.1


def test_few_blocks_tell_no_interval():
    found = rs.score_objects(*clustered(2, blocks=9))
    recall = found.overall.thresholds[0.5].recall
    assert recall.low is None
    assert recall.why == "9 of at least 10 blocks hold objects"
    assert "no intervals of 9 blocks of 1000 m" in repr(found)


def test_blocks_that_agree_tell_no_interval():
    found = rs.score_objects(*clustered(3)).overall.thresholds[0.5].precision
    assert (found.value, found.low) == (1.0, None)
    assert "all blocks agree" in found.why


def test_resampled_average_precision_is_that_of_the_drawn_blocks():
    """Against average precision of the objects that are drawn, written out."""
    random = np.random.default_rng(0)
    blocks, count = 15, 300
    block = random.integers(blocks, size=count)
    is_true = random.random(count) < np.linspace(0.95, 0.2, count)
    truth = np.bincount(block[is_true], minlength=blocks) + random.integers(0, 3, blocks)
    resampling = Resampling(blocks, 40, 3, 0.95)
    drawn = truth @ resampling.weights.astype(float)
    found = resampled_precision(is_true, block, drawn, int(truth.sum()), resampling)
    for k in range(resampling.resamples):
        times = resampling.weights[:, k]
        drawn = np.repeat(is_true, times[block])
        assert resampling.weights[:, k].sum() == blocks
        # Copies of one object have one score: they enter the curve together, as one point.
        assert found[k] == pytest.approx(average_precision(drawn, int(times @ truth)), abs=5e-3)


def test_images_are_blocks():
    predicted, truth = clustered(4)
    for frame in (predicted, truth):
        frame["image"] = (frame.geometry.bounds.minx // 1000).astype(int)
    by_image = rs.score_objects(predicted, truth, image="image")
    assert (by_image.blocks, by_image.block) == (60, None)
    in_blocks = rs.score_objects(predicted, truth)
    assert in_blocks.blocks == 60
    one, other = (s.overall.thresholds[0.5].recall for s in (by_image, in_blocks))
    assert (one.low, one.high) == (other.low, other.high)
