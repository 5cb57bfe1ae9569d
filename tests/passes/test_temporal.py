"""The temporal model as a pass: that of the whole maps, however they were cut."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from formula_pass import CLASSES, allowed, formula_recipe

import rsscale as rs
from rsscale.change.hidden_markov import Chain, best_path, marginals
from rsscale.change.transitions import over_years, staying
from rsscale.errors import RecipeError

YEARS = [2019, 2020, 2022]
STEP = {"kind": "temporal-model", "of": "map", "stay": 0.6, "forbidden": [["built", "water"]]}


def recipe_of(folder: Path, tile: int = 384, **step: Any) -> dict[str, Any]:
    return formula_recipe(
        folder,
        tile=tile,
        periods=YEARS,
        options={"layers": ["classification", "probability"]},
        steps={"change": STEP | step},
    )


def mapped(folder: Path, tile: int = 384, client: Any = None, **step: Any) -> rs.Run:
    with allowed():
        recipe = recipe_of(folder, tile, **step)
        return rs.run(recipe, folder / f"run-{tile}", client, threads=1, device="cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> rs.Run:
    return mapped(tmp_path_factory.mktemp("temporal"))


def over_the_area(ds: xr.Dataset) -> xr.Dataset:
    return ds.sel(x=slice(729_005, 742_001), y=slice(4_989_003, 4_980_000)).load()


def test_it_is_the_model_of_the_whole_maps(run: rs.Run) -> None:
    probability = run.open()["probability"].transpose("time", "class", "y", "x").values
    seen = probability[:, 0] != 255
    likelihood = np.maximum(probability.astype(np.float32) / 100, np.float32(0.0005))
    likelihood.transpose(0, 2, 3, 1)[~seen] = 1.0
    flat = likelihood.reshape(3, 4, -1)
    year = staying(4, 0.6, [(3, 0)])
    chain = Chain(np.full(4, 0.25), [year, over_years(year, 2)])
    path, found = best_path(flat, chain), marginals(flat, chain)
    change = run.open("change").squeeze("time").load()
    assert set(change.data_vars) == {
        "change", "from", "to", "change_probability", "change_year", "changes",
    }  # fmt: skip
    known = seen.sum(axis=0) > 1
    values = np.array([c.value for c in CLASSES])
    wanted = {
        "change": (path != path[0]).any(axis=0),
        "from": values[path[0]],
        "to": values[path[-1]],
        "change_probability": (found.change * 100).round(),
        "change_year": np.select([path[2] != path[1], path[1] != path[0]], [2022, 2020], 0),
        "changes": (path[1:] != path[:-1]).sum(axis=0),
    }
    for name, of_pixels in wanted.items():
        layer = change[name].values
        np.testing.assert_array_equal(layer[known], of_pixels.reshape(known.shape)[known], name)
        assert (layer[~known] == (65535 if name == "change_year" else 255)).all()
    assert {0, 1} <= set(np.unique(change["change"]))
    for number, time in enumerate(YEARS):
        one = run.open("change-years").sel(time=str(time)).squeeze("time").load()
        ever = seen.any(axis=0)
        of_path = np.take_along_axis(found.classes[number], path[number][None], axis=0)[0]
        label, confidence = values[path[number]], (of_path * 100).round()
        for name, of_pixels in (("classification", label), ("confidence", confidence)):
            shaped = of_pixels.reshape(ever.shape)
            np.testing.assert_array_equal(one[name].values[ever], shaped[ever])
            assert (one[name].values[~ever] == 255).all()


def test_it_says_how_much_changed(run: rs.Run) -> None:
    facts = run.state["steps"]["change"]["facts"]
    change = run.open("change")["change"].load()
    assert facts["compared"] == int((change != 255).sum())
    assert facts["changed"] == int((change == 1).sum()) > 0


@pytest.mark.slow
def test_every_tile_size_and_worker_count_gives_the_same(
    tmp_path: Path, run: rs.Run, two_workers: str
) -> None:
    wanted = {step: over_the_area(run.open(step)) for step in ("change", "change-years")}
    for tile in (512, 1024):
        other = mapped(tmp_path, tile, two_workers)
        for step, first in wanted.items():
            second = over_the_area(other.open(step))
            for name in first.data_vars:
                np.testing.assert_array_equal(first[name].values, second[name].values)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"from": 2020, "to": 2019}, r"from 2020 to 2019 there are the years \[\]"),
        ({"from": 2020, "to": 2020}, "a change needs two or more"),
        ({"to": 2021}, r"to is 2021, and the step is of \[2019, 2020, 2022\]"),
        ({"forbidden": [["built", "watr"]]}, "'watr', which is no class.*did you mean 'water'"),
        ({"transitions": {"built": {"built": 1}}}, "'stay' or 'forbidden' beside it"),
        ({"stay": 1.0}, "stay: input should be less than 1"),
        ({"prior": {"water": 1}}, "prior gives 'open forest' nothing"),
    ],
)
def test_what_can_not_be_is_refused(tmp_path: Path, step: dict, message: str) -> None:
    with allowed(), pytest.raises(RecipeError, match=message):
        rs.plan(recipe_of(tmp_path, **step))


def test_probabilities_are_needed(tmp_path: Path) -> None:
    recipe = formula_recipe(
        tmp_path, tile=384, periods=YEARS, options={"layers": ["classification"]},
        steps={"change": STEP},
    )  # fmt: skip
    with allowed(), pytest.raises(RecipeError, match="add probability to output"):
        rs.plan(recipe)
