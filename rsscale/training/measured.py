"""What was measured of models: scores of all that was tested, and some predictions of each place.

A country's labels are tested in folds, each of which has more predictions than fit into memory
together. Scores are those of all of them; what needs predictions themselves, such as calibration,
in which places weigh the same, has at most so many of each place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rsscale.accuracy.sample_scores import Scores
from rsscale.learners.base import Predictions, Task

MOST = 500_000
"""Predictions that are kept of all places together, a few more where places are more."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Scores, and predictions to look at more closely.

    Attributes
    ----------
    scores : ClassScores or ValueScores
        Of all predictions that are numbers.
    predictions : Predictions
        At most a number of each place, of these too.
    not_numbers : int
        Predictions that are NaN or infinite, which count in neither.
    """

    scores: Scores
    predictions: Predictions
    not_numbers: int = 0

    @classmethod
    def of(cls, predictions: Predictions, task: Task, most_of_place: int) -> Measured:
        """Of the predictions of a model."""
        known = predictions.known
        kept = thinned(known, most_of_place)
        return cls(task.score(known), kept, len(predictions.truth) - len(known.truth))

    def __add__(self, other: Measured) -> Measured:
        return Measured(
            self.scores + other.scores,
            self.predictions + other.predictions,
            self.not_numbers + other.not_numbers,
        )


def most_of_place(places: int, most: int = MOST) -> int:
    """How many predictions are kept of a place, of so many places."""
    return max(most // max(places, 1), 1)


def thinned(predictions: Predictions, most: int) -> Predictions:
    """At most so many predictions of each place, drawn by the place alone, in their order.

    Which ones does not depend on what else is predicted.
    """
    groups, of, counts = np.unique(predictions.groups, return_inverse=True, return_counts=True)
    if not len(groups) or counts.max() <= most:
        return predictions
    order, keep = np.argsort(of, kind="stable"), np.ones(len(of), bool)
    first = np.cumsum(counts) - counts
    for group, start, count in zip(groups.tolist(), first, counts, strict=True):
        if count > most:
            own = order[start : start + count]
            random = np.random.default_rng(group % 2**63)
            keep[random.choice(own, count - most, replace=False)] = False
    return predictions.subset(keep)
