"""What careless recipes of change are told: one line, before anything is computed."""

import re
from pathlib import Path
from typing import Any

import pytest
from formula_pass import CLASSES, allowed, formula_recipe

import rsscale as rs
from rsscale.errors import RecipeError

MODEL: dict[str, Any] = {"kind": "temporal-model", "of": "map", "transitions": "stay"}
TWO_MAPS: dict[str, Any] = {"kind": "post-classification", "of": "map", "from": 2019, "to": 2020}
UNIT: dict[str, Any] = {"kind": "minimum-mapping-unit", "of": "map", "hectares": 0.5}
SHARES = {one.name: 1.0 for one in CLASSES}


def refused(folder: Path, **steps: Any) -> str:
    """The line that a recipe with these steps after a map is refused in."""
    recipe = formula_recipe(folder, periods=[2019, 2020, 2022], steps=steps)
    with allowed(), pytest.raises(RecipeError) as caught:
        rs.plan(recipe, threads=1, device="cpu")
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (TWO_MAPS | {"from": 2022}, "from is 2022 and to is 2020; expected two periods, the earl"),
        (TWO_MAPS | {"to": 2019}, "from is 2019 and to is 2019; expected two periods, the earlier"),
        (TWO_MAPS | {"to": 2021}, "step 'map' is not of 2021; it is of ['2019', '2020', '2022']"),
        (TWO_MAPS | {"of": "none"}, ("reads layers of a step, and 'none' is an input; the steps "
                                    "before it are map")),
        (TWO_MAPS | {"of": ["map"]}, "is ['map']; expected the name of a step or an input, such "),
        (TWO_MAPS | {"of": "mp"}, ("'of' names 'mp', which is no step and no input; there are map, "
                                  "none; did you mean 'map'?")),
        (MODEL | {"prior": SHARES | {"water": float("inf")}},
         "prior.water: input should be a finite number, found inf"),
        (MODEL | {"transitions": "estimte"},
         ("transitions: input should be 'estimate', 'labels' or 'stay', or names with values, "
         "found 'estimte'; did you mean 'estimate'?")),
        (MODEL | {"transitions": {"water": {"water": "all"}}},
         "transitions.water.water: input should be a number, found 'all'"),
        (MODEL | {"forbidden": "water"}, "forbidden: input should be a list, found 'water'"),
        (MODEL | {"forbidden": [["water", "crops", "built"]]},
         "forbidden.0: input should be a list of at most 2, found ['water', 'crops', 'built']"),
        (MODEL | {"forbidden": [["water"]]}, "forbidden.0: too few values, found ['water']"),
        (UNIT | {"hectares": "half"},
         "hectares: input should be a number, or names with values, found 'half'"),
        (UNIT | {"hectares": True}, "hectares is true; expected a number"),
        (UNIT | {"hectares": {}}, "hectares: names no class; expected an area, or one for a class"),
        (UNIT | {"hectares": {"water": "x"}},
         "hectares.water: input should be a number, found 'x'"),
        (UNIT | {"layer": "confidence"},
         "layer 'confidence' holds no classes, but quantities or an axis"),
        ({"kind": "smooth", "of": "map", "method": "majority", "layer": "confidence"},
         "layer 'confidence' holds no classes, but quantities or an axis"),
        ({"kind": "smooth", "of": "map", "method": "majorty"},
         ("method: input should be 'majority' or 'gaussian-markov', found 'majorty'; did you mean "
         "'majority'?")),
        ({"kind": "smooth", "of": "map", "method": "majority", "radius": True},
         "radius is true; expected a number"),
    ],
)  # fmt: skip
def test_one_step(tmp_path: Path, step: dict[str, Any], said: str) -> None:
    line = refused(tmp_path, careless=step)
    assert re.search(rf"steps\.careless(\.of)?: {re.escape(said)}", line), line
    assert "recipe: recipe" not in line


def test_periods_of_a_step_that_has_its_own(tmp_path: Path) -> None:
    step = {"kind": "transitions", "of": "change", "from": 2019, "to": 2020}
    line = refused(tmp_path, change=MODEL, what=step)
    assert line == (
        "steps.what: has 'from' or 'to', and the step of change has its own periods; leave them "
        "out, or name a map with 'of'"
    )


def test_a_part_of_a_step_may_be_read(tmp_path: Path) -> None:
    smooth = {"kind": "smooth", "of": "change-years", "method": "majority"}
    recipe = formula_recipe(tmp_path, periods=[2019, 2020], steps={"a": smooth, "change": MODEL})
    box = (5.97, 44.98, 5.971, 44.981)
    with allowed():
        found = rs.preview(recipe, box, step="a", threads=1, device="cpu")
        years = rs.preview(recipe, box, step="change-years", threads=1, device="cpu")
    assert found.classification.shape == years.classification.shape
    assert (found.classification != years.classification).any()
    line = refused(tmp_path, change=MODEL, a=smooth | {"of": "change-yeers"})
    assert line == (
        "steps.a: there is no input or earlier step 'change-yeers'; there are none, map, change, "
        "change-path, change-years; did you mean 'change-years'?"
    )


def test_a_preview_of_what_all_tiles_tell(tmp_path: Path) -> None:
    change = MODEL | {"transitions": "estimate"}
    recipe = formula_recipe(tmp_path, periods=[2019, 2020], steps={"change": change})
    with allowed(), pytest.raises(RecipeError, match="say 'transitions: stay', or give the whole"):
        rs.preview(recipe, (5.97, 44.98, 5.971, 44.981), step="change", threads=1, device="cpu")
