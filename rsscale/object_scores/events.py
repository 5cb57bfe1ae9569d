"""What matching makes of the objects, as rows: a true, a false or a missed one each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rsscale.object_scores.matching import Outcome
from rsscale.object_scores.places import NOWHERE, Groups
from rsscale.object_scores.scored_objects import ScoredObjects

_Indices = npt.NDArray[np.intp]

TRUE, FALSE, MISSED = range(3)


@dataclass(frozen=True)
class Events:
    """True, false and missed objects at one threshold; what does not count is none of them.

    A true one lies where the true object does, also when the predicted one's centre is elsewhere:
    so that the counts of regions add up to those of the whole.

    Attributes
    ----------
    threshold : float
    state : int8 array (n,)
        ``TRUE``, ``FALSE`` or ``MISSED``.
    closeness : float64 array (n,)
        Of the true ones.
    rank : intp array (n,)
        Of predicted objects, by score; 0 of missed ones.
    classes, blocks, regions : intp arrays (n,)
    """

    threshold: float
    state: npt.NDArray[np.int8]
    closeness: npt.NDArray[np.float64]
    rank: _Indices
    classes: _Indices
    blocks: _Indices
    regions: _Indices

    @classmethod
    def of(
        cls,
        outcome: Outcome,
        predicted: ScoredObjects,
        truth: ScoredObjects,
        *,
        rank: _Indices,
        blocks: Groups,
        regions: Groups | None,
    ) -> Events:
        """The events of an outcome."""
        counts = np.flatnonzero(outcome.is_true | outcome.is_false)
        missed = np.flatnonzero(outcome.is_missed)
        states = np.where(outcome.is_true[counts], TRUE, FALSE)
        state = np.concatenate([states, np.full(len(missed), MISSED)]).astype(np.int8)
        nothing = np.zeros(len(missed))

        def groups(some: Groups | None) -> _Indices:
            if some is None:
                return np.full(len(state), NOWHERE)
            there = outcome.groups(some.predicted, some.truth)
            return np.concatenate([there[counts], some.truth[missed]])

        return cls(
            outcome.threshold,
            state,
            np.concatenate([outcome.closeness[counts], nothing]),
            np.concatenate([rank[counts], nothing.astype(np.intp)]),
            np.concatenate([predicted.classes[counts], truth.classes[missed]]),
            groups(blocks),
            groups(regions),
        )

    @property
    def truth(self) -> int:
        """True objects that count."""
        return int((self.state != FALSE).sum())

    def pick(self, mask: npt.NDArray[np.bool_]) -> Events:
        """Some of them."""
        return Events(
            self.threshold,
            self.state[mask],
            self.closeness[mask],
            self.rank[mask],
            self.classes[mask],
            self.blocks[mask],
            self.regions[mask],
        )

    def by_block(self, blocks: int) -> npt.NDArray[np.float64]:
        """True, false and missed objects of each block, ``(blocks, 3)``."""
        cells = self.blocks * 3 + self.state
        return np.bincount(cells, minlength=blocks * 3).reshape(blocks, 3).astype(np.float64)

    def overlap_by_block(self, blocks: int) -> npt.NDArray[np.float64]:
        """Sum of the closeness of true objects of each block, ``(blocks,)``."""
        return np.bincount(self.blocks, self.closeness, minlength=blocks).astype(np.float64)

    def ranked(self) -> tuple[npt.NDArray[np.bool_], _Indices]:
        """Of predicted objects, by rank: whether they are true, and their blocks."""
        some = np.flatnonzero(self.state != MISSED)
        some = some[np.argsort(self.rank[some], kind="stable")]
        return self.state[some] == TRUE, self.blocks[some]
