"""Imagery beside a run, made of the run's own input."""

from pathlib import Path

import numpy as np
import pytest
import requests
from landscape import Landscape

import rsscale as rs
from rsscale.errors import RecipeError
from rsscale.recipe import read_recipe
from rsscale.viewer.imagery import imagery_recipe

# The archive has two bands; three are made of them by name.
NAMES = {"green": "red", "blue": "nir"}


def recipe(landscape: Landscape) -> dict:
    found = landscape.part(model=None, steps={"picture": {"kind": "imagery", "of": "s2"}})
    found["inputs"]["s2"] |= {"bands": ["nir", "red", "green", "blue"], "names": NAMES}
    return found


@pytest.mark.extended
def test_it_is_made_once_and_served(landscape: Landscape, tmp_path: Path) -> None:
    run = rs.run(recipe(landscape), tmp_path / "run", threads=2, device="cpu")
    for stretch in ((0.0, 0.3), None):  # as the recipe's picture has it; then as it was made
        with rs.view(run, imagery=True, stretch=stretch) as viewer:
            answer = requests.get(f"{viewer.url}viewer.json", timeout=30)
            layers = {layer["id"]: layer for layer in answer.json()["layers"]}
            root = requests.get(f"{viewer.url}../imagery.zarr/zarr.json", timeout=30)
            assert root.json()["attributes"]["multiscales"]["layout"]
    assert list(layers) == ["picture/rgb", "imagery/rgb"]
    assert {layer["kind"] for layer in layers.values()} == {"imagery"}
    assert layers["imagery/rgb"]["levels"] == 2
    beside = rs.Run(tmp_path / "run/viewer/imagery")
    np.testing.assert_array_equal(run.open("picture").rgb, beside.open("imagery").rgb)
    starts = [event for event in beside.events() if event["event"] == "started"]
    assert len(starts) == 2
    tiles = [event for event in beside.events() if event["event"] == "tile"]
    assert len(tiles) == beside.state["tiles"]["total"]  # none was computed twice
    assert not rs.verify(tmp_path / "run").damaged


@pytest.mark.parametrize(
    ("across", "resolution"), [(10_000, 10), (10_001, 20), (40_000, 40), (100_000, 160)]
)
def test_of_a_large_run_it_is_coarser(landscape: Landscape, across: int, resolution: int) -> None:
    read = read_recipe(recipe(landscape))
    made = imagery_recipe(read, "area.geojson", (0, 0, across, across))
    assert made["grid"]["resolution"] == resolution
    assert made["inputs"]["s2"]["bands"] == ["red", "green", "blue"]
    assert set(made["steps"]) == {"imagery", "imagery-overviews"}


@pytest.mark.parametrize("name", ["imagery", "imagery-overviews", "imagery-2023"])
def test_an_input_may_be_named_like_its_steps(landscape: Landscape, name: str) -> None:
    found = recipe(landscape)
    found["inputs"] = {name: found["inputs"]["s2"]}
    found["steps"] = {"picture": {"kind": "imagery", "of": name}}
    made = read_recipe(imagery_recipe(read_recipe(found), "area.geojson", (0, 0, 9, 9)))
    (source,) = made.inputs
    assert made.steps["imagery"].options["bands"] == ["red", "green", "blue"]
    assert made.steps["imagery"].of == source


def test_a_run_without_such_bands(landscape: Landscape) -> None:
    read = read_recipe(landscape.part())
    with pytest.raises(RecipeError, match=r"bands red, green and blue; there are .*'s2'.*: add a"):
        imagery_recipe(read, "area.geojson", (0, 0, 1, 1))


def test_bands_are_opened_by_their_own_names(landscape: Landscape) -> None:
    found = landscape.part()
    found["inputs"]["s2"] |= {"bands": ["B02", "B03", "B04", "B08"], "names": {"B08": "nir"}}
    made = imagery_recipe(read_recipe(found), "area.geojson", (0, 0, 1, 1))
    assert made["inputs"]["s2"]["bands"] == ["B04", "B03", "B02"]
    assert made["steps"]["imagery"]["bands"] == ["B04", "B03", "B02"]
    assert "B08" not in made["inputs"]["s2"]["names"]
    by_items = {"s2": ("SR_B3", "SR_B2", "SR_B1")}  # as items of Landsat 7 describe them
    found["inputs"]["s2"] |= {"bands": ["SR_B1", "SR_B2", "SR_B3"], "names": {}}
    made = imagery_recipe(read_recipe(found), "area.geojson", (0, 0, 1, 1), by_items)
    assert made["steps"]["imagery"]["bands"] == ["SR_B3", "SR_B2", "SR_B1"]


def test_nodata_that_another_band_tells_is_nodata_in_the_imagery(landscape: Landscape) -> None:
    found = recipe(landscape)
    found["inputs"]["s2"] |= {"nodata": {"nir": 0}}
    made = read_recipe(imagery_recipe(read_recipe(found), "area.geojson", (0, 0, 1, 1)))
    assert made.inputs["s2"].bands == ("red", "green", "blue", "nir")
    assert made.inputs["s2"].nodata == {"nir": 0}
    assert made.steps["imagery"].options["bands"] == ["red", "green", "blue"]
