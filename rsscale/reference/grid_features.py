"""Labelled polygons and points as pixels of the grid, and which of them give none and why."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.geo.ground import ground_scales
from rsscale.geo.lattice import WARP_BLOCK, PixelBox
from rsscale.geo.rasterize import area_mask, rasterize
from rsscale.layers import NODATA
from rsscale.reference.grid_labels import GridLabels, Values, count_by_name
from rsscale.reference.label_rules import Overlap
from rsscale.reference.unused_labels import Reason, UnusedLabels

# A pixel's share that a class covers is measured in 8 x 8 parts.
_FINER = 3
_PARTS = 2**_FINER


@dataclass(frozen=True, kw_only=True)
class GridFeatures(GridLabels):
    """Polygons and points as pixels of a grid.

    Attributes
    ----------
    shapes : tuple of (geometry, class value)
        In the grid's CRS.
    all_touched : bool
        Whether every pixel that a shape touches is labelled, or those alone whose centre it holds.
    priority : tuple of int
        Values of classes that win where shapes overlap, the first over all others.
    overlap : str
        For pixels that several classes claim: ``"drop"`` or ``"majority"``; see
        :class:`~rsscale.reference.label_rules.LabelRules`.
    edge : float
        Metres on the ground from a polygon's edge that are unlabelled, by the scale of the CRS at
        the polygon's centre.
    """

    shapes: tuple[tuple[shapely.Geometry, int], ...]
    all_touched: bool = False
    priority: tuple[int, ...] = ()
    overlap: Overlap = "drop"
    edge: float = 0.0

    def values(self, box: PixelBox) -> Values:
        """Class values of a box, ``(rows, cols)``, whatever the area; 255 where unlabelled."""
        near = [self._sorted[i] for i in self._near(box)]
        ranked = {value: [s for s in near if s[1] == value] for value in self.priority}
        # Burnt in ascending order the highest class wins, in descending order the lowest: where
        # both are equal there is one class only.
        shapes = [s for s in near if s[1] not in ranked]
        highest, lowest = self._burnt(shapes, box), self._burnt(shapes[::-1], box)
        values = np.where(highest == lowest, highest, NODATA).astype(np.uint8)
        if self.overlap == "majority" and (highest != lowest).any():
            self._settle(values, highest != lowest, shapes, box)
        for value in reversed(self.priority):
            if ranked[value]:
                values[self._burnt(ranked[value], box) == value] = value
        return values

    def touched(self, size: int) -> list[PixelBox]:
        """Blocks of the global ``size`` px lattice that may hold a label, sorted."""
        blocks: set[PixelBox] = set()
        for shape, _ in self._sorted:
            if not shape.is_empty:
                blocks.update(self._pixels(*shape.bounds).blocks(size))
        return sorted(blocks)

    def lost(self) -> dict[int, Reason]:
        """Features that give no pixel, by their place in ``shapes``, and why."""
        reasons = {
            self._order[number]: self._why_lost(number)
            for number in sorted(set(range(len(self.shapes))) - self._visible())
        }
        return {place: reason for place, reason in reasons.items() if reason is not None}

    def owners(self, box: PixelBox) -> npt.NDArray[np.int64]:
        """Place in ``shapes`` of the feature that labels each pixel; -1 where unlabelled.

        Of several features of a class the smaller lies on top.
        """
        values = self.rasterize(box)
        owners = np.full(box.shape, -1, np.int64)
        by_class: dict[int, list[tuple[shapely.Geometry, int]]] = {}
        for number in sorted(self._near(box), key=lambda n: -self._sorted[n][0].area):
            shape, value = self._sorted[number]
            by_class.setdefault(value, []).append((shape, self._order[number]))
        for value, shapes in by_class.items():
            places = rasterize(
                shapes, self.grid, box, fill=-1, all_touched=self.all_touched, dtype="int32"
            )
            owners = np.where(values == value, places, owners)
        return owners

    def unused_pixels(self, names: Mapping[int, str]) -> UnusedLabels:
        """Pixels that have a label and are not used, by class and reason.

        Parameters
        ----------
        names : mapping of class value to name
        """
        ambiguous: Counter[str] = Counter()
        outside: Counter[str] = Counter()
        for block in self.touched(WARP_BLOCK):
            values = self.values(block)
            is_inside = np.ones(values.shape, bool)
            if self.area is not None:
                is_inside = area_mask(self.area, self.grid, block)
                outside.update(count_by_name(values[~is_inside], names))
            near = [self._sorted[i] for i in self._near(block)]
            dropped = (self._burnt(near, block) != NODATA) & (values == NODATA) & is_inside
            if dropped.any():
                for value, shapes in _by_class(near).items():
                    claimed = (self._burnt(shapes, block) == value) & dropped
                    ambiguous[names[value]] += int(claimed.sum())
        return (
            UnusedLabels.of_pixels(ambiguous, Reason.AMBIGUOUS)
            + UnusedLabels.of_pixels(outside, Reason.OUTSIDE_AREA)
            + super().unused_pixels(names)
        )

    def unused(self, names: Mapping[int, str]) -> UnusedLabels:
        """Features that give no pixel, and pixels that are not used, by class and reason.

        Parameters
        ----------
        names : mapping of class value to name
        """
        pixels = self.unused_pixels(names)
        by_reason: dict[Reason, list[str]] = {}
        for place, reason in self.lost().items():
            by_reason.setdefault(reason, []).append(names[self.shapes[place][1]])
        return sum((UnusedLabels.of(n, reason) for reason, n in by_reason.items()), pixels)

    def _settle(
        self,
        values: Values,
        is_disputed: npt.NDArray[np.bool_],
        shapes: list[tuple[shapely.Geometry, int]],
        box: PixelBox,
    ) -> None:
        """Give disputed pixels the class that covers most of them; none where two cover as much."""
        rows, cols = (np.flatnonzero(is_disputed.any(axis=axis)) for axis in (1, 0))
        around = PixelBox(
            box.row0 + int(rows[0]),
            box.col0 + int(cols[0]),
            box.row0 + int(rows[-1]) + 1,
            box.col0 + int(cols[-1]) + 1,
        )
        by_class = _by_class(shapes)
        shares = np.stack([self._covered(own, around) for own in by_class.values()])
        first, second = np.sort(shares, axis=0)[::-1][:2]
        winner = np.array(list(by_class), np.uint8)[shares.argmax(axis=0)]
        settled = np.where(first > second, winner, np.uint8(NODATA))
        part = around.slices(box)
        values[part] = np.where(is_disputed[part], settled, values[part])

    def _covered(
        self, shapes: list[tuple[shapely.Geometry, int]], box: PixelBox
    ) -> npt.NDArray[np.int64]:
        """How many of the 64 parts of each pixel shapes cover; a point is in one of them."""
        bounds = (box.row0, box.col0, box.row1, box.col1)
        finer = PixelBox(*(bound * _PARTS for bound in bounds))
        burnt = rasterize(
            [(shape, 1) for shape, _ in shapes], self.grid.at_level(-_FINER), finer, fill=0
        )
        rows, cols = box.shape
        parts: npt.NDArray[np.int64] = burnt.reshape(rows, _PARTS, cols, _PARTS).sum(
            axis=(1, 3), dtype=np.int64
        )
        return parts

    def _why_lost(self, number: int) -> Reason | None:
        shape, value = self._sorted[number]
        given = self.shapes[self._order[number]][0]
        if self.area is not None and not self.area.intersects(given):
            return Reason.OUTSIDE_AREA
        if shape.is_empty:
            return Reason.EDGE if self._own_pixels(given).any() else Reason.TOO_SMALL
        own = self._own_pixels(shape)
        if not own.any():
            return Reason.EDGE if self._own_pixels(given).any() else Reason.TOO_SMALL
        around = self._pixels(*shape.bounds)
        if self.area is not None and not (own & area_mask(self.area, self.grid, around)).any():
            return Reason.OUTSIDE_AREA
        if not (self.inside(around)[own] == value).any():
            return Reason.OVERLAPPED
        return None

    def _own_pixels(self, shape: shapely.Geometry) -> npt.NDArray[np.bool_]:
        """Pixels around a shape that it alone would label."""
        own: npt.NDArray[np.bool_] = self._burnt([(shape, 1)], self._pixels(*shape.bounds)) == 1
        return own

    def _visible(self) -> set[int]:
        """Numbers of features with a labelled pixel of their own: the smaller lies on top."""
        areas = shapely.area([shape for shape, _ in self._sorted]) if self._sorted else []
        order = np.argsort(-np.asarray(areas), kind="stable").tolist()
        rank = {number: place for place, number in enumerate(order)}
        values = np.array([value for _, value in self._sorted])
        visible: set[int] = set()
        for block in self.touched(WARP_BLOCK):
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
            labelled = (numbers >= 0) & (self.inside(block) == values[numbers])
            visible.update(np.unique(numbers[labelled]).tolist())
        return visible

    def _burnt(self, shapes: list[tuple[shapely.Geometry, int]], box: PixelBox) -> Values:
        burnt: Values = rasterize(shapes, self.grid, box, fill=NODATA, all_touched=self.all_touched)
        return burnt

    def _near(self, box: PixelBox) -> list[int]:
        if not self.shapes:
            return []
        extent = self.grid.geobox_of(box).extent.geom
        return sorted(int(i) for i in self._tree.query(extent, predicate="intersects"))

    @cached_property
    def _order(self) -> list[int]:
        """Places in ``shapes`` by ascending class value."""
        return sorted(range(len(self.shapes)), key=lambda place: self.shapes[place][1])

    @cached_property
    def _sorted(self) -> list[tuple[shapely.Geometry, int]]:
        """Shapes by class, without their edges; empty where nothing remains or they are outside."""
        shapes = np.array([self.shapes[place][0] for place in self._order], object)
        if self.area is not None and len(shapes):
            shapely.prepare(self.area)
            shapes = np.where(shapely.intersects(self.area, shapes), shapes, shapely.Point())
        if self.edge and len(shapes):
            shapes = without_edge(shapes, self.grid.crs, self.edge)
        return [
            (shape, self.shapes[place][1]) for shape, place in zip(shapes, self._order, strict=True)
        ]

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree([shape for shape, _ in self._sorted])

    def _pixels(self, west: float, south: float, east: float, north: float) -> PixelBox:
        """Pixels around bounds; at least one, since a point has no extent but its pixel has."""
        (x0, y0), res = self.grid.origin, self.grid.resolution
        row0, col0 = math.floor((y0 - north) / res), math.floor((west - x0) / res)
        row1, col1 = math.floor((y0 - south) / res) + 1, math.floor((east - x0) / res) + 1
        return PixelBox(row0, col0, row1, col1)


def without_edge(shapes: npt.NDArray[Any], crs: str, metres: float) -> npt.NDArray[Any]:
    """Polygons without what lies near their edge; points as they are.

    Parameters
    ----------
    shapes : array of geometries
    crs : str
        Theirs; its scale is taken at the centre of each polygon.
    metres : float
        On the ground.

    Raises
    ------
    AreaError
        Where the CRS has no ground.
    """
    shapes = shapes.copy()
    is_polygon = (shapely.get_dimensions(shapes) == 2) & ~shapely.is_empty(shapes)
    if not is_polygon.any():
        return shapes
    polygons = shapes[is_polygon]
    centres = shapely.centroid(polygons)
    scale = np.stack(ground_scales(crs, shapely.get_x(centres), shapely.get_y(centres)), axis=-1)
    shrunk = shapely.buffer(_scaled(polygons, scale), -metres)
    shapes[is_polygon] = _scaled(shrunk, 1 / scale)
    return shapes


def _scaled(shapes: npt.NDArray[Any], factors: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """Shapes whose coordinates are multiplied by factors ``(shapes, 2)``."""
    coordinates, number = shapely.get_coordinates(shapes, return_index=True)
    # A copy, since shapely sets coordinates in place.
    scaled: npt.NDArray[Any] = shapely.set_coordinates(shapes.copy(), coordinates * factors[number])
    return scaled


def _by_class(
    shapes: Iterable[tuple[shapely.Geometry, int]],
) -> dict[int, list[tuple[shapely.Geometry, int]]]:
    by_class: dict[int, list[tuple[shapely.Geometry, int]]] = {}
    for shape, value in shapes:
        by_class.setdefault(value, []).append((shape, value))
    return by_class
