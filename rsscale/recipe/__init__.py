"""The recipe: everything that decides a run, as data."""

from rsscale.recipe.input_recipe import InputRecipe
from rsscale.recipe.reading import read_recipe
from rsscale.recipe.schema import GridRecipe, Recipe
from rsscale.recipe.steps import Reference, RunReference, StepRecipe
from rsscale.recipe.train_recipe import TrainRecipe

__all__ = [
    "GridRecipe",
    "InputRecipe",
    "Recipe",
    "Reference",
    "RunReference",
    "StepRecipe",
    "TrainRecipe",
    "read_recipe",
]
