"""The majority of classes in a disc around each pixel."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt


def majority(
    classes: npt.NDArray[np.integer], valid: npt.NDArray[np.bool_], radius: int
) -> npt.NDArray[np.integer]:
    """Classes that more pixels of a disc have than any other.

    Where two classes have as many, and no other has more, the pixel keeps its own, so that ties
    favour no class.

    Parameters
    ----------
    classes : integer array (y, x)
    valid : bool array (y, x)
        Pixels without it have no vote, and keep what they hold.
    radius : int
        Of the disc, px; what lies further away than ``radius`` rows or columns decides nothing.

    Returns
    -------
    array (y, x)
        Of the same type. Pixels nearer than ``radius`` to the image's edge have a cut disc.
    """
    most = np.zeros(classes.shape, np.int32)
    smoothed = classes.copy()
    for value in np.unique(classes[valid]):
        votes = _in_disc(valid & (classes == value), radius)
        more = votes > most
        smoothed[more] = value
        tied = (votes == most) & ~more
        smoothed[tied] = classes[tied]
        np.maximum(most, votes, out=most)
    smoothed[~valid] = classes[~valid]
    return smoothed


def _in_disc(mask: npt.NDArray[np.bool_], radius: int) -> npt.NDArray[np.int32]:
    """How many pixels of a mask lie in the disc around each pixel: running sums of its rows."""
    height, width = mask.shape
    sums = np.zeros((height + 2 * radius, width + 2 * radius + 1), np.int32)
    inside = (slice(radius, radius + height), slice(radius + 1, None))
    np.cumsum(np.pad(mask, ((0, 0), (0, radius))), axis=1, dtype=np.int32, out=sums[inside])
    total = np.zeros(mask.shape, np.int32)
    for down, half in _rows_of_disc(radius):
        rows = slice(radius + down, radius + down + height)
        total += sums[rows, radius + half + 1 : radius + half + 1 + width]
        total -= sums[rows, radius - half : radius - half + width]
    return total


def _rows_of_disc(radius: int) -> Iterator[tuple[int, int]]:
    """Rows of a disc from its centre, and half the width of each, rounded down."""
    for down in range(-radius, radius + 1):
        yield down, math.isqrt(radius**2 - down**2)
