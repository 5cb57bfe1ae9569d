"""Which kinds of steps there are, and how those of a recipe are opened.

A new pass is a module beside this one and a line in :data:`KINDS`; one outside of rsscale is named
in the recipe as ``module:Class`` and allowed by the environment variable ``RSSCALE_PASSES``.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import ValidationError

from rsscale.errors import RecipeError, nearest
from rsscale.recipe import Recipe, StepRecipe
from rsscale.steps.attachments import Attachment
from rsscale.steps.base import Fold, Pass, Step
from rsscale.steps.options import one_line
from rsscale.steps.setup import RunSetup

KINDS = {
    "predict": "rsscale.passes.mapping:MapPass",
    "post-classification": "rsscale.passes.change:ComparePass",
    "overviews": "rsscale.passes.overviews:OverviewPass",
    "zones": "rsscale.passes.zones:ZonesPass",
    "function": "rsscale.passes.function:FunctionPass",
}
"""Module and class of each kind of step."""

ALLOWED = "RSSCALE_PASSES"
_OF_GATHER = ("of", "schema")


def open_steps(setup: RunSetup) -> list[Step]:
    """Open every step of a recipe, each after those that it reads.

    Raises
    ------
    RecipeError
        For a kind that is not known or not allowed, options that are wrong, a halo larger than
        a tile, a layer that a source has not.
    """
    for name, recipe in setup.recipe.all_steps.items():
        for step in open_step(name, recipe, setup):
            if step.step in setup.steps:
                raise RecipeError(f"steps.{name}: there are two steps {step.step!r}; rename one")
            setup.steps[step.step] = step
    return list(setup.steps.values())


def open_step(name: str, recipe: StepRecipe, setup: RunSetup) -> Sequence[Step]:
    """Open one step; some kinds are a pass and a gather of its rows."""
    kind = find_kind(recipe.kind, name)
    options = _options(kind, name, recipe)
    try:
        opened = kind.open(name, recipe, options, setup)
    except RecipeError as error:
        raise RecipeError(f"steps.{name}: {error}") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RecipeError(f"steps.{name}: {recipe.kind} can't be opened: {_said(error)}") from error
    for step in opened:
        _check(name, step, setup)
    return opened


def _check(name: str, step: Step, setup: RunSetup) -> None:
    """Refuse a step that does not say what the engine needs to know of it."""
    needed = ("kind", "version", "step", *(("sources",) if isinstance(step, Pass) else _OF_GATHER))
    missing = [attribute for attribute in needed if getattr(step, attribute, None) is None]
    if missing:
        raise RecipeError(
            f"steps.{name}: {type(step).__name__} has no {missing[0]!r}; it must have "
            f"{', '.join(needed)}"
        )
    if not isinstance(step, Pass):
        if not isinstance(step.of, str):
            raise RecipeError(
                f"steps.{name}: 'of' of {type(step).__name__} is {step.of!r}; expected the name "
                "of the step whose rows it folds"
            )
        return
    folds = {fact: fold for fact, fold in step.facts.items() if fold not in get_args(Fold)}
    if folds:
        fact, fold = next(iter(folds.items()))
        raise RecipeError(
            f"steps.{name}: the fact {fact!r} folds by {fold!r}; expected one of "
            f"{', '.join(get_args(Fold))}"
        )
    if step.halo > setup.grid.tile:
        raise RecipeError(
            f"steps.{name}: its halo of {step.halo} px is larger than a tile of "
            f"{setup.grid.tile} px; use a larger grid.tile"
        )


def _said(error: Exception) -> str:
    """An error of somebody's code on one line, with its type."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def attachments(recipe: Recipe) -> dict[str, dict[str, Attachment]]:
    """The files that steps are made from, by step and by what the step calls them."""
    found: dict[str, dict[str, Attachment]] = {}
    for name, step in recipe.all_steps.items():
        kind = find_kind(step.kind, name)
        options = _options(kind, name, step)
        found[name] = {
            attachment.name: attachment for attachment in kind.attachments(options, recipe)
        }
    return found


def with_trust(recipe: Recipe) -> Recipe:
    """A recipe that trusts the models that it names as they lie now, by digest.

    Raises
    ------
    RecipeError, ModelError
        When a model is not there.
    """
    files = [one for step in attachments(recipe).values() for one in step.values()]
    digests = {one.digest for one in files if one.room == "models"}
    return recipe.model_copy(update={"trust": tuple(sorted({*recipe.trust, *digests}))})


def find_kind(kind: str, step: str) -> type[Pass]:
    """The class of a kind.

    Raises
    ------
    RecipeError
        When there is none, or it is not allowed.
    """
    if kind in KINDS:
        address = KINDS[kind]
    elif ":" in kind:
        address = kind
        check_allowed(kind, f"steps.{step}", ALLOWED)
    else:
        raise RecipeError(
            f"steps.{step}: kind is {kind!r}; expected one of {', '.join(KINDS)}, or "
            f"module:Class{nearest(kind, KINDS)}"
        )
    found = load(address, f"steps.{step}")
    if not (isinstance(found, type) and issubclass(found, Pass)):
        raise RecipeError(f"steps.{step}: {address} is no subclass of rsscale.steps.base.Pass")
    return found


def check_allowed(address: str, place: str, variable: str) -> None:
    """Refuse code of a module that the environment does not allow.

    Raises
    ------
    RecipeError
        Which names the variable: a list of modules, separated by commas.
    """
    module = address.partition(":")[0]
    allowed = [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]
    if not any(module == name or module.startswith(f"{name}.") for name in allowed):
        raise RecipeError(
            f"{place}: {address!r} is code that this environment does not allow; if you trust "
            f"it, set {variable}={','.join([*allowed, module])}, here and on the workers"
        )


def load(address: str, place: str) -> Any:
    """Import the object named by ``module:name``.

    Raises
    ------
    RecipeError
        When it can't be imported.
    """
    module, _, name = address.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise RecipeError(f"{place}: {address} can't be imported: {error}") from None


def _options(kind: type[Pass], name: str, recipe: StepRecipe) -> Any:
    try:
        return kind.Options.model_validate(recipe.options)
    except ValidationError as error:
        raise RecipeError(f"steps.{name}: {one_line(error, kind.Options)}") from None
