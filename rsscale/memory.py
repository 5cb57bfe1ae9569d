"""Memory of a process: what it has used, arrays by mmap, what threads share, pauses of ``gc``."""

from __future__ import annotations

import gc
import math
import mmap
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

PROCESS_BYTES = 840 * 2**20
"""What a worker holds before its tiles: Python, torch, GDAL and all else that a tile imports.

Measured as the resident memory of the one worker of ``local:1``, a new one for each kind of step,
on Linux with torch 2.15 (its build for CUDA, on the CPU), in a run of tiles of 64 px: 67 MiB when
it has started, 240 to 245 once it has read the plan, 758 to 770 with torch, which every run imports
to set its threads, and 821 to 839 after the first tile, of change, functions, overviews and zones
alike. (After one of a small network's map it is 887, with observations, composites and GDAL's
cache, which the map counts for itself.)
"""

# Smaller arrays leave small holes only, and a process may have no more than 65,530 mappings.
_LEAST = 1 << 20


def peak_rss() -> int:
    """Peak resident memory of this process so far, in bytes."""
    # getrusage would begin with what the process that started this one had.
    try:
        status = Path("/proc/self/status").read_text("ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def current_rss() -> int:
    """Resident memory of this process now, in bytes; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def mmap_array(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Allocate an array of zeros, from 1 MB on by mmap: freeing it returns its memory at once.

    For arrays of tens of megabytes that live as long as a tile or a chunk. On the heap, smaller
    pieces that outlive them would lie between them, and the holes could not be given back.

    Parameters
    ----------
    shape : tuple of int
    dtype : numpy.dtype

    Returns
    -------
    numpy.ndarray
        Writeable. Smaller arrays, and all arrays off Linux, are those of :func:`numpy.zeros`.
    """
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if size < _LEAST or not sys.platform.startswith("linux"):
        return np.zeros(shape, kind)
    # Private, as a heap is: Python's default would share the pages with a child of a fork.
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without huge pages
        pages.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(pages, kind).reshape(shape)


class SharedBytes:
    """Memory that the threads of a process share: who finds too little left waits, in turn.

    Parameters
    ----------
    limit : int
        Bytes that are lent at a time. More than that is lent to one thread alone.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._reset()
        if hasattr(os, "register_at_fork"):  # a thread that is gone may hold the lock, or bytes
            os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._lent = 0
        self._waiting: deque[object] = deque()

    def at_once(self, size: int) -> int:
        """How many threads may have so many bytes each at a time; at least one."""
        return max(self.limit // max(size, 1), 1)

    @contextmanager
    def lend(self, size: int) -> Iterator[None]:
        """Lend bytes for the length of a ``with`` block, once they are there."""
        turn = object()
        with self._changed:
            self._waiting.append(turn)
            try:
                self._changed.wait_for(lambda: self._may_have(size, turn))
                self._lent += size
            finally:
                self._waiting.remove(turn)
                self._changed.notify_all()  # there may be enough for the next one
        try:
            yield
        finally:
            with self._changed:
                self._lent -= size
                self._changed.notify_all()

    def _may_have(self, size: int, turn: object) -> bool:
        fits = not self._lent or self._lent + size <= self.limit
        return fits and self._waiting[0] is turn


def _take_for_old() -> None:
    """Move all objects to the oldest generation, which takes no time and looks at none.

    Else the first object that is made after a pause has all those of the pause looked through.
    """
    if gc.get_freeze_count() == 0:  # else what others froze would no longer be
        gc.freeze()
        gc.unfreeze()


class _Pauses:
    """How many threads make objects that stay; the first one stops the collector."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._was_on = False

    def begin(self) -> None:
        with self._lock:
            if self._count == 0:
                self._was_on = gc.isenabled()
                gc.disable()
            self._count += 1

    def end(self) -> None:
        with self._lock:
            self._count -= 1
            if self._count == 0 and self._was_on:
                _take_for_old()
                gc.enable()


_PAUSES = _Pauses()


@contextmanager
def paused_collector() -> Iterator[None]:
    """Do not look for cycles of garbage while many objects are made that all stay.

    Items of a catalogue are hundreds of objects each. Python looks through all that a process
    holds, again and again, as they grow in number: 0.2 s each time where torch is loaded.
    """
    _PAUSES.begin()
    try:
        yield
    finally:
        _PAUSES.end()
