"""Types of a recipe's values, and the base of its parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

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


class Strict(BaseModel):
    """A part of a recipe: unknown keys are refused, and nothing is changed later."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False
    )
