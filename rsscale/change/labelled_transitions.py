"""Transitions counted from labels of the same places in several years.

What is counted is a Markov chain that is seen: each labelled pixel and the next year in which it is
labelled, Anderson & Goodman 1957, https://doi.org/10.1214/aoms/1177707039. Each row of the matrix
has a Dirichlet prior, so that a class with few labels is not told by these alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from rsscale.change.transitions import Matrix
from rsscale.layers import NODATA

Counts = Mapping[int, npt.NDArray[np.int64]]
"""Pixels ``(K, K)`` from class to class, by the years between two labels."""
_ROUNDS, _TOLERANCE = 200, 1e-7


def count_transitions(
    years: Iterable[tuple[int, npt.NDArray[np.uint8]]], values: npt.NDArray[np.uint8]
) -> dict[int, npt.NDArray[np.int64]]:
    """Count what labelled pixels become until they are labelled again.

    Parameters
    ----------
    years : iterable of (year, uint8 array (y, x))
        In order; class values, 255 where unlabelled.
    values : uint8 array (K,)
        Those of the classes; pixels of others are unlabelled.

    Returns
    -------
    dict of int to int64 array (K, K)
        By the years between the two labels.
    """
    number_of = np.full(NODATA + 1, NODATA, np.uint8)
    number_of[values] = np.arange(len(values))
    counts: dict[int, npt.NDArray[np.int64]] = {}
    last: npt.NDArray[np.uint8] | None = None  # the latest label of each pixel, and its year
    of_year: npt.NDArray[np.int16] | None = None
    for year, labels in years:
        now = number_of[labels]
        if last is None or of_year is None:
            last, of_year = now, np.full(now.shape, year, np.int16)
            continue
        is_again = (now != NODATA) & (last != NODATA)
        before, after, gaps = last[is_again], now[is_again], year - of_year[is_again]
        for gap in np.unique(gaps).tolist():
            codes = before[gaps == gap].astype(np.int64) * len(values) + after[gaps == gap]
            counted = np.bincount(codes, minlength=len(values) ** 2)
            counts[gap] = counts.get(gap, 0) + counted.reshape(len(values), len(values))
        last = np.where(now != NODATA, now, last)
        of_year[now != NODATA] = year
    return counts


def matrix_from_counts(counts: Counts, begin: Matrix, pseudocount: float) -> tuple[Matrix, Matrix]:
    """Estimate the transition matrix of a year, and how often each transition happened.

    Of labels that are several years apart, the years between are what is not known: expectation
    maximisation over them.

    Parameters
    ----------
    counts : mapping of int to int array (K, K)
        See :func:`count_transitions`.
    begin : float array (K, K)
        The mean of the prior; what is 0 stays 0.
    pseudocount : float
        Pixels beside those of each class, which became what ``begin`` says: above 0.

    Returns
    -------
    (float array (K, K), float array (K, K))
        Probabilities, and numbers of transitions of a year; both are 0 where ``begin`` is.
    """
    matrix, made = begin, np.zeros(begin.shape)
    for _ in range(_ROUNDS):
        made = np.zeros(begin.shape)
        for gap in sorted(counts):
            made += _expected(counts[gap].astype(np.float64), gap, matrix)
        weighted = made + pseudocount * begin
        updated = weighted / weighted.sum(axis=1, keepdims=True)
        difference = np.abs(updated - matrix).max()
        matrix = updated
        if difference < _TOLERANCE:
            break
    return matrix, made


def forbidden_in(counts: Counts, begin: Matrix) -> list[tuple[int, int, int]]:
    """Transitions that are labelled and can't happen: from, to, and how many pixels."""
    forbidden = np.zeros(begin.shape, np.int64)
    for gap, pixels in counts.items():
        forbidden += np.where(np.linalg.matrix_power(begin, gap) > 0, 0, pixels)
    return [(int(i), int(j), int(forbidden[i, j])) for i, j in np.argwhere(forbidden)]


def _expected(pixels: npt.NDArray[np.float64], gap: int, matrix: Matrix) -> Matrix:
    """Expected transitions of a year, given the classes at both ends of so many years."""
    powers = [np.linalg.matrix_power(matrix, years) for years in range(gap + 1)]
    # Ends between which no path is possible are as if they were not seen.
    weight = np.divide(pixels, powers[gap], out=np.zeros_like(pixels), where=powers[gap] > 0)
    made = sum(
        powers[year].T @ weight @ powers[gap - 1 - year].T for year in range(gap)
    )  # from a at `year` to b at the next: P(a | i, year) · P(j | b, rest)
    expected: Matrix = made * matrix
    return expected
