"""Open files of a process, the settings they are read with, and blocks worth keeping."""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy.typing as npt
import rasterio
from rasterio.env import get_gdal_config, set_gdal_config

_WARPED_BYTES = 128 * 2**20

# What GDAL needs to read cloud-optimised files well. A value in the environment wins.
_GDAL = {
    # No listing of the folder for side-car files: one request less, and a bucket of a
    # million objects is never listed.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    # The header of a COG fits in one request.
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    # A dropped connection is asked again; what still fails is raised, never nodata.
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
}

# GDAL's cache of decoded blocks, of the whole process. Its default is 5 % of the machine, which
# a Dask worker does not count as its own; blocks are rarely read twice here.
_CACHE_BYTES = 256 * 2**20


def gdal_env() -> rasterio.Env:
    """GDAL's options for reading, for this thread, inside a ``with``."""
    _bound_cache()
    return rasterio.Env(**{k: v for k, v in _GDAL.items() if k not in os.environ})


@lru_cache(maxsize=1)
def _bound_cache() -> None:
    # Once, not in each Env: the size is the process's, and two threads that set and
    # restore it would undo each other.
    if "GDAL_CACHEMAX" not in os.environ and get_gdal_config("GDAL_CACHEMAX") > _CACHE_BYTES:
        set_gdal_config("GDAL_CACHEMAX", _CACHE_BYTES)


def without_query(message: str) -> str:
    """GDAL quotes URLs; what stands behind the question mark may be a token."""
    return re.sub(r"\?\S+", "", message).replace("\n", " ")


@dataclass
class Opened:
    """An open file, and what its borrowers want to remember with it."""

    key: tuple[Any, ...]
    dataset: rasterio.DatasetReader
    memo: dict[Hashable, Any] = field(default_factory=dict)


class FilePool:
    """Open files of this process, the least recently used closed first.

    GDAL allows a dataset to be used by one thread at a time, whichever it is: so a file is
    lent, and belongs to one thread until it is given back.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._idle: OrderedDict[int, Opened] = OrderedDict()

    @contextmanager
    def lend(self, url: str) -> Iterator[Opened]:
        """Lend an open file for the length of a ``with`` block; opens it if none is idle."""
        key = _version(url)
        opened = self._take(key) or Opened(key, rasterio.open(url, sharing=False))
        try:
            yield opened
        except BaseException:
            # After a failure GDAL may keep half a block; a retry starts from the file.
            opened.dataset.close()
            raise
        self._give(opened)

    def forget(self) -> None:
        """Let go of everything without closing: after a fork the files are the parent's."""
        self._lock = threading.Lock()
        self._idle = OrderedDict()

    def _take(self, key: tuple[Any, ...]) -> Opened | None:
        with self._lock:
            for number, opened in reversed(self._idle.items()):
                if opened.key == key:
                    return self._idle.pop(number)
        return None

    def _give(self, opened: Opened) -> None:
        with self._lock:
            self._idle[id(opened)] = opened
            old = self._idle.popitem(last=False)[1] if len(self._idle) > self._limit else None
        if old is not None:
            old.dataset.close()


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
        """Keep a block, and let go of old ones beyond the limit."""
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = block
            self._bytes += block.nbytes
            while self._bytes > self._limit:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes

    def forget(self) -> None:
        """Let go of everything; after a fork the lock may be held by a thread that is gone."""
        self._lock = threading.Lock()
        self._bytes = 0
        self._kept = OrderedDict()


def _version(url: str) -> tuple[Any, ...]:
    """A local file that was written anew is another file."""
    try:
        stat = Path(url).stat()
    except (OSError, ValueError):
        return (url,)
    return url, stat.st_mtime_ns, stat.st_size, stat.st_ino


def _open_limit() -> int:
    """A quarter of the file descriptors that the process may have, and at most 256."""
    try:
        import resource
    except ImportError:  # Windows
        return 128
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 256 if soft < 0 else max(16, min(256, soft // 4))


POOL = FilePool(_open_limit())
WARPED = BlockCache(_WARPED_BYTES)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=POOL.forget)
    os.register_at_fork(after_in_child=WARPED.forget)
