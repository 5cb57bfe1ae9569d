"""Monitoring: whether new observations still follow the seasonal model of the history.

The sum of the last residuals (MOSUM), or of all since monitoring began (CUSUM), is compared with a
boundary that a series without a break crosses with a given probability, however long it is watched:
Chu, Stinchcombe & White (1996), Zeileis, Leisch, Kleiber & Hornik (2005), and bfastmonitor
(Verbesselt, Zeileis & Herold 2012).

Their limits are those of a mean over long histories. Here histories are short and models have trend
and season, whose own errors grow with time: so each sum is divided by its exact standard deviation,
of the pixel's own dates, and taken for a Student's t of the fit's degrees of freedom. For a mean
over a long history it is their process.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rsscale.breaks.critical_values import CUMULATIVE, critical_values, statistic_of
from rsscale.breaks.harmonic import Flags, Floats, SeasonalFit, forward

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Boundary:
    """The boundary of a process.

    Attributes
    ----------
    level : float
        Probability that a stable series crosses it some time: 0.001 to 0.5.
    window : float
        Observations of a moving sum as a share of those of the history: 0.25, 0.5 or 1; 0 for the
        cumulative sum of all since monitoring began.
    period : float
        How many times the history's length the whole series is watched: 1.1 to 10.
    """

    level: float = 0.05
    window: float = 0.25
    period: float = 10

    def critical(self) -> float:
        """The value that a statistic must exceed."""
        levels, values = critical_values(self.window, self.period)
        return float(np.interp(-np.log(self.level), -np.log(levels), values))

    def confidence(self, statistic: Floats) -> Floats:
        """Share of stable series whose largest statistic stays below: 0 to 0.999."""
        levels, values = critical_values(self.window, self.period)
        below: Floats = np.interp(
            statistic, np.concatenate([[0.0], values]), np.concatenate([[0.0], 1 - levels])
        )
        return below


class Process:
    """The sums of many pixels, observation by observation.

    Parameters
    ----------
    fit : SeasonalFit
    design : float64 array (T, columns)
    dates : int64 array (M, P)
        Number of the date of each pixel's monitored observations, in order.
    boundary : Boundary
    """

    def __init__(
        self, fit: SeasonalFit, design: Floats, dates: Integers, boundary: Boundary
    ) -> None:
        self._fit, self._design, self._dates = fit, design, dates
        self._is_moving = boundary.window != CUMULATIVE
        self._count = np.maximum(fit.count, 1)
        self._freedom = np.maximum(fit.count - design.shape[1], 1).astype(np.float64)
        self._sigma = np.where(fit.solved, fit.sigma, 1.0)
        self.residuals = np.take_along_axis(fit.residuals, dates, axis=0)
        """Of the monitored observations ``(M, P)``."""
        self._counted = self.residuals.copy()  # 0 for those that no longer count
        pixels = dates.shape[1]
        self._total = np.zeros(pixels)
        self._before = np.zeros((design.shape[1], pixels))  # sums of rows: of the history,
        self._since = np.zeros((design.shape[1], pixels))  # and of what is monitored
        self._length = np.zeros(pixels, np.int64)
        self._history = np.zeros((0, pixels), np.int64)
        if self._is_moving:
            self._begin(np.maximum((boundary.window * fit.count).astype(np.int64), 1))

    def _begin(self, length: Integers) -> None:
        """Sums over the last observations of the history."""
        self._length = length
        newest = np.argsort(~self._fit.used[::-1], axis=0, kind="stable")[: int(length.max())]
        self._history = len(self._fit.used) - 1 - newest  # the newest first
        for number, date in enumerate(self._history):
            inside = number < length
            residual = np.take_along_axis(self._fit.residuals, date[None], axis=0)[0]
            self._total += np.where(inside, residual, 0.0)
            self._before += np.where(inside, self._design[date].T, 0.0)

    def step(self, number: int, active: Flags) -> tuple[Floats, Floats, Floats]:
        """Go on by one observation.

        Parameters
        ----------
        number : int
            Of the observation since monitoring began, from 0.
        active : bool array (P,)
            Which pixels have so many.

        Returns
        -------
        statistic : float64 array (P,)
            To be compared with :meth:`Boundary.critical`; 0 where a pixel has none.
        side : float64 array (P,)
            Sign of the sum.
        deviation : float64 array (P,)
            The observation's own residual in standard deviations of a forecast.
        """
        row = self._design[self._dates[number]].T  # (columns, P)
        self._total += np.where(active, self._counted[number], 0.0)
        self._since += np.where(active, row, 0.0)
        if self._is_moving:
            self._drop(number, active)
        watched = np.minimum(number + 1, self._length) if self._is_moving else number + 1
        before = np.maximum(self._length - number - 1, 0) if self._is_moving else 0
        exact = (before + watched) - self._square(self._before) + self._square(self._since)
        usual = before + watched + (watched**2 - before**2) / self._count
        # At least that of the newest observation alone; less is rounding, or no model.
        scale = self._sigma * np.sqrt(np.maximum(exact, 1.0))
        student = np.abs(self._total) / scale
        normal = as_normal(student, self._freedom)
        statistic = statistic_of(
            normal * np.sqrt(usual / self._count),
            1 + (number + 1) / self._count,
            self._count,
            moving=self._is_moving,
        )
        forecast = self._sigma * np.sqrt(1 + self._square(row))
        seen = active & self._fit.solved
        return (
            np.where(seen, statistic, 0.0),
            np.sign(self._total),
            np.where(seen, self.residuals[number] / forecast, 0.0),
        )

    def _drop(self, number: int, active: Flags) -> None:
        """Take away the observation that the window has left behind."""
        of_history = number < self._length
        newest = np.clip(self._length - 1 - number, 0, len(self._history) - 1)[None]
        date = np.take_along_axis(self._history, newest, axis=0)[0]
        old = np.clip(number - self._length, 0, len(self._dates) - 1)[None]
        later = np.take_along_axis(self._dates, old, axis=0)[0]
        residual = np.where(
            of_history,
            np.take_along_axis(self._fit.residuals, date[None], axis=0)[0],
            np.take_along_axis(self._counted, old, axis=0)[0],
        )
        self._total -= np.where(active, residual, 0.0)
        self._before -= np.where(active & of_history, self._design[date].T, 0.0)
        self._since -= np.where(active & ~of_history, self._design[later].T, 0.0)

    def forgive(self, outside: Flags, pixels: Flags, number: int) -> None:
        """Let observations no longer count: those of a rejected alert.

        Parameters
        ----------
        outside : bool array (M, P)
            Observations off the model.
        pixels : bool array (P,)
            Whose alert is rejected.
        number : int
            Of the newest observation.
        """
        for old in range(number + 1):
            gone = pixels & outside[old]
            inside = old > number - self._length if self._is_moving else True
            self._total -= np.where(gone & inside, self._counted[old], 0.0)
            self._counted[old][gone] = 0.0

    def _square(self, rows: Floats) -> Floats:
        """``s' (X'X)^-1 s`` of each pixel."""
        solution = forward(self._fit.factor, rows)
        total = np.zeros(rows.shape[1])
        for line in solution:
            total += line**2
        return total


def as_normal(student: Floats, freedom: Floats) -> Floats:
    """What of a normal distribution is as rare as a value of Student's t: Wallace (1959).

    To within 0.05 of the exact value where that is below 4, of three degrees of freedom or more.
    """
    normal: Floats = (
        (8 * freedom + 1)
        / (8 * freedom + 3)
        * np.sqrt(freedom * np.log1p(student * student / freedom))
    )
    return normal
