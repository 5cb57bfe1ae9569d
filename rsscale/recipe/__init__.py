"""The recipe: everything that decides a run, as data."""

from rsscale.recipe.reading import read_recipe
from rsscale.recipe.schema import GridRecipe, InputRecipe, Recipe, TrainRecipe
from rsscale.recipe.steps import Reference, RunReference, StepRecipe

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
