"""Which magnitudes are change: Otsu, Kittler and Illingworth, or a rate of false alarms.

All of them look at the histogram of the magnitudes of a whole area, and need no labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from rsscale.errors import BandError
from rsscale.spectral_change.histogram import Histogram, lower_edge
from rsscale.text.wording import counted

Rule = Literal["otsu", "kittler-illingworth"]

Floats = npt.NDArray[np.float64]

FEWEST = 100
"""Magnitudes that a threshold is taken from, at least."""
# Of what changed, of all values: less is a tail of noise, not a class.
_LEAST_CHANGED = 1e-4
# Of unchanged: where nearly all changed, images alone do not tell it from one heap with a low tail.
_LEAST_UNCHANGED = 0.05
BETWEEN = 2.0
"""Standard deviations of the unchanged that a threshold of two groups lies above their mean."""


@dataclass(frozen=True)
class Groups:
    """Two normal distributions of magnitudes: of what did not change, and of what did.

    Attributes
    ----------
    threshold : float
        Between them: larger is change.
    share : float
        Of the values beyond the threshold.
    means, deviations : (float, float)
        Of unchanged, of changed.
    """

    threshold: float
    share: float
    means: tuple[float, float]
    deviations: tuple[float, float]

    @property
    def distance(self) -> float:
        """From the mean of the unchanged to the threshold, in their standard deviations."""
        return (self.threshold - self.means[0]) / max(self.deviations[0], 1e-300)

    @property
    def cuts_through(self) -> bool:
        """Whether the threshold lies in the middle of one heap: half a normal one has 1.3."""
        return self.distance < BETWEEN

    @property
    def doubt(self) -> str:
        """What to think of a threshold that cuts through one heap, in one line."""
        return (
            f"the threshold {self.threshold:.4g} lies {self.distance:.1f} standard deviations "
            f"above the mean of the pixels below it, expected are {BETWEEN:g} or more: it splits "
            "pixels that are alike, as where nothing changed; use 'kittler-illingworth', or a "
            "false-alarm rate on stable pixels"
        )

    def probability(self, magnitudes: npt.NDArray[np.floating]) -> Floats:
        """The posterior of change: which of the two distributions a magnitude is of.

        Below the mean of the unchanged, and above that of the changed, it is that of the mean: a
        wide distribution is no reason to believe in change where nothing moved.
        """
        values = np.clip(magnitudes.astype(np.float64), *self.means)
        odds = np.zeros(values.shape)
        shares = (1 - self.share, self.share)
        for sign, share, mean, deviation in zip(
            (-1, 1), shares, self.means, self.deviations, strict=True
        ):
            away = (values - mean) / deviation
            odds += sign * (math.log(share / deviation) - away * away / 2)
        posterior: Floats = expit(odds)
        return posterior


def find_threshold(histogram: Histogram, rule: Rule) -> Groups:
    """The threshold of a rule.

    Parameters
    ----------
    histogram : Histogram
        Of all magnitudes of the area.
    rule : str
        ``"otsu"``: the largest variance between the two sides (Otsu 1979,
        doi:10.1109/TSMC.1979.4310076). ``"kittler-illingworth"``: the least error of two normal
        distributions (Kittler & Illingworth 1986, doi:10.1016/0031-3203(86)90030-0), better where
        few pixels changed.

    Raises
    ------
    BandError
        When there are too few values, or one value alone: then nothing can be told apart.
    """
    check_histogram(histogram)
    sides = _Sides.of(histogram)
    cost = -sides.between if rule == "otsu" else sides.error
    if not np.isfinite(cost).any():
        raise BandError(
            "the magnitudes have no two sides that differ, and no threshold between them; expected "
            "dates of which some pixels changed: give 'threshold' a number"
        )
    return sides.cut(int(np.argmin(cost)))


def cut_at(histogram: Histogram, threshold: float) -> Groups:
    """The groups on both sides of a threshold that is given; of an empty side, the threshold."""
    check_histogram(histogram)
    place = int(np.searchsorted(lower_edge(histogram.bins), threshold)) - 1
    cut = _Sides.of(histogram).cut(min(max(place, 0), len(histogram.bins) - 2))
    return Groups(threshold, cut.share, cut.means, cut.deviations)


def stable_threshold(stable: Histogram, false_alarm: float) -> float:
    """The threshold that at most so large a share of stable pixels is beyond.

    Raises
    ------
    BandError
        When there are too few of them to tell such a share.
    """
    least = math.ceil(1 / false_alarm)
    if stable.total < least:
        raise BandError(
            f"{stable.total} stable pixels have values at both dates, and a false-alarm rate of "
            f"{false_alarm:g} needs {least} or more; mark more of them, or allow a larger rate"
        )
    return stable.quantile(1 - false_alarm)


def check_histogram(histogram: Histogram) -> None:
    """Refuse a histogram that no threshold can be taken from.

    Raises
    ------
    BandError
    """
    if histogram.total < FEWEST:
        pixels = counted(histogram.total, "pixel has", "pixels have")
        raise BandError(
            f"{pixels} values at both dates; a threshold needs {FEWEST} or "
            "more: look at clouds and nodata of both dates, or give 'threshold' a number"
        )
    if len(histogram.bins) < 3:
        within = counted(len(histogram.bins), "bin")
        raise BandError(
            f"all of {histogram.total} pixels moved by {histogram.centres[-1]:.3g} or less, "
            f"within {within}; expected dates of which some pixels changed: look "
            "whether both are the same image, or give 'threshold' a number"
        )


@dataclass(frozen=True)
class _Sides:
    """Sums of both sides of every cut of a histogram, ``(N - 1,)`` each."""

    histogram: Histogram
    shares: tuple[Floats, Floats]
    means: tuple[Floats, Floats]
    variances: tuple[Floats, Floats]

    @classmethod
    def of(cls, histogram: Histogram) -> _Sides:
        centres, counts = histogram.centres, histogram.counts
        # About the mean, so that variances are no differences of large numbers; as whole numbers
        # of counts from either end, so that an order of tiles has no part in it.
        middle = float((centres * counts).sum() / counts.sum())
        away = centres - middle
        sides = []
        for flip in (False, True):
            number, first, second = (
                _running(values, flip=flip) for values in (counts, counts * away, counts * away**2)
            )
            mean = first / number
            # Values fill their bin: a side of one bin is as wide as that.
            width = _running(counts * _bin_variance(histogram), flip=flip) / number
            variance = np.maximum(second / number - mean**2, 0) + width
            sides.append((number / counts.sum(), mean + middle, variance))
        shares, means, variances = zip(*sides, strict=True)
        return cls(histogram, shares, means, variances)

    @property
    def between(self) -> Floats:
        """Variance between the sides."""
        between: Floats = self.shares[0] * self.shares[1] * (self.means[1] - self.means[0]) ** 2
        return between

    @property
    def error(self) -> Floats:
        """Kittler and Illingworth's criterion; infinite where a side is too small."""
        cost = np.ones(len(self.shares[0]))
        for share, variance in zip(self.shares, self.variances, strict=True):
            cost += share * (np.log(variance) - 2 * np.log(share))
        cost[self.shares[0] < _LEAST_UNCHANGED] = np.inf
        cost[self.shares[1] < _LEAST_CHANGED] = np.inf
        return cost

    def cut(self, place: int) -> Groups:
        """Both sides of one cut, after the bin at a place."""
        return Groups(
            threshold=float(lower_edge(self.histogram.bins[place] + 1)),
            share=float(self.shares[1][place]),
            means=(float(self.means[0][place]), float(self.means[1][place])),
            deviations=(
                math.sqrt(self.variances[0][place]), math.sqrt(self.variances[1][place]),
            ),
        )  # fmt: skip


def _running(values: npt.NDArray[np.floating | np.integer], *, flip: bool) -> Floats:
    """Sums up to each cut, or from it on."""
    if flip:
        return np.cumsum(values[::-1].astype(np.float64))[::-1][1:]
    return np.cumsum(values.astype(np.float64))[:-1]


def _bin_variance(histogram: Histogram) -> Floats:
    width = lower_edge(histogram.bins + 1) - lower_edge(histogram.bins)
    variance: Floats = width**2 / 12
    return variance
