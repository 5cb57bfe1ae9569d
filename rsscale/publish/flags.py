"""Values, names and colours of a layer of classes, from its CF flag attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FlagClass:
    """A class of a layer.

    Attributes
    ----------
    value : int
    name : str
    color : str
        ``"#rrggbb"``; empty where the layer has no colours.
    """

    value: int
    name: str
    color: str = ""

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour as numbers from 0 to 255."""
        red, green, blue = (int(self.color[k : k + 2], 16) for k in (1, 3, 5))
        return red, green, blue


def flag_classes(attributes: Mapping[Any, Any]) -> tuple[FlagClass, ...]:
    """Classes of a layer; empty for a layer that has none.

    Parameters
    ----------
    attributes : mapping
        With ``flag_values`` and ``flag_meanings`` (CF conventions, section 3.5), perhaps
        ``flag_colors``, and ``class_names``: names as they are written, which may hold blanks.
    """
    if not {"flag_values", "flag_meanings"} <= attributes.keys():
        return ()
    values = [int(value) for value in _listed(attributes["flag_values"])]
    meanings = str(attributes["flag_meanings"]).split()
    names = [str(name) for name in _listed(attributes.get("class_names", meanings))]
    names = names if len(names) == len(values) else meanings
    colors = str(attributes.get("flag_colors", "")).split()
    colors = colors if len(colors) == len(values) else [""] * len(values)
    if len(names) != len(values):
        return ()
    return tuple(
        FlagClass(value, name, color)
        for value, name, color in zip(values, names, colors, strict=True)
    )


def _listed(value: Any) -> list[Any]:
    """A list; attributes of one value come back from some stores as the value alone."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return list(value) if isinstance(value, list | tuple) else [value]
