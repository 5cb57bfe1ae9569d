"""Each predicted object is matched with at most one true one, greedily.

Two rules are common, and differ in three points:

========  ==========================  =================  ===========================
rule      order                       matches at         of equal overlaps
========  ==========================  =================  ===========================
score     highest score first (COCO)  ``>= threshold``   the later true object wins
order     as predictions are stored   ``> threshold``    the earlier true object wins
          (solaris, SpaceNet)
========  ==========================  =================  ===========================

In both, a predicted object takes the closest true object that is still free. Where predictions
have no scores, the pair that is closest of all is matched first, which no order decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from rsscale.object_scores.candidates import Candidates
from rsscale.object_scores.scored_objects import ScoredObjects

_Indices = npt.NDArray[np.intp]
_Flags = npt.NDArray[np.bool_]

Rule = Literal["score", "order"]
# pycocotools compares with min(threshold, 1 - 1e-10), so that 1 can be reached.
_MOST = 1 - 1e-10
# Pairs that are looked at together; those of objects that are matched by then are skipped.
_PAIRS = 20_000


def ranks(predicted: ScoredObjects, rule: Rule) -> _Indices:
    """When each predicted object may choose, 0 first; all at once where they have no scores."""
    count = len(predicted.shapes)
    if rule == "order":
        return np.arange(count)
    if predicted.scores is None:
        return np.zeros(count, np.intp)
    order = np.lexsort((np.arange(count), predicted.images, -predicted.scores))
    rank = np.empty(count, np.intp)
    rank[order] = np.arange(count)
    return rank


@dataclass(frozen=True)
class Outcome:
    """What became of each object at one threshold.

    Attributes
    ----------
    threshold : float
        Of intersection over union; the distance of points, negative.
    truth_of : intp array (P,)
        The true object of each predicted one; -1 without.
    closeness : float64 array (P,)
        Of the matched pairs; 0 without.
    is_true, is_false : bool arrays (P,)
        Matched with a true object that counts; matched with none, and counts. What is neither is
        left out.
    is_missed : bool array (T,)
        Counts, and is not matched.
    """

    threshold: float
    truth_of: _Indices
    closeness: npt.NDArray[np.float64]
    is_true: _Flags
    is_false: _Flags
    is_missed: _Flags

    def groups(self, predicted: _Indices, truth: _Indices) -> _Indices:
        """Groups of predicted objects: of its true object where it is matched, else its own."""
        if not len(truth):
            return predicted
        return np.where(self.truth_of >= 0, truth[self.truth_of], predicted)


def match(
    candidates: Candidates,
    rank: _Indices,
    threshold: float,
    *,
    rule: Rule,
    counts_predicted: _Flags,
    counts_truth: _Flags,
    strict: bool = False,
) -> Outcome:
    """Match objects at one threshold.

    A true object that does not count may be matched too, when none that counts is free; the
    predicted one is then left out instead of being false, as pycocotools does with objects outside
    of an area range.

    Parameters
    ----------
    candidates : Candidates
    rank : intp array (P,)
        See :func:`ranks`.
    threshold : float
    rule : str
    counts_predicted, counts_truth : bool arrays (P,), (T,)
    strict : bool
        Match only above the threshold; always so by the rule "order".
    """
    strict = strict or rule == "order"
    near = (
        candidates.closeness > threshold
        if strict
        else candidates.closeness >= min(threshold, _MOST)
    )
    p, t, closeness = (
        some[near] for some in (candidates.predicted, candidates.truth, candidates.closeness)
    )
    truth_of = np.full(len(counts_predicted), -1, np.intp)
    matched = np.zeros(len(truth_of))
    alone = (np.bincount(p)[p] == 1) & (np.bincount(t)[t] == 1) if len(p) else np.empty(0, bool)
    truth_of[p[alone]] = t[alone]
    matched[p[alone]] = closeness[alone]
    p, t, closeness = p[~alone], t[~alone], closeness[~alone]
    tie = t if rule == "order" else -t
    sequence = np.lexsort((tie, p, -closeness, ~counts_truth[t], rank[p]))
    taken = np.zeros(len(counts_truth), bool)
    for start in range(0, len(sequence), _PAIRS):
        some = sequence[start : start + _PAIRS]
        some = some[(truth_of[p[some]] < 0) & ~taken[t[some]]]
        # These compete: each takes the closest that is still free, in turn.
        for prediction, other, place in zip(
            p[some].tolist(), t[some].tolist(), some.tolist(), strict=True
        ):
            if truth_of[prediction] < 0 and not taken[other]:
                truth_of[prediction] = other
                taken[other] = True
                matched[prediction] = closeness[place]
    return _outcome(threshold, truth_of, matched, counts_predicted, counts_truth)


def _outcome(
    threshold: float,
    truth_of: _Indices,
    closeness: npt.NDArray[np.float64],
    counts_predicted: _Flags,
    counts_truth: _Flags,
) -> Outcome:
    is_matched = truth_of >= 0
    is_true = np.zeros(len(truth_of), bool)
    is_true[is_matched] = counts_truth[truth_of[is_matched]]
    is_missed = counts_truth.copy()
    is_missed[truth_of[is_matched]] = False
    return Outcome(
        threshold, truth_of, closeness, is_true, ~is_matched & counts_predicted, is_missed
    )
