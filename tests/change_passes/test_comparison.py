"""Change as a pass: the comparison of the whole maps, however they were cut."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from formula_pass import SMALL, allowed, formula_recipe, over

import rsscale as rs
from rsscale.change_passes.comparison import ComparePass
from rsscale.errors import ModelError, RecipeError
from rsscale.layers import Layer
from rsscale.legend.classes import LandClass, class_attributes
from rsscale.recipe import StepRecipe

CHANGE = {"kind": "post-classification", "of": "map", "from": 2022, "to": 2023}


def changed(folder: Path, tile: int, layers: list[str], client: Any = None) -> rs.Run:
    recipe = formula_recipe(
        folder,
        tile=tile,
        shape=SMALL,
        periods=[2022, 2023],
        options={"layers": layers},
        steps={"change": CHANGE},
    )
    with allowed():
        return rs.run(recipe, folder / f"run-{tile}", client, threads=1, device="cpu")


def over_the_area(ds: xr.Dataset) -> xr.Dataset:
    found: xr.Dataset = over(ds, SMALL)
    return found


@pytest.mark.parametrize("layers", [["classification", "confidence"], ["classification"],
                                    ["classification", "probability"]])  # fmt: skip
def test_it_is_the_comparison_of_the_whole_maps(tmp_path: Path, layers: list[str]) -> None:
    run = changed(tmp_path, 192, layers)
    maps = run.open().load()
    before, after = (maps.sel(time=str(year)).squeeze(drop=True) for year in (2022, 2023))
    wanted, found = rs.detect_change(before, after), run.open_change().load().squeeze()
    assert set(found.data_vars) == set(wanted.data_vars)
    assert ("change_probability" in found) == (len(layers) > 1)
    for name in wanted.data_vars:
        np.testing.assert_array_equal(found[name].values, wanted[name].values, err_msg=str(name))
        assert found[name].attrs["long_name"] == wanted[name].attrs["long_name"]
    facts = run.state["steps"]["change"]["facts"]
    assert facts["compared"] == int((wanted.change != 255).sum())
    assert facts["changed"] == int((wanted.change == 1).sum()) > 0


@pytest.mark.slow
@pytest.mark.extended
def test_every_tile_size_and_worker_count_gives_the_same_change(
    tmp_path: Path, two_workers: str
) -> None:
    layers = ["classification", "confidence"]
    cuts = ((192, None), (256, two_workers), (512, two_workers))
    first, *others = (
        over_the_area(changed(tmp_path / str(tile), tile, layers, client).open_change())
        for tile, client in cuts
    )
    assert set(np.unique(first.change)) == {0, 1, 255}
    for other in others:
        for name in first.data_vars:
            np.testing.assert_array_equal(first[name].values, other[name].values)


def test_the_nodata_of_a_function_s_classes_is_honoured() -> None:
    """Classes whose step declares another nodata, and values that are no class."""
    classes = (LandClass(1, "water", "#0000ff"), LandClass(2, "wood", "#00ff00"))

    def opened(layer: Layer) -> ComparePass:
        setup = SimpleNamespace(layers=lambda _: (layer,), source=lambda *_, **__: None)
        options = SimpleNamespace(from_=2022, to=2023)
        recipe = StepRecipe(kind="post-classification", of="map")
        (step,) = ComparePass.open("change", recipe, options, setup)
        return step

    def run(step: ComparePass, before: list[int], after: list[int], dtype: str) -> list[int]:
        maps = {
            name: xr.Dataset({"classification": (("y", "x"), np.array([values], dtype))})
            for name, values in (("before", before), ("after", after))
        }
        block = SimpleNamespace(
            inputs=maps,
            inside=(slice(None), slice(None)),
            where=np.ones((1, len(before)), bool),
            dataset=lambda _, values: values,
        )
        return step.run(block).layers["change"][0].tolist()

    attributes = class_attributes(classes)
    for dtype, none in (("uint8", 0), ("int16", -1), ("uint8", 255), ("uint16", 9)):
        step = opened(Layer("classification", dtype, none, attributes=attributes))
        assert run(step, [1, 2, none, 1], [1, 1, 2, none], dtype) == [0, 1, 255, 255]
        with pytest.raises(ModelError, match=r"the value 7 \(1 pixel\).* 1 water, 2 wood"):
            run(step, [1, 2], [1, 7], dtype)
    with pytest.raises(ModelError, match="declares 2 to be nodata, which is its class 'wood'"):
        opened(Layer("classification", "uint8", 2, attributes=attributes))
    with pytest.raises(RecipeError, match="holds no classes, but quantities"):
        opened(Layer("classification", "float32", float("nan"), attributes=attributes))
