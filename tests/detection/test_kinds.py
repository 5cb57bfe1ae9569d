"""Every kind of file that holds a detector: saved, opened, and the same boxes."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from blob_detector import CLASSES, INPUT, Named, PeakDetector, detector, make_boxes
from mlm_schema import schema_errors
from model_kinds import allowed

import rsscale as rs
from rsscale.detectors.detectors import build_detector
from rsscale.errors import ModelError
from rsscale.passes.map_memory import network_bytes

WINDOW = torch.rand(1, 2, 80, 80, generator=torch.Generator().manual_seed(0))


def same(one: Any, other: Any) -> None:
    (one,), (other,) = (found if isinstance(found, list) else [found] for found in (one, other))
    assert set(one) == set(other)
    for name, values in one.items():
        assert torch.allclose(values, other[name], rtol=1e-3, atol=1e-2), name


def export(network: torch.nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(), (torch.zeros(1, 2, 80, 80),), path, input_names=["image"],
            output_names=["boxes", "labels", "scores"], dynamo=False, opset_version=18,
        )  # fmt: skip
    return path


def test_a_network_without_a_name_is_saved_as_a_program(tmp_path: Path) -> None:
    model = detector(Named(PeakDetector()).eval())
    rs.save_model(model, tmp_path / "model")
    with pytest.raises(ModelError, match="open it with trust=True"):
        rs.open_model(tmp_path / "model")
    opened = rs.open_model(tmp_path / "model", trust=True, device="cpu")
    same(opened(WINDOW), model(WINDOW))
    assert schema_errors(tmp_path / "model" / "item.json") == []


def test_a_network_that_torch_can_not_export_says_what_to_do(tmp_path: Path) -> None:
    network = build_detector("fcos", 2, 2, {"backbone": "small", "width": 32}).eval()
    model = detector(network)
    with pytest.raises(ModelError, match=r"can't be exported.*architecture='module:function'"):
        rs.save_model(model, tmp_path / "model")


def test_a_network_of_a_function_is_saved_as_weights(tmp_path: Path) -> None:
    with allowed("blob_detector"):
        model = rs.Model.of(
            make_boxes(2, 2).eval(), inputs=[INPUT], classes=CLASSES, output=rs.ObjectOutput(),
            architecture="blob_detector:make_boxes",
        )  # fmt: skip
        rs.save_model(model, tmp_path / "model")
        opened = rs.open_model(tmp_path / "model", device="cpu")
    assert (tmp_path / "model" / "model.safetensors").exists()
    same(opened(WINDOW), model(WINDOW))
    with pytest.raises(ModelError, match="set RSSCALE_ARCHITECTURES=blob_detector"):
        rs.open_model(tmp_path / "model")


def test_a_graph_of_onnx_names_its_outputs(tmp_path: Path) -> None:
    model = detector(export(PeakDetector(), tmp_path / "peak.onnx"))
    same(model(WINDOW), Named(PeakDetector())(WINDOW))
    rs.save_model(model, tmp_path / "model")
    item = json.loads((tmp_path / "model" / "item.json").read_text())
    # As another maker writes it: nothing of rsscale, for exactly one window.
    properties = {k: v for k, v in item["properties"].items() if not k.startswith("rsscale:")}
    (declared,), (found,) = properties["mlm:input"], properties["mlm:output"]
    declared["input"]["shape"] = [1, 2, 80, 80]
    del declared["rsscale:times"], found["rsscale:objects"]
    (tmp_path / "model" / "item.json").write_text(json.dumps(item | {"properties": properties}))
    opened = rs.open_model(tmp_path / "model", device="cpu")
    assert opened.spec.output == rs.ObjectOutput()
    assert opened.spec.lattice.window == 80
    same(opened(WINDOW), model(WINDOW))


class _Tuple(torch.nn.Module):
    """What torch exports to ONNX: tensors in order."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        (found,) = self.inner(images)
        return found["boxes"], found["labels"], found["scores"]


def test_detectors_of_torchvision_run_as_graphs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    how = {"backbone": "small", "width": 32, "most": 5, "least_score": 0.0}
    network = build_detector("retinanet", 2, 2, how).eval()
    model = detector(export(_Tuple(network), tmp_path / "retinanet.onnx"))
    with torch.inference_mode():
        detections = network(WINDOW)
        assert len(detections[0]["boxes"])
        same(model(WINDOW), detections)


def test_what_is_no_network_finds_no_objects() -> None:
    class Forest:
        def get_params(self) -> dict[str, Any]:
            return {}

        def predict(self, rows: Any) -> Any:
            return rows

    with pytest.raises(
        ModelError, match=r"a Forest finds no objects; expected a torch\.nn\.Module"
    ):
        detector(Forest())


def test_memory_counts_masks_as_wide_as_the_window() -> None:
    how = {"backbone": "small", "width": 16, "most": 40}
    sizes = []
    for name, kind, most in (("fasterrcnn", "boxes", 40), ("maskrcnn", "outlines", 40),
                             ("maskrcnn", "outlines", 140)):  # fmt: skip
        network = build_detector(name, 2, 2, how).eval()
        sizes.append(network_bytes(detector(network, kind, most=most)))
    assert sizes[1] > sizes[0] + 40 * 4 * 80**2
    assert sizes[2] - sizes[1] == 100 * 8 * 80**2
