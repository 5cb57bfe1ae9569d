"""Greedy non-maximum suppression: of detections that overlap much the best one stays.

Detections are taken in one canonical order, by score and then by position, so that the result does
not depend on how they were collected. Where only some of all detections are known, as in one
tile, what can't be decided from them stays open: see :func:`suppress`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import shapely

if TYPE_CHECKING:
    from rsscale.objects.detections import Detections

OPEN, KEPT, DROPPED = 0, 1, 2
"""States of a detection, int8. Open: what decides it lies in another tile."""

PLACED = 3
"""State of a shared one that is kept, and that its tile has as its own."""

# Detections whose overlaps are computed together: few enough that thousands over each other fit
# into memory, enough that a Python loop over all of them does not show.
_TOGETHER = 64


def canonical_order(
    detections: Detections, keys: npt.NDArray[np.integer] | None = None
) -> npt.NDArray[np.intp]:
    """Positions of detections by score, the highest first; of equals by place, class and key.

    Parameters
    ----------
    detections : Detections
    keys : int array (n, k), optional
        Tell apart detections that are equal in all else; their positions where left out.
    """
    x0, y0, x1, y1 = detections.boxes.T
    columns = () if keys is None else tuple(keys.T[::-1])
    score = -detections.scores.astype(np.float64)
    return np.lexsort((*columns, detections.classes, x1, y1, x0, y0, score))


def box_areas(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Areas of boxes ``(n, 4)`` of ``x0, y0, x1, y1``; 0 of one that is empty or inverted."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    areas: npt.NDArray[np.float64] = sides[:, 0] * sides[:, 1]
    return areas


def shared_areas(
    first: npt.NDArray[np.float64], other: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Areas that boxes ``(n, 4)`` have in common with others ``(n, 4)``, pair by pair."""
    both = np.empty_like(first)
    np.maximum(first[:, :2], other[:, :2], out=both[:, :2])
    np.minimum(first[:, 2:], other[:, 2:], out=both[:, 2:])
    return box_areas(both)


class Overlaps:
    """Overlaps among detections: of their outlines where they have some, else of their boxes.

    Parameters
    ----------
    detections : Detections
    agnostic : bool
        Whether those of different classes overlap too.
    """

    def __init__(self, detections: Detections, *, agnostic: bool = False) -> None:
        self.boxes, self.classes = detections.boxes, detections.classes
        self.agnostic = agnostic
        outlines = detections.outlines
        self._shapes = None if outlines is None else np.array([*outlines, None], object)[:-1]
        self.areas = box_areas(self.boxes) if self._shapes is None else shapely.area(self._shapes)
        self._tree: shapely.STRtree | None = None

    def pairs(
        self, index: npt.NDArray[np.intp]
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float64]]:
        """Of some detections all that touch them: numbers of both, and the area of the two boxes.

        The number of the first of a pair never decreases; a detection is also paired with itself.
        """
        if self._tree is None:  # none is needed for no detections
            self._tree = shapely.STRtree(shapely.box(*self.boxes.T))
        first, second = self._tree.query(shapely.box(*self.boxes[index].T))
        by_first = np.argsort(first, kind="stable")
        first, second = index[first[by_first]], second[by_first]
        if not self.agnostic:
            alike = self.classes[first] == self.classes[second]
            first, second = first[alike], second[alike]
        return first, second, shared_areas(self.boxes[first], self.boxes[second])

    def shared(
        self,
        first: npt.NDArray[np.intp],
        second: npt.NDArray[np.intp],
        of_boxes: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.float64]:
        """Area that the two of each pair have in common; that of their boxes is given."""
        if self._shapes is None:
            return of_boxes
        areas: npt.NDArray[np.float64] = shapely.area(
            shapely.intersection(self._shapes[first], self._shapes[second])
        )
        return areas


def intersection_over_union(
    overlaps: Overlaps,
    first: npt.NDArray[np.intp],
    second: npt.NDArray[np.intp],
    of_boxes: npt.NDArray[np.float64],
    above: float,
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The pairs whose area in common is more than a share of that of both together.

    Only pairs whose boxes leave it possible are looked at by their outlines.
    """
    total = overlaps.areas[first] + overlaps.areas[second]
    # common / (total - common) > above, without a division: also where boxes are empty
    possible = of_boxes > above * (total - of_boxes)
    first, second, total = first[possible], second[possible], total[possible]
    common = overlaps.shared(first, second, of_boxes[possible])
    enough = common > above * (total - common)
    return first[enough], second[enough]


def suppress(
    detections: Detections,
    *,
    iou: float,
    agnostic: bool = False,
    order: npt.NDArray[np.intp] | None = None,
    decidable: npt.NDArray[np.bool_] | None = None,
    facts: npt.NDArray[np.int8] | None = None,
) -> npt.NDArray[np.int8]:
    """Keep each detection that overlaps no kept one before it by more than ``iou``.

    The rule is :func:`torchvision.ops.nms`'s, for one class after the other (or all as one with
    ``agnostic``). With ``decidable`` only some of all detections are given. Then

    - one that overlaps a *kept* one before it is dropped, whatever else there is;
    - else it is open if it is not decidable (others before it may be missing here), or overlaps an
      *open* one before it;
    - else it is kept.

    By induction over the order, what is kept or dropped here is so of all detections too: the
    kept one that drops another is kept of all; and of one that is kept here all that overlap
    it and come before it are given, and dropped. So two callers who know different parts of one
    set never contradict each other.

    Parameters
    ----------
    detections : Detections
    iou : float
        Intersection over union above which two are the same object, 0 to 1.
    agnostic : bool
        Whether classes suppress each other.
    order : int array (n,), optional
        Positions in the order that they are taken; :func:`canonical_order` where left out.
    decidable : bool array (n,), optional
        Whether all detections that could overlap one are given; all where left out.
    facts : int8 array (n,), optional
        What is known of each from elsewhere: :data:`KEPT` or :data:`DROPPED`, else :data:`OPEN`.

    Returns
    -------
    int8 array (n,)
        :data:`OPEN`, :data:`KEPT` or :data:`DROPPED`; none is open where all are decidable.
    """
    count = len(detections)
    order = canonical_order(detections) if order is None else order
    rank = np.empty(count, np.intp)
    rank[order] = np.arange(count)
    states = np.full(count, OPEN, np.int8) if facts is None else facts.astype(np.int8)
    open_before = np.zeros(count, bool)
    if decidable is not None:
        open_before = ~decidable
    overlaps = Overlaps(detections, agnostic=agnostic)
    for start in range(0, count, _TOGETHER):
        some = order[start : start + _TOGETHER]
        some = some[states[some] != DROPPED]
        first, second, of_boxes = overlaps.pairs(some)
        later = rank[second] > rank[first]
        later &= states[second] != DROPPED
        first, second = intersection_over_union(
            overlaps, first[later], second[later], of_boxes[later], iou
        )
        ends = np.searchsorted(rank[first], rank[some], side="right")
        begin = 0
        for number, end in zip(some, ends, strict=True):
            after = second[begin:end]
            begin = end
            if states[number] == DROPPED:
                continue
            if states[number] == OPEN and open_before[number]:
                open_before[after] = True
                continue
            states[number] = KEPT
            states[after[states[after] == OPEN]] = DROPPED
    return states
