"""Which kinds of steps there are, and how those of a recipe are opened.

A new pass is a module beside this one and a line in :data:`KINDS`; one outside of rsscale is named
in the recipe as ``module:Class`` and allowed by the environment variable ``RSSCALE_PASSES``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from pydantic import BaseModel, ValidationError

from rsscale.errors import RecipeError, RsscaleError, nearest
from rsscale.importing.user_code import check_allowed, error_line, load
from rsscale.layers import Layer
from rsscale.recipe import Recipe, StepRecipe, read_recipe
from rsscale.steps.attachments import Attachment
from rsscale.steps.base import Fold, Gather, Pass, Step
from rsscale.steps.options import Options, one_line
from rsscale.steps.setup import RunSetup

KINDS = {
    "predict": "rsscale.passes.mapping:MapPass",
    "post-classification": "rsscale.change_passes.comparison:ComparePass",
    "temporal-model": "rsscale.change_passes.temporal:TemporalChangePass",
    "spectral-change": "rsscale.change_passes.spectral:SpectralChangePass",
    "series-breaks": "rsscale.change_passes.series_breaks:BreaksPass",
    "change-network": "rsscale.change_passes.network:ChangeNetworkPass",
    "overviews": "rsscale.passes.overviews:OverviewPass",
    "imagery": "rsscale.passes.imagery:ImageryPass",
    "minimum-mapping-unit": "rsscale.passes.mapping_unit:MappingUnitPass",
    "smooth": "rsscale.passes.smooth:SmoothPass",
    "polygons": "rsscale.object_passes.polygons:PolygonsPass",
    "zones": "rsscale.area_passes.zones:ZonesPass",
    "transitions": "rsscale.area_passes.transitions:TransitionsPass",
    "sample": "rsscale.sample_passes.sample_step:SampleStep",
    "function": "rsscale.passes.function:FunctionPass",
    "detect": "rsscale.object_passes.detecting:DetectStep",
    "object-counts": "rsscale.object_passes.object_counts:ObjectCountsPass",
    "quality-counts": "rsscale.quality.counts:QualityCounts",
}
"""Module and class of each kind of step."""

ALLOWED = "RSSCALE_PASSES"
_OF_GATHER = ("of", "schema")
_USUAL = ("classification", "confidence")  # layers of a map of which none are asked for
_SPAN = re.compile(r"all|\d{4}(-\d{4})?")


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


def check_recipe_steps(recipe: Recipe) -> None:
    """Refuse, before its model is trained, a recipe whose steps could not work with the model.

    Options of rsscale's own kinds are read, and layers of the map that a step needs must be among
    those that the recipe asks for.

    Raises
    ------
    RecipeError
    """
    steps = recipe.all_steps
    for name, step in steps.items():
        if step.kind not in KINDS:
            continue
        kind = find_kind(step.kind, name)
        options = _options(kind, name, step)
        maps = {
            of: steps[of] for of in step.within(steps, recipe.inputs) if steps[of].kind == "predict"
        }
        layers = {of: tuple(each.options.get("layers") or _USUAL) for of, each in maps.items()}
        try:
            kind.check_recipe(options, layers)
        except RecipeError as error:
            raise RecipeError(f"steps.{name}: {error}") from None


def open_step(name: str, recipe: StepRecipe, setup: RunSetup) -> Sequence[Step]:
    """Open one step; some kinds are a pass and a gather of its rows."""
    kind = find_kind(recipe.kind, name)
    options = _options(kind, name, recipe)
    try:
        opened = kind.open(name, recipe, options, setup)
    except RecipeError as error:
        raise RecipeError(f"steps.{name}: {error}") from None
    except RsscaleError:
        raise
    except Exception as error:
        message = error_line(error)
        raise RecipeError(
            f"steps.{name}: {recipe.kind} can't be opened: {message}{_about_of(recipe, message)}"
        ) from error
    known = dict(setup.steps)
    for step in _steps(name, kind, opened):
        _check(name, step, setup, known)
        known[step.step] = step
    return list(opened)


def _about_of(recipe: StepRecipe, said: str) -> str:
    """What 'of' names, where taking it apart is what failed."""
    count = len(recipe.references)
    if not count:
        return "; it has no 'of', which says what it reads: of: map"
    return f"; its 'of' names {', '.join(recipe.references)}" if "unpack" in said else ""


def _steps(name: str, kind: type[Pass], opened: Any) -> Sequence[Step]:
    """What a class opened, if it is one or more steps."""
    is_list = isinstance(opened, list | tuple) and len(opened) > 0
    wrong = [] if not is_list else [s for s in opened if not isinstance(s, Pass | Gather)]
    if not is_list or wrong:
        kind_name = type(wrong[0]).__name__ if wrong else type(opened).__name__
        if is_list:
            kind_name = f"a list with {kind_name}"
        elif isinstance(opened, list | tuple):
            kind_name = "no step"
        raise RecipeError(
            f"steps.{name}: open of {kind.__name__} gave {kind_name}; expected a list of steps, "
            "such as [cls(…)]"
        )
    steps: Sequence[Step] = opened
    return steps


def _check(name: str, step: Step, setup: RunSetup, known: Mapping[str, Step]) -> None:
    """Refuse a step that does not say what the engine needs to know of it."""
    needed = ("kind", "version", "step", *(("sources",) if isinstance(step, Pass) else _OF_GATHER))
    missing = [attribute for attribute in needed if getattr(step, attribute, None) is None]
    place, own = f"steps.{name}", type(step).__name__
    if missing:
        raise RecipeError(f"{place}: {own} has no {missing[0]!r}; it must have {', '.join(needed)}")
    if isinstance(step, Gather):
        _check_gather(place, step, known)
        return
    _check_parts(place, step)
    folds = {fact: fold for fact, fold in step.facts.items() if fold not in get_args(Fold)}
    if folds:
        fact, fold = next(iter(folds.items()))
        raise RecipeError(
            f"{place}: the fact {fact!r} folds by {fold!r}; expected one of "
            f"{', '.join(get_args(Fold))}"
        )
    if not isinstance(step.halo, int | np.integer) or step.halo < 0:
        raise RecipeError(
            f"{place}: its halo is {step.halo!r}; expected a whole number of pixels, 0 or more"
        )
    if step.halo > setup.grid.tile:
        raise RecipeError(
            f"{place}: its halo of {step.halo} px is larger than a tile of "
            f"{setup.grid.tile} px; use a larger grid.tile"
        )
    _check_spans(place, step)


def _check_gather(place: str, step: Gather, known: Mapping[str, Step]) -> None:
    if not isinstance(step.of, str):
        raise RecipeError(
            f"{place}: 'of' of {type(step).__name__} is {step.of!r}; expected the name "
            "of the step whose rows it folds"
        )
    rows = [n for n, other in known.items() if isinstance(other, Pass) and other.schema is not None]
    if step.of not in rows:
        raise RecipeError(
            f"{place}: {type(step).__name__} folds the rows of {step.of!r}, and no step before it "
            f"writes rows by that name; those that do are {', '.join(rows) or 'none'}"
            f"{nearest(step.of, rows)}"
        )


def _check_parts(place: str, step: Pass) -> None:
    """Refuse layers, sources or facts that are no such things."""
    layers, own = step.layers, type(step).__name__
    if not isinstance(layers, list | tuple) or not all(
        isinstance(layer, Layer) for layer in layers
    ):
        raise RecipeError(
            f"{place}: layers of {own} are {_short(layers)}; expected a tuple of Layer, such as "
            '(Layer("name", "uint8"),)'
        )
    if not isinstance(step.sources, Mapping):
        raise RecipeError(
            f"{place}: sources of {own} are {_short(step.sources)}; expected a mapping of a name "
            'to each source, such as {"map": setup.source(…)}'
        )
    for key, source in step.sources.items():
        if not all(hasattr(source, method) for method in ("read", "digest", "inputs", "cost")):
            raise RecipeError(
                f"{place}: the source {key!r} of {own} is {_short(source)}; expected what "
                "setup.source(…) gives"
            )
    if not isinstance(step.facts, Mapping):
        raise RecipeError(
            f"{place}: facts of {own} are {_short(step.facts)}; expected a mapping of each name "
            'to how it folds, such as {"trees": "sum"}'
        )


def _check_spans(place: str, step: Pass) -> None:
    try:
        spans = step.spans()
        is_list = isinstance(spans, Sequence) and not isinstance(spans, str) and len(spans) > 0
    except RsscaleError:
        raise
    except Exception as error:
        reason = error_line(error)
        raise RecipeError(f"{place}: spans of {type(step).__name__}: {reason}") from error
    if not is_list or not all(isinstance(s, str) and _SPAN.fullmatch(s) for s in spans):
        raise RecipeError(
            f"{place}: spans of {type(step).__name__} are {_short(spans)}; expected a list of "
            'them, such as ["2023", "2024"], ["2023-2024"] or ["all"]'
        )


def _short(value: Any) -> str:
    """A value as a message has it: on one line, and not all of a long one."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}…"


def attachments(recipe: Recipe) -> dict[str, dict[str, Attachment]]:
    """The files that steps are made from, by step and by what the step calls them."""
    by_step: dict[str, dict[str, Attachment]] = {}
    for name, step in recipe.all_steps.items():
        kind = find_kind(step.kind, name)
        options = _options(kind, name, step)
        try:
            files = list(kind.attachments(options, recipe))
        except RsscaleError:
            raise
        except Exception as error:
            place = f"steps.{name}: attachments of {kind.__name__}"
            raise RecipeError(f"{place}: {error_line(error)}") from error
        by_step[name] = {attachment.name: attachment for attachment in files}
    return by_step


def recipe_of(
    recipe: str | Path | Mapping[str, Any] | Recipe, overrides: Sequence[str], *, trust: bool
) -> Recipe:
    """A recipe, read and checked where it is not one yet; with ``trust`` as :func:`with_trust`."""
    if not isinstance(recipe, Recipe):
        recipe = read_recipe(recipe, overrides)
    return with_trust(recipe) if trust else recipe


def with_trust(recipe: Recipe) -> Recipe:
    """A recipe that trusts the models that it names as they lie now, by digest.

    Raises
    ------
    RecipeError, ModelError
        When a model is not there.
    """
    files = [file for step in attachments(recipe).values() for file in step.values()]
    digests = {file.digest for file in files if file.room == "models"}
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
    pass_class = load(address, f"steps.{step}")
    if not (isinstance(pass_class, type) and issubclass(pass_class, Pass)):
        raise RecipeError(f"steps.{step}: {address} is no subclass of rsscale.steps.base.Pass")
    return pass_class


def _options(kind: type[Pass], name: str, recipe: StepRecipe) -> Any:
    if not (isinstance(kind.Options, type) and issubclass(kind.Options, BaseModel)):
        raise RecipeError(
            f"steps.{name}: Options of {kind.__name__} is {_short(kind.Options)}; expected a "
            "subclass of rsscale.steps.options.Options"
        )
    if kind.Options is Options and recipe.options:
        raise RecipeError(
            f"steps.{name}: {kind.__name__} declares no Options, and so takes no "
            f"{', '.join(map(repr, recipe.options))}; declare them in a class of its own"
        )
    try:
        return kind.Options.model_validate(recipe.options)
    except ValidationError as error:
        raise RecipeError(
            f"steps.{name}: {one_line(error, kind.Options, recipe.options)}"
        ) from None
