"""Pool of open raster files of a process, GDAL's settings, and a cache of decoded blocks."""

from __future__ import annotations

import atexit
import itertools
import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.env import get_gdal_config, set_gdal_config

from rsscale.errors import ReadError
from rsscale.net import gdal_files as remote
from rsscale.net import retry
from rsscale.net.gdal_files import RemoteFile
from rsscale.net.hrefs import is_url
from rsscale.net.signing import gdal_options, signer
from rsscale.read.file_versions import Stamp, header_version, local_version, stamp_of
from rsscale.read.gdal_errors import ReportedErrors, reported_errors
from rsscale.read.virtual_raster import (
    check_sources,
    note_failure,
    plain_name,
    renewed,
    virtual_sources,
)

T = TypeVar("T")

_WARPED_BYTES = 128 * 2**20

# What a read is right by, whatever the environment says.
_REQUIRED = {
    # Drivers that decode in threads of their own (JPEG 2000, mosaics) open the file there again.
    # Neither these options nor a file on a server are known in such a thread, and some drivers
    # drop the error and give whatever the memory held. rsscale reads in threads itself.
    "GDAL_NUM_THREADS": "1",
    # A JPEG that is cut short would be filled up with grey, with a warning.
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "TRUE",
    # Nor does the faster way of reading a whole PNG say that it is cut short.
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO",
}
# The same as GDAL_NUM_THREADS for one driver each, and before it where they are set.
_THREADS = ("VRT_NUM_THREADS", "GTI_NUM_THREADS", "OPJ_NUM_THREADS")

# On servers and in buckets the folder is not listed for sidecar files: one request less, and a
# bucket of a million objects is never listed.
_FAR = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}

# What GDAL needs to read cloud-optimised files well. A value in the environment wins.
_GDAL = {
    # The header of a COG fits in one request.
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    # stackstac's own reader switches it on for the whole process and leaves it so: each open file
    # would keep up to 25 MB of its bytes, and hundreds are open.
    "VSI_CACHE": "FALSE",
    # What follows is for buckets, which GDAL asks itself (s3://, gs://, az://); what lies on an
    # HTTP server is asked by rsscale.net.gdal_files. Growing pauses with jitter are GDAL's own.
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_MAX_RETRY": str(retry.RETRIES),
    "GDAL_HTTP_RETRY_DELAY": str(retry.BACKOFF_S),
    "GDAL_HTTP_RETRY_CODES": "408,425,429,500,502,503,504",
    # A connection that says nothing for half a minute is dropped and asked again.
    "GDAL_HTTP_CONNECTTIMEOUT": "10",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
}

# GDAL's cache of decoded blocks, of the whole process. Its default is 5 % of the machine, which
# a Dask worker does not count as its own. Blocks are rarely read twice here: 64 tiles of 2048 px
# took as long with 16 MB as with 256.
CACHE_BYTES = 64 * 2**20


def gdal_env(url: str, sign: str | None = None) -> rasterio.Env:
    """GDAL's options for reading a file, for this thread, inside a ``with``.

    Parameters
    ----------
    url : str
        Path or address of the file.
    sign : str, optional
        How access is gained, a name of :mod:`rsscale.net.signing`.
    """
    bound_cache()
    wanted = _GDAL if is_local(url) else {**_GDAL, **_FAR}
    chosen = {k: v for k, v in wanted.items() if k not in os.environ}
    alone = {name: "1" for name in _THREADS if name in os.environ}
    return rasterio.Env(**chosen, **alone, **_REQUIRED, **gdal_options(sign))


def is_local(url: str) -> bool:
    """Whether a file lies on a disk of this machine."""
    return not url.startswith("/vsi") and "://" not in url


def bound_cache() -> None:
    """Set the size of GDAL's cache of decoded blocks, unless the environment says another.

    Not by an Env, and looked at before each read: the size is the process's, and two threads that
    set and restore it leave each other's. What is left may be a hundred bytes, for good, and then
    a block is fetched again for each part of it that is warped: five times the bytes of a run.
    """
    if "GDAL_CACHEMAX" not in os.environ and get_gdal_config("GDAL_CACHEMAX") != CACHE_BYTES:
        set_gdal_config("GDAL_CACHEMAX", CACHE_BYTES)


@dataclass
class Opened:
    """An open file, with a memo of values that its borrowers derived from it."""

    key: tuple[Any, ...]
    dataset: rasterio.DatasetReader
    remote: RemoteFile | None = None
    errors: ReportedErrors = field(default_factory=ReportedErrors)
    sources: tuple[str, ...] = ()
    stamps: tuple[Stamp, ...] = ()
    memo: dict[Hashable, Any] = field(default_factory=dict)
    _levels: dict[int, rasterio.DatasetReader] = field(default_factory=dict)

    @classmethod
    def of(cls, url: str, sign: str | None) -> Self:
        """Open a file by its path or address."""
        stamp = stamp_of(url)
        key = stamp, sign
        address = url.removeprefix("/vsicurl/")
        if is_url(address):
            remote = RemoteFile(address, signer(sign))
            return cls(key, remote.open(sharing=False), remote)
        path = _bucket_path(url)
        dataset = rasterio.open(path, sharing=False)
        _check_size(dataset, path)
        sources = virtual_sources(dataset, path)
        text = renewed(dataset, path, sources)
        if text is not None:
            dataset.close()
            dataset = rasterio.open(text, sharing=False)
            sources = virtual_sources(dataset, path)
        check_sources(sources)
        stamps = stamp, *(stamp_of(plain_name(name)) for name in sources)
        return cls(key, dataset, sources=sources, stamps=stamps)

    def overview(self, level: int) -> rasterio.DatasetReader:
        """One of the file's overviews, kept open with it."""
        if level not in self._levels:
            options = {"sharing": False, "overview_level": level}
            self._levels[level] = (
                self.remote.open(**options)
                if self.remote
                else rasterio.open(self.dataset.name, **options)
            )
        return self._levels[level]

    def run(self, call: Callable[[], T]) -> T:
        """Do something with the datasets: all that reads them goes through here."""
        return self.remote.run(call) if self.remote is not None else call()

    def check(self) -> None:
        """Raise what a server answered, or GDAL reported, while the file was lent."""
        self.check_server()
        self.errors.check()
        if any(stamp_of(stamp[0]) != stamp for stamp in self.stamps):
            raise ReadError("it was replaced while it was read; start again")

    def check_server(self) -> None:
        """Raise what a server answered in the last read, if it was not the bytes asked for."""
        if self.remote is not None:
            self.remote.check()

    def versions(self) -> Iterator[tuple[str, str]]:
        """Address and version of each file that was read: of this one, and of a VRT's sources."""
        if self.remote is not None:
            yield from self.remote.versions()
        yield from self._own_versions

    @cached_property
    def _own_versions(self) -> tuple[tuple[str, str], ...]:
        versions = ((stamp[0], local_version(stamp)) for stamp in self.stamps)
        local = tuple((path, version) for path, version in versions if version)
        if local or self.remote is not None:
            return local
        return ((self.stamps[0][0], header_version(self.dataset)),)  # in a bucket, or an archive

    def close(self) -> None:
        """Close the file and its overviews."""
        for dataset in (*self._levels.values(), self.dataset):
            self.run(dataset.close)


class FilePool:
    """Open files of this process, the least recently used closed first.

    GDAL allows a dataset to be used by one thread at a time, whichever it is: so a file is
    lent, and belongs to one thread until it is given back.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        # With the moment since when each is idle, the longest first; and which of them a key has.
        self._idle: OrderedDict[int, tuple[float, Opened]] = OrderedDict()
        self._numbers: dict[tuple[Any, ...], list[int]] = {}

    @contextmanager
    def lend(self, url: str, sign: str | None = None) -> Iterator[Opened]:
        """Lend an open file for the length of a ``with`` block; opens it if none is idle."""
        with reported_errors() as errors:
            opened = self._take((stamp_of(url), sign)) or Opened.of(url, sign)
            opened.errors = errors
            try:
                yield opened
                opened.check()
            except BaseException as error:
                # After a failure GDAL may keep half a block; a retry starts from the file.
                opened.close()
                while other := self._take(opened.key):  # the same file, perhaps an old version
                    other.close()
                note_failure(opened.sources, f"{error} {error.__cause__} {errors.messages}")
                opened.check_server()  # it tells more than what GDAL made of it
                raise
        self._give(opened)

    def close(self, since: float = math.inf) -> None:
        """Close what is not lent.

        Parameters
        ----------
        since : float
            Just what nobody has used since then, a moment of :func:`time.monotonic`.
        """
        with self._lock:
            old = list(itertools.takewhile(lambda idle: idle[0] < since, self._idle.values()))
            for _, opened in old:
                self._remove(id(opened))
        for _, opened in old:
            opened.close()

    def forget(self) -> None:
        """Drop all files without closing them: after a fork they are the parent's."""
        self._lock = threading.Lock()
        self._idle = OrderedDict()
        self._numbers = {}

    def _take(self, key: tuple[Any, ...]) -> Opened | None:
        with self._lock:
            numbers = self._numbers.get(key)
            return self._remove(numbers[-1]) if numbers else None

    def _give(self, opened: Opened) -> None:
        with self._lock:
            self._idle[id(opened)] = time.monotonic(), opened
            self._numbers.setdefault(opened.key, []).append(id(opened))
            is_full = len(self._idle) > self._limit
            old = self._remove(next(iter(self._idle))) if is_full else None
        if old is not None:
            old.close()

    def _remove(self, number: int) -> Opened:
        _, opened = self._idle.pop(number)
        numbers = self._numbers[opened.key]
        numbers.remove(number)
        if not numbers:
            del self._numbers[opened.key]
        return opened


class BlockCache:
    """Warped blocks that several windows share, least recently used out first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, npt.NDArray[Any]] = OrderedDict()

    def get(self, key: Hashable) -> npt.NDArray[Any] | None:
        """The block, or ``None``. Not to be written to."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Hashable, block: npt.NDArray[Any]) -> None:
        """Keep a block, and drop old ones beyond the limit."""
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = block
            self._bytes += block.nbytes
            while self._bytes > self._limit:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes

    def forget(self) -> None:
        """Drop all blocks; after a fork the lock may be held by a thread that is gone."""
        self._lock = threading.Lock()
        self._bytes = 0
        self._kept = OrderedDict()


def _check_size(dataset: rasterio.DatasetReader, path: str) -> None:
    """Refuse an ENVI file that is cut short: GDAL reads what is missing as zeros.

    Raises
    ------
    ReadError
    """
    if dataset.driver != "ENVI" or not is_local(path):
        return
    whole = dataset.height * dataset.width * sum(np.dtype(t).itemsize for t in dataset.dtypes)
    size = Path(path).stat().st_size
    if size < whole and dataset.tags(ns="ENVI").get("file_compression", "0") == "0":
        raise ReadError(f"it is cut short: it has {size} bytes, and its header says {whole}")


def _bucket_path(url: str) -> str:
    """GDAL's own path: through rasterio's the environment's credentials would need boto3."""
    scheme, mark, rest = url.partition("://")
    handlers = {"s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/"}
    return handlers[scheme] + rest if mark and scheme in handlers else url


def _open_limit() -> int:
    """Half of the file descriptors that the process may have, and at most 2048.

    Every block of a tile asks all scenes of its place, one after the other: with one file more than
    the pool holds, each of them is opened anew for each block. Two tiles side by side, of two
    places with 20 dates of seven bands, are 280 files. A TIFF on the disk takes some 35 kB while it
    is open.
    """
    try:
        import resource
    except ImportError:  # Windows
        return 128
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 2048 if soft < 0 else max(16, min(2048, soft // 2))


POOL = FilePool(_open_limit())
# Before the interpreter goes: a file on a server is read through Python.
atexit.register(POOL.close)
WARPED = BlockCache(_WARPED_BYTES)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=POOL.forget)
    os.register_at_fork(after_in_child=WARPED.forget)
    os.register_at_fork(after_in_child=remote.forget)
