"""Part samples into training, validation and test by whole groups, which are places."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rsscale.errors import RecipeError

Ids = npt.NDArray[np.int64]
_KEPT = 0.5  # of the pixels of each class, for the training


@dataclass(frozen=True, eq=False)
class Split:
    """Groups by what their samples are for.

    Attributes
    ----------
    training, validation, test : int64 arrays
        Ids of groups. Validation chooses the weights, the test measures what was chosen.
    """

    training: Ids
    validation: Ids
    test: Ids

    def role_of(self, group: int) -> str:
        """``"training"``, ``"validation"`` or ``"test"``."""
        for role in ("validation", "test"):
            if group in getattr(self, role):
                return role
        return "training"


@dataclass(frozen=True)
class SplitPlan:
    """How samples are parted.

    Attributes
    ----------
    validation, test : float
        Shares of the labelled pixels, in whole groups; 0 for none.
    folds : int
        Cross-validation: so many models are trained, each tested on groups that no other is tested
        on; the final model then has no test of its own. 0 for none.
    seed : int
    """

    validation: float = 0.2
    test: float = 0.2
    folds: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        shares = (self.validation, self.test)
        if not all(0 <= share < 1 for share in shares) or sum(shares) >= 1 or self.folds < 0:
            raise RecipeError(
                f"the split has validation {self.validation}, test {self.test} and {self.folds} "
                "folds; expected shares from 0 that leave some to train on, and 0, 2 or more folds"
            )


def without_validation(plan: SplitPlan) -> SplitPlan:
    """The same tests for what no validation chooses: it learns from all that is not tested."""
    return replace(plan, validation=0.0)


def hold_out(groups: Ids, counts: npt.NDArray[np.int64], plan: SplitPlan) -> Split:
    """One split: groups to test on, groups to validate on, the rest to train on.

    A group that holds more than half of what is left of a class stays with the training, as long
    as there are others to draw, and one that holds all of it always. The test comes first: of
    fewer than three groups there is none, and of what it leaves the same holds for validation.

    Parameters
    ----------
    groups : int array (N,)
        Of each sample.
    counts : int array (N, K)
        Labelled pixels of each sample, by class.
    plan : SplitPlan
    """
    ids, totals = labels_by_group(groups, counts)
    whole = totals.sum()
    test = _draw(totals, np.zeros(len(ids), bool), plan.test * whole, plan.seed + 1)
    validation = _draw(totals, test, plan.validation * whole, plan.seed + 2)
    return Split(ids[~(test | validation)], ids[validation], ids[test])


def fold_splits(groups: Ids, counts: npt.NDArray[np.int64], plan: SplitPlan) -> list[Split]:
    """The splits of a cross-validation: every group is tested once, with about equal numbers.

    Classes are spread over the folds as evenly as whole groups allow. A group that holds all of a
    class is never tested, as it could not be told: it stays with the training.

    Parameters
    ----------
    groups, counts
        As for :func:`hold_out`.
    plan : SplitPlan

    Raises
    ------
    RecipeError
        When there are fewer groups than folds, or one fold.
    """
    ids, totals = labels_by_group(groups, counts)
    fold = _assign(totals, plan.folds, plan.seed)
    splits = []
    for number in range(plan.folds):
        test = fold == number
        wanted = plan.validation * totals[~test].sum()
        validation = _draw(totals, test, wanted, plan.seed + number + 2)
        splits.append(Split(ids[~(test | validation)], ids[validation], ids[test]))
    return splits


def training_samples(groups: Ids, counts: npt.NDArray[np.int64], plan: SplitPlan) -> int:
    """How many samples the final model of a plan learns from.

    Parameters
    ----------
    groups, counts
        As for :func:`hold_out`.
    plan : SplitPlan
        With folds that model has no test of its own.
    """
    split = hold_out(groups, counts, replace(plan, test=0.0) if plan.folds else plan)
    return int(np.isin(groups, split.training).sum())


def labels_by_group(
    groups: Ids, counts: npt.NDArray[np.int64]
) -> tuple[Ids, npt.NDArray[np.int64]]:
    """Ids of the groups ``(G,)``, and their labelled pixels by class ``(G, K)``."""
    ids, of = np.unique(groups, return_inverse=True)
    totals = np.zeros((len(ids), counts.shape[1]), np.int64)
    np.add.at(totals, of, counts)
    return ids, totals


def _draw(
    totals: npt.NDArray[np.int64], taken: npt.NDArray[np.bool_], wanted: float, seed: int
) -> npt.NDArray[np.bool_]:
    """Groups that together have about so many pixels, none of fewer than three.

    Half of the pixels of each class stay, where that can be: of few polygons of a class a single
    polygon may hold most of it, and what is not learnt is not on the map.

    Parameters
    ----------
    totals : int array (G, K)
    taken : bool array (G,)
        Groups that serve another purpose already.
    wanted : float
    seed : int
    """
    drawn = np.zeros(len(totals), bool)
    has_labels = totals.sum(axis=1) > 0
    if wanted <= 0 or (has_labels & ~taken).sum() < 3:
        return drawn
    sizes = totals.sum(axis=1)
    # None that would take more than half again of what is wanted, such as the one large block;
    # where all are larger than that, one that is no larger than most, else any.
    usual = float(np.median(sizes[has_labels & ~taken]))
    order = np.random.default_rng(seed).permutation(len(totals))
    for kept, most in itertools.product((_KEPT, 0.0), (max(1.5 * wanted, usual), np.inf)):
        left: Ids = totals[~taken].sum(axis=0)
        needed = kept * left
        for group in order if not drawn.any() else ():
            size = sizes[drawn].sum()
            if taken[group] or not has_labels[group] or size >= wanted:
                continue
            is_large = size + sizes[group] > (1.5 * wanted if size else most)
            after = left - totals[group]
            is_needed = (totals[group] > 0) & ((after < needed) | (after == 0))
            if not is_large and not bool(np.any(is_needed)):
                drawn[group] = True
                left = after
    return drawn


def _assign(totals: Ids, count: int, seed: int) -> Ids:
    """The fold of each group, -1 for one that is never tested.

    The largest first, each into the fold where it makes classes most even: where the squares of
    what folds have of each class, and of all, grow least.
    """
    holds_all = (totals == totals.sum(axis=0)) & (totals > 0)
    is_alone = holds_all.any(axis=1) & (totals.shape[1] > 1)
    if not 2 <= count <= (~is_alone).sum():
        alone = f", of which {is_alone.sum()} hold all of a class" if is_alone.any() else ""
        raise RecipeError(
            f"{count} folds of {len(totals)} groups of samples{alone}; expected from 2 to as many "
            "folds as there are groups"
        )
    sizes = totals.sum(axis=1)
    shares = np.column_stack([totals, sizes]) / np.maximum([*totals.sum(axis=0), sizes.sum()], 1)
    order = np.random.default_rng(seed).permutation(len(totals))
    order = order[np.argsort(-shares[order].max(axis=1), kind="stable")]
    filled, fold = np.zeros((count, shares.shape[1])), np.full(len(totals), -1)
    for group in order[~is_alone[order]]:
        growth = ((filled + shares[group]) ** 2 - filled**2).sum(axis=1)
        # Of folds that are as good the one with the fewest groups, for those without labels.
        groups = np.bincount(fold[fold >= 0], minlength=count)
        fold[group] = np.lexsort((groups, growth.round(12)))[0]
        filled[fold[group]] += shares[group]
    return fold
