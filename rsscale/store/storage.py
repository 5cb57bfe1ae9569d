"""Storage of a run's files: a folder or a prefix of a bucket, with one interface.

An object is there whole or not at all, and once written it stays: on a disk by a temporary
file, fsync and rename, in a bucket by the service's own promise (S3 is strongly consistent).
Nothing is ever changed in part, which no bucket can.
"""

from __future__ import annotations

import os
import shutil
import stat
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rsscale import durable
from rsscale.errors import RunFolderError, StorageError
from rsscale.store.failpoints import failpoint

if TYPE_CHECKING:
    from zarr.abc.store import Store


_COPIED = 2**24  # bytes at a time


class Storage(Protocol):
    """A folder of named objects; names are relative, with ``/``."""

    @property
    def url(self) -> str:
        """The path or address that :func:`open_storage` opens again."""

    @property
    def supports_append(self) -> bool:
        """Whether a log can grow; else each addition is an object of its own."""

    def child(self, name: str) -> Storage:
        """A folder in this one."""

    def read(self, name: str) -> bytes:
        """An object's content. ``FileNotFoundError`` when it is not there."""

    def stat(self, name: str) -> tuple[int, str]:
        """Size in bytes, and a text that changes with the object. ``FileNotFoundError`` if none."""

    def read_range(self, name: str, start: int, stop: int) -> bytes:
        """Bytes of an object from ``start`` up to ``stop``, fewer where it ends before."""

    def write(self, name: str, content: bytes, *, point: str = "") -> None:
        """Put an object, durably; replaces one that is there.

        ``point`` names the failpoint at which the bytes are there under no name yet.

        Raises
        ------
        StorageError
            When it can't be written; what was there before is still there.
        """

    def put_file(self, name: str, path: Path) -> None:
        """Put a local file's content, durably, without holding it in memory; replaces.

        Raises
        ------
        StorageError
            When it can't be written; what was there before is still there.
        """

    def create(self, name: str, content: bytes) -> bool:
        """Put an object unless it is there; whether this call did. Safe among processes."""

    def append(self, name: str, content: bytes) -> None:
        """Add to the end of a log: to the file, or beside it in a part of its own."""

    def read_log(self, name: str) -> bytes:
        """All that was appended, in order; empty when nothing was."""

    def exists(self, name: str) -> bool:
        """Whether an object is there."""

    def names(self, prefix: str = "") -> Iterator[str]:
        """Names of all objects below a prefix (a folder), however deep."""

    def move(self, name: str, target: str) -> bool:
        """Give an object another name, durably; whether it was there. Safe to repeat."""

    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""

    def local(self, name: str) -> Path:
        """A file with an object's content: the file itself, or a copy for this process."""

    def remove_partial(self, keep: Collection[str] = ()) -> int:
        """Remove partly written files of dead writers, return how many.

        No writer may be active, but in the folders ``keep``, whose files stay.
        """

    def zarr(self, *, read_only: bool) -> Store:
        """The folder as a store of zarr-python."""


def open_storage(where: str | os.PathLike[str] | Storage) -> Storage:
    """Open a storage by its path or address.

    Parameters
    ----------
    where : path, URL or Storage
        A local path, or ``s3://bucket/prefix`` (also ``gs://`` and ``az://``), for which the
        extra ``rsscale[buckets]`` is needed. Credentials come from the usual environment.

    Raises
    ------
    RunFolderError
        For an address of another kind, or without the extra.
    """
    if isinstance(where, int | float | None):
        raise TypeError(f"{where!r} is no run; give its folder as a path or address, or a Run")
    if not isinstance(where, (str, os.PathLike)):
        return where
    text = os.fspath(where)
    scheme, mark, _ = text.partition("://")
    if not mark:
        return Folder(Path(text).absolute())
    if scheme == "file":
        return Folder(Path(text.removeprefix("file://")).absolute())
    if scheme not in ("s3", "gs", "az"):
        raise RunFolderError(
            f"{text} can't hold a run; use a local path or an address with s3://, gs:// or az://"
        )
    from rsscale.store.bucket import open_bucket

    return open_bucket(text)


class Folder:
    """A :class:`Storage` on a disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"Folder({str(self.path)!r})"

    @property
    def url(self) -> str:
        """The absolute path."""
        return str(self.path)

    @property
    def supports_append(self) -> bool:
        """Files do."""
        return True

    def child(self, name: str) -> Folder:
        """A folder in this one; need not exist."""
        return Folder(self.path / name)

    def read(self, name: str) -> bytes:
        """A file's content."""
        return (self.path / name).read_bytes()

    def stat(self, name: str) -> tuple[int, str]:
        """By the file's size and time of change."""
        status = (self.path / name).stat()
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(f"{self.path / name} is no file")
        return (status.st_size, f"{status.st_mtime_ns:x}-{status.st_size:x}")

    def read_range(self, name: str, start: int, stop: int) -> bytes:
        """A part of a file."""
        with (self.path / name).open("rb") as file:
            file.seek(start)
            return file.read(max(stop - start, 0))

    def write(self, name: str, content: bytes, *, point: str = "") -> None:
        """Temporary file, fsync, rename, fsync of the folder."""
        target = self.path / name

        def put(file: Any) -> None:
            file.write(content)
            if point:
                failpoint(point)

        try:
            _make_folder(target.parent)
            durable.replace(target, put)
        except OSError as error:
            raise _refused(target, error) from error

    def put_file(self, name: str, path: Path) -> None:
        """Copied into a temporary file, fsync, rename."""
        target = self.path / name
        try:
            _make_folder(target.parent)
            with path.open("rb") as source:
                durable.replace(target, lambda file: shutil.copyfileobj(source, file, _COPIED))
        except OSError as error:
            raise _refused(target, error) from error

    def create(self, name: str, content: bytes) -> bool:
        """A temporary file linked to the name, which fails when the name is taken."""
        target = self.path / name
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
        try:
            _make_folder(target.parent)
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
            finally:
                temporary.unlink()
            durable.sync(target.parent)
        except OSError as error:
            raise _refused(target, error) from error
        return True

    def append(self, name: str, content: bytes) -> None:
        """One write to the end of the file."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with (self.path / name).open("ab") as file:
                file.write(content)
        except OSError as error:
            raise _refused(self.path / name, error) from error

    def read_log(self, name: str) -> bytes:
        """The file's content."""
        try:
            return self.read(name)
        except FileNotFoundError:
            return b""

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self.path / name).is_file()

    def names(self, prefix: str = "") -> Iterator[str]:
        """Files in order of their names, without those being written."""
        top = self.path / prefix
        for folder, below, files in os.walk(top):
            below.sort()
            for file in sorted(files):
                if not file.endswith(".partial"):
                    yield (Path(folder) / file).relative_to(self.path).as_posix()

    def move(self, name: str, target: str) -> bool:
        """Rename a file; both folders are synced."""
        source, place = self.path / name, self.path / target
        try:
            _make_folder(place.parent)
            source.replace(place)
            durable.sync(place.parent)
            durable.sync(source.parent)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _refused(place, error) from error
        return True

    def delete(self, name: str) -> None:
        """Remove a file."""
        (self.path / name).unlink(missing_ok=True)

    def local(self, name: str) -> Path:
        """The file itself."""
        return self.path / name

    def remove_partial(self, keep: Collection[str] = ()) -> int:
        """Remove temporary files."""
        partial = self.path.rglob(".*.partial")
        left = [path for path in partial if path.relative_to(self.path).parts[0] not in keep]
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)

    def zarr(self, *, read_only: bool) -> Store:
        """A local store."""
        from zarr.storage import LocalStore

        return LocalStore(self.path, read_only=read_only)


def _make_folder(path: Path) -> None:
    """Make a folder so that its name survives a power cut, and those above it."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        durable.sync(folder.parent)


def _refused(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path} can't be written: {error.strerror or error}; free the disk or choose another "
        "--out, what is done is kept"
    )
