"""Whether neighbours differ more across lines than beside them: a paired test over segments.

Each segment of a line gives a difference, across less aside. Without a seam both come from the
same land, so that the sign of each difference is chance: the sum of all is compared with the
sums of all ways to turn the signs (Fisher, The Design of Experiments, 1935, section 21). That the
spread along a line is of any form, and pixels of a segment depend on each other, does not matter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

MOST = 2000
"""Differences that are turned one by one; of more, their sum is all but normal."""
_TURNS = 19_999
_AT_ONCE = 500


@dataclass
class Differences:
    """Differences of segments, summed as they come.

    Attributes
    ----------
    count : int
        Segments.
    pairs : int
        Pairs of pixels in them.
    across, aside : int
        Sums of the measure across the lines, and aside.
    squares : int
        Sum of the squared differences.
    kept : list of int
        The differences that are not zero, as long as they are few.
    """

    count: int = 0
    pairs: int = 0
    across: int = 0
    aside: int = 0
    squares: int = 0
    nonzero: int = 0
    kept: list[int] = field(default_factory=list)

    def add(self, pairs: npt.ArrayLike, across: npt.ArrayLike, aside: npt.ArrayLike) -> None:
        """Add segments: one value each, whole numbers."""
        here, there = (np.asarray(v, np.int64) for v in (across, aside))
        differences = here - there
        self.count += len(differences)
        self.pairs += int(np.sum(np.asarray(pairs, np.int64)))
        self.across += int(here.sum())
        self.aside += int(there.sum())
        self.squares += int((differences * differences).sum())
        differences = differences[differences != 0]
        self.nonzero += len(differences)
        if self.nonzero <= MOST:
            self.kept += differences.tolist()
        else:
            self.kept = []

    @property
    def excess(self) -> float | None:
        """By how much more, of a pair in the mean; None without a pair."""
        return (self.across - self.aside) / self.pairs if self.pairs else None

    @property
    def least_p(self) -> float:
        """The smallest p-value that so many segments can give."""
        return 2.0**-self.nonzero

    def p_value(self) -> float:
        """Probability of such a sum, or a larger one, where there is no seam; 1 without segments.

        The same whatever the order of the segments. Not smaller than 1 / 20,000 times its true
        value is resolved by turning signs; below, Hoeffding's bound holds for any form (1963,
        doi:10.1080/01621459.1963.10500830).
        """
        if not self.squares:
            return 1.0
        total = self.across - self.aside
        z = total / math.sqrt(self.squares)
        if self.nonzero > MOST:
            return 0.5 * math.erfc(z / math.sqrt(2))
        return min(self._turned(total), self.bound(z))

    @staticmethod
    def bound(z: float) -> float:
        """What the p-value of a sum of ``z`` standard deviations can't exceed."""
        return math.exp(-z * z / 2) if z > 0 else 1.0

    def _turned(self, total: int) -> float:
        """Share of the ways to turn the signs that give as large a sum."""
        values = np.array(sorted(self.kept), np.float64)
        random = np.random.default_rng(0)
        reached = 0
        for start in range(0, _TURNS, _AT_ONCE):
            turns = min(_AT_ONCE, _TURNS - start)
            signs = random.integers(0, 2, (turns, len(values)), np.int8) * 2 - 1
            reached += int((signs @ values >= total - 0.5).sum())
        return (reached + 1) / (_TURNS + 1)
