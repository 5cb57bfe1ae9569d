"""Which labelled pixels of a chip learners of single pixels learn from, and all are tested on."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from rsscale.geo.lattice import position_hash
from rsscale.layers import NODATA

MOST_PIXELS = 1000
"""Labelled pixels of a class that are taken of a chip, spread over it: those beside are alike."""


def chosen_pixels(
    labels: npt.NDArray[np.uint8], origin: tuple[int, int], most: int
) -> tuple[npt.NDArray[np.int64], Counter[int]]:
    """Labelled pixels of a chip, of each class at most so many.

    Those whose position on the grid has the smallest hash: the same ones whoever reads the chip,
    in whatever order, and however much of its surroundings is read with it.

    Parameters
    ----------
    labels : uint8 array (rows, cols)
        Class values; 255 where unlabelled, or where nothing was seen.
    origin : (int, int)
        Row and column of the first pixel on the grid.
    most : int

    Returns
    -------
    (int64 array, Counter of class value to int)
        Flat numbers, ascending, and how many pixels of each class were not taken.
    """
    chosen, thinned = [np.zeros(0, np.int64)], Counter[int]()
    flat = labels.ravel()
    for value in np.unique(flat[flat != NODATA]).tolist():
        pixels = np.flatnonzero(flat == value)
        if len(pixels) > most:
            rows, cols = np.unravel_index(pixels, labels.shape)
            hashes = position_hash(rows + origin[0], cols + origin[1])
            thinned[value] = len(pixels) - most
            pixels = pixels[np.argpartition(hashes, most)[:most]]
        chosen.append(pixels)
    return np.sort(np.concatenate(chosen)), thinned
