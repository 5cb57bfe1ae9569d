"""Parts of a Dask array by pixels: which chunks a box touches, and what to cut out of each."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import accumulate, product
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.cluster.sealed import Sealed
from rsscale.geo.lattice import PixelBox
from rsscale.prediction.block import Part


@dataclass(frozen=True)
class _Span:
    """The needed part of one chunk along one axis: ``[start, stop)``, written at ``place``."""

    chunk: int
    start: int
    stop: int
    place: int
    whole: bool


@dataclass(frozen=True)
class _Cut:
    """Cuts rows and columns out of a chunk; a copy, so that the chunk can go."""

    row0: int
    row1: int
    col0: int
    col1: int

    def __call__(self, chunk: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The part."""
        return np.ascontiguousarray(chunk[..., self.row0 : self.row1, self.col0 : self.col1])


class ChunkParts:
    """Tasks that give parts of an array, so that a halo travels and not whole chunks.

    Parameters
    ----------
    array : dask.array.Array
        ``(..., y, x)``.
    inside : PixelBox
        What it covers.
    name : str
        First part of the new tasks' keys.
    graph : dict
        Where the tasks go.
    """

    def __init__(self, array: Any, inside: PixelBox, name: str, graph: dict[Hashable, Any]) -> None:
        self._array, self._inside, self._name, self._graph = array, inside, name, graph
        self._edges = [list(accumulate(sizes, initial=0)) for sizes in array.chunks]

    def of(self, box: PixelBox, index: tuple[int, int]) -> tuple[Part, list[Hashable]]:
        """The assembly of the array over a box, and the keys of its pieces.

        Parameters
        ----------
        box : PixelBox
            Inside the array's, or empty.
        index : (int, int)
            The box's number, for the keys.
        """
        leading = self._array.shape[:-2]
        part = Part((*leading, *box.shape), self._array.dtype.str, ())
        if box.empty:
            return part, []
        wanted = (*(slice(0, n) for n in leading), *box.slices(self._inside))
        spans = [_spans(e, w.start, w.stop) for e, w in zip(self._edges, wanted, strict=True)]
        keys, places = [], []
        for pieces in product(*spans):
            keys.append(self._piece(pieces, index))
            places.append(tuple(piece.place for piece in pieces))
        return Part(part.shape, part.dtype, tuple(places)), keys

    def _piece(self, spans: tuple[_Span, ...], index: tuple[int, int]) -> Hashable:
        chunk = tuple(span.chunk for span in spans)
        key: Hashable = (self._array.name, *chunk)
        rows, cols = spans[-2:]
        if rows.whole and cols.whole:
            return key
        cut = (self._name, *index, *chunk)
        self._graph[cut] = (Sealed(_Cut(rows.start, rows.stop, cols.start, cols.stop)), key)
        return cut


def _spans(edges: list[int], start: int, stop: int) -> list[_Span]:
    """The chunks between edges that ``[start, stop)`` touches."""
    spans = []
    for chunk in range(bisect_right(edges, start) - 1, len(edges) - 1):
        low, high = edges[chunk : chunk + 2]
        if low >= stop:
            break
        first, last = max(low, start), min(high, stop)
        if first < last:  # a chunk may hold nothing
            whole = (first, last) == (low, high)
            spans.append(_Span(chunk, first - low, last - low, first - start, whole))
    return spans
