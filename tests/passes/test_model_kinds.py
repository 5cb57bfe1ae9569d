"""Every kind of model maps through a run: the same for any tile size, in process and on workers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from landscape import BANDS, Landscape, make_model

import rsscale as rs
from rsscale.geo.lattice import Lattice
from rsscale.layers import Layer
from rsscale.learn.architectures import ARCHITECTURES, build
from rsscale.learn.models import Model, save_model
from rsscale.model.model_input import ModelInput
from rsscale.model.outputs import ClassOutput, EmbeddingOutput, ValueOutput
from rsscale.model.spec import ModelSpec

pytestmark = pytest.mark.slow
OPTIONS: dict[str, Any] = {"threads": 2, "device": "cpu"}
BIOMASS = Layer("biomass", "uint16", 65535, scale=0.1, overview="mean")
SMALL = {"tempcnn": {"width": 8}, "ltae": {}, "utae": {}, "unet": {"width": 4, "depth": 2}}


def spec_of(folder: Path, architecture: str, **changes: Any) -> ModelSpec:
    """The contract of the landscape's model, for another network."""
    known = ARCHITECTURES[architecture]
    base = make_model(folder / "base").spec
    inputs = base.inputs
    if architecture != "unet":
        mean, std = inputs[0].mean, inputs[0].std
        inputs = (ModelInput("s2", BANDS, (), mean, std, 4, known.takes),)
    return replace(
        base,
        inputs=inputs,
        layout=known.layout,
        architecture=architecture,
        hyperparameters=SMALL[architecture],
        lattice=Lattice(96, 16),
        **changes,
    )


def saved(folder: Path, spec: ModelSpec) -> Path:
    """An untrained network of a contract, whose numbers differ from place to place."""
    torch.manual_seed(1)
    outputs = spec.output_channels
    module = build(spec.architecture, spec.inputs, outputs, **spec.hyperparameters).eval()
    with torch.no_grad():
        for name, value in module.named_parameters():
            if value.ndim > 1:
                value.mul_(2.5)  # else all pixels are about alike
            del name
    save_model(Model(spec, module, torch.device("cpu")), folder / "model")
    return folder / "model"


KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "temporal CNN": ("tempcnn", {}),
    "L-TAE": ("ltae", {}),
    "U-TAE": ("utae", {}),
    "sigmoid": ("unet", {"output": ClassOutput("sigmoid"), "classes": 2}),
    "uint16 regression": ("unet", {"output": ValueOutput((BIOMASS,)), "classes": 0}),
    "embedding": ("unet", {"output": EmbeddingOutput(16), "classes": 0}),
}


def recipe_of(landscape: Landscape, folder: Path, kind: str) -> dict[str, Any]:
    architecture, changes = KINDS[kind]
    changes = dict(changes)
    count = changes.pop("classes", 3)
    spec = spec_of(folder, "unet" if architecture == "unet" else architecture)
    changes["classes"] = spec.classes[:count]
    recipe = landscape.part(model=str(saved(folder, replace(spec, **changes))))
    if architecture != "unet":
        imagery = dict(recipe["inputs"]["s2"])
        del imagery["composite"]
        recipe["inputs"] = {"s2": imagery | {"series": True, "merge_days": True}}
    return recipe


def product(recipe: dict[str, Any], folder: Path, tile: int, client: Any = None) -> xr.Dataset:
    recipe = recipe | {"grid": recipe["grid"] | {"tile": tile}}
    return rs.run(recipe, folder, client, **OPTIONS).open().load()


def is_valid(layer: Layer, opened: xr.DataArray) -> np.ndarray:
    """Where a layer of an opened product has a value."""
    return np.isfinite(opened.values) if layer.is_scaled else layer.is_valid(opened.values)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_of_any_kind_is_the_same_for_any_tile_size(
    landscape: Landscape, tmp_path: Path, kind: str
) -> None:
    recipe = recipe_of(landscape, tmp_path, kind)
    whole = product(recipe, tmp_path / "256", 256)
    first = next(iter(whole))
    layers = {layer.name: layer for layer in rs.ModelFolder.at(recipe["model"]).spec.layers()}
    assert set(layers) == set(whole)
    valid = is_valid(layers[first], whole[first])
    assert valid.any()
    assert not valid.all()
    assert len(set(whole[first].values[valid].tolist())) > 1
    for tile in (160, 512):
        other = product(recipe, tmp_path / str(tile), tile)
        for name, layer in layers.items():
            fill = np.nan if layer.is_scaled else layer.nodata  # opened, it is decoded
            there = other[name].reindex(y=whole.y, x=whole.x, fill_value=fill)
            assert np.array_equal(there, whole[name], equal_nan=layer.is_scaled), (tile, name)
    preview = rs.preview(recipe, bbox=[6.02, 44.98, 6.03, 44.985], device="cpu")
    there = whole[first].sel(y=preview.y, x=preview.x).isel(time=0)
    scale = layers[first].scale
    stored = np.where(is_valid(layers[first], there), there / scale, layers[first].nodata)
    assert np.array_equal(preview[first].isel(time=0), stored.round())
