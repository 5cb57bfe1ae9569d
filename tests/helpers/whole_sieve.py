"""The minimum mapping unit of a whole image, one piece after the other: slow, and plain to read."""

from __future__ import annotations

from collections import Counter

import numpy as np
from scipy import ndimage

from rsscale.geo.lattice import position_hash

CROSS = ndimage.generate_binary_structure(2, 1)
SQUARE = ndimage.generate_binary_structure(2, 2)


def whole_sieve(
    classes: np.ndarray,
    valid: np.ndarray,
    units: np.ndarray,
    least: dict[int, int],
    connectivity: int,
    place: tuple[int, int] = (0, 0),
) -> np.ndarray:
    """Classes after the rule of ``rsscale.patches.elimination``, by searching all pieces anew.

    ``place`` is where the first pixel lies on the grid; a class that ``least`` lacks is kept.
    """
    classes = classes.astype(np.int64)
    while (found := _next(classes, valid, units, least, connectivity, place)) is not None:
        piece, lot = found
        borders = _borders(piece, classes, valid, connectivity)
        longest = max(borders.values())
        tied = sorted(value for value, length in borders.items() if length == longest)
        classes = np.where(piece, tied[lot % len(tied)], classes)
    return classes


def _next(classes, valid, units, least, connectivity, place):
    """The small piece that is next and has a neighbour; with its lot."""
    best = None
    for value, unit in least.items():
        labels, count = ndimage.label(
            valid & (classes == value), SQUARE if connectivity == 8 else CROSS
        )
        for number in range(1, count + 1):
            piece = labels == number
            if units[piece].sum() >= unit or not _borders(piece, classes, valid, connectivity):
                continue
            row, col = np.argwhere(piece)[0]
            lot = int(position_hash(np.array([row + place[0]]), np.array([col + place[1]]))[0])
            if best is None or (piece.sum(), lot) < best[0]:
                best = (piece.sum(), lot), piece, lot
    return best and best[1:]


def _borders(piece, classes, valid, connectivity) -> dict[int, tuple[int, int]]:
    """Edges and corners that a piece shares with each class around it."""
    edges, corners = Counter(), Counter()
    height, width = piece.shape
    for row, col in np.argwhere(piece):
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                r, c = row + down, col + right
                if not (0 <= r < height and 0 <= c < width) or piece[r, c] or not valid[r, c]:
                    continue
                if abs(down) + abs(right) == 1:
                    edges[classes[r, c]] += 1
                elif abs(down) + abs(right) == 2 and connectivity == 8:
                    corners[classes[r, c]] += 1
    return {int(k): (edges[k], corners[k]) for k in edges | corners}
