"""Average precision as COCO computes it, and its value in resamples of blocks.

The mean of the precision at recalls 0, 0.01, …, 1, each the largest at that recall or a higher one
(Lin et al. 2014, "Microsoft COCO", https://arxiv.org/abs/1405.0312; pycocotools ``COCOeval``).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rsscale.object_scores.resampling import Resampling

_Floats = npt.NDArray[np.float64]
_Flags = npt.NDArray[np.bool_]
_Indices = npt.NDArray[np.intp]

# COCO's thresholds of intersection over union, and recalls; np.arange would miss their ends.
THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())
_RECALLS = np.linspace(0.0, 1.0, 101)
# Points of a curve in a resample: more are joined.
_POINTS = 2000


def average_precision(is_true: _Flags, truth: int) -> float:
    """Average precision of one class at one threshold.

    Parameters
    ----------
    is_true : bool array (n,)
        Of the predicted objects that count, by score, highest first.
    truth : int
        True objects; at least one.
    """
    right = np.cumsum(is_true, dtype=np.float64)
    wrong = np.cumsum(~is_true, dtype=np.float64)
    return float(_area(right[None], wrong[None], np.array([float(truth)]))[0])


def resampled_precision(
    is_true: _Flags, block: _Indices, truth: _Floats, total: int, resampling: Resampling
) -> _Floats:
    """Average precision in each resample; NaN where a resample has no true object.

    Parameters
    ----------
    is_true : bool array (n,)
        By score, highest first.
    block : intp array (n,)
        Of each of them.
    truth : float64 array (resamples,)
        True objects in each resample.
    total : int
        True objects.
    resampling : Resampling
    """
    count = len(is_true)
    points = max(min(count, _POINTS), 1)
    point = np.arange(count) * points // max(count, 1)
    # Both kinds at once: true objects in the first columns, false ones in those after them.
    drawn = resampling.sums_of(block, np.where(is_true, point, point + points), 2 * points)
    right, wrong = (np.cumsum(some, axis=1) for some in np.split(drawn, 2, axis=1))
    averages = _area(right, wrong, truth)
    if points < count:
        # Joined points reach less high; resamples are moved by what that does to the figure.
        once, no = (
            np.cumsum(np.bincount(point[some], minlength=points), dtype=np.float64)[None]
            for some in (is_true, ~is_true)
        )
        joined = _area(once, no, np.array([float(total)]))
        averages += average_precision(is_true, total) - joined
    return averages


def _area(right: _Floats, wrong: _Floats, truth: _Floats) -> _Floats:
    """Average precision of curves ``(R, n)`` with ``(R,)`` true objects."""
    # pycocotools adds the spacing of 1, which keeps what has no object yet at zero.
    precision = right / (right + wrong + np.spacing(1))
    highest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = right / truth[:, None]
    # All curves are searched at once, each moved beyond the one before; the first not at all.
    moved = 2.0 * np.arange(len(truth))[:, None]
    recall[truth <= 0] = 0
    at = np.searchsorted((recall + moved).ravel(), (_RECALLS + moved).ravel(), side="left")
    at = at.reshape(len(truth), -1) - np.arange(len(truth))[:, None] * right.shape[1]
    padded = np.hstack([highest, np.zeros((len(truth), 1))])  # recalls that are not reached
    averages: _Floats = np.take_along_axis(padded, at, axis=1).mean(axis=1)
    averages[truth <= 0] = np.nan
    return averages
