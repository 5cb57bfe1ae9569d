"""One model at a time on a device: all that predict in this process take turns.

Blocks and tiles of one process are read and written side by side, but torch wants all cores, or
the GPU, for itself.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_locks: dict[tuple[str, int], threading.Lock] = {}


def device_lock(device: torch.device) -> threading.Lock:
    """The lock of a device in this process; ``cuda`` is ``cuda:0``."""
    # One step for Python's own lock, so that two threads get the same.
    return _locks.setdefault((device.type, device.index or 0), threading.Lock())


@contextmanager
def turn(device: torch.device) -> Iterator[None]:
    """Wait for a device, and have it; with :func:`torch_threads`."""
    with device_lock(device), torch_threads():
        yield


@contextmanager
def torch_threads() -> Iterator[None]:
    """In a task of a Dask worker, give torch all threads of the worker.

    A worker's nanny sets ``OMP_NUM_THREADS=1``, and while one block has its turn the worker's other
    threads wait for theirs. Where that is set to another value, it is the user's and stays.
    """
    threads = _worker_threads()
    if threads is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _worker_threads() -> int | None:
    """Threads of the Dask worker that runs this; None elsewhere, or where the user set torch's."""
    distributed = sys.modules.get("distributed")
    if distributed is None or os.environ.get("OMP_NUM_THREADS", "1") != "1":
        return None
    try:
        return int(distributed.get_worker().state.nthreads)
    except ValueError:
        return None


# In a forked child nobody is left to give a lock back.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_locks.clear)
