"""Arrays by mmap, whose memory goes when freed; bytes that threads share; the pauses of gc."""

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from rsscale.cluster import allocator
from rsscale.memory import SharedBytes, mmap_array, paused_collector


@pytest.mark.parametrize("shape", [(), (3,), (2, 5, 7), (0, 4), (3, 1000, 1000)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_an_array_like_any_other(shape: tuple[int, ...], dtype: str) -> None:
    array = mmap_array(shape, dtype)
    assert array.shape == shape
    assert array.dtype == np.dtype(dtype)
    assert array.flags.writeable
    assert array.flags.c_contiguous
    assert not array.any()
    array[...] = 7
    assert (array == 7).all()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere they lie on the heap")
@pytest.mark.parametrize(("make", "lets_go"), [("mmap_array", True), ("np.zeros", False)])
def test_memory_goes_with_the_array(make: str, lets_go: bool) -> None:
    # Started so that the heap keeps what is freed, whatever the environment of the tests says.
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    told = subprocess.run(
        [sys.executable, "-c", GOES, make],
        env={**clean, **allocator.ENVIRONMENT},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == ["True", "True", str(lets_go)]


GOES = """
import resource
import sys
import numpy as np
from rsscale.memory import mmap_array, paused_collector

def grown():
    with open("/proc/self/statm") as file:
        return (int(file.read().split()[1]) * resource.getpagesize() >> 20) - before

before = 0
before = grown()
array = {"mmap_array": mmap_array, "np.zeros": np.zeros}[sys.argv[1]]((64, 1024, 1024), "uint8")
keep = bytes(1 << 20)  # above it in the heap
array[...] = 1
view = array[3:]
taken = grown() > 60
del array
held = grown() > 60 and bool(view.all())
del view
print(taken, held, grown() < 8)
"""


def test_the_collector_goes_on_after_the_last_pause() -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with paused_collector():
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=other)
    with paused_collector():
        thread.start()
        assert inside.wait(60)
        assert not gc.isenabled()
    assert not gc.isenabled()  # the other thread still makes its objects
    leave.set()
    thread.join()
    assert gc.isenabled()


def test_the_collector_goes_on_after_an_error_and_stays_off_where_it_was_off() -> None:
    with pytest.raises(ValueError, match="broken"), paused_collector():
        raise ValueError("broken")
    assert gc.isenabled()
    gc.disable()
    try:
        with paused_collector():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_was_made_in_a_pause_is_not_looked_through_at_its_end() -> None:
    looked: list[str] = []

    def told(phase: str, _: dict[str, int]) -> None:
        looked.append(phase)

    gc.collect()
    gc.callbacks.append(told)
    try:
        with paused_collector():
            made = [[] for _ in range(10_000)]
        made.append([])  # the first object after the pause
        assert looked == []
    finally:
        gc.callbacks.remove(told)
    assert gc.get_freeze_count() == 0


def test_threads_wait_for_shared_bytes_in_turn() -> None:
    shared, order, may_go = SharedBytes(10), [], threading.Event()

    def work(size: int) -> None:
        with shared.lend(size):
            order.append(size)
            may_go.wait(60)

    threads = []
    for number, size in enumerate((6, 5, 3), start=1):  # the last would fit beside the first
        threads.append(threading.Thread(target=work, args=(size,)))
        threads[-1].start()
        _until(lambda number=number: len(order) + len(shared._waiting) == number)
    assert order == [6]
    assert list(shared._waiting)
    may_go.set()
    for thread in threads:
        thread.join(60)
    assert order == [6, 5, 3]
    assert not shared._lent
    assert not shared._waiting


def test_shared_bytes_come_back_after_an_error_and_more_than_all_is_lent_alone() -> None:
    shared = SharedBytes(10)
    with pytest.raises(KeyError), shared.lend(1000):
        raise KeyError
    with shared.lend(4), shared.lend(6):  # else this would wait for good
        assert shared._lent == 10
    assert [shared.at_once(size) for size in (0, 1, 4, 5, 11)] == [10, 10, 2, 2, 1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_has_its_own_shared_bytes() -> None:
    shared = SharedBytes(10)
    with shared.lend(10):
        child = os.fork()
        if not child:
            with shared.lend(10):
                os._exit(0)
        _until(lambda: os.waitpid(child, os.WNOHANG) == (child, 0))


def _until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)
