"""Detectors of torchvision: windows go in as they are, nothing is downloaded, names round-trip."""

import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from blob_detector import CLASSES, INPUT, detector
from mlm_schema import schema_errors

import rsscale as rs
from rsscale.detectors.detectors import DETECTORS, ORIENTED, OUTLINED, build_detector
from rsscale.detectors.wrapped import WindowTransform
from rsscale.errors import MissingExtraError, ModelError
from rsscale.learn.accelerate import accelerate
from rsscale.learn.architectures import ARCHITECTURES, build, complete
from rsscale.learners.base import Design, Task
from rsscale.learners.network import contract
from rsscale.object_training.detector_kind import object_output

SMALL: dict[str, Any] = {"backbone": "small", "width": 32, "most": 7}
CHANNELS = 5


def made(name: str, classes: int = 2, **how: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_detector(name, CHANNELS, classes, SMALL | {"least_score": 0.0} | how)


def targets() -> list[dict[str, torch.Tensor]]:
    mask = torch.zeros(1, 64, 64, dtype=torch.uint8)
    mask[:, 10:30, 12:36] = 1
    some = {"boxes": torch.tensor([[12.0, 10, 36, 30]]), "labels": torch.tensor([2]), "masks": mask,
            "rectangles": torch.tensor([[24.0, 20, 24, 20, 0]])}  # fmt: skip
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64),
            "masks": torch.zeros(0, 64, 64, dtype=torch.uint8),
            "rectangles": torch.zeros(0, 5)}  # fmt: skip
    return [some, none]


@pytest.mark.parametrize("name", DETECTORS)
def test_each_finds_objects_in_windows_of_any_channels_and_learns(name: str) -> None:
    network = made(name)
    windows = torch.rand(2, CHANNELS, 64, 64)
    with torch.inference_mode():
        found = network.eval()(windows)
    assert len(found) == 2
    for one in found:
        assert len(one["boxes"]) <= 7
        assert set(one["labels"].tolist()) <= {1, 2}
        assert ("masks" in one) == (name in OUTLINED)
        assert one["boxes"].shape[1] == (5 if name in ORIENTED else 4)
    losses = network.train()(windows, targets())
    total = sum(losses.values())
    assert torch.isfinite(total)
    total.backward()
    pickle.loads(pickle.dumps(network))


@pytest.mark.extended
def test_what_it_is_shown_it_finds_after_some_steps() -> None:
    """A square of the second class, brighter than all else, is found where it is."""
    network = made("fcos", least_score=0.3)
    torch.manual_seed(1)
    windows = 0.1 * torch.randn(2, CHANNELS, 64, 64)
    windows[0, :, 10:30, 12:36] += 2
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    network.train()
    for _ in range(25):
        optimizer.zero_grad()
        sum(network(windows, targets()).values()).backward()
        optimizer.step()
    with torch.inference_mode():
        first, second = network.eval()(windows)
    assert first["labels"][:1].tolist() == [2]
    assert torch.allclose(first["boxes"][0], torch.tensor([12.0, 10, 36, 30]), atol=4)
    assert len(second["boxes"]) == 0


def test_windows_are_neither_scaled_nor_resized() -> None:
    window = torch.randn(CHANNELS, 50, 64)
    images, _ = WindowTransform()([window])
    assert images.tensors.shape == (1, CHANNELS, 64, 64)
    assert torch.equal(images.tensors[0, :, :50], window)
    assert not images.tensors[0, :, 50:].any()
    assert images.image_sizes == [(50, 64)]


def test_the_first_window_does_not_decide_what_is_found_in_others() -> None:
    """torchvision's pooling would keep the scales of the first one, of 33 px wrong ones."""
    fresh, used = made("fasterrcnn").eval(), made("fasterrcnn").eval()
    window = torch.rand(1, CHANNELS, 96, 96)
    with torch.inference_mode():
        used(torch.rand(1, CHANNELS, 33, 33))
        (one,), (other,) = fresh(window), used(window)
    assert torch.equal(one["boxes"], other["boxes"])
    assert torch.equal(one["scores"], other["scores"])
    pooler = fresh.inner.roi_heads.box_roi_pool
    known, levels = pooler.scales, pooler.map_levels.__dict__
    pooler.scales = None  # as torchvision finds them, of a window that needs no padding
    with torch.inference_mode():
        fresh(window)
    assert (pooler.scales, pooler.map_levels.__dict__) == (known, levels)


@pytest.mark.parametrize("norm", ["group", "batch", "frozen"])
def test_residual_backbones_take_any_number_of_channels(norm: str) -> None:
    network = build_detector("fasterrcnn", 7, 1, {"norm": norm, "anchors": [8, 16, 32, 64, 128]})
    with torch.inference_mode():
        (found,) = network.eval()(torch.rand(1, 7, 64, 64))
    assert found["boxes"].shape[1] == 4


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"backbone": "resnet81"}, "backbone 'resnet81'.*did you mean 'resnet18'"),
        ({"anchors": [1] * 9}, "has 9 levels; backbone 'small' has 1 to 5, of 4 px"),
        ({"anchors": 8}, "anchors are 8; expected widths in pixels, one for each level"),
        ({"anchors": [8, -1]}, r"anchors are \[8, -1\]"),
        ({"shapes": []}, r"shapes are \[\]; expected height over width"),
        ({"ancors": [8]}, "no hyperparameter 'ancors'.*did you mean 'anchors'"),
        ({"width": 12}, "width is 12; expected a multiple of 8"),
        ({"width": "wide"}, "width or levels of 'wide'"),
        ({"norm": "layer"}, "norm 'layer'; expected one of group, batch, frozen"),
    ],
)
def test_hyperparameters_that_do_not_fit_are_named(how: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build("fasterrcnn", [INPUT], 2, **(SMALL | how))


@pytest.mark.parametrize("architecture", ["fcos", "fcos-oriented"])
def test_fcos_refuses_a_width_that_its_heads_cannot_have(architecture: str) -> None:
    with pytest.raises(ModelError, match="width is 48; fcos needs a multiple of 32 channels"):
        build_detector(architecture, 3, 1, {"backbone": "small", "width": 48})


def test_a_name_that_is_no_detector_is_refused() -> None:
    with pytest.raises(ModelError, match="'yolo' is no detector; there are fasterrcnn, maskrcnn"):
        build_detector("yolo", 3, 1, {})


def test_labels_stay_integers_in_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    # Also where the processor has no instructions for it: torch computes it all the same.
    monkeypatch.setattr("rsscale.learn.accelerate.has_bfloat16", lambda _: True)
    model = detector(build("fasterrcnn", [INPUT], 2, **SMALL, least_score=0.0).eval())
    with torch.inference_mode():
        (found,) = accelerate(model, precision="bfloat16")(torch.rand(1, 2, 80, 80))
    assert found["labels"].dtype == torch.int64
    assert found["scores"].dtype == torch.float32


def test_without_torchvision_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(MissingExtraError, match=r"a detector of torchvision.*rsscale\[detection\]"):
        build_detector("fasterrcnn", 3, 1, {})


def test_a_detector_maps_no_pixels() -> None:
    design = Design(name="ponds", architecture="fasterrcnn")
    with pytest.raises(ModelError, match="'fasterrcnn' is a detector, which learns from boxes"):
        contract(design, [INPUT], Task(CLASSES))


@pytest.mark.parametrize("name", DETECTORS)
def test_a_saved_detector_is_opened_with_its_contract(name: str, tmp_path: Path) -> None:
    kind = object_output(name).kind
    network = build(name, [INPUT], 2, **SMALL).eval()
    model = rs.Model.of(
        network, inputs=[INPUT], classes=CLASSES, output=rs.ObjectOutput(kind, 0.0),
        architecture=name, hyperparameters=SMALL, stride=48, halo=8,
    )  # fmt: skip
    saved = rs.save_model(model, tmp_path / "model")
    opened = rs.open_model(tmp_path / "model", device="cpu")
    assert opened.spec == saved.spec
    assert opened.spec.hyperparameters == complete(name, SMALL)
    window = torch.rand(1, 2, 64, 64)
    with torch.inference_mode():
        (one,), (other,) = opened(window), model(window)
    assert torch.allclose(one["boxes"], other["boxes"], atol=5e-3)
    assert ARCHITECTURES[name].finds_objects
    assert schema_errors(tmp_path / "model" / "item.json") == []
