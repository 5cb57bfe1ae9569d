"""What the imagery says of a change beside the maps: a second emission of the temporal model.

Maps of two years err by themselves, and differ where nothing changed. How far a pixel moved between
the two dates of imagery is further evidence: of fields that one map got wrong it is that of
unchanged fields, and of a change mostly larger. The distribution of magnitudes where a class
stayed, and that where any class became another, are estimated with the transitions, by expectation
maximisation over a sample (Dempster, Laird & Rubin 1977); no labels are needed, and a magnitude
needs no unit and no threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rsscale.change.hidden_markov import Chain, Floats, expected, from_pairs
from rsscale.change.transition_sample import BEGIN_COUNTS, FEWEST, estimate
from rsscale.change.transitions import Matrix, over_years
from rsscale.layers import NODATA

Codes = npt.NDArray[np.uint8]
UNSEEN = 0
"""The code of a pixel that has no magnitude."""
_CODES = 256
# Codes of floats: eighths of powers of two, of 2^-16 to 2^15.
_PER_OCTAVE, _SMALLEST = 8, -16
_BINS = 24
# Pixels with magnitudes as all pixels have them, which each class that stayed, and all changes, are
# taken to have had: a class of a few pixels has no evidence of its own.
_STAYED_COUNTS, _CHANGED_COUNTS = 20.0, 5.0
_ROUNDS, _TOLERANCE = 40, 1e-4


@dataclass(frozen=True, eq=False)
class Evidence:
    """How magnitudes are distributed where classes stay, and where they change.

    Attributes
    ----------
    first : int array (B,)
        The smallest code of each bin, rising; the first is 1.
    stayed : float64 array (K, B)
        Shares of the bins where each class stayed.
    changed : float64 array (B,)
        Where a class became another.
    """

    first: npt.NDArray[np.int64]
    stayed: npt.NDArray[np.float64]
    changed: npt.NDArray[np.float64]

    def staying(self, codes: Codes) -> Floats:
        """How many times as probable a code is where each class stays as where it changes.

        Parameters
        ----------
        codes : uint8 array (P,)

        Returns
        -------
        float32 array (K, P)
            1 where nothing is seen.
        """
        ratio = np.ones((len(self.stayed), _CODES), np.float32)
        bins = self.bins(np.arange(1, _CODES, dtype=np.uint8))
        ratio[:, 1:] = (self.stayed / self.changed)[:, bins]
        odds: Floats = ratio[:, codes]
        return odds

    def bins(self, codes: Codes) -> npt.NDArray[np.intp]:
        """Numbers of the bins of codes that are seen."""
        return np.searchsorted(self.first, codes, side="right") - 1

    @classmethod
    def none(cls, classes: int) -> Evidence:
        """That of nothing: all is as probable where a class stays as where it changes."""
        return cls(np.ones(1, np.int64), np.ones((classes, 1)), np.ones(1))


def codes_of(values: npt.NDArray[np.float32] | npt.NDArray[np.uint8]) -> Codes:
    """Magnitudes in 255 steps, :data:`UNSEEN` for none, whatever their unit.

    Parameters
    ----------
    values : float32 or uint8 array
        Magnitudes of 0 or more, NaN for none: in eighths of powers of two. Or percents, 255 for
        none.
    """
    if values.dtype == np.uint8:
        percents = np.minimum(values, NODATA - 1) + np.uint8(1)
        return np.where(values == NODATA, np.uint8(UNSEEN), percents).astype(np.uint8)
    is_seen = np.isfinite(values)
    height = np.log2(np.where(is_seen, np.maximum(values, np.float32(1e-6)), np.float32(1)))
    steps = np.rint(_PER_OCTAVE * (height - _SMALLEST)).clip(0, _CODES - 2) + 1
    return np.where(is_seen, steps, UNSEEN).astype(np.uint8)


def smallest_of(codes: npt.NDArray[np.int64], *, percents: bool) -> npt.NDArray[np.float64]:
    """The smallest magnitude, or percent, of each code from 1; that of 1 is 0."""
    number = codes.astype(np.float64)
    edges = number - 1 if percents else np.exp2((number - 1.5) / _PER_OCTAVE + _SMALLEST)
    smallest: npt.NDArray[np.float64] = np.where(codes > 1, edges, 0.0)
    return smallest


def estimate_with_evidence(
    likelihood: Floats, codes: Codes, years: Sequence[int], begin: Matrix
) -> tuple[Matrix, Matrix, Evidence]:
    """Transitions of a year and what magnitudes tell, both of one sample.

    Where years follow each other both are estimated together, else the transitions by themselves
    and the evidence given them. Of fewer than :data:`FEWEST` pixels with a magnitude there is none.

    Parameters
    ----------
    likelihood : float32 array (T, K, P)
        Of the years, 1 where not seen.
    codes : uint8 array (T - 1, P)
        Of each year and the next of them.
    years : sequence of int
        In order.
    begin : float array (K, K)
        Where the transitions begin; what is 0 stays 0.

    Returns
    -------
    (float array (K, K), float array (K, K), Evidence)
        Probabilities, expected numbers of transitions, and the evidence.
    """
    classes = likelihood.shape[1]
    if (codes != UNSEEN).any(axis=0).sum() < FEWEST:
        return *estimate(likelihood, years, begin), Evidence.none(classes)
    gaps = np.diff(years)
    is_joint = bool((gaps == 1).all())
    matrix, pairs = (
        (begin, np.zeros_like(begin)) if is_joint else estimate(likelihood, years, begin)
    )
    everywhere, evidence = _beginning(codes, classes)
    first = np.full(classes, 1 / classes)
    for _ in range(_ROUNDS):
        steps = [over_years(matrix, int(gap)) for gap in gaps]
        chain = Chain(first, steps, [evidence.staying(of_step) for of_step in codes])
        expectation = expected(likelihood, chain)
        updated = _distributions(expectation.stayed, codes, everywhere, evidence)
        difference = np.abs(updated.stayed - evidence.stayed).max()
        if is_joint:
            pairs = expectation.pairs
            of_year = from_pairs(pairs, begin, BEGIN_COUNTS, matrix)
            difference = max(difference, np.abs(of_year - matrix).max())
            matrix = of_year
        evidence, first = updated, expectation.first
        if difference < _TOLERANCE:
            break
    return matrix, pairs, evidence


def _beginning(codes: Codes, classes: int) -> tuple[npt.NDArray[np.float64], Evidence]:
    """Shares of the bins among all pixels; and change that is ten times as often in the largest."""
    seen = codes[codes != UNSEEN]
    edges = np.quantile(seen, np.linspace(0, 1, _BINS + 1)[1:-1], method="lower")
    edges = np.unique(edges).astype(np.int64)
    first = np.concatenate([[1], edges[edges > 1]])
    everywhere = np.ones(len(first))
    begin = Evidence(first, np.tile(everywhere, (classes, 1)), everywhere)
    everywhere = np.bincount(begin.bins(seen), minlength=len(first)) / len(seen)
    # No bin is empty but the first: the smallest code may lie beyond it.
    everywhere = np.maximum(everywhere, 1e-6)
    changed = everywhere * np.linspace(0.2, 2, len(first))
    return everywhere, Evidence(first, np.tile(everywhere, (classes, 1)), changed / changed.sum())


def _distributions(
    stayed: Sequence[Floats], codes: Codes, everywhere: npt.NDArray[np.float64], before: Evidence
) -> Evidence:
    """The distributions of what is expected to have stayed, and of the rest."""
    count = len(everywhere)
    of_classes = _STAYED_COUNTS * np.tile(everywhere, (len(before.stayed), 1))
    changed = _CHANGED_COUNTS * everywhere
    for of_step, of_codes in zip(stayed, codes, strict=True):
        is_seen = of_codes != UNSEEN
        bins = before.bins(of_codes[is_seen])
        total = np.zeros(len(bins))
        for number, of_class in enumerate(of_step):
            weights = of_class[is_seen].astype(np.float64)
            of_classes[number] += np.bincount(bins, weights, count)
            total += weights
        changed += np.bincount(bins, np.maximum(1 - total, 0), count)
    shares = of_classes / of_classes.sum(axis=1, keepdims=True)
    return Evidence(before.first, shares, changed / changed.sum())
