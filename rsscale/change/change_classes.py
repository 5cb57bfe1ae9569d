"""Classes of a network of change: which of them are change, and from which class to which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rsscale.change.comparison import CHANGE, change_layers
from rsscale.errors import ModelError, nearest
from rsscale.layers import NODATA, Layer
from rsscale.legend.classes import LandClass
from rsscale.legend.palette import palette

UNCHANGED = "unchanged"
"""Name of the class of what did not change."""
_BETWEEN = " to "


@dataclass(frozen=True)
class ChangeClasses:
    """What the classes of a model say of change.

    A class called ``unchanged`` is none; one called ``forest to built-up`` says from which class to
    which, and ``forest to forest`` that it stayed; any other is a change of a kind.

    Attributes
    ----------
    classes : tuple of LandClass
        Of the model, in the order of its numbers.
    is_change : tuple of bool
        Of each.
    pairs : tuple of (int, int)
        Class value before and after of each, 255 where it does not say; of :attr:`legend`.
    legend : tuple of LandClass
        Classes of the layers ``from`` and ``to``; empty where no class of the model names them.
    """

    classes: tuple[LandClass, ...]
    is_change: tuple[bool, ...]
    pairs: tuple[tuple[int, int], ...]
    legend: tuple[LandClass, ...] = ()

    @classmethod
    def of(
        cls,
        classes: Sequence[LandClass],
        unchanged: Sequence[str] = (),
        legend: Sequence[LandClass] = (),
    ) -> ChangeClasses:
        """Read them by name.

        Parameters
        ----------
        classes : sequence of LandClass
            Of the model.
        unchanged : sequence of str
            Names of those that are no change, beside ``unchanged`` and ``X to X``.
        legend : sequence of LandClass
            Values and colours of ``from`` and ``to``; numbered from 1 in the order of the model's
            classes when omitted.

        Raises
        ------
        ModelError
            When no class, or each, is a change; when a name is not known.
        """
        names = [land_class.name for land_class in classes]
        for name in unchanged:
            if name not in names:
                raise ModelError(
                    f"'unchanged' names {name!r}; the model has the classes {names}"
                    f"{nearest(name, names)}"
                )
        ends = [_ends(name) for name in names]
        still = [
            name == UNCHANGED or name in unchanged or (end is not None and end[0] == end[1])
            for name, end in zip(names, ends, strict=True)
        ]
        if all(still) or not any(still):
            raise ModelError(
                f"the model has the classes {names}, and {'none' if all(still) else 'each'} of "
                "them is a change; a class called 'unchanged', or 'forest to forest', is none, or "
                "name those that are none with 'unchanged' in the step"
            )
        known = list(dict.fromkeys(name for end in ends if end is not None for name in end))
        legend = tuple(legend) or _numbered(known)
        values = {land_class.name: land_class.value for land_class in legend}
        missing = [name for name in known if name not in values]
        if missing:
            raise ModelError(
                f"'classes' lacks {missing[0]!r}, which the model changes from or to; it has "
                f"{list(values)}{nearest(missing[0], list(values))}"
            )
        pairs = [
            (NODATA, NODATA) if end is None else (values[end[0]], values[end[1]]) for end in ends
        ]
        return cls(
            tuple(classes),
            tuple(not is_still for is_still in still),
            tuple(pairs),
            legend if known else (),
        )

    @property
    def layers(self) -> tuple[Layer, ...]:
        """``change`` and ``change_probability``; ``from`` and ``to`` where classes say them."""
        layers = change_layers(self.legend or CHANGE, doubt=True)
        return tuple(layer for layer in layers if self.legend or layer.name not in ("from", "to"))

    def values(
        self, probability: npt.NDArray[np.uint8], threshold: int
    ) -> dict[str, npt.NDArray[np.uint8]]:
        """Layers of change of the probabilities of all classes.

        Parameters
        ----------
        probability : uint8 array (class, y, x)
            Percent; 255 is nodata.
        threshold : int
            Percent from which a pixel is changed.

        Returns
        -------
        dict of layer to uint8 array (y, x)
            255 is nodata. ``from`` and ``to`` are those of the most probable class among the
            changes where the pixel is changed, and among the others elsewhere.
        """
        is_change = np.array(self.is_change)
        unseen = probability[0] == NODATA
        # Each percent is rounded: of the smaller group of classes the sum is nearer.
        fewer = is_change if 2 * is_change.sum() <= len(is_change) else ~is_change
        share = probability[fewer].sum(axis=0, dtype=np.int32).clip(0, 100)
        percent = share if fewer is is_change else 100 - share
        changed = percent >= threshold
        layers = {
            "change": changed.astype(np.uint8),
            "change_probability": percent.astype(np.uint8),
        }
        if self.legend:
            numbers = np.where(
                changed,
                _most_probable(probability, is_change),
                _most_probable(probability, ~is_change),
            )
            before, after = np.array(self.pairs, np.uint8).T
            layers |= {"from": before[numbers], "to": after[numbers]}
        for layer in layers.values():
            layer[unseen] = NODATA
        return layers


def _most_probable(
    probability: npt.NDArray[np.uint8], among: npt.NDArray[np.bool_]
) -> npt.NDArray[np.intp]:
    """Number of the most probable of some classes; the first of equals."""
    numbers = np.flatnonzero(among)
    best: npt.NDArray[np.intp] = numbers[probability[numbers].argmax(axis=0)]
    return best


def _ends(name: str) -> tuple[str, str] | None:
    """From which class to which, where a name says it."""
    before, between, after = name.partition(_BETWEEN)
    if not between or not before.strip() or not after.strip():
        return None
    return before.strip(), after.strip()


def _numbered(names: Sequence[str]) -> tuple[LandClass, ...]:
    colors = palette(len(names)) if names else ()
    return tuple(
        LandClass(number, name, color)
        for number, (name, color) in enumerate(zip(names, colors, strict=True), start=1)
    )
