"""Folds and validation take whole groups."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsscale.errors import RecipeError
from rsscale.training.split import Split, SplitPlan, fold_splits, hold_out


def one_hot(targets: np.ndarray) -> np.ndarray:
    return np.eye(int(targets.max()) + 1, dtype=np.int64)[targets]


@given(st.lists(st.integers(0, 12), min_size=30, max_size=80), st.integers(2, 4), st.integers(0, 9))
def test_groups_are_never_parted(groups: list[int], count: int, seed: int) -> None:
    array = np.array([*groups, 0, 1, 2, 3])
    targets = np.arange(len(array)) % 2
    plan = SplitPlan(0.2, 0.2, count, seed)
    splits = fold_splits(array, one_hot(targets), plan)
    assert sorted(g for s in splits for g in s.test) == np.unique(array).tolist()
    for split in [*splits, hold_out(array, one_hot(targets), plan)]:
        every = [*split.training, *split.validation, *split.test]
        assert sorted(every) == np.unique(array).tolist()
    assert set(targets[np.isin(array, split.training)]) == {0, 1}


def test_folds_are_about_equal() -> None:
    groups = np.repeat(np.arange(20), np.arange(1, 21))
    counts = np.ones((len(groups), 1), np.int64)
    splits = fold_splits(groups, counts, SplitPlan(folds=5))
    sizes = [int(np.isin(groups, split.test).sum()) for split in splits]
    assert max(sizes) - min(sizes) <= 2


def test_classes_are_spread_over_folds() -> None:
    """Polygons of one class each: every fold has some of each that has enough of them."""
    targets = np.repeat([0, 1, 2], [24, 4, 8])
    counts = one_hot(targets) * np.random.default_rng(0).integers(5, 15, 36)[:, None]
    for seed in range(20):
        splits = fold_splits(np.arange(36), counts, SplitPlan(folds=4, seed=seed))
        for split in splits:
            assert (counts[split.test].sum(axis=0) > 0).all()
            assert 0.15 < counts[split.test, 0].sum() / counts[:, 0].sum() < 0.35


def test_validation_leaves_half_of_each_class_to_learn_from() -> None:
    """Of few polygons of a class one may hold nearly all of it."""
    targets = np.array([0] * 4 + [1] * 6 + [2] * 8)
    sizes = np.array([36, 1, 1, 1, *[12] * 6, *[20] * 8])
    counts = one_hot(targets) * sizes[:, None]
    for seed in range(50):
        split = hold_out(np.arange(18), counts, SplitPlan(test=0.0, validation=0.2, seed=seed))
        assert len(split.validation)
        assert (2 * counts[split.training].sum(axis=0) >= counts.sum(axis=0)).all()


def test_a_group_with_most_of_a_class_is_held_out_where_there_is_no_other() -> None:
    counts = one_hot(np.array([0, 0, 1, 1])) * np.array([60, 40, 60, 40])[:, None]
    assert len(hold_out(np.arange(4), counts, SplitPlan(test=0.25, validation=0)).test)
    each = np.array([[6, 4], [1, 1], [4, 6]])
    assert len(hold_out(np.arange(3), each, SplitPlan(test=0.4, validation=0)).test)


def test_a_class_of_one_group_is_never_tested() -> None:
    targets = np.array([0, 1, 0, 1, 0, 1, 0, 1, 2])
    splits = fold_splits(np.arange(9), one_hot(targets), SplitPlan(folds=4, validation=0.2))
    assert sorted(g for s in splits for g in s.test) == list(range(8))
    assert all(8 in split.training for split in splits)
    with pytest.raises(RecipeError, match="9 groups of samples, of which 1 hold all of a class"):
        fold_splits(np.arange(9), one_hot(targets), SplitPlan(folds=9))


def test_more_folds_than_groups_are_refused() -> None:
    with pytest.raises(RecipeError, match="5 folds of 3 groups"):
        fold_splits(np.array([1, 2, 3, 3]), np.ones((4, 1), np.int64), SplitPlan(folds=5))


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_about_the_share_is_kept_back(share: float) -> None:
    groups = np.arange(300) // 3
    counts = np.ones((300, 1), np.int64)
    split = hold_out(groups, counts, SplitPlan(0.2, share))
    assert 0.9 * share * 100 <= len(split.test) <= 1.1 * share * 100
    assert 18 <= len(split.validation) <= 22
    assert not set(split.test) & set(split.validation)
    nothing = hold_out(groups, counts, SplitPlan(0.0, 0.0))
    assert len(nothing.training) == 100


def test_of_few_groups_the_test_comes_first() -> None:
    counts = np.ones((4, 1), np.int64)
    sizes = [
        tuple(map(len, (s.training, s.validation, s.test)))
        for n in (2, 3, 4)
        for s in [hold_out(np.arange(n), counts[:n], SplitPlan())]
    ]
    assert sizes == [(2, 0, 0), (2, 0, 1), (2, 1, 1)]


def test_a_group_with_all_of_a_class_is_trained_on() -> None:
    groups = np.arange(60) // 6
    targets = (groups == 4).astype(np.int64)
    for seed in range(8):
        split = hold_out(groups, one_hot(targets), SplitPlan(0.3, 0.3, seed=seed))
        assert 4 in split.training


def test_the_one_large_group_is_trained_on() -> None:
    """Whichever is drawn first: a test of nearly all would leave nearly nothing to learn from."""
    counts = np.array([[500, 500], *[[5, 5]] * 20])
    for seed in range(100):
        split = hold_out(np.arange(21), counts, SplitPlan(seed=seed))
        assert 0 in split.training
        assert len(split.test) > 0
    alike = np.full((4, 2), 50)
    assert len(hold_out(np.arange(4), alike, SplitPlan(0.1, 0.1)).test) == 1


def test_a_group_without_labels_is_not_drawn() -> None:
    counts = np.ones((9, 1), np.int64)
    counts[3:] = 0
    split = hold_out(np.arange(9), counts, SplitPlan())
    assert split.test.tolist() in ([0], [1], [2])
    assert split.role_of(int(split.test[0])) == "test"
    assert split.role_of(5) == "training"


def test_shares_that_leave_nothing_are_refused() -> None:
    for shares in ((0.5, 0.5), (1.0, 0.0), (-0.1, 0.2)):
        with pytest.raises(RecipeError, match="leave some to train on"):
            SplitPlan(*shares)
    assert Split(np.array([1]), np.array([2]), np.array([3])).role_of(2) == "validation"
