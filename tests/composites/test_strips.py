"""Composites in memory: tiles share the threads that read, and their work is counted."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from rsscale.composites.strips import in_memory
from rsscale.read.stage_timer import StageTimer

THREADS, BLOCK_S = 2, 0.02


class Hands:
    """Counts blocks that are computed at the same time."""

    def __init__(self) -> None:
        self.lock, self.now, self.most = threading.Lock(), 0, 0

    def __call__(self, block: np.ndarray) -> np.ndarray:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(BLOCK_S)
        with self.lock:
            self.now -= 1
        return block + 1


def tile(number: int, hands: Hands, meter: StageTimer) -> np.ndarray:
    cube = da.full((6, 6), number, chunks=(2, 2)).map_blocks(
        hands, dtype=int, meta=np.empty((0, 0), int)
    )
    return in_memory([xr.DataArray(cube, dims=("y", "x"))], THREADS, meter)[0].values


def test_tiles_side_by_side_read_on_the_same_threads() -> None:
    hands, meters, together = Hands(), (StageTimer(), StageTimer()), threading.Barrier(2)

    def work(number: int) -> np.ndarray:
        together.wait()
        return tile(number, hands, meters[number])

    started = time.perf_counter()
    with ThreadPoolExecutor(2) as tiles:
        found = list(tiles.map(work, (0, 1)))
    elapsed = time.perf_counter() - started
    for number, values in enumerate(found):
        np.testing.assert_array_equal(values, np.full((6, 6), number + 1))
    assert hands.most <= THREADS
    # Nine blocks each; the time that they waited for those of the other tile does not count.
    assert all(meter.working_s >= 9 * BLOCK_S and meter.reading_s == 0 for meter in meters)
    assert sum(meter.working_s for meter in meters) <= THREADS * elapsed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_reads_on_threads_of_its_own() -> None:
    tile(0, Hands(), StageTimer())
    child = os.fork()
    if not child:
        os._exit(int(not (tile(3, Hands(), StageTimer()) == 4).all()))
    until = time.monotonic() + 60
    while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < until:
        time.sleep(0.01)
    if not ended[0]:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert ended == (child, 0)
