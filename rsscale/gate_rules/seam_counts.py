"""Count how neighbours differ across lines of a map, and beside the lines, in short segments.

A pair of neighbours across a line is compared with a pair on the same row (or column) some pixels
aside. Pixels along a line are alike, so a segment of the line is one observation, not its pixels.
Segments lie on a lattice that is anchored to the grid, and all sums are whole numbers, so that
nothing but the lines of the tiles themselves depends on how the work was cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.geo.lattice import PixelBox, position_hash

SEGMENT = 128
"""Length of a segment, px: beyond it land cover hardly resembles itself."""
ASIDE = 16
"""Distance from a line to the pair that its own is compared with, px."""
REACH = ASIDE + 1
"""Pixels around a tile that its segments depend on."""
FAMILIES = ("tiles", "windows", "zones", "scenes")
"""Kinds of lines. A pair at a line between tiles is none of windows, one at a line of windows is
none of zones, and one at the edge of a zone is none of scenes."""

_Array = npt.NDArray[np.int64]
_Flags = npt.NDArray[np.bool_]
# Sums of a segment: pairs, then each measure across the line and aside.
SUMS = (
    "pairs", "across_classes", "aside_classes", "across_confidence", "aside_confidence",
    "across_step", "aside_step",
)  # fmt: skip


@dataclass(frozen=True)
class Layers:
    """Layers of one period over a tile and :data:`REACH` pixels around it.

    Attributes
    ----------
    box : PixelBox
        What the arrays cover.
    classes : array (row, col)
        Class values.
    valid : bool array (row, col)
        Where there is a class, and a confidence where that is counted.
    confidence : array (row, col), optional
        Percent.
    edges : mapping of family to array (row, col)
        Labels of the scenes, and of the zones, that cover a pixel: lines are where they change.
    """

    box: PixelBox
    classes: npt.NDArray[np.int64]
    valid: _Flags
    confidence: npt.NDArray[np.int64] | None
    edges: Mapping[str, npt.NDArray[np.uint64]]

    def transposed(self) -> Layers:
        """Columns for rows, so that lines that run east become lines that run south."""
        box = self.box
        return Layers(
            PixelBox(box.col0, box.row0, box.col1, box.row1),
            self.classes.T,
            self.valid.T,
            None if self.confidence is None else self.confidence.T,
            {name: labels.T for name, labels in self.edges.items()},
        )


@dataclass(frozen=True)
class Segments:
    """Sums of the segments of one family of lines, as columns.

    Attributes
    ----------
    family : str
    is_horizontal : bool
        Whether the line runs east.
    rows, cols : int64 array (N,)
        Which segment: row and column of its first pixel over :data:`SEGMENT`.
    owned : bool array (N,)
        Whether it counts in the sum over all tiles; else it is of a neighbour, and is here since
        the line is a border of the tile.
    sums : mapping of name to int64 array (N,)
        :data:`SUMS`.
    """

    family: str
    is_horizontal: bool
    rows: _Array
    cols: _Array
    owned: _Flags
    sums: Mapping[str, _Array]


def count_segments(
    layers: Layers, core: PixelBox, tile: int, stride: int | None
) -> Iterator[Segments]:
    """Segments of all lines of a tile, for each family and direction.

    Parameters
    ----------
    layers : Layers
    core : PixelBox
        The tile: a pair counts in it whose second pixel, the one east or south of the line, lies
        in it. Borders of the tile with its neighbours east and south are given too, not owned.
    tile : int
        Distance of the lines between tiles, px.
    stride : int, optional
        Distance of the lines between model windows, px.
    """
    turned = PixelBox(core.col0, core.row0, core.col1, core.row1)
    for is_horizontal, part, inner in (
        (False, layers, core),
        (True, layers.transposed(), turned),
    ):
        for family, across, avoided in _lines(part, tile, stride):
            segments = _segments(part, inner, across, avoided, is_horizontal=is_horizontal)
            if segments is not None:
                yield Segments(family, is_horizontal, *segments)


def _lines(layers: Layers, tile: int, stride: int | None) -> Iterator[tuple[str, _Flags, _Flags]]:
    """For each family: where a line runs between a pixel and the one before it in its row.

    With it where any line runs that a pair aside must not lie at. For the edges of scenes that is
    none between tiles, so that what they give does not depend on the width of the tiles.
    """
    box, none = layers.box, np.zeros(layers.box.shape, bool)
    cols = np.arange(box.col0, box.col1)
    tiles = np.broadcast_to(cols % tile == 0, box.shape)
    windows = none if stride is None else np.broadcast_to(cols % stride == 0, box.shape)
    zones, scenes = (_changes(layers.edges.get(name), none) for name in ("zones", "scenes"))
    others = windows | zones | scenes
    yield "tiles", tiles, tiles | others
    if stride is not None:
        yield "windows", windows & ~tiles, tiles | others
    if layers.edges:
        yield "zones", zones & ~windows, others
        yield "scenes", scenes & ~(windows | zones), others


def _changes(labels: npt.NDArray[np.uint64] | None, none: _Flags) -> _Flags:
    """Where a label differs from that of the pixel before in its row."""
    if labels is None:
        return none
    changes = none.copy()
    changes[:, 1:] = labels[:, 1:] != labels[:, :-1]
    return changes


def _segments(
    layers: Layers, core: PixelBox, across: _Flags, avoided: _Flags, *, is_horizontal: bool
) -> tuple[_Array, _Array, _Flags, dict[str, _Array]] | None:
    """Rows, columns, whose they are, and sums; None where there is no pair."""
    box = layers.box
    rows, cols = core.slices(box)
    # One column more: the border with the next tile.
    row, col = np.nonzero(across[rows, cols.start : cols.stop + 1])
    row, col = row + rows.start, col + cols.start
    block_row, block_col = (row + box.row0) // SEGMENT, (col + box.col0) // SEGMENT
    at = _aside(block_row, block_col, is_horizontal=is_horizontal) + col
    usable = (at >= 1) & (at < box.shape[1]) & (col >= 1)
    row, col, at = row[usable], col[usable], at[usable]
    block_row, block_col = block_row[usable], block_col[usable]
    valid = layers.valid
    good = valid[row, col] & valid[row, col - 1] & valid[row, at] & valid[row, at - 1]
    good &= ~avoided[row, at]
    if not good.any():
        return None
    row, col, at = row[good], col[good], at[good]
    owned = col < cols.stop
    keys = np.stack([block_row[good], block_col[good], owned])
    segment_keys, segment = np.unique(keys, axis=1, return_inverse=True)
    segment = segment.reshape(-1)  # NumPy 2.0 gave it another shape

    def total(values: npt.NDArray[Any]) -> _Array:
        sums = np.bincount(segment, weights=values, minlength=segment_keys.shape[1])
        return np.rint(sums).astype(np.int64)  # exact: far below 2 ** 53

    sums = dict(zip(SUMS, _measured(layers, row, col, at, total), strict=True))
    block = segment_keys if not is_horizontal else segment_keys[[1, 0, 2]]
    return block[0], block[1], block[2] == 1, sums


def _measured(
    layers: Layers,
    row: _Array,
    col: _Array,
    at: _Array,
    total: Callable[[npt.NDArray[Any]], _Array],
) -> Iterator[_Array]:
    """Pairs, and each measure across and aside, in the order of :data:`SUMS`."""
    yield total(np.ones(len(row), np.int64))
    places = (col, at)
    for here in places:
        yield total(layers.classes[row, here] != layers.classes[row, here - 1])
    if layers.confidence is None:
        for _ in range(4):
            yield total(np.zeros(len(row), np.int64))
        return
    steps = [layers.confidence[row, here] - layers.confidence[row, here - 1] for here in places]
    yield from (total(np.abs(step)) for step in steps)
    yield from (total(step) for step in steps)


def _aside(block_row: _Array, block_col: _Array, *, is_horizontal: bool) -> _Array:
    """On which side of the line a segment is compared: by its place, so that both are as frequent.

    Of two pairs of which neither is at a line it is then chance which differs more: their
    difference is symmetric about zero, which :mod:`rsscale.gate_rules.seam_test` needs.
    """
    rows, cols = (block_col, block_row) if is_horizontal else (block_row, block_col)
    mixed = position_hash(2 * rows + is_horizontal, cols)
    return np.where((mixed >> np.uint64(7)) & np.uint64(1), ASIDE, -ASIDE)
