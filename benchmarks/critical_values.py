"""Critical values of a moving sum of residuals, by simulation of its limit.

    python -m benchmarks.critical_values > table.txt

Of a series without a break the sum of all residuals since monitoring began tends to a Brownian
bridge B beyond 1, that of the last ``h`` times as many as the history has to ``B(t) - B(t - h)``
(Zeileis, Leisch, Kleiber & Hornik 2005). Statistics are those of `rsscale.breaks.critical_values`;
the table has the values that the largest of t = 1 .. period exceeds with each probability. Its rows
there were printed by the command above, in a minute.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rsscale.breaks.critical_values import LEVELS, PERIODS, WINDOWS, statistic_of

SERIES, FREQUENCY, SEED = 100_000, 1000, 20
_AT_ONCE = 100


def simulate(series: int, frequency: int, seed: int = SEED) -> npt.NDArray[np.float64]:
    """Critical values ``(window, period, level)`` of so many simulated processes.

    Parameters
    ----------
    series : int
    frequency : int
        Steps of a process between t = 0 and 1.
    seed : int
    """
    rng = np.random.default_rng(seed)
    longest = round(max(PERIODS) * frequency)
    largest = np.empty((len(WINDOWS), len(PERIODS), series))
    time = np.arange(frequency + 1, longest + 1) / frequency
    for start in range(0, series, _AT_ONCE):
        count = min(_AT_ONCE, series - start)
        steps = rng.standard_normal((count, longest)) / np.sqrt(frequency)
        steps -= steps[:, :frequency].sum(axis=1, keepdims=True) / frequency  # W(t) - t W(1)
        path = np.cumsum(steps, axis=1)
        for number, window in enumerate(WINDOWS):
            lag = round(window * frequency)
            later = path[:, frequency:]
            total = later - path[:, frequency - lag : -lag] if lag else later
            statistic = statistic_of(np.abs(total), time, frequency, moving=bool(lag))
            for place, period in enumerate(PERIODS):
                upto = statistic[:, : round((period - 1) * frequency)]
                largest[number, place, start : start + count] = upto.max(axis=1)
    quantiles: npt.NDArray[np.float64] = np.quantile(largest, 1 - np.array(LEVELS), axis=2)
    return np.moveaxis(quantiles, 0, -1)


def main() -> None:
    """Print the table."""
    table = simulate(SERIES, FREQUENCY)
    for window, of_window in zip(WINDOWS, table, strict=True):
        for period, values in zip(PERIODS, of_window, strict=True):
            print(window, f"{period:<4}", *(f"{value:.3f}" for value in values))


if __name__ == "__main__":
    main()
