"""The options of a step: a pydantic model each, whose mistakes are one line."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError

from rsscale.errors import nearest


class Options(BaseModel):
    """Base of the options of a kind of step; an unknown key is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def one_line(error: ValidationError, model: type[BaseModel]) -> str:
    """The first mistake of a step's options, with the nearest key that there is."""
    first = min(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
    place = ".".join(str(part) for part in first["loc"]) or "options"
    if first["type"] == "extra_forbidden":
        known = [field.alias or name for name, field in model.model_fields.items()]
        return f"{place}: unknown key{nearest(str(first['loc'][-1]), known)}"
    if first["type"] == "missing":
        return f"{place}: missing"
    if first["type"] == "value_error":
        return f"{place}: {first['ctx']['error']}"
    message = first["msg"]
    return f"{place}: {message[:1].lower()}{message[1:]}, found {first['input']!r}"
