"""Areas of change between two dates: what became what, as a sample tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsscale.legend.classes import LandClass
from rsscale.survey_estimators.estimates import Estimate
from rsscale.survey_estimators.estimator import Estimator
from rsscale.survey_estimators.units import Floats, Ints


@dataclass(frozen=True)
class Transition:
    """Ground that was of one class and became another, or stayed.

    Attributes
    ----------
    before, after : LandClass
    hectares : Estimate
    units : int
        Of the sample.
    """

    before: LandClass
    after: LandClass
    hectares: Estimate
    units: int


@dataclass(frozen=True, eq=False)
class ChangeFigures:
    """What is estimated of the change between two dates.

    Attributes
    ----------
    transitions : tuple of Transition
        Those that a unit of the sample tells of.
    changed : Estimate
        Ground whose class is another.
    net : tuple of (LandClass, Estimate)
        Gain minus loss of each class.
    matrix : float64 array (K, K)
        Hectares: rows before, columns after (the area-adjusted transition matrix).
    mapped_hectares : float, optional
        What the map says has changed.
    users, producers : Estimate, optional
        Of the mapped change, where the map has it.
    estimator : str
    """

    transitions: tuple[Transition, ...]
    changed: Estimate
    net: tuple[tuple[LandClass, Estimate], ...]
    matrix: Floats
    mapped_hectares: float | None
    users: Estimate | None
    producers: Estimate | None
    estimator: str

    def to_dict(self) -> dict[str, Any]:
        """As ``areas.json`` has it."""
        accuracy = {
            name: estimate.to_dict()
            for name, estimate in (("users", self.users), ("producers", self.producers))
            if estimate is not None
        }
        return {
            "transitions": [
                {
                    "from": transition.before.name,
                    "to": transition.after.name,
                    "from_value": transition.before.value,
                    "to_value": transition.after.value,
                    "hectares": transition.hectares.to_dict(),
                    "units": transition.units,
                }
                for transition in self.transitions
            ],
            "changed": {
                "hectares": self.changed.to_dict(),
                "mapped_hectares": self.mapped_hectares,
                **accuracy,
            },
            "net": [
                {"value": land_class.value, "name": land_class.name, "hectares": hectares.to_dict()}
                for land_class, hectares in self.net
            ],
            "matrix_hectares": np.round(self.matrix, 4).tolist(),
            "estimator": self.estimator,
        }


def change_figures(
    estimator: Estimator,
    before: Ints,
    after: Ints,
    classes: Sequence[LandClass],
    *,
    mapped_change: Ints | None = None,
    mapped_hectares: float | None = None,
    by_difference: bool = False,
    name: str = "",
) -> ChangeFigures:
    """Estimate the area of each transition, of change, and its net.

    Parameters
    ----------
    estimator : Estimator
    before, after : int64 arrays (n,)
        Position of each unit's class in the reference of two dates.
    classes : sequence of LandClass
        K classes.
    mapped_change : int64 array (n,), optional
        1 where the map says that it changed, 0 where not, 2 where it says nothing.
    mapped_hectares : float, optional
        Of the mapped change.
    by_difference : bool
        Estimate the changed area by the difference from it.
    name : str
        How the areas are estimated.
    """
    count = len(classes)
    cells = before * count + after
    sums = np.bincount(cells, estimator.units.weight, count * count).astype(np.float64)
    transitions = []
    for cell in np.unique(cells):
        first, last = classes[cell // count], classes[cell % count]
        is_it = cells == cell
        area = estimator.area(is_it, f"{first.name!r} that became {last.name!r}")
        transitions.append(Transition(first, last, area, int(is_it.sum())))
    changed = before != after
    users = producers = None
    if mapped_change is not None:
        said = mapped_change == 1
        users = estimator.ratio(
            said & changed, said, "mapped as changed", by_map=True, mapped=mapped_hectares
        )
        producers = estimator.ratio(said & changed, changed, "changed in the reference")
    return ChangeFigures(
        transitions=tuple(transitions),
        changed=_changed(estimator, changed, mapped_change, mapped_hectares)
        if by_difference
        else estimator.area(changed, "changed"),
        net=tuple(
            (land_class, estimator.net((after == k).astype(float) - (before == k)))
            for k, land_class in enumerate(classes)
        ),
        matrix=sums.reshape(count, count),
        mapped_hectares=mapped_hectares,
        users=users,
        producers=producers,
        estimator=name,
    )


def _changed(
    estimator: Estimator, changed: Any, mapped: Ints | None, hectares: float | None
) -> Estimate:
    if mapped is None or hectares is None:
        return estimator.area(changed, "changed")
    return estimator.difference(changed, mapped == 1, hectares, "changed")
