"""Detections of windows as candidates for objects: whole ones, and pieces that the window cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.objects.detections import Detections
from rsscale.objects.suppression import DROPPED, OPEN, suppress

EDGE = 2
"""A detection that comes this close to its window's edge, px, is a piece of what goes on there."""

SLACK = 0.03
"""So is a box that comes so close to it, in shares of its own side: networks place the edges of
large boxes no better, and what is taken for whole would stand beside the rest of its object."""

TOP, BOTTOM, LEFT, RIGHT = 1, 2, 4, 8
"""Bits of ``sides``: the edges of its window that a piece touches."""


@dataclass(frozen=True)
class Candidates:
    """Detections of several windows, with what their windows make of them.

    Attributes
    ----------
    detections : Detections
        Boxes are the bounds of outlines where there are some.
    keys : int32 array (n, 3)
        Row and column of the window on the lattice, and number of the detection in it: the same in
        every tile that knows the window.
    sides : uint8 array (n,)
        Edges of its window that it touches, as bits: 0 of a whole detection, else it is a piece.
    cut : bool array (n,)
        Whether it touches what no sensor saw: it may be larger.
    states : int8 array (n,)
        As :mod:`rsscale.objects.suppression` has them.
    """

    detections: Detections
    keys: npt.NDArray[np.int32]
    sides: npt.NDArray[np.uint8]
    cut: npt.NDArray[np.bool_]
    states: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.detections)

    @property
    def is_piece(self) -> npt.NDArray[np.bool_]:
        """Which are pieces."""
        pieces: npt.NDArray[np.bool_] = self.sides != 0
        return pieces

    @property
    def centres(self) -> npt.NDArray[np.float64]:
        """Middles of the boxes ``(n, 2)``: ``x, y``."""
        boxes = self.detections.boxes
        return (boxes[:, :2] + boxes[:, 2:]) / 2

    def take(self, index: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Candidates:
        """Some of them, by position or mask."""
        return Candidates(
            self.detections.take(index),
            self.keys[index],
            self.sides[index],
            self.cut[index],
            self.states[index],
        )

    def with_states(self, states: npt.NDArray[np.int8]) -> Candidates:
        """The same with other states."""
        return replace(self, states=states)

    @classmethod
    def none(cls, *, outlined: bool = False) -> Candidates:
        """No candidates."""
        detections = Detections.none()
        return cls(
            replace(detections, outlines=()) if outlined else detections,
            np.empty((0, 3), np.int32),
            np.empty(0, np.uint8),
            np.empty(0, bool),
            np.empty(0, np.int8),
        )


def window_candidates(
    detections: Detections,
    core: PixelBox,
    lattice: Lattice,
    seen: npt.NDArray[np.bool_] | None = None,
    *,
    iou: float = 1.0,
    agnostic: bool = False,
) -> Candidates:
    """The candidates among the detections of one window.

    A detection that comes within :data:`EDGE` px of the window's edge, or a box within
    :data:`SLACK` of its side, is a piece, and one if it reaches into the window's core at all: what
    lies beside it is another window's. The box of a piece ends at the window's edge. Any other is
    whole, and one where its centre lies in the core or at most half a halo beside it: the window
    in whose core the centre is sees it too, and better.

    Of pieces that overlap in the window the best one stays, since a network may return several of
    one object. Whole ones are suppressed over the plane, by :mod:`rsscale.objects.deciding`.

    Parameters
    ----------
    detections : Detections
        Of the window.
    core : PixelBox
        The window's core on the lattice.
    lattice : Lattice
    seen : bool array (row, col), optional
        Which pixels of the window some sensor saw; all where left out.
    iou : float
        Intersection over union above which two pieces are one.
    agnostic : bool
        Whether that goes across classes.
    """
    if not len(detections):
        return Candidates.none(outlined=detections.outlines is not None)
    detections = _inside(detections, core.pad(lattice.halo))
    slack = SLACK if detections.outlines is None else 0
    sides = _touched(detections.boxes, core.pad(lattice.halo), slack)
    has_area = _has_area(detections.boxes)
    if detections.outlines is None:
        detections = replace(
            detections, boxes=_to_the_edge(detections.boxes, core.pad(lattice.halo), sides)
        )
    centre = (detections.boxes[:, :2] + detections.boxes[:, 2:]) / 2
    near = _contains(core.pad(lattice.halo // 2), centre)
    is_in_core = _reaches(detections.boxes, core)
    chosen = np.nonzero(np.where(sides != 0, is_in_core, near) & has_area)[0]
    pieces = chosen[sides[chosen] != 0]
    if len(pieces) > 1:
        states = suppress(detections.take(pieces), iou=iou, agnostic=agnostic)
        chosen = np.setdiff1d(chosen, pieces[states == DROPPED])
    keys = np.empty((len(chosen), 3), np.int32)
    keys[:, 0], keys[:, 1] = core.row0 // lattice.stride, core.col0 // lattice.stride
    keys[:, 2] = chosen
    some = detections.take(chosen)
    return Candidates(
        some,
        keys,
        sides[chosen],
        _beside_unseen(some.boxes, core.pad(lattice.halo), seen),
        np.full(len(chosen), OPEN, np.int8),
    )


def together(parts: Sequence[Candidates]) -> Candidates:
    """Candidates of several windows or tiles as one, in their order.

    Outlines are of all of them or of none.
    """
    some = [part for part in parts if len(part)]
    if not some:
        return parts[0] if parts else Candidates.none()
    outlines: tuple[shapely.Geometry, ...] | None = None
    if some[0].detections.outlines is not None:
        outlines = tuple(shape for part in some for shape in part.detections.outlines or ())
    return Candidates(
        Detections(
            np.concatenate([part.detections.boxes for part in some]),
            np.concatenate([part.detections.scores for part in some]),
            np.concatenate([part.detections.classes for part in some]),
            outlines,
        ),
        np.concatenate([part.keys for part in some]),
        np.concatenate([part.sides for part in some]),
        np.concatenate([part.cut for part in some]),
        np.concatenate([part.states for part in some]),
    )


def shapes_of(detections: Detections) -> npt.NDArray[Any]:
    """Outlines, or boxes as polygons: object array ``(n,)``."""
    if detections.outlines is None:
        shapes: npt.NDArray[Any] = shapely.box(*detections.boxes.T)
        return shapes
    return as_array(detections.outlines)


def as_array(shapes: Sequence[shapely.Geometry]) -> npt.NDArray[Any]:
    """Geometries as an object array ``(n,)``; NumPy would ask each for its length."""
    array = np.empty(len(shapes), object)
    array[:] = shapes
    return array


def polygons_of(shapes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Each geometry's polygons, without the lines and points that an intersection may leave."""
    mixed = shapely.get_type_id(shapes) == shapely.GeometryType.GEOMETRYCOLLECTION
    shapes = shapes.copy()
    for number in np.nonzero(mixed)[0]:
        parts = shapely.get_parts(shapes[number])
        is_area = shapely.get_dimensions(parts) == shapely.get_dimensions(shapely.box(0, 0, 1, 1))
        shapes[number] = shapely.union_all(parts[is_area])
    return shapes


def _inside(detections: Detections, window: PixelBox) -> Detections:
    """What lies in the window: turned boxes may stick out of it."""
    bounds = np.array([window.col0, window.row0, window.col1, window.row1], np.float64)
    if detections.outlines is None:
        boxes = np.concatenate(
            [
                np.maximum(detections.boxes[:, :2], bounds[:2]),
                np.minimum(detections.boxes[:, 2:], bounds[2:]),
            ],
            axis=1,
        )
        return replace(detections, boxes=boxes)
    shapes = as_array(detections.outlines)
    around = shapely.bounds(shapes)
    out = (around[:, :2] < bounds[:2]).any(axis=1) | (around[:, 2:] > bounds[2:]).any(axis=1)
    if out.any():
        shapes[out] = polygons_of(shapely.intersection(shapes[out], shapely.box(*bounds)))
        around = shapely.bounds(shapes)
    boxes = np.where(np.isfinite(around), around, 0.0)  # an empty outline has no bounds
    return replace(detections, boxes=boxes, outlines=tuple(shapes))


def _has_area(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    good: npt.NDArray[np.bool_] = (boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])
    return good


def _touched(
    boxes: npt.NDArray[np.float64], window: PixelBox, slack: float
) -> npt.NDArray[np.uint8]:
    """Edges of a window that boxes come close to, as bits."""
    x0, y0, x1, y1 = boxes.T
    along_x, along_y = np.maximum(EDGE, slack * (boxes[:, 2:] - boxes[:, :2])).T
    sides = np.zeros(len(boxes), np.uint8)
    sides[y0 <= window.row0 + along_y] |= TOP
    sides[y1 >= window.row1 - along_y] |= BOTTOM
    sides[x0 <= window.col0 + along_x] |= LEFT
    sides[x1 >= window.col1 - along_x] |= RIGHT
    return sides


def _to_the_edge(
    boxes: npt.NDArray[np.float64], window: PixelBox, sides: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float64]:
    """Boxes that end where their window ends, on the sides that they come close to."""
    ends = np.array([window.col0, window.row0, window.col1, window.row1], np.float64)
    close = (sides[:, None] & np.array([LEFT, TOP, RIGHT, BOTTOM], np.uint8)) != 0
    return np.where(close, ends, boxes)


def _contains(box: PixelBox, points: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which points ``(n, 2)`` of ``x, y`` lie in a half-open box."""
    x, y = points.T
    inside: npt.NDArray[np.bool_] = (x >= box.col0) & (x < box.col1)
    inside &= (y >= box.row0) & (y < box.row1)
    return inside


def _reaches(boxes: npt.NDArray[np.float64], core: PixelBox) -> npt.NDArray[np.bool_]:
    """Which boxes have area in a core."""
    x0, y0, x1, y1 = boxes.T
    inside: npt.NDArray[np.bool_] = (x0 < core.col1) & (x1 > core.col0)
    inside &= (y0 < core.row1) & (y1 > core.row0)
    return inside


def _beside_unseen(
    boxes: npt.NDArray[np.float64], window: PixelBox, seen: npt.NDArray[np.bool_] | None
) -> npt.NDArray[np.bool_]:
    """Which boxes have a pixel along their edge that no sensor saw."""
    cut = np.zeros(len(boxes), bool)
    if seen is None or seen.all():
        return cut
    ends = np.concatenate([np.floor(boxes[:, :2]) - 1, np.ceil(boxes[:, 2:]) + 1], axis=1)
    for number, (x0, y0, x1, y1) in enumerate(ends.astype(int).tolist()):
        box = PixelBox(y0, x0, y1, x1) & window
        around = seen[box.slices(window)]
        edges = (around[0], around[-1], around[:, 0], around[:, -1])
        cut[number] = not all(edge.all() for edge in edges)
    return cut
