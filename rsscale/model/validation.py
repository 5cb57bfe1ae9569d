"""Check a model's item.json where it comes in: that it is an item whose parts can be looked at.

What the contract says is read, and refused by name, in :mod:`rsscale.model.mlm`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rsscale.documents import kind_of
from rsscale.errors import ModelError

Text = Annotated[str, Field(max_length=1000)]
_MOST_HYPERPARAMETER = 65_536


class _Part(BaseModel):
    """Part of an item: keys that are not read may be anything; what is missing is told later."""

    model_config = ConfigDict(extra="allow")


class _Properties(_Part):
    hyperparameters: dict[str, Any] | None = Field(default=None, alias="mlm:hyperparameters")


class _Asset(_Part):
    roles: list[Text] = Field(default_factory=list)


class _Item(_Part):
    id: Text | None = None
    properties: _Properties
    assets: dict[str, _Asset]


def check_model_item(item: Any, path: str) -> dict[str, Any]:
    """The item, if its assets can be looked through and its network is not absurdly large.

    Raises
    ------
    ModelError
        Which names the file, the field, what was found and what was expected.
    """
    if not isinstance(item, dict) or not isinstance(item.get("assets"), dict):
        raise ModelError(f"{path} is not a STAC item with assets")
    try:
        _Item.model_validate(item)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        message = first["msg"][:1].lower() + first["msg"][1:]
        raise ModelError(f"{path}: {place}: {message}; found {kind_of(first['input'])}") from None
    hyperparameters: Mapping[str, Any] = item["properties"].get("mlm:hyperparameters") or {}
    for name, value in hyperparameters.items():
        if isinstance(value, (int, float)) and not abs(value) <= _MOST_HYPERPARAMETER:
            raise ModelError(
                f"{path}: mlm:hyperparameters.{name} is {kind_of(value)}; expected at most "
                f"{_MOST_HYPERPARAMETER}"
            )
    return item
