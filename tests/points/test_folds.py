"""Folds and validation take whole groups."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsscale.errors import RecipeError
from rsscale.points.folds import folds_of, kept_back


@given(st.lists(st.integers(0, 12), min_size=30, max_size=80), st.integers(2, 4), st.integers(0, 9))
def test_groups_are_never_parted(groups: list[int], count: int, seed: int) -> None:
    array = np.array([*groups, 0, 1, 2, 3])
    fold = folds_of(array, count, seed)
    assert set(fold) == set(range(count))
    assert all(len(set(fold[array == g])) == 1 for g in set(array.tolist()))
    targets = np.arange(len(array)) % 2
    back = kept_back(array, targets, 0.2, seed)
    assert all(len(set(back[array == g])) == 1 for g in set(array.tolist()))
    assert set(targets[~back]) == {0, 1}


def test_folds_are_about_equal() -> None:
    groups = np.repeat(np.arange(20), np.arange(1, 21))
    sizes = np.bincount(folds_of(groups, 5, 0))
    assert sizes.max() - sizes.min() <= 2


def test_more_folds_than_groups_are_refused() -> None:
    with pytest.raises(RecipeError, match="5 folds of 3 groups"):
        folds_of(np.array([1, 2, 3, 3]), 5, 0)


def test_about_the_share_is_kept_back() -> None:
    groups = np.arange(300) // 3
    back = kept_back(groups, np.zeros(300, np.int64), 0.2, 0)
    assert 55 <= back.sum() <= 65
    assert not kept_back(groups, np.zeros(300, np.int64), 0.0, 0).any()


def test_a_group_with_all_of_a_class_is_trained_on() -> None:
    groups = np.arange(60) // 6
    targets = (groups == 4).astype(np.int64)
    for seed in range(8):
        assert not kept_back(groups, targets, 0.5, seed)[groups == 4].any()
