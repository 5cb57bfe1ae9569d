"""Alerts of breaks: raised by the process, then confirmed or rejected by what is seen after."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rsscale.breaks.harmonic import Flags, Floats, Season, SeasonalFit, fit_season, masked_median
from rsscale.breaks.monitor import Boundary, Integers, Process

NONE, PROVISIONAL, CONFIRMED, REJECTED = range(4)
"""States of an alert."""


@dataclass(frozen=True)
class Monitoring:
    """How series are monitored.

    Attributes
    ----------
    season : Season
    history : (int, int)
        First and last day of the observations that the model is fitted to, since 1970-01-01.
    start : int
        First day that is monitored; after the history.
    boundary : Boundary
    confirm : int
        So many observations in a row that are off the model, on the side of the alert, confirm it;
        as many in a row that are on it reject it.
    limit : float
        Standard deviations of a forecast beyond which an observation is off the model; it is on it
        within half of them.
    fewest : int
        Observations that the history must have.
    robust : bool
        See :func:`rsscale.breaks.harmonic.fit_season`.
    """

    season: Season
    history: tuple[int, int]
    start: int
    boundary: Boundary
    confirm: int = 3
    limit: float = 2.0
    fewest: int = 12
    robust: bool = True


@dataclass(frozen=True)
class Breaks:
    """Breaks of pixels, an array ``(P,)`` each.

    Attributes
    ----------
    monitored : bool
        Whether the model is determined and something was seen since monitoring began; elsewhere
        the other arrays, but for ``observations``, mean nothing.
    alert : uint8
        The state of the latest alert.
    day : int64
        The first observation after the break, in days since 1970-01-01; 0 without an alert.
    magnitude : float64
        Median residual since then, in the values' unit; of a rejected alert, until it was rejected;
        NaN without an alert.
    confidence : float64
        Share of stable series whose process stays below the largest value of this one's, 0 to 1.
    observations : int64
        Of the history, as far as the fit uses them, and since monitoring began.
    history : int64
        The former alone.
    """

    monitored: Flags
    alert: npt.NDArray[np.uint8]
    day: Integers
    magnitude: Floats
    confidence: Floats
    observations: Integers
    history: Integers


def find_breaks(values: Floats, days: Integers, rule: Monitoring) -> Breaks:
    """Fit the history of each pixel, watch what follows, and tell the state of its alert.

    A pure function of a pixel's own observations: dates at which it has none change nothing, nor do
    other pixels. What is seen later changes an alert that is provisional, never one that is
    confirmed: that keeps its day, and what it was told by.

    Parameters
    ----------
    values : float64 array (T, P)
        NaN where nothing was seen.
    days : int64 array (T,)
        Days since 1970-01-01, in order.
    rule : Monitoring
    """
    design = rule.season.design(days)
    in_history = (days >= rule.history[0]) & (days <= rule.history[1])
    fit = fit_season(values, design, in_history, fewest=rule.fewest, robust=rule.robust)
    watched = np.isfinite(values) & (days >= rule.start)[:, None]
    count = watched.sum(axis=0)
    most = int(count.max(initial=0))
    dates = np.argsort(~watched, axis=0, kind="stable")[:most]
    monitored = fit.solved & (count > 0)
    alerts = _Alerts(fit, Process(fit, design, dates, rule.boundary), rule)
    for number in range(most):
        alerts.step(number, number < count)
    first, last = alerts.span(count)
    day = np.zeros(values.shape[1], np.int64)
    magnitude = np.full(values.shape[1], np.nan)
    raised = monitored & (alerts.state != NONE)
    if raised.any():
        numbers = np.arange(most)[:, None]
        since = (numbers >= first) & (numbers <= last)
        of_break = np.take_along_axis(dates, np.minimum(first, most - 1)[None], axis=0)[0]
        day[raised] = days[of_break][raised]
        magnitude[raised] = masked_median(alerts.process.residuals, since)[raised]
    return Breaks(
        monitored,
        np.where(monitored, alerts.state, NONE).astype(np.uint8),
        day,
        magnitude,
        rule.boundary.confidence(alerts.largest),
        fit.count + count,
        fit.count,
    )


class _Alerts:
    """The states of many pixels while observations come in."""

    def __init__(self, fit: SeasonalFit, process: Process, rule: Monitoring) -> None:
        pixels = len(fit.count)
        self.process, self._rule = process, rule
        self._critical = rule.boundary.critical()
        self.state = np.full(pixels, NONE, np.int64)
        self.largest = np.zeros(pixels)
        self._outside = np.zeros(process.residuals.shape, bool)
        self._side = np.zeros(pixels)  # of the run of observations that are off the model
        self._off, self._on = np.zeros(pixels, np.int64), np.zeros(pixels, np.int64)
        self._from = np.zeros(pixels, np.int64)  # the first observation that an alert may be of
        self._until = np.zeros(pixels, np.int64)  # when it was confirmed or rejected
        self._direction = np.zeros(pixels)

    def step(self, number: int, active: Flags) -> None:
        """Look at the next observation of each active pixel."""
        statistic, side, deviation = self.process.step(number, active)
        outside = active & (np.abs(deviation) > self._rule.limit)
        self._outside[number] = outside
        same = outside & (np.sign(deviation) == self._side)
        self._off = np.where(same, self._off + 1, np.where(active, outside, self._off))
        inside = np.abs(deviation) <= 0.5 * self._rule.limit  # what lies between is neither
        self._on = np.where(active, np.where(inside, self._on + 1, 0), self._on)
        self._side = np.where(outside, np.sign(deviation), self._side)
        is_open = active & (self.state != CONFIRMED)
        crossing = is_open & (statistic > self._critical)
        anew = crossing & (self.state != PROVISIONAL)
        self.largest = np.where(
            anew & (self.state == REJECTED),
            statistic,
            np.where(is_open & (self.state != REJECTED) | anew, np.maximum(self.largest, statistic),
                     self.largest),
        )  # fmt: skip
        again = anew & (self.state == REJECTED)
        self._from = np.where(again, self._until + 1, self._from)
        self.state = np.where(anew, PROVISIONAL, self.state)
        self._direction = np.where(crossing, side, self._direction)
        provisional = active & (self.state == PROVISIONAL)
        confirmed = (
            provisional & (self._off >= self._rule.confirm) & (self._side == self._direction)
        )
        rejected = provisional & ~confirmed & (self._on >= self._rule.confirm)
        self.state = np.where(confirmed, CONFIRMED, np.where(rejected, REJECTED, self.state))
        self._until = np.where(confirmed | rejected, number, self._until)
        if rejected.any():
            self.process.forgive(self._outside, rejected, number)

    def span(self, count: Integers) -> tuple[Integers, Integers]:
        """The first observation after the break, and the last that tells its size.

        The break is where a step is most probable, given that the model holds before it: the
        largest ``(sum of residuals since then)^2 / number of them``, over what was seen until the
        alert was confirmed or rejected.
        """
        final = (self.state == CONFIRMED) | (self.state == REJECTED)
        end = np.where(final, self._until, count - 1)
        total, length = np.zeros(len(count)), np.zeros(len(count))
        best, first = np.full(len(count), -np.inf), end.copy()
        for number in reversed(range(len(self._outside))):
            inside = (number <= end) & (number >= self._from)
            total += np.where(inside, self.process.residuals[number], 0.0)
            length += inside
            gain = total * np.abs(total) * self._direction / np.maximum(length, 1)
            better = inside & (gain > best)
            best = np.where(better, gain, best)
            first = np.where(better, number, first)
        last = np.where(self.state == REJECTED, end, count - 1)
        return np.maximum(first, 0), last
