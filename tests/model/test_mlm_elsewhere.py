"""Items are true to others: valid by the schema, and enough to run a model without rsscale."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlm_elsewhere
import numpy as np
import pytest
import torch
import xarray as xr
from box_model import GRID
from jsonschema import Draft7Validator
from mapped_kinds import KINDS
from model_kinds import CLASSES, to_onnx
from odc.geo.xr import xr_coords
from once import Once
from pystac.validation.local_validator import get_local_schema_cache
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7
from torch import nn

import rsscale as rs
from rsscale.geo.lattice import PixelBox
from rsscale.inference.stack import InputStack
from rsscale.learn.architectures import build
from rsscale.network.normalize import window_batch

# A network of torch, one of series, a classical learner, another layer, and ONNX: each way once.
QUICK = ("own network", "temporal CNN", "random forest", "int8 embedding", "ONNX")
SCHEMA = Path(__file__).resolve().parents[2] / "../shared/data/mlm/json-schema/schema.json"
# What MLM's schema takes of other extensions, by their text: classification 1.1 and raster 1.1.
CLASS = {
    "type": "object",
    "required": ["value", "description"],
    "properties": {
        "value": {"type": "integer"},
        "description": {"type": "string"},
        "name": {"type": "string"},
        "color_hint": {"type": "string", "pattern": "^([0-9A-Fa-f]{6})$"},
    },
}
OTHERS = {
    "classification/v1.1.0": {"fields": {"properties": {"classification:classes": {
        "type": "array", "uniqueItems": True, "minItems": 1, "items": CLASS}}}},
    "raster/v1.1.0": {"bands": {"items": {"properties": {"data_type": {"enum": [
        "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16",
        "float32", "float64", "cint16", "cint32", "cfloat32", "cfloat64", "other"]}}}}},
    "processing/v1.1.0": {"fields": {"properties": {"processing:expression": {
        "type": "object", "required": ["format", "expression"]}}}},
}  # fmt: skip


def mlm_validator() -> Draft7Validator:
    if not SCHEMA.exists():
        pytest.skip(f"the MLM schema is not at {SCHEMA}")
    address = "https://stac-extensions.github.io/{}/schema.json"
    others = [
        (address.format(name), Resource({"definitions": content}, DRAFT7))
        for name, content in OTHERS.items()
    ]
    registry: Any = Registry().with_resources(others)
    return Draft7Validator(json.loads(SCHEMA.read_text()), registry=registry)


def stac_validator() -> Draft7Validator:
    """Of a STAC item, by the schemas that pystac carries."""
    schemas = get_local_schema_cache()
    registry: Any = Registry().with_resources(
        (name, Resource(content, DRAFT7)) for name, content in schemas.items()
    )
    (name,) = [name for name in schemas if name.endswith("item-spec/json-schema/item.json")]
    return Draft7Validator(schemas[name], registry=registry)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in QUICK else pytest.mark.extended) for name in KINDS],
)
def test_items_of_all_kinds_are_valid_mlm(name: str, once: Once) -> None:
    KINDS[name].skip_if_not_installed()
    item = json.loads((once(f"kind of {name}", KINDS[name].save) / "item.json").read_text())
    validator = mlm_validator()
    assert [error.message for error in validator.iter_errors(item)] == []
    assert validator.schema["$id"] in item["stac_extensions"]


def test_an_item_is_a_valid_item_of_stac(tmp_path: Path) -> None:
    model = rs.Model.of(pixel(tmp_path), inputs=COMPOSITE, classes=CLASSES, **PIXEL)
    rs.save_model(model, tmp_path / "model")
    item = json.loads((tmp_path / "model/item.json").read_text())
    assert [error.message for error in stac_validator().iter_errors(item)] == []


def test_the_check_of_items_can_fail() -> None:
    model = rs.Model.of(nn.Conv2d(4, 3, 1).eval(), inputs=COMPOSITE, classes=CLASSES)
    item = json.loads(json.dumps(model.spec.to_item()))
    bands = item["properties"]["bands"]
    item["assets"]["model"] = {"href": "m", "roles": ["mlm:model"], "mlm:artifact_type": "onnx",
                               "bands": [{"name": band["name"]} for band in bands]}  # fmt: skip
    for validator in (mlm_validator(), stac_validator()):
        assert list(validator.iter_errors(item)) == []
    output = item["properties"]["mlm:output"][0]
    del output["classification:classes"][0]["description"]
    assert list(mlm_validator().iter_errors(item))
    item["properties"]["bands"][0]["nodata"] = "none"
    assert list(stac_validator().iter_errors(item))


# One window: its core lies on the lattice of windows.
CORE = PixelBox(0, 1024, 32, 1056)
WINDOW = CORE.pad(8)
COMPOSITE = (rs.ModelInput("s2", ("nir", "red"), ("spring", "summer"), (0.3, 0.1), (0.2, 0.1)),)
DATES = ("2023-04-11", "2023-06-02", "2023-08-30")
SERIES = (
    rs.ModelInput("s2", ("nir", "red"), (), (0.3, 0.1), (0.2, 0.1), 5, ("days", "valid")),
)  # fmt: skip


class OfDates(nn.Module):
    """Scores that depend on the days of the year, and on what is valid."""

    def forward(self, given: dict[str, torch.Tensor]) -> torch.Tensor:
        season = torch.cos(given["s2.days"] * 0.0172)[:, :, None, None]  # (N, T, 1, 1)
        valid = given["s2.valid"].float()
        nir = (given["s2"][:, :, 0] * season).sum(dim=1)
        red = (given["s2"][:, :, 1] * valid * season).sum(dim=1)
        return torch.stack([nir, red, valid.sum(dim=1) - 2], dim=1)


def unet(folder: Path) -> nn.Module:
    del folder
    torch.manual_seed(3)
    network = build("unet", COMPOSITE, 3, width=4, depth=2).eval()
    with torch.no_grad():  # random weights alone would always choose the same class
        scores = network(torch.randn(1, 4, 64, 64))
        network.head.weight *= 2 / scores.std(dim=(0, 2, 3)).view(-1, 1, 1, 1)
        network.head.bias -= network(torch.randn(1, 4, 64, 64)).mean(dim=(0, 2, 3))
    return network


def unet_as_onnx(folder: Path) -> Path:
    window = torch.zeros(1, 4, *WINDOW.shape)
    return to_onnx(unet(folder), (window,), folder / "unet.onnx", input_names=["image"],
                   dynamic_axes={"image": {0: "n"}})  # fmt: skip


def pixel(folder: Path) -> nn.Module:
    del folder
    torch.manual_seed(4)
    return build("pixel", COMPOSITE, 3, width=7).eval()


PIXEL = {"architecture": "pixel", "hyperparameters": {"width": 7}}
ELSEWHERE: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "program": (unet, COMPOSITE, {}, "model.pt2"),
    "graph": (unet_as_onnx, COMPOSITE, {}, "model.onnx"),
    "weights": (pixel, COMPOSITE, PIXEL, "model.safetensors"),
    "program of dates": (lambda _: OfDates().eval(), SERIES, {"layout": "mapping"}, "model.pt2"),
}


def imagery(times: tuple[str, ...], *, are_dates: bool) -> xr.DataArray:
    """Values with gaps, their bands in another order than the network's."""
    random = np.random.default_rng(7)
    values = random.random((len(times), 3, *WINDOW.shape), dtype=np.float32)
    values[np.broadcast_to(random.random((len(times), 1, *WINDOW.shape)) < 0.2, values.shape)] = (
        np.nan
    )
    values[0, 0, :4, :4] = np.nan  # of one band alone
    values[:, :, 20, 20] = np.nan
    coords: dict[str, Any] = {str(k): v for k, v in xr_coords(GRID.geobox_of(WINDOW)).items()}
    dates = times if are_dates else DATES[: len(times)]
    coords |= {"time": np.array(dates, "datetime64[ns]"), "band": ["red", "green", "nir"]}
    if not are_dates:
        coords["window"] = ("time", list(times))
    return xr.DataArray(values, dims=("time", "band", "y", "x"), coords=coords)


@dataclass(frozen=True)
class Elsewhere:
    """A model and imagery, which a process without rsscale was given too, and what that says."""

    model: rs.Model
    image: xr.DataArray
    scores: np.ndarray
    classes: np.ndarray


def run_elsewhere(root: Path) -> dict[str, Elsewhere]:
    """One process without rsscale for all: torch takes seconds to import."""
    given = {}
    for name, (make, inputs, said, file) in ELSEWHERE.items():
        folder = root / name
        folder.mkdir()
        model = rs.Model.of(make(folder), inputs=inputs, classes=CLASSES, stride=32, halo=8, **said)
        model = rs.save_model(model, folder / "model")
        assert (folder / "model" / file).exists()
        are_dates = bool(inputs[0].series)
        times = DATES if are_dates else inputs[0].times
        image = imagery(times, are_dates=are_dates)
        bands, named = image.band.values, np.array(times)
        np.savez(folder / "imagery.npz", values=image.values, bands=bands, times=named)
        given[name] = model, image
    folders = [str(root / name) for name in given]
    # About torch's own ways nothing is said; no setting of this process is taken over.
    command = [sys.executable, "-W", "ignore", mlm_elsewhere.__file__, *folders]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={})
    assert done.returncode == 0, done.stderr
    found = {}
    for name, (model, image) in given.items():
        with np.load(root / name / "scores.npz") as said:
            found[name] = Elsewhere(model, image, said["scores"], said["classes"])
    return found


@pytest.mark.extended
def test_a_process_without_rsscale_gets_the_same_scores(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    found = run_elsewhere(tmp_path)
    assert list(found) == list(ELSEWHERE)
    for name, elsewhere in found.items():
        check_same(name, elsewhere)


def check_same(name: str, elsewhere: Elsewhere) -> None:
    model, image = elsewhere.model, elsewhere.image
    stack = InputStack({"s2": image}, model.spec, WINDOW)
    chosen = stack.choose(WINDOW)
    channels = np.empty((model.spec.channels, *WINDOW.shape), np.float32)
    stack.fill(channels, WINDOW, chosen)
    batch = window_batch(torch.from_numpy(channels)[None], chosen.days, model.spec)
    with torch.inference_mode():
        scores = model(batch).numpy()
    assert scores.std() > 0.05, name
    np.testing.assert_allclose(elsewhere.scores, scores, rtol=1e-4, atol=1e-5, err_msg=name)

    # And so the same map, where anything was seen.
    mapped = rs.predict(image, model).isel(time=0, missing_dims="ignore").classification.values
    inner = CORE.slices(WINDOW)
    seen = mapped[inner] != 255
    assert 0 < seen.sum() < seen.size, name
    assert len(np.unique(mapped[inner][seen])) > 1, name
    np.testing.assert_array_equal(elsewhere.classes[inner][seen], mapped[inner][seen], name)
