"""Finding scene records by place and time: the tables of an index, in memory or frozen on disk.

Also what differs between the items that a run froze and those of now.

A country has tens of thousands of items and a tile needs a few dozen: so a worker holds where they
lie, some 70 bytes each, and reads the records that it needs.

Selection must never decide a value: a pixel's value would then depend on the box that was
asked for. So an item is left out only where its *rasters* can't reach the box; its footprint
is not asked, since footprints are simplified and sometimes wrong.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox

from rsscale.errors import ItemError
from rsscale.items.records import SceneRecord, Scenes

INDEX, RECORDS = "index.npz", "records"
"""Endings of the two files of an index."""

_ZLIB_WINDOW = 32 * 2**10

Rows = npt.NDArray[np.intp]


class Cost(NamedTuple):
    """Cost of reading a box: number of scenes, and decoded bytes of their pixels in it."""

    records: int
    decoded: int


@dataclass(frozen=True)
class Extents:
    """Bounds, times and hashes of the rasters of many items, as columns.

    Attributes
    ----------
    bounds : float64 array (N, 4)
        West, south, east, north in the CRS of the index.
    starts, ends : datetime64[us] array (N,)
        First and last moment, UTC.
    digests : uint8 array (N, 16)
        Of what decides pixels.
    generations : uint16 array (N,)
        How often the run had grown when the record came.
    pixel_bytes : uint16 array (N,)
        Of one pixel of all bands that are read, decoded.
    turns : float64 array
        What may be added to a longitude.
    """

    bounds: npt.NDArray[np.float64]
    starts: npt.NDArray[np.datetime64]
    ends: npt.NDArray[np.datetime64]
    digests: npt.NDArray[np.uint8]
    generations: npt.NDArray[np.uint16]
    pixel_bytes: npt.NDArray[np.uint16]
    turns: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.digests)

    def rows(self, geobox: GeoBox, start: date, end: date, generation: int | None = None) -> Rows:
        """Numbers of the records that :meth:`Lookup.touching` returns, ascending."""
        left, bottom, right, top = geobox.boundingbox.bbox
        west, south, east, north = self.bounds.T
        first, after = np.datetime64(start, "D"), np.datetime64(end, "D") + 1
        hit = (south < top) & (north > bottom) & (self.starts < after) & (self.ends >= first)
        # Longitudes repeat: an item at 181 may hold pixels of a box at -179.
        hit &= np.logical_or.reduce(
            [(west < right + turn) & (east > left + turn) for turn in self.turns]
        )
        if generation is not None:
            hit &= self.generations <= generation
        return np.flatnonzero(hit)

    def rows_of_any(self, geoboxes: Iterable[GeoBox], start: date, end: date) -> set[int]:
        """Numbers of the records that touch any of some boxes from ``start`` to ``end``."""
        return {int(row) for geobox in geoboxes for row in self.rows(geobox, start, end)}

    def dated(self, start: date, end: date) -> Rows:
        """Numbers of the records of these days, wherever they lie."""
        first, after = np.datetime64(start, "D"), np.datetime64(end, "D") + 1
        return np.flatnonzero((self.starts < after) & (self.ends >= first))

    def digest(self, rows: Rows) -> str:
        """Hash of the digests of some records."""
        return hashlib.sha256(self.digests[rows].tobytes()).hexdigest()[:16]

    def cost(self, rows: Rows, geobox: GeoBox) -> Cost:
        """How many, and the bytes of their pixels in a box."""
        left, bottom, right, top = geobox.boundingbox.bbox
        boxes = np.clip(self.bounds[rows], [left, bottom] * 2, [right, top] * 2)
        covered = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        pixels = covered / abs(geobox.affine.a * geobox.affine.e)
        return Cost(len(rows), round(float((pixels * self.pixel_bytes[rows]).sum())))

    def take(self, rows: Rows) -> Self:
        """The same of some records."""
        columns = {name: getattr(self, name)[rows] for name in _columns()}
        return type(self)(**columns, turns=self.turns)

    def join(self, other: Self) -> Self:
        """The same of two tables, one after the other."""
        columns = {
            name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in _columns()
        }
        return type(self)(**columns, turns=self.turns)


def _columns() -> list[str]:
    """Names of the arrays that have a row for each record."""
    return [field.name for field in fields(Extents) if field.name != "turns"]


class Lookup(ABC):
    """Finds the scenes of a box: those in memory, or those that a run has frozen.

    Everywhere ``geobox`` is in the CRS of the index, and ``start`` and ``end`` are days of which
    the last one counts whole. With a ``generation`` only records count that were there when the
    run had grown so often: those that a tile saw that was done then.

    Attributes
    ----------
    extents : Extents
        A row for each scene.
    crs : str
        Of the extents.
    notes : tuple of str
        What is to be said of the items while planning: those that contradict themselves.
    """

    extents: Extents
    crs: str
    notes: tuple[str, ...] = ()

    @abstractmethod
    def read(self, rows: Iterable[int]) -> Scenes:
        """Scenes by their numbers, in that order."""

    def __len__(self) -> int:
        return len(self.extents)

    @property
    def scenes(self) -> Scenes:
        """All of them; tens of thousands on disk may take a second."""
        return self.read(range(len(self)))

    def touching(
        self, geobox: GeoBox, start: date, end: date, generation: int | None = None
    ) -> Scenes:
        """Scenes that can hold a pixel of ``geobox`` taken from ``start`` to ``end``."""
        return self.read(map(int, self.extents.rows(geobox, start, end, generation)))

    def digest(self, geobox: GeoBox, start: date, end: date, generation: int | None = None) -> str:
        """Hash of all in the scenes that :meth:`touching` returns that decides pixels."""
        return self.extents.digest(self.extents.rows(geobox, start, end, generation))

    def cost(self, geobox: GeoBox, start: date, end: date, generation: int | None = None) -> Cost:
        """How many scenes those are and the bytes of them in the box; reads no record."""
        return self.extents.cost(self.extents.rows(geobox, start, end, generation), geobox)


class ScenesInMemory(Lookup):
    """Scenes that are at hand.

    Parameters
    ----------
    scenes : Scenes
    extents : Extents
        A row for each of them.
    crs : str
        Of the extents.
    """

    def __init__(self, scenes: Scenes, extents: Extents, crs: str) -> None:
        self._scenes, self.extents, self.crs = scenes, extents, crs

    def read(self, rows: Iterable[int]) -> Scenes:
        """See :meth:`Lookup.read`."""
        records = tuple(self._scenes.records[row] for row in rows)
        return Scenes(self._scenes.names, self._scenes.codes, records)


def write_index(index: Lookup, put: Callable[[str, bytes], None]) -> None:
    """Write an index and its scenes, without tokens; the same scenes give the same bytes.

    Parameters
    ----------
    index : Lookup
    put : callable
        Takes each file's ending, :data:`INDEX` and :data:`RECORDS`, and its content.
    """
    scenes = index.scenes
    plain = [record.to_bytes() for record in scenes]
    # Records look alike: what they share is kept once, as a dictionary of the compression.
    shared = plain[0][-_ZLIB_WINDOW:] if plain else b""
    records = [_compress(record, shared) for record in plain]
    columns = {field.name: getattr(index.extents, field.name) for field in fields(Extents)}
    file = io.BytesIO()
    np.savez(
        file,
        edges=np.cumsum([0, *map(len, records)]),
        shared=np.frombuffer(shared, np.uint8),
        names=np.array(scenes.names, str),
        codes=np.array(scenes.codes, bool),
        crs=np.array(index.crs),
        **columns,
    )
    put(RECORDS, b"".join(records))
    put(INDEX, file.getvalue())


class FrozenItems(Lookup):
    """Scenes that :func:`write_index` wrote.

    Parameters
    ----------
    index, records : Path
        The two files; records are read where they are asked for.
    """

    def __init__(self, index: Path, records: Path) -> None:
        self._records = records
        try:
            try:
                self._load(index)
            except SystemError:
                # CPython 3.11 sometimes miscounts in ast.parse, by which NumPy reads the header of
                # an array, where other threads run: no fault of the file.
                self._load(index)
        except FileNotFoundError:
            raise ItemError(f"{index.name} is not there any more") from None
        except Exception as error:  # noqa: BLE001 -- zipfile, zlib, struct, numpy: of noise
            raise ItemError(f"{index.name} is not what was written ({error})") from None

    def _load(self, index: Path) -> None:
        with np.load(index, allow_pickle=False) as arrays:
            self._take(arrays)

    def _take(self, arrays: Any) -> None:
        """Take the columns of an index, if they are those of one."""
        self.extents = Extents(**{field.name: arrays[field.name] for field in fields(Extents)})
        self.crs = str(arrays["crs"])
        self._edges, self._shared = arrays["edges"], arrays["shared"].tobytes()
        self._names = tuple(map(str, arrays["names"]))
        self._codes = tuple(map(bool, arrays["codes"]))
        lengths = {len(getattr(self.extents, name)) for name in _columns()}
        if lengths != {len(self._edges) - 1} or self.extents.bounds.shape[1:] != (4,):
            raise ItemError("its columns differ in length")

    def read(self, rows: Iterable[int]) -> Scenes:
        """See :meth:`Lookup.read`."""
        records = []
        try:
            with self._records.open("rb") as file:
                for row in rows:
                    start, stop = int(self._edges[row]), int(self._edges[row + 1])
                    file.seek(start)
                    record = _expand(file.read(max(stop - start, 0)), self._shared)
                    records.append(SceneRecord.from_bytes(record))
        except FileNotFoundError:
            raise ItemError(f"{self._records.name} is not there any more") from None
        except (OSError, ValueError, TypeError, AttributeError, zlib.error) as error:
            raise ItemError(f"{self._records.name} is not what was written ({error})") from None
        return Scenes(self._names, self._codes, tuple(records))


def _compress(record: bytes, shared: bytes) -> bytes:
    packer = zlib.compressobj(zdict=shared) if shared else zlib.compressobj()
    return packer.compress(record) + packer.flush()


def _expand(record: bytes, shared: bytes) -> bytes:
    return (zlib.decompressobj(zdict=shared) if shared else zlib.decompressobj()).decompress(record)


@dataclass(frozen=True)
class ItemChanges:
    """Items of an input against those that a run was planned with.

    Attributes
    ----------
    new, changed, gone, same : int
        Changed are those of which something decides pixels that was different.
    moved : int
        Of those that changed, the ones whose files lie elsewhere, and nothing else is different.
    places : (str, str)
        Where one of those lay, and where it lies now; empty where none moved.
    """

    new: int = 0
    changed: int = 0
    gone: int = 0
    same: int = 0
    moved: int = 0
    places: tuple[str, str] = ("", "")

    def __str__(self) -> str:
        text = f"{self.new} new, {self.changed} changed, {self.gone} gone, {self.same} as they were"
        if not self.moved:
            return text
        before, now = self.places
        which = "which lie" if self.moved == self.changed else f"of which {self.moved} lie"
        return text.replace(
            " changed,",
            f" changed ({which} elsewhere, in {now} and not in {before}: whether they hold the "
            "same pixels is not known, so that their tiles are computed anew; to keep these, move "
            "the files back, or link the former place to the new one),",
        )


def compare_items(before: Lookup | None, after: Lookup, *, grows: bool = False) -> ItemChanges:
    """Count what is new, changed, gone and moved between the items of a run and those of now.

    Parameters
    ----------
    before : Lookup, optional
        Those that the run froze; when omitted, none.
    after : Lookup
    grows : bool
        The run takes new ones and leaves the others as they are.
    """
    known, now = _by_id(before) if before is not None else {}, _by_id(after)
    new, both = now.keys() - known.keys(), now.keys() & known.keys()
    changed = [item for item in both if known[item] != now[item]] if not grows else []
    gone = 0 if grows else len(known.keys() - now.keys())
    same = len(known) if grows else len(both) - len(changed)
    places = [place for item in changed if (place := _moved(known[item], now[item]))]
    return ItemChanges(
        len(new), len(changed), gone, same, len(places), *([min(places)] if places else [])
    )


ByDigest = Mapping[bytes, SceneRecord]
"""Records by what decides their pixels."""


def _by_id(items: Lookup) -> dict[str, ByDigest]:
    """The records of each item."""
    scenes: dict[str, dict[bytes, SceneRecord]] = defaultdict(dict)
    for record, digest in zip(items.scenes, items.extents.digests, strict=True):
        scenes[record.id][digest.tobytes()] = record
    return dict(scenes)


def _moved(before: ByDigest, after: ByDigest) -> tuple[str, str] | None:
    """Where an item's files lay and where they lie now; None if more of it is different."""
    if len(before) != 1 or len(after) != 1:
        return None
    (old,), (new,) = before.values(), after.values()
    if len(old.bands) != len(new.bands):
        return None
    pairs = list(zip(old.bands, new.bands, strict=True))
    elsewhere = [(a.url.split("/"), b.url.split("/")) for a, b in pairs if a.url != b.url]
    back = replace(new, bands=tuple(replace(b, url=a.url) for a, b in pairs))
    renamed = any(former[-1] != now[-1] for former, now in elsewhere)  # another file, not a move
    if not elsewhere or renamed or back.digest() != old.digest():
        return None
    former, now = elsewhere[0]
    while len(former) > 1 and len(now) > 1 and former[-1] == now[-1]:
        del former[-1], now[-1]
    return "/".join(former), "/".join(now)
