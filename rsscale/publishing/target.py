"""Where a product is published: written once, what is there already is left as it is."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rsscale.documents import read_json
from rsscale.errors import RunFolderError
from rsscale.publishing.local_paths import publishable, publishable_text
from rsscale.store.storage import Folder, Storage

MARKER, COLLECTION = "publication.json", "collection.json"
FORMAT = 1
_SHA256 = "1220"  # of a multihash: the code of SHA-256, and its length of 32 bytes
_DATA = ("areas.csv", "areas.parquet", "sample.geojson")
_READ = 2**24
_SAME = 1e-6  # degrees: a decimetre


@dataclass(frozen=True)
class WrittenFile:
    """A published file.

    Attributes
    ----------
    name : str
        From the root of the publication.
    size : int
        Bytes.
    sha256 : str
        64 hexadecimal digits.
    """

    name: str
    size: int
    sha256: str

    @property
    def fields(self) -> dict[str, Any]:
        """Of a STAC asset, by the extension ``file``; the checksum is a multihash."""
        return {"file:size": self.size, "file:checksum": f"{_SHA256}{self.sha256}"}

    @property
    def role(self) -> str:
        """Of a STAC asset."""
        if self.name.startswith("styles/"):
            return "style" if self.name.endswith(".qml") else "legend"
        if self.name.startswith("tables/") or self.name in _DATA:
            return "data"
        return "metadata"


@dataclass
class Target:
    """A folder or bucket that a product is written into.

    Attributes
    ----------
    storage : Storage
    written, kept : int
        Objects that were put, and those that were there with the same content.
    """

    storage: Storage
    written: int = 0
    kept: int = 0
    _names: set[str] = field(default_factory=set)
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    @property
    def url(self) -> str:
        """The path or address."""
        return self.storage.url

    def put(self, name: str, content: bytes) -> WrittenFile:
        """Put an object unless it is there with this content."""
        try:
            is_there = self.storage.read(name) == content
        except FileNotFoundError:
            is_there = False
        if not is_there:
            self.storage.write(name, content, point="before-rename")
        self._count(name, is_there=is_there)
        return WrittenFile(name, len(content), hashlib.sha256(content).hexdigest())

    def put_json(self, name: str, document: Any) -> WrittenFile:
        """Put a document, without secrets and paths of this machine."""
        text = json.dumps(publishable(document), indent=2, ensure_ascii=False, allow_nan=False)
        return self.put(name, text.encode() + b"\n")

    def put_text(self, name: str, text: str) -> WrittenFile:
        """Put a text, without secrets and paths of this machine."""
        return self.put(name, publishable_text(text).encode())

    def put_file(self, name: str, path: Path) -> WrittenFile:
        """Put a local file of any size, or take it as it is where it was written in its place."""
        known = _described(name, path)
        is_there = isinstance(self.storage, Folder) and self.storage.local(name) == path
        if not is_there:
            self.storage.put_file(name, path)
        self._count(name, is_there=False)
        return known

    def put_changed(self, name: str, path: Path) -> WrittenFile:
        """Put a local file of any size unless it is there with this content."""
        known = _described(name, path)
        is_there = _digest_there(self.storage, name) == known.sha256
        if not is_there:
            self.storage.put_file(name, path)
        self._count(name, is_there=is_there)
        return known

    def take(self, name: str, *, is_new: bool = False) -> None:
        """Take an object that is as it should be as one of the product."""
        self._count(name, is_there=not is_new)

    def remove_others(self, folders: Iterable[str], files: Iterable[str] = ()) -> int:
        """Remove what earlier publications left in these folders, and of these files.

        Returns how many objects.
        """
        there = [name for folder in folders for name in self.storage.names(folder)]
        there += [name for name in files if self.storage.exists(name)]
        stale = [name for name in there if name not in self._names]
        for name in stale:
            self.storage.delete(name)
        return len(stale)

    def _count(self, name: str, *, is_there: bool) -> None:
        with self._lock:
            if not name.partition("/")[0].endswith(".zarr"):  # shards are as many as tiles
                self._names.add(name)
            self.kept += is_there
            self.written += not is_there


def _described(name: str, path: Path) -> WrittenFile:
    total = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_READ):
            total.update(part)
    return WrittenFile(name, path.stat().st_size, total.hexdigest())


def _digest_there(storage: Storage, name: str) -> str:
    """SHA-256 of an object, read in parts; empty where there is none."""
    try:
        size, _ = storage.stat(name)
    except FileNotFoundError:
        return ""
    total = hashlib.sha256()
    for start in range(0, size, _READ):
        total.update(storage.read_range(name, start, min(start + _READ, size)))
    return total.hexdigest()


def claim(storage: Storage, product: Mapping[str, Any], run: Storage) -> Target:
    """Take a place for a product, or refuse it; what is there is not changed.

    Parameters
    ----------
    storage : Storage
    product : mapping
        What tells a product from others: its ``id`` and ``grid``; and its ``bbox`` in degrees,
        which may grow.
    run : Storage
        The run folder, which can't be published into.

    Raises
    ------
    RunFolderError
        When the place holds another product, a run, or other files.
    """
    inside = f"{storage.url}/".startswith(f"{run.url}/")
    if inside or storage.exists("run.json"):
        raise RunFolderError(
            f"{storage.url} is a run folder or lies in one; give another folder or bucket to "
            "publish to"
        )
    if isinstance(storage, Folder) and storage.path.exists() and not storage.path.is_dir():
        raise RunFolderError(f"{storage.url} is a file; give a folder to publish to")
    try:
        there = read_json(storage.read(MARKER))
    except ValueError:
        there = {}
    except FileNotFoundError:
        first = next(iter(storage.names()), None)
        if first is not None:
            raise RunFolderError(
                f"{storage.url} holds {first!r}, which is no published product; give an empty "
                "folder or prefix"
            ) from None
        return Target(storage)
    if not isinstance(there, dict) or there.get("format") != FORMAT:
        raise RunFolderError(
            f"{storage.url}/{MARKER} is damaged or of another version of rsscale; publish to an "
            "empty folder or prefix"
        )
    for key, expected in product.items():
        before = there.get(key)
        if not (_covers(expected, before) if key == "bbox" else before == expected):
            raise RunFolderError(
                f"{storage.url} holds another product ({key} {_shown(before)}, and this "
                f"one has {_shown(expected)}); give an empty folder or prefix, another id "
                "(--about), or remove what is there"
            )
    return Target(storage)


def _covers(box: Sequence[float], before: Any) -> bool:
    """Whether an area reaches as far as the one that was published: runs grow, and never shrink."""
    try:
        (west, south, east, north), of_before = box, [float(edge) for edge in before]
        first, low, last, high = of_before
    except (TypeError, ValueError):
        return False
    # West is beyond east across the antimeridian.
    width, of_width = (east - west) % 360 or 360, (last - first) % 360 or 360
    offset = (first - west + _SAME) % 360 - _SAME
    is_wide = offset + of_width <= width + 2 * _SAME
    return is_wide and south <= low + _SAME and north >= high - _SAME


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


class RecordedStorage:
    """A storage that remembers what was written to it."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.written: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def write(self, name: str, content: bytes, *, point: str = "") -> None:
        """Put an object."""
        self._storage.write(name, content, point=point)
        self.written.add(name)

    def put_file(self, name: str, path: Path) -> None:
        """Put a local file."""
        self._storage.put_file(name, path)
        self.written.add(name)
