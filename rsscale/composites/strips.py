"""Compute the composites of a large tile in strips, no row of them twice.

A tile decodes the source blocks that its halo touches beside its own: 2.25 times its blocks at
2048 px, 1.27 times at 8192 px (512 px blocks, halo up to 512). Large tiles decode the least, if a
worker need not hold all their composites: so windows are predicted strip by strip, and the rows
that two strips share are kept, not computed again. Where even one row of windows is too much, as
of many channels, the tile is cut into panels of columns, and each of them into strips.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from itertools import accumulate, groupby, pairwise
from typing import Any

import numpy.typing as npt
import xarray as xr

from rsscale.decorators.once import once
from rsscale.geo.lattice import WARP_BLOCK, Lattice, PixelBox
from rsscale.memory import SharedBytes, mmap_array
from rsscale.read.stage_timer import StageTimer

STRIP_BYTES = 512 << 20
"""Memory of a strip's composites, unless those of a single window take more."""

STRIPS = SharedBytes(768 << 20)
"""Memory of the strips of all tiles that are computed side by side in this process.

Two tiles of 2048 px and some twenty channels have room. Larger ones take turns: while one is
read and predicted, another waits, or is written.
"""

# Chunks end on blocks of the sources: so many rows, at most, are computed beyond those of a strip.
_BEYOND = WARP_BLOCK


def strips(box: PixelBox, lattice: Lattice, channels: int) -> list[PixelBox]:
    """Cut a box along the rows of the lattice, so that no window lies in two strips.

    Parameters
    ----------
    box : PixelBox
    lattice : Lattice
    channels : int
        Of the model, four bytes each.

    Returns
    -------
    list of PixelBox
        From top to bottom, panel after panel from the left. As few as keep a strip's composites at
        :data:`STRIP_BYTES`; one panel, where a row of windows fits.
    """
    pixels = STRIP_BYTES // (4 * channels)
    least = lattice.read_box(PixelBox(0, 0, lattice.stride, lattice.stride)).shape[0]
    around = least - lattice.stride
    cut = []
    widest = pixels // (least + _BEYOND) - around
    for left, right in _cut(box.col0, box.col1, lattice.stride, widest):
        panel = PixelBox(box.row0, left, box.row1, right)
        tallest = pixels // lattice.read_box(panel).shape[1] - around - _BEYOND
        rows = _cut(box.row0, box.row1, lattice.stride, tallest)
        cut += [PixelBox(top, left, bottom, right) for top, bottom in rows]
    return cut


def _cut(start: int, stop: int, stride: int, longest: int) -> list[tuple[int, int]]:
    """Cut along one axis, at lines of the lattice; as few pieces as may be, of equal length."""
    first, last = start // stride, -(-stop // stride)
    count = -(-(last - first) // max(longest // stride, 1))
    lines = [first + (last - first) * n // count for n in range(1, count)]
    return list(pairwise([start, *(line * stride for line in lines), stop]))


def strip_bytes(box: PixelBox, lattice: Lattice, channels: int, windows: int = 0) -> int:
    """Memory of the composites of the largest strip of a box, with their rows of whole blocks.

    With observations, a byte a pixel, of so many windows of time.
    """
    around = lattice.read_box(box)
    reads = (lattice.read_box(strip) for strip in strips(box, lattice, channels))
    rows_and_cols = ((min(r.shape[0] + _BEYOND, around.shape[0]), r.shape[1]) for r in reads)
    return (4 * channels + windows) * max(rows * cols for rows, cols in rows_and_cols)


def composite_strips(
    lazy: Mapping[str, xr.DataArray],
    around: PixelBox,
    reads: Sequence[PixelBox],
    threads: int | None,
    meter: StageTimer,
) -> Generator[dict[str, xr.DataArray], None, None]:
    """Composites of overlapping strips, in memory.

    Parameters
    ----------
    lazy : mapping of input name to DataArray
        Lazy composites of ``around``, whose chunks end on the blocks of their sources.
    around, reads : PixelBox
        Each strip's own box lies inside; those of a panel are as wide, from top to bottom.
    threads : int or None
        Number of threads that read and composite.
    meter : StageTimer
        Measures their work.
    """
    buffers: dict[str, _RowBuffer] = {}
    # toolz, in Dask's optimisation, leaves a cycle of an exception and all frames below it: what is
    # in a variable here when this ends stays until Python next collects cycles.
    try:
        for (left, right), panel in groupby(reads, lambda read: (read.col0, read.col1)):
            buffers.clear()  # before those of the next panel are made
            cols = slice(left - around.col0, right - around.col0)
            buffers |= {name: _RowBuffer(array.isel(x=cols)) for name, array in lazy.items()}
            for read in panel:
                start, stop = read.row0 - around.row0, read.row1 - around.row0
                _fill(buffers, start, stop, threads, meter)
                yield {name: buffer.rows(start, stop) for name, buffer in buffers.items()}
    finally:
        buffers.clear()


def _fill(
    buffers: Mapping[str, _RowBuffer], start: int, stop: int, threads: int | None, meter: StageTimer
) -> None:
    """Compute the rows that any of the buffers lacks, all of them in one graph."""
    _store([room for b in buffers.values() for room in b.make_room(start, stop)], threads, meter)


def in_memory(
    arrays: Iterable[xr.DataArray], threads: int | None, meter: StageTimer
) -> tuple[xr.DataArray, ...]:
    """Compute lazy composites on threads of this process, values and counts from one graph."""
    arrays = list(arrays)
    lazy = [_lazy_parts(array) for array in arrays]
    values = [{n: mmap_array(part.shape, part.dtype) for n, part in of.items()} for of in lazy]
    try:
        rooms = [(part, v[n]) for of, v in zip(lazy, values, strict=True) for n, part in of.items()]
        _store(rooms, threads, meter)
        return tuple(_with_values(array, of) for array, of in zip(arrays, values, strict=True))
    finally:
        values.clear()


def _store(
    rooms: list[tuple[Any, npt.NDArray[Any]]], threads: int | None, meter: StageTimer
) -> None:
    """Compute Dask arrays, each into an array in memory, from one graph; empties the list.

    Chunks are written to their place as they are done: to hold all of them until the last, and
    to join them then on one thread, would take twice the memory.
    """
    import dask.array as da

    sources, targets = [lazy for lazy, _ in rooms], [_ChunkTarget(array) for _, array in rooms]
    rooms.clear()
    try:
        # The scheduler is named: in a Dask worker the default would submit to the cluster again.
        if sources:
            da.store(
                sources, targets,
                lock=False, scheduler="threads", pool=_Shared(threads, meter),
            )  # fmt: skip
    finally:
        # Dask's graph stays a while, in a cycle, and after an error its tasks; neither is to
        # hold the values.
        for target in targets:
            target.clear()


class _Shared:
    """Thread pool shared by all tiles of this process, in the form that Dask accepts.

    Shared because each chunk that a thread works on takes memory, for all its scenes.
    """

    def __init__(self, threads: int | None, meter: StageTimer) -> None:
        from dask.system import CPU_COUNT

        self._max_workers = threads or CPU_COUNT  # Dask asks for it by this name
        self._threads, self._meter = _readers(self._max_workers), meter

    def submit(self, task: Callable[..., Any], *args: Any) -> Future[Any]:
        """Start a task of Dask's."""
        return self._threads.submit(copy_context().run, self._counted, task, *args)

    def _counted(self, task: Callable[..., Any], *args: Any) -> Any:
        with self._meter.working():
            return task(*args)


@once(maxsize=128)
def _readers(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="rsscale-read")


# A forked child has the pool and not its threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_readers.cache_clear)


def _lazy_parts(array: xr.DataArray) -> dict[Hashable, Any]:
    """Lazy data of an array: its own, by the name ``None``, and that of its coordinates."""
    parts = {None: array.variable, **{name: c.variable for name, c in array.coords.items()}}
    return {name: part.data for name, part in parts.items() if part.chunks is not None}


def _with_values(array: xr.DataArray, values: Mapping[Hashable, npt.NDArray[Any]]) -> xr.DataArray:
    """The array with computed data in place of lazy data."""
    itself = array.copy(data=values[None]) if None in values else array
    coords = {name: array[name].copy(data=v) for name, v in values.items() if name is not None}
    return itself.assign_coords({name: coord.variable for name, coord in coords.items()})


class _ChunkTarget:
    """Array in memory to which :func:`dask.array.store` writes the chunks of a Dask array."""

    def __init__(self, values: npt.NDArray[Any]) -> None:
        self.values: Any = values

    def __setitem__(self, where: Any, chunk: npt.NDArray[Any]) -> None:
        values = self.values
        if values is not None:  # else a chunk was begun before another one failed
            values[where] = chunk

    def clear(self) -> None:
        """Release the values, and ignore chunks that are written later."""
        self.values = None

    def __dask_tokenize__(self) -> int:
        # By default Dask would hash the values.
        return id(self)


class _RowBuffer:
    """Sliding buffer over the rows of one composite.

    Computed chunks are written into it at the bottom, finished rows dropped at the top.
    """

    def __init__(self, lazy: xr.DataArray) -> None:
        self._lazy = lazy
        self._parts = _lazy_parts(lazy)
        chunks = lazy.chunks[-2] if lazy.chunks else (lazy.sizes["y"],)
        self._edges = list(accumulate(chunks, initial=0))
        self._first = self._next = 0  # rows that are held, of all
        self._held: dict[Hashable, npt.NDArray[Any]] = {}

    def make_room(self, start: int, stop: int) -> list[tuple[Any, npt.NDArray[Any]]]:
        """Drop rows before ``start``; rows up to ``stop`` that are not held, and room for them.

        Whole chunks are computed. Rows that stay are copied, and the others given back before any
        is computed.
        """
        if stop <= self._next:
            return []
        edge = next(edge for edge in self._edges if edge >= stop)
        first, top = max(start, self._first), self._next
        kept = max(top - first, 0)
        for name, part in self._parts.items():
            room = mmap_array((*part.shape[:-2], kept + edge - top, part.shape[-1]), part.dtype)
            if kept:
                room[..., :kept, :] = self._held[name][..., first - self._first :, :]
            self._held[name] = room
        self._first, self._next = top - kept, edge
        return [
            (part[..., top:edge, :], self._held[name][..., kept:, :])
            for name, part in self._parts.items()
        ]

    def rows(self, start: int, stop: int) -> xr.DataArray:
        """Rows from the buffer."""
        if start < self._first or stop > self._next:
            raise ValueError(f"rows {start} to {stop} were not computed")
        inside = slice(start - self._first, stop - self._first)
        return _with_values(
            self._lazy.isel(y=slice(start, stop)),
            {name: values[..., inside, :] for name, values in self._held.items()},
        )
