"""Average precision equals that of pycocotools: boxes, masks of boxes, sizes, limits, classes."""

import contextlib
import io

import numpy as np
import pytest
import shapely
from scored_scenes import scene

import rsscale as rs


def coco_stats(predicted, truth, *, most=100, areas=None):
    """AP, AP50, AP75, and AP of small, medium and large of pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def annotation(row, k):
        x0, y0, x1, y1 = row.geometry.bounds
        box = [x0, y0, x1 - x0, y1 - y0]
        return {"id": k + 1, "image_id": int(row.image), "category_id": int(row["class"]),
                "bbox": box, "area": box[2] * box[3], "iscrowd": 0}  # fmt: skip

    images = sorted(set(truth.image) | set(predicted.image))
    classes = sorted(set(truth["class"]) | set(predicted["class"]))
    with contextlib.redirect_stdout(io.StringIO()):
        given = COCO()
        given.dataset = {
            "images": [{"id": int(i)} for i in images],
            "categories": [{"id": int(c)} for c in classes],
            "annotations": [annotation(row, k) for k, (_, row) in enumerate(truth.iterrows())],
        }
        given.createIndex()
        found = [
            annotation(row, k) | {"score": float(row.score)}
            for k, (_, row) in enumerate(predicted.iterrows())
        ]
        evaluation = COCOeval(given, given.loadRes(found), "bbox")
        evaluation.params.maxDets = [1, 10, most]
        if areas is not None:
            evaluation.params.areaRng = areas
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


@pytest.mark.parametrize("crowded", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_figures_are_those_of_pycocotools(seed, crowded):
    predicted, truth = scene(seed, crowded=crowded)
    stats = coco_stats(predicted, truth).stats
    found = rs.score_objects(
        predicted, truth, image="image", class_column="class", sizes="coco",
        max_detections=100, resamples=0,
    )  # fmt: skip
    ours = [found.overall.average_precision[name].value for name in ("AP", "AP50", "AP75")]
    np.testing.assert_allclose(ours, stats[:3], rtol=0, atol=1e-12)
    for size, expected in zip(found.sizes.values(), stats[3:6], strict=True):
        value = size.average_precision["AP"].value
        assert (value is None and expected == -1) or value == pytest.approx(expected, abs=1e-12)


def test_each_class_and_the_limit_of_detections():
    predicted, truth = scene(11, truth=120, images=2)
    evaluation = coco_stats(predicted, truth, most=12)
    found = rs.score_objects(
        predicted, truth, image="image", class_column="class", max_detections=12, resamples=0
    )
    precision = evaluation.eval["precision"]  # threshold, recall, class, area, limit
    for k, scores in enumerate(found.classes.values()):
        expected = precision[:, :, k, 0, 2].mean()
        assert scores.average_precision["AP"].value == pytest.approx(expected, abs=1e-12)
    unlimited = rs.score_objects(predicted, truth, image="image", class_column="class", resamples=0)
    assert unlimited.overall.average_precision["AP"].value != pytest.approx(
        found.overall.average_precision["AP"].value
    )


def test_drawn_polygons_give_what_boxes_give():
    """The arithmetic of upright boxes and the intersection of polygons are one measure."""
    predicted, truth = scene(3)
    as_polygons = [frame.copy() for frame in (predicted, truth)]
    for frame in as_polygons:
        # A vertex in the middle of a side, moved by almost nothing, makes it no box.
        frame.geometry = shapely.segmentize(frame.geometry.to_numpy(), 1000)
        frame.geometry = shapely.transform(
            shapely.segmentize(frame.geometry.to_numpy(), 5), lambda c: c + 1e-7 * np.sin(9 * c)
        )
    a, b = (
        rs.score_objects(p, t, image="image", class_column="class", resamples=0)
        for p, t in ((predicted, truth), as_polygons)
    )
    assert a.overall.average_precision["AP"].value == pytest.approx(
        b.overall.average_precision["AP"].value, abs=0.01
    )
    assert a.overall.panoptic["SQ"].value == pytest.approx(b.overall.panoptic["SQ"].value, abs=1e-4)
