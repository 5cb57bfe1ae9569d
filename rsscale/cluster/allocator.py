"""Configure glibc's malloc so that memory freed by torch is reused instead of unmapped.

glibc gives large buffers back to the kernel as soon as they are freed, and takes them anew, page
by page, for the next layer of a network. Raising its thresholds helps the main thread alone: every
other one has an arena of its own, in which nothing larger than 64 MiB fits, so that it comes from
the kernel whatever the thresholds are. Tiles are mapped by threads, so there is to be one arena.
Measured with a two-layer network, one window of 1152 px: 170 ms in a thread, 143 with the
thresholds alone, 47 with one arena too (43 in the main thread).

Where a process has several arenas already, as a notebook has, a thread is given one of them for
good when it first asks for memory: :func:`start_thread` starts threads until one has the main
arena.

https://www.gnu.org/software/libc/manual/html_node/Malloc-Tunable-Parameters.html
"""

from __future__ import annotations

import ctypes
import math
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from rsscale.memory import current_rss

_KEEP, _LARGE, _ARENAS = 1 << 30, 512 << 20, 1

ENVIRONMENT = {
    "MALLOC_TRIM_THRESHOLD_": str(_KEEP),
    "MALLOC_MMAP_THRESHOLD_": str(_LARGE),
    "MALLOC_ARENA_MAX": str(_ARENAS),
}
"""The same for a process that is yet to start."""

_HUGE_PAGES = {
    "MALLOC_MMAP_THRESHOLD_": str(64 << 20),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}

_THP = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_STARTED_WITH = Path("/proc/self/environ")

# Numbers of <malloc.h>.
_MALLOPT = {-1: _KEEP, -3: _LARGE, -8: _ARENAS}
_TRIM_EVERY_S = 10.0
# Share of the time that filling the heap anew may take where it is trimmed more often, and what
# that takes: 1 million pages of 4 KiB, written for the first time, cost a second and more.
_TRIM_SHARE, _REFILL_S_PER_BYTE = 0.01, 0.3 / 2**30
# As many arenas as glibc makes on 16 cores; and a size that it never keeps for a thread.
_TRIES, _UNCACHED = 128, 1 << 14


@lru_cache(maxsize=1)
def keep_memory() -> bool:
    """Set this process's allocator so; threads that started before keep their arenas.

    A value that the process was started with wins. Nothing is done elsewhere than on Linux with
    glibc.

    Returns
    -------
    bool
        Whether it was done.
    """
    if not has_glibc() or started_with() & ENVIRONMENT.keys():
        return False
    taken = [ctypes.CDLL(None).mallopt(number, value) for number, value in _MALLOPT.items()]
    return all(taken)


def environment() -> dict[str, str]:
    """Environment variables to start a worker with: :data:`ENVIRONMENT`, or with huge pages.

    In huge pages the largest buffers can be had from the kernel and given back at little cost
    (another day, for the same window: 77 ms, kept in the heap 60, in small pages 240), and then
    they leave no holes in the heap: a worker with two tiles of 2048 px took 1.6 GB instead of 1.9.
    """
    return {**ENVIRONMENT, **(_HUGE_PAGES if _has_huge_pages() else {})}


def _has_huge_pages() -> bool:
    """Whether malloc can ask for huge pages, glibc 2.35, and the kernel gives them."""
    ours = _HUGE_PAGES["GLIBC_TUNABLES"]  # also what a cluster before this one has left
    if not has_glibc() or os.environ.get("GLIBC_TUNABLES", ours) != ours:
        return False
    try:
        version = os.confstr("CS_GNU_LIBC_VERSION") or ""
        numbers = tuple(int(part) for part in version.split()[1].split("."))
        return numbers >= (2, 35) and "[never]" not in _THP.read_text("ascii")
    except (OSError, ValueError, IndexError):
        return False


def started_with() -> set[str]:
    """Names of the environment variables that this process was started with.

    ``os.environ`` may have others since: Dask's nannies put those of their workers there.
    """
    try:
        content = _STARTED_WITH.read_bytes()
    except OSError:
        content = b""
    names = {os.fsdecode(pair.partition(b"=")[0]) for pair in content.split(b"\0") if pair}
    # A process that gave itself a title, as Dask's do with setproctitle, wrote over them.
    return names if names & os.environ.keys() else set(os.environ)


def trim(every_s: float = _TRIM_EVERY_S) -> bool:
    """Give the holes of the heap back to the kernel, at most every few seconds.

    Buffers of tens of megabytes leave holes that the next ones don't fit into: a worker grew by
    half in a hundred tiles. To fill the holes anew costs 0.3 s a gigabyte: a network whose strips
    take two seconds was a tenth slower when each of them found the heap empty.

    Parameters
    ----------
    every_s : float
        Nothing is done within so many seconds of the last time; nor within ten, where filling the
        holes anew has taken more than a hundredth of the time so far.

    Returns
    -------
    bool
        Whether it was done.
    """
    return _TRIMMER.trim(every_s) if has_glibc() else False


class _Trimmer:
    """One heap, one clock: when it was trimmed last, and what that has cost so far."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first = time.monotonic()
        self._last = -math.inf
        self._cost_s = 0.0

    def trim(self, every_s: float) -> bool:
        with self._lock:
            now = time.monotonic()
            is_cheap = self._cost_s <= _TRIM_SHARE * (now - self._first)
            if now - self._last < (every_s if is_cheap else max(every_s, _TRIM_EVERY_S)):
                return False
            before = current_rss()
            ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))
            self._last = time.monotonic()
            released = max(before - current_rss(), 0)
            self._cost_s += self._last - now + released * _REFILL_S_PER_BYTE
            return True


_TRIMMER = _Trimmer()


def start_thread(work: Callable[[], None], name: str) -> threading.Thread:
    """Start a thread that takes its memory from the main arena, if one can be had.

    Parameters
    ----------
    work : callable
        What the thread does.
    name : str
    """
    others = threading.Event()
    waiting = []  # with an arena each, which they keep until one has the main arena
    try:
        for _ in range(_TRIES if has_glibc() else 0):
            answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
            thread = threading.Thread(target=_work_or_wait, args=(work, answers, others), name=name)
            thread.start()
            if answers.get():
                return thread
            waiting.append(thread)
    finally:
        others.set()
        for waiter in waiting:
            waiter.join()
    thread = threading.Thread(target=work, name=name)
    thread.start()
    return thread


def _work_or_wait(
    work: Callable[[], None], outcome: queue.SimpleQueue[bool], others: threading.Event
) -> None:
    is_main = in_main_arena()
    outcome.put(is_main)
    if is_main:
        work()
    else:
        others.wait()


def in_main_arena() -> bool:
    """Whether this thread allocates from the main arena.

    glibc notes that beside each piece of memory: bit 2 (``NON_MAIN_ARENA``) of the word before
    it, https://sourceware.org/glibc/wiki/MallocInternals.
    """
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    # Too large for the thread's cache, which may hold what another thread asked for.
    piece = libc.malloc(_UNCACHED)
    try:
        return not ctypes.c_size_t.from_address(piece - ctypes.sizeof(ctypes.c_size_t)).value & 4
    finally:
        libc.free(piece)


@lru_cache(maxsize=1)
def has_glibc() -> bool:
    """Whether the C library is glibc."""
    return sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")
