"""Composites in memory: tiles side by side share the threads that read."""

import threading
from concurrent.futures import ThreadPoolExecutor

import dask.array as da
import numpy as np
import xarray as xr

from rsscale.pipeline.strips import in_memory


def test_tiles_side_by_side_read_on_the_same_threads() -> None:
    third = threading.Barrier(3)  # only three chunks in hand at once get through

    def chunk(block: np.ndarray) -> np.ndarray:
        try:
            third.wait(timeout=0.2)
        except threading.BrokenBarrierError:
            return block + 1
        raise AssertionError("three chunks at once on two threads")

    def tile(number: int) -> np.ndarray:
        cube = da.full((4, 4), number, chunks=(2, 2)).map_blocks(chunk, dtype=int)
        return in_memory([xr.DataArray(cube, dims=("y", "x"))], threads=2)[0].values

    with ThreadPoolExecutor(2) as tiles:
        found = list(tiles.map(tile, (10, 20)))
    for number, values in zip((10, 20), found, strict=True):
        np.testing.assert_array_equal(values, np.full((4, 4), number + 1))
