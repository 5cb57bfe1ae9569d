"""Arrays by mmap, whose memory goes when they are freed; pauses of the collector of cycles."""

import gc
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from rsscale.cluster import allocator
from rsscale.memory import mmap_array, paused_collector


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
