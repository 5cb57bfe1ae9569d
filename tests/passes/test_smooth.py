"""Smoothing as a pass: that of the whole map, however it was cut."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from formula_pass import allowed, formula_recipe

import rsscale as rs
from rsscale.errors import RecipeError
from rsscale.patches.majority import majority
from rsscale.patches.markov_field import smooth_probabilities

LAYERS = ["classification", "confidence", "probability"]
STEPS = {
    "modal": {"kind": "smooth", "of": "map", "method": "majority", "radius": 3},
    "field": {"kind": "smooth", "of": "map", "method": "gaussian-markov", "radius": 2,
              "strength": 3.0, "iterations": 4},
}  # fmt: skip


def mapped(folder: Path, tile: int = 384, client: Any = None) -> rs.Run:
    with allowed():
        recipe = formula_recipe(folder, tile=tile, options={"layers": LAYERS}, steps=STEPS)
        return rs.run(recipe, folder / f"run-{tile}", client, threads=1, device="cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> rs.Run:
    return mapped(tmp_path_factory.mktemp("smooth"))


def over_the_area(ds: xr.Dataset) -> xr.Dataset:
    return ds.sel(x=slice(729_005, 742_001), y=slice(4_989_003, 4_980_000)).load()


@pytest.mark.extended
def test_majority_is_that_of_the_whole_map(run: rs.Run) -> None:
    before = run.open()["classification"][0].load()
    after = run.open("modal")["classification"][0].load()
    wanted = majority(before.values, before.values != 255, 3)
    np.testing.assert_array_equal(after.values, wanted)
    count = int((before.values != wanted).sum())
    assert run.state["steps"]["modal"]["facts"]["smoothed"] == count > 1000
    assert after.attrs["flag_meanings"] == before.attrs["flag_meanings"]


@pytest.mark.extended
def test_the_field_is_that_of_the_whole_map(run: rs.Run) -> None:
    before, after = run.open().isel(time=0).load(), run.open("field").isel(time=0).load()
    percents = before["probability"].transpose("class", "y", "x").values
    valid = percents[0] != 255
    field = smooth_probabilities(
        percents.astype(np.float32) / np.float32(100), valid,
        radius=2, strength=3.0, iterations=4,
    )  # fmt: skip
    rounded = np.where(valid, np.rint(field * 100), 255)
    np.testing.assert_array_equal(after["probability"].transpose("class", "y", "x"), rounded)
    np.testing.assert_array_equal(after["confidence"], np.where(valid, rounded.max(axis=0), 255))
    classes = before["class"].values[field.argmax(axis=0)]
    # Where two are as probable as each other, the pixel's own.
    ties = (field == field.max(axis=0)).sum(axis=0) > 1
    found = after["classification"].values
    np.testing.assert_array_equal(found[valid & ~ties], classes[valid & ~ties])
    assert (found[~valid] == 255).all()
    changed = (before["probability"].argmax("class").values != field.argmax(axis=0)) & valid
    assert changed.sum() > 1000


def test_a_preview_is_the_same(tmp_path: Path, run: rs.Run) -> None:
    recipe = formula_recipe(tmp_path, options={"layers": LAYERS}, steps=STEPS)
    for step in STEPS:
        with allowed():
            box = [5.97, 44.96, 5.98, 44.97]
            part = rs.preview(recipe, bbox=box, step=step, device="cpu").squeeze("time")
        whole = run.open(step).squeeze("time").sel(x=part.x, y=part.y).load()
        for name in whole.data_vars:
            np.testing.assert_array_equal(part[name].values, whole[name].values)


@pytest.mark.extended
def test_every_tile_size_and_worker_count_gives_the_same(
    tmp_path: Path, run: rs.Run, two_workers: str
) -> None:
    for tile, client in ((512, two_workers), (1024, None)):
        other = mapped(tmp_path, tile, client)
        for step in STEPS:
            first, second = over_the_area(run.open(step)), over_the_area(other.open(step))
            for name in first.data_vars:
                np.testing.assert_array_equal(first[name].values, second[name].values)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"radius": 0}, "radius: input should be greater than or equal to 1, found 0"),
        ({"method": "median"}, "method: input should be 'majority' or 'gaussian-markov'"),
        ({"strength": 1.0}, "has 'strength', which method 'majority' has not"),
        ({"layer": "probability"}, "holds no classes, but quantities or an axis"),
        ({"layer": "clas"}, "the step to smooth has no layer 'clas'"),
        ({"method": "gaussian-markov", "layer": "classification"}, "has 'layer', which"),
        (
            {"method": "gaussian-markov", "radius": 50, "iterations": 20},
            "halo of 1000 px is larger than a tile",
        ),
    ],
)
def test_what_can_not_be_is_refused(tmp_path: Path, step: dict, message: str) -> None:
    steps = {"modal": {"kind": "smooth", "of": "map", "method": "majority"} | step}
    recipe = formula_recipe(tmp_path, options={"layers": LAYERS}, steps=steps)
    with allowed(), pytest.raises(RecipeError, match=message):
        rs.plan(recipe)


def test_the_field_needs_probabilities(tmp_path: Path) -> None:
    options = {"layers": ["classification"]}
    recipe = formula_recipe(tmp_path, options=options, steps={"field": STEPS["field"]})
    with allowed(), pytest.raises(RecipeError, match="add probability to output"):
        rs.plan(recipe)
