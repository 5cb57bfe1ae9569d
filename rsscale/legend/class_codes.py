"""Classes as people and files write them, by name or value, brought to positions in a legend."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.errors import RecipeError, nearest
from rsscale.legend.classes import LandClass
from rsscale.legend.values import listed

NOT_INTERPRETED = -1


def class_positions(
    values: Sequence[Any], classes: Sequence[LandClass], *, column: str, ids: Sequence[Any]
) -> npt.NDArray[np.int64]:
    """Position of each class in a legend; -1 where nothing is written.

    Parameters
    ----------
    values : sequence
        Names or values: ``"water"``, ``1``, ``"1"``, ``1.0``; None, NaN and blanks are nothing.
    classes : sequence of LandClass
    column : str
        What holds them, for messages.
    ids : sequence
        Of the units, for messages.

    Returns
    -------
    int64 array (n,)

    Raises
    ------
    RecipeError
        For what is no class of the map, and codes that are no whole numbers: with the ids.
    """
    by_name = {land_class.name.strip().casefold(): k for k, land_class in enumerate(classes)}
    by_value = {land_class.value: k for k, land_class in enumerate(classes)}
    positions = np.full(len(values), NOT_INTERPRETED, np.int64)
    unknown: dict[str, list[Any]] = {}
    for n, value in enumerate(values):
        if _is_nothing(value):
            continue
        position = by_name.get(str(value).strip().casefold())
        if position is None:
            code = _whole(value)
            position = None if code is None else by_value.get(code)
        if position is None:
            unknown.setdefault(str(value), []).append(ids[n])
        else:
            positions[n] = position
    if unknown:
        raise RecipeError(_refusal(unknown, classes, column))
    return positions


def _is_nothing(value: Any) -> bool:
    if value is None or (isinstance(value, str) and not value.strip()):
        return True
    if isinstance(value, numbers.Real):
        return math.isnan(float(value))
    return str(value) in ("<NA>", "NaT")  # pandas' own


def _whole(value: Any) -> int | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if math.isfinite(number) and number == int(number) else None


def _refusal(unknown: dict[str, list[Any]], classes: Sequence[LandClass], column: str) -> str:
    texts = [
        f"{text!r} ({len(some)} unit{'s' if len(some) > 1 else ''}, such as {some[0]})"
        for text, some in list(unknown.items())[:3]
    ]
    more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
    first = next(iter(unknown))
    hint = nearest(first, [land_class.name for land_class in classes])
    return (
        f"column {column!r} holds {', '.join(texts)}{more}, no class of the map: "
        f"{listed(classes)}{hint}; correct them, or leave empty what could not be interpreted"
    )
