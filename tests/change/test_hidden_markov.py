"""The hidden Markov model against brute force over all sequences."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsscale.change.hidden_markov import Chain, best_path, estimate_steps, marginals
from rsscale.change.temporal_layers import change_layers, change_values
from rsscale.change.transitions import matrix_of, over_years, pairs_of, shares_of, staying
from rsscale.errors import RecipeError
from rsscale.legend.classes import LandClass

CLASSES = [LandClass(k, f"class {k}", "#000000") for k in (1, 2, 3)]


def every_path(likelihood: np.ndarray, chain: Chain) -> dict[tuple[int, ...], np.ndarray]:
    """The joint probability ``(P,)`` of each sequence of classes and of what is seen."""
    times, count, _ = likelihood.shape
    found = {}
    for path in product(range(count), repeat=times):
        value = chain.first[path[0]] * likelihood[0, path[0]].astype(np.float64)
        for t in range(1, times):
            value = value * chain.steps[t - 1][path[t - 1], path[t]] * likelihood[t, path[t]]
            if chain.staying and path[t - 1] == path[t]:
                value = value * chain.staying[t - 1][path[t]]
        found[path] = value
    return found


@pytest.mark.parametrize(("times", "count"), [(2, 2), (2, 5), (4, 3), (5, 4)])
@pytest.mark.parametrize("forbidden", [False, True])
@pytest.mark.parametrize("has_evidence", [False, True])
def test_it_is_the_sum_over_all_sequences(
    times: int, count: int, forbidden: bool, has_evidence: bool
) -> None:
    random = np.random.default_rng(times * count)
    likelihood = random.random((times, count, 40)).astype(np.float32)
    steps = [random.dirichlet(np.ones(count), count) for _ in range(times - 1)]
    if forbidden:
        steps = [np.where(np.arange(count**2).reshape(count, count) == 1, 0, s) for s in steps]
        steps = [s / s.sum(axis=1, keepdims=True) for s in steps]
    staying = np.exp(2 * random.standard_normal((times - 1, count, 40))).astype(np.float32)
    chain = Chain(random.dirichlet(np.ones(count)), steps, list(staying) if has_evidence else ())
    paths = every_path(likelihood, chain)
    joint = np.stack(list(paths.values()))
    whole = joint.sum(axis=0)
    found = marginals(likelihood, chain)
    for t, k in product(range(times), range(count)):
        wanted = sum(value for path, value in paths.items() if path[t] == k) / whole
        np.testing.assert_allclose(found.classes[t, k], wanted, atol=1e-5)
    same = sum(value for path, value in paths.items() if len(set(path)) == 1) / whole
    np.testing.assert_allclose(found.change, 1 - same, atol=1e-5)
    best = np.array(list(paths))[joint.argmax(axis=0)]
    np.testing.assert_array_equal(best_path(likelihood, chain).T, best)
    if forbidden:
        steps_made = {pair for row in best for pair in pairwise(row)}
        assert (0, 1) not in steps_made


@given(st.integers(1, 60), st.integers(0, 5))
def test_a_pixel_does_not_depend_on_its_neighbours(pixels: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    likelihood = random.random((3, 4, 60)).astype(np.float32)
    chain = Chain(np.full(4, 0.25), [staying(4, 0.9)] * 2)
    whole, part = marginals(likelihood, chain), marginals(likelihood[..., :pixels], chain)
    assert np.array_equal(whole.classes[..., :pixels], part.classes)
    assert np.array_equal(whole.change[:pixels], part.change)
    paths = best_path(likelihood, chain), best_path(likelihood[..., :pixels], chain)
    assert np.array_equal(paths[0][:, :pixels], paths[1])


def test_a_year_that_was_not_seen_is_bridged() -> None:
    chain = Chain(np.full(2, 0.5), [staying(2, 0.95)] * 2)
    likelihood = np.float32([[[0.9], [0.1]], [[1.0], [1.0]], [[0.9], [0.1]]])
    assert best_path(likelihood, chain).ravel().tolist() == [0, 0, 0]
    assert marginals(likelihood, chain).classes[1, 0, 0] > 0.9


@pytest.mark.parametrize("seen", ["1101", "0110", "0101", "1011", "1100"])
@pytest.mark.parametrize("has_evidence", [False, True])
def test_years_that_were_not_seen_change_nothing(seen: str, has_evidence: bool) -> None:
    """The probability of a change from the first to the last year that was seen, by brute force."""
    random = np.random.default_rng(3)
    there = np.array([c == "1" for c in seen])
    likelihood = random.random((4, 3, 30)).astype(np.float32)
    likelihood[~there] = 1.0
    steps = [random.dirichlet(np.ones(3), 3) for _ in range(3)]
    # Of later years, too, when no map was seen: it tells of the class that there was.
    staying = np.exp(2 * random.standard_normal((3, 3, 30))).astype(np.float32)
    chain = Chain(np.full(3, 1 / 3), steps, list(staying) if has_evidence else ())
    first, last = np.flatnonzero(there)[[0, -1]]
    paths = every_path(likelihood, chain)
    whole = sum(paths.values())
    same = sum(v for path, v in paths.items() if len(set(path[first : last + 1])) == 1)
    mask = np.repeat(there[:, None], 30, axis=1)
    found = marginals(likelihood, chain, mask)
    np.testing.assert_allclose(found.change, 1 - same / whole, atol=1e-5)
    values = change_values(
        best_path(likelihood, chain), mask, found.change, CLASSES, (2019, 2020, 2021, 2022)
    )
    years = np.array([0, 2019, 2020, 2021, 2022])[np.r_[True, there]]
    assert set(np.unique(values["change_year"])) <= set(years)
    beyond = np.zeros((4, 30), np.uint8)
    beyond[last + 1 :] = 1  # a class that was only imagined
    beyond[:first] = 2
    assert not change_values(beyond, mask, found.change, CLASSES, (1, 2, 3, 4))["change"].any()


def test_a_doubtful_difference_is_no_change_and_a_clear_one_is() -> None:
    chain = Chain(np.full(2, 0.5), [staying(2, 0.97)])
    doubtful, clear = ([[0.6, 0.999], [0.4, 0.001]], [[0.4, 0.001], [0.6, 0.999]])
    likelihood = np.float32([doubtful, clear])  # (T, K, P): two pixels
    assert best_path(likelihood, chain).T.tolist() == [[0, 0], [0, 1]]
    change = marginals(likelihood, chain).change
    assert change[0] < 0.1
    assert change[1] > 0.9


def test_equal_sequences_are_told_without_a_change() -> None:
    chain = Chain(np.full(3, 1 / 3), [np.full((3, 3), 1 / 3)] * 2)
    assert best_path(np.ones((3, 3, 2), np.float32), chain).tolist() == [[0, 0]] * 3


def test_transitions_are_estimated_from_a_sample() -> None:
    random = np.random.default_rng(0)
    true = np.array([[0.9, 0.1, 0.0], [0.02, 0.95, 0.03], [0.2, 0.0, 0.8]])
    states = np.empty((4, 20_000), int)
    states[0] = random.integers(3, size=20_000)
    for t in range(1, 4):
        drawn = random.random(20_000)[:, None]
        states[t] = (true[states[t - 1]].cumsum(axis=1) < drawn).sum(axis=1)
    # What a calibrated model says: right nine times of ten, and it knows that.
    wrong = (states + random.integers(1, 3, states.shape)) % 3
    said = np.where(random.random(states.shape) < 0.9, states, wrong)
    likelihood = np.where(np.arange(3)[None, :, None] == said[:, None], 0.9, 0.05)
    begin = staying(3, 0.8, [(0, 2), (2, 1)])
    chain = Chain(np.full(3, 1 / 3), [begin] * 3)
    estimated = estimate_steps(likelihood.astype(np.float32), chain)
    found = estimated.matrix
    np.testing.assert_allclose(found, true, atol=0.02)
    assert found[0, 2] == found[2, 1] == 0.0
    np.testing.assert_allclose(estimated.first, np.bincount(states[0]) / 20_000, atol=0.02)
    made = np.zeros((3, 3))
    np.add.at(made, (states[:-1].ravel(), states[1:].ravel()), 1)
    np.testing.assert_allclose(estimated.pairs, made, atol=0.02 * 60_000)
    assert estimated.pairs.sum() == pytest.approx(60_000, rel=1e-4)


def test_a_class_stays_or_becomes_what_is_not_forbidden() -> None:
    matrix = staying(4, 0.9, [(0, 1), (3, 0), (3, 1), (3, 2)])
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    assert matrix[0].tolist() == pytest.approx([0.9, 0, 0.05, 0.05])
    assert matrix[3].tolist() == [0, 0, 0, 1]
    np.testing.assert_allclose(over_years(matrix, 3), matrix @ matrix @ matrix)


NAMES = ("water", "wood")


def test_what_a_user_says_is_read() -> None:
    rows = {"water": {"water": 0.99, "wood": 0.01}, "wood": {"wood": 1}}
    assert matrix_of(rows, NAMES).tolist() == [[0.99, 0.01], [0, 1]]
    assert pairs_of([("wood", "water")], NAMES) == [(1, 0)]
    assert shares_of({"water": 1, "wood": 3}, NAMES).tolist() == [0.25, 0.75]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"water": {"water": 1}}, "no row for 'wood'"),
        ({"watr": {"water": 1}}, "'watr', which is no class.*did you mean 'water'"),
        ({"water": {"water": 1}, "wood": {"wod": 1}}, r"transitions\.wood names 'wod'"),
        ({"water": {"water": 0.9}, "wood": {"wood": 1}}, "sums to 0.9"),
        ({"water": {"water": 1.5}, "wood": {"wood": 1}}, "is 1.5; expected a probability"),
    ],
)
def test_what_is_no_matrix_is_refused(rows: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        matrix_of(rows, NAMES)
    with pytest.raises(RecipeError, match="may stay what it is"):
        pairs_of([("wood", "wood")], NAMES)
    with pytest.raises(RecipeError, match="prior gives 'wood' nothing"):
        shares_of({"water": 1}, NAMES)


def test_years_of_change_have_colours_from_light_to_dark() -> None:
    classes = (LandClass(1, "water", "#2b83ba"), LandClass(2, "built", "#d7191c"))
    one, four = (
        next(layer for layer in change_layers(classes, years) if layer.name == "change_year")
        for years in ([2020, 2021], [2020, 2021, 2022, 2023, 2024])
    )
    assert one.attributes["flag_colors"] == "#e4e4e0 #d7301f"
    unchanged, *colors = four.attributes["flag_colors"].split()
    assert unchanged == "#e4e4e0"
    assert len(set(colors)) == 4
    light = [sum(int(color[k : k + 2], 16) for k in (1, 3, 5)) for color in colors]
    assert light == sorted(light, reverse=True)
