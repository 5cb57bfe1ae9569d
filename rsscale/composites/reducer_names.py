"""Names of reducers and fallbacks; without torch, so that a recipe is checked quickly."""

from __future__ import annotations

import re

from rsscale.errors import RecipeError, nearest

REDUCERS = ("median", "mean", "min", "max", "best-pixel", "geomedian", "medoid")
FALLBACKS = ("leave", "neighbour", "linear", "year")

_PERCENTS = {"median": 50, "min": 0, "max": 100}
_PERCENTILE = re.compile(r"p([1-9]\d?)")


def percent_of(reducer: str) -> int | None:
    """The percentile that a reducer computes (``"p10"``: 10, ``"median"``: 50), or None."""
    match = _PERCENTILE.fullmatch(reducer)
    return int(match[1]) if match else _PERCENTS.get(reducer)


def check_reducer(reducer: str) -> str:
    """Return the name of a reducer.

    Raises
    ------
    RecipeError
        When there is no such reducer.
    """
    if reducer in REDUCERS or (isinstance(reducer, str) and percent_of(reducer) is not None):
        return reducer
    raise RecipeError(
        f"reducer {reducer!r} is unknown; expected {', '.join(REDUCERS)} or a percentile "
        f"from p1 to p99{nearest(str(reducer), REDUCERS)}"
    )


def check_fallback(fallback: str) -> str:
    """Return the name of a fallback for windows without an observation, the key ``missing``.

    Raises
    ------
    RecipeError
        When there is no such fallback.
    """
    if fallback in FALLBACKS:
        return fallback
    raise RecipeError(
        f"missing is {fallback!r}; expected {', '.join(FALLBACKS)}"
        f"{nearest(str(fallback), FALLBACKS)}"
    )
