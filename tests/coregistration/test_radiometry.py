"""Gain and offset between two dates: those of the ground that did not change."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsscale.coregistration.radiometry import FEWEST, relative_radiometry
from rsscale.errors import RsscaleError


def dates(seed: int, share: float, count: int = 4000) -> tuple[np.ndarray, ...]:
    """Both dates ``(pixel, band)``, gain and offset between them, and which pixels changed."""
    rng = np.random.default_rng(seed)
    bands = 4
    ground = 100 + rng.normal(0, 30, (count, 1)) + rng.normal(0, 10, (count, bands))
    gain, offset = rng.uniform(0.4, 2.5, bands), rng.uniform(-20, 20, bands)
    changed = rng.random(count) < share
    later = np.where(changed[:, None], rng.uniform(30, 250, (count, bands)), ground)
    before = ground + rng.normal(0, 1.5, ground.shape)
    after = (later + rng.normal(0, 1.5, ground.shape) - offset) / gain
    return before, after, gain, offset, changed


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.0, 0.1, 0.2, 0.3]))
def test_gain_and_offset_are_found_through_change(seed: int, share: float) -> None:
    before, after, gain, offset, changed = dates(seed, share)
    found = relative_radiometry(before, after)
    np.testing.assert_allclose(found.gain, gain, rtol=0.015)
    fitted = found.gain * after + found.offset
    wanted = gain * after + offset
    assert np.abs((fitted - wanted)[~changed]).max() < 2.0  # of a spread of 30
    assert found.correlation.min() > 0.99


def test_least_squares_over_all_pixels_would_not() -> None:
    """What the weights are for: an ordinary fit of the same pixels is far off."""
    before, after, gain, _, _ = dates(1, 0.2)
    plain = np.array([np.polyfit(after[:, b], before[:, b], 1)[0] for b in range(4)])
    assert np.abs(plain / gain - 1).min() > 0.05


def test_units_do_not_matter() -> None:
    before, after, *_ = dates(2, 0.2)
    one = relative_radiometry(before, after)
    other = relative_radiometry(before, after / 10_000)
    np.testing.assert_allclose(other.gain / 10_000, one.gain, rtol=1e-6)
    np.testing.assert_allclose(other.offset, one.offset, rtol=1e-4)


def test_values_become_those_of_the_first_date() -> None:
    before, after, *_ = dates(3, 0.0)
    found = relative_radiometry(before, after)
    image = after.T.reshape(4, 40, 100)
    normalised = found.apply(image)
    assert normalised.dtype == np.float32
    assert np.abs(normalised.reshape(4, -1).T - before).std() < 2.5
    missing = np.where(np.arange(100) < 3, np.nan, image)
    np.testing.assert_array_equal(np.isnan(found.apply(missing)), np.isnan(missing))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b, a: (b[: FEWEST - 1], a[: FEWEST - 1]), "only 99 pixels are seen at both dates"),
        (lambda b, a: (b, np.ones_like(a)), "band 0 has one value only"),
        (lambda b, a: (b, a[::-1]), "band 0 of the two dates is hardly related"),
        (lambda b, a: (b, 300 - a), "band 0 of the two dates is hardly related"),
        (lambda b, a: (b, a[:, :2]), r"expected two of \(pixel, band\)"),
    ],
)
def test_what_is_not_related_is_refused(change, message: str) -> None:
    before, after, *_ = dates(4, 0.1)
    with pytest.raises(RsscaleError, match=message):
        relative_radiometry(*change(before, after))
