"""The fenced blocks of code of our pages, and what a fragment of a recipe is part of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsscale.recipe.yaml_text import parse_yaml

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^( *)```([^\n`]*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
_ELLIPSIS = "…"

# What fragments of recipes are put into: with it they are whole.
BASE: dict[str, Any] = {
    "name": "base",
    "bbox": [6, 49, 7, 50],
    "grid": {"crs": "EPSG:32632", "resolution": 10},
    "periods": list(range(2019, 2026)),
    "inputs": {"s2": {"catalog": "catalog.json", "bands": ["red", "nir"]}},
    "model": "model",
    "output": {"layers": ["classification", "confidence", "probability", "observations"]},
}


@dataclass(frozen=True)
class CodeBlock:
    """One block: where it stands, in what language, and its text."""

    page: str
    number: int
    language: str
    text: str
    line: int

    @property
    def place(self) -> str:
        return f"{self.page}:{self.number}"


def pages() -> list[Path]:
    """Every page that is read by people, except what tools and releases are about."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    return sorted(found)


def blocks() -> list[CodeBlock]:
    return [block for page in pages() for block in blocks_of(page)]


def blocks_of(page: Path) -> Iterator[CodeBlock]:
    text = page.read_text("utf-8")
    for number, found in enumerate(_BLOCK.finditer(text)):
        indent, language, body = found.groups()
        if indent:
            body = re.sub(f"^{indent}", "", body, flags=re.MULTILINE)
        line = text[: found.start()].count("\n") + 1
        name = str(page.relative_to(ROOT))
        yield CodeBlock(name, number, language.strip(), body, line)


def yaml_values(text: str) -> list[Any]:
    """The values of a YAML block; alternatives, where it has a key several times."""
    keys = re.findall(r"^(\w+):", text, re.MULTILINE)
    if len(keys) == len(set(keys)):
        return [parse_yaml(text, "block")]
    return [parse_yaml(line, "block") for line in text.splitlines() if line.strip()]


def whole_recipe(fragment: dict[str, Any], input_keys: set[str]) -> dict[str, Any]:
    """A fragment of a recipe, or of one of its inputs, with all that it leaves out."""
    if "name" in fragment:
        return without_ellipsis(fragment)
    if set(fragment) <= input_keys and not set(fragment) & {"periods"}:
        fragment = {"inputs": {"s2": fragment}}
        if "names" in fragment["inputs"]["s2"] and "mask" not in fragment["inputs"]["s2"]:
            fragment["inputs"]["s2"].setdefault("mask", named_mask(fragment["inputs"]["s2"]))
    merged = merge(BASE, without_ellipsis(fragment))
    steps = merged.get("steps", {})
    if any(step.get("of") == "change" for step in steps.values()) and "change" not in steps:
        merged["change"] = {"from": 2023, "to": 2024}
    return merged


def named_mask(imagery: dict[str, Any]) -> Any:
    """A mask by the bands that are named and are no bands of the input."""
    bands = imagery.get("bands", BASE["inputs"]["s2"]["bands"])
    return [{"band": name, "keep": [1]} for name in imagery["names"] if name not in bands] or None


def merge(base: Any, over: Any) -> Any:
    """``over`` put over ``base``, mapping by mapping."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return base | {key: merge(base.get(key), value) for key, value in over.items()}


def without_ellipsis(value: Any) -> Any:
    """A value without the keys that stand for more of them."""
    if isinstance(value, dict):
        return {k: without_ellipsis(v) for k, v in value.items() if k != _ELLIPSIS}
    return value


def as_json(value: Any) -> Any:
    """YAML's keys and dates as JSON has them."""
    if isinstance(value, dict):
        return {str(key): as_json(one) for key, one in value.items()}
    if isinstance(value, list):
        return [as_json(one) for one in value]
    return value.isoformat() if hasattr(value, "isoformat") else value
