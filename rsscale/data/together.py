"""Which looks of a cube lie together, so that none takes room where it has no pixel."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from rsscale.data.assets import Selection
from rsscale.data.outlines import is_degrees
from rsscale.data.placement import OutputGrid
from rsscale.data.select import TURNS, raster_bounds
from rsscale.lattice import PixelBox

# More groups are more tasks: where rasters lie at random, they are told apart less finely.
_MOST_GROUPS = 16


def reaches(chosen: Selection, grid: OutputGrid, box: PixelBox) -> tuple[PixelBox, ...]:
    """The pixels of a box that each item may have values at; of empty boxes, it has none.

    By the rasters' own placement, as items of a tile are selected.

    Parameters
    ----------
    chosen : Selection
    grid : OutputGrid
    box : PixelBox
    """
    low, high = (box.row0, box.col0), (box.row1, box.col1)
    turns = TURNS if is_degrees(grid.crs) else (0.0,)
    found = []
    for west, south, east, north in raster_bounds(chosen, grid.crs):
        of_turns = []
        for turn in turns:
            # A pixel more on each side: a rounded bound must not cost one.
            start = np.floor(grid.position(west + turn, north)) - 1
            stop = np.ceil(grid.position(east + turn, south)) + 1
            ends = [np.clip(corner, low, high).astype(int).tolist() for corner in (start, stop)]
            inside = PixelBox(*ends[0], *ends[1])
            of_turns += [] if inside.empty else [inside]
        none = PixelBox(box.row0, box.col0, box.row0, box.col0)
        found.append(none if not of_turns else of_turns[0] if len(of_turns) == 1 else box)
    return tuple(found)


def most_looks(reach: Sequence[PixelBox]) -> int:
    """Items that meet in one pixel, where they are most."""
    rows = np.unique([edge for one in reach for edge in (one.row0, one.row1)])
    cols = np.unique([edge for one in reach for edge in (one.col0, one.col1)])
    looks = np.zeros((len(rows), len(cols)), int)
    for one in reach:
        (top, bottom), (left, right) = (
            np.searchsorted(rows, (one.row0, one.row1)),
            np.searchsorted(cols, (one.col0, one.col1)),
        )
        looks[top:bottom, left:right] += 1
    return int(looks.max(initial=0))


def lie_together(
    reach: Sequence[PixelBox], box: PixelBox, rows: Sequence[int], cols: Sequence[int]
) -> list[list[int]]:
    """Numbers of the items that reach the same chunks, in their order.

    Parameters
    ----------
    reach : sequence of PixelBox
        Of :func:`reaches`.
    box : PixelBox
        The cube.
    rows, cols : sequence of int
        Its chunks.
    """
    tops, lefts = (np.array([0, *accumulate(widths)][:-1]) for widths in (rows, cols))
    step = 1
    while True:
        groups: dict[tuple[int, ...], list[int]] = {}
        for number, one in enumerate(reach):
            touched = (
                *_touched(tops, one.row0 - box.row0, one.row1 - box.row0),
                *_touched(lefts, one.col0 - box.col0, one.col1 - box.col0),
            )
            key = () if one.empty else tuple(chunk // step for chunk in touched)
            groups.setdefault(key, []).append(number)
        if len(groups) <= _MOST_GROUPS:
            return list(groups.values())
        step *= 2


def _touched(starts: npt.NDArray[np.intp], first: int, stop: int) -> tuple[int, int]:
    """First and last chunk that hold some of the pixels."""
    return (
        int(np.searchsorted(starts, first, side="right")) - 1,
        int(np.searchsorted(starts, stop, side="left")) - 1,
    )
