"""Values, names and colours of a layer of classes, from its CF flag attributes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
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
    values = [int(value) for value in as_list(attributes["flag_values"])]
    names = class_names(attributes)
    colors = str(attributes.get("flag_colors", "")).split()
    colors = colors if len(colors) == len(values) else [""] * len(values)
    if len(names) != len(values):
        return ()
    return tuple(
        FlagClass(value, name, color)
        for value, name, color in zip(values, names, colors, strict=True)
    )


def names_as_text(names: Iterable[str]) -> str:
    """Names of classes as one text, a list in JSON: netCDF holds no lists of texts."""
    return json.dumps(list(names), ensure_ascii=False)


def class_names(attributes: Mapping[Any, Any]) -> list[str]:
    """Names of classes as they are written, else the words of ``flag_meanings``.

    ``class_names`` is a list as :func:`names_as_text` writes it, or a bare one in older products.
    """
    names = attributes.get("class_names")
    if isinstance(names, str):
        try:
            names = json.loads(names)
        except ValueError:
            names = [names]  # a bare list of one name comes back from some stores as the name
    if names is None:
        names = str(attributes.get("flag_meanings", "")).split()
    return [str(name) for name in as_list(names)]


def as_list(value: Any) -> list[Any]:
    """A list; attributes of one value come back from some stores as the value alone."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return list(value) if isinstance(value, list | tuple) else [value]
