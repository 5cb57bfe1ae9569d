"""Greedy suppression: torchvision's rule, brute force for outlines, and what stays open."""

import numpy as np
import pytest
import shapely
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rsscale.objects.detections import Detections
from rsscale.objects.suppression import DROPPED, KEPT, OPEN, canonical_order, suppress


def detections(seed: int, count: int, size: float = 100, classes: int = 3) -> Detections:
    rng = np.random.default_rng(seed)
    lower = rng.uniform(0, size, (count, 2))
    boxes = np.concatenate([lower, lower + rng.uniform(1, 30, (count, 2))], axis=1)
    scores = rng.permutation(count).astype(np.float32) / max(count, 1)
    return Detections(boxes, scores, rng.integers(1, classes + 1, count).astype(np.int32))


@pytest.mark.parametrize("iou", [0.0, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("agnostic", [False, True])
def test_it_is_torchvision_s(iou: float, agnostic: bool) -> None:
    ops = pytest.importorskip("torchvision.ops")
    found = detections(1, 2000)
    boxes = torch.from_numpy(found.boxes)
    scores = torch.from_numpy(found.scores).to(torch.float64)
    classes = torch.from_numpy(found.classes) * (not agnostic)
    kept = np.zeros(2000, bool)
    for value in classes.unique():
        mine = (classes == value).nonzero().flatten()
        kept[mine[ops.nms(boxes[mine], scores[mine], iou)].numpy()] = True
    states = suppress(found, iou=iou, agnostic=agnostic)
    np.testing.assert_array_equal(states == KEPT, kept)
    assert 10 < kept.sum() < 2000


def outlined(seed: int, count: int) -> Detections:
    """Convex outlines of random points."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 80, (count, 1, 2)) + rng.uniform(0, 25, (count, 6, 2))
    shapes = shapely.convex_hull(shapely.multipoints(points))
    scores = rng.permutation(count).astype(np.float32) / count
    classes = rng.integers(1, 3, count).astype(np.int32)
    return Detections(shapely.bounds(shapes), scores, classes, tuple(shapes))


def test_outlines_are_compared_by_their_area() -> None:
    found = outlined(3, 150)
    kept: list[int] = []
    for number in canonical_order(found):
        shape = found.outlines[number]
        others = [found.outlines[k] for k in kept if found.classes[k] == found.classes[number]]
        common = [shape.intersection(other).area for other in others]
        both = [shape.union(other).area for other in others]
        if all(c <= 0.4 * b for c, b in zip(common, both, strict=True)):
            kept.append(number)
    np.testing.assert_array_equal(np.nonzero(suppress(found, iou=0.4) == KEPT)[0], sorted(kept))
    by_boxes = Detections(found.boxes, found.scores, found.classes)
    assert (suppress(by_boxes, iou=0.4) == KEPT).sum() != len(kept)


def test_equal_scores_are_taken_by_place_and_the_order_given_does_not_matter() -> None:
    boxes = np.array([[4, 0, 14, 10], [0, 0, 10, 10], [2, 0, 12, 10]], float)
    found = Detections(boxes, np.full(3, 0.5, np.float32), np.ones(3, np.int32))
    assert suppress(found, iou=0.3).tolist() == [DROPPED, KEPT, DROPPED]
    for turned in ([2, 0, 1], [1, 2, 0]):
        assert suppress(found.take(np.array(turned)), iou=0.3)[turned.index(1)] == KEPT


def test_a_chain_is_decided_one_after_the_other() -> None:
    """Each overlaps the next: the first drops the second, which does not drop the third."""
    x = 4.0 * np.arange(101)
    boxes = np.stack([x, x * 0, x + 10, x * 0 + 10], axis=1)
    scores = np.linspace(1, 0.5, 101, dtype=np.float32)
    found = Detections(boxes, scores, np.ones(101, np.int32))
    assert (suppress(found, iou=0.4) == KEPT).tolist() == [n % 2 == 0 for n in range(101)]
    # and where nothing is known of what lies beside the first, nothing is of any
    decidable = np.arange(101) > 0
    assert (suppress(found, iou=0.4, decidable=decidable) == OPEN).all()
    facts = np.where(np.arange(101) == 0, DROPPED, OPEN).astype(np.int8)
    assert (suppress(found, iou=0.4, facts=facts) == KEPT).tolist() == [
        n % 2 == 1 for n in range(101)
    ]


def test_none_and_classes() -> None:
    assert suppress(Detections.none(), iou=0.5).shape == (0,)
    boxes = np.tile([0.0, 0, 10, 10], (2, 1))
    found = Detections(boxes, np.array([0.9, 0.8], np.float32), np.array([1, 2], np.int32))
    assert suppress(found, iou=0.5).tolist() == [KEPT, KEPT]
    assert suppress(found, iou=0.5, agnostic=True).tolist() == [KEPT, DROPPED]
    assert suppress(found, iou=1.0, agnostic=True).tolist() == [KEPT, KEPT]


@given(seed=st.integers(0, 2**31), count=st.integers(0, 60), iou=st.sampled_from([0.1, 0.3, 0.6]))
@settings(max_examples=60, deadline=None)
def test_what_is_said_of_some_is_true_of_all(seed: int, count: int, iou: float) -> None:
    rng = np.random.default_rng(seed)
    found = detections(seed, count, size=60, classes=1)
    truth = suppress(found, iou=iou)
    # Some half of them is given; decidable are those that overlap none of the others.
    given_here = np.nonzero(rng.uniform(size=count) < 0.7)[0]
    missing = np.setdiff1d(np.arange(count), given_here)
    tree = shapely.STRtree(shapely.box(*found.boxes[missing].T))
    touched, _ = tree.query(shapely.box(*found.boxes[given_here].T))
    decidable = ~np.isin(np.arange(len(given_here)), touched)
    states = suppress(found.take(given_here), iou=iou, decidable=decidable)
    said = states != OPEN
    np.testing.assert_array_equal(states[said], truth[given_here][said])


def test_thousands_over_each_other() -> None:
    rng = np.random.default_rng(0)
    count = 20_000
    lower = rng.normal(500, 3, (count, 2))
    boxes = np.concatenate([lower, lower + rng.normal(60, 2, (count, 2))], axis=1)
    found = Detections(boxes, rng.uniform(size=count).astype(np.float32), np.ones(count, np.int32))
    states = suppress(found, iou=0.5)
    assert 1 <= (states == KEPT).sum() < 10
    assert (states == OPEN).sum() == 0
