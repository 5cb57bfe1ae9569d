"""Names of the ways to composite; without torch, so that a recipe can be checked by them."""

from __future__ import annotations

import re

from rsscale.errors import RecipeError, nearest

REDUCERS = ("median", "mean", "min", "max", "best-pixel", "geomedian", "medoid")
MISSING = ("leave", "neighbour", "year")

_PERCENTS = {"median": 50, "min": 0, "max": 100}
_PERCENTILE = re.compile(r"p([1-9]\d?)")


def percent_of(reducer: str) -> int | None:
    """Which percentile a reducer is (``"p10"``: 10, ``"median"``: 50), or None."""
    match = _PERCENTILE.fullmatch(reducer)
    return int(match[1]) if match else _PERCENTS.get(reducer)


def check_reducer(reducer: str) -> str:
    """The name of a reducer as it is.

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


def check_missing(missing: str) -> str:
    """The name of a rule for windows without a look, as it is.

    Raises
    ------
    RecipeError
        When there is no such rule.
    """
    if missing in MISSING:
        return missing
    raise RecipeError(
        f"missing is {missing!r}; expected {', '.join(MISSING)}{nearest(str(missing), MISSING)}"
    )
