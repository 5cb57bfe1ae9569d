"""Bytes that a box takes off the disk or the network: whole blocks of files, as they are stored.

The header of a tiled TIFF says where each block lies and how long it is, so that what a box reads
is known without reading it. Files of one band are alike: the header of one of them stands for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.net.gdal_files import HEADER_BYTES
from rsscale.read.file_pool import POOL, Opened, gdal_env
from rsscale.read.levels import OpenLevel, open_levels
from rsscale.read.placement import OutputGrid, shrink
from rsscale.read.source import Source
from rsscale.read.warp import has_mask

# Blocks of a file whose length is asked, evenly spread; larger files are mostly alike all over.
_ASKED = 64
# Pixels of the source beyond a box that a warp reads, about: a kernel, and GDAL's own margin.
_AROUND_WARP = 16


@dataclass(frozen=True)
class BlockBytes:
    """How a file is cut into blocks, and how long they are.

    Attributes
    ----------
    origin : (float, float)
        Row and column of the file's corner on the grid.
    block : (float, float)
        Height and width of a block, in pixels of the grid.
    stored : float64 array (rows, columns)
        Bytes of each block as they lie in the file.
    margin : float
        Pixels of the grid that are read beyond a box.
    pixel_bytes : float
        Decoded bytes of a pixel of the source, for each pixel of the grid.
    """

    origin: tuple[float, float]
    block: tuple[float, float]
    stored: npt.NDArray[np.float64]
    margin: float
    pixel_bytes: float

    def of_chunks(
        self, rows: Sequence[int], cols: Sequence[int], origin: tuple[float, float] | None = None
    ) -> float:
        """Bytes of all blocks that chunks touch, each as often as another chunk touches it.

        Parameters
        ----------
        rows, cols : sequence of int
            Edges of the chunks on the grid.
        origin : (float, float), optional
            Of another file that is alike, but lies elsewhere: its blocks are as long as the mean.
        """
        top, left = origin or self.origin
        height, width = self.stored.shape
        down = self._times(rows, top, self.block[0], height)
        across = self._times(cols, left, self.block[1], width)
        if origin is None or origin == self.origin:
            return float(down @ self.stored @ across)
        return float(down.sum() * across.sum() * self.stored.mean())

    @property
    def extent(self) -> tuple[float, float]:
        """Height and width of the file's blocks, in pixels of the grid."""
        return self.block[0] * self.stored.shape[0], self.block[1] * self.stored.shape[1]

    def _times(
        self, edges: Sequence[int], start: float, block: float, count: int
    ) -> npt.NDArray[np.float64]:
        """How many chunks touch each block along an axis."""
        times = np.zeros(count)
        for low, high in pairwise(edges):
            first = int(np.floor((low - self.margin - start) / block + 1e-9))
            after = int(np.ceil((high + self.margin - start) / block - 1e-9))
            times[max(first, 0) : max(after, 0)] += 1
        return times


def block_bytes(source: Source, grid: OutputGrid) -> tuple[BlockBytes, int]:
    """Blocks of the level of a file that is read on a grid, and bytes of its header.

    Raises
    ------
    Exception
        Whatever opening it raises.
    """
    with gdal_env(source.url, source.sign), POOL.lend(source.url, source.sign) as opened:
        return opened.run(lambda: _of_file(opened, source, grid))


def _of_file(opened: Opened, source: Source, grid: OutputGrid) -> tuple[BlockBytes, int]:
    raster = open_levels(opened, source, grid)[0]
    placement, dataset = raster.placement, raster.dataset
    if placement.zoom is not None and placement.box is not None:
        down, across = map(float, placement.zoom)
        origin = float(placement.box.row0), float(placement.box.col0)
        margin = 0.0
    else:
        shrunk = shrink(grid, raster.crs, raster.transform, dataset.shape) or 1.0
        down = across = 1 / shrunk
        origin = _corner(raster, dataset.height * down, dataset.width * across)
        margin = _AROUND_WARP * down
    block_height, block_width = dataset.block_shapes[0]
    itemsize = np.dtype(dataset.dtypes[0]).itemsize
    blocks = BlockBytes(
        origin=origin,
        block=(block_height * down, block_width * across),
        stored=_stored(opened, raster, itemsize),
        margin=margin,
        pixel_bytes=itemsize / (down * across),
    )
    return blocks, min(HEADER_BYTES, opened.remote.size or HEADER_BYTES) if opened.remote else 0


def _corner(raster: OpenLevel, height: float, width: float) -> tuple[float, float]:
    """Of a warped file: in the middle of its footprint, which is known with a margin."""
    box = raster.placement.box
    if box is None:
        return 0.0, 0.0
    return (box.row0 + box.row1 - height) / 2, (box.col0 + box.col1 - width) / 2


def _stored(opened: Opened, raster: OpenLevel, itemsize: int) -> npt.NDArray[np.float64]:
    """Bytes of each block, by the header; of files that do not say, as many as decoded."""
    dataset, base = raster.dataset, opened.dataset
    height, width = dataset.block_shapes[0]
    shape = -(-dataset.height // height), -(-dataset.width // width)
    sizes = np.full(shape, float(height * width * itemsize))
    level = None
    if dataset is not base:
        level = next(n for n in range(len(base.overviews(1))) if opened.overview(n) is dataset)
    rows, cols = (np.unique(np.linspace(0, n - 1, min(n, _ASKED)).round()) for n in shape)
    asked_sizes = [
        [_recorded_length(base, level, int(row), int(col)) for col in cols] for row in rows
    ]
    if any(size is None for row in asked_sizes for size in row):
        return sizes
    asked = np.array(asked_sizes, float)
    # Each block is as long as the next one that was asked.
    nearest = (
        np.abs(np.arange(n)[:, None] - at).argmin(1)
        for n, at in zip(shape, (rows, cols), strict=True)
    )
    sizes = asked[np.ix_(*nearest)]
    return sizes * (1.02 if has_mask(base) else 1.0)


def _recorded_length(base: Any, level: int | None, row: int, col: int) -> float | None:
    """Length of a block by GDAL's metadata of TIFF; none of it for one that is left out."""
    place = f"{col}_{row}"
    try:
        size = base.get_tag_item(f"BLOCK_SIZE_{place}", "TIFF", 1, level)
        if size is None:
            is_tiff = base.driver in ("GTiff", "COG")
            return 0.0 if is_tiff else None
        return float(size)
    except Exception:  # noqa: BLE001 -- GDAL's errors have no public base
        return None
