"""A run in a bucket: S3, Google Cloud Storage or Azure, through obstore."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import uuid
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsscale import durable
from rsscale.decorators.once import once
from rsscale.errors import RunFolderError, StorageError
from rsscale.text.redaction import scrub

if TYPE_CHECKING:
    from zarr.abc.store import Store


def open_bucket(url: str) -> Bucket:
    """A prefix of a bucket by its address; see :func:`rsscale.store.storage.open_storage`."""
    try:
        from obstore.store import from_url
    except ImportError:
        raise RunFolderError(
            f"{url} lies in a bucket; install what asks it: pip install 'rsscale[buckets]'"
        ) from None
    try:
        # An endpoint on this machine or network is plain HTTP only where its user says so.
        store = from_url(url, client_options={"allow_http": _is_plain()})
    except Exception as error:  # noqa: BLE001 -- obstore has an error class of its own for each fault
        raise RunFolderError(f"{url} is no address of a bucket: {_first_line(error)}") from None
    return Bucket(url.rstrip("/"), store)


class Bucket:
    """A :class:`~rsscale.store.storage.Storage` in a bucket."""

    def __init__(self, url: str, store: Any) -> None:
        self._url = url
        self._store = store

    def __repr__(self) -> str:
        return f"Bucket({self._url!r})"

    @property
    def url(self) -> str:
        """The address, without credentials: those come from the environment."""
        return self._url

    @property
    def supports_append(self) -> bool:
        """Objects don't."""
        return False

    def child(self, name: str) -> Bucket:
        """A longer prefix."""
        return open_bucket(f"{self._url}/{name}")

    def read(self, name: str) -> bytes:
        """An object's content."""
        import obstore

        return bytes(obstore.get(self._store, name).bytes())

    def stat(self, name: str) -> tuple[int, str]:
        """One HEAD."""
        import obstore

        head = obstore.head(self._store, name)
        return (int(head["size"]), str(head["e_tag"] or "").strip('"'))

    def read_range(self, name: str, start: int, stop: int) -> bytes:
        """One GET of a range."""
        import obstore

        if stop <= start:
            return b""
        return bytes(obstore.get_range(self._store, name, start=start, end=stop))

    def write(self, name: str, content: bytes, *, point: str = "") -> None:
        """One PUT; the service makes it durable before it answers."""
        import obstore

        del point  # a PUT is one step
        try:
            obstore.put(self._store, name, content)
        except Exception as error:
            raise self._refused(name, error) from error

    def put_file(self, name: str, path: Path) -> None:
        """An upload in parts, which the service joins in one step."""
        import obstore

        try:
            obstore.put(self._store, name, path)
        except Exception as error:
            raise self._refused(name, error) from error

    def create(self, name: str, content: bytes) -> bool:
        """One PUT with ``If-None-Match: *``."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        try:
            obstore.put(self._store, name, content, mode="create")
        except AlreadyExistsError:
            return False
        except Exception as error:
            raise self._refused(name, error) from error
        return True

    def append(self, name: str, content: bytes) -> None:
        """An object of its own below ``name``: objects don't grow."""
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        self.write(f"{name}/{now}-{uuid.uuid4().hex[:8]}", content)

    def read_log(self, name: str) -> bytes:
        """All parts, which are named by when they were written."""
        return b"".join(self.read(part) for part in self.names(name))

    def exists(self, name: str) -> bool:
        """One HEAD."""
        import obstore

        try:
            obstore.head(self._store, name)
        except FileNotFoundError:
            return False
        return True

    def names(self, prefix: str = "") -> Iterator[str]:
        """Names in order, a page of a thousand at a time."""
        import obstore

        for page in obstore.list(self._store, f"{prefix.rstrip('/')}/" if prefix else None):
            yield from sorted(entry["path"] for entry in page)

    def move(self, name: str, target: str) -> bool:
        """A copy within the service, then a DELETE."""
        import obstore

        try:
            obstore.copy(self._store, name, target, overwrite=True)
        except FileNotFoundError:
            return False
        except Exception as error:
            raise self._refused(target, error) from error
        obstore.delete(self._store, name)
        return True

    def delete(self, name: str) -> None:
        """Remove an object."""
        import obstore

        obstore.delete(self._store, name)

    def local(self, name: str) -> Path:
        """A copy, made anew when the object is another; it goes when the process ends."""
        import obstore

        target = Path(_copies().name) / hashlib.sha256(self._url.encode()).hexdigest()[:16] / name
        reply = obstore.get(self._store, name)
        tag = str(reply.meta["e_tag"])
        with _COPYING:
            if _tags.get(target) != tag:
                target.parent.mkdir(parents=True, exist_ok=True)
                content = bytes(reply.bytes())
                durable.replace(target, lambda file: file.write(content))
                _tags[target] = tag
        return target

    def remove_partial(self, keep: Collection[str] = ()) -> int:
        """A PUT that broke off leaves nothing."""
        del keep
        return 0

    def zarr(self, *, read_only: bool) -> Store:
        """A store of zarr-python over the same prefix."""
        from zarr.storage import ObjectStore

        return ObjectStore(self._store, read_only=read_only)

    def _refused(self, name: str, error: Exception) -> StorageError:
        return StorageError(
            f"{self._url}/{name} can't be written: {_first_line(error)}; check that the bucket is "
            "there and the environment's credentials may write, what is done is kept"
        )


_COPYING = threading.Lock()
# Which version of an object a copy is of.
_tags: dict[Path, str] = {}


@once()
def _copies() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="rsscale-")


def _is_plain() -> bool:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    return endpoint.startswith("http://")


def _first_line(error: Exception) -> str:
    return scrub(str(error).strip().partition("\n")[0].partition("?")[0])[:300]
