"""A sample of pixels over all years, and the transitions that are estimated from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rsscale.change.hidden_markov import Chain, estimate_steps
from rsscale.change.transitions import Matrix

MOST = 200_000
"""Pixels that transitions are estimated from, at most."""
FEWEST = 1000
"""Below so many the beginning is kept: rare transitions are not seen in a few hundred pixels."""
# Counts of each transition that are added before a matrix is made of them: none is impossible that
# was not said to be.
_PRIOR_COUNT = 1.0


def estimate(likelihood: npt.NDArray[np.float32], years: Sequence[int], begin: Matrix) -> Matrix:
    """The matrix of a year, estimated from likelihoods of a sample of pixels.

    Parameters
    ----------
    likelihood : float32 array (T, K, P)
        Of the years, 1 where not seen.
    years : sequence of int
        In order; those between that are not there are years that were not seen.
    begin : float array (K, K)
        Where it begins; what is 0 stays 0.
    """
    count, pixels = likelihood.shape[1:]
    if pixels < FEWEST:
        return begin
    thinned = likelihood[..., :: -(-pixels // MOST)]
    every = np.ones((years[-1] - years[0] + 1, count, thinned.shape[2]), np.float32)
    every[np.array(years) - years[0]] = thinned
    chain = Chain(np.full(count, 1 / count), [begin] * (len(every) - 1))
    matrix = estimate_steps(every, chain)
    weight = _PRIOR_COUNT / thinned.shape[2]
    mixed: Matrix = (1 - weight) * matrix + weight * begin
    return mixed
