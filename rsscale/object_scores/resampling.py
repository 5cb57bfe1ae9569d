"""Block bootstrap: objects near one another are drawn together, since their errors are alike.

Percentile intervals (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3;
blocks of the plane as in Lahiri 2003, "Resampling Methods for Dependent Data", chapter 12).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from rsscale.survey_estimators.estimates import Estimate

_Floats = npt.NDArray[np.float64]

LEAST_BLOCKS = 10
# The weights of all blocks in all resamples are held: a byte each.
_MOST_BLOCKS = 200_000
_ROWS, _COLUMNS = 2048, 64
# Of a figure that only some resamples have, the interval would be that of those.
_LEAST_SHARE = 0.95


@dataclass(frozen=True)
class Resampling:
    """Resamples of blocks with replacement, the same for each figure.

    Attributes
    ----------
    blocks : int
        Blocks that hold an object.
    resamples : int
        0 for no intervals.
    seed : int
    confidence : float
    """

    blocks: int
    resamples: int
    seed: int
    confidence: float

    @property
    def why(self) -> str:
        """Why there are no intervals; empty where there are."""
        if not self.resamples:
            return "no resamples are asked for"
        if self.blocks < LEAST_BLOCKS:
            return f"{self.blocks} of at least {LEAST_BLOCKS} blocks hold objects"
        if self.blocks > _MOST_BLOCKS:
            return f"{self.blocks:,} blocks; give wider ones, for at most {_MOST_BLOCKS:,}"
        return ""

    @cached_property
    def weights(self) -> npt.NDArray[np.uint8]:
        """How often each block is drawn, ``(blocks, resamples)``."""
        random = np.random.default_rng(self.seed)
        weights = np.zeros((self.blocks, self.resamples), np.uint8)
        for k in range(self.resamples):
            drawn = np.bincount(random.integers(self.blocks, size=self.blocks))
            weights[: len(drawn), k] = np.minimum(drawn, 255)
        return weights

    def sums(self, values: _Floats) -> _Floats:
        """Sums over the drawn blocks ``(resamples, k)`` of values ``(blocks, k)``."""
        total = np.zeros((self.resamples, values.shape[1]))
        used = np.flatnonzero(values.any(axis=1))
        for start in range(0, len(used), _ROWS):
            some = used[start : start + _ROWS]
            # Sums of a few thousand small numbers: single precision holds counts exactly.
            total += self.weights[some].T.astype(np.float32) @ values[some].astype(np.float32)
        return total

    def sums_of(
        self, block: npt.NDArray[np.intp], column: npt.NDArray[np.intp], columns: int
    ) -> _Floats:
        """How often objects are drawn ``(resamples, columns)``, by their block and column."""
        from scipy.sparse import coo_array

        shape = (columns, self.blocks)
        matrix = coo_array((np.ones(len(block), np.float32), (column, block)), shape=shape).tocsr()
        parts = [
            matrix @ self.weights[:, start : start + _COLUMNS].astype(np.float32)
            for start in range(0, self.resamples, _COLUMNS)
        ]
        return np.concatenate(parts, axis=1).T.astype(np.float64)

    def estimate(self, value: float, samples: _Floats) -> Estimate:
        """A figure with its standard error and percentile interval.

        Parameters
        ----------
        value : float
            Of all objects.
        samples : float64 array (resamples,)
            NaN where a resample does not have the figure.
        """
        good = samples[np.isfinite(samples)]
        if len(good) < _LEAST_SHARE * self.resamples:
            return Estimate(value, why="too few blocks hold such objects for an interval")
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(good, [tail, 1 - tail]).tolist()
        if low == high:
            return Estimate(value, why="all blocks agree, so that they tell no interval")
        return Estimate(value, float(good.std(ddof=1)), low, high)
