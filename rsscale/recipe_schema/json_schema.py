"""The JSON Schema of a recipe, with the options of every kind of step."""

from __future__ import annotations

from typing import Any

from rsscale.recipe import Recipe
from rsscale.recipe_schema.kinds import kind_summary
from rsscale.steps.kinds import KINDS, find_kind

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# Of a pass outside of rsscale; what options it has is known to its module alone.
_OWN_KIND = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
# What rsscale itself writes into the recipe of a run.
_WRITTEN = ("folder",)


def recipe_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe, in which every key has a description.

    An editor completes and checks keys by it, step kinds and their options included. It is looser
    than :func:`rsscale.read_recipe`, which also checks what keys mean to one another: what it
    refuses, that refuses too.

    Returns
    -------
    dict
        JSON Schema, draft 2020-12. It names no address that must be reached.

    References
    ----------
    https://json-schema.org/draft/2020-12/json-schema-core
    """
    schema = Recipe.model_json_schema(by_alias=True)
    for key in _WRITTEN:
        schema["properties"].pop(key, None)
    definitions = schema["$defs"]
    step = definitions["StepRecipe"]
    of = step["properties"]["of"]
    rules = []
    for kind in KINDS:
        name = f"step-{kind}"
        definitions[name] = _kind_schema(kind, of, definitions)
        is_it = {"properties": {"kind": {"const": kind}}, "required": ["kind"]}
        rules.append({"if": is_it, "then": {"$ref": f"#/$defs/{name}"}})
    step["properties"]["kind"] |= {"anyOf": [{"enum": list(KINDS)}, {"pattern": _OWN_KIND}]}
    step["allOf"] = rules
    head = {"$schema": DIALECT, "title": "Recipe of rsscale"}
    return head | {key: value for key, value in schema.items() if key not in head}


def _kind_schema(kind: str, of: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a step of one kind; what it refers to is added to the definitions."""
    kind_class = find_kind(kind, "schema")
    options = kind_class.Options.model_json_schema(by_alias=True)
    definitions.update(options.pop("$defs", {}))
    return {
        "type": "object",
        "title": kind,
        "description": kind_summary(kind),
        "properties": {"kind": {"const": kind}, "of": of, **options.get("properties", {})},
        "required": ["kind", *options.get("required", [])],
        "additionalProperties": False,
    }
