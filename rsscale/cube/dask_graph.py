"""The layout of a cube's lazy array, common to all loaders, and the loader that uses Dask alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.cluster.sealed import Sealed
from rsscale.errors import ReadError
from rsscale.geo.lattice import PixelBox
from rsscale.items.records import Scenes
from rsscale.memory import mmap_array
from rsscale.read.placement import OutputGrid
from rsscale.read.reader import Reader
from rsscale.read.source import Source
from rsscale.read.stage_timer import StageTimer

Sources = Sequence[Sequence[Source]]
"""``sources[scene][band]``."""


@dataclass(frozen=True)
class Layout:
    """The array that a loader has to give.

    Attributes
    ----------
    grid : OutputGrid
    box : PixelBox
        The pixels of the grid that the cube covers.
    dtype : numpy.dtype
    fill : numpy.generic
        The cube's nodata, of that type.
    chunks : tuple of tuple of int
        Of ``(time, band, y, x)``.
    on_error : callable, optional
        Takes the ReadError of what could not be read and then holds nodata; else it is raised.
    meter : StageTimer, optional
        Counts what is read.
    """

    grid: OutputGrid
    box: PixelBox
    dtype: np.dtype[Any]
    fill: np.generic
    chunks: tuple[tuple[int, ...], ...]
    on_error: Callable[[ReadError], None] | None = None
    meter: StageTimer | None = None

    def part(self, block: tuple[int, ...]) -> tuple[slice, slice, PixelBox]:
        """Slices and bands of a chunk, and its pixels on the grid."""
        starts = [
            list(accumulate(widths, initial=0))[number : number + 2]
            for widths, number in zip(self.chunks, block, strict=True)
        ]
        scenes, bands, rows, cols = starts
        top, left = self.box.row0, self.box.col0
        pixels = PixelBox(top + rows[0], left + cols[0], top + rows[1], left + cols[1])
        return slice(*scenes), slice(*bands), pixels

    def reader(self, source: Source) -> Reader:
        """The reader of one asset."""
        return Reader(
            url="",
            sources={"": source},
            grid=self.grid,
            box=self.box,
            dtype=self.dtype,
            fill_value=self.fill,
            on_error=self.on_error,
            meter=self.meter,
        )


def dask_array(layout: Layout, scenes: Scenes, sources: Sources) -> Any:  # noqa: ARG001 -- a loader's
    """A Dask array ``(time, band, y, x)``: one task a chunk, which reads straight into it."""
    import dask.array as da

    # Named after what decides its values, and whoever is to hear of them.
    deciding = [[astuple(source) for source in row] for row in sources]
    content = (
        layout.grid, layout.box, layout.dtype.str, repr(layout.fill), layout.chunks, deciding,
        id(layout.on_error), id(layout.meter),
    )  # fmt: skip
    return da.map_blocks(
        Sealed(partial(read_block, layout=layout, sources=sources)),
        chunks=layout.chunks,
        dtype=layout.dtype,
        meta=np.empty((0, 0, 0, 0), layout.dtype),
        name=f"read-{hashlib.sha256(repr(content).encode()).hexdigest()[:32]}",
    )


def read_block(*, layout: Layout, sources: Sources, block_id: tuple[int, ...]) -> npt.NDArray[Any]:
    """Read one chunk, asset after asset."""
    scenes, bands, pixels = layout.part(block_id)
    wanted = [row[bands] for row in sources[scenes]]
    # Not on the heap: tens of megabytes that come and go between smaller pieces leave holes there,
    # half a gigabyte of them. That new pages are zeroed first takes a hundredth of the time.
    out = mmap_array((len(wanted), len(wanted[0]), *pixels.shape), layout.dtype)
    for slices, row in zip(out, wanted, strict=True):
        for target, source in zip(slices, row, strict=True):
            layout.reader(source).read_into(pixels, target)
    return out
