"""Permanent random numbers: each pixel has one by the seed and its place on the grid alone.

The units with the smallest numbers are a simple random sample without replacement, whoever looks
for them, tile by tile in any order. A larger sample holds the smaller one. (Ohlsson 1995,
Coordination of samples using permanent random numbers, in Business Survey Methods.)
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from rsscale.geo.lattice import PixelBox

Numbers = npt.NDArray[np.uint64]

LARGEST = 2**64 - 1
# SplitMix64 (Steele, Lea and Flood 2014): the increment, and the finalizer's factors.
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))


def pixel_numbers(seed: int, box: PixelBox) -> Numbers:
    """Random numbers of the pixels of a box; a pixel's does not depend on the box.

    Parameters
    ----------
    seed : int
    box : PixelBox
        Global pixels.

    Returns
    -------
    uint64 array (rows, cols)
        Uniform over all values of the type.
    """
    rows = _mixed_axis(seed, "row", np.arange(box.row0, box.row1))
    cols = _mixed_axis(seed, "col", np.arange(box.col0, box.col1))
    return _mix(rows[:, None] + cols[None, :])


def place_numbers(seed: int, purpose: str, rows: npt.ArrayLike, cols: npt.ArrayLike) -> Numbers:
    """Random numbers of places ``(row, col)``, for another purpose than to draw pixels.

    Parameters
    ----------
    seed : int
    purpose : str
        Numbers of different purposes have nothing to do with each other.
    rows, cols : int arrays (n,)

    Returns
    -------
    uint64 array (n,)
    """
    first = _mixed_axis(seed, f"{purpose} row", np.asarray(rows))
    second = _mixed_axis(seed, f"{purpose} col", np.asarray(cols))
    return _mix(first + second)


def uniform(seed: int, purpose: str, count: int) -> npt.NDArray[np.float64]:
    """A sequence of numbers in [0, 1); a longer one begins with the shorter."""
    numbers = place_numbers(seed, purpose, np.arange(count), np.zeros(count, np.int64))
    return (numbers >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed_axis(seed: int, purpose: str, index: npt.NDArray[np.int64]) -> Numbers:
    digest = hashlib.sha256(f"sample {seed} {purpose}".encode()).digest()
    key = np.frombuffer(digest[:8], "<u8")
    return _mix(index.astype(np.int64).view(np.uint64) * _STEP + key)


def _mix(numbers: Numbers) -> Numbers:
    numbers ^= numbers >> _SHIFTS[0]
    numbers *= _FIRST
    numbers ^= numbers >> _SHIFTS[1]
    numbers *= _SECOND
    numbers ^= numbers >> _SHIFTS[2]
    return numbers
