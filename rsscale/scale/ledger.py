"""What is done: one small JSON file for each finished (period, tile).

An entry is written after the tile's shards are durable, by the process that wrote them, so
that it stays true when the coordinator, a worker or the machine dies. It holds a checksum of
each stored object: a tile is done when its entry says so *and* the objects are still those.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rsscale import durable
from rsscale.errors import RunFolderError


@dataclass(frozen=True)
class Entry:
    """One finished tile.

    Attributes
    ----------
    period : int
        The year that was mapped.
    tile : str
        The tile's id.
    plan : str
        Hash of what decides the pixels' values; an entry of another plan does not count.
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
    seconds : mapping of stage to float
        Wall time of each stage: ``prepare`` (read, mask, composite), ``infer``, ``write``.
    """

    period: int
    tile: str
    plan: str
    digests: Mapping[str, str]
    items: tuple[str, ...] = ()
    pixels: int = 0
    unseen: int = 0
    non_finite: int = 0
    missing: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def key(self) -> tuple[int, str]:
        """(period, tile id)."""
        return self.period, self.tile


class Ledger:
    """The folder of entries of a run.

    Parameters
    ----------
    folder : Path
        Created when it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def commit(self, entry: Entry) -> None:
        """Write an entry so that it is there whole, or not at all, even after a power cut."""
        write_json(self._path(*entry.key), asdict(entry))

    def read(self, period: int, tile: str) -> Entry | None:
        """The entry of a tile, or None when there is none or it was cut short."""
        try:
            return _entry(json.loads(self._path(period, tile).read_text("utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def entries(self) -> list[Entry]:
        """All entries that can be read, in order of period and tile."""
        found = []
        for path in sorted(self.folder.glob("*/*.json")):
            entry = self.read(int(path.parent.name), path.stem)
            if entry is not None:
                found.append(entry)
        return found

    def _path(self, period: int, tile: str) -> Path:
        return self.folder / str(period) / f"{tile}.json"


def _entry(fields: Mapping[str, Any]) -> Entry:
    tuples = {name: tuple(fields.get(name, ())) for name in ("items", "missing")}
    return Entry(**{**fields, **tuples})


def write_json(path: Path, content: Any) -> None:
    """Write JSON durably: temporary file, fsync, rename, fsync of the folder.

    Raises
    ------
    RunFolderError
        When the folder can't be written or the disk is full.
    """
    write_durably(path, json.dumps(content, indent=1, sort_keys=True).encode() + b"\n")


def write_durably(path: Path, content: bytes) -> None:
    """Write bytes so that the file is there whole, or as it was before."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.replace(path, lambda file: file.write(content))
    except OSError as error:
        raise RunFolderError(
            f"{path} can't be written: {error.strerror or error}; free the disk or choose "
            "another --out, what is done is kept"
        ) from error
