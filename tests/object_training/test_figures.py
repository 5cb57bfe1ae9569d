"""Detections of places are matched as COCO does; what lies elsewhere counts for neither side."""

import geopandas as gpd
import numpy as np
import pytest
import shapely

from rsscale.learners.chips import InputBands
from rsscale.object_scenes.scenes import (
    BlockPlaces,
    ObjectScenes,
    OnePlace,
    Scene,
    scene_objects,
)
from rsscale.object_scores.score import score_objects
from rsscale.object_training.figures import FoundObjects, matched
from rsscale.training.remarks import seldom_observed

NAMES = ("pond", "shed")


def boxes(*some: tuple[float, float, float, float]) -> np.ndarray:
    return np.array([shapely.box(*box) for box in some], object)


def scene_of(objects: np.ndarray, classes: list[int]) -> Scene:
    images = np.zeros((1, 1, 40, 80), np.float32)
    some = scene_objects(objects, classes, range(len(classes)))
    return Scene(images, 0, (40, 80), BlockPlaces(40, (40, 80)), *some)


def found_in(scene: Scene, shapes: np.ndarray, scores: list[float], classes: list[int]):
    groups = scene.place_of(shapely.bounds(shapes).reshape(-1, 4))
    return FoundObjects(
        shapes, np.array(scores), np.array(classes), np.zeros(len(scores), np.int64), groups
    )


def test_figures_by_hand() -> None:
    truth = boxes((0, 0, 10, 10), (20, 0, 30, 10), (0, 20, 10, 30), (35, 20, 47, 30))
    scene = scene_of(truth, [0, 0, 1, 1])  # the last has its centre in the other place
    shapes = boxes(
        (0, 0, 10, 9),  # the first pond
        (0, 0, 9, 10),  # again: false
        (20, 0, 30, 10),  # the second as a shed: false
        (0, 20, 10, 28),  # the shed
        (34, 20, 44, 30),  # of the shed elsewhere, its centre here: counts for neither
        (60, 0, 70, 10),  # elsewhere
    )
    found = found_in(scene, shapes, [0.9, 0.8, 0.7, 0.6, 0.95, 0.99], [0, 0, 1, 1, 1, 1])
    (told,) = matched(found, ObjectScenes((scene,)), np.array([0]), NAMES, kind="boxes")
    assert told.truth.tolist() == [2, 1]
    assert told.scores.tolist() == [0.9, 0.8, 0.7, 0.6]
    assert told.is_right.tolist() == [True, False, False, True]
    figures = told.figures(0.65)
    pond, shed = figures.classes
    assert (pond.truth, pond.found, pond.right) == (2, 2, 1)
    assert (pond.precision, pond.recall, pond.f1) == (0.5, 0.5, 0.5)
    assert (shed.truth, shed.found, shed.right, shed.recall) == (1, 1, 0, 0.0)
    assert pond.average_precision == pytest.approx(51 / 101)
    assert shed.average_precision == pytest.approx(0.5)
    assert figures.total.average_precision == pytest.approx((51 / 101 + 0.5) / 2)
    # F1 of 1, 2, 3, 4 detections: 2 of 4, 2 of 5, 2 of 6, 4 of 7.
    assert told.best_threshold() == pytest.approx(0.3)


def test_a_threshold_is_between_scores_and_keeps_equal_ones_together() -> None:
    scene = scene_of(boxes((0, 0, 10, 10), (20, 0, 30, 10)), [0, 0])
    shapes = boxes((0, 0, 10, 10), (20, 0, 30, 10), (0, 20, 10, 30), (20, 20, 30, 30))
    found = found_in(scene, shapes, [0.9, 0.5, 0.5, 0.1], [0, 0, 0, 0])
    (told,) = matched(found, ObjectScenes((scene,)), np.array([0]), NAMES, kind="boxes")
    assert told.best_threshold() == pytest.approx(0.3)  # 2 of 3, where 1 of 1 has the F1 2 / 3
    assert told.figures(0.3).total.found == 3


def test_a_turned_object_is_compared_as_its_box_where_boxes_are_found() -> None:
    turned = np.array([shapely.Polygon([(10, 0), (20, 10), (10, 20), (0, 10)])], object)
    scene = scene_of(turned, [0])
    found = found_in(scene, boxes((0, 0, 20, 20)), [0.9], [0])
    for kind, overlap_of in (("boxes", 1.0), ("outlines", 0.5), ("oriented", 0.5)):
        some = ObjectScenes((scene,))
        (at_60,) = matched(found, some, np.array([0]), NAMES, kind=kind, ious=(0.6,))
        assert bool(at_60.is_right[0]) == (overlap_of > 0.6)


def test_without_detections_or_truth() -> None:
    scene = scene_of(boxes((0, 0, 10, 10)), [0])
    none = found_in(scene, np.zeros(0, object), [], [])
    (told,) = matched(none, ObjectScenes((scene,)), np.array([0]), NAMES, kind="boxes")
    assert told.best_threshold() is None
    total = told.figures(0.5).total
    assert (total.recall, total.f1, total.average_precision) == (0.0, 0.0, 0.0)
    assert np.isnan(total.precision)
    (told,) = matched(none, ObjectScenes((scene,)), np.array([1]), NAMES, kind="boxes")
    assert np.isnan(told.figures(0.5).total.average_precision)


def test_objects_of_chips_are_of_the_place_where_all_are_labelled() -> None:
    labelled = np.zeros((40, 80), bool)
    labelled[:, :40] = True
    images = np.zeros((1, 1, 40, 80), np.float32)
    some = scene_objects(boxes((0, 0, 10, 10), (60, 0, 70, 10)), [0, 0], range(2))
    scene = Scene(images, 0, (40, 80), OnePlace(7, labelled), *some)
    assert ObjectScenes((scene,)).groups.tolist() == [7]


def test_windows_are_observed_where_all_objects_are_labelled() -> None:
    labelled = np.zeros((40, 80), bool)
    labelled[:, :40] = True
    images = np.ones((1, 3, 40, 80), np.float32)
    images[0, 0, :10] = np.nan  # a quarter of spring, in one of its bands: nothing of it counts
    images[0, 2, :, 40:] = np.nan  # where nothing is labelled
    some = scene_objects(boxes((0, 0, 10, 10)), [0], range(1))
    scene = Scene(images, 0, (40, 80), OnePlace(7, labelled), *some)
    inputs = [InputBands("s2", ("red", "nir"), ("spring",)), InputBands("dem", ("h",), ("static",))]
    assert ObjectScenes((scene,)).observed(inputs) == {
        "s2": {"spring": 0.75}, "dem": {"static": 1.0},
    }  # fmt: skip
    assert seldom_observed({"s2": {"spring": 0.75, "summer": 0.001}})[0].startswith(
        "input 's2': next to no labelled pixel was observed in summer (0.1%)"
    )


def test_figures_of_a_whole_image_are_those_of_score_objects() -> None:
    random = np.random.default_rng(0)
    corner = random.uniform(0, [70, 30], (60, 2))
    truth = np.array(shapely.box(*corner.T, *(corner + 8).T), object)
    moved = corner + random.normal(0, 1.5, corner.shape)
    shapes = np.array(shapely.box(*moved.T, *(moved + 8).T), object)
    classes = random.integers(0, 2, 60)
    scene, scores = scene_of(truth, classes.tolist()), random.uniform(0, 1, 60).round(2)
    found = found_in(scene, shapes, scores.tolist(), classes.tolist())
    (told,) = matched(found, ObjectScenes((scene,)), np.array([0, 1]), NAMES, kind="boxes")
    names = np.array(NAMES)[classes]
    scored = score_objects(
        gpd.GeoDataFrame({"name": names, "score": scores, "image": 0}, geometry=shapes),
        gpd.GeoDataFrame({"kind": names, "image": 0}, geometry=truth),
        class_column="kind",
        image="image",
        resamples=0,
    )
    by_class = scored.to_dict()["classes"]
    for one in told.figures(0.0).classes:
        same, at_50 = by_class[one.name], by_class[one.name]["thresholds"]["0.5"]
        assert one.average_precision == pytest.approx(same["AP50"]["value"])
        assert (one.truth, one.right, one.found - one.right) == (
            same["truth"], at_50["true"], at_50["false"],
        )  # fmt: skip
        assert one.f1 == pytest.approx(at_50["f1"]["value"])
