"""What became what as one code a pixel: 256 times the class before, plus the class after."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.layers import NODATA
from rsscale.legend.classes import LandClass
from rsscale.legend.flags import names_as_text

CLASSES = "paired_classes"
"""The attribute with the classes that pairs are of."""
CODE_NODATA = 65535
"""Of a transition where either class is not known."""
_BASE = 256
# More pairs than a legend can hold: a layer of so many classes has no names of transitions.
_MOST = 4096
_WHITE = np.array((255.0, 255.0, 255.0))
# How pale the class of a pixel is that stayed what it was; what a changed pixel keeps of the colour
# that it had, so that two classes that became the same one differ.
_PALE, _KEPT = 0.72, 0.3


def codes(before: npt.NDArray[Any], after: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
    """Codes of pairs of class values 0 to 254; 65535 where either is 255."""
    code = before.astype(np.uint16) * np.uint16(_BASE) + after.astype(np.uint16)
    return np.where((before == NODATA) | (after == NODATA), np.uint16(CODE_NODATA), code)


def classes_of(code: Any) -> tuple[Any, Any]:
    """The class before and the class after; 255 of nodata."""
    return code // _BASE, code % _BASE


def transition_attributes(classes: Sequence[LandClass]) -> dict[str, Any]:
    """CF attributes of a layer of transitions: flag values, meanings and colours, and the classes.

    What stayed has the colour of its class, but pale; what changed has that of the class that it
    became, with a part of the one that it was.
    """
    pairs = [(old, new) for old in classes for new in classes]
    if len(pairs) > _MOST:
        return {CLASSES: classes_as_text(classes)}
    names = [_name(old, new) for old, new in pairs]
    return {
        "flag_values": [_BASE * old.value + new.value for old, new in pairs],
        "flag_meanings": " ".join(name.replace(" ", "_") for name in names),
        "flag_colors": " ".join(_color(old, new) for old, new in pairs),
        "class_names": names_as_text(names),
        CLASSES: classes_as_text(classes),
    }


def classes_as_text(classes: Sequence[LandClass]) -> str:
    """The classes that pairs are of, as one text."""
    return json.dumps([[c.value, c.name, c.color] for c in classes], ensure_ascii=False)


def paired_classes(attributes: Mapping[str, Any]) -> tuple[LandClass, ...]:
    """The classes that pairs of a layer of transitions are of."""
    return tuple(LandClass(*fields) for fields in json.loads(attributes[CLASSES]))


def _name(old: LandClass, new: LandClass) -> str:
    return f"{old.name} unchanged" if old == new else f"{old.name} to {new.name}"


def _color(old: LandClass, new: LandClass) -> str:
    if old == new:
        mixed = (1 - _PALE) * _rgb(old) + _PALE * _WHITE
    else:
        mixed = (1 - _KEPT) * _rgb(new) + _KEPT * _rgb(old)
    return "#" + "".join(f"{round(part):02x}" for part in mixed)


def _rgb(land_class: LandClass) -> npt.NDArray[np.float64]:
    return np.array([int(land_class.color[k : k + 2], 16) for k in (1, 3, 5)], np.float64)
