"""Statistics of sums of residuals, and the values that those of a stable series rarely exceed."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CUMULATIVE = 0.0
"""The window of a cumulative sum, which drops nothing."""
WINDOWS = (0.25, 0.5, 1.0, CUMULATIVE)
"""Lengths of a moving sum, as shares of the history."""
PERIODS = (1.1, 1.25, 1.5, 2, 3, 4, 6, 8, 10)
"""How long a series is watched, as multiples of the history, which is the first of them."""
LEVELS = (0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01, 0.005, 0.002, 0.001)
"""Probabilities that a stable series exceeds a value some time."""

# How far a sum of normal steps jumps over a boundary, in standard deviations of a step.
_OVERSHOOT = 0.5826

# Window, period, and the value of each level, printed by `python -m benchmarks.critical_values`: of
# 100,000 processes with
# 1000 steps a history. Without the overshoot they are the table of strucchange (Zeileis, Leisch,
# Hornik & Kleiber 2002) to within 1 %.
_TABLE = """
0.25 1.1  0.456 0.507 0.568 0.644 0.693 0.758 0.811 0.856 0.921 0.973 1.054 1.127 1.221 1.278
0.25 1.25 0.591 0.646 0.711 0.789 0.840 0.907 0.962 1.010 1.083 1.137 1.224 1.307 1.408 1.482
0.25 1.5  0.713 0.770 0.833 0.913 0.964 1.032 1.087 1.137 1.208 1.260 1.346 1.430 1.531 1.598
0.25 2.0  0.838 0.893 0.954 1.030 1.079 1.144 1.197 1.244 1.311 1.360 1.443 1.522 1.615 1.678
0.25 3.0  0.952 1.003 1.061 1.134 1.181 1.242 1.291 1.335 1.400 1.449 1.527 1.597 1.684 1.758
0.25 4.0  0.986 1.035 1.089 1.159 1.203 1.262 1.310 1.352 1.414 1.462 1.537 1.603 1.687 1.767
0.25 6.0  1.003 1.049 1.102 1.168 1.211 1.268 1.315 1.356 1.418 1.464 1.539 1.604 1.688 1.767
0.25 8.0  1.008 1.053 1.105 1.170 1.213 1.269 1.315 1.357 1.418 1.464 1.539 1.604 1.688 1.767
0.25 10.0 1.010 1.054 1.106 1.170 1.213 1.270 1.316 1.357 1.419 1.465 1.539 1.604 1.688 1.767
0.5  1.1  0.500 0.561 0.636 0.728 0.786 0.864 0.928 0.984 1.063 1.122 1.225 1.314 1.426 1.493
0.5  1.25 0.655 0.723 0.804 0.904 0.970 1.058 1.130 1.195 1.289 1.358 1.473 1.580 1.716 1.809
0.5  1.5  0.828 0.911 1.003 1.121 1.200 1.307 1.393 1.471 1.582 1.665 1.796 1.924 2.086 2.192
0.5  2.0  1.027 1.111 1.214 1.341 1.425 1.534 1.621 1.700 1.812 1.898 2.032 2.160 2.325 2.417
0.5  3.0  1.220 1.306 1.404 1.528 1.605 1.709 1.795 1.874 1.980 2.060 2.187 2.308 2.453 2.556
0.5  4.0  1.284 1.365 1.459 1.574 1.651 1.751 1.834 1.907 2.009 2.087 2.210 2.326 2.471 2.565
0.5  6.0  1.322 1.399 1.488 1.598 1.672 1.767 1.848 1.917 2.018 2.096 2.214 2.329 2.472 2.565
0.5  8.0  1.335 1.410 1.496 1.605 1.676 1.770 1.850 1.919 2.019 2.096 2.214 2.329 2.472 2.565
0.5  10.0 1.341 1.414 1.499 1.606 1.677 1.771 1.851 1.920 2.019 2.096 2.214 2.329 2.472 2.565
1.0  1.1  0.365 0.406 0.457 0.521 0.563 0.621 0.667 0.711 0.772 0.816 0.890 0.965 1.042 1.107
1.0  1.25 0.576 0.643 0.721 0.823 0.891 0.979 1.055 1.122 1.220 1.293 1.405 1.515 1.648 1.764
1.0  1.5  0.815 0.909 1.020 1.165 1.261 1.385 1.489 1.585 1.714 1.817 1.987 2.142 2.342 2.483
1.0  2.0  1.154 1.285 1.443 1.650 1.787 1.971 2.118 2.246 2.438 2.578 2.802 3.015 3.289 3.480
1.0  3.0  1.500 1.646 1.815 2.032 2.174 2.357 2.508 2.644 2.841 2.986 3.214 3.423 3.698 3.863
1.0  4.0  1.626 1.767 1.931 2.136 2.270 2.448 2.592 2.721 2.906 3.044 3.275 3.477 3.721 3.899
1.0  6.0  1.717 1.848 2.001 2.195 2.322 2.493 2.628 2.756 2.931 3.063 3.295 3.487 3.725 3.904
1.0  8.0  1.749 1.876 2.024 2.214 2.338 2.503 2.638 2.763 2.935 3.066 3.295 3.488 3.725 3.904
1.0  10.0 1.766 1.890 2.034 2.220 2.343 2.506 2.640 2.765 2.936 3.067 3.295 3.488 3.725 3.904
0.0  1.1  0.000 0.649 1.060 1.452 1.665 1.928 2.130 2.307 2.541 2.715 2.962 3.220 3.488 3.704
0.0  1.25 0.823 1.117 1.404 1.713 1.895 2.133 2.320 2.482 2.705 2.855 3.111 3.343 3.632 3.826
0.0  1.5  1.099 1.337 1.583 1.863 2.037 2.257 2.433 2.587 2.799 2.943 3.186 3.412 3.696 3.892
0.0  2.0  1.276 1.490 1.710 1.976 2.141 2.355 2.519 2.662 2.862 3.012 3.252 3.478 3.741 3.933
0.0  3.0  1.390 1.584 1.796 2.051 2.210 2.415 2.576 2.721 2.913 3.060 3.305 3.518 3.785 3.975
0.0  4.0  1.433 1.622 1.830 2.080 2.238 2.442 2.599 2.743 2.936 3.081 3.320 3.535 3.806 3.987
0.0  6.0  1.468 1.654 1.859 2.104 2.261 2.462 2.618 2.762 2.955 3.105 3.342 3.544 3.815 3.994
0.0  8.0  1.485 1.668 1.873 2.118 2.272 2.470 2.626 2.771 2.964 3.113 3.348 3.550 3.820 3.999
0.0  10.0 1.494 1.677 1.882 2.124 2.278 2.475 2.632 2.776 2.968 3.117 3.352 3.560 3.820 4.010
"""


def statistic_of(total: Floats, ratio: Floats, count: npt.ArrayLike, *, moving: bool) -> Floats:
    """The statistic that is compared with a critical value.

    Parameters
    ----------
    total : float64 array
        Absolute sums of residuals, over their standard deviation and the square root of ``count``.
    ratio : float64 array
        Observations of history and monitoring together over those of the history: above 1.
    count : int array
        Observations of the history.
    moving : bool
        Whether it is a moving sum, over ``sqrt(2 log+ ratio)`` (Chu, Stinchcombe & White 1996);
        else a cumulative one, whose boundary is theirs too: ``sqrt(t (t - 1) (c^2 + log(t / (t -
        1))))``. What is between two observations is not seen, so that a sum crosses less often than
        the continuous process: by the mean overshoot of a random walk (Siegmund 1985), which is
        added.
    """
    if moving:
        raised = total + _OVERSHOOT * np.sqrt(2 / np.asarray(count))  # one comes, and one goes
        border = np.sqrt(2 * np.where(ratio <= np.e, 1.0, np.log(ratio)))
        statistic: Floats = raised / border
        return statistic
    raised = total + _OVERSHOOT / np.sqrt(count)
    since = ratio - 1
    either: Floats = np.sqrt(np.maximum(raised**2 / (ratio * since) - np.log(ratio / since), 0.0))
    return either


@lru_cache
def critical_values(window: float, period: float) -> tuple[Floats, Floats]:
    """Levels, and the value that belongs to each, which grows as levels fall.

    Parameters
    ----------
    window : float
        One of :data:`WINDOWS`.
    period : float
        From 1.1 to 10; between those of :data:`PERIODS` values are interpolated.
    """
    table = np.array([line.split() for line in _TABLE.strip().splitlines()], np.float64)
    rows = table[table[:, 0] == window, 2:]  # (period, level)
    # Most of what can be exceeded is exceeded early: linear in how much of the time is watched.
    place = 1 - 1 / np.array(PERIODS)
    values = np.array([np.interp(1 - 1 / period, place, column) for column in rows.T])
    return np.array(LEVELS), values
