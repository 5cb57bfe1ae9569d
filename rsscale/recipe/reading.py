"""Read a recipe: YAML, overrides, and each mistake in one line.

A recipe is a YAML file without code. It is checked whole before anything else happens, and
a mistake is told in one line with its place and the nearest name that would have been right.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from rsscale.errors import RecipeError, nearest
from rsscale.recipe.elsewhere import elsewhere
from rsscale.recipe.schema import Recipe
from rsscale.recipe.yaml_text import MAX_BYTES, check_value, parse_yaml
from rsscale.store.run_folder import KEPT

_SHOWN = 80


def read_recipe(source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe; local paths in it become absolute.

    Parameters
    ----------
    source : path or mapping
        A YAML file, whose folder relative paths count from, or the same as a mapping, whose
        relative paths count from the current folder.
    overrides : sequence of "key.sub=value"
        Values are YAML: ``grid.tile=1024``, ``periods=[2023]``.

    Returns
    -------
    Recipe
        Frozen; its models have a field for each key.

    Raises
    ------
    RecipeError
        When the file is not there, is no YAML, or a key is unknown or wrong: one line with
        the place, what was found, and the nearest known key.
    """
    if isinstance(source, Mapping):
        check_value(source, "recipe")
        content, base, name = deepcopy(dict(source)), Path.cwd(), "recipe"
    else:
        content, base, name = _read_yaml(Path(source)), Path(source).absolute().parent, str(source)
    for override in overrides:
        _override(content, override)
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"{name}: {_one_line(error)}") from None
    recipe = _absolute(recipe, base)
    return recipe if isinstance(source, Mapping) else _with_kept_files(recipe, base)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES * 4).decode("utf-8")
    except FileNotFoundError:
        raise RecipeError(f"there is no recipe at {path}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RecipeError(f"{str(path)!r} can't be read: {reason}") from None
    content = parse_yaml(text, str(path))
    if not isinstance(content, dict):
        raise RecipeError(
            f"{path} holds {type(content).__name__}; expected keys like 'name', 'grid'"
        )
    return content


def _override(content: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise RecipeError(f"--set {override!r}: expected key.sub=value, e.g. grid.tile=1024")
    *parents, last = key.split(".")
    node = content
    for parent in parents:
        child = node.setdefault(parent, {})
        if not isinstance(child, dict):
            raise RecipeError(f"--set {override!r}: {parent!r} is not a group of keys")
        node = child
    node[last] = parse_yaml(text, f"--set {key}")


def _one_line(error: ValidationError) -> str:
    """The first mistake with its place; how many more there are."""
    errors = error.errors(include_url=False)
    # An unknown key tells more than the "missing" it causes.
    first = min(errors, key=lambda e: e["type"] != "extra_forbidden")
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        *groups, key = map(str, first["loc"])
        hint = elsewhere(groups[-1] if groups else "", key)
        message = f"{place}: unknown key{hint or nearest(key, _keys(first['loc'][:-1]))}"
    elif first["type"] == "missing":
        message = f"{place}: missing"
    elif first["type"] == "value_error":
        # What is said of the whole recipe names its place itself.
        message = f"{place}: {first['ctx']['error']}" if place else str(first["ctx"]["error"])
    else:
        given = first["input"]
        words = repr(given) if isinstance(given, (str, int, float)) else type(given).__name__
        words = words if len(words) <= _SHOWN else f"{words[:_SHOWN]}…"
        message = f"{place}: {_expectation(first)}, found {words}"
        expected = first.get("ctx", {}).get("expected")
        if expected and isinstance(given, str):
            message += nearest(
                given, [e.strip("' ") for e in expected.replace(" or ", ",").split(",")]
            )
    rest = len(errors) - 1
    return message + (f" (and {rest} more)" if rest else "")


def _expectation(error: Mapping[str, Any]) -> str:
    """What a key wants, in the words of YAML."""
    match error["type"]:
        case "tuple_type" | "list_type":
            given = error["input"]
            example = f", such as [{given}]" if isinstance(given, (str, int, float)) else ""
            return f"input should be a list{example}"
        case "dict_type" | "model_type":
            return "input should be a group of keys"
        case _:
            message = str(error["msg"])
            return f"{message[:1].lower()}{message[1:]}"


def _keys(place: tuple[int | str, ...]) -> list[str]:
    """Known keys of the group of a recipe that a place points to."""
    model: Any = Recipe
    for part in place:
        if isinstance(model, type) and issubclass(model, BaseModel):
            names = {f.alias or n: f.annotation for n, f in model.model_fields.items()}
            # The name of an entry of a mapping, as in inputs.s2, is no field: same group.
            model = _group(names[str(part)]) if str(part) in names else model
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return []
    return [f.alias or n for n, f in model.model_fields.items()]


def _group(annotation: Any) -> Any:
    """The pydantic model inside an annotation such as ``dict[str, InputRecipe]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        inner = _group(argument)
        if inner is not None:
            return inner
    return None


def _absolute(recipe: Recipe, base: Path) -> Recipe:
    """All local paths of a recipe, counted from its folder."""

    def resolve(path: str) -> str:
        return path if "://" in path else os.path.normpath(base / Path(path).expanduser())

    inputs = {
        name: input_recipe.model_copy(update={"catalog": resolve(input_recipe.catalog)})
        for name, input_recipe in recipe.inputs.items()
    }
    model = recipe.model
    update: dict[str, Any] = {
        "folder": (base / recipe.folder).absolute() if recipe.steps else Path(),
        "inputs": inputs,
        "area": resolve(recipe.area) if recipe.area else None,
        "model": {period: resolve(path) for period, path in model.items()}
        if isinstance(model, dict)
        else model and resolve(model),
    }
    if recipe.train:
        files = {"labels": resolve(recipe.train.labels)}
        if recipe.train.within is not None:
            files["within"] = resolve(recipe.train.within)
        update["train"] = recipe.train.model_copy(update=files)
    return recipe.model_copy(update=update)


def _with_kept_files(recipe: Recipe, base: Path) -> Recipe:
    """The recipe of a run with the copies that its steps name, which lie in the run's folder."""
    if "folder" not in recipe.model_fields_set:  # as only the recipe of a run has it
        return recipe

    def in_folder(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: in_folder(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [in_folder(inner) for inner in value]
        return str(base / value) if isinstance(value, str) and KEPT.match(value) else value

    steps = {
        name: step.model_copy(update=in_folder(step.options)) for name, step in recipe.steps.items()
    }
    return recipe.model_copy(update={"steps": steps})
