"""Allocate large arrays with mmap, so that freeing them returns memory to the operating system."""

from __future__ import annotations

import math
import mmap
import sys
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

# Smaller arrays leave small holes only, and a process may have no more than 65,530 mappings.
_LEAST = 1 << 20


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
