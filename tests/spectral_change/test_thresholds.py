"""Thresholds against plain loops over every cut, and histograms that add up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsscale.errors import BandError
from rsscale.spectral_change.histogram import Histogram, bin_of, lower_edge
from rsscale.spectral_change.thresholds import (
    Groups,
    cut_at,
    find_threshold,
    stable_threshold,
)


def magnitudes(changed: int = 2000, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    found = [random.normal(2, 0.4, 20_000), random.normal(6, 1.5, changed)]
    return np.abs(np.concatenate(found)).astype(np.float32)


def between(values: np.ndarray, threshold: float) -> float:
    """Variance between the sides of a threshold, from the values themselves."""
    low, high = values[values < threshold], values[values >= threshold]
    if not len(low) or not len(high):
        return 0.0
    return len(low) * len(high) / len(values) ** 2 * float(high.mean() - low.mean()) ** 2


def error(values: np.ndarray, threshold: float) -> float:
    """Kittler and Illingworth's criterion, from the values themselves."""
    sides = [values[values < threshold], values[values >= threshold]]
    if min(map(len, sides)) < 3:
        return np.inf
    shares = [len(side) / len(values) for side in sides]
    deviations = [side.astype(float).std() for side in sides]
    return 1 + 2 * sum(p * (np.log(s) - np.log(p)) for p, s in zip(shares, deviations, strict=True))


@pytest.mark.parametrize("changed", [200, 2000, 8000])
def test_thresholds_are_those_of_all_cuts(changed: int) -> None:
    values = magnitudes(changed)
    histogram = Histogram.of(values)
    cuts = lower_edge(np.arange(histogram.bins[0] + 1, histogram.bins[-1] + 1))
    by_variance = [between(values, cut) for cut in cuts]
    by_error = [error(values, cut) for cut in cuts]
    otsu = find_threshold(histogram, "otsu")
    assert between(values, otsu.threshold) >= max(by_variance) * 0.9999
    assert abs(otsu.threshold - cuts[np.argmax(by_variance)]) < 0.05
    least = find_threshold(histogram, "kittler-illingworth")
    assert error(values, least.threshold) <= min(by_error) + 1e-4
    low, high = values[values < least.threshold], values[values >= least.threshold]
    assert least.share == len(high) / len(values)
    np.testing.assert_allclose(least.means, (low.mean(), high.mean()), rtol=1e-3)
    np.testing.assert_allclose(least.deviations, (low.std(), high.std()), rtol=1e-2)


def test_few_changes_are_found_by_the_least_error() -> None:
    """Half a percent changed: Otsu splits the unchanged, or is far off."""
    values = magnitudes(100)
    assert 3 < find_threshold(Histogram.of(values), "kittler-illingworth").threshold < 4.5


def test_one_heap_that_is_split_is_told() -> None:
    random = np.random.default_rng(0)
    alone = np.abs(random.normal(5, 1, 20_000))
    otsu = find_threshold(Histogram.of(alone), "otsu")
    assert otsu.cuts_through
    assert "1.3 standard deviations above the mean" in otsu.doubt
    for rule in ("otsu", "kittler-illingworth"):
        assert not find_threshold(Histogram.of(magnitudes()), rule).cuts_through
    assert find_threshold(Histogram.of(alone), "kittler-illingworth").share < 0.01


def test_the_posterior_rises_and_is_even_at_the_threshold() -> None:
    groups = find_threshold(Histogram.of(magnitudes()), "kittler-illingworth")
    line = groups.probability(np.linspace(0, 30, 1000))
    assert (np.diff(line) >= 0).all()
    assert line[0] < 0.01 < 0.99 < line[-1]
    assert groups.probability(np.array([groups.threshold]))[0] == pytest.approx(0.5, abs=0.05)


@given(
    st.lists(st.floats(0, 2.0**100, width=32), min_size=1, max_size=60),
    st.integers(1, 7),
)
def test_counts_of_parts_add_up(values: list[float], parts: int) -> None:
    every = np.array(values, np.float32)
    whole = Histogram.of(every)
    pieces = [Histogram.of(piece) for piece in np.array_split(every, parts)]
    order = pieces[::-1]
    added = Histogram.added(
        np.concatenate([one.bins for one in order]), np.concatenate([one.counts for one in order])
    )
    np.testing.assert_array_equal(added.bins, whole.bins)
    np.testing.assert_array_equal(added.counts, whole.counts)
    bins = bin_of(every).astype(np.int64)
    assert (lower_edge(bins) <= every).all()
    assert (lower_edge(bins + 1) > every).all()
    wide = lower_edge(bins + 1) - lower_edge(bins)
    assert (wide <= np.maximum(every / 256, 1e-38) * 1.001).all()


@given(st.floats(0.005, 0.5))
def test_no_more_stable_pixels_are_called_changed_than_may_be(rate: float) -> None:
    values = magnitudes(0, seed=4)[:5000]
    threshold = stable_threshold(Histogram.of(values), rate)
    beyond = (values > threshold).mean()
    assert beyond <= rate
    assert beyond > rate - 0.02


def test_a_given_threshold_has_groups_too() -> None:
    histogram = Histogram.of(magnitudes())
    groups = cut_at(histogram, 4.0)
    assert groups.threshold == 4.0
    assert groups.share == pytest.approx((magnitudes() >= 4).mean(), abs=2e-3)
    beyond = cut_at(histogram, 1e6)
    assert beyond.threshold == 1e6
    assert 0 < beyond.share < 1e-3
    assert isinstance(cut_at(histogram, 0.0), Groups)


def test_what_has_no_threshold_is_refused() -> None:
    with pytest.raises(BandError, match="99 pixels have values at both dates; a threshold needs"):
        find_threshold(Histogram.of(np.arange(99)), "otsu")
    with pytest.raises(BandError, match=r"200 pixels moved by .* look whether both are the same"):
        find_threshold(Histogram.of(np.zeros(200)), "otsu")
    with pytest.raises(BandError, match=r"40 stable pixels .* 0.01 needs 100 or more; mark more"):
        stable_threshold(Histogram.of(np.ones(40)), 0.01)
