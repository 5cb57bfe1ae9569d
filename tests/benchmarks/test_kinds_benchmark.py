"""The benchmark of kinds: its counts of lines, and its comparison of maps."""

import numpy as np
import xarray as xr

from benchmarks.kinds import KINDS, are_equal, lines_of


def three_lines() -> int:
    # A comment is no code.

    numbers = [
        1]  # fmt: skip
    return sum(numbers)


def test_lines_of_code_are_counted_in_the_body() -> None:
    assert lines_of(three_lines) == 3
    counts = {name: lines_of(snippet) for name, snippet in KINDS.items()}
    assert min(counts.values()) >= 2
    assert max(counts.values()) <= 10


def product(extent: range) -> xr.Dataset:
    """A map of values where x is from 10 to 19, and nodata around it."""
    x = np.array(extent)
    inside = (x >= 10) & (x < 20)
    classes = xr.DataArray(np.where(inside, x, 255).astype(np.uint8), {"x": x}, ["x"])
    classes.attrs["nodata"] = 255
    height = xr.DataArray(np.where(inside, x / 10, np.nan), {"x": x}, ["x"])
    return xr.Dataset({"classes": classes, "height": height})


def test_maps_of_other_extents_are_compared_by_their_pixels() -> None:
    whole = product(range(30))
    assert are_equal(whole, product(range(5, 25)))
    for name in whole:
        other = product(range(5, 25))
        other[name][7] = 1
        assert not are_equal(whole, other)
    assert not are_equal(whole, product(range(5, 18)))  # some of the area is not there
