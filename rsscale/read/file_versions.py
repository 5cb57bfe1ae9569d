"""Record which version of each file was read: size with ETag or time of change, or its header."""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from rsscale.errors import ReadError
from rsscale.read.source import Source

if TYPE_CHECKING:
    import rasterio

# Blocks of a file whose place and length is asked: so many down and across.
_ASKED = 8
_PLACES = tuple(itertools.product(range(_ASKED), repeat=2))

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


def header_version(dataset: rasterio.DatasetReader) -> str:
    """The version of a file that GDAL reads in a bucket, by its header: GDAL tells no ETag.

    The places and lengths of its blocks are in the header of a TIFF, and those of compressed
    blocks differ with their pixels.
    """
    rows, cols = (
        -(-size // block)
        for size, block in zip(dataset.shape, dataset.block_shapes[0], strict=True)
    )
    chosen = {(row * rows // _ASKED, col * cols // _ASKED) for row, col in _PLACES}
    version_tags = dataset.driver in ("GTiff", "COG") and [
        dataset.get_tag_item(f"{name}_{col}_{row}", "TIFF", 1)
        for row, col in sorted(chosen)
        for name in ("BLOCK_OFFSET", "BLOCK_SIZE")
    ]
    header = repr((sorted(dataset.profile.items(), key=str), dataset.tags(), version_tags))
    return f"header {hashlib.sha256(header.encode()).hexdigest()[:16]}"


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
