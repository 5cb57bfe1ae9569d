"""Lock a device, so that one model at a time predicts on it in this process.

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
def torch_threads(*, several: bool) -> Iterator[None]:
    """Set how many threads torch has within one operation, for this thread and this while.

    Parameters
    ----------
    several : bool
        Whether it is to be more than one. Torch then takes another convolution for kernels of 1 by
        1 px than with one thread, which rounds differently; how many more changes no bit of the
        architectures here. In a task of a Dask worker they are as many as the worker has: its
        nanny sets ``OMP_NUM_THREADS=1``, and while one block has its turn the worker's other
        threads wait for theirs. Where that is set to another value, it is the user's and stays.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(max(_worker_threads() or before, 2) if several else 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def has_several_threads() -> bool:
    """Whether torch has more than one thread in this process, or is not here and so may have."""
    torch = sys.modules.get("torch")
    return torch is None or torch.get_num_threads() > 1


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
