"""Probabilities that mean something: temperature, calibration error, conformal thresholds.

Everything is computed from scores or probabilities of pixels whose class is known, and that the
model was not trained on. Pixels of one place are alike, so a block of them, not a pixel, is what
counts: blocks weigh the same however many pixels they hold, and levels hold over blocks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rsscale.errors import ModelError

Floats = npt.NDArray[np.floating]
_BINS = 15
# Beyond these a temperature changes nothing that float32 tells apart.
_COLDEST, _HOTTEST = 0.05, 20.0


@dataclass(frozen=True)
class Reliability:
    """How often a class is right, by how probable it was said to be.

    Attributes
    ----------
    confidence, accuracy : array (bins,)
        Mean probability of the most probable class, and the share that was right; NaN for an empty
        bin.
    weight : array (bins,)
        Share of the pixels; with blocks, each block weighs the same.
    """

    confidence: Floats
    accuracy: Floats
    weight: Floats

    @property
    def error(self) -> float:
        """Expected calibration error: mean difference of the two, weighted.

        Naeini, Cooper & Hauskrecht 2015, https://doi.org/10.1609/aaai.v29i1.9602.
        """
        known = self.weight > 0
        gaps = np.abs(self.confidence[known] - self.accuracy[known])
        return float((self.weight[known] * gaps).sum())


def reliability(
    probability: Floats,
    truth: npt.NDArray[np.integer],
    groups: npt.NDArray[np.integer] | None = None,
    *,
    bins: int = _BINS,
) -> Reliability:
    """Compare stated with observed accuracy, in bins of equal width.

    Parameters
    ----------
    probability : float array (pixels, classes)
    truth : int array (pixels,)
        Index of the true class.
    groups : int array (pixels,), optional
        Blocks, which weigh the same; pixels do, when omitted.
    bins : int
    """
    best = probability.max(axis=1)
    right = probability.argmax(axis=1) == truth
    weight = block_weights(len(truth), groups)
    number = np.minimum((best * bins).astype(int), bins - 1)
    total = np.bincount(number, weight, bins).astype(np.float64)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(number, weight * best, bins) / total
        accuracy = np.bincount(number, weight * right, bins) / total
    return Reliability(confidence, accuracy, total)


def fit_temperature(
    scores: Floats,
    truth: npt.NDArray[np.integer],
    groups: npt.NDArray[np.integer] | None = None,
) -> float:
    """The temperature by which scores are divided so that their probabilities are calibrated.

    It minimises the cross-entropy of held-out pixels (Guo et al. 2017,
    https://arxiv.org/abs/1706.04599), which is convex in the inverse of the temperature.

    Parameters
    ----------
    scores : float array (pixels, classes)
        Before softmax. A single column is the score of a sigmoid, of the second of two classes.
    truth : int array (pixels,)
    groups : int array (pixels,), optional

    Returns
    -------
    float
        Above 1 where the model was too sure.

    Raises
    ------
    ModelError
        When there is no pixel, or scores are no numbers.
    """
    from scipy.optimize import minimize_scalar

    if not len(truth) or not np.isfinite(scores).all():
        raise ModelError(
            f"{len(truth)} held-out pixels with {int((~np.isfinite(scores)).sum())} scores that "
            "are no numbers; expected scores of pixels that were not trained on"
        )
    if scores.shape[1] == 1:
        scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
    weight = block_weights(len(truth), groups)

    def loss(log_temperature: float) -> float:
        logits = scores.astype(np.float64) / np.exp(log_temperature)
        logits -= logits.max(axis=1, keepdims=True)
        of_truth = logits[np.arange(len(truth)), truth] - np.log(np.exp(logits).sum(axis=1))
        return float(-(weight * of_truth).sum())

    bounds = (np.log(_COLDEST), np.log(_HOTTEST))
    minimum = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-4})
    return float(f"{np.exp(minimum.x):.4g}")


def softmax(scores: Floats, temperature: float = 1.0) -> Floats:
    """Probabilities of scores ``(pixels, classes)``; one column is that of a sigmoid."""
    if scores.shape[1] == 1:
        scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
    logits = scores.astype(np.float64) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    total: Floats = powers / powers.sum(axis=1, keepdims=True)
    return total


def conformal_thresholds(
    probability: Floats,
    truth: npt.NDArray[np.integer],
    groups: npt.NDArray[np.integer] | None = None,
    *,
    level: float = 0.9,
    by_class: bool = False,
) -> tuple[float, ...]:
    """Probabilities that a class must reach to be in a pixel's conformal set.

    The threshold of split conformal prediction: the quantile of the true class's probability over
    held-out blocks that leaves the true class in the set with the level, in a new block, on
    average. With ``n`` blocks a new one is the ``n + 1``-th of exchangeable ones, whose share is
    unknown and counted as missed.

    Parameters
    ----------
    probability : float array (pixels, classes)
        Calibrated or not.
    truth : int array (pixels,)
    groups : int array (pixels,), optional
        Blocks; each pixel is its own when omitted, which only points far apart are.
    level : float
        From 0 to 1.
    by_class : bool
        A threshold for each class, so that the level holds for each of them, as far as it has
        blocks; a class without any takes that over all.

    Returns
    -------
    tuple of float
        For each class; 0, all classes, where too few blocks are held out for the level.

    Raises
    ------
    ModelError
        When there is no pixel.
    """
    if not len(truth) or not 0 < level < 1:
        raise ModelError(
            f"conformal sets of level {level:g} from {len(truth)} pixels; expected a share between "
            "0 and 1, and pixels that were not trained on"
        )
    of_truth = probability[np.arange(len(truth)), truth]
    whole = _threshold(of_truth, groups, level)
    if not by_class:
        return tuple([whole] * int(probability.shape[1]))
    thresholds = []
    for number in range(probability.shape[1]):
        own = truth == number
        some = None if groups is None else groups[own]
        thresholds.append(_threshold(of_truth[own], some, level) if own.any() else whole)
    return tuple(thresholds)


def _threshold(of_truth: Floats, groups: npt.NDArray[np.integer] | None, level: float) -> float:
    weight = block_weights(len(of_truth), groups)
    blocks = len(of_truth) if groups is None else len(np.unique(groups))
    order = np.argsort(of_truth, kind="stable")
    # What may lie below: of n + 1 blocks, the share that the level leaves, less the one unknown.
    missed = (1 - level) - 1 / (blocks + 1)
    if missed < 0:
        return 0.0
    below = np.cumsum(weight[order]) * blocks / (blocks + 1)
    first = int(np.searchsorted(below, missed, side="right"))
    # Rounded down: a class at the threshold is in.
    return float(np.floor(of_truth[order[min(first, len(order) - 1)]] * 1e6) / 1e6)


def coverage(
    probability: Floats,
    truth: npt.NDArray[np.integer],
    thresholds: Iterable[float],
    groups: npt.NDArray[np.integer] | None = None,
) -> tuple[float, float]:
    """Share of pixels whose conformal set holds the true class, and the mean size of the sets.

    Parameters
    ----------
    probability : float array (pixels, classes)
    truth : int array (pixels,)
        Of pixels that neither the model nor the thresholds have seen.
    thresholds : iterable of float
        From :func:`conformal_thresholds`.
    groups : int array (pixels,), optional
        Blocks, which weigh the same.
    """
    inside = probability >= np.array(list(thresholds))
    np.put_along_axis(inside, probability.argmax(axis=1)[:, None], values=True, axis=1)
    weight = block_weights(len(truth), groups)
    holds = inside[np.arange(len(truth)), truth]
    return float((weight * holds).sum()), float((weight * inside.sum(axis=1)).sum())


def block_weights(pixels: int, groups: npt.NDArray[np.integer] | None) -> Floats:
    """Weights ``(pixels,)`` that add up to one: the same for each block, and within a block."""
    if groups is None:
        return np.full(pixels, 1 / max(pixels, 1))
    _, number, count = np.unique(groups, return_inverse=True, return_counts=True)
    weights: Floats = 1 / (len(count) * count[number])
    return weights
