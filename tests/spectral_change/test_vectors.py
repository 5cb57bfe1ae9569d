"""Change vectors, angles and distances against their formulas."""

import numpy as np
import pytest

from rsscale.errors import BandError
from rsscale.spectral_change.vectors import (
    BandScales,
    change_magnitude,
    embedding_distance,
    shares_bands,
    spectral_angle,
)


def pair(pixels: int = 900) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    before = random.gamma(3, 20, (4, pixels)).astype(np.float32)
    return before, (before * 1.5 + random.normal(0, 4, before.shape) + 9).astype(np.float32)


def test_lengths_angles_and_distances() -> None:
    before, after = (date.astype(np.float64) for date in pair())
    np.testing.assert_allclose(
        change_magnitude(before, after), np.linalg.norm(after - before, axis=0)
    )
    cosine = (
        (before * after).sum(0) / np.linalg.norm(before, axis=0) / np.linalg.norm(after, axis=0)
    )
    np.testing.assert_allclose(spectral_angle(before, after), np.degrees(np.arccos(cosine)))
    np.testing.assert_allclose(embedding_distance(before, after), 1 - cosine, atol=1e-12)
    assert spectral_angle(np.array([1.0, 0.0]), np.array([0.0, 2.0])) == pytest.approx(90)
    assert embedding_distance(np.array([1.0, 0.0]), np.array([-3.0, 0.0])) == pytest.approx(2)
    assert embedding_distance(np.array([1.0, 2.0]), np.array([3.0, 6.0])) == pytest.approx(0)


def test_what_has_no_direction_has_no_angle() -> None:
    zero = np.zeros((3, 2))
    assert np.isnan(spectral_angle(zero, zero + 1)).all()
    assert np.isnan(embedding_distance(zero + 1, zero)).all()


def test_scales_cancel_gain_and_offset() -> None:
    before, after = pair()
    found = change_magnitude(before, after, BandScales.of(before, after))
    other = (after - 40) * np.array([[2], [0.1], [30], [1]], np.float32)
    again = change_magnitude(before, other, BandScales.of(before, other))
    np.testing.assert_allclose(found, again, rtol=1e-3, atol=1e-4)
    assert np.median(found) < 1


def test_a_constant_band_does_not_count() -> None:
    before, after = pair()
    wanted = change_magnitude(before, after, BandScales.of(before, after))
    flat = np.full((1, before.shape[1]), 1234.5, np.float32)
    more = [np.concatenate([date, flat]) for date in (before, after)]
    found = change_magnitude(*more, BandScales.of(*more))
    np.testing.assert_array_equal(found, wanted)


def test_digital_numbers_with_one_value_for_most_pixels_have_a_spread() -> None:
    dark = np.zeros((1, 400), np.float32)
    dark[0, :60] = np.arange(60)
    scales = BandScales.of(dark, dark)
    assert scales.before_spread[0] == pytest.approx(dark.std())


@pytest.mark.parametrize("measure", [change_magnitude, spectral_angle, embedding_distance])
def test_a_pixel_has_the_same_value_in_any_array(measure: object) -> None:
    before, after = pair()
    whole = measure(before, after)  # type: ignore[operator]
    for part in (slice(0, 1), slice(7, 400), slice(13, 20)):
        np.testing.assert_array_equal(whole[part], measure(before[:, part], after[:, part]))  # type: ignore[operator]
    image = measure(before.reshape(4, 30, 30), after.reshape(4, 30, 30))  # type: ignore[operator]
    np.testing.assert_array_equal(image.ravel(), whole)


def test_scales_of_too_little_are_refused() -> None:
    before, after = pair()
    with pytest.raises(BandError, match=r"0 pixels have values at both dates; scales .* 100"):
        BandScales.of(before[:, :0], after[:, :0])
    with pytest.raises(BandError, match="all of the 4 bands are constant at one of the dates"):
        BandScales.of(before, 0 * after + 3)


def test_bands_that_one_date_lacks_are_left_out_of_the_length() -> None:
    """The others make it as long as all of them would: no pixel moves further for being unseen."""
    random = np.random.default_rng(3)
    before = random.normal(0, 1, (18, 4000))
    after = before + random.normal(0, 0.2, before.shape)
    whole = change_magnitude(before, after)
    before[:6, :1000], after[6:12, 1000:2000], after[:, 2000:2010] = np.nan, np.nan, np.nan
    partly = change_magnitude(before, after)
    wanted = np.sqrt(1.5) * np.linalg.norm((after - before)[6:, :1000], axis=0)
    np.testing.assert_allclose(partly[:1000], wanted)
    np.testing.assert_array_equal(partly[2010:], whole[2010:])
    assert np.isnan(partly[2000:2010]).all()
    for part in (slice(0, 1000), slice(1000, 2000)):
        assert np.mean(partly[part] ** 2) == pytest.approx(np.mean(whole**2), rel=0.02)
    for least, seen in ((1.0, 1990), (0.5, 3990), (2 / 3, 3990), (0.67, 1990)):
        assert shares_bands(before, after, least).sum() == seen


def test_scales_are_of_the_pixels_that_have_a_band() -> None:
    before, after = pair()
    whole = BandScales.of(before, after)
    before[2, :300] = np.nan
    after[1, 50:] = np.nan
    partly = BandScales.of(before, after)
    other = BandScales.of(before[2:3, 300:], after[2:3, 300:])
    assert partly.before_centre[2] == other.before_centre[0]
    assert partly.after_spread[2] == other.after_spread[0]
    assert partly.before_spread[3] == whole.before_spread[3]
    assert partly.varies.tolist() == [True, False, True, True]
