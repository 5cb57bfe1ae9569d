"""A hidden Markov model over yearly class probabilities: what a pixel was, and when it changed.

The state of a pixel is its class; what is seen of it in a year is the probability of each class by
a calibrated model, whose likelihood is that probability over the class's prior. Rabiner 1989,
https://doi.org/10.1109/5.18626; for land cover Abercrombie & Friedl 2016,
https://doi.org/10.1109/TGRS.2015.2463689.

Everything is elementwise over pixels, and sums over classes are made class by class: a value does
not depend on how the area was cut, to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Chain:
    """The model of a pixel's classes over times.

    Attributes
    ----------
    first : float array (K,)
        Probability of each class at the first time.
    steps : sequence of float array (K, K)
        From each time to the next: row ``i`` has the probabilities of what class ``i`` becomes.
    staying : sequence of float32 array (K, P)
        For each step, how many times as probable what else is seen of a pixel between its two
        times is where a class stayed as where it became another; empty where nothing else is.
    """

    first: npt.NDArray[np.float64]
    steps: Sequence[npt.NDArray[np.float64]]
    staying: Sequence[Floats] = ()

    def stay(self, step: int) -> Floats:
        """Weights ``(K, P)``, or ``(K, 1)``, of each class being the same after a step."""
        weights = _column(np.diag(self.steps[step]))
        return weights * self.staying[step] if self.staying else weights

    def on(self, probability: Floats, step: int) -> Floats:
        """What classes become: ``step.T @ probability``."""
        return self._moved(probability, step, self.steps[step].T)

    def back(self, seen: Floats, step: int) -> Floats:
        """What classes will have become: ``step @ seen``."""
        return self._moved(seen, step, self.steps[step])

    def _moved(self, values: Floats, step: int, rows: npt.NDArray[np.float64]) -> Floats:
        if not self.staying:
            return np.stack([_weighted(values, row) for row in rows])
        others = rows * (1 - np.eye(len(rows)))
        stayed = values * self.stay(step)
        return np.stack(
            [_weighted(values, row) + of for row, of in zip(others, stayed, strict=True)]
        )


@dataclass(frozen=True, eq=False)
class Marginals:
    """Probabilities of a pixel's classes, given all times.

    Attributes
    ----------
    classes : float32 array (T, K, P)
        Of each class at each time.
    change : float32 array (P,)
        That the class is not the same at all times from the first to the last that was seen.
    """

    classes: Floats
    change: Floats


def marginals(
    likelihood: Floats, chain: Chain, seen: npt.NDArray[np.bool_] | None = None
) -> Marginals:
    """Smooth class probabilities over time by the forward-backward algorithm.

    Parameters
    ----------
    likelihood : float32 array (T, K, P)
        Of what is seen, given each class; 1 for all classes where nothing is seen.
    chain : Chain
        Of T times and K classes.
    seen : bool array (T, P), optional
        At which times something is seen of a pixel; at all when omitted.
    """
    if seen is None:
        seen = np.ones((len(likelihood), likelihood.shape[2]), bool)
    forward, scale = _forward(likelihood, chain)
    classes = forward.copy()
    backward, after = np.ones_like(forward[0]), np.ones_like(forward[0])
    for time in range(len(forward) - 2, -1, -1):
        ahead = likelihood[time + 1] * backward / scale[time + 1]
        backward = chain.back(ahead, time)
        classes[time] *= backward
        if chain.staying:  # else nothing is known of what comes after the last time seen
            is_last = seen[time] & ~seen[time + 1 :].any(axis=0)
            after = np.where(is_last, backward, after)
    for time in range(len(classes)):
        classes[time] /= _total(classes[time])
    return Marginals(classes, 1 - _same(likelihood, chain, seen, after))


def best_path(likelihood: Floats, chain: Chain) -> npt.NDArray[np.uint8]:
    """The most probable sequence of classes ``(T, P)``, as numbers from 0, by Viterbi's algorithm.

    Of sequences that are as probable, the one without a change; then the lower class.

    Parameters
    ----------
    likelihood, chain
        As for :func:`marginals`.
    """
    times, count, pixels = likelihood.shape
    score = likelihood[0] * _column(chain.first)
    came_from = np.zeros((times, count, pixels), np.uint8)
    for time in range(1, times):
        score = score / _most(score)
        reached = np.empty_like(score)
        step, stay = chain.steps[time - 1].astype(np.float32), chain.stay(time - 1)
        for to in range(count):
            best, source = score[to] * stay[to], np.full(pixels, to, np.uint8)
            for of in range(count):
                if of == to or step[of, to] == 0:
                    continue
                other = score[of] * step[of, to]
                is_better = other > best
                best = np.where(is_better, other, best)
                source[is_better] = of
            reached[to], came_from[time, to] = best * likelihood[time, to], source
        score = reached
    path = np.empty((times, pixels), np.uint8)
    path[-1] = score.argmax(axis=0)
    for time in range(times - 1, 0, -1):
        path[time - 1] = np.take_along_axis(came_from[time], path[time][None], axis=0)[0]
    return path


@dataclass(frozen=True, eq=False)
class EstimatedSteps:
    """A transition matrix that was estimated from a sample.

    Attributes
    ----------
    matrix : float64 array (K, K)
    first : float64 array (K,)
        Shares of the classes at the first time.
    pairs : float64 array (K, K)
        How often each class becomes each other in the sample, as expected, over pixels and times.
    """

    matrix: npt.NDArray[np.float64]
    first: npt.NDArray[np.float64]
    pairs: npt.NDArray[np.float64]


def estimate_steps(
    likelihood: Floats,
    chain: Chain,
    *,
    begin_counts: float = 0.0,
    rounds: int = 50,
    tolerance: float = 1e-4,
) -> EstimatedSteps:
    """Estimate one transition matrix from a sample of pixels by expectation maximisation.

    Baum-Welch over all times; what is 0 in the chain stays 0. The first probabilities are estimated
    with it: were all classes as probable, doubtful pixels would begin as a rare class and leave it
    a year later, and a class of a thousandth of the land would seem to last a year.

    Parameters
    ----------
    likelihood : float32 array (T, K, P)
    chain : Chain
        Where it begins; its steps are all one matrix.
    begin_counts : float
        Transitions that each class is taken to have made already, as the beginning says: those of
        the Dirichlet prior of a row, which decides where a sample has few of a class.
    rounds : int
        At most.
    tolerance : float
        The largest difference of a probability that ends it.

    """
    begin = np.array(chain.steps[0])
    matrix, first = begin, np.array(chain.first, np.float64)
    pairs = np.zeros(begin.shape)
    for _ in range(rounds):
        now = Chain(first, [matrix] * len(chain.steps))
        expectation = expected(likelihood, now)
        pairs, first = expectation.pairs, expectation.first
        updated = from_pairs(pairs, begin, begin_counts, matrix)
        difference = np.abs(updated - matrix).max()
        matrix = updated
        if difference < tolerance:
            break
    return EstimatedSteps(matrix, first, pairs)


def from_pairs(
    pairs: npt.NDArray[np.float64],
    begin: npt.NDArray[np.float64],
    begin_counts: float,
    otherwise: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """The matrix of expected transitions and of those that ``begin`` has made; of none, another."""
    made = pairs + begin_counts * begin
    total = made.sum(axis=1, keepdims=True)
    matrix: npt.NDArray[np.float64] = np.where(
        total > 0, made / np.maximum(total, 1e-300), otherwise
    )
    return matrix


@dataclass(frozen=True, eq=False)
class Expected:
    """What is expected of a sample, given a chain.

    Attributes
    ----------
    pairs : float64 array (K, K)
        How often each class becomes each other, over pixels and times.
    first : float64 array (K,)
        Shares of the classes at the first time.
    stayed : sequence of float32 array (K, P)
        Of each step, the probability that a pixel is of a class before and after it; empty where
        the chain has no evidence of staying.
    """

    pairs: npt.NDArray[np.float64]
    first: npt.NDArray[np.float64]
    stayed: Sequence[Floats]


def expected(likelihood: Floats, chain: Chain) -> Expected:
    """The step of expectation: transitions of a sample, given a chain.

    Parameters
    ----------
    likelihood, chain
        As for :func:`marginals`.
    """
    forward, scale = _forward(likelihood, chain)
    count = likelihood.shape[1]
    backward = np.ones_like(forward[0])
    pairs, stayed = np.zeros((count, count)), []
    for time in range(len(forward) - 2, -1, -1):
        seen = likelihood[time + 1] * backward / scale[time + 1]
        made = (forward[time].astype(np.float64) @ seen.T) * chain.steps[time]
        if chain.staying:
            stayed.append(forward[time] * chain.stay(time) * seen)
            np.fill_diagonal(made, stayed[-1].sum(axis=1, dtype=np.float64))
        pairs += made
        backward = chain.back(seen, time)
    of_first = forward[0] * backward
    shares = (of_first / _total(of_first)).mean(axis=1, dtype=np.float64)
    return Expected(pairs, shares / shares.sum(), stayed[::-1])


def _forward(likelihood: Floats, chain: Chain) -> tuple[Floats, Floats]:
    """Probabilities given what was seen until then ``(T, K, P)``, and what they were divided by."""
    times, count, pixels = likelihood.shape
    forward = np.empty_like(likelihood)
    scale = np.empty((times, pixels), np.float32)
    expected = np.broadcast_to(_column(chain.first), (count, pixels))
    for time in range(times):
        np.multiply(expected, likelihood[time], out=forward[time])
        scale[time] = _total(forward[time])
        forward[time] /= scale[time]
        if time + 1 < times:
            expected = chain.on(forward[time], time)
    return forward, scale


def _same(likelihood: Floats, chain: Chain, seen: npt.NDArray[np.bool_], after: Floats) -> Floats:
    """Probability ``(P,)`` that the class is the same from the first to the last time seen.

    ``after`` ``(K, P)`` is how probable what is known of later is, given the class at the last one.
    """
    forward, scale = _forward(likelihood, chain)
    same, has_begun = forward[0], seen[0].copy()
    for time in range(1, len(likelihood)):
        stayed = same * likelihood[time] * chain.stay(time - 1) / scale[time]
        is_over = ~seen[time:].any(axis=0)
        same = np.where(is_over, same, np.where(has_begun, stayed, forward[time]))
        has_begun |= seen[time]
    return np.clip(_total(same * after), 0, 1)


def _weighted(values: Floats, weights: npt.NDArray[np.float64]) -> Floats:
    total = np.zeros(values.shape[1], np.float32)
    for of_class, weight in zip(values, weights, strict=True):
        if weight:
            total += of_class * np.float32(weight)
    return total


def _total(values: Floats) -> Floats:
    """Sum over classes, never 0."""
    total = values[0].copy()
    for of_class in values[1:]:
        total += of_class
    positive: Floats = np.maximum(total, np.float32(1e-30))
    return positive


def _most(values: Floats) -> Floats:
    positive: Floats = np.maximum(values.max(axis=0), np.float32(1e-30))
    return positive


def _column(values: npt.NDArray[np.float64]) -> Floats:
    column: Floats = values.astype(np.float32)[:, None]
    return column
