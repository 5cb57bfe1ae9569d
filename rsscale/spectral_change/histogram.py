"""A histogram whose bins are fixed beforehand: counts of tiles add up, however an area was cut.

Bins are those of the numbers themselves: the first bits of a float32, its power of two and 256
parts of each. A bin is at most 0.4 % wide, over all sizes of numbers, and nothing needs to be
known of the values before they are counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_SHIFT = np.uint32(15)  # of the 23 bits of a float32's fraction, 8 are kept


def bin_of(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32]:
    """The number of the bin of each value; values are 0 or more."""
    return np.ascontiguousarray(values, np.float32).view(np.uint32) >> _SHIFT


def lower_edge(bins: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """The smallest value of each bin."""
    bits = bins.astype(np.uint32) << _SHIFT
    return bits.view(np.float32).astype(np.float64)


@dataclass(frozen=True)
class Histogram:
    """How many values are in each bin.

    Attributes
    ----------
    bins : int array (N,)
        Numbers of bins with any value, rising.
    counts : int array (N,)
    """

    bins: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> Histogram:
        """Of values of 0 or more, none of them NaN."""
        bins, counts = np.unique(bin_of(values.astype(np.float32)), return_counts=True)
        return cls(bins.astype(np.int64), counts.astype(np.int64))

    @classmethod
    def added(cls, bins: npt.NDArray[np.integer], counts: npt.NDArray[np.integer]) -> Histogram:
        """The sum of many, bins of all of them one after the other: the same in any order."""
        every, place = np.unique(bins, return_inverse=True)
        total = np.zeros(len(every), np.int64)
        np.add.at(total, place, counts.astype(np.int64))
        return cls(every.astype(np.int64), total)

    @property
    def total(self) -> int:
        """How many values there are."""
        return int(self.counts.sum())

    @property
    def centres(self) -> npt.NDArray[np.float64]:
        """The middle of each bin."""
        return (lower_edge(self.bins) + lower_edge(self.bins + 1)) / 2

    def quantile(self, share: float) -> float:
        """The lower edge of the first bin beyond which at most ``1 - share`` of the values lie."""
        beyond = self.total - np.cumsum(self.counts)
        first = int(np.argmax(beyond <= (1 - share) * self.total + 1e-9))
        return float(lower_edge(self.bins[first] + 1))
