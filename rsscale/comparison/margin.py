"""By how much one learner is better than another, with an interval over places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rsscale.accuracy.place_interval import LEVEL
from rsscale.learners.base import Predictions, Task


@dataclass(frozen=True)
class Margin:
    """A difference of two learners.

    Attributes
    ----------
    learner, other : str
        Their names.
    measure : str
        What differs: ``"overall accuracy"``, or ``"R2"``, the mean over quantities.
    difference : float
        Of the learner to the other.
    low, high : float
        Its interval at ``LEVEL``; NaN with fewer than two places.
    places : int
        Groups of samples that it is over.
    """

    learner: str
    other: str
    measure: str
    difference: float
    low: float
    high: float
    places: int

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return bool(self.low > 0 or self.high < 0)

    def __str__(self) -> str:
        if not np.isfinite(self.low):
            return (
                f"{self.learner} over {self.other}: {self.difference:+.4f} {self.measure}, of "
                f"{self.places} place: no interval"
            )
        clear = "" if self.is_clear else "; no clear difference"
        return (
            f"{self.learner} over {self.other}: {self.difference:+.4f} {self.measure}, "
            f"{LEVEL:.0%} interval {self.low:+.4f} to {self.high:+.4f} over {self.places} places"
            f"{clear}"
        )


def gains(task: Task, predictions: Predictions) -> npt.NDArray[np.float64]:
    """What each sample ``(N,)`` adds to overall accuracy, or to the mean R2: their mean is it.

    A prediction that is no number adds nothing: it is as bad as a wrong class, or the mean.
    """
    numbers, truth = predictions.numbers, predictions.truth
    if task.classes:
        right: npt.NDArray[np.bool_] = numbers.argmax(axis=1) == truth
        right &= predictions.are_numbers
        return right.astype(np.float64)
    spread = truth.var(axis=0)
    squares = (numbers.astype(np.float64) - truth) ** 2
    explained: npt.NDArray[np.float64] = 1 - squares / np.where(spread > 0, spread, np.nan)
    return np.where(predictions.are_numbers, explained.mean(axis=1), 0.0)
