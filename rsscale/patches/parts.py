"""An image decided in parts: what each can know by itself, the rest from all of them together.

Of a part there are four kinds of rows, which :data:`COLUMNS` hold: pieces that it leaves
undecided, their borders with each other and with classes around them, and the pixels at its edge.
They grow with the part's edge, not with its area.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.geo.lattice import PixelBox
from rsscale.patches.elimination import Decided, LeastUnits, Small, by_class, decide, small_of
from rsscale.patches.pieces import EDGE, Connectivity, Pieces, find_pieces, places_of, summed

_Ints = npt.NDArray[np.int64]

PIECE, BORDER, AROUND, PIXEL = range(4)
"""Kinds of rows."""
COLUMNS = {
    "kind": "uint8",
    "place": "int64",  # of a piece's first pixel; of a pixel at the edge
    "other": "int64",  # of the other piece of a border; of the piece of a pixel
    "class": "int32",  # of a piece, of what is around it, of a pixel
    "pixels": "int64",
    "amount": "int64",  # units of area of a piece; length of a border
}
"""Columns of the rows, and their types; 0 where a kind of row has none."""
_NONE = np.iinfo(np.int64).min  # a pixel whose piece is not small

# Rows and columns to the neighbours that come after a pixel, and what is shared with each.
_SIDES = ((0, 1, EDGE), (1, 0, EDGE))
_CORNERS = ((1, 1, 1), (1, -1, 1))


@dataclass(frozen=True)
class Part:
    """A part of an image, decided as far as it can be known from it.

    Attributes
    ----------
    pieces : Pieces
    number : int64 array (piece,)
        Which of the small ones each piece is; -1 for none.
    decided : Decided
    box : PixelBox
    """

    pieces: Pieces
    number: _Ints
    decided: Decided
    box: PixelBox

    def rows(self) -> dict[str, npt.NDArray[Any]]:
        """What the part leaves undecided, as :data:`COLUMNS`."""
        rest = self.decided.rest
        place, piece = self._edge()
        left = self._left()[piece]
        return _rows(
            {"kind": PIECE, "place": rest.places, "class": rest.classes, "pixels": rest.pixels,
             "amount": rest.units},
            {"kind": BORDER, "place": rest.places[rest.first], "other": rest.places[rest.second],
             "amount": rest.weight},
            {"kind": AROUND, "place": rest.places[rest.piece], "class": rest.neighbour,
             "amount": rest.length},
            {"kind": PIXEL, "place": place, "class": self.pieces.classes[piece],
             "other": _taken(rest.places, left, _NONE)},
        )  # fmt: skip

    def classes(self, places: _Ints, classes: _Ints) -> _Ints:
        """The last class of each piece.

        Parameters
        ----------
        places, classes : int64 array
            Undecided pieces whose class is another one than they have, as :func:`decide_rest`
            tells of all parts.
        """
        rest = self.decided.rest
        order = np.argsort(places)
        last = rest.classes.copy()
        at = np.searchsorted(places, rest.places, sorter=order)
        at = order[np.minimum(at, len(places) - 1)] if len(places) else at[:0]
        if len(places):
            last = np.where(places[at] == rest.places, classes[at], last)
        of_small = np.where(
            self.decided.left >= 0, _taken(last, self.decided.left, 0), self.decided.classes
        )
        return np.where(self.number >= 0, _taken(of_small, self.number, 0), self.pieces.classes)

    def _left(self) -> _Ints:
        """Which of the undecided ones each piece is part of; -1 for none."""
        return np.where(self.number >= 0, _taken(self.decided.left, self.number, -1), -1)

    def _edge(self) -> tuple[_Ints, _Ints]:
        """Places of the pixels at the edge that have a class, each once, and their pieces."""
        is_edge = np.ones(self.box.shape, bool)
        is_edge[1:-1, 1:-1] = False
        rows, cols = np.nonzero(is_edge & (self.pieces.of_pixel >= 0))
        places = places_of(rows + self.box.row0, cols + self.box.col0)
        return places, self.pieces.of_pixel[rows, cols].astype(np.int64)


def decide_part(
    classes: npt.NDArray[np.integer],
    valid: npt.NDArray[np.bool_],
    units: npt.NDArray[np.int64],
    box: PixelBox,
    *,
    least: LeastUnits,
    connectivity: Connectivity,
) -> Part:
    """Decide a part of an image as far as it can be known from it.

    Parameters
    ----------
    classes, valid, units, box, connectivity
        As for :func:`rsscale.patches.pieces.find_pieces`.
    least : LeastUnits
    """
    pieces = find_pieces(classes, valid, units, box, connectivity)
    small, number = small_of(pieces, least)
    return Part(pieces, number, decide(small, least), box)


def decide_rest(
    parts: Sequence[Mapping[str, npt.NDArray[Any]]],
    *,
    least: LeastUnits,
    connectivity: Connectivity,
) -> tuple[_Ints, _Ints]:
    """Decide what parts left undecided, from the rows of all of them.

    Parameters
    ----------
    parts : sequence of mapping of column to array
        As :meth:`Part.rows` gives them; parts do not overlap.
    least : LeastUnits
    connectivity : 4 or 8

    Returns
    -------
    places, classes : int64 array
        Pieces whose class is another one than they have in their part, in order.
    """
    piece, border, around, pixel = _by_kind(parts)

    def numbers(places: _Ints) -> _Ints:
        return np.searchsorted(piece["place"], places)

    node = np.where(pixel["other"] == _NONE, -1, numbers(pixel["other"]))
    a, b, weight = _across(pixel["place"], pixel["part"], connectivity)
    same = pixel["class"][a] == pixel["class"][b]
    # Pairs of pixels across a line between parts: of two undecided pieces, or of a single one.
    both, single = (node[a] >= 0) & (node[b] >= 0), (node[a] >= 0) ^ (node[b] >= 0)
    inner, outer = np.where(node[a] >= 0, a, b), np.where(node[a] >= 0, b, a)
    borders = summed(
        np.concatenate([numbers(border["place"]), node[a][both & ~same]]),
        np.concatenate([numbers(border["other"]), node[b][both & ~same]]),
        np.concatenate([border["amount"], weight[both & ~same]]),
    )
    piece_of, neighbour, length = by_class(
        np.concatenate([numbers(around["place"]), node[inner][single & ~same]]),
        np.concatenate([around["class"].astype(np.int64), pixel["class"][outer][single & ~same]]),
        np.concatenate([around["amount"], weight[single & ~same]]),
    )
    small = Small(
        classes=piece["class"].astype(np.int64), pixels=piece["pixels"], units=piece["amount"],
        places=piece["place"], open=np.zeros(len(piece["place"]), bool),
        first=borders.first, second=borders.second, weight=borders.weight,
        piece=piece_of, neighbour=neighbour, length=length,
    )  # fmt: skip
    decided = decide(
        small,
        least,
        joined=(node[a][both & same], node[b][both & same]),
        ample=node[inner][single & same],
    )
    changed = decided.classes != small.classes
    return small.places[changed], decided.classes[changed]


def _by_kind(parts: Sequence[Mapping[str, npt.NDArray[Any]]]) -> list[dict[str, npt.NDArray[Any]]]:
    """Pieces in the order of their places, borders, what is around, and pixels of all parts.

    Beside :data:`COLUMNS` each row has its ``part``, a number.
    """
    rows = {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS}
    rows["part"] = np.repeat(np.arange(len(parts)), [len(part["kind"]) for part in parts])
    kinds = [
        {name: column[rows["kind"] == kind] for name, column in rows.items()}
        for kind in (PIECE, BORDER, AROUND, PIXEL)
    ]
    order = np.argsort(kinds[0]["place"])
    kinds[0] = {name: column[order] for name, column in kinds[0].items()}
    return kinds


def _across(places: _Ints, part: _Ints, connectivity: Connectivity) -> tuple[_Ints, _Ints, _Ints]:
    """Pairs of pixels of different parts that touch, and how much border they share."""
    order = np.argsort(places)
    ordered = places[order]
    pairs = []
    for row, col, weight in _SIDES + (_CORNERS if connectivity == 8 else ()):
        at = np.searchsorted(ordered, ordered + (row << 32) + col)
        at[at == len(ordered)] = 0
        hits = np.flatnonzero(ordered[at] == ordered + (row << 32) + col)
        a, b = order[hits], order[at[hits]]
        apart = part[a] != part[b]
        pairs.append((a[apart], b[apart], np.full(int(apart.sum()), weight, np.int64)))
    first, second, weights = (np.concatenate(column) for column in zip(*pairs, strict=True))
    return first, second, weights


def _rows(*kinds: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    """Rows of each kind as columns, one kind below the other."""
    counts = [len(kind["place"]) for kind in kinds]
    return {
        name: np.concatenate(
            [
                np.broadcast_to(np.asarray(kind.get(name, 0)), count).astype(dtype)
                for kind, count in zip(kinds, counts, strict=True)
            ]
        )
        for name, dtype in COLUMNS.items()
    }


def _taken(values: _Ints, index: _Ints, none: int) -> _Ints:
    """Values by index, and another where the index is -1."""
    return np.append(values, none)[index]
