"""Regions of a cell: which pixels belong together, as far as the cell and its margin can tell.

A cell is traced for itself, and what its two sides must agree on follows from pixels alone: which
pixels across a line belong together, and where borders meet the line.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rsscale.patches.pieces import places_of
from rsscale.polygons.rules import Instances, PolygonRules

NONE = -1
"""Of pixels that belong to no polygon: no value, or a class that is not asked for."""

_Ints = npt.NDArray[np.int64]
_Bools = npt.NDArray[np.bool_]
# Rows and columns to the four neighbours that share an edge.
_BESIDE = ((-1, 0), (0, -1), (0, 1), (1, 0))
_NO_SEED = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Regions:
    """Pixels of a cell and of one more on each side, ``(rows + 2, cols + 2)``.

    Attributes
    ----------
    label : int64 array
        Neighbours of the same label belong together; :data:`NONE` to nothing. Labels of pixels in
        another cell may differ from those that its own window gives them.
    value : int64 array
        Class of each pixel's polygon.
    state : int64 array
        As ``label``, but the same in the windows of all cells that hold the pixel.
    grown : bool array
        Pixels whose neighbours along a line may belong to others though their state is equal.
    down, right : bool array (rows + 1, cols + 2), (rows + 2, cols + 1)
        Whether a pixel belongs together with the one below, and with the one to the right.
    falling, rising : bool array (rows + 1, cols + 1)
        Whether the pixels at the two sides of a corner belong together by it alone: north-west
        with south-east, north-east with south-west.
    """

    label: _Ints
    value: _Ints
    state: _Ints
    grown: _Bools
    down: _Bools
    right: _Bools
    falling: _Bools
    rising: _Bools


def class_regions(values: npt.NDArray[np.integer], valid: _Bools, rules: PolygonRules) -> Regions:
    """Regions of one class each.

    Parameters
    ----------
    values : integer array (rows + 2, cols + 2)
        Classes.
    valid : bool array
    rules : PolygonRules
    """
    chosen = valid if rules.classes is None else valid & np.isin(values, rules.classes)
    label = np.where(chosen, values.astype(np.int64), NONE)
    # Values of classes may be negative, and a label is not.
    label = np.where(chosen, label - min(int(label.min()), 0), NONE)
    falling, rising = _corners(label, rules)
    return Regions(
        label=label,
        value=values.astype(np.int64),
        state=label,
        grown=np.zeros(label.shape, bool),
        down=(label[:-1] == label[1:]) & (label[:-1] != NONE),
        right=(label[:, :-1] == label[:, 1:]) & (label[:, :-1] != NONE),
        falling=falling,
        rising=rising,
    )


def instance_regions(
    values: npt.NDArray[np.integer],
    valid: _Bools,
    first: tuple[int, int],
    rules: PolygonRules,
    instances: Instances,
) -> Regions:
    """Regions grown from the connected pixels of an interior class into a boundary class.

    In each step a boundary pixel joins the neighbour whose interior pixel of origin comes first in
    the order of reading, among those that were reached in the steps before: nearest first, and no
    window can see it otherwise.

    Parameters
    ----------
    values : integer array (rows + 2 + 2 * grow, cols + 2 + 2 * grow)
        Classes of the cell and its margin.
    valid : bool array
    first : (int, int)
        Row and column of the first pixel on the grid.
    rules : PolygonRules
    instances : Instances
    """
    from scipy import ndimage

    inside = valid & (values == instances.interior)
    structure = ndimage.generate_binary_structure(2, 2 if rules.connectivity == 8 else 1)
    label = ndimage.label(inside, structure)[0].astype(np.int64) - 1
    rows = first[0] + np.arange(values.shape[0])[:, None]
    cols = first[1] + np.arange(values.shape[1])[None, :]
    origin = np.where(inside, places_of(rows, cols), _NO_SEED)
    free = valid & (values == instances.boundary)
    parent = np.full(values.shape, -1, np.int8)
    for _ in range(instances.grow):
        _grow(label, origin, parent, free)
    keep = slice(instances.grow, -instances.grow or None)
    label, parent, inside = label[keep, keep], parent[keep, keep], inside[keep, keep]
    grown = parent >= 0
    state = np.where(inside, 1, np.where(grown, 2, NONE)).astype(np.int64)
    falling, rising = _corners(np.where(inside, 1, NONE), rules)
    return Regions(
        label=label,
        value=np.full(label.shape, instances.interior, np.int64),
        state=state,
        grown=grown,
        down=(inside[:-1] & inside[1:]) | (parent[1:] == 0) | (parent[:-1] == 3),
        right=(inside[:, :-1] & inside[:, 1:]) | (parent[:, 1:] == 1) | (parent[:, :-1] == 2),
        falling=falling,
        rising=rising,
    )


def _grow(label: _Ints, origin: _Ints, parent: npt.NDArray[np.int8], free: _Bools) -> None:
    """One step, in place."""
    around = np.pad(origin, 1, constant_values=_NO_SEED)
    height, width = origin.shape
    beside = np.stack(
        [
            around[1 + down : 1 + down + height, 1 + right : 1 + right + width]
            for down, right in _BESIDE
        ]
    )
    row, col = np.nonzero(free & (origin == _NO_SEED) & (beside.min(axis=0) != _NO_SEED))
    which = beside[:, row, col].argmin(axis=0)
    down, right = np.array(_BESIDE).T[:, which]
    origin[row, col] = beside[which, row, col]
    label[row, col] = label[row + down, col + right]
    parent[row, col] = which


def _corners(state: _Ints, rules: PolygonRules) -> tuple[_Bools, _Bools]:
    """Pixels that are connected by a corner, and not by an edge beside it."""
    a, b, c, d = state[:-1, :-1], state[:-1, 1:], state[1:, :-1], state[1:, 1:]
    if rules.connectivity == 4:
        none = np.zeros(a.shape, bool)
        return none, none
    apart = (a != b) & (a != c) & (b != d) & (c != d)
    return apart & (a == d) & (a != NONE), apart & (b == c) & (b != NONE)
