"""Confidence intervals from an estimate and its standard error."""

from __future__ import annotations

import math

CONFIDENCE = 0.95


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
    """
    square = z * z
    center = (share + square / (2 * effective)) / (1 + square / effective)
    spread = share * (1 - share) / effective + square / (4 * effective**2)
    half = math.sqrt(square * spread) / (1 + square / effective)
    return max(center - half, 0.0), min(center + half, 1.0)


def logit_interval(share: float, se: float, z: float) -> tuple[float, float]:
    """Interval that is symmetric on the scale of log odds, so that it stays inside 0 to 1."""
    odds, half = math.log(share / (1 - share)), z * se / (share * (1 - share))
    return 1 / (1 + math.exp(-(odds - half))), 1 / (1 + math.exp(-(odds + half)))
