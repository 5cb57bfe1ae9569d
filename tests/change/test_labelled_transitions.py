"""Transitions counted from labels, against counts by hand and matrices that are known."""

import numpy as np
import pytest

from rsscale.change.labelled_transitions import count_transitions, forbidden_in, matrix_from_counts
from rsscale.change.transitions import staying

VALUES = np.array([1, 4, 9], np.uint8)
TRUE = np.array([[0.9, 0.1, 0.0], [0.05, 0.9, 0.05], [0.02, 0.0, 0.98]])


def test_each_label_is_counted_to_the_next_one_of_its_pixel() -> None:
    years = [
        (2019, np.array([[1, 1, 255, 9, 4, 7]], np.uint8)),
        (2020, np.array([[4, 255, 1, 9, 255, 7]], np.uint8)),
        (2023, np.array([[9, 4, 1, 1, 255, 1]], np.uint8)),
    ]
    counts = count_transitions(years, VALUES)
    assert {gap: found.tolist() for gap, found in counts.items()} == {
        1: [[0, 1, 0], [0, 0, 0], [0, 0, 1]],  # 1 to 4, and 9 to 9; 7 is no class
        3: [[1, 0, 0], [0, 0, 1], [1, 0, 0]],  # 1 to 1, 4 to 9, 9 to 1
        4: [[0, 1, 0], [0, 0, 0], [0, 0, 0]],  # 1 to 4, bridged over 2020
    }


def test_counts_do_not_depend_on_how_pixels_are_cut() -> None:
    random = np.random.default_rng(0)
    codes = np.array([1, 4, 9, 255], np.uint8)
    years = [(year, codes[random.integers(0, 4, (40, 40))]) for year in (2019, 2020, 2022)]
    whole = count_transitions(years, VALUES)
    halves = [count_transitions([(y, v[part]) for y, v in years], VALUES)
              for part in (np.s_[:13], np.s_[13:])]  # fmt: skip
    assert set(whole) == {1, 2, 3}
    for gap, found in whole.items():
        np.testing.assert_array_equal(found, sum(half[gap] for half in halves))


@pytest.mark.parametrize("years", [1, 2, 3])
def test_the_matrix_of_a_year_is_found_from_labels_years_apart(years: int) -> None:
    pixels = 1e6 * np.array([0.5, 0.3, 0.2])[:, None] * np.linalg.matrix_power(TRUE, years)
    counts = {years: pixels.round().astype(np.int64)}
    matrix, made = matrix_from_counts(counts, staying(3, 0.8), 1e-3)
    np.testing.assert_allclose(matrix, TRUE, atol=2e-3)
    np.testing.assert_allclose(made.sum(), years * 1e6, rtol=1e-4)  # of each year one


def test_few_labels_are_drawn_to_the_beginning() -> None:
    begin = staying(3, 0.9, [(0, 2)])
    matrix, made = matrix_from_counts(
        {1: np.array([[20, 20, 0], [0, 0, 0], [0, 0, 10**6]])}, begin, 40
    )
    np.testing.assert_allclose(matrix[0], [(20 + 36) / 80, (20 + 4) / 80, 0])
    np.testing.assert_allclose(matrix[1], begin[1])  # no label at all
    np.testing.assert_allclose(matrix[2], [0, 0, 1], atol=1e-4)
    np.testing.assert_allclose(made.sum(axis=1), [40, 0, 10**6])
    nothing, none = matrix_from_counts({}, begin, 40)
    np.testing.assert_allclose(nothing, begin)
    assert none.sum() == 0


def test_what_is_forbidden_is_not_counted_but_named() -> None:
    begin = staying(3, 0.9, [(0, 2), (0, 1)])  # the first class stays
    counts = {1: np.array([[50, 0, 7], [0, 90, 10], [0, 0, 100]]), 2: np.array([[0, 3, 0]] * 3)}
    assert forbidden_in(counts, begin) == [(0, 1, 3), (0, 2, 7)]
    matrix, _ = matrix_from_counts(counts, begin, 10)
    np.testing.assert_allclose(matrix[0], [1, 0, 0])
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    # A class of two years later, on a way that is not forbidden, is counted.
    assert forbidden_in({2: np.array([[0] * 3, [0] * 3, [0, 0, 4]])}, begin) == []
