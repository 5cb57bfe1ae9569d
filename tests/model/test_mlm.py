"""MLM metadata: what decides a map is honoured or refused by name, and what is written is true."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import torch

from rsscale.errors import ModelError
from rsscale.geo.lattice import Lattice
from rsscale.layers import Layer
from rsscale.legend.classes import LandClass
from rsscale.model.mlm import read_mlm
from rsscale.model.model_input import ModelInput
from rsscale.model.outputs import (
    ClassOutput,
    ConformalSets,
    EmbeddingOutput,
    ObjectOutput,
    ResultLayout,
    ValueOutput,
)
from rsscale.model.spec import ModelSpec
from rsscale.network.normalize import normalize

EXAMPLES = Path(__file__).resolve().parents[2] / "../shared/data/mlm/examples"
SPACE = ["height", "width"]
Item = dict[str, Any]


def spec(**changes: object) -> ModelSpec:
    fields: dict = {
        "name": "landcover",
        "inputs": (ModelInput("s2", ("red", "nir"), ("spring", "summer"), (0.1, 0.3), (0.1, 0.1)),),
        "classes": (LandClass(1, "water", "#1f78b4"), LandClass(7, "built up", "#e31a1c")),
        "lattice": Lattice(512, 32),
        "architecture": "unet",
    }
    return ModelSpec(**{**fields, **changes})


def item() -> Item:
    made: Item = json.loads(json.dumps(spec().to_item()))
    return made


def first(made: Item) -> Item:
    found: Item = made["properties"]["mlm:input"][0]
    return found


def output(made: Item) -> Item:
    found: Item = made["properties"]["mlm:output"][0]
    return found


def changed(where: Callable[[Item], Item], **values: Any) -> Item:
    made = item()
    where(made).update(values)
    return made


REFUSED = {
    "pre": (changed(first, pre_processing_function={"format": "python", "expression": "my:f"}),
            r"mlm:input\[0\]\.pre_processing_function is my:f"),
    "post": (changed(output, post_processing_function="argmax"),
             r"mlm:output\[0\]\.post_processing_function is argmax"),
    "resize": (changed(first, resize_type="pad"), "resize_type is pad"),
    "norm clip": (changed(first, norm_clip=[0, 1]), r"norm_clip is \[0, 1\]"),
    "norm type": (changed(first, norm_type="z-score"), "norm_type is z-score"),
    "statistics": (changed(first, statistics=[{"mean": 1}]), "statistics is"),
    "variables": (changed(first, variables=["t2m"]), "variables is"),
    "bands before time": (
        changed(lambda m: first(m)["input"], dim_order=["batch", "bands", "time", *SPACE],
                shape=[-1, 2, 2, 576, 576]), "dim_order"),
    "width before height": (
        changed(lambda m: first(m)["input"], dim_order=["batch", "bands", "width", "height"]),
        "dim_order"),
    "another window": (changed(lambda m: first(m)["input"], shape=[-1, 4, 256, 256]),
                       r"input\.shape is \[-1, 4, 256, 256\]; it is \[-1, 4, 576, 576\]"),
    "other channels": (changed(lambda m: first(m)["input"], shape=[-1, 3, -1, -1]), "input.shape"),
    "a batch of one": (changed(lambda m: first(m)["input"], shape=[1, 4, -1, -1]), "input.shape"),
    "integers": (changed(lambda m: first(m)["input"], data_type="uint16"), "data_type is uint16"),
    "classes last": (changed(lambda m: output(m)["result"],
                             dim_order=["batch", "height", "width", "class"]), "result.dim_order"),
    "one value an image": (changed(lambda m: output(m)["result"], dim_order=["batch", "class"],
                                   shape=[-1, 2]), "result.dim_order"),
    "class numbers": (changed(lambda m: output(m)["result"], data_type="uint8"),
                      "result.data_type is uint8"),
    "more scores": (changed(lambda m: output(m)["result"], shape=[-1, 3, -1, -1]), "result.shape"),
    "pictures": (changed(lambda m: m["properties"], **{"mlm:tasks": ["generative"]}),
                 "mlm:tasks is generative"),
    "another task": (changed(lambda m: m["properties"], **{"mlm:tasks": ["regression"]}),
                     "mlm:tasks is regression; its output is one of semantic-segmentation"),
    "its values": (changed(output, tasks=["regression"]), r"output\[0\]\.tasks is regression"),
    "its output's": (changed(output, tasks=["object-detection"]),
                     "mlm:tasks is semantic-segmentation; its output is one of object-detection"),
    "boxes for pixels": (changed(lambda m: m["properties"], **{"mlm:tasks": ["object-detection"],
                         "mlm:output": [output(item()) | {"tasks": ["object-detection"]}]}),
                         r"result\.dim_order is .* boxes come as \(batch, detection, box\)"),
    "keras": (changed(lambda m: m["properties"], **{"mlm:framework": "Keras"}),
              "mlm:framework is Keras"),
    "two outputs": (changed(lambda m: m["properties"], **{"mlm:output": [output(item())] * 2}),
                    "mlm:output is 2 outputs"),
    "half a clip": (changed(first, value_scaling=[{"type": "clip", "minimum": 0}]),
                    r"value_scaling\[0\]: lacks numbers of its type 'clip'"),
    "an empty clip": (changed(first, value_scaling=[{"type": "clip", "minimum": 1, "maximum": 0}]),
                      r"value_scaling\[0\]: clips from 1 to 0, which is no range"),
    "a scale of 0": (changed(first, value_scaling=[{"type": "scale", "value": 0}]),
                     "divides by 0"),
    "an expression": (changed(first, value_scaling=[{"type": "processing", "expression": "x"}]),
                      r"value_scaling\[0\]\.type is processing"),
    "three for two": (changed(first, value_scaling=first(item())["value_scaling"][:3]),
                      "value_scaling: holds 3"),
    "each its own": (changed(first, value_scaling=[
        {"type": "z-score", "mean": n, "stddev": 1} for n in range(4)]), "at another time"),
    "a computed band": (changed(first, bands=["red", {"name": "ndvi", "format": "x",
                                                      "expression": "(b-a)/(a+b)"}]),
                        r"bands\[1\]\.expression is"),
    "a nodata class": (changed(lambda m: output(m)["classification:classes"][0], nodata=True),
                       r"classes\[0\]\.nodata is true"),
}  # fmt: skip


@pytest.mark.parametrize(("made", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_fields_that_decide_are_refused_by_name(made: Item, message: str) -> None:
    with pytest.raises(ModelError, match=message) as error:
        ModelSpec.from_item(made)
    assert "\n" not in str(error.value)
    assert "'landcover'" in str(error.value)


@pytest.mark.parametrize(
    ("scaling", "mean", "std"),
    [
        (None, 0.0, 1.0),
        ([{"type": "min-max", "minimum": 1, "maximum": 5}], 1.0, 4.0),
        ([{"type": "z-score", "mean": 0.5, "stddev": 2}], 0.5, 2.0),
        ([{"type": "min-max", "minimum": 0, "maximum": 1},
          {"type": "z-score", "mean": 0, "stddev": 1}], 0.0, 1.0),
    ],
)  # fmt: skip
def test_scalings_are_honoured(scaling: Any, mean: float, std: float) -> None:
    one = ModelSpec.from_item(changed(first, value_scaling=scaling)).inputs[0]
    assert one.mean == (mean, mean)
    assert one.std == (std, std)


def test_what_is_empty_decides_nothing() -> None:
    made = changed(
        first, pre_processing_function=None, resize_type=None, norm_type=None, variables=[],
        statistics=[],
    )  # fmt: skip
    output(made)["post_processing_function"] = None
    assert ModelSpec.from_item(made) == spec()


def test_models_of_earlier_versions_are_read() -> None:
    made = changed(
        first, bands=["red", "nir"], value_scaling=first(item())["value_scaling"][:2],
        input={"shape": [-1, 2, 2, 576, 576], "data_type": "float32",
               "dim_order": ["batch", "time", "bands", "height", "width"]},
    )  # fmt: skip
    assert ModelSpec.from_item(made) == spec()
    assert read_mlm(made).layout == "channels"  # which they always took
    made["properties"]["mlm:architecture"] = "of another maker"
    assert read_mlm(made).layout == "series"


def test_the_declared_input_is_what_the_network_gets() -> None:
    two = spec(inputs=(*spec().inputs, ModelInput("dem", ("h",), ("static",), (0.0,), (1.0,))))
    s2, dem = two.to_item()["properties"]["mlm:input"]
    assert s2["input"]["shape"] == [-1, 4, 576, 576]
    assert s2["bands"] == ["red", "nir", "red", "nir"]
    assert dem["input"]["shape"] == [-1, 1, 576, 576]
    assert "channels 4 to 4 of the one tensor of 5 channels" in dem["description"]
    assert ModelSpec.from_item(two.to_item()) == two


WRONG = {
    "no properties": (lambda m: m.pop("properties"), "properties"),
    "text for a number": (lambda m: m["properties"].update({"rsscale:stride": "512"}), "stride"),
    "no stride": (lambda m: m["properties"].update({"rsscale:stride": 0}), "stride: is 0"),
    "a wide halo": (lambda m: m["properties"].update({"rsscale:halo": 10**9}), "rsscale:halo"),
    "not a number": (lambda m: first(m)["value_scaling"][0].update(mean=float("nan")), "mean"),
    "no spread": (lambda m: first(m)["value_scaling"][0].update(stddev=0), "divides by 0"),
    "a list": (lambda m: m["properties"].update({"mlm:input": {"a": 1}}), "mlm:input"),
    "no inputs": (lambda m: m["properties"].update({"mlm:input": []}), "mlm:input"),
    "no bands": (lambda m: first(m).update(bands=[]), "bands: missing"),
    "no times": (lambda m: first(m).pop("rsscale:times"), "each band of a time window has its"),
    "no times of a series": (
        lambda m: (first(m).pop("rsscale:times"),
                   first(m)["input"].update(dim_order=["batch", "time", "bands", *SPACE]),
                   m["properties"].update({"mlm:architecture": "own"})),
        "rsscale:times: missing"),
    "no classes": (lambda m: output(m).pop("classification:classes"), "classes: missing"),
    "a colour": (lambda m: output(m)["classification:classes"][0].update(color_hint=[0, 0, 0]),
                 "color_hint"),
    "hyperparameters": (lambda m: m["properties"].update({"mlm:hyperparameters": [1]}), "hyperp"),
    "resolution": (lambda m: m["properties"].update({"rsscale:resolution": "10 m"}), "resolution"),
    "blend": (lambda m: m["properties"].update({"rsscale:blend": "sum"}), "blend"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_missing_or_of_another_type_is_named(
    change: Callable[[Item], Any], message: str
) -> None:
    made = copy.deepcopy(item())
    change(made)
    with pytest.raises(ModelError, match=message):
        ModelSpec.from_item(made)


def test_public_examples_are_refused_by_the_field_that_can_not_be_done() -> None:
    if not EXAMPLES.exists():
        pytest.skip(f"the MLM examples are not at {EXAMPLES}")
    found = {}
    for path in sorted(EXAMPLES.rglob("item_*.json")):
        with pytest.raises(ModelError) as error:
            ModelSpec.from_item(json.loads(path.read_text()))
        found[path.name] = str(error.value)
    assert len(found) >= 9
    assert all("mlm:" in message for message in found.values())
    assert "mlm:tasks is downscaling" in found["item_datacube_variables.json"]
    assert "classification:classes: missing" in found["item_basic.json"]


@pytest.mark.parametrize(
    "dates",
    [{}, {"datetime": "2023-07-01T00:00:00Z"},
     {"start_datetime": "2023-01-01T00:00:00Z", "end_datetime": "2023-12-31T23:59:59Z"}],
)  # fmt: skip
@pytest.mark.parametrize("geometry", [None, {"type": "Point", "coordinates": [3, 45]}])
def test_pystac_opens_what_is_written(dates: dict, geometry: dict | None) -> None:
    opened = pystac.Item.from_dict(json.loads(json.dumps(spec().to_item(geometry, **dates))))
    assert opened.id == "landcover"
    assert opened.properties["mlm:name"] == "landcover"


SERIES = ModelInput("s2", ("red", "nir"), (), (0.1, 0.3), (0.1, 0.1), 24, ("days", "valid"))
KINDS: dict[str, dict[str, Any]] = {
    "sigmoid": {"output": ClassOutput("sigmoid", 1.7)},
    "probabilities": {"output": ClassOutput("none", conformal=ConformalSets(0.9, (0.2, 0.25)))},
    "extras": {"extras": (Layer("disagreement", scale=0.01, overview="mean"),)},
    "values": {
        "output": ValueOutput(
            (
                Layer("biomass", "uint16", 65535, scale=0.1, attributes={"units": "t/ha"}),
                Layer("height", "float32"),
            )
        ),
        "classes": (),
    },
    "embedding": {"output": EmbeddingOutput(64, quantization="square"), "classes": ()},
    "objects": {"output": ObjectOutput()},
    "outlines": {"output": ObjectOutput("outlines", 0.3, mask_threshold=0.4)},
    "oriented": {"output": ObjectOutput("oriented", most=1000, first_label=0)},
    "series": {"inputs": (SERIES,), "layout": "mapping"},
    "times apart": {"layout": "series"},
    "placed": {"result": ResultLayout("out", 16, 4)},
    "two inputs": {
        "inputs": (SERIES, ModelInput("dem", ("h",), ("static",), (0.0,), (1.0,))),
        "layout": "mapping",
    },
}


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS.keys())
def test_every_kind_of_contract_comes_back_from_its_item(changes: dict[str, Any]) -> None:
    want = spec(**changes)
    made = json.loads(json.dumps(want.to_item()))
    read = ModelSpec.from_item(made)
    assert read.to_item() == want.to_item()
    # NaN is not NaN, and a nodata of integers comes back as a float.
    assert repr(read) == re.sub(r"(nodata=\d+),", r"\1.0,", repr(want))


def foreign(**changes: Any) -> Item:
    """An item as others write them: nothing in it is of rsscale."""
    made = item()
    properties = made["properties"]
    for key in [key for key in properties if key.startswith("rsscale:")]:
        del properties[key]
    properties["mlm:architecture"] = "ResNet-18"
    first(made).pop("rsscale:times")
    first(made).update(
        bands=["red", "nir"],
        value_scaling=None,
        input={"shape": [-1, 2, 256, 256], "dim_order": ["batch", "channel", *SPACE],
               "data_type": "float32"},
    )  # fmt: skip
    output(made)["result"]["shape"] = [-1, 2, 256, 256]
    for declared in output(made)["classification:classes"]:
        del declared["color_hint"]
    output(made).update(changes)
    return made


def test_what_others_do_not_say_has_defaults() -> None:
    read = ModelSpec.from_item(foreign())
    assert read.lattice == Lattice(192, 32)
    assert read.inputs[0].times == ("*",)
    assert (read.inputs[0].mean, read.inputs[0].std) == ((0.0, 0.0), (1.0, 1.0))
    assert len({c.color for c in read.classes}) == 2
    read.check_input("s2", ["red", "nir"], ["whatever it is called"])
    with pytest.raises(ModelError, match=r"the composite has \['spring', 'summer'\]"):
        read.check_input("s2", ["red", "nir"], ["spring", "summer"])
    open_width = foreign()
    first(open_width)["input"]["shape"] = [-1, 2, -1, -1]
    output(open_width)["result"]["shape"] = [-1, 2, -1, -1]
    with pytest.raises(ModelError, match="rsscale:stride: missing, and no input has a width"):
        ModelSpec.from_item(open_width)
    open_width["properties"].update({"rsscale:stride": 128, "rsscale:halo": 16})
    assert ModelSpec.from_item(open_width).lattice == Lattice(128, 16)


@pytest.mark.parametrize(
    ("function", "activation"),
    [("softmax", "softmax"), ("torch.nn.Softmax", "softmax"),
     ({"format": "python", "expression": "torch.nn.functional:sigmoid"}, "sigmoid")],
)  # fmt: skip
def test_softmax_and_sigmoid_are_known_by_name(function: Any, activation: str) -> None:
    made = foreign(post_processing_function=function)
    if activation == "sigmoid":
        output(made)["result"]["shape"] = [-1, 1, 256, 256]
    assert ModelSpec.from_item(made).output == ClassOutput(activation)  # type: ignore[arg-type]


def test_one_answer_for_a_scene_is_a_map_of_scenes() -> None:
    made = foreign(tasks=["scene-classification"])
    output(made)["result"].update(shape=[-1, 2], dim_order=["batch", "class"])
    read = ModelSpec.from_item(made)
    assert read.lattice == Lattice(256, 0)
    assert read.result == ResultLayout(factor=256)


SCALINGS = {
    "clip": ({"type": "clip", "minimum": 0, "maximum": 2}, lambda x: np.clip(x, 0, 2)),
    "clip-min": ({"type": "clip-min", "minimum": 0}, lambda x: np.maximum(x, 0)),
    "clip-max": ({"type": "clip-max", "maximum": 1}, lambda x: np.minimum(x, 1)),
    "offset": ({"type": "offset", "value": 3}, lambda x: x - 3),
    "scale": ({"type": "scale", "value": 4}, lambda x: x / 4),
    "min-max": ({"type": "min-max", "minimum": -1, "maximum": 3}, lambda x: (x + 1) / 4),
}


@pytest.mark.parametrize(("scaling", "want"), SCALINGS.values(), ids=SCALINGS.keys())
def test_values_are_scaled_as_it_is_declared(
    scaling: Item, want: Callable[[np.ndarray], np.ndarray]
) -> None:
    made = foreign()
    first(made)["value_scaling"] = [scaling]
    read = ModelSpec.from_item(made)
    values = np.linspace(-5, 5, 2 * 16, dtype=np.float32).reshape(1, 2, 4, 4)
    found = normalize(torch.from_numpy(values), read).numpy()
    assert np.allclose(found, want(values))
    assert ModelSpec.from_item(json.loads(json.dumps(read.to_item()))).inputs == read.inputs
    values[0, 0, 0, 0] = np.nan
    assert normalize(torch.from_numpy(values), read)[0, 0, 0, 0] == 0


def test_a_band_is_clipped_or_scaled() -> None:
    both = ModelInput("s2", ("red",), ("a",), (1.0,), (2.0,), clip=((0.0, 1.0),))
    with pytest.raises(ModelError, match="band 'red' of input 's2' is clipped and scaled"):
        spec(inputs=(both,)).to_item()
    with pytest.raises(ModelError, match="expected a range, from low to high, for each band"):
        ModelInput("s2", ("red",), ("a",), (1.0,), (2.0,), clip=((1.0, 0.0),))


def foreign_detector(**changes: Any) -> Item:
    """An item of a detector as others write them."""
    made = foreign(tasks=["object-detection"])
    made["properties"]["mlm:tasks"] = ["object-detection"]
    output(made)["result"].update(shape=[-1, 100, 4], dim_order=["batch", "detections", "box"])
    output(made).update(changes)
    return made


def test_a_detector_of_others_finds_objects() -> None:
    read = ModelSpec.from_item(foreign_detector())
    assert read.output == ObjectOutput()
    assert read.lattice == Lattice(192, 32)
    masks = foreign_detector(tasks=["instance-segmentation"])
    assert ModelSpec.from_item(masks).output == ObjectOutput("outlines")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"post_processing_function": "torchvision.ops.nms"},
         r"post_processing_function is torchvision\.ops\.nms; boxes are taken as the network"),
        ({"rsscale:objects": {"kind": "circles"}}, r"rsscale:objects\.kind: .*found 'circles'"),
        ({"rsscale:objects": {"iou": 2.0}}, "rsscale:objects: iou of objects is 2.0; expected a"),
        ({"classification:classes": []}, "classification:classes: missing"),
        ({"result": {"shape": [-1, 100, 6], "dim_order": ["batch", "d", "b"],
                     "data_type": "float32"}},
         r"result\.shape is \[-1, 100, 6\]; a box of the kind 'boxes' has 4 numbers"),
    ],
)  # fmt: skip
def test_what_a_detector_can_not_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        ModelSpec.from_item(foreign_detector(**changes))
