"""Accuracies and areas of the classes of one map, as a sample tells them."""

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
class ClassFigures:
    """What is estimated of one class.

    Attributes
    ----------
    land_class : LandClass
    mapped_hectares : float, optional
        What the map has of it, by counting pixels: no estimate, and biased by the map's errors.
    hectares : Estimate
        What there is of it.
    users, producers, f1 : Estimate
        Of what is mapped as the class, the share that is it; of what is it, the share that is
        mapped; and their harmonic mean.
    units_mapped, units_reference : int
        Units of the sample.
    """

    land_class: LandClass
    mapped_hectares: float | None
    hectares: Estimate
    users: Estimate
    producers: Estimate
    f1: Estimate
    units_mapped: int
    units_reference: int

    def to_dict(self) -> dict[str, Any]:
        """As ``areas.json`` has it."""
        return {
            "value": self.land_class.value,
            "name": self.land_class.name,
            "color": self.land_class.color,
            "mapped_hectares": None
            if self.mapped_hectares is None
            else round(self.mapped_hectares, 4),
            "hectares": self.hectares.to_dict(),
            "users": self.users.to_dict(),
            "producers": self.producers.to_dict(),
            "f1": self.f1.to_dict(),
            "units_mapped": self.units_mapped,
            "units_reference": self.units_reference,
        }


@dataclass(frozen=True, eq=False)
class MapFigures:
    """What is estimated of one map.

    Attributes
    ----------
    overall : Estimate
        Share of the ground that is mapped right.
    classes : tuple of ClassFigures
        K classes.
    counts : int64 array (K + 1, K)
        Units: rows map, the last row where the map has no class; columns reference.
    proportions : float64 array (K + 1, K)
        The same in shares of the ground, which is what the accuracies are of.
    estimator : str
        Which one the areas are by.
    """

    overall: Estimate
    classes: tuple[ClassFigures, ...]
    counts: Ints
    proportions: Floats
    estimator: str

    def to_dict(self) -> dict[str, Any]:
        """As ``areas.json`` has it; units where the map has no class are a row of their own."""
        return {
            "overall": self.overall.to_dict(),
            "classes": [class_figures.to_dict() for class_figures in self.classes],
            "counts": self.counts[:-1].tolist(),
            "proportions": np.round(self.proportions[:-1], 8).tolist(),
            "unmapped_counts": self.counts[-1].tolist(),
            "unmapped_proportions": np.round(self.proportions[-1], 8).tolist(),
            "estimator": self.estimator,
        }


def map_figures(
    estimator: Estimator,
    mapped: Ints,
    reference: Ints,
    classes: Sequence[LandClass],
    *,
    mapped_hectares: Sequence[float] | None = None,
    by_difference: bool = False,
    domain: np.ndarray[Any, Any] | None = None,
    domain_hectares: float | None = None,
    name: str = "",
) -> MapFigures:
    """Estimate accuracies and areas of all classes.

    Parameters
    ----------
    estimator : Estimator
    mapped, reference : int64 arrays (n,)
        Position of each unit's class; K where the map has none.
    classes : sequence of LandClass
        K classes.
    mapped_hectares : sequence of float, optional
        What the map has of each class, in the domain.
    by_difference : bool
        Estimate areas by the difference from these; of the whole population only.
    domain : bool array (n,), optional
        Units of a part of the population, such as a region; all when omitted.
    domain_hectares : float, optional
        Its size, where it is known.
    name : str
        How the areas are estimated.
    """
    inside = np.ones(len(mapped), bool) if domain is None else domain
    count = len(classes)
    cells = np.where(inside, mapped * count + reference, -1)
    shape = (count + 1, count)
    counts = np.bincount(cells[inside], minlength=shape[0] * shape[1]).reshape(shape)
    sums = np.bincount(cells[inside], estimator.units.weight[inside], shape[0] * shape[1])
    whole = float(estimator.units.weight[inside].sum()) or 1.0
    figures = []
    for k, land_class in enumerate(classes):
        is_mapped, is_there = inside & (mapped == k), inside & (reference == k)
        subject = f"class {land_class.name!r}"
        if domain is None and by_difference and mapped_hectares is not None:
            area = estimator.difference(is_there, is_mapped, float(mapped_hectares[k]), subject)
        elif domain is None or domain_hectares is None:
            area = estimator.area(is_there, subject)
        else:
            area = estimator.ratio_area(is_there, inside, domain_hectares, subject)
        figures.append(
            ClassFigures(
                land_class=land_class,
                mapped_hectares=None if mapped_hectares is None else float(mapped_hectares[k]),
                hectares=area,
                users=estimator.ratio(
                    is_mapped & is_there,
                    is_mapped,
                    f"mapped as {land_class.name!r}",
                    by_map=True,
                    mapped=None if mapped_hectares is None else float(mapped_hectares[k]),
                ),
                producers=estimator.ratio(
                    is_mapped & is_there, is_there, f"{subject} in the reference"
                ),
                f1=estimator.ratio(
                    2.0 * (is_mapped & is_there),
                    is_mapped.astype(float) + is_there,
                    f"{subject} in the map or the reference",
                ),
                units_mapped=int(is_mapped.sum()),
                units_reference=int(is_there.sum()),
            )
        )
    return MapFigures(
        overall=estimator.ratio(inside & (mapped == reference), inside, "there", by_map=True),
        classes=tuple(figures),
        counts=counts,
        proportions=sums.reshape(shape) / whole,
        estimator=name,
    )
