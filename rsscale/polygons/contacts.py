"""Contacts: places where a piece goes on in another one; the same number from both sides."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rsscale.geo.lattice import PixelBox
from rsscale.polygons.regions import Regions

_Keys = npt.NDArray[np.uint64]
_Ints = npt.NDArray[np.int64]
_Bools = npt.NDArray[np.bool_]

# What touches there: pixels above and below an edge, left and right of one, across a corner.
_ACROSS_ROW, _ACROSS_COLUMN, _FALLING, _RISING = range(4)
_FIRST = 1 << 30  # rows and columns are counted from here, so that none is negative


def contact_keys(rows: npt.ArrayLike, cols: npt.ArrayLike, kind: int) -> _Keys:
    """Places of contact as one number each.

    Parameters
    ----------
    rows, cols : int array
        The corner of pixels that a contact begins at, counted from the grid's origin.
    kind : int
        What touches there.
    """
    row = (np.asarray(rows, np.int64) + _FIRST).astype(np.uint64)
    col = (np.asarray(cols, np.int64) + _FIRST).astype(np.uint64)
    return (row << np.uint64(33)) | (col << np.uint64(2)) | np.uint64(kind)


def cell_contacts(
    regions: Regions, piece: npt.NDArray[np.int32], box: PixelBox
) -> tuple[_Keys, _Ints]:
    """The contacts of a cell's pieces: across its four sides, and at corners inside of it.

    A stretch of a side along which nothing changes is one contact.

    Parameters
    ----------
    regions : Regions
    piece : int32 array (rows, cols)
        Number of each pixel's piece; -1 for none.
    box : PixelBox
        The cell.

    Returns
    -------
    keys : uint64 array
    pieces : int64 array
        The piece that each belongs to.
    """
    height, width = piece.shape
    keys: list[_Keys] = []
    pieces: list[_Ints] = []
    for side, line in ((0, box.row0), (height, box.row1)):
        at = _starts(regions.down[side], regions.state[side], regions.state[side + 1],
                     regions.grown[side] | regions.grown[side + 1])  # fmt: skip
        keys.append(contact_keys(line, box.col0 + at, _ACROSS_ROW))
        pieces.append(piece[min(side, height - 1), at].astype(np.int64))
    for side, line in ((0, box.col0), (width, box.col1)):
        at = _starts(regions.right[:, side], regions.state[:, side], regions.state[:, side + 1],
                     regions.grown[:, side] | regions.grown[:, side + 1])  # fmt: skip
        keys.append(contact_keys(box.row0 + at, line, _ACROSS_COLUMN))
        pieces.append(piece[at, min(side, width - 1)].astype(np.int64))
    around = np.pad(piece, 1, constant_values=-1).astype(np.int64)
    for touching, kind in ((regions.falling, _FALLING), (regions.rising, _RISING)):
        row, col = np.nonzero(touching)
        for down in (0, 1):
            of = around[row + down, col + (down if kind == _FALLING else 1 - down)]
            keys.append(contact_keys(box.row0 + row, box.col0 + col, kind)[of >= 0])
            pieces.append(of[of >= 0])
    contacts, owner = np.concatenate(keys), np.concatenate(pieces)
    return contacts[owner >= 0], owner[owner >= 0]


def _starts(linked: _Bools, before: _Ints, after: _Ints, grown: _Bools) -> _Ints:
    """Where stretches of linked pixels begin, along a side without the corners of its margin."""
    linked, before, after, grown = linked[1:-1], before[1:-1], after[1:-1], grown[1:-1]
    goes_on = np.zeros(len(linked), bool)
    goes_on[1:] = (
        linked[:-1]
        & (before[1:] == before[:-1])
        & (after[1:] == after[:-1])
        & ~grown[1:]
        & ~grown[:-1]
    )
    return np.flatnonzero(linked & ~goes_on)


def connected(keys: _Keys, pieces: _Ints, count: int) -> tuple[_Ints, _Bools]:
    """Which pieces are connected, and which contacts nobody answers.

    Parameters
    ----------
    keys : uint64 array
    pieces : int64 array
        Of each contact.
    count : int
        How many pieces there are.

    Returns
    -------
    component : int64 array (count,)
        Number of each piece's component.
    open : bool array
        Contacts whose other side is not among them.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    order = np.argsort(keys, kind="stable")
    pair = keys[order][1:] == keys[order][:-1]
    first, second = order[:-1][pair], order[1:][pair]
    is_open = np.ones(len(keys), bool)
    is_open[first] = is_open[second] = False
    graph = coo_array(
        (np.ones(len(first), np.int8), (pieces[first], pieces[second])), shape=(count, count)
    )
    component = connected_components(graph, directed=False)[1].astype(np.int64)
    return component, is_open
