"""Arrays outside the heap: their values, and that their memory goes when they go."""

import sys
from pathlib import Path

import numpy as np
import pytest

from rsscale.pages import own_pages


@pytest.mark.parametrize("shape", [(), (3,), (2, 5, 7), (0, 4), (3, 1000, 1000)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_an_array_like_any_other(shape: tuple[int, ...], dtype: str) -> None:
    array = own_pages(shape, dtype)
    assert array.shape == shape
    assert array.dtype == np.dtype(dtype)
    assert array.flags.writeable
    assert array.flags.c_contiguous
    assert not array.any()
    array[...] = 7
    assert (array == 7).all()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere they lie on the heap")
def test_memory_goes_with_the_array() -> None:
    before = resident()
    array = own_pages((64, 1024, 1024), "uint8")
    array[...] = 1
    view = array[3:]
    assert resident() - before > 60 << 20
    del array
    assert resident() - before > 60 << 20
    assert view.all()
    del view
    assert resident() - before < 8 << 20


def resident() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4096
