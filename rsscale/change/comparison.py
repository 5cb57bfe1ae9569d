"""Post-classification comparison of two maps in memory, and the layers that it gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.layers import NODATA, Layer
from rsscale.legend.classes import LandClass, class_attributes

CHANGE = (LandClass(0, "unchanged", "#e4e4e0"), LandClass(1, "changed", "#d7301f"))
"""Classes of the layer ``change``."""

_Arrays = Mapping[str, npt.NDArray[np.uint8]]


def change_layers(classes: tuple[LandClass, ...], *, doubt: bool) -> tuple[Layer, ...]:
    """The layers of a change map: ``change``, ``from``, ``to``, and with doubt its probability."""
    flags = class_attributes(classes)
    layers = (
        Layer(
            "change",
            overview="mode",
            attributes={"long_name": "change of class", **class_attributes(CHANGE)},
        ),
        Layer("from", overview="mode", attributes={"long_name": "class before", **flags}),
        Layer("to", overview="mode", attributes={"long_name": "class after", **flags}),
    )
    probability = Layer(
        "change_probability",
        overview="mean",
        attributes={"long_name": "probability of change", "units": "percent"},
    )
    return (*layers, probability) if doubt else layers


def compare(before: _Arrays, after: _Arrays, classes: int) -> dict[str, npt.NDArray[np.uint8]]:
    """Compare two maps of the same pixels.

    Parameters
    ----------
    before, after : mapping of layer to uint8 array
        ``classification`` ``(y, x)``, and if both have it ``probability`` ``(class, y, x)`` or else
        ``confidence`` ``(y, x)``, in percent; 255 is nodata.
    classes : int
        How many there are.

    Returns
    -------
    dict of layer to uint8 array (y, x)
        As :func:`rsscale.detect_change` describes them; 255 where either map is nodata.
    """
    old, new = before["classification"], after["classification"]
    unseen = (old == NODATA) | (new == NODATA)
    layers = {"change": (old != new).astype(np.uint8), "from": old.copy(), "to": new.copy()}
    same = _same_class(before, after, classes)
    if same is not None:
        percent = ((1 - same) * 100).clip(0, 100).round()
        layers["change_probability"] = percent.astype(np.uint8)
    for layer in layers.values():
        layer[unseen] = NODATA
    return layers


def _same_class(before: _Arrays, after: _Arrays, classes: int) -> npt.NDArray[np.float32] | None:
    """Probability that the class is the same in both, 0 to 1; None where nothing tells it."""
    if "probability" in before and "probability" in after:
        # Class by class: the order of a sum over an axis, and so its last bit, is NumPy's to
        # choose, by the shape of the block.
        total = np.zeros(before["classification"].shape, np.float32)
        for percent, other in zip(before["probability"], after["probability"], strict=True):
            total += _share(percent) * _share(other)
        return total
    if "confidence" not in before or "confidence" not in after:
        return None
    p, q = (_share(maps["confidence"]) for maps in (before, after))
    rest = max(classes - 1, 1)
    # Mapped alike: both right, or both the same other class out of the rest.
    alike = p * q + (1 - p) * (1 - q) / rest
    # Mapped as a and b: really a in both, really b in both, or one of the other classes.
    unlike = (p * (1 - q) + (1 - p) * q) / rest + (1 - p) * (1 - q) * max(rest - 1, 0) / rest**2
    return np.where(before["classification"] == after["classification"], alike, unlike)


def _share(percent: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    return percent.astype(np.float32) / np.float32(100)
