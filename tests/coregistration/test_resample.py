"""Images moved by part of a pixel: right where all is seen, nothing where something is not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import shift as spline_shift
from two_dates import shifted, texture

from rsscale.coregistration.resample import nearest, reach_of, translate

# As they are found: to a thousandth of a pixel.
SHIFT = st.floats(-3, 3).map(lambda value: round(value, 3))


def inner(image: np.ndarray, margin: int) -> np.ndarray:
    return image[..., margin:-margin, margin:-margin]


def test_a_shift_is_taken_back() -> None:
    image = texture(0, (128, 128), sigma=2)
    for dx, dy in ((0.7, -0.3), (-3.5, 2.25), (8.0, -8.0), (0.5, 0.0)):
        back = translate(shifted(image, dx, dy), dx, dy, 12)
        error = back - inner(image, 12)
        assert np.abs(error).max() < 0.02 * np.ptp(image), (dx, dy)
        linear = spline_shift(shifted(image, dx, dy), (0, -dy, -dx), order=1, mode="grid-wrap")
        if dx % 1 or dy % 1:
            assert error.std() < 0.5 * (inner(linear, 12) - inner(image, 12)).std()


def test_whole_pixels_copy() -> None:
    image = texture(1, (40, 50)).astype(np.float32)
    np.testing.assert_array_equal(translate(image, 3, -2, 5), image[:, 3:-7, 8:-2])
    np.testing.assert_array_equal(nearest(image, 2.6, -1.5, 5), image[:, 4:-6, 8:-2])
    counts = np.arange(100, dtype=np.uint8).reshape(10, 10)
    assert nearest(counts, 0.4, 0.4, 2).dtype == np.uint8


@settings(max_examples=40)
@given(dx=st.floats(-5, 5), dy=st.floats(-5, 5), seed=st.integers(0, 999), cut=st.integers(1, 50))
def test_a_value_depends_on_its_surroundings_alone(
    dx: float, dy: float, seed: int, cut: int
) -> None:
    image = np.random.default_rng(seed).normal(size=(2, 70, 70))
    image[:, seed % 70, seed % 41] = np.nan
    margin = reach_of(dx, dy)
    whole = translate(image, dx, dy, margin)
    cut = min(cut, whole.shape[-1] - 1)
    parts = [
        translate(part, dx, dy, margin)
        for part in (image[..., : cut + 2 * margin], image[..., cut:])
    ]
    np.testing.assert_array_equal(np.concatenate(parts, axis=-1), whole)


@settings(max_examples=40)
@given(dx=SHIFT, dy=SHIFT, seed=st.integers(0, 999))
def test_nothing_is_made_up_beside_what_is_not_seen(dx: float, dy: float, seed: int) -> None:
    """Values lie between those of the four pixels around where any of the sixteen is missing."""
    rng = np.random.default_rng(seed)
    image = rng.uniform(10, 20, (1, 40, 40))
    image[:, rng.random((40, 40)) < 0.1] = np.nan
    margin = reach_of(dx, dy)
    found = translate(image, dx, dy, margin)
    assert found.dtype == np.float32
    down, right = int(np.floor(dy)), int(np.floor(dx))
    height, width = found.shape[-2:]
    four = np.stack([
        image[..., margin + down + i : margin + down + i + height,
              margin + right + j : margin + right + j + width]
        for i in ((0, 1) if dy % 1 else (0,)) for j in ((0, 1) if dx % 1 else (0,))
    ])  # fmt: skip
    missing = np.isnan(four).any(axis=0)
    np.testing.assert_array_equal(np.isnan(found), missing)
    known = found[~missing]
    assert known.min() > 5
    assert known.max() < 25


@pytest.mark.parametrize("shift", [(0.0, 0.0), (8.0, -8.0), (-7.01, 7.99)])
def test_reach_covers_what_is_read(shift: tuple[float, float]) -> None:
    margin = reach_of(*shift)
    assert margin <= 8 + 2
    image = np.zeros((1, 2 * margin + 1, 2 * margin + 1))
    assert translate(image, *shift, margin).shape == (1, 1, 1)
