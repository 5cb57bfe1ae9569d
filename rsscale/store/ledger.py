"""What is done: one small JSON file for each finished (period, tile).

An entry is written after the tile's shards are durable, by the process that wrote them, so
that it stays true when the coordinator, a worker or the machine dies. It holds a checksum of
each stored object, and a fingerprint of all that decided their pixels: a tile is done when its
entry says so, the objects are still those, and it would be made from the same inputs today.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rsscale.store.storage import Place

_FOLDER = "ledger"


@dataclass(frozen=True)
class Entry:
    """One finished tile.

    Attributes
    ----------
    period : int
        The year that was mapped.
    tile : str
        The tile's id.
    fingerprint : str
        Hash of what decides the pixels: recipe, model, items and area of this tile.
    digests : mapping of layer to SHA-256
        Of the stored objects.
    items : tuple of str
        Ids of the STAC items that were read.
    pixels : int
        Pixels of the tile inside the area.
    unseen : int
        Of them, those without any clear look (nodata in the map).
    non_finite : int
        Of them, those for which the model returned no number (nodata in the map).
    missing : tuple of str
        What could not be read and counts as not seen, a line an asset; empty unless the
        recipe allows it.
    seams : mapping of str to int
        How labels disagree along window lines; see :class:`rsscale.inference.seams.Seams`.
    seconds : mapping of stage to float
        Time of each stage: ``read``, ``prepare`` (mask, composite), ``infer``, ``write``.
    decoded_bytes : int
        Of pixels that were read, as they are in memory.
    batch : int
        Windows that the model saw at once; less than the profile's where memory was short.
    agreement : float, optional
        Share of labels that are those of the plain model, where it was compared.
    epoch : int
        Of the run that wrote it.
    """

    period: int
    tile: str
    fingerprint: str
    digests: Mapping[str, str]
    items: tuple[str, ...] = ()
    pixels: int = 0
    unseen: int = 0
    non_finite: int = 0
    missing: tuple[str, ...] = ()
    seams: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    decoded_bytes: int = 0
    batch: int = 1
    agreement: float | None = None
    epoch: int = 0

    @property
    def key(self) -> tuple[int, str]:
        """(period, tile id)."""
        return self.period, self.tile


class Ledger:
    """The entries of a run.

    Parameters
    ----------
    folder : Place
        The run folder; entries lie in ``ledger/<period>/<tile>.json``.
    """

    def __init__(self, folder: Place) -> None:
        self._folder = folder

    def commit(self, entry: Entry) -> None:
        """Write an entry so that it is there whole, or not at all, even after a power cut."""
        write_json(self._folder, _name(*entry.key), asdict(entry))

    def read(self, period: int, tile: str) -> Entry | None:
        """The entry of a tile, or None when there is none or it was cut short."""
        try:
            return _entry(json.loads(self._folder.read(_name(period, tile))))
        except (FileNotFoundError, ValueError, TypeError, AttributeError):
            return None  # also what is JSON, and no entry

    def holds(self, period: int, tile: str) -> bool:
        """Whether there is a file for a tile, readable or not."""
        return self._folder.exists(_name(period, tile))

    def count(self) -> int:
        """How many entries there are, unread."""
        return sum(1 for _ in self._folder.names(_FOLDER))

    def entries(self) -> Iterator[Entry]:
        """All entries that can be read, one after another."""
        for name in self._folder.names(_FOLDER):
            _, period, file = name.split("/")
            entry = self.read(int(period), file.removesuffix(".json"))
            if entry is not None:
                yield entry

    def forget(self, period: int, tile: str) -> None:
        """Take an entry back, so that its tile counts as not done."""
        self._folder.delete(_name(period, tile))


def _name(period: int, tile: str) -> str:
    return f"{_FOLDER}/{period}/{tile}.json"


def _entry(fields: Mapping[str, Any]) -> Entry:
    tuples = {name: tuple(fields.get(name, ())) for name in ("items", "missing")}
    return Entry(**{**fields, **tuples})


def write_json(folder: Place, name: str, content: Any) -> None:
    """Write JSON durably.

    Raises
    ------
    RunFolderError
        When the folder can't be written or the disk is full.
    """
    folder.write(name, json.dumps(content, indent=1, sort_keys=True).encode() + b"\n")
