"""Relative radiometric normalisation: bring digital numbers of one date to those of another.

An orthogonal regression, band by band, over pixels that did not change, as of Canty & Nielsen
2008, "Automatic radiometric normalization of multitemporal satellite imagery with the iteratively
re-weighted MAD transformation", Remote Sensing of Environment 112(3). Which pixels those are is
found with the regression: each has the weight of being unchanged, the probability of a chi-square
at least as large as that of its residuals in all bands; a change in one band counts in all.
Orthogonal, since both dates have noise: an ordinary one would always find too small a gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.errors import RsscaleError

FEWEST = 100
"""Pixels seen at both dates that a regression needs."""
_ROUNDS = 100
_SAME = 1e-7
# Of the spread of residuals, as the standard deviation of a normal distribution.
_OF_MEDIAN = 1.4826

_Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Radiometry:
    """How the second date's values become those of the first: ``gain * value + offset``.

    Attributes
    ----------
    gain, offset : float array (band,)
    invariant : float
        Share of the pixels that the regression took as unchanged.
    correlation : float array (band,)
        Of the two dates over those pixels.
    """

    gain: _Values
    offset: _Values
    invariant: float
    correlation: _Values

    def apply(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Values ``(band, y, x)`` of the second date as the first one would have them, float32."""
        gain, offset = (array.astype(np.float32)[:, None, None] for array in self.pair)
        return np.asarray(values, np.float32) * gain + offset

    @property
    def pair(self) -> tuple[_Values, _Values]:
        """Gain and offset."""
        return self.gain, self.offset


def relative_radiometry(
    before: npt.NDArray[Any], after: npt.NDArray[Any], names: tuple[str, ...] = ()
) -> Radiometry:
    """Fit the values of a second date to those of a first, over pixels that did not change.

    Parameters
    ----------
    before, after : float array (pixel, band)
        Finite; of the same pixels, in an order that is always the same.
    names : tuple of str
        Of the bands, for messages.

    Returns
    -------
    Radiometry
        Where fewer than half of the pixels changed, their share does not matter.

    Raises
    ------
    RsscaleError
        When there are fewer than :data:`FEWEST` pixels, a band is constant, or its two dates
        are not related: then there is nothing to normalise by.
    """
    reference, other = _checked(before, after)
    bands = reference.shape[1]
    labels = names or tuple(f"band {number}" for number in range(bands))
    first = [_begin(reference[:, b], other[:, b], labels[b]) for b in range(bands)]
    scale, level = (np.array(values) for values in zip(*first, strict=True))
    other = scale * other + level  # so that units do not decide what is orthogonal
    gain, offset, weight = _robust_lines(reference, other)
    correlation = np.array(
        [_correlation(reference[:, b], other[:, b], weight) for b in range(bands)]
    )
    _check_related(gain, correlation, labels)
    return Radiometry(gain * scale, gain * level + offset, float(weight.mean()), correlation)


def _checked(before: npt.NDArray[Any], after: npt.NDArray[Any]) -> tuple[_Values, _Values]:
    """Values ``(pixel, band)`` of both dates: of the same pixels, and of enough of them."""
    reference, other = np.asarray(before, np.float64), np.asarray(after, np.float64)
    if reference.shape != other.shape or reference.ndim != 2:
        raise RsscaleError(
            f"values of {reference.shape} and {other.shape} can't be related; expected two of "
            "(pixel, band), of the same pixels"
        )
    if len(reference) < FEWEST:
        raise RsscaleError(
            f"only {len(reference)} pixels are seen at both dates, expected are {FEWEST} or more "
            "to normalise by; leave normalise out, or give it gain and offset of each band"
        )
    return reference, other


def _robust_lines(reference: _Values, other: _Values) -> tuple[_Values, _Values, _Values]:
    """Gain and offset ``(band,)``, and how surely each pixel ``(pixel,)`` did not change.

    Lines and weights are found by turns, until the gains stay.
    """
    bands = reference.shape[1]
    gain, offset = np.ones(bands), np.zeros(bands)
    weight = _unchanged(reference, other, gain, offset)
    for _ in range(_ROUNDS):
        known = gain
        fitted = [_orthogonal(reference[:, b], other[:, b], weight) for b in range(bands)]
        gain, offset = (np.array(values) for values in zip(*fitted, strict=True))
        weight = _unchanged(reference, other, gain, offset)
        if np.abs(gain - known).max() <= _SAME:
            break
    return gain, offset, weight


def _check_related(gain: _Values, correlation: _Values, labels: Sequence[str]) -> None:
    """Refuse a band whose dates say nothing of each other."""
    for band, label in enumerate(labels):
        # A negative gain would turn bright to dark: no sensor does.
        if not (gain[band] > 0 and correlation[band] > 0.1):
            raise RsscaleError(
                f"{label} of the two dates is hardly related (correlation "
                f"{correlation[band]:.2f} over what seems unchanged); expected is the same ground "
                "at both: leave normalise out, or give it gain and offset of each band"
            )


def _begin(first: _Values, other: _Values, label: str) -> tuple[float, float]:
    """Gain and offset of medians and spreads, which few changed pixels do not move."""
    spread = [float(np.median(np.abs(values - np.median(values)))) for values in (first, other)]
    if min(spread) == 0:  # most pixels alike, as of water: what is left tells
        spread = [float(values.std()) for values in (first, other)]
    if min(spread) == 0:
        raise RsscaleError(
            f"{label} has one value only at one of the dates, expected is a band that differs "
            "from pixel to pixel; leave that band out"
        )
    gain = spread[0] / spread[1]
    return gain, float(np.median(first) - gain * np.median(other))


def _unchanged(first: _Values, other: _Values, gain: _Values, offset: _Values) -> _Values:
    """Probability ``(pixel,)`` of residuals at least as large, of pixels that did not change."""
    from scipy.stats import chi2

    distance = (first - gain * other - offset) / np.sqrt(1 + gain**2)
    middle = np.median(distance, axis=0)
    spread = _OF_MEDIAN * np.median(np.abs(distance - middle), axis=0)
    spread = np.where(spread > 0, spread, np.maximum(distance.std(axis=0), 1e-12))
    total = (((distance - middle) / spread) ** 2).sum(axis=1)
    probability: _Values = chi2.sf(total, first.shape[1])
    return probability


def _moments(first: _Values, other: _Values, weight: _Values) -> tuple[float, ...]:
    """Weighted means, variances and covariance."""
    total = weight.sum()
    means = [float((weight * values).sum() / total) for values in (first, other)]
    a, b = first - means[0], other - means[1]
    products = (a * a, b * b, a * b)
    return (*means, *(float((weight * product).sum() / total) for product in products))


def _orthogonal(first: _Values, other: _Values, weight: _Values) -> tuple[float, float]:
    """Gain and offset of the line with the least sum of squared distances from its pixels."""
    mean_one, mean_other, var_one, var_other, covariance = _moments(first, other, weight)
    if covariance == 0 or var_other == 0:
        return 0.0, mean_one
    apart = var_one - var_other
    gain = (apart + np.sqrt(apart**2 + 4 * covariance**2)) / (2 * covariance)
    return float(gain), float(mean_one - gain * mean_other)


def _correlation(first: _Values, other: _Values, weight: _Values) -> float:
    _, _, var_one, var_other, covariance = _moments(first, other, weight)
    scale = np.sqrt(var_one * var_other)
    return float(covariance / scale) if scale > 0 else 0.0
