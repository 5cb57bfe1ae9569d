"""The options of a step: a pydantic model each, whose mistakes are one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from rsscale.errors import nearest

_INPUT = "input should be "
_DATE = "a date such as 2024-06-30"
# Of pydantic's mistakes those whose words are Python's, in words of a recipe.
_EXPECTATIONS = {
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "names with values",
    "model_type": "keys with values",
    "too_long": "a list of at most {max_length}",
    "too_short": "a list of at least {min_length}",
    "float_type": "a number",
    "float_parsing": "a number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "date_type": _DATE,
    "date_parsing": _DATE,
    "date_from_datetime_parsing": _DATE,
    "date_from_datetime_inexact": _DATE,
}


class Options(BaseModel):
    """Base of the options of a kind of step; an unknown key is refused, and what is no number.

    A run keeps its recipe as JSON, which has neither NaN nor infinity.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,  # what the reference and editors say of a key
    )

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, given: Any) -> Any:
        """Refuse ``true`` where a number is meant, which Python takes for 1."""
        for name, field in cls.model_fields.items() if isinstance(given, Mapping) else ():
            value = given.get(field.alias or name)
            kinds = _kinds(field.annotation)
            if isinstance(value, bool) and bool not in kinds and kinds & {int, float}:
                key = field.alias or name
                raise ValueError(f"{key} is {str(value).lower()}; expected a number")
        return given


def check_in_order(first: int, last: int) -> None:
    """Refuse ``from`` and ``to`` that are no two periods in order.

    Raises
    ------
    ValueError
        As a validator of options raises it.
    """
    if first >= last:
        raise ValueError(
            f"from is {first} and to is {last}; expected two periods, the earlier first"
        )


def one_line(error: ValidationError, model: type[BaseModel], given: Mapping[str, Any]) -> str:
    """The first mistake of the options that are given, with the nearest key that there is.

    Of a value that may have several forms, what it should be is told of all of them, or of the one
    that fits it most.
    """
    errors = [(_path(problem, given), problem) for problem in error.errors(include_url=False)]
    unknown = [pair for pair in errors if pair[1]["type"] == "extra_forbidden"]
    path, first = (unknown or errors)[0]
    if len(path) < len(first["loc"]):
        path, first = max(
            (pair for pair in errors if pair[0][:1] == path[:1]), key=lambda pair: len(pair[0])
        )
    place = f"{'.'.join(map(str, path))}: " if path else ""
    if first["type"] == "extra_forbidden":
        known = [field.alias or name for name, field in model.model_fields.items()]
        return f"{place}unknown key{nearest(str(path[-1]), known) if len(path) == 1 else ''}"
    if first["type"] == "missing" and isinstance(first["loc"][-1], int):
        return f"{place}too few values, found {first['input']!r}"
    if first["type"] == "missing":
        return f"{place}missing"
    if first["type"] == "value_error":
        return f"{place}{first['ctx']['error']}"
    alike = [problem for other, problem in errors if other == path]
    said = list(dict.fromkeys(_expectation(problem) for problem in alike))
    others = [line.removeprefix(_INPUT) for line in said[1:]]
    value = first["input"]
    words = [
        word.strip("' ")
        for problem in alike
        for word in problem.get("ctx", {}).get("expected", "").replace(" or ", ",").split(",")
    ]
    hint = nearest(value, [word for word in words if word]) if isinstance(value, str) else ""
    return f"{place}{', or '.join([said[0], *others])}, found {value!r}{hint}"


def _path(error: Any, given: Any) -> tuple[int | str, ...]:
    """Where a mistake is: keys and indices, without pydantic's names of the forms of a value."""
    path: list[int | str] = []
    for number, part in enumerate(error["loc"]):
        is_last = number == len(error["loc"]) - 1
        if isinstance(given, Mapping):
            is_key = part in given or (is_last and error["type"] in ("missing", "extra_forbidden"))
        else:
            is_list = isinstance(given, Sequence) and not isinstance(given, str)
            is_key = is_list and isinstance(part, int) and part < len(given)
        if is_key or not number:
            path.append(part)
            there = isinstance(given, Mapping) and part not in given
            given = None if there or given is None else given[part]
    return tuple(path)


def _expectation(error: Any) -> str:
    """What the input should be."""
    if error["type"] in _EXPECTATIONS:
        return _INPUT + _EXPECTATIONS[error["type"]].format(**error.get("ctx", {}))
    message: str = error["msg"]
    return message[:1].lower() + message[1:]


def _kinds(annotation: Any) -> set[Any]:
    """The types that a value may be of, itself: not those of its items."""
    origin = get_origin(annotation)
    if origin in (UnionType, Union):
        return set().union(*map(_kinds, get_args(annotation)))
    if origin is Annotated:
        return _kinds(get_args(annotation)[0])
    return {annotation} if isinstance(annotation, type) else set()
