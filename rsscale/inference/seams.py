"""Count label changes across window boundaries and elsewhere, to measure seams.

Trimming is seamless only up to the model's receptive field. Where it reaches further, labels
change more often across a window line than elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.inference.stack import rows_in_cache
from rsscale.layers import NODATA


@dataclass(frozen=True)
class Seams:
    """Pairs of neighbouring valid pixels, left and right or above and below.

    Counts of several boxes add up.

    Attributes
    ----------
    line_pairs, line_differ : int
        Pairs across a window line; of them, with two different labels.
    pairs, differ : int
        All other pairs; of them, with two different labels.
    """

    line_pairs: int = 0
    line_differ: int = 0
    pairs: int = 0
    differ: int = 0

    def __add__(self, other: Seams) -> Seams:
        return Seams(
            **{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        )

    @property
    def line_share(self) -> float | None:
        """Share of the pairs across a window line that differ; None without any pair."""
        return self.line_differ / self.line_pairs if self.line_pairs else None

    @property
    def share(self) -> float | None:
        """Share of all other pairs that differ: what an invisible line would have."""
        return self.differ / self.pairs if self.pairs else None

    def to_dict(self) -> dict[str, int]:
        """The four counts, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, counts: Mapping[str, Any]) -> Seams:
        """Inverse of :meth:`to_dict`."""
        return cls(**{f.name: int(counts[f.name]) for f in fields(cls)})


def count_seams(classification: npt.NDArray[np.uint8], box: PixelBox, lattice: Lattice) -> Seams:
    """Count disagreement along window lines, and everywhere else.

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
        window line tells nothing about lines.
    """
    return _across_rows(classification, box.row0, lattice.stride) + _across_rows(
        classification.T, box.col0, lattice.stride
    )


def _across_rows(labels: npt.NDArray[np.uint8], first: int, stride: int) -> Seams:
    """Pairs of each row and the next, by whether a line lies between them."""
    rows, found = rows_in_cache(4 * labels.shape[1]), Seams()
    for top in range(0, max(len(labels) - 1, 1), rows):  # a tile's masks would take its memory anew
        found += _pairs(labels[top : top + rows + 1], first + top, stride)
    return found


def _pairs(labels: npt.NDArray[np.uint8], first: int, stride: int) -> Seams:
    upper, lower = labels[:-1], labels[1:]
    valid = (upper != NODATA) & (lower != NODATA)
    differ = valid & (upper != lower)
    # The pair of rows r and r + 1 lies across a line when r + 1 is a multiple of the stride.
    lines = slice((-first - 1) % stride, None, stride)
    line_pairs, line_differ = int(valid[lines].sum()), int(differ[lines].sum())
    return Seams(
        line_pairs=line_pairs,
        line_differ=line_differ,
        pairs=int(valid.sum()) - line_pairs,
        differ=int(differ.sum()) - line_differ,
    )
