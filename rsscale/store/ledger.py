"""The ledger: one small JSON file for each finished tile of a step.

An entry is written after what the tile stores is durable, by the process that wrote it, so
that it stays true when the coordinator, a worker or the machine dies. It holds a checksum of
each stored object, and a fingerprint of all that decided its content: a tile is done when its
entry says so, the objects are still those, and it would be made from the same inputs today.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from rsscale.documents import read_json
from rsscale.layers import TileKey
from rsscale.store.storage import Storage

_FOLDER = "ledger"


@dataclass(frozen=True)
class Entry:
    """One finished tile.

    Attributes
    ----------
    key : TileKey
    fingerprint : str
        Hash of what decides the content: the pass, its version and options, its sources.
    digests : mapping of layer to SHA-256
        Of the stored objects; a table is called ``"table"``.
    inputs : tuple of str
        Names of what was read, such as ids of STAC items.
    unreadable : tuple of str
        What could not be read and counts as not seen, a line an asset; empty unless the
        recipe allows it.
    facts : mapping of str to number
        What the pass counted.
    seconds : mapping of stage to float
        Time of each stage.
    epoch : int
        Of the run that wrote it.
    files : mapping of item to mapping of asset to str
        Versions of the files that were read: size, with ETag or time of change.
    """

    key: TileKey
    fingerprint: str
    digests: Mapping[str, str]
    inputs: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    facts: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    epoch: int = 0
    files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The entry for JSON; the key's parts stand beside the rest."""
        content = asdict(self)
        key = content.pop("key")
        return {**key, "tile": self.key.tile, **content}

    def summary(self) -> dict[str, Any]:
        """The entry without its long fields, for events."""
        content = self.to_dict() | {"inputs": len(self.inputs)}
        del content["digests"], content["fingerprint"], content["files"]
        return content

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> Entry:
        """Inverse of :meth:`to_dict`.

        Raises
        ------
        KeyError, TypeError, ValueError
            When it is none.
        """
        if not _is_entry(content):
            raise ValueError("no ledger entry")
        fields = dict(content)
        del fields["tile"]
        key = TileKey(**{name: fields.pop(name) for name in ("step", "span", "ix", "iy", "level")})
        for name in ("inputs", "unreadable"):
            fields[name] = tuple(fields[name])
        return cls(key, **fields)


class Ledger:
    """The entries of a run.

    Parameters
    ----------
    folder : Storage
        The run folder; entries lie in ``ledger/<step>/<span>/<tile>.json``.
    """

    def __init__(self, folder: Storage) -> None:
        self._folder = folder

    def commit(self, entry: Entry) -> None:
        """Write an entry so that it is there whole, or not at all, even after a power cut."""
        write_json(self._folder, _name(entry.key), entry.to_dict())

    def read(self, key: TileKey) -> Entry | None:
        """The entry of a tile, or None when there is none or it was cut short."""
        try:
            entry = Entry.parse(read_json(self._folder.read(_name(key))))
        except (FileNotFoundError, ValueError, TypeError, AttributeError, KeyError):
            return None  # also what is JSON, and no entry
        return entry if entry.key == key else None

    def holds(self, key: TileKey) -> bool:
        """Whether there is a file for a tile, readable or not."""
        return self._folder.exists(_name(key))

    def count(self) -> int:
        """Number of entries, without reading them."""
        return sum(1 for _ in self._folder.names(_FOLDER))

    def entries(self, step: str = "") -> Iterator[Entry]:
        """All entries that can be read, of one step or of all, one after another."""
        for name in self._folder.names(f"{_FOLDER}/{step}" if step else _FOLDER):
            try:
                yield Entry.parse(read_json(self._folder.read(name)))
            except (FileNotFoundError, ValueError, TypeError, AttributeError, KeyError):
                continue

    def delete(self, key: TileKey) -> None:
        """Delete an entry, so that its tile counts as not done."""
        self._folder.delete(_name(key))


class LedgerReader:
    """Reads entries of neighbouring tiles again and again: keeps the last ones in memory.

    They are without their ``files``, which are most of an entry and decide no later step. For one
    walk through a step, while nobody writes the entries that are read.
    """

    def __init__(self, ledger: Ledger, size: int = 4096) -> None:
        self._ledger, self._size = ledger, size
        self._kept: OrderedDict[TileKey, Entry | None] = OrderedDict()
        self._hidden: set[TileKey] = set()

    def read(self, key: TileKey) -> Entry | None:
        """As :meth:`Ledger.read`."""
        if key in self._hidden:
            return None
        if key in self._kept:
            return self._kept[key]
        entry = self._ledger.read(key)
        if entry is not None:
            entry = replace(entry, files={})
        self._kept[key] = entry
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return entry

    def forget(self) -> None:
        """Read all anew: entries may have been written."""
        self._kept.clear()
        self._hidden.clear()

    def hide(self, key: TileKey) -> None:
        """Take a tile as not done, until all is read anew: to foresee what depends on it."""
        self._hidden.add(key)


def _is_entry(content: Any) -> bool:
    """Whether JSON has the types of an entry: it may have been damaged, or written by hand."""
    if not isinstance(content, Mapping):
        return False
    get = content.get
    return (
        all(isinstance(get(name), str) for name in ("step", "span", "fingerprint"))
        and all(type(get(name)) is int for name in ("ix", "iy", "level", "epoch"))
        and isinstance(get("digests"), dict)
        and all(isinstance(digest, str) for digest in get("digests", {}).values())
        and all(isinstance(get(name), (list, tuple)) for name in ("inputs", "unreadable"))
        and all(isinstance(get(name), dict) for name in ("facts", "seconds"))
        and all(
            isinstance(value, (int, float)) and not isinstance(value, bool)
            for name in ("facts", "seconds")
            for value in get(name, {}).values()
        )
        and _are_versions(get("files", {}))
    )


def _are_versions(files: Any) -> bool:
    """Whether they are; entries of a run that was begun before they were kept have none."""
    return isinstance(files, dict) and all(
        isinstance(assets, dict) and all(isinstance(version, str) for version in assets.values())
        for assets in files.values()
    )


def _name(key: TileKey) -> str:
    return f"{_FOLDER}/{key.step}/{key.span}/{key.tile}.json"


def write_json(folder: Storage, name: str, content: Any) -> None:
    """Write JSON durably.

    Raises
    ------
    RunFolderError
        When the folder can't be written or the disk is full.
    """
    folder.write(name, json.dumps(content, indent=1, sort_keys=True).encode() + b"\n")
