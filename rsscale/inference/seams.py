"""Count label changes across window lines and across other lines of the same length, for seams.

Trimming is seamless only up to the model's receptive field. Where it reaches further, labels
change more often across a window line than half-way between two of them. Labels change along a
line as the land does, in runs: a line is one observation, its pixels are not. How far two
shares may differ by chance is told by how much they differ from line to line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.layers import NODATA

_CONFIDENCE = 0.95
_FEWEST_LINES = 5  # of fewer the interval is as wide as all that shares can be
_LINE, _BETWEEN = "line", "between"


@dataclass(frozen=True)
class LineSums:
    """Pairs of neighbouring valid pixels across lines, summed so that counts of boxes add up.

    Attributes
    ----------
    count : int
        Lines with at least one such pair; a line of several boxes counts once in each.
    pairs, differ : int
        Pairs; of them, with two different labels.
    pairs_squared, products, differ_squared : int
        Sums over lines of ``pairs ** 2``, ``pairs * differ`` and ``differ ** 2``.
    """

    count: int = 0
    pairs: int = 0
    differ: int = 0
    pairs_squared: int = 0
    products: int = 0
    differ_squared: int = 0

    def __add__(self, other: LineSums) -> LineSums:
        return LineSums(
            **{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        )

    @property
    def share(self) -> float | None:
        """Share of the pairs that differ; None without any pair."""
        return self.differ / self.pairs if self.pairs else None

    @property
    def variance(self) -> float | None:
        """Variance of the share, a ratio of sums over lines; None for fewer than two lines.

        Cochran, Sampling Techniques, 3rd edition 1977, section 6.3 and equation 6.13.
        """
        if self.count < 2 or self.share is None:
            return None
        squares = (
            self.differ_squared
            - 2 * self.share * self.products
            + self.share**2 * self.pairs_squared
        )
        return max(squares, 0.0) * self.count / (self.count - 1) / self.pairs**2


@dataclass(frozen=True)
class Seams:
    """Disagreement across window lines, and across the lines half-way between them.

    Counts of several boxes add up.

    Attributes
    ----------
    line : LineSums
        Across the lines at which two windows meet.
    between : LineSums
        Across as many lines in the middle of windows: what an invisible line would have.
    """

    line: LineSums = LineSums()
    between: LineSums = LineSums()

    def __add__(self, other: Seams) -> Seams:
        return Seams(self.line + other.line, self.between + other.between)

    @property
    def excess(self) -> float | None:
        """By how much the share along window lines is higher; None where one is not known."""
        if self.line.share is None or self.between.share is None:
            return None
        return self.line.share - self.between.share

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % confidence interval of the excess, by Student's t over lines; None if too few."""
        from scipy.special import stdtrit  # not scipy.stats, which takes half a second to import

        variances = self.line.variance, self.between.variance
        if self.excess is None or variances[0] is None or variances[1] is None:
            return None
        freedom = min(self.line.count, self.between.count) - 1
        width = float(stdtrit(freedom, (1 + _CONFIDENCE) / 2)) * math.sqrt(sum(variances))  # type: ignore[arg-type]
        return self.excess - width, self.excess + width

    @property
    def is_visible(self) -> bool:
        """Whether labels change more often across window lines than chance explains."""
        return self.interval is not None and self.interval[0] > 0

    def to_dict(self) -> dict[str, int]:
        """The sums, for JSON: ``line_count``, ``line_pairs``, … ``between_differ_squared``."""
        return {
            f"{name}_{field.name}": getattr(sums, field.name)
            for name, sums in ((_LINE, self.line), (_BETWEEN, self.between))
            for field in fields(sums)
        }

    @classmethod
    def from_dict(cls, counts: Mapping[str, Any]) -> Seams:
        """Inverse of :meth:`to_dict`; what is not there counts as 0."""
        return cls(
            *(
                LineSums(**{f.name: int(counts.get(f"{n}_{f.name}", 0)) for f in fields(LineSums)})
                for n in (_LINE, _BETWEEN)
            )
        )

    def __str__(self) -> str:
        """One line with both shares and what their difference may be by chance."""
        if self.line.share is None or self.between.share is None:
            return "not measured, since no tile holds a window line and one between"
        shares = (
            f"neighbours differ at {self.line.share:.2%} along {_lines(self.line.count)}, "
            f"{self.between.share:.2%} along {self.between.count} between"
        )
        few = min(self.line.count, self.between.count) < _FEWEST_LINES
        if self.interval is None or (few and not self.is_visible):
            return f"{shares}: too few lines to tell them apart"
        low, high = (100 * edge for edge in self.interval)
        verdict = "more than chance" if self.is_visible else "which may be chance"
        return f"{shares}: {low:+.2f} to {high:+.2f} points (95 %), {verdict}"


SEAM_FACTS = tuple(Seams().to_dict())
"""Names of the numbers of a box; those of several boxes are summed."""


def count_seams(classification: npt.NDArray[np.uint8], box: PixelBox, lattice: Lattice) -> Seams:
    """Count disagreement along window lines, and along as many lines between them.

    Parameters
    ----------
    classification : uint8 array (row, col)
        Class values; 255 is nodata, and a pair with such a pixel does not count.
    box : PixelBox
        The global pixels that it covers.
    lattice : Lattice
        Of the model's windows; in both ways of blending two windows meet at its lines.

    Returns
    -------
    Seams
        Of pairs inside the box. Pairs across its edge are not in it, so a box that holds no
        window line tells nothing about lines. Where it holds more lines of one kind than of the
        other, the last of these are left out.
    """
    return _across_rows(classification, box.row0, lattice.stride) + _across_rows(
        classification.T, box.col0, lattice.stride
    )


def _across_rows(labels: npt.NDArray[np.uint8], first: int, stride: int) -> Seams:
    """Pairs of each row and the next, of the rows that have a line between them."""
    upper, lower = labels[:-1], labels[1:]
    # The pair of rows r and r + 1 lies across a line when r + 1 is a multiple of the stride.
    across = np.arange((-first - 1) % stride, len(upper), stride)
    middle = np.arange((-first - 1 + stride // 2) % stride, len(upper), stride)
    number = min(len(across), len(middle)) if stride > 1 else 0
    return Seams(
        _sums(upper[across[:number]], lower[across[:number]]),
        _sums(upper[middle[:number]], lower[middle[:number]]),
    )


def _sums(upper: npt.NDArray[np.uint8], lower: npt.NDArray[np.uint8]) -> LineSums:
    """Of pairs (line, along): upper and lower are the rows on both sides of each line."""
    valid = (upper != NODATA) & (lower != NODATA)
    pairs = valid.sum(axis=1, dtype=np.int64)
    differ = (valid & (upper != lower)).sum(axis=1, dtype=np.int64)
    return LineSums(
        count=int((pairs > 0).sum()),
        pairs=int(pairs.sum()),
        differ=int(differ.sum()),
        pairs_squared=int((pairs * pairs).sum()),
        products=int((pairs * differ).sum()),
        differ_squared=int((differ * differ).sum()),
    )


def _lines(count: int) -> str:
    return f"{count} window line" if count == 1 else f"{count} window lines"
