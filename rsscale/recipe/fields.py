"""Types of a recipe's values, and the base of its parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from rsscale.errors import RecipeError

Year = Annotated[int, Field(ge=1, le=9998)]
# Part of the names of files.
InputName = Annotated[str, Field(pattern=r"^[^/\\\x00-\x1f]{1,100}$")]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Coordinate = Annotated[float, Field(ge=-1e9, le=1e9)]  # refuses NaN and infinity too
Nodata = Annotated[float, Field(allow_inf_nan=True)]
MonthDay = Annotated[str, Field(pattern=r"^(-1-)?\d{2}-\d{2}$")]


@contextmanager
def as_value_error() -> Iterator[None]:
    """Turn a RecipeError of a lower layer into the ValueError that pydantic reports."""
    try:
        yield
    except RecipeError as error:
        raise ValueError(str(error)) from None


def short_form(*forms: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    """Further forms of a value, as JSON Schema, that a validator turns into the usual one.

    For ``json_schema_extra`` of a field, so that editors accept what :func:`read_recipe` does.
    """

    def extend(schema: dict[str, Any]) -> None:
        usual = schema.pop("anyOf", None)
        if usual is None:
            about = {"title", "description", "default"}
            usual = [{key: schema.pop(key) for key in list(schema) if key not in about}]
        schema["anyOf"] = [*usual, *forms]

    return extend


class Strict(BaseModel):
    """A part of a recipe: unknown keys are refused, and nothing is changed later."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,  # what the reference and editors say of a key
    )
