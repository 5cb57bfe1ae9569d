"""Record which version of each file was read: its size, with its ETag or time of change."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable
from typing import Any

import numpy as np

from rsscale.errors import ReadError
from rsscale.read.source import Source

Stamp = tuple[Any, ...]
"""A path, followed by what changes when a local file is written anew; just the path of others."""


def stamp_of(path: str) -> Stamp:
    """What tells a local file from the one that was there before; of other files the path alone."""
    try:
        stat = os.stat(path)  # noqa: PTH116 -- twice a read, and half of it would be a Path's
    except (OSError, ValueError):
        return (path,)
    return path, stat.st_mtime_ns, stat.st_size, stat.st_ino


def local_version(stamp: Stamp) -> str:
    """The version of a local file, the same on every machine that sees it; empty for others."""
    if len(stamp) == 1:
        return ""
    _, changed, size, _ = stamp
    return f"{size} bytes, modified {np.datetime64(changed, 'ns')}"


class FileVersions:
    """Versions of the files that one tile read, filled by many threads.

    Attributes
    ----------
    by_item : dict of item to dict of asset to str
        The asset's key is followed by a hash of its address: what lies elsewhere is another file.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted: set[tuple[str, str, str, str]] = set()
        self.by_item: dict[str, dict[str, str]] = {}

    def note(self, source: Source, versions: Iterable[tuple[str, str]]) -> None:
        """Record what a read took its bytes from.

        Parameters
        ----------
        source : Source
        versions : iterable of (address, version)
            Of the file, and of what a virtual raster is made of.

        Raises
        ------
        ReadError
            When a file was read before in another version.
        """
        for address, version in versions:
            read = source.item, source.asset, address, version
            if read in self._noted:
                continue
            name = f"{source.asset} {hashlib.sha256(address.encode()).hexdigest()[:8]}"
            with self._lock:
                known = self.by_item.setdefault(source.item, {}).setdefault(name, version)
            if known != version:
                raise ReadError(
                    f"{source} was replaced while it was read, from [{known}] to [{version}]; "
                    "start again"
                )
            self._noted.add(read)
