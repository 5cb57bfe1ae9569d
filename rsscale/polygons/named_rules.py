"""Rules of polygons as people give them: classes by name, areas in hectares."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rsscale.errors import RecipeError, nearest
from rsscale.patches.pieces import Connectivity
from rsscale.polygons.rules import CELL, M2_PER_HECTARE, Instances, PolygonRules

Holes = Literal["keep", "fill"] | Mapping[str, float]
"""``"keep"``, ``"fill"``, or ``{"below": hectares}``."""


def named_rules(
    names: Mapping[int, str],
    *,
    layer: str,
    classes: Sequence[str | int] | None = None,
    connectivity: Connectivity = 4,
    simplify: float = 0.0,
    minimum: float = 0.0,
    holes: Holes = "keep",
    instances: Mapping[str, Any] | None = None,
    cell: int = CELL,
) -> PolygonRules:
    """The rules with values of classes and square metres.

    Parameters
    ----------
    names : mapping of value to name
        The classes that the layer has.
    layer : str
        Its name, for messages.
    classes : sequence of str or int, optional
        Names, or values.
    connectivity, simplify, cell
        As :class:`rsscale.polygons.rules.PolygonRules`.
    minimum : float
        Hectares.
    holes : "keep", "fill" or {"below": hectares}
    instances : mapping, optional
        ``{"interior": name, "boundary": name, "grow": pixels}``.

    Raises
    ------
    RecipeError
        For a class that the layer has not, or options that exclude each other.
    """
    if classes is not None and instances is not None:
        raise RecipeError("has both 'classes' and 'instances'; expected one of them")
    chosen = None
    if classes is not None:
        chosen = tuple(sorted({_value(name, names, layer, "classes names") for name in classes}))
        if not chosen:
            raise RecipeError("classes names no class; leave it out for all of them")
    return PolygonRules(
        classes=chosen,
        connectivity=connectivity,
        simplify=simplify,
        minimum=minimum * M2_PER_HECTARE,
        fill_below=_fill_below(holes),
        instances=None if instances is None else _instances(instances, names, layer),
        cell=cell,
    )


def _fill_below(holes: Holes) -> float:
    if holes == "keep":
        return 0.0
    if holes == "fill":
        return math.inf
    below = holes.get("below") if isinstance(holes, Mapping) and set(holes) == {"below"} else None
    if not isinstance(below, int | float) or not (math.isfinite(below) and below > 0):
        raise RecipeError(
            f"holes is {holes!r}; expected 'keep', 'fill', or hectares below which they are "
            "filled: {below: 0.5}"
        )
    return below * M2_PER_HECTARE


def _instances(given: Mapping[str, Any], names: Mapping[int, str], layer: str) -> Instances:
    missing = {"interior", "boundary"} - set(given)
    unknown = set(given) - {"interior", "boundary", "grow"}
    if missing or unknown:
        raise RecipeError(
            f"instances has {', '.join(map(str, given)) or 'no keys'}; expected interior and "
            "boundary, names of classes, and grow, pixels"
        )
    interior = _value(given["interior"], names, layer, "instances.interior is")
    boundary = _value(given["boundary"], names, layer, "instances.boundary is")
    if interior == boundary:
        raise RecipeError(
            f"instances.interior and instances.boundary are both {given['interior']!r}; expected "
            "two classes"
        )
    return Instances(interior, boundary, given.get("grow", 0))


def _value(name: str | int, names: Mapping[int, str], layer: str, begins: str) -> int:
    """The value of a class by its name; a value is itself."""
    if isinstance(name, int) and (name in names or not names):
        return name
    values = {known: value for value, known in names.items()}
    if name not in values:
        raise RecipeError(
            f"{begins} {name!r}, and layer {layer!r} has the classes "
            f"{', '.join(values) or 'none with names'}{nearest(str(name), values)}"
        )
    return values[str(name)]
