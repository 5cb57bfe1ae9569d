"""Where the model that a recipe trains is saved."""

from pathlib import Path

import pytest

from rsscale.errors import RecipeError
from rsscale.recipe import read_recipe
from rsscale.sampling.provenance import model_folder

RECIPE = Path(__file__).parents[2] / "rsscale" / "demo" / "objects.yaml"


def test_a_detector_is_saved_where_its_step_reads_it() -> None:
    assert model_folder(read_recipe(RECIPE)) == RECIPE.parent / "models" / "sites"


def test_a_model_that_is_named_is_the_maps() -> None:
    recipe = read_recipe(RECIPE, ["model=models/map"])
    assert model_folder(recipe) == RECIPE.parent / "models" / "map"


def test_two_detectors_are_refused() -> None:
    recipe = read_recipe(RECIPE, ["steps.ponds={kind: detect, of: s2, model: models/ponds}"])
    with pytest.raises(RecipeError, match="2 steps of kind 'detect'"):
        model_folder(recipe)
