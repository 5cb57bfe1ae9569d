"""What each kind of step does, in a line for those who write recipes."""

from __future__ import annotations

import re

from rsscale.steps.kinds import find_kind

INTERNAL = ("quality-counts",)
"""Kinds that commands use, and that no person writes into a recipe."""

_SUMMARIES = {
    "predict": "The map: composites of the inputs, predicted window by window by a model.",
    "post-classification": "Change between the maps of two periods, by comparing them.",
    "temporal-model": "Change by a hidden Markov model over the maps of all periods.",
    "spectral-change": "Change between two dates of imagery without labels or a model.",
    "series-breaks": "Alerts: when an input's series leaves what its history foretells.",
    "change-network": "Change by a network that sees imagery of two dates.",
    "overviews": "Coarser levels of a step's layers, in its own store, for viewers.",
    "imagery": "A picture of an input in three bands, to look at.",
    "minimum-mapping-unit": "Classes without pieces below an area; the same for every tile size.",
    "smooth": "Classes smoothed by a majority filter or a Markov random field.",
    "zones": "Pixels and hectares of each class by polygon, as a table.",
    "polygons": "Polygons of a map of classes, each object once whatever the tiles.",
    "detect": "Objects in the imagery, found by a detector, each exactly once.",
    "transitions": "What became what between two periods: a layer, and pixels and hectares.",
    "sample": "A probability sample of pixels, drawn for interpreters.",
    "function": "Layers made by a function of yours, tile by tile.",
}
_ROLE = re.compile(r":\w+:`~?([^`]+)`")


def kind_summary(kind: str) -> str:
    """What a kind of step does: of one without a line here, the first of its docstring."""
    if kind in _SUMMARIES:
        return _SUMMARIES[kind]
    lines = (find_kind(kind, kind).__doc__ or kind).strip().splitlines()
    return plain_text(lines[0])


def plain_text(text: str) -> str:
    """A text of a docstring as Markdown: code in single backticks, and no roles."""
    return _ROLE.sub(r"`\1`", text).replace("``", "`")
