"""Every kind of model maps through a run: the same for any tile size, in process and on workers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from landscape import Landscape
from mapped_kinds import KINDS
from once import Once

import rsscale as rs
from rsscale.cluster.connection import connect
from rsscale.layers import Layer

pytestmark = pytest.mark.slow
# A program of torch runs any code, and is trusted by hand; of other files nothing is asked.
OPTIONS: dict[str, Any] = {"threads": 1, "device": "cpu", "trust": True}
# Tile and whether on two workers; each is compared with tiles of 256 px in this process.
CUTS = ((96, False), (160, True))
MORE_CUTS = ((160, False), (96, True), (256, True))
# What differs from kind to kind is the model's, which tests/runtimes and tests/inference try apart.
QUICK = ("own network",)
CASES = [
    *(
        pytest.param(name, CUTS, id=name, marks=[] if name in QUICK else pytest.mark.extended)
        for name in KINDS
    ),
    *(pytest.param(name, MORE_CUTS, id=f"{name}-more", marks=pytest.mark.long) for name in KINDS),
]
PREVIEW = [6.025, 44.976, 6.031, 44.983]


@pytest.fixture(scope="module")
def workers(two_workers: str) -> Iterator[Any]:
    with connect(two_workers) as client:
        yield client


def product(recipe: dict[str, Any], folder: Path, client: Any) -> xr.Dataset:
    return rs.run(recipe, folder, client, **OPTIONS).open().load()


def is_valid(layer: Layer, opened: xr.DataArray) -> np.ndarray:
    """Where a layer of an opened product has a value."""
    return np.isfinite(opened.values) if layer.is_scaled else layer.is_valid(opened.values)


def over(whole: xr.Dataset, other: xr.DataArray, layer: Layer) -> np.ndarray:
    """A layer of a product over the pixels of one of other tiles."""
    fill = np.nan if layer.is_scaled else layer.nodata  # opened, it is decoded
    return other.reindex(y=whole.y, x=whole.x, fill_value=fill).values


@pytest.mark.parametrize(("name", "cuts"), CASES)
def test_a_run_of_any_kind_is_the_same_for_any_tile_size_and_workers(
    landscape: Landscape,
    once: Once,
    workers: Any,
    tmp_path: Path,
    name: str,
    cuts: tuple[tuple[int, bool], ...],
) -> None:
    kind = KINDS[name]
    kind.skip_if_not_installed()
    model = once(f"kind of {name}", kind.save)
    assert list(model.glob("model.*")) == [model / f"model{kind.suffix}"]
    layers = {layer.name: layer for layer in rs.ModelFolder.at(model, trust=True).spec.layers()}
    whole = product(kind.recipe(landscape, model, 256), tmp_path / "whole", None)
    assert set(whole) == set(kind.layers) == set(layers)
    main = kind.layers[0]
    valid = is_valid(layers[main], whole[main])
    assert valid.any()
    assert not valid.all()  # what was never seen
    assert len(np.unique(whole[main].values[valid])) > 1
    for tile, on_workers in cuts:
        recipe, folder = kind.recipe(landscape, model, tile), tmp_path / f"{tile}-{on_workers}"
        other = product(recipe, folder, workers if on_workers else None)
        for layer in layers.values():
            found = over(whole, other[layer.name], layer)
            assert np.array_equal(found, whole[layer.name], equal_nan=layer.is_scaled), (
                f"{layer.name} in tiles of {tile} px{' on two workers' * on_workers}"
            )
    preview = rs.preview(
        kind.recipe(landscape, model, 256), bbox=PREVIEW, device="cpu", threads=1, trust=True
    )
    there = whole[main].sel(y=preview.y, x=preview.x).isel(time=0)
    scale = layers[main].scale
    stored = np.where(is_valid(layers[main], there), there / scale, layers[main].nodata)
    assert np.array_equal(preview[main].isel(time=0), stored.round())
