"""Seasonal models of series: trend and harmonics of the year, fitted to each pixel's own dates.

All arithmetic goes date by date over many pixels at once, and never over pixels: what a pixel gives
is the same to the bit whatever lies beside it, and whatever dates are missing for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

DAYS_A_YEAR = 365.25

# Of a column's own square, what must be left of it beside the columns before: less is no season
# that was seen, but rounding.
_DETERMINED = 1e-6
# Of the median of absolute residuals, the standard deviation of a normal distribution.
_NORMAL = 1.4826
# Beyond so many robust standard deviations an observation is none of the model: Rousseeuw & Leroy
# (1987) take 2.5, which drops one of eighty good ones.
_OUTLIER, _ROUNDS = 3.5, 2
# A residual this small beside the values is rounding: such a series has no noise to compare with.
_NOISE = 1e-7


@dataclass(frozen=True)
class Season:
    """What a series is made of: level, trend, and harmonics of the year.

    Attributes
    ----------
    harmonics : int
        Pairs of sine and cosine: the first has one wave a year, the second two.
    trend : bool
        Whether the level may rise or fall in time.
    centre : float
        The day (since 1970-01-01) that the trend is counted from; near the middle of the history.
    """

    harmonics: int = 2
    trend: bool = True
    centre: float = 0.0

    @property
    def columns(self) -> int:
        """How many coefficients a pixel has."""
        return 1 + self.trend + 2 * self.harmonics

    def design(self, days: npt.NDArray[np.int64]) -> Floats:
        """The design matrix ``(T, columns)`` of days since 1970-01-01."""
        years = (days.astype(np.float64) - self.centre) / DAYS_A_YEAR
        columns: list[Floats] = [np.ones(len(days))]
        if self.trend:
            columns.append(years)
        for wave in range(1, self.harmonics + 1):
            phase = 2 * np.pi * wave * days / DAYS_A_YEAR
            columns += [np.cos(phase), np.sin(phase)]
        return np.stack(columns, axis=1)


@dataclass(frozen=True)
class SeasonalFit:
    """Least squares of each pixel's history.

    Attributes
    ----------
    coefficients : float64 array (columns, P)
    factor : float64 array (columns, columns, P)
        Lower triangle L of the normal matrix ``X'X = L L'``.
    residuals : float64 array (T, P)
        Of all dates, in the values' unit; NaN where nothing was seen.
    used : bool array (T, P)
        Which observations the fit is made of.
    count : int64 array (P,)
        How many.
    sigma : float64 array (P,)
        Standard deviation of the residuals, by their degrees of freedom.
    solved : bool array (P,)
        Where the model is determined and has noise; elsewhere the other values mean nothing.
    """

    coefficients: Floats
    factor: Floats
    residuals: Floats
    used: Flags
    count: npt.NDArray[np.int64]
    sigma: Floats
    solved: Flags


def fit_season(
    values: Floats, design: Floats, history: Flags, *, fewest: int, robust: bool = True
) -> SeasonalFit:
    """Fit each pixel's seasonal model by least squares of its own observations.

    Parameters
    ----------
    values : float64 array (T, P)
        NaN where nothing was seen.
    design : float64 array (T, columns)
    history : bool array (T,)
        The dates that count for the fit.
    fewest : int
        Observations that a fit needs; more than columns.
    robust : bool
        Whether observations beyond 3.5 robust standard deviations (by the median of absolute
        residuals) are left out and the rest fitted again, twice: clouds that the mask missed.
    """
    used = np.isfinite(values) & history[:, None]
    fit = _least_squares(values, design, used, fewest)
    for _ in range(_ROUNDS if robust else 0):
        absolute = np.abs(fit.residuals)
        spread = _NORMAL * masked_median(absolute, used)
        spread *= np.sqrt(fit.count / np.maximum(fit.count - design.shape[1], 1))
        kept = used & (absolute <= _OUTLIER * spread)
        # Where most values are equal their median residual is 0, and all others would go.
        enough = (kept.sum(axis=0) >= fewest) & (spread > 0)
        kept = np.where(enough, kept, used)
        if (kept == used).all():
            break
        used = kept
        fit = _least_squares(values, design, used, fewest)
    return fit


def _least_squares(values: Floats, design: Floats, used: Flags, fewest: int) -> SeasonalFit:
    """Normal equations of each pixel, summed date by date."""
    columns, pixels = design.shape[1], values.shape[1]
    normal = np.zeros((columns, columns, pixels))
    right = np.zeros((columns, pixels))
    known = np.where(used, values, 0.0)
    for row, weight, value in zip(design, used.astype(np.float64), known, strict=True):
        if not weight.any():
            continue
        right += row[:, None] * value
        for line in range(columns):
            normal[line, : line + 1] += (row[line] * row[: line + 1])[:, None] * weight
    factor, solved = _cholesky(normal)
    coefficients = _backward(factor, forward(factor, right))
    residuals = values.copy()
    for column, coefficient in zip(design.T, coefficients, strict=True):
        residuals -= column[:, None] * coefficient
    count = used.sum(axis=0)
    squares, level = np.zeros(pixels), np.zeros(pixels)
    for residual, value, here in zip(residuals, known, used, strict=True):
        squares += np.where(here, residual, 0.0) ** 2
        level += np.abs(value)
    freedom = count - columns
    sigma = np.sqrt(squares / np.maximum(freedom, 1))
    solved = solved & (count >= fewest) & (freedom > 0)
    solved &= sigma > _NOISE * level / np.maximum(count, 1)
    return SeasonalFit(coefficients, factor, residuals, used, count, sigma, solved)


def _cholesky(normal: Floats) -> tuple[Floats, Flags]:
    """Lower triangles of many small matrices (n, n, P), and which of them are regular."""
    columns, pixels = normal.shape[1:]
    factor = np.zeros_like(normal)
    regular = np.ones(pixels, bool)
    for line in range(columns):
        left = normal[line, line].copy()
        for k in range(line):
            left -= factor[line, k] ** 2
        regular &= left > _DETERMINED * normal[line, line]
        factor[line, line] = np.sqrt(np.where(regular, left, 1.0))
        for below in range(line + 1, columns):
            left = normal[below, line].copy()
            for k in range(line):
                left -= factor[below, k] * factor[line, k]
            factor[below, line] = left / factor[line, line]
    return factor, regular


def forward(factor: Floats, right: Floats) -> Floats:
    """Solve ``L z = right`` for each pixel; ``right`` and the result are ``(columns, P)``."""
    solution = np.empty_like(right)
    for line in range(len(right)):
        left = right[line].copy()
        for k in range(line):
            left -= factor[line, k] * solution[k]
        solution[line] = left / factor[line, line]
    return solution


def _backward(factor: Floats, right: Floats) -> Floats:
    """Solve ``L' b = right``."""
    solution = np.empty_like(right)
    for line in reversed(range(len(right))):
        left = right[line].copy()
        for k in range(line + 1, len(right)):
            left -= factor[k, line] * solution[k]
        solution[line] = left / factor[line, line]
    return solution


def masked_median(values: Floats, where: Flags) -> Floats:
    """The median over the first axis of what is True in ``where`` (P,); NaN where nothing is."""
    if not len(values):
        return np.full(values.shape[1], np.nan)
    ordered = np.sort(np.where(where, values, np.inf), axis=0)
    count = where.sum(axis=0)
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(values) - 1)
    middle = np.take_along_axis(ordered, np.stack([low, high]), axis=0)
    median: Floats = np.where(count > 0, 0.5 * middle[0] + 0.5 * middle[1], np.nan)
    return median
