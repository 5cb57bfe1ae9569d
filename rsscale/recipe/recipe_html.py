"""A recipe in a notebook: what is mapped, of what, by which model, and the steps after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rsscale.recipe.input_recipe import InputRecipe
from rsscale.recipe.steps import StepRecipe
from rsscale.text.html_tables import block, heading, pairs, preformatted, table
from rsscale.text.redaction import shown


def recipe_html(recipe: Any) -> str:
    """HTML of a recipe, addresses without user name and query; the YAML of it can be unfolded.

    Parameters
    ----------
    recipe : Recipe
    """
    inputs = (_input_row(name, source) for name, source in recipe.inputs.items())
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


def _input_row(name: str, source: InputRecipe) -> tuple[str, ...]:
    names = (
        source.collection if isinstance(source.collection, tuple) else (source.collection or "all",)
    )
    mask = ""
    if source.mask is not None:
        mask = source.mask.preset or ", ".join(dict.fromkeys(source.mask.bands))
        mask += f" and {source.mask.dilate:g} m around" if source.mask.dilate else ""
    return (
        name,
        ", ".join(names),
        shown(source.catalog),
        ", ".join(source.bands),
        mask,
        _times(source),
    )


def _times(source: InputRecipe) -> str:
    """How the observations of a period become channels."""
    if source.static:
        return "static"
    if source.series is not None:
        return "series"
    by = source.composite.by
    windows = ", ".join(source.composite.windows or ()) or (by if isinstance(by, str) else str(by))
    return f"{source.composite.reducer} of {windows}"


def _of(step: StepRecipe) -> str:
    if step.of is None:
        return ""
    several = step.of if isinstance(step.of, dict) else {"": step.of}
    named = (
        f"{name} {source if isinstance(source, str) else f'{source.step} of {source.run}'}".strip()
        for name, source in several.items()
    )
    return ", ".join(named)
