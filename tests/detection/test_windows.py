"""Objects of windows: where the oracle has them, in global pixels, each window by itself."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from blob_detector import CLASSES, INPUT, BlobDetector, Returns, detector, image, stack
from torchvision.ops import box_convert

import rsscale as rs
from rsscale.detection.outlines import oriented_corners
from rsscale.detection.windows import detect_windows
from rsscale.errors import ModelError
from rsscale.geo.lattice import PixelBox
from rsscale.inference.stack import InputStack
from rsscale.learn.architectures import build

BOX = PixelBox(-96, 960, 96, 1152)  # rows west and east of the origin
POND, SHED = PixelBox(-20, 1000, -10, 1013), PixelBox(30, 1100, 34, 1104)


def boxes(n: int = 1, **changes: Any) -> list[dict[str, torch.Tensor]]:
    found = {
        "boxes": torch.tensor([[4.0, 5.0, 14.0, 25.0]] * n),
        "labels": torch.ones(n, dtype=torch.int64),
        "scores": torch.full((n,), 0.9),
    }
    return [found | changes]


def one_window(network: Any, kind: Any = "boxes", **how: Any) -> tuple[Any, Counter[str]]:
    model = detector(network, kind, **how.pop("output", {}))
    counts: Counter[str] = Counter()
    (found,) = detect_windows(
        stack(model, BOX, **how), model, [PixelBox(0, 1008, 48, 1056)], counts=counts
    )
    return found, counts


def test_objects_lie_in_global_pixels_with_values_of_classes() -> None:
    model = detector(BlobDetector(), "outlines")
    images = stack(model, BOX, ponds=[(POND, 0.8)], sheds=[(SHED, 0.9)])
    counts: Counter[str] = Counter()
    cores = list(model.spec.lattice.cores(BOX))
    found = detect_windows(images, model, cores, counts=counts)
    assert len(found) == counts["windows"] == len(cores) == 16
    seen = 0
    for core, some in zip(cores, found, strict=True):
        window = core.pad(model.spec.lattice.halo)
        for box, value, score, outline in zip(
            some.boxes, some.classes, some.scores, some.outlines or (), strict=True
        ):
            thing = POND if value == CLASSES[0].value else SHED
            inside = thing & window
            assert box.tolist() == [inside.col0, inside.row0, inside.col1, inside.row1]
            assert outline.bounds == tuple(box)
            assert outline.area == np.prod(inside.shape)
            assert score == pytest.approx(0.8 if thing is POND else 0.9)
            seen += 1
    expected = sum(not (t & c.pad(16)).empty for c in cores for t in (POND, SHED))
    assert seen == counts["candidates"] == expected


def test_a_window_does_not_know_which_others_are_looked_at() -> None:
    torch.manual_seed(0)
    network = build("fasterrcnn", [INPUT], 2, backbone="small", width=16, anchors=[8, 16], most=20)
    model = detector(network.eval(), score_threshold=0.0)
    images = stack(model, BOX, ponds=[(POND, 0.8)], sheds=[(SHED, 0.9)])
    cores = list(model.spec.lattice.cores(BOX))
    together = detect_windows(images, model, cores)
    for number in (1, 6, 15):
        (alone,) = detect_windows(images, model, [cores[number]])
        assert len(alone) == 20
        assert np.array_equal(alone.boxes, together[number].boxes)
        assert np.array_equal(alone.scores, together[number].scores)


def test_windows_that_nothing_saw_are_not_looked_at() -> None:
    found, counts = one_window(Returns(boxes()), unseen=[BOX])
    assert len(found) == 0
    assert counts["windows"] == 0


def test_what_lies_on_unseen_pixels_is_dropped_and_counted() -> None:
    # The box of rows 5 to 25 begins at row -16 + 5 = -11.
    half = PixelBox(-96, 960, -1, 1152)
    found, counts = one_window(Returns(boxes()), unseen=[half])
    assert (len(found), counts["unseen"]) == (1, 0)
    found, counts = one_window(Returns(boxes()), unseen=[half | PixelBox(-2, 960, 0, 1152)])
    assert (len(found), counts["unseen"]) == (0, 1)


def test_boxes_of_no_area_and_outside_are_dropped_and_counted_and_others_are_clipped() -> None:
    places = torch.tensor(
        [[5.0, 5, 5, 9], [-9, 3, -1, 6], [70, 70, 99, 99], [90, 90, 95, 95], [1, 1, 2, 2]]
    )
    found, counts = one_window(Returns(boxes(5, boxes=places)))
    assert (counts["zero_area"], counts["outside"], counts["candidates"]) == (1, 2, 2)
    assert found.boxes.tolist() == [[993, -15, 994, -14], [1062, 54, 1072, 64]]


def test_order_is_by_score_then_position_and_the_best_are_kept() -> None:
    places = torch.tensor([[9.0, 9, 12, 12], [5, 9, 8, 12], [5, 2, 8, 6], [20, 20, 30, 30]])
    scores = torch.tensor([0.7, 0.7, 0.7, 0.95])
    found, counts = one_window(Returns(boxes(4, boxes=places, scores=scores)), output={"most": 3})
    assert found.boxes[:, :2].tolist() == [[1012, 4], [997, -14], [997, -7]]
    assert counts["full"] == 1
    found, _ = one_window(Returns(boxes(4, boxes=places, scores=scores)),
                          output={"score_threshold": 0.8})  # fmt: skip
    assert found.scores.tolist() == [pytest.approx(0.95)]


def test_of_a_mask_in_pieces_the_largest_is_the_outline_with_its_hole() -> None:
    mask = torch.zeros(1, 1, 80, 80)
    mask[..., 10:20, 10:20] = 0.6
    mask[..., 14:16, 14:16] = 0.0
    mask[..., 30:33, 30:33] = 1.0
    found, _ = one_window(Returns(boxes(masks=mask)), "outlines")
    (outline,) = found.outlines
    assert outline.area == 96
    assert len(outline.interiors) == 1
    assert found.boxes.tolist() == [[1002, -6, 1012, 4]]
    found, counts = one_window(Returns(boxes(masks=mask * 0)), "outlines")
    assert (len(found), counts["no_mask"]) == (0, 1)


def test_turned_boxes_are_those_of_torchvision() -> None:
    random = np.random.default_rng(0)
    turned = random.uniform([20, 20, 1, 1, -400], [40, 40, 30, 30, 400], (50, 5))
    expected = box_convert(torch.tensor(turned), "cxcywhr", "xyxyxyxy").numpy().reshape(-1, 4, 2)
    assert np.allclose(oriented_corners(turned), expected, atol=1e-9)


@pytest.mark.parametrize("form", ["angles", "corners"])
def test_turned_boxes_have_outlines(form: str) -> None:
    places = torch.tensor([[20.0, 30.0, 10.0, 4.0, 90.0], [2.0, 40.0, 8.0, 2.0, 0.0],
                           [-8.0, -8.0, 4.0, 4.0, 45.0], [30.0, 30.0, 0.0, 4.0, 0.0]])  # fmt: skip
    given = {"boxes": places}
    if form == "corners":
        given = {"corners": torch.tensor(oriented_corners(places.double().numpy())).float()}
    found, counts = one_window(Returns(boxes(4, **given)), "oriented")
    assert (counts["zero_area"], counts["outside"]) == (1, 1)
    assert np.allclose(found.boxes, [[1010, 9, 1014, 19], [992, 23, 998, 25]], atol=1e-5)
    assert [o.area for o in found.outlines] == [pytest.approx(40), pytest.approx(12)]


WRONG: dict[str, tuple[Any, str]] = {
    "a tensor": (torch.zeros(1, 2, 80, 80), "returns a Tensor for one window"),
    "two windows": (boxes() * 2, "returns a list of 2 for one window"),
    "losses": ({"loss_classifier": 1.0}, "without 'boxes'.*use network.eval"),
    "no scores": ([{k: v for k, v in boxes()[0].items() if k != "scores"}], "without 'scores'"),
    "other lengths": (boxes(2, scores=torch.ones(1)), r"boxes \(2, 4\), labels \(2,\) and"),
    "rows of six": (boxes(boxes=torch.ones(1, 6)), "scores and labels are tensors of their own"),
    "an angle": (boxes(boxes=torch.ones(1, 5)), r"angle are ObjectOutput\('oriented'\)"),
    "NaN": (boxes(boxes=torch.tensor([[1, float("nan"), 3, 4]])),
            "in the window of rows -16 to 64 and columns 992 to 1072, returns no number"),
    "an infinite score": (boxes(scores=torch.tensor([float("inf")])), "of 1 of 1 detections"),
    "logits": (boxes(scores=torch.tensor([3.5])), "scores from 3.5 to 3.5; .*apply sigmoid"),
    "x, y, width, height": (boxes(boxes=torch.tensor([[30.0, 40, 5, 9]])),
                            r"wrong way around, such as \(30, 40, 5, 9\).*box_convert"),
    "the background": (boxes(labels=torch.zeros(1, dtype=torch.int64)),
                       "returns the label 0; its contract has 2 classes, labels 1 to 2, and 0 is"),
    "a third class": (boxes(labels=torch.full((1,), 3)), "label 3; its contract has 2 classes"),
    "labels as numbers": (boxes(labels=torch.ones(1)), "labels of type float32; expected integers"),
}  # fmt: skip


@pytest.mark.parametrize(("returned", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_breaks_the_contract_is_refused_by_name(returned: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message) as error:
        one_window(Returns(returned))
    assert "\n" not in str(error.value)
    assert "'blobs'" in str(error.value)


@pytest.mark.parametrize(
    ("kind", "returned", "message"),
    [
        ("outlines", boxes(), "without 'masks'; outlines have boxes, labels, scores, masks"),
        ("outlines", boxes(masks=torch.zeros(1, 1, 28, 28)), r"masks \(1, 1, 28, 28\) for 1"),
        ("oriented", boxes(), r"boxes \(1, 4\).*expected \(n, 5\)"),
        ("oriented", boxes(boxes=torch.tensor([[4.0, 4, -3, 2, 0]])), "wrong way around"),
        ("oriented", boxes(corners=torch.tensor([[[1.0, 1], [9, 9], [9, 1], [1, 9]]])), "cross"),
    ],
)
def test_outlines_and_turned_boxes_are_checked(kind: str, returned: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        one_window(Returns(returned), kind)


def test_a_graph_may_have_a_dimension_of_its_one_window() -> None:
    graph = {name: value[None] for name, value in boxes()[0].items()}
    found, _ = one_window(Returns(graph))
    assert found.boxes.tolist() == [[996, -11, 1006, 9]]


def test_labels_may_begin_with_zero() -> None:
    found, _ = one_window(
        Returns(boxes(labels=torch.zeros(1, dtype=torch.int32))), output={"first_label": 0}
    )
    assert found.classes.tolist() == [CLASSES[0].value]


def test_memory_that_does_not_suffice_is_said_in_a_line() -> None:
    class Greedy(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> Any:
            del images
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB\nmore")

    with pytest.raises(ModelError, match=r"of 2 channels and 80 px: CUDA out of memory.*smaller"):
        one_window(Greedy())


def test_a_model_of_pixels_finds_no_objects() -> None:
    from box_model import BoxModel

    model = BoxModel()
    with pytest.raises(
        ModelError, match=r"maps classification.*finds no objects: use rsscale\.pre"
    ):
        detect_windows(None, model, [])  # type: ignore[arg-type]


def test_a_detector_may_take_its_inputs_by_name() -> None:
    class OfTwo(torch.nn.Module):
        def forward(self, given: dict[str, torch.Tensor]) -> Any:
            assert given["s2"].shape == (1, 1, 2, 80, 80)
            assert given["dem"].shape == (1, 1, 1, 80, 80)
            return boxes()

    dem = rs.ModelInput("dem", ("height",), ("static",), (0.0,), (1.0,))
    model = rs.Model.of(
        OfTwo().eval(), inputs=[INPUT, dem], classes=CLASSES, output=rs.ObjectOutput(),
        layout="mapping", stride=48, halo=16,
    )  # fmt: skip
    two = {"s2": image(BOX), "dem": image(BOX)[:, :1].assign_coords(band=["height"])}
    images = InputStack(two, model.spec, BOX)
    (found,) = detect_windows(images, model, [PixelBox(0, 1008, 48, 1056)])
    assert len(found) == 1
