"""Filters on item properties, in the form of the STAC API's query extension.

https://github.com/stac-api-extensions/query
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from rsscale.errors import RecipeError, nearest

Query = Mapping[str, Mapping[str, Any]]

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
    "in": lambda value, wanted: value in wanted,
    "startsWith": lambda value, wanted: str(value).startswith(wanted),
    "endsWith": lambda value, wanted: str(value).endswith(wanted),
    "contains": lambda value, wanted: wanted in value,
}
# The comparisons of CQL2's basic class, which every API with the filter extension has.
_CQL2 = {"eq": "=", "neq": "<>", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


def check_query(query: Query | None) -> Query:
    """Refuse a query that no catalogue would understand.

    Raises
    ------
    RecipeError
        With the nearest operator for a typo, or the form that was expected.
    """
    if query is None:
        return {}
    if not isinstance(query, Mapping):
        raise RecipeError(
            f"query: found {query!r}; write a mapping like {{'eo:cloud_cover': {{'lt': 60}}}}"
        )
    for name, tests in query.items():
        if not isinstance(tests, Mapping) or not tests:
            raise RecipeError(
                f"query: {name!r} has {tests!r}; write an operator and a value, "
                f"like {{{name!r}: {{'eq': {tests!r}}}}}"
            )
        for name_of_test, operand in tests.items():
            _check_test(name, name_of_test, operand)
    return query


def matches(query: Query, item: Mapping[str, Any]) -> bool:
    """Whether an item (a JSON object) passes all tests.

    A property that the item lacks, or holds as ``null``, passes none, not even ``neq``,
    as in the databases behind most APIs.
    """
    for name, tests in query.items():
        value = _value(item, name)
        if value is None:
            return False
        for test, operand in tests.items():
            try:
                if not _OPERATORS[test](value, operand):
                    return False
            except TypeError:  # a number against a text
                return False
    return True


def as_cql2(query: Query) -> dict[str, Any] | None:
    """The part of a query that basic CQL2 can say, as CQL2 JSON; ``None`` for no part.

    The whole query is applied to the answer as well, so that a part is enough.
    """
    tests = [
        {"op": _CQL2[test], "args": [{"property": name}, operand]}
        for name, by_test in query.items()
        for test, operand in by_test.items()
        if test in _CQL2 and isinstance(operand, (str, int, float))
    ]
    if not tests:
        return None
    return tests[0] if len(tests) == 1 else {"op": "and", "args": tests}


def _check_test(name: str, test: str, operand: Any) -> None:
    if test not in _OPERATORS:
        raise RecipeError(
            f"query: {name!r} has the unknown operator {test!r}, known are "
            f"{', '.join(_OPERATORS)}{nearest(test, _OPERATORS)}"
        )
    if test == "in" and (isinstance(operand, str) or not isinstance(operand, (list, tuple))):
        raise RecipeError(f"query: {name!r} in {operand!r}; 'in' takes a list of values")
    if test in ("startsWith", "endsWith", "contains") and not isinstance(operand, str):
        raise RecipeError(f"query: {name!r} {test} {operand!r}; {test!r} takes a text")


def _value(item: Mapping[str, Any], name: str) -> Any:
    name = name.removeprefix("properties.")
    if name in ("id", "collection"):
        return item.get(name)
    return item.get("properties", {}).get(name)
