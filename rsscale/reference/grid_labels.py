"""Labels as pixels of the grid: inside the area, and not more than are wanted of a class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.geo.grid import Grid
from rsscale.geo.lattice import WARP_BLOCK, PixelBox, position_hash
from rsscale.geo.rasterize import area_mask
from rsscale.layers import NODATA
from rsscale.reference.unused_labels import Reason, UnusedLabels

THIN_BLOCK = WARP_BLOCK
"""Width in pixels of the blocks of the lattice in which ``most_pixels`` counts."""

Values = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class GridLabels(ABC):
    """Labels as pixels of a grid.

    Attributes
    ----------
    grid : Grid
    area : geometry or None
        In the grid's CRS: pixels whose centre is outside have no label.
    most_pixels : int or None
        Pixels of a class in a block, at most; see :func:`thin`.
    """

    grid: Grid
    area: shapely.Geometry | None = None
    most_pixels: int | None = None

    @abstractmethod
    def values(self, box: PixelBox) -> Values:
        """Class values of a box, ``(rows, cols)``, whatever the area; 255 where unlabelled."""

    @abstractmethod
    def touched(self, size: int) -> list[PixelBox]:
        """Blocks of the global ``size`` px lattice that may hold a label, sorted."""

    @abstractmethod
    def lost(self) -> dict[int, Reason]:
        """Features that give no pixel, by their number, and why; pixels that are thinned count."""

    def rasterize(self, box: PixelBox) -> Values:
        """Class values of the labelled pixels of a box.

        Returns
        -------
        uint8 array (rows, cols)
            255 where unlabelled. A pixel's value does not depend on the box.
        """
        if self.most_pixels is None:
            return self.inside(box)
        out = np.full(box.shape, NODATA, np.uint8)
        for block in box.blocks(THIN_BLOCK):
            part = block & box
            thinned = thin(self.inside(block), block, self.most_pixels)
            out[part.slices(box)] = thinned[part.slices(block)]
        return out

    def inside(self, box: PixelBox) -> Values:
        """Class values of a box inside the area, before pixels are thinned."""
        values = self.values(box)
        if self.area is not None and (values != NODATA).any():
            values = np.where(area_mask(self.area, self.grid, box), values, np.uint8(NODATA))
        return values

    def blocks(self, size: int) -> list[PixelBox]:
        """Blocks of the global ``size`` px lattice that hold a labelled pixel, sorted."""
        return [block for block in self.touched(size) if (self.rasterize(block) != NODATA).any()]

    def unused_pixels(self, names: Mapping[int, str]) -> UnusedLabels:
        """Pixels that have a label and are not used, by class and reason.

        Parameters
        ----------
        names : mapping of class value to name
        """
        if self.most_pixels is None:
            return UnusedLabels()
        thinned: Counter[str] = Counter()
        for block in self.touched(THIN_BLOCK):
            before = self.inside(block)
            after = thin(before, block, self.most_pixels)
            thinned.update(count_by_name(before[before != after], names))
        return UnusedLabels.of_pixels(thinned, Reason.THINNED)

    def unused(self, names: Mapping[int, str]) -> UnusedLabels:
        """Features that give no pixel, and pixels that are not used, by class and reason.

        Parameters
        ----------
        names : mapping of class value to name
        """
        return self.unused_pixels(names)

    def left_out(self, names: Mapping[int, str]) -> list[str]:
        """The same as lines."""
        return self.unused(names).lines()


def thin(values: Values, block: PixelBox, most: int) -> Values:
    """Keep at most so many pixels of each class of a block.

    Which ones depends on where the pixels lie and on nothing else: those whose position has the
    smallest hash, as if drawn at random with a fixed seed.

    Parameters
    ----------
    values : uint8 array (rows, cols)
        255 is unlabelled.
    block : PixelBox
        Where they lie.
    most : int
    """
    out = values.copy()
    for value, count in _counts(values):
        if count > most:
            rows, cols = np.nonzero(values == value)
            hashes = position_hash(rows + block.row0, cols + block.col0)
            rest = np.argsort(hashes, kind="stable")[most:]
            out[rows[rest], cols[rest]] = NODATA
    return out


def count_by_name(values: Values, names: Mapping[int, str]) -> dict[str, int]:
    """Pixels of each class by name."""
    return {names[value]: count for value, count in _counts(values)}


def _counts(values: Values) -> Iterator[tuple[int, int]]:
    """Each class value and its pixels."""
    for value, count in zip(*np.unique(values, return_counts=True), strict=True):
        if value != NODATA:
            yield int(value), int(count)
