"""Questions on a terminal for what was not said as an option."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rsscale.catalog.search import search
from rsscale.errors import RecipeError, RsscaleError
from rsscale.recipe_writing.imagery import collections_of

NEEDED = ("catalog", "area", "periods")
_LISTED = 20
_LAST_YEAR = "2024"

Ask = Callable[[str, str | None], str]
"""Asks a question and gives the answer, or what stands there when nothing is typed."""


def ask_for(given: Mapping[str, Any], ask: Ask, tell: Callable[[str], None]) -> dict[str, Any]:
    """Ask for what is missing; the catalogue's collections are listed to choose from.

    Parameters
    ----------
    given : mapping
        Fields of :class:`rsscale.recipe_writing.answers.Answers`; None where nothing was said.
    ask, tell : callable
    """
    said = dict(given)
    if not said.get("catalog"):
        tell("Where is the imagery? A STAC API, a catalog.json or a stac-geoparquet file.")
        said["catalog"] = ask("catalogue", "https://earth-search.aws.element84.com/v1")
    if not said.get("collection"):
        known = collections_of(said["catalog"], said.get("sign"))
        tell(f"Collections there: {', '.join(known[:_LISTED]) or 'not listed'}")
        first = next((name for name in known if "sentinel-2-l2a" in name), next(iter(known), None))
        said["collection"] = ask("collection", first)
    if not said.get("area"):
        tell("What is to be mapped? A file with polygons, or west,south,east,north in degrees.")
        said["area"] = ask("area", None)
    if not said.get("periods"):
        said["periods"] = parse_years(ask("years, separated by blanks", _LAST_YEAR))
    if said.get("labels") is None:
        tell("What is to be learnt from? A file of polygons or points with a class; none: enter.")
        said["labels"] = ask("labels", "") or None
    return said


def parse_years(text: str) -> tuple[int, ...]:
    """Years that are separated by blanks or commas.

    Raises
    ------
    RecipeError
    """
    words = text.replace(",", " ").split()
    try:
        return tuple(int(word) for word in words)
    except ValueError:
        raise RecipeError(f"periods is {text!r}; expected years such as 2023 2024") from None


def refuse_missing(given: Mapping[str, Any]) -> None:
    """Say which options are needed where nobody can be asked.

    Raises
    ------
    RecipeError
    """
    missing = [f"--{name}" for name in NEEDED if not given.get(name)]
    if missing:
        raise RecipeError(
            f"{' and '.join(missing)} must be given where there is no terminal to ask on; see "
            f"rsscale recipe new --help{_covered(given) if '--area' in missing else ''}"
        )


def _covered(given: Mapping[str, Any]) -> str:
    """What the items of a catalogue of files cover; nothing of an API, which covers the world."""
    catalog = given.get("catalog")
    if not catalog or "://" in catalog:
        return ""
    try:
        items = search(catalog, given.get("collection"))
    except RsscaleError:  # of the catalogue: what is missing comes first
        return ""
    boxes = np.array([item.bbox for item in items if item.bbox and len(item.bbox) == 4])
    if not len(boxes):
        return ""
    edges = (*boxes.min(axis=0)[:2], *boxes.max(axis=0)[2:])
    return f". Its items lie in {','.join(f'{edge:.6f}' for edge in edges)}"
