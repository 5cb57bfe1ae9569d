"""Totals and ratios from a sample, directly or assisted by what the map says of every pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from rsscale.estimation.intervals import CONFIDENCE, normal_interval, quantile, wilson_interval
from rsscale.estimation.units import Floats, Ints, Units
from rsscale.estimation.variance import variance_of_total

_TINY = 1e-12

Intervals = Literal["student", "normal"]
INTERVALS: tuple[str, ...] = get_args(Intervals)


@dataclass(frozen=True)
class Estimate:
    """An estimate, its standard error and its interval; what is not estimable is None.

    Attributes
    ----------
    value, se, low, high : float, optional
    why : str
        Where one of them is None, the reason.
    """

    value: float | None
    se: float | None = None
    low: float | None = None
    high: float | None = None
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As ``areas.json`` holds it: figures, or ``value`` None and ``why``."""
        if self.value is None:
            return {"value": None, "why": self.why}
        found: dict[str, Any] = {
            name: None if (value := getattr(self, name)) is None else round(value, 8)
            for name in ("value", "se", "low", "high")
        }
        return found | ({"why": self.why} if self.why else {})


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
        Of areas: ``"student"``, with the degrees of freedom that the sample has for the very
        variance; ``"normal"``, 1.96 standard errors as in the papers, which cover too seldom where
        few units decide (docs/areas.md).
    """

    units: Units
    total: float
    group: Ints | None = None
    confidence: float = CONFIDENCE
    intervals: Intervals = "student"

    @classmethod
    def direct(
        cls, units: Units, confidence: float = CONFIDENCE, intervals: Intervals = "student"
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
            weight = self.units.weight
            sums = np.bincount(self.group, weight * influence)
            influence = influence - (sums / np.bincount(self.group, weight))[self.group]
        found = variance_of_total(self.units, influence)
        if math.isnan(found.value):
            return math.nan, math.nan
        degrees = self.units.degrees
        if self.intervals == "student":
            degrees = min(degrees, found.degrees)
        return math.sqrt(found.value), quantile(degrees, self.confidence)

    def area(self, y: npt.NDArray[Any], what: str) -> Estimate:
        """Hectares of what a variable marks.

        Parameters
        ----------
        y : bool or float array (n,)
            Share of each unit's ground that it is.
        what : str
            For the reason, where it is not estimable: ``"class 'forest'"``.

        Returns
        -------
        Estimate
            With the interval ``value ± t se``, within 0 and the population.
        """
        values = np.asarray(y, float)
        if not values.any():
            return Estimate(None, why=f"no unit of the sample is {what} in the reference")
        value = self.sum(values)
        se, z = self.standard_error(values)
        if math.isnan(se):
            return Estimate(value, why=_TOO_FEW)
        if se <= _TINY * self.total:
            low, high = self._agreeing(values)
            return Estimate(value, None, low, high, _no_spread(what))
        low, high = normal_interval(value, se, z, self.total)
        return Estimate(value, se, low, high)

    def difference(
        self, y: npt.NDArray[Any], mapped: npt.NDArray[Any], hectares: float, what: str
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
        what : str
        """
        if not np.any(y):
            return Estimate(None, why=f"no unit of the sample is {what} in the reference")
        errors = np.asarray(y, float) - np.asarray(mapped, float)
        value = hectares + self.sum(errors)
        se, z = self.standard_error(errors)
        if math.isnan(se):
            return Estimate(value, why=_TOO_FEW)
        if se <= _TINY * self.total:
            half = (
                self.total
                * wilson_interval(0.0, self._independent(np.ones(len(errors), bool)), self.z)[1]
            )
            low, high = normal_interval(value, half, 1.0, self.total)
            return Estimate(self._within(value), None, low, high, _no_spread(what))
        return Estimate(self._within(value), se, *normal_interval(value, se, z, self.total))

    def net(self, y: npt.NDArray[Any]) -> Estimate:
        """Hectares of what may be more or less than none: gain of a class minus its loss."""
        values = np.asarray(y, float)
        value = self.sum(values)
        se, z = self.standard_error(values)
        if math.isnan(se):
            return Estimate(value, why=_TOO_FEW)
        if not values.any() or se <= _TINY * self.total:
            return Estimate(None, why="no unit of the sample gained or lost it")
        return Estimate(value, se, value - z * se, value + z * se)

    def _within(self, value: float) -> float:
        """An area between none and all, which an estimate by difference may leave."""
        return min(max(value, 0.0), self.total)

    def _independent(self, used: npt.NDArray[np.bool_]) -> int:
        """Some units; the clusters that they are of, where these were drawn."""
        return int(self.units.independent(used.astype(np.int64), 2)[1])

    def _agreeing(self, values: Floats) -> tuple[float, float]:
        """An interval where each stratum is of one value: Wilson's ends in each, added up."""
        group = self.units.stratum if self.group is None else self.group
        sizes = np.bincount(group, self.units.weight)
        shares = np.bincount(group, self.units.weight * values) / sizes
        counts = self.units.independent(group, len(sizes))
        ends = [
            wilson_interval(min(max(float(p), 0.0), 1.0), int(n), self.z)
            for p, n in zip(shares, counts, strict=True)
        ]
        value = float((sizes * shares).sum())
        parts = np.array(ends)  # (G, 2)
        down = math.sqrt(float(((sizes * (shares - parts[:, 0])) ** 2).sum()))
        up = math.sqrt(float(((sizes * (parts[:, 1] - shares)) ** 2).sum()))
        return max(value - down, 0.0), min(value + up, self.total)

    def ratio(self, y: npt.NDArray[Any], x: npt.NDArray[Any], what: str) -> Estimate:
        """Ratio of two totals, such as an accuracy: what is right of what there is.

        Its standard error is by linearisation (Stehman 2014, eq. 28; Cochran 1977, chapter 6),
        its interval Wilson's with the number of independent units that would have that error.

        Parameters
        ----------
        y, x : bool or float arrays (n,)
            The part and the whole; the ratio lies within 0 and 1.
        what : str
            Of what the whole is, for the reason: ``"mapped as 'forest'"``.
        """
        part, whole = np.asarray(y, float), np.asarray(x, float)
        divisor = self.sum(whole)
        if not whole.any() or divisor <= 0:
            return Estimate(None, why=f"no unit of the sample is {what}")
        value = self.sum(part) / divisor
        se, _ = self.standard_error((part - value * whole) / divisor)
        if math.isnan(se):
            return Estimate(value, why=_TOO_FEW)
        if se <= _TINY:
            low, high = wilson_interval(_share(value), self._independent(whole != 0), self.z)
            return Estimate(value, None, low, high, _no_spread(what))
        if not 0 < value < 1:
            return Estimate(value, se, *normal_interval(value, se, self.z, 1.0))
        low, high = wilson_interval(value, value * (1 - value) / se**2, self.z)
        return Estimate(value, se, low, high)

    def ratio_area(
        self, y: npt.NDArray[Any], domain: npt.NDArray[Any], hectares: float, what: str
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
        what : str
        """
        inside = np.asarray(domain, bool)
        if not inside.any():
            return Estimate(None, why="no unit of the sample lies there")
        values = np.asarray(y, float) * inside
        if not values.any():
            return Estimate(None, why=f"no unit of the sample there is {what} in the reference")
        size = self.sum(inside)
        share = self.sum(values) / size
        se, z = self.standard_error((values - share * inside) / size)
        if math.isnan(se):
            return Estimate(share * hectares, why=_TOO_FEW)
        if se <= _TINY:
            low, high = wilson_interval(_share(share), self._independent(inside), self.z)
            return Estimate(
                share * hectares, None, low * hectares, high * hectares, _no_spread(what)
            )
        low, high = normal_interval(share, se, z, 1.0)
        return Estimate(share * hectares, se * hectares, low * hectares, high * hectares)


_TOO_FEW = (
    "the standard error is not estimable: a stratum has one interpreted unit only, or there are "
    "fewer than two clusters"
)


def _share(value: float) -> float:
    """A share that rounding has put a little beyond 0 or 1."""
    return min(max(value, 0.0), 1.0)


def _no_spread(what: str) -> str:
    return (
        f"the standard error is not estimable, since all units that tell of {what} agree, or all "
        "of each stratum; the interval is Wilson's for their number"
    )
