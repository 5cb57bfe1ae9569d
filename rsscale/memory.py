"""Arrays in memory pages of their own, outside the heap."""

from __future__ import annotations

import math
import mmap
import sys
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

# Smaller ones leave no holes worth speaking of, and a process may map 65,530 pieces only.
_LEAST = 1 << 20


def own_pages(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An array of zeros; from 1 MB on, memory goes back to the kernel as soon as nobody has it.

    For tens of megabytes that live as long as a tile, or a chunk: on the heap, pieces that outlive
    them settle around them, and the holes that they leave fit nothing else.

    Parameters
    ----------
    shape : tuple of int
    dtype : numpy.dtype
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
