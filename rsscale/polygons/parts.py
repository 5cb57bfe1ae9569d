"""Parts of polygons: pieces of cells, and what was joined of them, with what they still touch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.polygons.contacts import connected
from rsscale.polygons.union import union_of_pieces

_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Parts:
    """Parts of polygons as columns, and their contacts with others.

    Attributes
    ----------
    place : int64 array (part,)
        First pixel in the order of reading, as :func:`rsscale.patches.pieces.places_of`.
    value : int32 array
        Class.
    units : int64 array
        Area of the pixels.
    cut : bool array
        Whether a pixel has an edge to one without a value.
    pieces : int32 array
        How many pieces of cells each is made of.
    geometry : object array of shapely.Geometry
        In pixels of the grid: ``x`` counts columns, ``y`` rows.
    contacts : uint64 array (contact,)
        Where parts go on in others.
    owner : int64 array (contact,)
        The part that each contact belongs to.
    """

    place: _Ints
    value: npt.NDArray[np.int32]
    units: _Ints
    cut: npt.NDArray[np.bool_]
    pieces: npt.NDArray[np.int32]
    geometry: npt.NDArray[np.object_]
    contacts: npt.NDArray[np.uint64]
    owner: _Ints

    def __len__(self) -> int:
        return len(self.place)

    @classmethod
    def none(cls) -> Parts:
        """No parts."""
        integers, keys = np.empty(0, np.int64), np.empty(0, np.uint64)
        small, nothing = np.empty(0, np.int32), np.empty(0, object)
        return cls(integers, small, integers, np.empty(0, bool), small, nothing, keys, integers)

    @classmethod
    def together(cls, parts: Sequence[Parts]) -> Parts:
        """Several as one, in their order."""
        if not parts:
            return cls.none()
        offsets = np.cumsum([0, *(len(part) for part in parts[:-1])])
        columns = ("place", "value", "units", "cut", "pieces", "geometry", "contacts")
        joined: dict[str, Any] = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in columns
        }
        owner = np.concatenate([p.owner + o for p, o in zip(parts, offsets, strict=True)])
        return cls(**joined, owner=owner)

    def take(self, which: npt.NDArray[np.bool_]) -> Parts:
        """Some of them, with their contacts."""
        number = np.cumsum(which) - 1
        kept = which[self.owner]
        return Parts(
            self.place[which], self.value[which], self.units[which], self.cut[which],
            self.pieces[which], self.geometry[which],
            self.contacts[kept], number[self.owner[kept]],
        )  # fmt: skip

    def ordered(self) -> Parts:
        """In the order of their first pixels, without contacts."""
        order = np.argsort(self.place)
        return Parts(
            self.place[order], self.value[order], self.units[order], self.cut[order],
            self.pieces[order], self.geometry[order],
            np.empty(0, np.uint64), np.empty(0, np.int64),
        )  # fmt: skip

    def joined(self) -> Parts:
        """Parts that touch as one, in order of their first pixels; contacts that are left open."""
        component, is_open = connected(self.contacts, self.owner, len(self))
        return self.merged(component, is_open)

    def merged(self, group: _Ints, keep: npt.NDArray[np.bool_] | None = None) -> Parts:
        """Parts of a group as one, in order of their first pixels.

        Parameters
        ----------
        group : int64 array (part,)
            Any numbers.
        keep : bool array (contact,), optional
            Contacts to keep; none when left out.
        """
        if not len(self):
            return self
        by_group = np.lexsort((self.place, group))
        starts = np.flatnonzero(np.diff(group[by_group], prepend=group[by_group[0]] - 1))
        first = by_group[starts]
        order = np.argsort(self.place[first])
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        of_part = np.empty(len(self), np.int64)
        of_part[by_group] = rank[np.repeat(np.arange(len(starts)), _lengths(starts, len(self)))]
        kept = np.zeros(len(self.owner), bool) if keep is None else keep
        return Parts(
            place=self.place[first][order],
            value=self.value[first][order],
            units=np.add.reduceat(self.units[by_group], starts)[order],
            cut=np.logical_or.reduceat(self.cut[by_group], starts)[order],
            pieces=np.add.reduceat(self.pieces[by_group], starts)[order],
            geometry=_unions(self.geometry[by_group], starts)[order],
            contacts=self.contacts[kept],
            owner=of_part[self.owner[kept]],
        )


def _lengths(starts: npt.NDArray[np.intp], total: int) -> npt.NDArray[np.intp]:
    return np.diff(starts, append=total)


def _unions(
    geometry: npt.NDArray[np.object_], starts: npt.NDArray[np.intp]
) -> npt.NDArray[np.object_]:
    """The union of each stretch of polygons that share vertices, as it does not depend on order."""
    out = geometry[starts].copy()
    lengths = _lengths(starts, len(geometry))
    for at in np.flatnonzero(lengths > 1):
        out[at] = union_of_pieces(geometry[starts[at] : starts[at] + lengths[at]])
    normal: npt.NDArray[np.object_] = shapely.normalize(out)
    return normal
