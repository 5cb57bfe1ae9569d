"""Counts by matching against plain loops; regions, sizes, areas of truth, points."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scored_scenes import CRS, boxes, scene

import rsscale as rs


def counts(scores, threshold=0.5):
    at = scores.overall.thresholds[threshold]
    return at.true, at.false, at.missed


def by_loops(predicted, truth, threshold, order, *, strict, last):
    """True, false and missed by comparing each with each."""
    free = set(range(len(truth)))
    true = 0
    for p in order:
        best, which = None, None
        for t in sorted(free):
            if predicted["class"].iloc[p] != truth["class"].iloc[t]:
                continue
            a, b = predicted.geometry.iloc[p], truth.geometry.iloc[t]
            shared = a.intersection(b).area
            overlap = shared / (a.area + b.area - shared)
            enough = overlap > threshold if strict else overlap >= threshold
            better = best is None or overlap > best or (last and overlap == best)
            if enough and better:
                best, which = overlap, t
        if which is not None:
            free.discard(which)
            true += 1
    return true, len(predicted) - true, len(truth) - true


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from([0.3, 0.5, 0.7]))
def test_both_rules_are_those_of_plain_loops(seed, threshold):
    predicted, truth = scene(seed, truth=25, images=1, crowded=True, sizes=(20, 60))
    order = {
        "score": np.lexsort((np.arange(len(predicted)), -predicted.score)),
        "order": np.arange(len(predicted)),
    }
    for rule, sequence in order.items():
        found = rs.score_objects(
            predicted, truth, image="image", class_column="class", iou=threshold, matching=rule,
            resamples=0,
        )  # fmt: skip
        expected = by_loops(
            predicted, truth, threshold, sequence, strict=rule == "order", last=rule == "score"
        )
        assert counts(found, threshold) == expected


def test_the_rules_differ_where_they_say():
    truth = boxes([(0, 0, 10, 10)])
    # Both reach the threshold; the second has the higher score.
    predicted = boxes([(0, 0, 10, 7), (0, 0, 10, 9)], score=[0.2, 0.9])
    assert counts(rs.score_objects(predicted, truth)) == (1, 1, 0)
    exactly = boxes([(0, 0, 10, 5)], score=[0.5])
    assert counts(rs.score_objects(exactly, truth)) == (1, 0, 0)  # 0.5 reaches 0.5 for COCO
    assert counts(rs.score_objects(exactly, truth, matching="order")) == (0, 1, 1)


def test_without_scores_no_order_decides():
    truth = boxes([(0, 0, 10, 10), (8, 0, 18, 10)])
    corners = [(4, 0, 14, 10), (0, 0, 10, 10), (7, 0, 17, 10)]
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        found = rs.score_objects(boxes([corners[k] for k in order]), truth, iou=0.2)
        assert counts(found, 0.2) == (2, 1, 0)
        assert found.overall.average_precision["AP"].value is None
        assert "no scores" in found.overall.average_precision["AP"].why


def test_outlines_are_compared_not_their_boxes():
    triangle = shapely.Polygon([(0, 0), (10, 0), (0, 10)])
    other = shapely.Polygon([(10, 10), (10, 0), (0, 10)])  # the same box, no common area
    truth = gpd.GeoDataFrame(geometry=[triangle], crs=CRS)
    assert counts(rs.score_objects(gpd.GeoDataFrame(geometry=[other], crs=CRS), truth)) == (0, 1, 1)
    both = gpd.GeoDataFrame(geometry=[shapely.MultiPolygon([triangle])], crs=CRS)
    assert counts(rs.score_objects(both, truth)) == (1, 0, 0)


def test_panoptic_quality_of_the_definition():
    truth = boxes([(0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10)])
    predicted = boxes([(0, 0, 10, 8), (20, 0, 30, 5), (60, 0, 70, 10)])  # 0.8, 0.5 is not above
    found = rs.score_objects(predicted, truth).overall.panoptic
    assert found["SQ"].value == pytest.approx(0.8)
    assert found["RQ"].value == pytest.approx(1 / 3)
    assert found["PQ"].value == pytest.approx(0.8 / 3)


def test_figures_over_classes():
    """Counts are added; average precision and panoptic quality are means over classes."""
    truth = boxes([(0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10)], kind=["a", "a", "b"])
    predicted = boxes([(0, 0, 10, 10), (20, 0, 30, 10)], name=["a", "b"], score=[0.9, 0.8])
    found = rs.score_objects(predicted, truth, class_column="kind")
    assert counts(found) == (1, 1, 2)
    assert found.classes["b"].thresholds[0.5].recall.value == 0
    parts = [found.classes[name].average_precision["AP"].value for name in "ab"]
    assert found.overall.average_precision["AP"].value == pytest.approx(np.mean(parts))
    assert counts(rs.score_objects(predicted, truth)) == (2, 0, 1)  # whatever their class


def test_regions_add_up_and_one_without_truth_is_not_estimable():
    truth = boxes([(1, 1, 9, 9), (11, 1, 19, 9), (31, 1, 39, 9)])
    predicted = boxes(
        [(3, 1, 11, 9), (11, 1, 19, 9), (21, 1, 29, 9), (41, 1, 49, 9)], score=[0.9, 0.8, 0.7, 0.6]
    )
    corners = [(x, 0, x + 10, 10) for x in (0, 10, 20, 30)]
    regions = boxes(corners, id=["a", "b", "c", "d"])
    found = rs.score_objects(predicted, truth, regions=regions, region_id="id")
    parts = [tuple(found.regions[name].thresholds[0.5].__dict__.values())[:3] for name in "abcd"]
    assert parts == [(1, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    empty = found.regions["c"].thresholds[0.5]
    for figure in (empty.precision, empty.recall, empty.f1):
        assert (figure.value, figure.why) == (None, "no true object")
    assert found.regions["c"].average_precision["AP"].value is None
    assert found.regions["d"].thresholds[0.5].recall.value == 0
    assert found.regions["d"].thresholds[0.5].precision.value is None
    assert any("1 objects lie in none of the 4 regions" in note for note in found.notes)


def test_where_the_truth_is_complete():
    """A match counts by the true object, a false one by its own centre."""
    truth = boxes([(0, 0, 8, 8), (12, 0, 20, 8)])
    predicted = boxes(
        [(2, 0, 10.5, 8),  # matches the first; its own centre is inside, too
         (11, 0, 19, 8),  # matches the second, whose centre is outside: left out
         (4, 20, 13, 30),  # matches none, its centre is inside: false
         (9, 20, 19, 30)],  # matches none, its centre is outside: left out
        score=[0.9, 0.8, 0.7, 0.6],
    )  # fmt: skip
    within = shapely.box(-5, -5, 10, 50)
    assert counts(rs.score_objects(predicted, truth, within=within)) == (1, 1, 0)
    frame = gpd.GeoDataFrame(geometry=[within], crs=CRS)
    assert counts(rs.score_objects(predicted, truth, within=frame)) == (1, 1, 0)
    # One that straddles the border and matches a true object inside is right.
    across = boxes([(4, 0, 17, 8)], score=[0.9])
    inside = boxes([(3, 0, 16, 8)])
    assert counts(rs.score_objects(across, inside, within=shapely.box(-5, -5, 10, 50))) == (1, 0, 0)


def test_sizes_are_those_of_the_truth():
    truth = boxes([(0, 0, 10, 10), (20, 0, 40, 20)])
    predicted = boxes([(0, 0, 10, 9), (20, 0, 40, 19), (60, 0, 65, 5)], score=[0.9, 0.8, 0.7])
    found = rs.score_objects(predicted, truth, sizes=[50, 200])
    assert list(found.sizes) == ["below 50 m²", "50 to 200 m²", "from 200 m²"]
    assert [counts(type("S", (), {"overall": one})) for one in found.sizes.values()] == [
        (0, 1, 0), (1, 0, 0), (1, 0, 0),
    ]  # fmt: skip
    assert found.sizes["below 50 m²"].thresholds[0.5].precision.value is None


def test_points():
    trees = gpd.GeoDataFrame(geometry=shapely.points([(5, 5), (6, 6), (20, 5), (41, 5)]), crs=CRS)
    crowns = boxes([(0, 0, 10, 10), (14, 0, 19, 10), (30, 0, 40, 10)], score=[0.9, 0.8, 0.7])
    assert counts(rs.score_objects(crowns, trees), 0) == (1, 2, 3)  # a crown is of one tree
    found = rs.score_objects(crowns, trees, distance=4)
    assert counts(found, 4) == (2, 1, 2)
    assert found.measure == "distance"
    assert found.overall.panoptic == {}
    assert list(found.overall.average_precision) == ["AP"]
    assert counts(rs.score_objects(trees, trees, distance=0.5), 0.5) == (4, 0, 0)
    # In degrees a metre is a metre, too.
    degrees = crowns.to_crs("EPSG:4326"), trees.to_crs("EPSG:4326")
    assert counts(rs.score_objects(*degrees, distance=4), 4) == (2, 1, 2)


def test_the_truth_may_be_in_another_crs():
    predicted = boxes([(500_000 + 40 * k, 5e6, 500_030 + 40 * k, 5e6 + 30) for k in range(20)])
    truth = predicted.to_crs("EPSG:3857")
    found = rs.score_objects(predicted, truth, sizes=[890, 910])
    assert counts(found) == (20, 0, 0)
    assert found.sizes["890 to 910 m²"].truth == 20  # metres on the ground, in both
    assert rs.score_objects(truth, predicted, sizes=[890, 910]).sizes["890 to 910 m²"].truth == 20


@pytest.mark.extended
def test_a_hundred_thousand_of_each_and_thousands_on_one_another():
    random = np.random.default_rng(5)
    low = random.uniform(0, 1e5, (100_000, 2))
    corners = np.hstack([low, low + random.uniform(8, 30, low.shape)])
    moved = corners + random.normal(0, 2, corners.shape)
    truth, predicted = boxes(corners), boxes(moved, score=random.random(len(moved)))
    found = rs.score_objects(predicted, truth, resamples=20)
    assert found.overall.truth > 99_000
    assert found.overall.thresholds[0.5].recall.value > 0.5
    piled = boxes(corners[:50] % 100)
    many = boxes(np.repeat(corners[:50] % 100, 100, axis=0), score=random.random(5000))
    at = rs.score_objects(many, piled, resamples=0).overall.thresholds[0.5]
    assert (at.true + at.false, at.missed) == (5000, 0)
