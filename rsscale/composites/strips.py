"""Compute the composites of a large tile in strips, no row of them twice.

A tile decodes the source blocks that its halo touches beside its own: 2.25 times its blocks at
2048 px, 1.27 times at 8192 px (512 px blocks, halo up to 512). Large tiles decode the least, if a
worker need not hold all their composites: so windows are predicted strip by strip, and the rows
that two strips share are kept, not computed again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from itertools import accumulate, pairwise
from typing import Any

import numpy.typing as npt
import xarray as xr

from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.memory import mmap_array
from rsscale.once import once
from rsscale.read.stage_timer import StageTimer

STRIP_BYTES = 1 << 30
"""Approximate memory of a strip's composites."""


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
        From top to bottom. As few as keep a strip's composites at :data:`STRIP_BYTES`.
    """
    width = lattice.read_box(box).shape[1]
    rows = STRIP_BYTES // (4 * channels * width) - 2 * lattice.halo
    step = max(rows // lattice.stride, 1) * lattice.stride
    first = box.row0 // lattice.stride * lattice.stride
    edges = [box.row0, *range(first + step, box.row1, step), box.row1]
    return [PixelBox(top, box.col0, bottom, box.col1) for top, bottom in pairwise(edges)]


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
        Each strip's own box lies inside, as wide, from top to bottom.
    threads : int or None
        Number of threads that read and composite.
    meter : StageTimer
        Measures their work.
    """
    buffers = {name: _RowBuffer(array) for name, array in lazy.items()}
    # toolz, in Dask's optimisation, leaves a cycle of an exception and all frames below it: what is
    # in a variable here when this ends stays until Python next collects cycles.
    try:
        for read in reads:
            start, stop = read.row0 - around.row0, read.row1 - around.row0
            _fill(buffers, start, stop, threads, meter)
            yield {name: buffer.rows(start, stop) for name, buffer in buffers.items()}
    finally:
        buffers.clear()


def _fill(
    buffers: Mapping[str, _RowBuffer], start: int, stop: int, threads: int | None, meter: StageTimer
) -> None:
    """Compute the rows that any of the buffers lacks, all of them in one graph."""
    parts = {name: buffer.next_part(stop) for name, buffer in buffers.items()}
    computed = list(in_memory([p for p in parts.values() if p is not None], threads, meter))
    for name, part in parts.items():  # popped, so that nothing stays with this frame
        buffers[name].take(start, None if part is None else computed.pop(0))


def in_memory(
    arrays: Iterable[xr.DataArray], threads: int | None, meter: StageTimer
) -> tuple[xr.DataArray, ...]:
    """Compute lazy composites on threads of this process, values and counts from one graph.

    Chunks are written to their place as they are done: to hold all of them until the last, and
    to join them then on one thread, would take twice the memory.
    """
    import dask.array as da

    arrays = list(arrays)
    lazy = [_lazy_parts(array) for array in arrays]
    targets = [{name: _ChunkTarget(data) for name, data in parts.items()} for parts in lazy]
    try:
        # The scheduler is named: in a Dask worker the default would submit to the cluster again.
        da.store(
            [data for parts in lazy for data in parts.values()],
            [target for of_array in targets for target in of_array.values()],
            lock=False, scheduler="threads", pool=_Shared(threads, meter),
        )  # fmt: skip
        return tuple(
            _with_values(array, {name: target.values for name, target in of_array.items()})
            for array, of_array in zip(arrays, targets, strict=True)
        )
    finally:
        # Dask's graph stays a while, in a cycle, and after an error its tasks; neither is to
        # hold the values.
        for of_array in targets:
            for target in of_array.values():
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

    def __init__(self, lazy: Any) -> None:
        self.values: Any = mmap_array(lazy.shape, lazy.dtype)

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

    Computed chunks are appended at the bottom, finished rows dropped at the top.
    """

    def __init__(self, lazy: xr.DataArray) -> None:
        self._lazy = lazy
        chunks = lazy.chunks[-2] if lazy.chunks else (lazy.sizes["y"],)
        self._edges = list(accumulate(chunks, initial=0))
        self._first = self._next = 0
        self._held: xr.DataArray | None = None

    def next_part(self, stop: int) -> xr.DataArray | None:
        """Lazy rows, in whole chunks, that are still to be computed before ``stop``; or None."""
        if stop <= self._next:
            return None
        edge = next(edge for edge in self._edges if edge >= stop)
        part = self._lazy.isel(y=slice(self._next, edge))
        self._next = edge
        return part

    def take(self, start: int, part: xr.DataArray | None) -> None:
        """Drop rows before ``start``, append a computed part."""
        held = self._held
        if held is not None and start > self._first:
            held = held.isel(y=slice(start - self._first, None))
        self._first = max(start, self._first) if held is not None else self._first
        if part is not None:
            held = part if held is None else _below(held, part)
        self._held = held

    def rows(self, start: int, stop: int) -> xr.DataArray:
        """Rows from the buffer."""
        if self._held is None:
            raise ValueError(f"rows {start} to {stop} were not computed")
        return self._held.isel(y=slice(start - self._first, stop - self._first))


def _below(upper: xr.DataArray, lower: xr.DataArray) -> xr.DataArray:
    return xr.concat([upper, lower], "y", coords="minimal", compat="override", join="override")
