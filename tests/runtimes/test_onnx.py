"""ONNX files: inputs by the contract's layout, what is refused by name, and no code is run."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from model_kinds import CLASSES, FEATURES, Block, export_onnx, to_onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import rsscale as rs
from rsscale.errors import ModelError
from rsscale.model.outputs import ClassOutput, ResultLayout
from rsscale.network.batch import WindowBatch

SAID = {"inputs": {"s2": ["red", "nir"]}, "times": ["a", "b"], "classes": CLASSES,
        "stride": 32, "halo": 4}  # fmt: skip


class OfSeries(nn.Module):
    """Scores of the sum over time, ``(N, T, B, H, W)`` in."""

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        red = series.sum(dim=1)[:, 0]
        return torch.stack([red, -red, red * 0], dim=1)


class OfTwo(nn.Module):
    """Scores of two inputs and the days of one."""

    def forward(
        self, s1: torch.Tensor, s2: torch.Tensor, days: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        total = s1.sum(dim=(1, 2)) - s2.sum(dim=(1, 2)) + days.sum(dim=1)[:, None, None]
        return total * 2, torch.stack([total, -total, total * 0], dim=1)


def test_a_series_comes_with_its_times(tmp_path: Path) -> None:
    path = tmp_path / "series.onnx"
    to_onnx(OfSeries(), (torch.zeros(1, 2, 2, 40, 40),), path,
            input_names=["x"], dynamic_axes={"x": {0: "n"}})  # fmt: skip
    model = rs.Model.of(path, layout="series", **SAID)
    image = torch.randn(3, FEATURES, 40, 40)
    found = model(WindowBatch(model.spec, image))
    expected = OfSeries()(image.view(3, 2, 2, 40, 40))
    torch.testing.assert_close(found, expected)
    with pytest.raises(ModelError, match="layout 'channels' gives 4 dimensions"):
        rs.Model.of(path, **SAID)


def test_a_mapping_comes_by_the_names_of_its_inputs(tmp_path: Path) -> None:
    path = tmp_path / "two.onnx"
    given = (torch.zeros(1, 1, 1, 40, 40), torch.zeros(1, 2, 2, 40, 40), torch.zeros(1, 2))
    names = ["s1", "s2", "s2.days"]
    to_onnx(OfTwo(), given, path, input_names=names, output_names=["total", "scores"],
            dynamic_axes={name: {0: "n"} for name in names})  # fmt: skip
    inputs = (
        rs.ModelInput("s1", ("vv",), ("a",), (0.0,), (1.0,)),
        rs.ModelInput("s2", ("red", "nir"), (), (0.0, 0.0), (1.0, 1.0), series=2, takes=("days",)),
    )
    more = SAID | {"inputs": inputs, "times": None, "layout": "mapping"}
    model = rs.Model.of(path, result=ResultLayout("scores"), **more)
    image, days = torch.randn(2, 5, 40, 40), torch.tensor([[10.0, 200.0], [5.0, 0.0]])
    found = model(WindowBatch(model.spec, image, {"s2.days": days}))
    s1, s2 = image[:, :1].view(2, 1, 1, 40, 40), image[:, 1:].view(2, 2, 2, 40, 40)
    torch.testing.assert_close(found, OfTwo()(s1, s2, days)[1])
    other = (inputs[0], rs.ModelInput("s9", ("red", "nir"), ("a", "b"), (0.0,) * 2, (1.0,) * 2))
    with pytest.raises(ModelError, match=r"has the input 's2'; the contract gives s1, s9"):
        rs.Model.of(path, result=ResultLayout("scores"), **(more | {"inputs": other}))
    with pytest.raises(ModelError, match=r"has the inputs \['s1', 's2', 's2.days'\]"):
        rs.Model.of(path, **SAID)


class OfRows(nn.Module):
    """Labels and probabilities of rows of features, as estimators are exported."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(FEATURES, 3)

    def forward(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        probability = torch.softmax(self.linear(rows) * 4, dim=1)
        return probability.argmax(dim=1), probability


def test_rows_are_the_channels_of_each_pixel(tmp_path: Path) -> None:
    path = to_onnx(OfRows(), (torch.zeros(2, FEATURES),), tmp_path / "rows.onnx",
                   input_names=["rows"], output_names=["label", "probabilities"],
                   dynamic_axes={"rows": {0: "n"}})  # fmt: skip
    more = SAID | {"halo": 0, "output": ClassOutput("none"), "stride": 200}
    model = rs.Model.of(path, result=ResultLayout("probabilities"), **more)
    assert model.reach == 0
    image = torch.randn(1, FEATURES, 200, 200)  # in two batches
    _, expected = OfRows().eval()(image[0].flatten(1).T)
    torch.testing.assert_close(model(image)[0].flatten(1).T, expected)
    with pytest.raises(ModelError, match="takes rows of 4 features, and the contract has 2"):
        rs.Model.of(path, **(more | {"times": ["a"]}))
    single = to_onnx(OfRows(), (torch.zeros(1, FEATURES),), tmp_path / "single.onnx")
    with pytest.raises(ModelError, match="takes exactly 1 pixels at once"):
        rs.Model.of(single, **more)


@pytest.mark.parametrize(
    ("fixed", "match"),
    [
        ((5, 40), "takes exactly 5 windows at once"),
        ((1, 64), "takes windows of 64 x 64 px; its contract has 40 px"),
    ],
)
def test_fixed_shapes_are_refused_by_name(
    tmp_path: Path, fixed: tuple[int, int], match: str
) -> None:
    count, size = fixed
    window = torch.zeros(count, FEATURES, size, size)
    path = to_onnx(Block(FEATURES, 3), (window,), tmp_path / "fixed.onnx")
    with pytest.raises(ModelError, match=match):
        rs.Model.of(path, **SAID)


def test_operators_of_others_are_refused(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", FEATURES, 40, 40])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, 40, 40])
    node = helper.make_node("RunsCode", ["x"], ["y"], domain="some.library")
    graph = helper.make_graph([node], "custom", [value], [out])
    imports = [helper.make_opsetid("some.library", 1), helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), tmp_path / "c.onnx")
    with pytest.raises(ModelError, match=r"can't be opened by ONNX Runtime .*some\.library"):
        rs.Model.of(tmp_path / "c.onnx", **SAID)


def test_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    proto = onnx.load(export_onnx(tmp_path / "block.onnx"))
    proto.graph.initializer.append(numpy_helper.from_array(np.zeros(2000, np.float32), "more"))
    path = tmp_path / "apart.onnx"
    onnx.save_model(proto, path, save_as_external_data=True, location="weights.bin",
                    size_threshold=100)  # fmt: skip
    with pytest.raises(ModelError, match="keeps weights in another file"):
        rs.Model.of(path, **SAID)


def test_what_is_no_onnx_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no")
    with pytest.raises(ModelError, match=r"no\.onnx can't be opened by ONNX Runtime"):
        rs.Model.of(tmp_path / "no.onnx", **SAID)
