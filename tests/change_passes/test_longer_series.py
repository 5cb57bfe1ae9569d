"""A run of change when a year is added: what it has stays, and a step of another name is new."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from formula_pass import allowed, formula_recipe

import rsscale as rs
from rsscale.errors import RecipeError, RunFolderError

MODEL: dict[str, Any] = {"kind": "temporal-model", "of": "map", "transitions": "stay"}
BECAME = {"kind": "transitions", "of": "change"}


def mapped(folder: Path, periods: list[int], steps: dict[str, Any], **options: Any) -> rs.Run:
    recipe = formula_recipe(
        folder,
        periods=periods,
        bbox=[5.95, 44.96, 5.97, 44.98],
        area=None,
        options={"layers": ["classification", "probability"]},
        steps=steps,
    )
    with allowed():
        return rs.run(recipe, folder / "run", threads=1, device="cpu", **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("longer")
    overviews = {"kind": "overviews", "of": "became"}
    mapped(folder, [2019, 2020], {"change": MODEL, "became": BECAME, "smaller": overviews})
    return folder


def test_a_step_of_other_periods_is_told_what_to_do(folder: Path) -> None:
    steps = {"change": MODEL, "became": BECAME}
    steps["smaller"] = {"kind": "overviews", "of": "became"}
    with pytest.raises(RunFolderError) as caught:
        mapped(folder, [2019, 2020, 2022], steps, update=True)
    said = str(caught.value)
    assert "can't be updated: change (2019-2020, now 2019-2022), became (2019-2020, now" in said
    assert "say 'from' and 'to' there, so that it stays, and add a step of another name" in said
    assert "change-path" not in said


def test_what_a_run_has_no_layers_of_is_told(folder: Path) -> None:
    run = rs.Run(folder / "run")
    with pytest.raises(
        RunFolderError, match=r"step 'chnge' of .* has no layers; there are map, ch"
    ):
        run.open("chnge")
    with pytest.raises(RunFolderError, match=r"step 'became-hectares' of .* has no layers"):
        run.open("became-hectares")


def test_overviews_of_transitions_are_no_transitions(folder: Path) -> None:
    with pytest.raises(RecipeError, match=r"that it has are became; choose it by --step became$"):
        rs.write_transitions(folder / "run", folder / "tables")


def test_what_is_told_of_a_part_of_another_run_is_of_its_own_area(folder: Path) -> None:
    of = {"run": str(folder / "run"), "step": "map"}
    recipe = formula_recipe(folder, periods=[2019, 2020], bbox=[5.955, 44.965, 5.96, 44.97])
    step = {"kind": "post-classification", "of": of, "from": 2019, "to": 2020}
    run = rs.run(recipe | {"area": None, "steps": {"change": step}}, folder / "part", threads=1)
    change = run.open("change").change.load()
    facts = run.state["steps"]["change"]["facts"]
    assert facts["compared"] == int((change != 255).sum()) < 3000
    assert facts["changed"] == int((change == 1).sum()) > 0


def test_a_longer_series_beside_the_one_that_stays(folder: Path) -> None:
    before = rs.Run(folder / "run").open("change").load()
    steps = {"change": MODEL | {"to": 2020}, "became": BECAME, "longer": MODEL}
    steps["smaller"] = {"kind": "overviews", "of": "became"}
    run = mapped(folder, [2019, 2020, 2022], steps, update=True)
    after = run.open("change").load()
    for name in before.data_vars:
        np.testing.assert_array_equal(before[name].values, after[name].values)
    years = run.open("longer")["change_year"].load()
    assert {0, 2020, 2022} <= set(np.unique(years))
