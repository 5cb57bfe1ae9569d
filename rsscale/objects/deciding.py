"""What a tile can say of the objects that its windows saw, and what all tiles say together.

The objects of a plane are a function of its windows alone, see :func:`decide_all`:

1. of whole detections those stay that greedy suppression keeps
   (:func:`rsscale.objects.suppression.suppress`);
2. pieces that lie mostly under a whole one that stays are dropped;
3. the other pieces are merged (:func:`rsscale.objects.merging.merge_pieces`).

A tile knows some windows, those with a core that touches its part of the area, and with them all
that they detect. :func:`decide_tile` says what follows from these alone, and
:func:`decide_rest` the rest from the few rows that tiles *share*. Why that is the same:

*Facts of tiles are true.* A detection lies in its window. So if a tile knows all windows that a box
touches, it knows all detections that could overlap it: the box is *private* to it. Only private
detections are kept in a tile, and by induction over the canonical order what a tile calls kept or
dropped is so in the whole plane (the proof is in :func:`suppress`). A piece is dropped only under
one that is kept, so this is true as well. Two tiles can't contradict each other: both are right.

*The rows shared are enough.* Say all tiles that know a detection ``c`` leave it open, and ``k``
comes before it, overlaps it, and is kept in the plane. Some tile knows ``k``. If it knows ``c``
too, ``k`` is not kept there (else ``c`` were dropped), nor dropped (that would be wrong): it is
open, and open ones are shared. If it does not know ``c``, then it does not know ``c``'s window,
which ``k`` touches: so ``k`` is not private there, hence not decided to be kept: it is open again.
So whatever could drop ``c`` is among the rows; the same holds for a piece ``c`` under a whole
``k``. Every open row is shared, so every piece that is to be merged is there.

*Each object comes once.* A tile has an object as its own only if it is kept and its centre lies in
the tile, which is so of one tile. If another tile may know its window (whose core then does not
lie inside the tile), the tile shares it too, as *placed*, and the gather leaves it out. Every
other one that could be kept is shared, once for each tile that knows it, with the same key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.objects.candidates import Candidates, as_array, shapes_of, together
from rsscale.objects.merging import MergedObjects, covered_pieces, merge_pieces
from rsscale.objects.suppression import (
    DROPPED,
    KEPT,
    OPEN,
    PLACED,
    canonical_order,
    suppress,
)


@dataclass(frozen=True)
class Rules:
    """When two detections are one object.

    Attributes
    ----------
    iou : float
        Intersection over union above which the one with the lower score is dropped.
    agnostic : bool
        Whether that goes across classes.
    """

    iou: float = 0.5
    agnostic: bool = False


@dataclass(frozen=True)
class TileCandidates:
    """What one tile says.

    Attributes
    ----------
    own : Candidates
        Kept, with the centre in the tile: objects of this tile.
    shared : Candidates
        What other tiles may know or need, with what is known of it here.
    dropped : int
        Whole detections and pieces of which it is known here that they are no object.
    """

    own: Candidates
    shared: Candidates
    dropped: int


@dataclass(frozen=True)
class PlaneObjects:
    """Objects, each once, in order of their keys.

    Attributes
    ----------
    shapes : object array (n,)
        Polygons in global pixels.
    keys : int32 array (n, 3)
    classes : int32 array (n,)
    scores : float32 array (n,)
    parts : int32 array (n,)
        Pieces that were merged; 1 of what one window saw whole.
    cut : bool array (n,)
    dropped : int
        Candidates that are no object.
    """

    shapes: npt.NDArray[Any]
    keys: npt.NDArray[np.int32]
    classes: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    parts: npt.NDArray[np.int32]
    cut: npt.NDArray[np.bool_]
    dropped: int = field(default=0, compare=False)

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, index: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> PlaneObjects:
        """Some of them, by position or mask."""
        return PlaneObjects(
            self.shapes[index],
            self.keys[index],
            self.classes[index],
            self.scores[index],
            self.parts[index],
            self.cut[index],
        )

    @classmethod
    def together(cls, first: PlaneObjects, other: PlaneObjects) -> PlaneObjects:
        """Both, with keys that differ, in order of these."""
        both = cls(
            as_array([*first.shapes, *other.shapes]),
            np.concatenate([first.keys, other.keys]),
            np.concatenate([first.classes, other.classes]),
            np.concatenate([first.scores, other.scores]),
            np.concatenate([first.parts, other.parts]),
            np.concatenate([first.cut, other.cut]),
        )
        return both.take(np.lexsort(both.keys.T[::-1]))

    @classmethod
    def whole(cls, kept: Candidates) -> PlaneObjects:
        """Objects that one window saw whole."""
        return cls(
            shapes_of(kept.detections),
            kept.keys,
            kept.detections.classes,
            kept.detections.scores,
            np.ones(len(kept), np.int32),
            kept.cut,
        )


def known_windows(box: PixelBox, where: npt.NDArray[np.bool_], lattice: Lattice) -> list[PixelBox]:
    """Cores of the windows that a tile knows: those that touch its pixels inside the area.

    They depend on the tile's own part of the area alone: one that grows elsewhere changes none.

    Parameters
    ----------
    box : PixelBox
        The tile.
    where : bool array (row, col)
        Its pixels inside the area.
    lattice : Lattice
    """
    cores = box.blocks(lattice.stride)
    return [core for core in cores if where[(core & box).slices(box)].any()]


def decide_tile(
    candidates: Candidates,
    cores: Sequence[PixelBox],
    box: PixelBox,
    lattice: Lattice,
    rules: Rules,
) -> TileCandidates:
    """Decide what can be from one tile.

    Parameters
    ----------
    candidates : Candidates
        Of all windows that the tile knows.
    cores : sequence of PixelBox
        Of these windows.
    box : PixelBox
        The tile.
    lattice : Lattice
    rules : Rules
    """
    candidates = candidates.take(canonical_order(candidates.detections, candidates.keys))
    private = is_private(candidates.detections.boxes, cores, lattice)
    candidates = candidates.with_states(_states(candidates, rules, private))
    row, col = candidates.keys[:, 0].astype(np.int64), candidates.keys[:, 1].astype(np.int64)
    stride = lattice.stride
    is_only_here = (row * stride >= box.row0) & ((row + 1) * stride <= box.row1)
    is_only_here &= (col * stride >= box.col0) & ((col + 1) * stride <= box.col1)
    x, y = candidates.centres.T
    is_here = (x >= box.col0) & (x < box.col1) & (y >= box.row0) & (y < box.row1)
    kept, dropped = candidates.states == KEPT, candidates.states == DROPPED
    own = kept & is_here
    shared = ~((own | dropped) & is_only_here)
    states = np.where(own, PLACED, candidates.states).astype(np.int8)
    return TileCandidates(
        candidates.take(own), candidates.with_states(states).take(shared), int(dropped.sum())
    )


def is_private(
    boxes: npt.NDArray[np.float64], cores: Sequence[PixelBox], lattice: Lattice
) -> npt.NDArray[np.bool_]:
    """Whether all windows that each box touches are among those with the given cores."""
    if not cores or not len(boxes):
        return np.zeros(len(boxes), bool)
    stride, halo = lattice.stride, lattice.halo
    at = np.array([(core.row0 // stride, core.col0 // stride) for core in cores])
    first, last = at.min(axis=0), at.max(axis=0)
    known = np.zeros(last - first + 2, np.int64)
    known[tuple((at - first + 1).T)] = 1
    total = known.cumsum(axis=0).cumsum(axis=1)  # windows above and left of a place
    low = np.floor((boxes[:, [1, 0]] - halo) / stride).astype(np.int64)
    high = np.ceil((boxes[:, [3, 2]] + halo) / stride).astype(np.int64) - 1
    touched = (high - low + 1).prod(axis=1)
    inside = (low >= first).all(axis=1) & (high <= last).all(axis=1)
    top, left = np.clip(low - first, 0, last - first + 1).T
    bottom, right = np.clip(high - first + 1, 0, last - first + 1).T
    among = total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
    private: npt.NDArray[np.bool_] = inside & (among == touched)
    return private


def decide_rest(shared: Sequence[Candidates], stride: int, rules: Rules) -> PlaneObjects:
    """Decide what tiles left open, from what they share.

    Parameters
    ----------
    shared : sequence of Candidates
        Of each tile, in any order.
    stride : int
        Of the windows.
    rules : Rules

    Returns
    -------
    PlaneObjects
        All objects that no tile has as its own, wherever they are.
    """
    rows = _joined_facts(together(shared))
    rows = rows.take(canonical_order(rows.detections, rows.keys))
    placed = rows.states == PLACED
    rows = rows.with_states(np.where(placed, KEPT, rows.states).astype(np.int8))
    rows = rows.with_states(_states(rows, rules, None))
    kept = (rows.states == KEPT) & ~placed
    open_pieces = rows.take(rows.states == OPEN)
    merged = merge_pieces(open_pieces, stride)
    return _objects(rows.take(kept), merged, len(rows) - int(placed.sum()))


def decide_all(candidates: Candidates, stride: int, rules: Rules) -> PlaneObjects:
    """The objects of all windows together: what any tiling of them gives.

    Parameters
    ----------
    candidates : Candidates
        Of all windows, once each.
    stride : int
        Of the windows.
    rules : Rules
    """
    return decide_rest([candidates], stride, rules)


def _states(
    candidates: Candidates, rules: Rules, private: npt.NDArray[np.bool_] | None
) -> npt.NDArray[np.int8]:
    """States of candidates in canonical order: suppression among whole ones, then pieces."""
    states = candidates.states.copy()
    is_piece = candidates.is_piece
    whole = np.nonzero(~is_piece)[0]
    states[whole] = suppress(
        candidates.detections.take(whole),
        iou=rules.iou,
        agnostic=rules.agnostic,
        order=np.arange(len(whole)),
        decidable=None if private is None else private[whole],
        facts=states[whole],
    )
    pieces = np.nonzero(is_piece & (states == OPEN))[0]
    kept = candidates.take(np.nonzero(~is_piece & (states == KEPT))[0])
    covered = covered_pieces(candidates.take(pieces), kept, agnostic=rules.agnostic)
    states[pieces[covered]] = DROPPED
    return states


def _joined_facts(rows: Candidates) -> Candidates:
    """Each key once, with what any tile knows of it; the same detection has the same bits."""
    if not len(rows):
        return rows
    order = np.lexsort(rows.keys.T[::-1])
    keys = rows.keys[order]
    is_first = np.append(True, (keys[1:] != keys[:-1]).any(axis=1))
    starts = np.nonzero(is_first)[0]
    # Kept and dropped are more than open, and never meet at one key; placed is more than kept.
    states = np.maximum.reduceat(rows.states[order], starts)
    return rows.take(order[starts]).with_states(states)


def _objects(kept: Candidates, merged: MergedObjects, candidates: int) -> PlaneObjects:
    """Whole and merged objects together, in order of their keys."""
    of_pieces = PlaneObjects(
        merged.shapes, merged.keys, merged.classes, merged.scores, merged.parts, merged.cut
    )
    dropped = candidates - len(kept) - int(merged.parts.sum())
    return replace(PlaneObjects.together(PlaneObjects.whole(kept), of_pieces), dropped=dropped)
