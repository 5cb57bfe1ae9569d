"""Map a function over blocks of pixels of a cube without joining its chunks along time and band."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.cluster.sealed import Sealed

Blocks = Sequence[Sequence[npt.NDArray[Any]]]
"""``(t, b, h, w)`` each: all scenes and bands of some pixels, cut along time, then along bands."""

Planes = list[list[npt.NDArray[Any]]]
"""``(h, w)`` of each scene, of each band."""


def map_pixels(
    function: Callable[..., npt.NDArray[Any]],
    data: Any,
    shape: tuple[int, int],
    dtype: npt.DTypeLike,
    **how: Any,
) -> Any:
    """Compute scenes and bands anew, each block of pixels by itself, lazily.

    Parameters
    ----------
    function : callable
        Takes :data:`Blocks` and ``how``, returns ``(scenes, bands, h, w)``.
    data : dask.array.Array
        ``(T, B, y, x)``.
    shape : (int, int)
        Scenes and bands of the result.
    dtype : numpy.dtype
        Of the result.
    **how
        For the function.
    """
    import dask.array as da

    # Not joined: that would copy every pixel once more.
    return da.blockwise(
        Sealed(partial(function, **how)), "lcyx", data, "tbyx",
        new_axes={"l": shape[0], "c": shape[1]}, concatenate=False,
        dtype=dtype, meta=np.empty((0, 0, 0, 0), dtype),
    )  # fmt: skip


def planes(blocks: Blocks) -> Planes:
    """The planes of blocks, as views."""
    return [
        [plane for block in of_time for plane in block[scene]]
        for of_time in blocks
        for scene in range(len(of_time[0]))
    ]
