"""Classes of an estimator by their values or names, in the order of its probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rsscale.errors import ModelError
from rsscale.legend.classes import LandClass
from rsscale.legend.values import listed


def ordered_classes(labels: Any, classes: Sequence[LandClass], name: str) -> tuple[LandClass, ...]:
    """The classes in the order of an estimator's own labels.

    Parameters
    ----------
    labels : sequence
        ``classes_`` of the estimator: values of classes, or their names.
    classes : sequence of LandClass
        In any order.
    name : str
        Of the model, in messages.

    Raises
    ------
    ModelError
        When they are not the same classes.
    """
    known = list(np.asarray(labels).tolist())
    by_label: dict[Any, LandClass] = {c.value: c for c in classes} | {c.name: c for c in classes}
    if len(known) != len(classes) or any(_plain(label) not in by_label for label in known):
        raise ModelError(
            f"model {name!r} was fitted to the classes {known}, and its contract has "
            f"{listed(classes)}; give one LandClass for each, with the value or the name that it "
            "was fitted to"
        )
    return tuple(by_label[_plain(label)] for label in known)


def _plain(label: Any) -> Any:
    """A label as a value or a name: tools hold whole numbers as floats, too."""
    return int(label) if isinstance(label, float) and label.is_integer() else label
