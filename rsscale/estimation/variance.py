"""Variance of a weighted sum over a sample, by its design.

Every estimate here is linear in the units, or is made so (Taylor linearisation; Särndal, Swensson
and Wretman 1992, "Model Assisted Survey Sampling", section 5.5): it has an influence value for each
unit, and its variance is that of the weighted sum of these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rsscale.estimation.units import Floats, Ints, Units

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
    - Systematic: squared differences to neighbouring units, in place of deviations from one mean,
      which would be far too large where values are alike nearby (Wolter 2007, "Introduction to
      Variance Estimation", section 8.2; Dunn and Harrison 1993); without places as simple.
    """
    means = _means(units.stratum, units.weight, influence)
    values = (influence - means[units.stratum]) * units.weight
    if units.cluster is not None:
        return _of_clusters(units.cluster, values, units.design.clusters)
    squares = values**2
    degrees = _degrees(squares, units.stratum)
    if units.neighbours is not None:
        return Variance(_of_neighbours(units, units.neighbours, values), degrees)
    by_stratum = np.bincount(units.stratum, squares, len(units.counts))
    return Variance(float((_correction(units) * by_stratum).sum()), degrees)


def _of_clusters(cluster: Ints, values: Floats, total: int | None) -> Variance:
    """Between the clusters of a sample, and within them where they are part of a finite number."""
    counts, totals = np.bincount(cluster), np.bincount(cluster, values)
    drawn = len(totals)
    if drawn < 2:
        return Variance(float("nan"), 1.0)
    squares = (totals - totals.mean()) ** 2
    share = min(drawn / total, 1.0) if total else 0.0
    deviations = (values - (totals / counts)[cluster]) ** 2
    within = np.bincount(cluster, deviations) * counts / np.maximum(counts - 1, 1)
    between = squares.sum() * drawn / (drawn - 1)
    value = (1 - share) * between + share * within.sum()
    return Variance(float(value), _degrees(squares, np.zeros(drawn, np.int64)))


def _degrees(squares: Floats, group: Ints) -> float:
    means = np.bincount(group, squares) / np.maximum(np.bincount(group), 1)
    spread = float(((squares - means[group]) ** 2).sum())
    if spread == 0:
        return float("inf")
    return max(2 * float(squares.sum()) ** 2 / spread, _LEAST_DEGREES)


def _means(stratum: Ints, weight: Floats, influence: Floats) -> Floats:
    found: Floats = np.bincount(stratum, weight * influence) / np.bincount(stratum, weight)
    return found


def _correction(units: Units) -> Floats:
    """Bessel's and the finite population correction together; NaN for a single unit of several.

    A stratum of which all pixels are in the sample has no error, also where that is one pixel.
    """
    counts = units.counts.astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        bessel = np.where(counts > 1, counts / (counts - 1), np.nan)
    left = units.unsampled
    found: Floats = np.where(left > 0, bessel * left, 0.0)
    return found


def _of_neighbours(units: Units, neighbours: Ints, values: Floats) -> float:
    """Half the mean squared difference to neighbours, in place of the variance of the sample."""
    spread = ((values[:, None] - values[neighbours]) ** 2).mean() / 2
    left = max(1 - len(units) / float(units.design.pixels.sum()), 0.0)
    return float(len(units) * spread * left)
