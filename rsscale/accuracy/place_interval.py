"""Interval of a mean over samples of few places: places, not samples, are independent."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LEVEL = 0.95


def place_interval(
    values: npt.NDArray[np.float64], groups: npt.NDArray[np.int64]
) -> tuple[float, float, float]:
    """Mean of values of samples, and its interval: places, not samples, are independent.

    The ratio estimator of cluster sampling with Student's t of the places (Cochran 1977, Sampling
    Techniques, 3rd ed., section 9.3).

    Parameters
    ----------
    values : float array (N,)
    groups : int array (N,)
        The place of each.
    """
    from scipy.special import stdtrit  # not scipy.stats, which takes half a second to import

    places, of = np.unique(groups, return_inverse=True)
    mean = float(values.mean())
    if len(places) < 2:
        return mean, float("nan"), float("nan")
    counts = np.bincount(of)
    residuals = np.bincount(of, values) - mean * counts
    variance = (residuals**2).sum() * len(places) / (len(places) - 1) / len(values) ** 2
    half = float(stdtrit(len(places) - 1, (1 + LEVEL) / 2) * np.sqrt(variance))
    return mean, mean - half, mean + half
