"""Totals and ratios from a sample, directly or assisted by what the map says of every pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from rsscale.survey_estimators.estimates import Estimate
from rsscale.survey_estimators.intervals import (
    CONFIDENCE,
    effective_number,
    normal_interval,
    quantile,
    skewed_interval,
    wilson_interval,
)
from rsscale.survey_estimators.units import Floats, Ints, Units
from rsscale.survey_estimators.variance import largest_unit, unit_influence, variance_of_total

_TINY = 1e-12
_ROUNDING = 1e-3  # by which sums of pixels and of a stratum's mean weights may differ

Intervals = Literal["adjusted", "normal"]
INTERVALS: tuple[str, ...] = get_args(Intervals)


@dataclass(frozen=True, eq=False)
class Estimator:
    """Estimates totals and ratios over a population, or over a domain of it.

    Attributes
    ----------
    units : Units
        The sample, with weights in hectares.
    group : int64 array (n,), optional
        Of the post-stratum of each unit: the model-assisted estimator with the map's classes as
        its model (GREG; Särndal et al. 1992, section 7.6; Stehman 2013). Weights are then
        calibrated to the map's hectares.
    total : float
        Hectares of the population.
    confidence : float
    intervals : str
        Of areas: ``"adjusted"``, by the third moment, and Student's t between clusters, for few
        units decide them; ``"normal"``, 1.96 standard errors as in the papers, which cover too
        seldom there (docs/areas.md).
    """

    units: Units
    total: float
    group: Ints | None = None
    confidence: float = CONFIDENCE
    intervals: Intervals = "adjusted"

    @classmethod
    def direct(
        cls, units: Units, confidence: float = CONFIDENCE, intervals: Intervals = "adjusted"
    ) -> Estimator:
        """The estimator that knows nothing but the sample and its strata."""
        return cls(units, units.design.hectares, None, confidence, intervals)

    def assisted(self, group: Ints, hectares: Floats) -> Estimator:
        """The same with weights that give the map's hectares of each group exactly.

        Parameters
        ----------
        group : int64 array (n,)
            Mapped class of each unit, from 0.
        hectares : float64 array (G,)
            What the map has of each; every group has a unit.
        """
        sums = np.bincount(group, self.units.weight, len(hectares))
        weight = self.units.weight * (hectares / sums)[group]
        return replace(
            self, units=replace(self.units, weight=weight), group=group, total=float(hectares.sum())
        )

    @property
    def z(self) -> float:
        """Half the width of an interval in standard errors, where many units decide."""
        return quantile(self.units.degrees, self.confidence)

    def sum(self, y: npt.NDArray[Any]) -> float:
        """The estimate of a total alone, without its error."""
        return float((self.units.weight * y).sum())

    def standard_error(self, influence: Floats) -> tuple[float, float]:
        """Of ``sum(weight * influence)``, and half the width of an interval over it.

        Both are NaN where the sample does not tell them.
        """
        if self.group is not None:
            influence = self._of_groups(self.group, influence)
        variance = variance_of_total(self.units, influence)
        if math.isnan(variance.value):
            return math.nan, math.nan
        degrees = self.units.degrees
        if self.intervals == "adjusted" and self.units.is_clustered:
            degrees = min(degrees, variance.degrees)
        return math.sqrt(variance.value), quantile(degrees, self.confidence)

    def area(self, y: npt.NDArray[Any], category: str) -> Estimate:
        """Hectares of what a variable marks.

        Parameters
        ----------
        y : bool or float array (n,)
            Share of each unit's ground that it is.
        category : str
            For the reason, where it is not estimable: ``"class 'forest'"``.

        Returns
        -------
        Estimate
            With the interval ``value ± t se``, within 0 and the population.
        """
        values = np.asarray(y, float)
        if not values.any():
            return Estimate(None, why=f"no unit of the sample is {category} in the reference")
        value = self.sum(values)
        if self.is_census:
            return _exact(value)
        se, z = self.standard_error(values)
        if math.isnan(se):
            return Estimate(value, why=_TOO_FEW)
        known = se > _TINY * self.total
        if self._has_events(known):
            low, high = self._skewed((value, se, z), values, (0.0, 1.0), self.total)
        elif known:
            low, high = normal_interval(value, se, z, self.total)
        else:
            low, high = self._agreeing(values)
        exact = self.units.left == 0  # what whole strata hold, and what they do not, is known
        low = max(low, self.sum(values * exact))
        high = min(high, self.total - self.sum((1 - values) * exact))
        return Estimate(value, se, low, high) if known else _without_se(value, low, high, category)

    def difference(
        self, y: npt.NDArray[Any], mapped: npt.NDArray[Any], hectares: float, category: str
    ) -> Estimate:
        """Hectares of what a variable marks: those that are mapped, and the map's error.

        The difference estimator (Särndal et al. 1992, section 6.3; McRoberts 2011): the sample
        estimates omission less commission alone, and no group needs units of its own.

        Parameters
        ----------
        y, mapped : bool arrays (n,)
            Of the units: in the reference, and in the map.
        hectares : float
            Mapped, in the whole population.
        category : str
        """
        if not np.any(y):
            return Estimate(None, why=f"no unit of the sample is {category} in the reference")
        errors = np.asarray(y, float) - np.asarray(mapped, float)
        value = min(max(hectares + self.sum(errors), 0.0), self.total)
        if self.is_census:
            return _exact(value)
        se, z = self.standard_error(errors)
        if math.isnan(se):
            return Estimate(value, why=_TOO_FEW)
        known = se > _TINY * self.total
        if self._has_events(known):
            low, high = self._skewed((value, se, z), errors, (-1.0, 1.0), self.total)
        elif known:
            low, high = normal_interval(value, se, z, self.total)
        else:
            clusters = self._independent(np.ones(len(errors), bool))
            half = self.total * wilson_interval(0.0, clusters, self.z)[1]
            low, high = normal_interval(value, half, 1.0, self.total)
        return Estimate(value, se, low, high) if known else _without_se(value, low, high, category)

    def net(self, y: npt.NDArray[Any]) -> Estimate:
        """Hectares of what may be more or less than none: gain of a class minus its loss."""
        values = np.asarray(y, float)
        if not values.any():
            return Estimate(None, why="no unit of the sample gained or lost it")
        value = self.sum(values)
        if self.is_census:
            return _exact(value)
        se, z = self.standard_error(values)
        if math.isnan(se):
            return Estimate(value, why=_TOO_FEW)
        if se <= _TINY * self.total:
            return Estimate(value, why=_AGREE)
        return Estimate(value, se, value - z * se, value + z * se)

    @property
    def is_census(self) -> bool:
        """Whether the sample has all units of the population, so that it has no sampling error."""
        return not self.units.is_clustered and not self.units.unsampled.any()

    def _has_events(self, known: bool) -> bool:
        """Whether an interval is by the third moment; clusters that agree have no event to tell."""
        return self.intervals == "adjusted" and (known or not self.units.is_clustered)

    @property
    def _known_groups(self) -> Ints:
        """Of each unit, the stratum or the post-stratum whose mean the estimator takes off."""
        return self.units.stratum if self.group is None else self.group

    def _of_groups(self, group: Ints, influence: Floats) -> Floats:
        """Deviations from the means of post-strata, each with a degree of freedom less."""
        weight, counts = self.units.weight, np.bincount(group)
        means = np.bincount(group, weight * influence) / np.bincount(group, weight)
        deviations: Floats = influence - means[group]
        if self.units.cluster is not None:
            return deviations
        whole = (1 - 1 / np.maximum(self.units.counts, 2))[self.units.stratum]
        return deviations * np.sqrt(whole / (1 - 1 / np.maximum(counts, 2))[group])

    def _skewed(
        self,
        center: tuple[float, float, float],
        influence: Floats,
        ends: tuple[float, float],
        most: float,
        inside: npt.NDArray[np.bool_] | None = None,
    ) -> tuple[float, float]:
        """Interval by the third moment, of a value, its standard error and Student's t.

        ``ends`` are the least and the most that an influence value may be.
        """
        one = unit_influence(self.units, self._known_groups, influence, ends, inside)
        z = quantile(confidence=self.confidence)
        value, se, t = center  # few clusters, or random starts, know the error less well
        return skewed_interval(value, se * t / z, one, z, most)

    def _independent(self, used: npt.NDArray[np.bool_]) -> int:
        """Some units; the clusters that they are of, where these were drawn."""
        return int(self.units.independent(used.astype(np.int64), 2)[1])

    def _agreeing(self, values: Floats) -> tuple[float, float]:
        """An interval where each stratum is of one value: Wilson's ends in each, added up."""
        group = self._known_groups
        sizes = np.bincount(group, self.units.weight)
        shares = np.bincount(group, self.units.weight * values) / sizes
        counts = self.units.independent(group, len(sizes))
        certain = np.bincount(group, self.units.left) == 0
        ends = [
            (float(p), float(p))
            if exact
            else wilson_interval(min(max(float(p), 0.0), 1.0), int(n), self.z)
            for p, n, exact in zip(shares, counts, certain, strict=True)
        ]
        value = float((sizes * shares).sum())
        parts = np.array(ends)  # (G, 2)
        down = math.sqrt(float(((sizes * (shares - parts[:, 0])) ** 2).sum()))
        up = math.sqrt(float(((sizes * (parts[:, 1] - shares)) ** 2).sum()))
        return max(value - down, 0.0), min(value + up, self.total)

    def ratio(
        self,
        y: npt.NDArray[Any],
        x: npt.NDArray[Any],
        category: str,
        *,
        by_map: bool = False,
        mapped: float | None = None,
    ) -> Estimate:
        """Ratio of two totals, such as an accuracy: what is right of what there is.

        Its standard error is by linearisation (Stehman 2014, eq. 28; Cochran 1977, chapter 6),
        its interval Wilson's with the number of independent units that would have that error; an
        event that no unit of a stratum shows is part of it (:func:`effective_number`).

        Parameters
        ----------
        y, x : bool or float arrays (n,)
            The part and the whole; the ratio lies within 0 and 1.
        category : str
            Of what the whole is, for the reason: ``"mapped as 'forest'"``.
        by_map : bool
            The map tells the whole. Else it may also lie in strata where no unit shows it: what
            the map has left out of a class.
        mapped : float, optional
            Hectares of the whole by the map. Where strata of which the sample has all units hold
            less, the rest lies where no unit shows it: nothing is known then.
        """
        part, whole = np.asarray(y, float), np.asarray(x, float)
        divisor = self.sum(whole)
        if not whole.any() or divisor <= 0:
            return Estimate(None, why=f"no unit of the sample is {category}")
        value = self.sum(part) / divisor
        if self.is_census:
            return _exact(value)
        if by_map and self.units.has_whole_strata(whole != 0):
            if mapped is None or mapped <= divisor * (1 + _ROUNDING):
                return _exact(value)
            by_map = False
        se, z = self.standard_error((part - value * whole) / divisor)
        if math.isnan(se):
            return Estimate(value, why=_TOO_FEW)
        if not -_TINY < value < 1 + _TINY:
            return Estimate(value, se, *normal_interval(value, se, self.z, 1.0))
        if by_map:  # all clusters tell of it; what the map omits, the few that have it
            z = self.z
        number = float(self._independent(whole != 0))
        if not self.units.is_clustered or se > _TINY:
            where = (whole != 0) if by_map else np.ones(len(whole), bool)
            unit = largest_unit(self.units, self._known_groups, where) / divisor
            number = effective_number(_share(value), se**2, unit, z)
        low, high = wilson_interval(_share(value), number, z)
        return (
            Estimate(value, se, low, high)
            if se > _TINY
            else _without_se(value, low, high, category)
        )

    def ratio_area(
        self, y: npt.NDArray[Any], domain: npt.NDArray[Any], hectares: float, category: str
    ) -> Estimate:
        """Hectares of what a variable marks in a domain whose size is known.

        The share of the domain is a ratio of two totals, which is far more precise than the
        total, since the number of units that fall into the domain is chance (Särndal et al.
        1992, section 5.8).

        Parameters
        ----------
        y : array (n,)
        domain : bool array (n,)
        hectares : float
            Of the domain.
        category : str
        """
        inside = np.asarray(domain, bool)
        if not inside.any():
            return Estimate(None, why="no unit of the sample lies there")
        values = np.asarray(y, float) * inside
        if not values.any():
            return Estimate(None, why=f"no unit of the sample there is {category} in the reference")
        size = self.sum(inside)
        share = self.sum(values) / size
        if self.is_census:
            return _exact(share * hectares)
        influence = (values - share * inside) / size
        se, z = self.standard_error(influence)
        if math.isnan(se):
            return Estimate(share * hectares, why=_TOO_FEW)
        known = se > _TINY
        if self._has_events(known):
            ends = (-share / size, (1 - share) / size)
            low, high = self._skewed((share, se, z), influence, ends, 1.0, inside)
        elif known:
            low, high = normal_interval(share, se, z, 1.0)
        else:
            low, high = wilson_interval(_share(share), self._independent(inside), self.z)
        value, low, high = share * hectares, low * hectares, high * hectares
        if not known:
            return _without_se(value, low, high, category)
        return Estimate(value, se * hectares, low, high)


_TOO_FEW = (
    "the standard error is not estimable: a stratum has one interpreted unit only, or there are "
    "fewer than two clusters"
)


_AGREE = "the standard error is not estimable, since all units of each stratum agree"


def _exact(value: float) -> Estimate:
    """What all units of the population say."""
    return Estimate(value, 0.0, value, value)


def _share(value: float) -> float:
    """A share that rounding has put a little beyond 0 or 1."""
    return min(max(value, 0.0), 1.0)


def _without_se(value: float, low: float, high: float, subject: str) -> Estimate:
    """Where each stratum is of one value: there is an interval, and no standard error."""
    why = (
        f"the standard error is not estimable, since of the units that are {subject} all are right "
        "or none is, or so in each stratum; the interval is by their number"
    )
    return Estimate(value, None, low, high, why)
