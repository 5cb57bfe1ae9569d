"""Boxes of global pixel indices, and the lattice of a model's windows.

Both cover the whole plane: a pixel has indices ``(row, col)`` counted from the grid's origin
(see :mod:`rsscale.geo.grid`), and no window depends on the area or the tile that is mapped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from rsscale.errors import RecipeError, nearest

WARP_BLOCK = 512
"""Width of the fixed blocks, anchored to the grid's origin, in which rasters are warped and shapes
are burnt, px. Values depend on such a block and never on the box that is read."""

Blend = Literal["trim", "hann"]
"""How overlapping windows of a model are joined; see :class:`Lattice`."""


@dataclass(frozen=True, order=True)
class PixelBox:
    """A half-open box of global pixel indices: rows ``[row0, row1)``, columns ``[col0, col1)``.

    Rows grow south, columns grow east. A box may be empty.
    """

    row0: int
    col0: int
    row1: int
    col1: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels, never negative."""
        return max(self.row1 - self.row0, 0), max(self.col1 - self.col0, 0)

    @property
    def empty(self) -> bool:
        """Whether there is no pixel in the box."""
        return 0 in self.shape

    def pad(self, pixels: int) -> PixelBox:
        """The box with ``pixels`` more on every side."""
        return PixelBox(
            self.row0 - pixels, self.col0 - pixels, self.row1 + pixels, self.col1 + pixels
        )

    def __and__(self, other: PixelBox) -> PixelBox:
        """The intersection, possibly empty."""
        return PixelBox(
            max(self.row0, other.row0),
            max(self.col0, other.col0),
            min(self.row1, other.row1),
            min(self.col1, other.col1),
        )

    def __or__(self, other: PixelBox) -> PixelBox:
        """The smallest box around both."""
        return PixelBox(
            min(self.row0, other.row0),
            min(self.col0, other.col0),
            max(self.row1, other.row1),
            max(self.col1, other.col1),
        )

    def slices(self, inside: PixelBox) -> tuple[slice, slice]:
        """Row and column slices of this box in an array that covers ``inside``."""
        return (
            slice(self.row0 - inside.row0, self.row1 - inside.row0),
            slice(self.col0 - inside.col0, self.col1 - inside.col0),
        )

    def snap(self, size: int) -> PixelBox:
        """The smallest box of whole ``size`` px blocks of the global lattice around this one."""
        return PixelBox(
            self.row0 // size * size,
            self.col0 // size * size,
            -(-self.row1 // size) * size,
            -(-self.col1 // size) * size,
        )

    def blocks(self, size: int) -> Iterator[PixelBox]:
        """Whole blocks of the global ``size`` px lattice that touch this box, row by row."""
        if self.empty:
            return
        around = self.snap(size)
        for row in range(around.row0, around.row1, size):
            for col in range(around.col0, around.col1, size):
                yield PixelBox(row, col, row + size, col + size)


@dataclass(frozen=True)
class Lattice:
    """Model windows on a lattice anchored to the grid's origin.

    Window ``(i, j)`` belongs to rows ``[i·stride, (i+1)·stride)`` and the same of columns, its
    core, and reads ``halo`` px more on every side. The stride is never derived from a tile, so
    that a pixel is always predicted in the same windows, however the work was cut.

    Attributes
    ----------
    stride : int
        Distance of the windows, the width of a core, px.
    halo : int
        Context on each side, px.
    blend : str
        ``"trim"``: a pixel is predicted by the one window in whose core it lies. ``"hann"``:
        over the ``2·halo`` px around each window line the probabilities of the windows on its two
        sides are mixed by a raised cosine; needs ``2·halo <= stride``.

    Raises
    ------
    RecipeError
        When there are no such windows.
    """

    stride: int
    halo: int
    blend: Blend = "trim"

    def __post_init__(self) -> None:
        if self.stride < 1 or self.halo < 0:
            raise RecipeError(
                f"model windows have stride {self.stride} and halo {self.halo}; "
                "the stride must be at least 1 px and the halo at least 0"
            )
        if self.blend not in get_args(Blend):
            raise RecipeError(
                f"model windows are blended by {self.blend!r}; expected 'trim' or 'hann'"
                f"{nearest(self.blend, get_args(Blend))}"
            )
        if self.blend == "hann" and 2 * self.halo > self.stride:
            raise RecipeError(
                f"model windows have stride {self.stride} and halo {self.halo}; blending with "
                "'hann' needs a stride of at least 2 halos, so use a larger stride or 'trim'"
            )

    @property
    def window(self) -> int:
        """Width of a window as the model sees it, px."""
        return self.stride + 2 * self.halo

    @property
    def _reach(self) -> int:
        """How far beyond its core a window contributes to pixels, px."""
        return self.halo if self.blend == "hann" else 0

    def influence(self, core: PixelBox) -> PixelBox:
        """Pixels that the window with this core contributes to.

        Its core when windows are trimmed, the whole window when they are blended.
        """
        return core.pad(self._reach)

    def cores(self, box: PixelBox) -> Iterator[PixelBox]:
        """Cores of all windows that contribute to pixels of ``box``, row by row."""
        return (box if box.empty else box.pad(self._reach)).blocks(self.stride)

    def read_box(self, box: PixelBox) -> PixelBox:
        """All pixels that the windows that contribute to ``box`` read."""
        return box.pad(self._reach).snap(self.stride).pad(self.halo)

    def redundancy(self, tile: int) -> float:
        """Pixels computed over pixels mapped, for tiles of ``tile`` px, halos included.

        The mean over all positions that a tile can have on the lattice.
        """
        places = self.stride // math.gcd(self.stride, tile)
        count = sum(
            math.ceil(((k + 1) * tile + self._reach) / self.stride)
            - math.floor((k * tile - self._reach) / self.stride)
            for k in range(places)
        )
        return (count * self.window / (places * tile)) ** 2


def position_hash(
    rows: npt.NDArray[np.int64], cols: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint64]:
    """A number for each pixel of the grid that looks random: SplitMix64 of row and column.

    Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195. A bijection of row and column of 32
    bit each, so that no two pixels have the same.
    """
    low = np.uint64(0xFFFFFFFF)
    mixed = (rows.astype(np.uint64) << np.uint64(32)) | (cols.astype(np.uint64) & low)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    hashes: npt.NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(31))
    return hashes
