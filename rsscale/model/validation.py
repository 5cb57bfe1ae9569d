"""Check a model's item.json where it comes in: types and bounds of what a contract is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rsscale.documents import kind_of
from rsscale.errors import ModelError

Text = Annotated[str, Field(max_length=1000)]
Number = Annotated[float, Field(allow_inf_nan=False)]
_Pixels = Annotated[int, Field(ge=0, le=8192)]
_MOST_HYPERPARAMETER = 65_536


class _Part(BaseModel):
    """Part of an item: keys that are not read may be anything; what is missing is told later."""

    model_config = ConfigDict(extra="allow")


class _Scaling(_Part):
    mean: Number | None = None
    stddev: Number | None = None


class _NamedBand(_Part):
    name: Text | None = None


class _Input(_Part):
    name: Text | None = None
    bands: list[Text | _NamedBand] = Field(default_factory=list, max_length=1000)
    value_scaling: list[_Scaling] | None = Field(default=None, max_length=1000)
    times: list[Text] | None = Field(default=None, alias="rsscale:times", max_length=1000)


class _Class(_Part):
    value: int | None = None
    name: Text | None = None
    color_hint: Text | None = None


class _Output(_Part):
    classes: list[_Class] | None = Field(
        default=None, alias="classification:classes", max_length=256
    )


class _Properties(_Part):
    name: Text | None = Field(default=None, alias="mlm:name")
    architecture: Text | None = Field(default=None, alias="mlm:architecture")
    inputs: list[_Input] | None = Field(default=None, alias="mlm:input", max_length=100)
    outputs: list[_Output] | None = Field(default=None, alias="mlm:output", max_length=100)
    hyperparameters: dict[str, Any] | None = Field(default=None, alias="mlm:hyperparameters")
    stride: _Pixels | None = Field(default=None, alias="rsscale:stride")
    halo: _Pixels | None = Field(default=None, alias="rsscale:halo")
    blend: Text | None = Field(default=None, alias="rsscale:blend")
    resolution: Number | None = Field(default=None, alias="rsscale:resolution")


class _Asset(_Part):
    href: Text | None = None
    roles: list[Text] = Field(default_factory=list)


class _Item(_Part):
    id: Text | None = None
    properties: _Properties
    assets: dict[str, _Asset]


def check_model_item(item: Any, path: str) -> dict[str, Any]:
    """The item, if what a contract is made of has the right types and is not absurd.

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
