"""Read the parts of an MLM item, with errors that name the item and the field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from pydantic import ValidationError

from rsscale.errors import ModelError


class MlmReader:
    """Reads the parts of one item; its errors name the item and the field.

    Parameters
    ----------
    name : object
        The item's id, for messages.
    """

    def __init__(self, name: Any) -> None:
        self._name = str(name)[:100]

    def fail(self, message: str) -> NoReturn:
        """Refuse the item."""
        raise ModelError(f"the MLM item {self._name!r}: {message}")

    def refuse(self, place: str, value: Any, expected: str) -> NoReturn:
        """Refuse a field by name."""
        shown = " ".join(str(value).split())[:120]
        self.fail(f"{place} is {shown}; {expected}, and nothing else")

    def parse(self, kind: type[Any], content: Any, place: str) -> Any:
        """One part, of the right types."""
        try:
            return kind.model_validate(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            inner = "".join(
                f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]
            ).lstrip(".")
            where = f"{place}.{inner}" if inner and place != "properties" else inner or place
            if first["type"] == "missing":
                self.fail(
                    f"{where}: missing; a model for rsscale needs mlm:name, mlm:architecture, "
                    "mlm:input and mlm:output with classes"
                )
            shown = " ".join(repr(first["input"]).split())[:80]
            self.fail(f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}, found {shown}")

    def check_shape(self, place: str, shape: Sequence[int], expected: Sequence[int]) -> None:
        """A shape of a batch of any size; -1 is any length."""
        whole = [-1, *expected]
        fits = len(shape) == len(whole) and shape[0] == -1
        if not fits or any(a not in (-1, b) for a, b in zip(shape[1:], expected, strict=True)):
            self.refuse(
                place, list(shape), f"it is {whole} by the bands, times, classes and windows"
            )


def expression_name(value: Any) -> Any:
    """What names a processing expression best."""
    if isinstance(value, Mapping) and "expression" in value:
        return value["expression"]
    return value
