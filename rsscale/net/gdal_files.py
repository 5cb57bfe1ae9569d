"""Open files on HTTP servers in GDAL, with requests that are retried, signed and counted here.

GDAL's own HTTP client cannot honour ``Retry-After``, cannot sign a request again when a
token runs out in the middle of a file, and remembers a failure for the life of the process.
Here GDAL only decides which bytes it needs; it asks for all blocks of a window at once.
"""

from __future__ import annotations

import contextvars
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, Self, TypeVar
from urllib.parse import urljoin, urlsplit

import rasterio
from rasterio.abc import MultiByteRangeResourceContainer

from rsscale.decorators.once import once
from rsscale.errors import ReadError
from rsscale.net import connections
from rsscale.net.connections import CONNECTIONS
from rsscale.net.hrefs import shown
from rsscale.net.ranges import fetch_range, refuse_page, total_size
from rsscale.net.signing import Signer

T = TypeVar("T")

# The header of a COG, with the places of all its blocks, fits in one request.
HEADER_BYTES = 32768
# Ranges with smaller gaps are one request: about as many bytes as arrive in a round trip.
GAP_BYTES = 16384
# Least size of a read outside the header, of a file that is not laid out as a COG.
AHEAD_BYTES = 65536

# How a virtual raster begins.
_VIRTUAL = (b"<VRTDataset", b"<GDALTileIndexDataset")

_number = count()
_Header = tuple[bytes, int | None, str | None]


class _Headers:
    """Cache of the headers of files, shared by the threads of this process; last ones used."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Header] = OrderedDict()

    def get(self, url: str) -> _Header | None:
        with self._lock:
            if url in self._kept:
                self._kept.move_to_end(url)
            return self._kept.get(url)

    def put(self, url: str, header: _Header) -> None:
        with self._lock:
            self._kept[url] = header
            if len(self._kept) > self._limit:
                self._kept.popitem(last=False)

    def drop(self, url: str) -> None:
        with self._lock:
            self._kept.pop(url, None)

    def forget(self) -> None:
        """Empty the cache after a fork, when a thread that is gone may hold the lock."""
        self.__init__(self._limit)  # type: ignore[misc]


_HEADERS = _Headers(1024)


class RemoteFile:
    """A raster on a server, read by ranges of bytes.

    Parameters
    ----------
    url : str
        Without token.
    sign : callable, optional
        Called right before each request, so that a token cannot run out on the way.

    Raises
    ------
    ReadError
        When its first bytes cannot be read, or are an HTML or text page.
    """

    def __init__(self, url: str, sign: Signer | None) -> None:
        self.url = url
        self.size: int | None = None
        self._sign = sign
        self._tag: str | None = None
        self._failure: ReadError | None = None
        known = _HEADERS.get(url)
        if known is None:
            self.header = self._request(0, HEADER_BYTES)
            refuse_page(url, self.header)
            _HEADERS.put(url, (self.header, self.size, self._tag))
        else:
            self.header, self.size, self._tag = known
        # rasterio registers openers by folder and mode: a folder of its own for each.
        self._name = f"rsscale://{next(_number)}/{_name(url)}"
        # rasterio keeps openers, and the only reference to what they opened, in variables of the
        # context that opened it. That of a thread ends with it, and GDAL would read freed memory;
        # and in another it would not find them. So each file has a context, for all calls.
        self._context = contextvars.copy_context()
        self._is_inside = False
        self._sources: dict[str, RemoteFile] = {}

    def open(self, **options: Any) -> rasterio.DatasetReader:
        """Open the file, or one of its overviews, as a dataset.

        GDAL's errors do not carry the server's response: call :meth:`check` after each read.
        """
        try:
            opener = _Folder(self._name, self)
            dataset: rasterio.DatasetReader = self.run(
                lambda: rasterio.open(self._name, opener=opener, **options)
            )
        except rasterio.RasterioIOError:
            self.check()
            raise ReadError(
                f"{shown(self.url)} is not a raster that GDAL can open; it starts with "
                f"{self.header[:16]!r}"
            ) from None
        return dataset

    def run(self, call: Callable[[], T]) -> T:
        """Run a call of GDAL that opens, reads or closes this file, in the file's context."""
        if self._is_inside:
            return call()
        self._is_inside = True
        try:
            return self._context.run(call)
        finally:
            self._is_inside = False

    def check(self) -> None:
        """Raise the error of a request inside a call of GDAL, which cannot raise it."""
        if self._failure is not None:
            raise self._failure
        for source in self._sources.values():
            source.check()

    def versions(self) -> Iterator[tuple[str, str]]:
        """Address and version of this file, and of those read that a virtual raster is made of."""
        yield self.url, f"{self.size} bytes" + (f", {self._tag}" if self._tag else "")
        for source in tuple(self._sources.values()):
            yield from source.versions()

    def source(self, relative: str) -> RemoteFile:
        """A file that this one, a virtual raster, is made of: an address relative to its own.

        Raises
        ------
        FileNotFoundError
            When this is no virtual raster; and when the other cannot be read, which
            :meth:`check` then tells.
        """
        if not self.header.lstrip().startswith(_VIRTUAL):
            raise FileNotFoundError(relative)
        if relative not in self._sources:
            try:
                self._sources[relative] = RemoteFile(urljoin(self.url, relative), self._sign)
            except ReadError as error:
                self._failure = self._failure or error
                raise FileNotFoundError(relative) from None
        return self._sources[relative]

    def read(self, start: int, size: int) -> bytes:
        """Bytes of one range: fewer at the end of the file, none after a failure."""
        stop = min(start + size, self.size or 0)
        if stop <= start:
            return b""
        if stop <= len(self.header):
            return self.header[start:stop]
        try:
            return self._request(start, size)
        except ReadError as error:
            self._failure = self._failure or error
            return b""

    def read_ranges(self, offsets: Sequence[int], sizes: Sequence[int]) -> list[bytes]:
        """Bytes of several ranges: neighbours in one request, requests in parallel.

        After a failure zeros, and :meth:`check` raises: rasterio cannot pass on an exception.
        """
        merged = merge_ranges(offsets, sizes)
        try:
            self.check()
            if len(merged) == 1:
                parts = [self._bytes(*merged[0])]
            else:
                parts = list(_requests_pool().map(lambda span: self._bytes(*span), merged))
            return [
                _cut(merged, parts, start, size) for start, size in zip(offsets, sizes, strict=True)
            ]
        except ReadError as error:
            self._failure = self._failure or error
            return [bytes(size) for size in sizes]

    def _bytes(self, start: int, size: int) -> bytes:
        """Bytes of one range; of a small file the header is all of it."""
        if start + size <= len(self.header):
            return self.header[start : start + size]
        return self._request(start, size)

    def _request(self, start: int, size: int) -> bytes:
        """One request, retried; fewer bytes than asked for only at the end of the file."""
        stop = start + size if self.size is None else min(start + size, self.size)
        if stop <= start:
            raise ReadError(
                f"{shown(self.url)} is cut short: it has {self.size} bytes, and a block of it "
                f"begins at {start}; the file is damaged"
            )
        answer = fetch_range(self.url, start, stop, self._sign)
        tag, total = _tag(answer.headers), total_size(answer, start)
        if self.size is None:
            self.size, self._tag = total, tag
        elif total != self.size or tag != self._tag:
            _HEADERS.drop(self.url)
            raise ReadError(
                f"{shown(self.url)} was replaced while it was read, from [{self.size} bytes, "
                f"{self._tag}] to [{total} bytes, {tag}]; start again"
            )
        return answer.body


class _Cursor:
    """A file object with a position in a remote file, for GDAL."""

    def __init__(self, file: RemoteFile) -> None:
        self._file = file
        self._at = 0
        self._ahead = (0, b"")

    def read(self, size: int = -1) -> bytes:
        total = self._file.size or 0
        size = max(total - self._at, 0) if size < 0 else size
        first, ahead = self._ahead if self._at + size > HEADER_BYTES else (0, self._file.header)
        if not first <= self._at <= self._at + size <= first + len(ahead):
            # Small reads beyond the header come in swarms, in files not laid out as COGs.
            first, ahead = self._at, self._file.read(self._at, max(size, AHEAD_BYTES))
            self._ahead = first, ahead
        data = ahead[self._at - first : self._at - first + size]
        self._at += len(data)
        return data

    def get_byte_ranges(self, offsets: Sequence[int], sizes: Sequence[int]) -> list[bytes]:
        return self._file.read_ranges(offsets, sizes)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        total = self._file.size or 0
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: total}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close: connections belong to the process."""


def merge_ranges(offsets: Sequence[int], sizes: Sequence[int]) -> list[tuple[int, int]]:
    """The fewest ``(start, size)`` that cover ranges, gaps up to :data:`GAP_BYTES` included."""
    merged: list[tuple[int, int]] = []
    for start, size in sorted(zip(offsets, sizes, strict=True)):
        if merged and start <= sum(merged[-1]) + GAP_BYTES:
            first, length = merged[-1]
            merged[-1] = first, max(length, start + size - first)
        else:
            merged.append((start, size))
    return merged


def _cut(merged: Sequence[tuple[int, int]], parts: Sequence[bytes], start: int, size: int) -> bytes:
    for (first, length), part in zip(merged, parts, strict=True):
        if first <= start and start + size <= first + length:
            piece = part[start - first : start - first + size]
            if len(piece) == size:
                return piece
            raise ReadError(f"a block of {size} bytes at {start} is cut short; the file is damaged")
    raise ValueError(f"range {start}+{size} is not in {merged}")


class _Folder(MultiByteRangeResourceContainer):  # type: ignore[misc]  # Cython, untyped
    """A virtual folder that holds one file, for rasterio's interface of openers.

    A virtual raster's sources, which it names relative to itself, are there too.
    """

    def __init__(self, name: str, file: RemoteFile) -> None:
        self._name = name
        self._file = file

    def open(self, path: str, mode: str = "r", **_: Any) -> _Cursor:  # noqa: ARG002
        return _Cursor(self._at(path))

    def _at(self, path: str) -> RemoteFile:
        if path == self._name:
            return self._file
        folder = self._name.rpartition("/")[0] + "/"
        if not path.startswith(folder):
            raise FileNotFoundError(path)
        return self._file.source(path.removeprefix(folder))

    def isfile(self, path: str) -> bool:
        return path == self._name

    def isdir(self, path: str) -> bool:  # noqa: ARG002
        return False

    def ls(self, path: str) -> list[str]:  # noqa: ARG002
        return []

    def mtime(self, path: str) -> int:  # noqa: ARG002
        return 0

    def size(self, path: str) -> int:
        return int(self._at(path).size or 0)

    def rm(self, path: str) -> None:
        raise PermissionError(path)


def _tag(headers: Mapping[str, str]) -> str | None:
    """What a server says that changes with a file: its ETag, else when it was modified."""
    for name in ("ETag", "Last-Modified"):
        if value := headers.get(name):
            return f"{name} {value}"
    return None


def _name(url: str) -> str:
    """The file's name, by which GDAL chooses the format; nothing else of the URL is in it."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", urlsplit(url).path.rpartition("/")[2]) or "file"


@once()
def _requests_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(CONNECTIONS // 2, thread_name_prefix="rsscale-range")


def forget() -> None:
    """Drop headers, connections and threads; after a fork, since they are the parent's."""
    _HEADERS.forget()
    connections.forget()
    _requests_pool.cache_clear()
