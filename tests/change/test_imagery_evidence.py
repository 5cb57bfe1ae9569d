"""Evidence of imagery beside the maps: what is estimated, against what it was drawn from."""

from dataclasses import dataclass

import numpy as np
import pytest

from rsscale.change.hidden_markov import Chain, best_path, marginals
from rsscale.change.imagery_evidence import (
    UNSEEN,
    Evidence,
    codes_of,
    estimate_with_evidence,
    smallest_of,
)
from rsscale.change.transition_sample import FEWEST, estimate
from rsscale.change.transitions import over_years, staying

BEGIN = staying(3, 0.95)


@dataclass(frozen=True)
class Drawn:
    """Pixels of two years: maps that are 85 percent right, and imagery that moved by a change."""

    changed: np.ndarray
    likelihood: np.ndarray
    magnitude: np.ndarray

    @classmethod
    def of(cls, pixels: int = 12_000) -> "Drawn":
        random = np.random.default_rng(8)
        before = random.integers(0, 3, pixels)
        changed = random.random(pixels) < 0.05
        after = np.where(changed, (before + random.integers(1, 3, pixels)) % 3, before)
        likelihood = []
        for truth in (before, after):
            is_wrong = random.random(pixels) < 0.15
            mapped = np.where(is_wrong, (truth + random.integers(1, 3, pixels)) % 3, truth)
            surely = np.where(np.arange(3)[:, None] == mapped, 0.85, 0.075)
            likelihood.append(surely.astype(np.float32))
        # Crops, the last class, move further from year to year than what stays the same.
        away = np.where(changed, 8.0, np.where(before == 2, 2.0, 1.0))
        magnitude = away * np.exp(0.4 * random.standard_normal(pixels))
        return cls(changed, np.stack(likelihood), magnitude.astype(np.float32))


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return Drawn.of()


def f1(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(2 * (found & wanted).sum() / (found.sum() + wanted.sum()))


def test_it_tells_errors_of_the_maps_from_change(drawn: Drawn) -> None:
    codes = codes_of(drawn.magnitude)[None]
    matrix, counts, evidence = estimate_with_evidence(drawn.likelihood, codes, [2023, 2024], BEGIN)
    first = np.full(3, 1 / 3)
    without = Chain(first, [estimate(drawn.likelihood, [2023, 2024], BEGIN)[0]])
    chain = Chain(first, [matrix], [evidence.staying(codes[0])])
    scores, doubt = [], []
    for one in (without, chain):
        path = best_path(drawn.likelihood, one)
        scores.append(f1(path[0] != path[1], drawn.changed))
        change = marginals(drawn.likelihood, one).change
        doubt.append(float(((change - drawn.changed) ** 2).mean()))
    assert scores[0] < 0.5
    assert scores[1] > 0.85
    assert doubt[1] < doubt[0] / 3
    assert counts.sum() == pytest.approx(len(drawn.changed), rel=1e-4)
    share = drawn.changed.mean()
    assert 1 - np.trace(counts) / counts.sum() == pytest.approx(share, abs=0.015)
    assert 1 - np.trace(matrix) / 3 == pytest.approx(share, abs=0.015)
    # Most of what changed lies where nearly nothing that stayed does, as it was drawn.
    far = evidence.first >= codes_of(np.full(1, 5.0, np.float32))[0]
    assert evidence.changed[far].sum() > 0.6
    assert (evidence.stayed[:, far].sum(axis=1) < 0.05).all()
    np.testing.assert_allclose(evidence.stayed.sum(axis=1), 1)
    # The same magnitude is more likely to be one of unchanged crops than of another class.
    of_two = evidence.staying(codes_of(np.full(1, 3.5, np.float32)))[:, 0]
    assert of_two[2] > 5 * of_two[0]


def test_years_apart_have_transitions_of_a_year(drawn: Drawn) -> None:
    """Then transitions are estimated by themselves, as without evidence."""
    codes = codes_of(drawn.magnitude)[None]
    years = [2020, 2022]
    matrix, counts, evidence = estimate_with_evidence(drawn.likelihood, codes, years, BEGIN)
    alone, expected = estimate(drawn.likelihood, years, BEGIN)
    np.testing.assert_array_equal(matrix, alone)
    np.testing.assert_array_equal(counts, expected)
    chain = Chain(np.full(3, 1 / 3), [over_years(matrix, 2)], [evidence.staying(codes[0])])
    path = best_path(drawn.likelihood, chain)
    assert f1(path[0] != path[1], drawn.changed) > 0.8


def test_pixels_without_a_magnitude_are_told_by_the_maps_alone(drawn: Drawn) -> None:
    magnitude = drawn.magnitude.copy()
    magnitude[::2] = np.nan
    codes = codes_of(magnitude)
    assert (codes[::2] == UNSEEN).all()
    evidence = estimate_with_evidence(drawn.likelihood, codes[None], [2023, 2024], BEGIN)[2]
    assert (evidence.staying(codes)[:, ::2] == 1).all()
    assert not (evidence.staying(codes)[:, 1::2] == 1).any()


def test_of_a_few_pixels_nothing_is_told(drawn: Drawn) -> None:
    magnitude = drawn.magnitude.copy()
    magnitude[FEWEST - 1 :] = np.nan
    codes = codes_of(magnitude)[None]
    matrix, _, evidence = estimate_with_evidence(drawn.likelihood, codes, [2023, 2024], BEGIN)
    np.testing.assert_array_equal(matrix, estimate(drawn.likelihood, [2023, 2024], BEGIN)[0])
    assert (evidence.staying(codes[0]) == 1).all()


def test_codes_keep_the_order_and_a_tenth_of_the_size() -> None:
    values = np.exp(np.linspace(-10, 10, 1000)).astype(np.float32)
    codes = codes_of(values)
    assert (np.diff(codes.astype(int)) >= 0).all()
    assert codes[0] > UNSEEN
    number = codes.astype(np.int64)
    assert (smallest_of(number, percents=False) <= values * 1.0001).all()
    assert (smallest_of(number + 1, percents=False) >= values * 0.9999).all()
    np.testing.assert_array_equal(
        codes_of(np.array([np.nan, 0, 1e30], np.float32)), [UNSEEN, 1, 255]
    )


def test_codes_of_percents_are_the_percents() -> None:
    np.testing.assert_array_equal(codes_of(np.array([0, 100, 255], np.uint8)), [1, 101, UNSEEN])
    np.testing.assert_array_equal(smallest_of(np.array([1, 101]), percents=True), [0, 100])


def test_the_same_magnitude_everywhere_says_nothing(drawn: Drawn) -> None:
    codes = codes_of(np.ones(len(drawn.changed), np.float32))[None]
    evidence = estimate_with_evidence(drawn.likelihood, codes, [2023, 2024], BEGIN)[2]
    np.testing.assert_allclose(evidence.staying(codes[0]), 1, atol=1e-3)
    np.testing.assert_array_equal(Evidence.none(2).staying(codes[0][:3]), np.ones((2, 3)))
