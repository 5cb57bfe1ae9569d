"""Iteratively reweighted multivariate alteration detection (IR-MAD).

Nielsen (2007), "The regularized iteratively reweighted MAD method for change detection in multi-
and hyperspectral data", IEEE Trans. Image Processing 16(2), doi:10.1109/TIP.2006.888195.

Canonical correlation finds the combinations of the bands of both dates that correlate most. Their
differences, the MAD variates, do not change when bands are rescaled or mixed, so that light, haze
and sensor gain cancel. Squared, over their variances, they sum to a statistic that has a chi-square
distribution where nothing changed. Pixels are then weighted by the probability of a larger one,
and all is computed again, until the correlations stay: the background is of unchanged pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular
from scipy.special import chdtr, chdtrc

from rsscale.errors import BandError
from rsscale.text.wording import counted

Floats = npt.NDArray[np.float64]

TOLERANCE = 1e-6
"""The iteration ends when no canonical correlation moves by more."""
MOST_ITERATIONS = 200
# A band of whose variance less is its own, given the bands before it, is their combination.
_OWN_VARIANCE = 1e-6
# Of a variate whose dates correlate fully, such as of two equal images: 1 is no variance.
_LEAST_VARIANCE = 1e-9
# Pixels that a coefficient is estimated from, at least, by their weights.
_PIXELS_A_BAND = 10


@dataclass(frozen=True)
class CanonicalVariates:
    """The linear combinations of both dates whose differences are the MAD variates.

    Variates are in the order of rising correlation, the most changed first. Their signs are such
    that each correlates positively with the sum of the standardised bands of the first date, and
    the two of a pair with each other.

    Attributes
    ----------
    bands : tuple of int
        Which of the bands given are used: none that is constant or a combination of others.
    before_mean, after_mean : float array (K,)
    before, after : float array (K, K)
        Coefficients of each variate (row) for each band used.
    correlations : float array (K,)
        Canonical correlations, rising.
    iterations : int
    converged : bool
    history : tuple of float arrays
        The correlations after each iteration.
    """

    bands: tuple[int, ...]
    before_mean: Floats
    after_mean: Floats
    before: Floats
    after: Floats
    correlations: Floats
    iterations: int = 1
    converged: bool = True
    history: tuple[Floats, ...] = field(default=(), repr=False)

    @property
    def variances(self) -> Floats:
        """Variance of each MAD variate where nothing changed: ``2 (1 - correlation)``."""
        variances: Floats = np.maximum(2 * (1 - self.correlations), _LEAST_VARIANCE)
        return variances

    def variates(self, before: npt.NDArray[Any], after: npt.NDArray[Any]) -> Floats:
        """The MAD variates, over the deviation that each has where nothing changed.

        Parameters
        ----------
        before, after : array (B, …)
            All bands.

        Returns
        -------
        float64 array (K, …)
            A pixel's values depend on that pixel alone, to the bit.
        """
        values = np.zeros((len(self.bands), *before.shape[1:]))
        for number, band in enumerate(self.bands):
            earlier = before[band].astype(np.float64) - self.before_mean[number]
            other = after[band].astype(np.float64) - self.after_mean[number]
            for variate in range(len(self.bands)):
                values[variate] += self.before[variate, number] * earlier
                values[variate] -= self.after[variate, number] * other
        for variate, deviation in enumerate(np.sqrt(self.variances)):
            values[variate] /= deviation
        return values

    def chi_square(self, before: npt.NDArray[Any], after: npt.NDArray[Any]) -> Floats:
        """The sum of the squared variates: chi-square of K degrees of freedom, if unchanged."""
        return sum_of_squares(self.variates(before, after))

    def probability(self, chi_square: npt.NDArray[Any]) -> Floats:
        """Of change: that a pixel that did not change has a smaller statistic."""
        probability: Floats = chdtr(len(self.bands), chi_square.astype(np.float64))
        return probability


def sum_of_squares(values: Floats) -> Floats:
    """The sum over the first axis, in its order, whatever the shape of the others."""
    total = np.zeros(values.shape[1:])
    for value in values:
        total += value * value
    return total


def irmad(
    before: npt.NDArray[Any],
    after: npt.NDArray[Any],
    *,
    tolerance: float = TOLERANCE,
    most: int = MOST_ITERATIONS,
) -> CanonicalVariates:
    """Estimate the canonical variates of two dates, weighted by no-change.

    Parameters
    ----------
    before, after : array (B, P)
        Pixels that both dates have, of the same bands; no NaN.
    tolerance : float
        The iteration ends when no correlation moves by more.
    most : int
        Iterations at most; one is MAD without weights.

    Returns
    -------
    CanonicalVariates
        The same to the bit for the same pixels in the same order, on any number of threads.

    Raises
    ------
    BandError
        When there are too few pixels for the bands, no band varies at both dates, or the dates are
        the same.
    """
    count = before.shape[1]
    least = _PIXELS_A_BAND * before.shape[0]
    if count < least:
        raise BandError(
            f"{counted(count, 'pixel has', 'pixels have')} values at both dates, and IR-MAD of "
            f"{counted(len(before), 'band')} needs {least} or more; look at clouds and nodata of "
            "both dates, or name fewer 'bands'"
        )
    both = np.concatenate([before, after]).astype(np.float64)
    weights = np.ones(count)
    bands = _own_bands(*_moments(both, weights)[1:], len(before))
    both = both[[*bands, *(band + len(before) for band in bands)]]
    variates, history = _canonical(both, weights, bands), []
    if (variates.variances <= _LEAST_VARIANCE).all():
        raise BandError(
            "the two dates are the same, but for gains and offsets of bands, and IR-MAD would tell "
            "change of their rounding; look whether the scenes of both periods are the same"
        )
    for iteration in range(1, most + 1):
        history.append(variates.correlations)
        done = len(history) > 1 and np.abs(history[-1] - history[-2]).max() <= tolerance
        if done or iteration == most:
            break
        chi_square = sum_of_squares(_project(variates, both))
        weights = chdtrc(len(bands), chi_square)
        if weights.sum() < least:
            break  # the background would be of too few pixels: what was found before is kept
        variates = _canonical(both, weights, bands)
    return CanonicalVariates(
        variates.bands, variates.before_mean, variates.after_mean, variates.before, variates.after,
        variates.correlations, len(history), bool(done), tuple(history),
    )  # fmt: skip


def _project(variates: CanonicalVariates, both: Floats) -> Floats:
    """The variates of a sample whose bands are those that are used, one date below the other."""
    count = len(variates.bands)
    own = CanonicalVariates(
        tuple(range(count)), variates.before_mean, variates.after_mean,
        variates.before, variates.after, variates.correlations,
    )  # fmt: skip
    return own.variates(both[:count], both[count:])


def _moments(both: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Weighted means ``(2B,)`` and covariances ``(2B, 2B)``, and what is rounding of these.

    Without BLAS, whose sums are in another order on other numbers of threads.
    """
    total = weights.sum()
    mean = np.array([(weights * values).sum() for values in both]) / total
    centred = both - mean[:, None]
    covariance = np.empty((len(both), len(both)))
    for row, values in enumerate(centred):
        weighted = weights * values
        for col in range(row, len(both)):
            covariance[row, col] = covariance[col, row] = (weighted * centred[col]).sum() / total
    return mean, covariance, np.abs(both).max(axis=1) if both.size else mean


def _own_bands(covariance: Floats, largest: Floats, bands: int) -> tuple[int, ...]:
    """The bands that vary at both dates, and are no combination of those before them."""
    kept: list[int] = []
    for band in range(bands):
        if all(
            _own_variance(covariance, [k + first for k in kept], band + first, largest)
            for first in (0, bands)
        ):
            kept.append(band)
    if not kept:
        raise BandError(
            f"all of the {bands} bands are constant at one of the dates; IR-MAD needs one that "
            "varies at both: look at what the dates show"
        )
    return tuple(kept)


def _own_variance(covariance: Floats, kept: list[int], band: int, largest: Floats) -> bool:
    """Whether a band varies beyond what the bands kept before it tell of it."""
    variance = covariance[band, band]
    if variance <= (1e-7 * largest[band]) ** 2:
        return False
    if not kept:
        return True
    predictors = [*kept, band]
    scale = np.sqrt(np.diag(covariance)[predictors])
    correlation = covariance[np.ix_(predictors, predictors)] / np.outer(scale, scale)
    with_kept = correlation[:-1, -1]
    explained = with_kept @ np.linalg.solve(correlation[:-1, :-1], with_kept)
    return bool(1 - explained > _OWN_VARIANCE)


def _canonical(both: Floats, weights: Floats, bands: tuple[int, ...]) -> CanonicalVariates:
    """Canonical correlation analysis of weighted pixels.

    By the singular values of the cross-covariance of whitened bands: those of the generalised
    eigenproblem ``S12 S22^-1 S21 a = rho^2 S11 a``, without squaring them.
    """
    count = len(bands)
    mean, covariance, _ = _moments(both, weights)
    scale = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(scale, scale)
    first, second = (
        np.linalg.cholesky(correlation[part, part]) for part in (slice(count), slice(count, None))
    )
    cross = solve_triangular(first, correlation[:count, count:], lower=True)
    cross = solve_triangular(second, cross.T, lower=True).T
    left, values, right = np.linalg.svd(cross)
    before = solve_triangular(first.T, left, lower=False).T[::-1]
    after = solve_triangular(second.T, right.T, lower=False).T[::-1]
    # Correlations of a variate with the standardised bands of the first date.
    sign = np.where((before @ correlation[:count, :count]).sum(axis=1) < 0, -1.0, 1.0)[:, None]
    return CanonicalVariates(
        bands=bands,
        before_mean=mean[:count],
        after_mean=mean[count:],
        before=sign * before / scale[:count],
        after=sign * after / scale[count:],
        correlations=np.minimum(values[::-1], 1.0),
    )
