"""Keys of a recipe as rows of a table: type, default and meaning, taken from its JSON Schema."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rsscale.errors import RsscaleError
from rsscale.recipe_schema.json_schema import recipe_schema
from rsscale.recipe_schema.kinds import INTERNAL, plain_text
from rsscale.steps.kinds import KINDS

_NAMES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "mapping",
    "array": "list",
    "null": "nothing",
}
_PLURALS = {"text": "texts", "whole number": "whole numbers", "number": "numbers"}

# Limits beyond are those of numbers, and tell nobody anything.
_TECHNICAL = 1e7


@dataclass(frozen=True)
class Key:
    """One key.

    Attributes
    ----------
    name : str
    kind : str
        What its value is, in words.
    default : str
        As YAML has it; empty where the key must be given, ``-`` where nothing is the default.
    meaning : str
        Markdown.
    """

    name: str
    kind: str
    default: str
    meaning: str


@dataclass(frozen=True)
class KeyGroup:
    """The keys of one group of a recipe, such as ``inputs.NAME.mask``."""

    title: str
    summary: str
    keys: tuple[Key, ...]


def recipe_groups() -> list[KeyGroup]:
    """Every group of a recipe, each after the one that it is part of.

    Raises
    ------
    RsscaleError
        For a key without a description.
    """
    schema = recipe_schema()
    definitions = schema["$defs"]
    return list(_groups("recipe", schema, definitions, ""))


def step_groups() -> list[KeyGroup]:
    """Every kind of step with its options, and the groups among these.

    Raises
    ------
    RsscaleError
        For a key without a description.
    """
    definitions = recipe_schema()["$defs"]
    groups: list[KeyGroup] = []
    for kind in (kind for kind in KINDS if kind not in INTERNAL):
        schema = definitions[f"step-{kind}"]
        options = {k: v for k, v in schema["properties"].items() if k not in ("kind", "of")}
        groups += _groups(kind, schema | {"properties": options}, definitions, kind)
    return groups


def _groups(
    title: str, schema: dict[str, Any], definitions: dict[str, Any], place: str
) -> Iterator[KeyGroup]:
    """A group, then those inside it."""
    required = schema.get("required", [])
    keys, inside = [], []
    for name, about in schema.get("properties", {}).items():
        if not about.get("description"):
            raise RsscaleError(
                f"the key {name!r} of {title} has no description; write one as a docstring below "
                "the field of its model"
            )
        keys.append(
            Key(
                name,
                value_kind(about, definitions),
                "" if name in required else _default(about),
                " ".join(about["description"].split()),
            )
        )
        inside += [(f"{place}.{name}".lstrip("."), *fields) for fields in _models(about)]
    yield KeyGroup(title, plain_text(schema.get("description", "")), tuple(keys))
    for path, reference, ending in inside:
        name = reference.rpartition("/")[2]
        if name != "StepRecipe":
            yield from _groups(path + ending, definitions[name], definitions, path + ending)


def _models(about: dict[str, Any]) -> list[tuple[str, str]]:
    """References to models inside the schema of a value, and what their place ends with."""
    if "$ref" in about:
        return [(about["$ref"], "")]
    models = [model for part in about.get("anyOf", []) for model in _models(part)]
    if isinstance(about.get("items"), dict):
        models += [(ref, "[]" + end) for ref, end in _models(about["items"])]
    named = about.get("additionalProperties"), *about.get("patternProperties", {}).values()
    for part in named:
        if isinstance(part, dict):
            models += [(ref, ".NAME" + end) for ref, end in _models(part)]
    return [model for model in models if not model[0].endswith("/RunReference")]


def value_kind(about: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What a value is, in words: ``list of texts``, ``median or mean``, ``number, > 0``."""
    if "anyOf" in about:
        parts = [value_kind(part, definitions) for part in about["anyOf"]]
        return ", or ".join(dict.fromkeys(part for part in parts if part != "nothing"))
    if "enum" in about or "const" in about:
        values = about.get("enum", [about.get("const")])
        return " \\| ".join(f"`{_yaml(value)}`" for value in values)
    if about.get("type") == "array":
        return _list_kind(about, definitions)
    if about.get("type") == "object" or "$ref" in about:
        return _mapping_kind(about, definitions)
    if about.get("format") == "date":
        return "date"
    return _NAMES.get(about.get("type", ""), "any value") + _bounds(about)


def _mapping_kind(about: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "$ref" in about:
        return "keys"
    named = about.get("additionalProperties") or next(
        iter(about.get("patternProperties", {}).values()), None
    )
    of = value_kind(named, definitions) if isinstance(named, dict) and named else ""
    return f"mapping of names to {_several(of)}" if of else "mapping"


def _list_kind(about: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "prefixItems" in about:
        parts = [value_kind(part, definitions) for part in about["prefixItems"]]
        if len(set(parts)) == 1:
            return f"list of {len(parts)} {_several(parts[0])}"
        return f"list: {', '.join(parts)}"
    of = value_kind(about.get("items", {}), definitions)
    return f"list of {_several(of)}"


def _several(kind: str) -> str:
    """A kind in the plural."""
    head, comma, rest = kind.partition(",")
    return _PLURALS.get(head, head) + comma + rest


def _bounds(about: dict[str, Any]) -> str:
    """The limits of a number."""
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    parts = [
        f"{sign} {about[key]:g}"
        for key, sign in signs.items()
        if key in about and abs(about[key]) < _TECHNICAL
    ]
    return f", {', '.join(parts)}" if parts else ""


def _default(about: dict[str, Any]) -> str:
    """A default as a recipe would have it; a group's own are those of its keys."""
    value = about.get("default")
    is_plain = isinstance(value, bool | int | float | str) or (isinstance(value, list) and value)
    return f"`{_yaml(value)}`" if is_plain else "-"


def _yaml(value: Any) -> str:
    """A plain value as a recipe has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
