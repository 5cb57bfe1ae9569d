"""Sizes and allocations, against published figures and formulas."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsscale.errors import RecipeError
from rsscale.sample_passes.sample_options import SampleOptions
from rsscale.sample_passes.sample_size import (
    Expectation,
    allocate,
    needed_size,
    share_out,
)

SHARED = Path(__file__).resolve().parents[3] / "shared/data/accuracy-examples.json"
NAMES = ("deforestation", "forest gain", "stable forest", "stable non-forest")
# Olofsson et al. (2014), section 5.1: areas of the map, and expected user's accuracies.
PIXELS = np.array([200_000, 150_000, 3_200_000, 6_450_000])
USERS = np.array([0.70, 0.60, 0.90, 0.95])
HECTARES = 9_000_000 * 0.1


def expectation(users: np.ndarray = USERS, pixels: np.ndarray = PIXELS) -> Expectation:
    others = np.ones((len(users), len(users))) - np.eye(len(users))
    shares = np.diag(users) + (1 - users)[:, None] * others / max(len(users) - 1, 1)
    return Expectation(pixels, HECTARES, users, shares, NAMES[: len(users)])


def options(**given: object) -> SampleOptions:
    return SampleOptions(**given)


def test_the_size_of_olofsson_2014_is_641() -> None:
    assert needed_size(expectation(), options(standard_error=0.01)) == 641
    assert needed_size(expectation(), options()) == 641
    assert needed_size(expectation(), options(size=500)) == 500


def test_the_allocations_of_olofsson_2014() -> None:
    expected = expectation()
    plain = options()
    assert allocate(expected, 641, "proportional", plain).tolist() == [13, 10, 205, 413]
    assert sorted(allocate(expected, 641, "equal", plain).tolist()) == [160, 160, 160, 161]
    for minimum in (50, 75, 100):
        # So many for each class of change, and the rest by area.
        found = allocate(expected, 641, "olofsson", options(minimum=minimum)).tolist()
        rest = 641 - 2 * minimum
        forest = rest * 0.320 / (0.320 + 0.645)
        assert found[:2] == [minimum, minimum]
        assert found[2] == pytest.approx(forest, abs=0.5)
        assert sum(found) == 641
    # Half of the units, at most, go into minimums.
    assert allocate(expected, 641, "olofsson", options(minimum=600)).tolist()[:2] == [80, 80]


def test_neyman_is_proportional_to_area_and_deviation() -> None:
    deviation = np.sqrt(USERS * (1 - USERS))
    wanted = 641 * PIXELS * deviation / (PIXELS @ deviation)
    found = allocate(expectation(), 641, "neyman", options(allocation="neyman"))
    assert found == pytest.approx(wanted, abs=1)
    assert found.sum() == 641


def test_cochran_gives_the_size_of_a_simple_sample() -> None:
    expected = expectation(np.array([0.9]), np.array([5000]))
    # n0 = p q / S², n = n0 / (1 + n0 / N) (Cochran 1977, equations 4.1 and 4.2).
    first = 0.9 * 0.1 / 0.02**2
    found = needed_size(expected, options(design="simple", standard_error=0.02))
    assert found == math.ceil(first / (1 + first / 5000))


@pytest.mark.skipif(not SHARED.exists(), reason="needs the published examples")
def test_expected_errors_are_those_of_the_published_sample() -> None:
    example = json.loads(SHARED.read_text())["olofsson2014"]
    matrix = np.array(example["matrix"], float)
    units = matrix.sum(axis=1)
    mapped = np.array(example["mapped_pixels"])
    hectares = mapped.sum() * example["pixel_m"] ** 2 / 10_000
    shares = matrix / units[:, None]
    expected = Expectation(mapped, hectares, np.diag(shares), shares, NAMES)
    # The estimator divides by n - 1, the expectation by n.
    sizes = (units - 1).astype(np.int64)
    assert 1.96 * expected.overall_error(sizes) == pytest.approx(
        example["overall_halfwidth"], abs=5e-5
    )
    for number, half in enumerate(example["area_halfwidth_ha"]):
        assert 1.96 * expected.area_error(number, sizes) == pytest.approx(half, rel=1e-3)


def test_the_size_for_an_areas_error_is_the_smallest_that_gives_it() -> None:
    expected = expectation()
    for allocation in ("proportional", "equal", "neyman"):
        asked = options(area_standard_errors={"deforestation": 6000}, allocation=allocation)
        size = needed_size(expected, asked)
        errors = [
            expected.area_error(0, allocate(expected, size + more, allocation, asked))
            for more in (0, -3)
        ]
        assert errors[0] <= 6000 < errors[1]


def test_the_larger_of_two_targets_decides() -> None:
    asked = options(standard_error=0.01, area_standard_errors={"deforestation": 1e6})
    assert needed_size(expectation(), asked) == 641


def test_neyman_for_a_class_has_the_least_error_of_its_area() -> None:
    expected = expectation()
    best = options(allocation="neyman", optimal_for="forest gain")
    number = NAMES.index("forest gain")
    error = expected.area_error(number, allocate(expected, 641, "neyman", best))
    for how in ("proportional", "equal", "olofsson"):
        assert error < expected.area_error(number, allocate(expected, 641, how, best))
    plain = options(allocation="neyman")
    assert error < expected.area_error(number, allocate(expected, 641, "neyman", plain))


def test_a_class_that_is_not_there_is_named() -> None:
    for asked, said in (
        (options(area_standard_errors={"forest": 10}), "names the class 'forest'; the population"),
        (options(allocation="neyman", optimal_for="stable forst"), "did you mean 'stable forest'"),
    ):
        with pytest.raises(RecipeError, match=said):
            allocate(expectation(), needed_size(expectation(), asked), asked.allocation, asked)


def test_a_target_that_no_sample_meets_is_refused() -> None:
    expected = expectation(pixels=np.array([20, 30, 40, 50]))
    small = options(area_standard_errors={"deforestation": 1e-9}, allocation="equal")
    # All pixels of these strata are few enough to be interpreted: no error is left.
    assert needed_size(expected, small) == 140
    with pytest.raises(RecipeError, match="need more than 10,000,000 units; ask for less"):
        needed_size(expectation(pixels=PIXELS * 100), small)


@given(
    st.integers(1, 3000),
    st.lists(
        st.tuples(
            st.one_of(st.just(0.0), st.floats(1e-6, 10)), st.integers(0, 9), st.integers(0, 500)
        ),
        min_size=1,
    ),
)
def test_shares_keep_their_bounds_and_their_sum(
    size: int, strata: list[tuple[float, int, int]]
) -> None:
    weights = np.array([weight for weight, _, _ in strata])
    least = np.array([low for _, low, _ in strata])
    most = least + np.array([more for _, _, more in strata])
    found = share_out(size, weights, least, most)
    assert (found >= least).all()
    assert (found <= most).all()
    assert (found == least)[weights == 0].all()
    if weights.all() and least.sum() <= size <= most.sum():
        assert found.sum() == size
