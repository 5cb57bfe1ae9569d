"""Small pieces merged into the class that they share most border with, smallest first.

The rule, for pieces of fewer units of area than the least of their class:

1. the piece of the fewest pixels is next; of as many, the order is drawn by the place of its first
   pixel (:func:`rsscale.patches.pieces.lots`);
2. it takes the class that it shares the longest border with, all neighbours of one class together;
   of classes that share as much, the one drawn by the same number. It is one piece then with all
   its neighbours of that class;
3. until none is small, but those that have no neighbour.

The next piece of a neighbourhood changes nothing that is decided elsewhere: a decision needs the
classes around a piece, and these change only where a neighbour is decided. So all pieces that come
before each of their neighbours are decided at once, in any order and on any part of the image,
with the same result as one by one. A part leaves undecided what it can't know: pieces at its edge,
which may go on, and those that wait for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.patches.pieces import Pieces, lots, summed, sums_by

_Ints = npt.NDArray[np.int64]
_Bools = npt.NDArray[np.bool_]

# Values of a class are from -32768 to 65535: with a piece they make one number.
_CLASSES = 1 << 17
_LOWEST = -(1 << 16)


@dataclass(frozen=True)
class Small:
    """Small pieces in the order of their places, and what they border on.

    Attributes
    ----------
    classes, pixels, units, places : int64 array (piece,)
        As of :class:`rsscale.patches.pieces.Pieces`.
    open : bool array (piece,)
        Whether it may go on beyond the part of the image that is known.
    first, second, weight : int64 array
        Borders between two of them, each pair once.
    piece, neighbour, length : int64 array
        Borders of a piece with all pieces of a class that are not small, together.
    """

    classes: _Ints
    pixels: _Ints
    units: _Ints
    places: _Ints
    open: _Bools
    first: _Ints
    second: _Ints
    weight: _Ints
    piece: _Ints
    neighbour: _Ints
    length: _Ints

    def __len__(self) -> int:
        return len(self.classes)


@dataclass(frozen=True)
class Decided:
    """What became of small pieces.

    Attributes
    ----------
    classes : int64 array (piece,)
        The class that each has now.
    left : int64 array (piece,)
        Which of ``rest`` it is part of; -1 where its class is the last one.
    rest : Small
        What is not decided, of pieces that have been merged so far.
    """

    classes: _Ints
    left: _Ints
    rest: Small


@dataclass(frozen=True)
class LeastUnits:
    """Units of area below which a piece is small, by class.

    Attributes
    ----------
    units : mapping of class to int
    other : int
        Of classes that are not in it; 0 where they are kept.
    """

    units: dict[int, int]
    other: int = 0

    def of(self, classes: _Ints) -> _Ints:
        """The least units of each class of an array."""
        known, which = np.unique(classes, return_inverse=True)
        least = np.array([self.units.get(int(k), self.other) for k in known], np.int64)
        return least[which] if len(known) else np.zeros(0, np.int64)


def small_of(pieces: Pieces, least: LeastUnits) -> tuple[Small, _Ints]:
    """The small ones of an image's pieces; and which of them each piece is, -1 for one that is not.

    Those at the edge of the image are open.
    """
    is_small = pieces.units < least.of(pieces.classes)
    number = np.where(is_small, np.cumsum(is_small) - 1, -1)
    first, second = number[pieces.borders.first], number[pieces.borders.second]
    weight = pieces.borders.weight
    two, single = (first >= 0) & (second >= 0), (first >= 0) ^ (second >= 0)
    other = np.where(first >= 0, pieces.borders.second, pieces.borders.first)[single]
    piece = np.maximum(first, second)[single]
    piece, neighbour, length = by_class(piece, pieces.classes[other], weight[single])
    small = Small(
        classes=pieces.classes[is_small],
        pixels=pieces.pixels[is_small],
        units=pieces.units[is_small],
        places=pieces.places[is_small],
        open=pieces.on_edge[is_small],
        first=first[two],
        second=second[two],
        weight=weight[two],
        piece=piece,
        neighbour=neighbour,
        length=length,
    )
    return small, number


def decide(
    small: Small,
    least: LeastUnits,
    *,
    joined: tuple[_Ints, _Ints] | None = None,
    ample: _Ints | None = None,
) -> Decided:
    """Merge small pieces by the rule of this module, as far as it can be known.

    Parameters
    ----------
    small : Small
    least : LeastUnits
    joined : pair of int64 arrays, optional
        Pieces that are parts of one and the same.
    ample : int64 array, optional
        Pieces that are part of one that is not small.

    Returns
    -------
    Decided
        Without open pieces, all of them.
    """
    graph = _Graph(small, least)
    if joined is not None:
        nothing = np.zeros(0, np.int64)
        graph.merge(*joined, nothing if ample is None else ample)
    while len(ready := graph.ready()):
        graph.settle(ready)
    return graph.decided()


class _Graph:
    """Small pieces while they are merged: a merged piece is known by the first of its own.

    Pieces are in the order of their places, so that this one has the place of the whole.
    """

    def __init__(self, small: Small, least: LeastUnits) -> None:
        self.least = least
        self.classes, self.pixels = small.classes.copy(), small.pixels.copy()
        self.units, self.places = small.units.copy(), small.places
        self.lots, self.open = lots(small.places), small.open.copy()
        self.parent = np.arange(len(small))
        self.is_ample = np.zeros(len(small), bool)
        self.first, self.second, self.weight = small.first, small.second, small.weight
        self.piece, self.neighbour, self.length = small.piece, small.neighbour, small.length

    def ready(self) -> _Ints:
        """Pieces that come before each of their neighbours, whatever lies beyond the open ones."""
        waits = self.open.copy()
        a, b = self.first, self.second
        fewer, more = self.pixels[a] < self.pixels[b], self.pixels[a] > self.pixels[b]
        before = fewer | (~more & (self.lots[a] < self.lots[b]))
        # An open one that goes on has more pixels than are known of it, and comes later still.
        waits[a[~before]] = True
        waits[b[before]] = True
        borders = np.zeros(len(waits), bool)
        for ends in (a, b, self.piece):
            borders[ends] = True
        return np.flatnonzero(borders & ~waits)

    def settle(self, ready: _Ints) -> None:
        """Give each of some pieces, no two of them neighbours, its class; merge it."""
        is_ready = np.zeros(len(self.parent), bool)
        is_ready[ready] = True
        is_first, other = is_ready[self.first], is_ready[self.second]
        alone = is_ready[self.piece]
        nodes = np.concatenate([self.first[is_first], self.second[other], self.piece[alone]])
        around = np.concatenate(
            [
                self.classes[self.second[is_first]],
                self.classes[self.first[other]],
                self.neighbour[alone],
            ]
        )
        weight = np.concatenate([self.weight[is_first], self.weight[other], self.length[alone]])
        chosen = np.full(len(self.parent), _LOWEST)
        chosen[ready] = self._longest(*by_class(nodes, around, weight))
        first, second = self.first, self.second
        joins = (chosen[first] == self.classes[second]) | (chosen[second] == self.classes[first])
        ample = self.piece[chosen[self.piece] == self.neighbour]
        self.classes[ready] = chosen[ready]
        self.merge(first[joins], second[joins], ample)

    def _longest(self, nodes: _Ints, classes: _Ints, weight: _Ints) -> _Ints:
        """For each node, in their order, the class of the greatest weight."""
        begins = np.flatnonzero(np.diff(nodes, prepend=-1))
        counts = np.diff(begins, append=len(nodes))
        is_longest = weight == np.repeat(np.maximum.reduceat(weight, begins), counts)
        ties = np.add.reduceat(is_longest.astype(np.int64), begins)
        drawn = (self.lots[nodes[begins]] % ties.astype(np.uint64)).astype(np.int64)
        at = np.flatnonzero(is_longest)  # those of a node follow each other
        return classes[at[np.cumsum(ties) - ties + drawn]]

    def merge(self, first: _Ints, second: _Ints, ample: _Ints) -> None:
        """Make pairs of pieces of one class one, and some part of one that is not small."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        touched, index = np.unique(np.concatenate([first, second, ample]), return_inverse=True)
        node, other = index[: len(first)], index[len(first) : 2 * len(first)]
        graph = coo_array((np.ones(len(node), np.int8), (node, other)), (len(touched),) * 2)
        count, label = connected_components(graph, directed=False)
        roots = np.empty(count, np.int64)
        roots[label[::-1]] = touched[::-1]  # written backwards: the first is what stays
        for array, add in (
            (self.pixels, np.add),
            (self.units, np.add),
            (self.open, np.logical_or),
        ):
            array[roots] = _folded(add, array[touched], label, count)
        is_ample = np.zeros(count, bool)
        is_ample[label[index[2 * len(first) :]]] = True
        self.is_ample[roots] = is_ample | (self.units[roots] >= self.least.of(self.classes[roots]))
        self.parent[touched] = roots[label]
        self._renumber()

    def _renumber(self) -> None:
        """Borders of what pieces have been merged into; those with ample ones by their class."""
        first, second = self.parent[self.first], self.parent[self.second]
        is_ample = self.is_ample
        two = ~is_ample[first] & ~is_ample[second]
        single = is_ample[first] ^ is_ample[second]
        small = np.where(is_ample[first], second, first)[single]
        large = np.where(is_ample[first], first, second)[single]
        piece = self.parent[self.piece]
        stays = ~is_ample[piece]
        self.piece, self.neighbour, self.length = by_class(
            np.concatenate([piece[stays], small]),
            np.concatenate([self.neighbour[stays], self.classes[large]]),
            np.concatenate([self.length[stays], self.weight[single]]),
        )
        borders = summed(first[two], second[two], self.weight[two])
        self.first, self.second, self.weight = borders.first, borders.second, borders.weight

    def decided(self) -> Decided:
        """The class of each piece, and those that are left."""
        root = self.parent
        while (root[root] != root).any():
            root = root[root]
        is_left = np.zeros(len(root), bool)
        for ends in (self.first, self.second, self.piece):
            is_left[ends] = True
        is_left = (is_left | self.open) & ~self.is_ample & (root == np.arange(len(root)))
        number = np.where(is_left, np.cumsum(is_left) - 1, -1)
        rest = Small(
            self.classes[is_left], self.pixels[is_left], self.units[is_left],
            self.places[is_left], self.open[is_left],
            number[self.first], number[self.second], self.weight,
            number[self.piece], self.neighbour, self.length,
        )  # fmt: skip
        return Decided(self.classes[root], number[root], rest)


def by_class(piece: _Ints, neighbour: _Ints, length: _Ints) -> tuple[_Ints, _Ints, _Ints]:
    """Each pair of a piece and a class once, in their order, with the sum of the lengths."""
    key, total = sums_by(piece * _CLASSES + (neighbour - _LOWEST), length)
    return key // _CLASSES, key % _CLASSES + _LOWEST, total


def _folded(add: Any, values: Any, label: Any, count: int) -> Any:
    """Values folded by label, each of which is there."""
    order = np.argsort(label, kind="stable")
    begins = np.searchsorted(label[order], np.arange(count))
    return add.reduceat(values[order], begins) if count else values
