"""Two interpreters of the same units: how far they agree, and what their disagreement costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsscale.legend.classes import LandClass
from rsscale.survey_estimators.estimates import Estimate
from rsscale.survey_estimators.estimator import Estimator
from rsscale.survey_estimators.intervals import (
    CONFIDENCE,
    normal_interval,
    quantile,
    wilson_interval,
)
from rsscale.survey_estimators.units import Ints


@dataclass(frozen=True)
class TwoFigures:
    """An area as each interpreter has it, and as both do.

    Attributes
    ----------
    land_class : LandClass
    first, second, both : Estimate
        By the units that both interpreted. ``both`` is their mean; its standard error holds what
        the interpreters differ by.
    """

    land_class: LandClass
    first: Estimate
    second: Estimate
    both: Estimate


@dataclass(frozen=True, eq=False)
class Interpreters:
    """Agreement of two interpreters.

    Attributes
    ----------
    units : int
        That both interpreted.
    agreement, kappa : Estimate
        Share of the units that they agree on, each counted alike; Cohen's (1960) kappa with the
        standard error of Fleiss, Cohen and Everitt (1969).
    classes : tuple of TwoFigures
    overall : tuple of Estimate
        Of the map, under the first and under the second.
    """

    units: int
    agreement: Estimate
    kappa: Estimate
    classes: tuple[TwoFigures, ...]
    overall: tuple[Estimate, Estimate]

    def to_dict(self) -> dict[str, Any]:
        """As ``areas.json`` has it."""
        return {
            "units": self.units,
            "agreement": self.agreement.to_dict(),
            "kappa": self.kappa.to_dict(),
            "overall": {
                "first": self.overall[0].to_dict(),
                "second": self.overall[1].to_dict(),
            },
            "classes": [
                {
                    "value": class_figures.land_class.value,
                    "name": class_figures.land_class.name,
                    "hectares": {
                        "first": class_figures.first.to_dict(),
                        "second": class_figures.second.to_dict(),
                        "both": class_figures.both.to_dict(),
                    },
                }
                for class_figures in self.classes
            ],
        }


def compare_interpreters(
    estimator: Estimator,
    mapped: Ints,
    first: Ints,
    second: Ints,
    classes: Sequence[LandClass],
) -> Interpreters:
    """Agreement, and the figures under each and under both.

    The two are taken as a sample of interpreters: the variance of their mean is the mean of their
    sampling variances plus 3/2 of half the squared difference (multiple imputation with two
    imputations: Rubin 1987; McRoberts et al. 2018, ISPRS Journal 142).

    Parameters
    ----------
    estimator : Estimator
        Of the units that both interpreted.
    mapped, first, second : int64 arrays (n,)
        Positions of classes.
    classes : sequence of LandClass
    """
    agree = int((first == second).sum())
    count = len(first)
    z = quantile(confidence=estimator.confidence)
    low, high = wilson_interval(agree / count, count, z)
    share = agree / count
    figures = []
    for k, land_class in enumerate(classes):
        subject = f"class {land_class.name!r}"
        areas = estimator.area(first == k, subject), estimator.area(second == k, subject)
        figures.append(TwoFigures(land_class, *areas, _both(estimator, *areas)))
    return Interpreters(
        units=count,
        agreement=_agreement(share, count, low, high),
        kappa=cohens_kappa(first, second, len(classes), estimator.confidence),
        classes=tuple(figures),
        overall=(
            estimator.ratio(mapped == first, np.ones(count), "there", by_map=True),
            estimator.ratio(mapped == second, np.ones(count), "there", by_map=True),
        ),
    )


def _agreement(share: float, count: int, low: float, high: float) -> Estimate:
    se = math.sqrt(share * (1 - share) / count)
    if not se:
        why = "the standard error is not estimable, since all units agree, or none"
        return Estimate(share, None, low, high, why)
    return Estimate(share, se, low, high)


def cohens_kappa(
    first: Ints, second: Ints, classes: int, confidence: float = CONFIDENCE
) -> Estimate:
    """Agreement beyond chance of two interpreters, each unit counted alike.

    Parameters
    ----------
    first, second : int64 arrays (n,)
    classes : int
    confidence : float
        Of its interval.
    """
    cells = np.bincount(first * classes + second, minlength=classes**2).reshape(classes, classes)
    share = cells / len(first)
    row, column = share.sum(axis=1), share.sum(axis=0)
    agreed, chance = float(np.trace(share)), float(row @ column)
    if chance >= 1:
        return Estimate(None, why="both interpreters name one class only")
    kappa = (agreed - chance) / (1 - chance)
    # Fleiss, Cohen and Everitt 1969, eq. 13.
    diagonal = np.diag(share)
    on = (diagonal * (1 - (row + column) * (1 - kappa)) ** 2).sum()
    sums = (
        column[:, None] + row[None, :]
    ) ** 2  # of cell (i, j): column total of i, row total of j
    off = (1 - kappa) ** 2 * ((share * sums).sum() - (diagonal * np.diag(sums)).sum())
    rest = (kappa - chance * (1 - kappa)) ** 2
    se = math.sqrt(max(float(on + off - rest), 0.0) / len(first)) / (1 - chance)
    if se == 0:
        return Estimate(kappa, why="the interpreters agree on every unit")
    z = quantile(confidence=confidence)
    return Estimate(kappa, se, max(kappa - z * se, -1.0), min(kappa + z * se, 1.0))


def _both(estimator: Estimator, first: Estimate, second: Estimate) -> Estimate:
    if first.value is None or second.value is None:
        return Estimate(None, why=first.why or second.why)
    if first.se is None or second.se is None:
        return Estimate((first.value + second.value) / 2, why=first.why or second.why)
    value, within = (first.value + second.value) / 2, (first.se**2 + second.se**2) / 2
    between = (first.value - second.value) ** 2 / 2
    se = math.sqrt(within + 1.5 * between)
    # Two imputations tell little of what interpreters differ by (Rubin 1987, eq. 3.1.6).
    degrees = (1 + within / (1.5 * between)) ** 2 if between else math.inf
    z = quantile(min(degrees, estimator.units.degrees), estimator.confidence)
    return Estimate(value, se, *normal_interval(value, se, z, estimator.total))
