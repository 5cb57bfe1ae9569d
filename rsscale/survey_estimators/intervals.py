"""Confidence intervals from an estimate and its standard error."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rsscale.survey_estimators.variance import UnitInfluence

CONFIDENCE = 0.95
# Events next to which Wilson's interval has its inner end from a Poisson count.
_FEW = 3.0


def quantile(degrees: float = math.inf, confidence: float = CONFIDENCE) -> float:
    """Quantile of Student's t, of the normal distribution for infinite degrees of freedom.

    For 95 % that is 1.96, as in the papers, instead of 1.959964.
    """
    from scipy.special import ndtri, stdtrit

    if math.isinf(degrees):
        return 1.96 if confidence == CONFIDENCE else float(ndtri((1 + confidence) / 2))
    return float(stdtrit(degrees, (1 + confidence) / 2))


def normal_interval(value: float, se: float, z: float, most: float) -> tuple[float, float]:
    """``value ± z se``, cut at 0 and at the most that there can be."""
    return min(max(value - z * se, 0.0), most), max(min(value + z * se, most), 0.0)


def wilson_interval(share: float, effective: float, z: float) -> tuple[float, float]:
    """Wilson's (1927) interval of a share from a number of independent units.

    With a complex design the number is the one whose binomial variance the estimate has (Korn and
    Graubard 1998, Survey Methodology 24). It stays inside 0 to 1, and has a width where all agree.
    Next to 0 and 1, where one to three units differ from all others, its inner end covers too
    seldom; it is that of a Poisson count there (Brown, Cai and DasGupta 2001, "Interval Estimation
    for a Binomial Proportion", Statistical Science 16, section 4.1.1).
    """
    square = z * z
    center = (share + square / (2 * effective)) / (1 + square / effective)
    spread = share * (1 - share) / effective + square / (4 * effective**2)
    half = math.sqrt(square * spread) / (1 + square / effective)
    low, high = max(center - half, 0.0), min(center + half, 1.0)
    if share * effective <= _FEW:
        low = min(low, _least_count(share * effective, z) / effective)
    if (1 - share) * effective <= _FEW:
        high = max(high, 1 - _least_count((1 - share) * effective, z) / effective)
    return low, high


def _least_count(count: float, z: float) -> float:
    """The mean of a Poisson count that has so many, or more, in (1 - confidence) of all cases."""
    from scipy.special import gammaincinv, ndtr

    return float(gammaincinv(count, 2 * ndtr(-z))) if count > 0 else 0.0


def skewed_interval(
    value: float, se: float, influence: UnitInfluence, z: float, most: float
) -> tuple[float, float]:
    """Interval of a total that a few units decide, by the third moment; cut at 0 and the most.

    Of Kott and Liu (2009, "One-sided coverage intervals for a proportion estimated from a
    stratified simple random sample", International Statistical Review 77), after Hall (1983) and
    Cai (2005): for events of size d its center is (1/6 + z²/3) d above the estimate, and d² times a
    constant is added to the variance, so that it has a width where no event was seen. Here each
    side has its own size of an event, and each end takes the case that is worse for it.

    Parameters
    ----------
    value, se : float
    influence : UnitInfluence
    z : float
    most : float
    """
    shift = shift_of_events(z)
    half = math.sqrt((z * se) ** 2 + shift**2 * (influence.up**2 + influence.down**2))
    low = value + shift * (influence.seen_up - influence.down) - half
    high = value + shift * (influence.up - influence.seen_down) + half
    return min(max(low, 0.0), value), max(min(high, most), value)


def shift_of_events(z: float) -> float:
    """By how many events the middle of an interval lies above their number."""
    return 1 / 6 + z * z / 3


def effective_number(share: float, variance: float, event: float, z: float) -> float:
    """Independent units that would tell a share as well as a sample does.

    ``share (1 - share) / variance`` (Korn and Graubard 1998) is far too large where strata agree in
    all of their few units: their variance is estimated as 0, and is not (Franco, Little, Louis and
    Slud 2019, Journal of Survey Statistics and Methodology 7). So an event that was not seen, with
    the largest size that it may have, is part of both variances.

    Parameters
    ----------
    share : float
        Between 0 and 1.
    variance : float
        Of the share.
    event : float
        What one unit may move the share by.
    z : float
    """
    unseen = (shift_of_events(z) / z) ** 2 * event
    return (share * (1 - share) + unseen) / (variance + unseen * event)
