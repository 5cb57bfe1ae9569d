"""Variance of a weighted sum over a sample, by its design, and what skews it.

Every estimate here is linear in the units, or is made so (Taylor linearisation; Särndal, Swensson
and Wretman 1992, "Model Assisted Survey Sampling", section 5.5): it has an influence value for each
unit, and its variance is that of the weighted sum of these.

A rare class is a handful of units, each of which stands for many hectares. Its estimate is then as
skewed as a count of a few events is, and a symmetric interval misses too often on one side. How
skewed depends on what one event is worth, in hectares.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.survey_estimators.units import Floats, Ints, Units

# Fewer are not told apart by a sample: with them intervals of simulated samples cover too often.
_LEAST_DEGREES = 8.0


@dataclass(frozen=True)
class Variance:
    """A variance, and how well the sample knows it.

    Attributes
    ----------
    value : float
        NaN where the sample does not tell it.
    degrees : float
        Degrees of freedom of Student's t that fit it (Satterthwaite 1946): twice its square over
        the variance of its estimate, by the spread of the squared deviations. Where a few units
        decide it, such as three omissions of a rare class in a large stratum, there are few.
    """

    value: float
    degrees: float


def variance_of_total(units: Units, influence: Floats) -> Variance:
    """Variance of ``sum(weight * influence)``.

    - Simple and stratified: squared deviations from the mean of the stratum, with the finite
      population correction where pixels are known (Cochran 1977, chapter 5; Stehman 2014, eq. 25;
      without it Olofsson et al. 2014, eq. 10).
    - Two-stage: totals of the primary units as the sample ("ultimate clusters"); where these were
      drawn without replacement and their number is known, the finite population correction, and
      the variance within them that it leaves (Särndal et al. 1992, result 4.3.1). Strata in them
      are post-strata: deviations are from their means.
    - Systematic with many random starts: between the totals of the starts, each of which is a
      sample by itself; that is unbiased (Gautschi 1957; Wolter 2007, section 8.3).
    - Systematic with few: squared differences to neighbouring units, in place of deviations from
      one mean, which would be far too large where values are alike nearby (Wolter 2007,
      "Introduction to Variance Estimation", section 8.2; Dunn and Harrison 1993); without places
      as simple.
    """
    means = _means(units.stratum, units.weight, influence)
    values = (influence - means[units.stratum]) * units.weight
    if units.cluster is not None:
        between = _between(units.cluster, values, units.design.clusters)
        return _with_inside(between, units, values) if units.is_clustered else between
    squares = values**2
    degrees = _degrees(squares, units.stratum)
    if units.neighbours is not None:
        return Variance(_of_neighbours(units, units.neighbours, values), degrees)
    by_stratum = np.bincount(units.stratum, squares, len(units.counts))
    return Variance(float((_correction(units) * by_stratum).sum()), degrees)


def _between(cluster: Ints, values: Floats, total: int | None) -> Variance:
    """Between the clusters of a sample, of which there may be a finite number."""
    totals = np.bincount(cluster, values)
    drawn = len(totals)
    if drawn < 2:
        return Variance(float("nan"), 1.0)
    squares = (totals - totals.mean()) ** 2
    value = (1 - _drawn_share(drawn, total)) * squares.sum() * drawn / (drawn - 1)
    return Variance(float(value), _degrees(squares, np.zeros(drawn, np.int64)))


def _with_inside(between: Variance, units: Units, values: Floats) -> Variance:
    """And within them, where they are part of a finite number and not all of their units drawn."""
    cluster: Any = units.cluster
    counts, totals = np.bincount(cluster), np.bincount(cluster, values)
    deviations = (values - (totals / counts)[cluster]) ** 2
    within = np.bincount(cluster, deviations) * counts / np.maximum(counts - 1, 1)
    share = _drawn_share(len(counts), units.design.clusters)
    return replace(between, value=between.value + share * float(within.sum()))


def _drawn_share(drawn: int, total: int | None) -> float:
    return min(drawn / total, 1.0) if total else 0.0


def _degrees(squares: Floats, group: Ints) -> float:
    means = np.bincount(group, squares) / np.maximum(np.bincount(group), 1)
    spread = float(((squares - means[group]) ** 2).sum())
    if spread == 0:
        return float("inf")
    return max(2 * float(squares.sum()) ** 2 / spread, _LEAST_DEGREES)


def _means(stratum: Ints, weight: Floats, influence: Floats) -> Floats:
    means: Floats = np.bincount(stratum, weight * influence) / np.bincount(stratum, weight)
    return means


def _correction(units: Units) -> Floats:
    """Bessel's and the finite population correction together; NaN for a single unit of several.

    A stratum of which all pixels are in the sample has no error, also where that is one pixel.
    """
    counts = units.counts.astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        bessel = np.where(counts > 1, counts / (counts - 1), np.nan)
    left = units.unsampled
    correction: Floats = np.where(left > 0, bessel * left, 0.0)
    return correction


def _of_neighbours(units: Units, neighbours: Ints, values: Floats) -> float:
    """Half the mean squared difference to neighbours, in place of the variance of the sample."""
    spread = ((values[:, None] - values[neighbours]) ** 2).mean() / 2
    left = max(1 - len(units) / float(units.design.pixels.sum()), 0.0)
    return float(len(units) * spread * left)


@dataclass(frozen=True)
class UnitInfluence:
    """What a unit, or a cluster, moves an estimate by, up and down, in the estimate's own unit.

    Each is the third moment over the second of the deviations on one side: the ratio that a Poisson
    count of events of that size has. Both sides have their own, so that omissions and commissions,
    which cancel out in the skewness of their sum, are not mistaken for the lack of any.

    Attributes
    ----------
    up, down : float
        With an event on either side that the sample might have had and did not.
    seen_up, seen_down : float
        Of what is in the sample alone; 0 where nothing is.
    """

    up: float
    down: float
    seen_up: float
    seen_down: float


def unit_influence(
    units: Units,
    group: Ints,
    influence: Floats,
    ends: tuple[float, float],
    inside: npt.NDArray[Any] | None = None,
) -> UnitInfluence:
    """Of the units of a sample; of its clusters, where these were drawn.

    What the units of a cluster have is one event, as large as their sum: errors of a map lie
    together. An event that was not seen is one unit also there.

    Parameters
    ----------
    units : Units
    group : int64 array (n,)
        Stratum or post-stratum of each, whose mean is known by the estimator.
    influence : float64 array (n,)
        Influence value of each unit; the estimate is the sum of weight times influence.
    ends : tuple of float
        The least and the most that a unit may have: an event that was not seen is one unit with it
        in place of the mean of its group.
    inside : bool array (n,), optional
        Units that may have it; all when omitted.
    """
    weight, (least, most) = units.weight, ends
    means = (np.bincount(group, weight * influence) / np.bincount(group, weight))[group]
    left = units.unsampled[units.stratum]
    deviations = (influence - means) * weight
    # What was not seen lies where units are left that the sample does not have.
    used = (left > 0) & (True if inside is None else np.asarray(inside, bool))
    upwards = np.where(used, np.maximum(most - means, 0) * weight, 0.0)
    downwards = np.where(used, np.maximum(means - least, 0) * weight, 0.0)
    count = max(int(used.sum()), 1)
    if units.cluster is not None and units.is_clustered:
        sizes = np.bincount(units.cluster)
        deviations, count = _sums(units.cluster, deviations), len(sizes)
        upwards = _sums(units.cluster, upwards) / sizes
        downwards = _sums(units.cluster, downwards) / sizes
        left = np.ones(count)  # the same for all, so that it cancels out
    above, below = np.maximum(deviations, 0), np.maximum(-deviations, 0)
    return UnitInfluence(
        up=_size(left, above, upwards, count),
        down=_size(left, below, downwards, count),
        seen_up=_size(left, above),
        seen_down=_size(left, below),
    )


def largest_unit(units: Units, group: Ints, inside: npt.NDArray[Any]) -> float:
    """Hectares that a unit stands for, of the group where that is most.

    Parameters
    ----------
    units : Units
    group : int64 array (n,)
    inside : bool array (n,)
        Only groups with such a unit.
    """
    sums = np.bincount(group, units.weight)
    counts = np.maximum(np.bincount(group), 1)
    there = np.bincount(group, np.asarray(inside, float)) > 0
    open_ = np.bincount(group, units.unsampled[units.stratum]) > 0
    used = there & open_ if (there & open_).any() else there
    return float((sums / counts)[used].max())


def _sums(cluster: Ints, values: Floats) -> Floats:
    sums: Floats = np.asarray(np.bincount(cluster, values), np.float64)
    return sums


def _size(left: Floats, seen: Floats, unseen: Floats | None = None, count: int = 1) -> float:
    """Third moment over the second; of all that may have been, one event that was not seen."""
    second, third = float((left * seen**2).sum()), float((left * seen**3).sum())
    if unseen is not None:
        second += float((left * unseen**2).sum()) / count
        third += float((left * unseen**3).sum()) / count
    return third / second if second > 0 else 0.0
