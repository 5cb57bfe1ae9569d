"""Classes of a map: value, name and colour, and how a layer's attributes hold them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rsscale.errors import ModelError
from rsscale.layers import NODATA
from rsscale.legend.flags import as_list, class_names, names_as_text

_COLOR = re.compile(r"#[0-9A-Fa-f]{6}")


@dataclass(frozen=True)
class LandClass:
    """One class of a map.

    Attributes
    ----------
    value : int
        The value in the map, 0 to 254; 255 is nodata.
    name : str
        Unique within a model; what labels call it.
    color : str
        ``"#rrggbb"``.
    """

    value: int
    name: str
    color: str

    def __post_init__(self) -> None:
        if not 0 <= self.value < NODATA:
            raise ModelError(
                f"class {self.name!r} has value {self.value}; values are 0 to 254, 255 is nodata"
            )
        if not _COLOR.fullmatch(self.color):
            raise ModelError(f"class {self.name!r} has colour {self.color!r}; expected '#rrggbb'")


def class_attributes(classes: Sequence[LandClass]) -> dict[str, Any]:
    """CF attributes of a layer of class values: flag values, meanings and colours."""
    return {
        "flag_values": [c.value for c in classes],
        "flag_meanings": " ".join(c.name.replace(" ", "_") for c in classes),
        "flag_colors": " ".join(c.color for c in classes),
        # As they are written: a flag meaning can't hold a blank.
        "class_names": names_as_text(c.name for c in classes),
    }


def classes_from_attributes(attributes: Mapping[Any, Any]) -> tuple[LandClass, ...]:
    """The classes of a layer of class values, from its CF attributes.

    Raises
    ------
    ModelError
        When they are not there.
    """
    if not {"flag_values", "flag_meanings", "flag_colors"} <= attributes.keys():
        raise ModelError(
            "a layer lacks flag_values, flag_meanings or flag_colors, so its classes are not "
            "known; use one as rsscale.predict or a product gives it"
        )
    values = as_list(attributes["flag_values"])
    names = class_names(attributes)
    colors = str(attributes["flag_colors"]).split()
    if not len(values) == len(names) == len(colors):
        raise ModelError(
            f"a layer has {len(values)} flag_values, {len(names)} names and {len(colors)} "
            "flag_colors; expected one of each for every class"
        )
    classes = tuple(
        LandClass(_whole(value), str(name), color)
        for value, name, color in zip(values, names, colors, strict=True)
    )
    if len({c.value for c in classes}) < len(classes):
        raise ModelError(f"a layer has repeated flag_values: {values}")
    return classes


def _whole(value: Any) -> int:
    """A flag value as an int; tools write them as floats too."""
    if isinstance(value, str) or value != int(value):
        raise ModelError(f"a layer has the flag value {value!r}; expected whole numbers, 0 to 254")
    return int(value)
