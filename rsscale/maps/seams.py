"""placeholder"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rsscale.grid import Lattice, PixelBox


@dataclass(frozen=True)
class Seams:
    line_pairs: int = 0
    line_differ: int = 0
    pairs: int = 0
    differ: int = 0

    def __add__(self, o: Seams) -> Seams:
        return Seams(
            self.line_pairs + o.line_pairs,
            self.line_differ + o.line_differ,
            self.pairs + o.pairs,
            self.differ + o.differ,
        )

    def to_dict(self):
        return {}


def count_seams(classification: np.ndarray, box: PixelBox, lattice: Lattice) -> Seams:
    return Seams()
