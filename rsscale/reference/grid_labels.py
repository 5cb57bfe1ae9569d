"""Labels as pixels of the grid, and which of them give no pixel and why."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.geo.grid import Grid
from rsscale.geo.lattice import WARP_BLOCK, PixelBox
from rsscale.geo.rasterize import rasterize
from rsscale.layers import NODATA

_TOO_SMALL = "too small to hold the centre of a pixel; use all_touched, or a finer grid"
_OVERLAPPED = "overlapped by another class everywhere; list the classes that win in train.priority"


@dataclass(frozen=True)
class GridLabels:
    """Labels as pixels of a grid.

    Attributes
    ----------
    shapes : tuple of (geometry, class value)
        In the grid's CRS.
    grid : Grid
    all_touched : bool
        Whether every pixel that a shape touches is labelled, or those alone whose centre it holds.
    priority : tuple of int
        Values of classes that win where shapes overlap, the first over all others.
    """

    shapes: tuple[tuple[shapely.Geometry, int], ...]
    grid: Grid
    all_touched: bool = False
    priority: tuple[int, ...] = ()

    def rasterize(self, box: PixelBox) -> npt.NDArray[np.uint8]:
        """Class values of the labelled pixels of a box.

        Returns
        -------
        uint8 array (rows, cols)
            255 where unlabelled, and where features of different classes overlap of which none
            has a priority, since it is not known which of them is right.
        """
        near = [self._sorted[i] for i in self._near(box)]
        ranked = {value: [s for s in near if s[1] == value] for value in self.priority}
        # Burnt in ascending order the highest class wins, in descending order the lowest: where
        # both are equal there is one class only.
        shapes = [s for s in near if s[1] not in ranked]
        highest, lowest = self._burnt(shapes, box), self._burnt(shapes[::-1], box)
        found = np.where(highest == lowest, highest, NODATA).astype(np.uint8)
        for value in reversed(self.priority):
            if ranked[value]:
                found[self._burnt(ranked[value], box) == value] = value
        return found

    def blocks(self, size: int) -> list[PixelBox]:
        """Blocks of the global ``size`` px lattice that hold a labelled pixel, sorted."""
        return [block for block in self._touched(size) if (self.rasterize(block) != NODATA).any()]

    def left_out(self, names: Mapping[int, str]) -> list[str]:
        """Features that give no labelled pixel: how many, of which class, and why.

        Parameters
        ----------
        names : mapping of class value to name
        """
        lost = set(range(len(self._sorted))) - self._visible()
        reasons: Counter[tuple[int, str]] = Counter()
        for number in sorted(lost):
            shape, value = self._sorted[number]
            around = self._pixels(*shapely.bounds(shape))
            own = self._burnt([(shape, value)], around) == value
            if not own.any():
                reasons[value, _TOO_SMALL] += 1
            elif not (self.rasterize(around)[own] == value).any():
                reasons[value, _OVERLAPPED] += 1
        return [
            f"{count} {'feature' if count == 1 else 'features'} of {names[value]!r}: {reason}"
            for (value, reason), count in sorted(reasons.items())
        ]

    def _visible(self) -> set[int]:
        """Numbers of features with a labelled pixel of their own: the smaller lies on top."""
        areas = shapely.area([shape for shape, _ in self._sorted]) if self._sorted else []
        order = np.argsort(-np.asarray(areas), kind="stable").tolist()
        rank = {number: place for place, number in enumerate(order)}
        visible: set[int] = set()
        for block in self._touched(WARP_BLOCK):
            near = sorted(self._near(block), key=rank.__getitem__)
            shapes = [(self._sorted[number][0], number) for number in near]
            numbers = rasterize(
                shapes,
                self.grid,
                block,
                fill=-1,
                all_touched=self.all_touched,
                dtype="int32",
            )
            values = np.array([value for _, value in self._sorted])
            labelled = (numbers >= 0) & (self.rasterize(block) == values[numbers])
            visible.update(np.unique(numbers[labelled]).tolist())
        return visible

    def _touched(self, size: int) -> list[PixelBox]:
        touched: set[PixelBox] = set()
        for west, south, east, north in shapely.bounds(self._tree.geometries):
            touched.update(self._pixels(west, south, east, north).blocks(size))
        return sorted(touched)

    def _burnt(
        self, shapes: list[tuple[shapely.Geometry, int]], box: PixelBox
    ) -> npt.NDArray[np.uint8]:
        burnt: npt.NDArray[np.uint8] = rasterize(
            shapes, self.grid, box, fill=NODATA, all_touched=self.all_touched
        )
        return burnt

    def _near(self, box: PixelBox) -> list[int]:
        if not self.shapes:
            return []
        extent = self.grid.geobox_of(box).extent.geom
        return sorted(int(i) for i in self._tree.query(extent, predicate="intersects"))

    @cached_property
    def _sorted(self) -> list[tuple[shapely.Geometry, int]]:
        return sorted(self.shapes, key=lambda pair: pair[1])

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree([shape for shape, _ in self._sorted])

    def _pixels(self, west: float, south: float, east: float, north: float) -> PixelBox:
        """Pixels around bounds; at least one, since a point has no extent but its pixel has."""
        (x0, y0), res = self.grid.origin, self.grid.resolution
        row0, col0 = math.floor((y0 - north) / res), math.floor((west - x0) / res)
        row1, col1 = math.floor((y0 - south) / res) + 1, math.floor((east - x0) / res) + 1
        return PixelBox(row0, col0, row1, col1)
