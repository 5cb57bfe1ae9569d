"""A recipe in a notebook: what is mapped, of what, by which model, and the steps after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rsscale.html_tables import block, heading, pairs, preformatted, table
from rsscale.recipe.input_recipe import InputRecipe
from rsscale.recipe.steps import StepRecipe
from rsscale.redaction import shown


def recipe_html(recipe: Any) -> str:
    """HTML of a recipe, addresses without user name and query; the YAML of it can be unfolded.

    Parameters
    ----------
    recipe : Recipe
    """
    inputs = (_input_row(name, one) for name, one in recipe.inputs.items())
    head = ("input", "collection", "catalogue", "bands", "mask", "composite")
    steps = ((name, step.kind, _of(step)) for name, step in recipe.all_steps.items())
    yaml = preformatted(recipe.to_yaml().splitlines())
    return block(
        heading(recipe.name),
        pairs(_lines(recipe)),
        table(inputs, head, "l") if recipe.inputs else "",
        table(steps, ("step", "kind", "of"), "l"),
        f"<details><summary>as YAML</summary>{yaml}</details>",
    )


def _lines(recipe: Any) -> Iterator[tuple[str, str]]:
    yield "area", recipe.area or f"box {list(recipe.bbox or ())}, degrees"
    grid = recipe.grid
    yield "grid", f"{grid.crs}, pixels of {grid.resolution:g} m, tiles of {grid.tile} px"
    yield "periods", ", ".join(map(str, recipe.periods))
    models = recipe.model.items() if isinstance(recipe.model, Mapping) else []
    named = ", ".join(f"{period}: {path}" for period, path in models) or recipe.model
    if isinstance(named, str):
        yield "model", named
    if recipe.train is not None:
        train = recipe.train
        yield "train", f"{train.architecture} on {train.labels}"


def _input_row(name: str, one: InputRecipe) -> tuple[str, ...]:
    names = one.collection if isinstance(one.collection, tuple) else (one.collection or "all",)
    mask = ""
    if one.mask is not None:
        mask = one.mask.preset or ", ".join(dict.fromkeys(one.mask.bands))
        mask += f" and {one.mask.dilate:g} m around" if one.mask.dilate else ""
    return name, ", ".join(names), shown(one.catalog), ", ".join(one.bands), mask, _times(one)


def _times(one: InputRecipe) -> str:
    """How the observations of a period become channels."""
    if one.static:
        return "static"
    if one.series is not None:
        return "series"
    by = one.composite.by
    windows = ", ".join(one.composite.windows or ()) or (by if isinstance(by, str) else str(by))
    return f"{one.composite.reducer} of {windows}"


def _of(step: StepRecipe) -> str:
    if step.of is None:
        return ""
    several = step.of if isinstance(step.of, dict) else {"": step.of}
    named = (
        f"{name} {one if isinstance(one, str) else f'{one.step} of {one.run}'}".strip()
        for name, one in several.items()
    )
    return ", ".join(named)
