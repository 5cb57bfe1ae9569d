"""Part samples into training and test by whole groups."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rsscale.errors import RecipeError


def folds_of(groups: npt.NDArray[np.int64], count: int, seed: int) -> npt.NDArray[np.int64]:
    """The fold ``(N,)`` of each sample, 0 to ``count - 1``: whole groups, about equal numbers.

    Raises
    ------
    RecipeError
        When there are fewer groups than folds, or fewer than two folds.
    """
    names, of = np.unique(groups, return_inverse=True)
    if not 2 <= count <= len(names):
        raise RecipeError(
            f"{count} folds of {len(names)} groups of samples; expected from 2 to as many folds as "
            "there are groups"
        )
    sizes = np.bincount(of)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]  # the largest first
    filled, fold = np.zeros(count, np.int64), np.zeros(len(names), np.int64)
    for group in order:
        fold[group] = filled.argmin()
        filled[fold[group]] += sizes[group]
    return fold[of]


def kept_back(
    groups: npt.NDArray[np.int64], targets: npt.NDArray[np.int64], share: float, seed: int
) -> npt.NDArray[np.bool_]:
    """Samples ``(N,)`` of whole groups to validate on: about the share, none of fewer than three.

    A group that holds all samples of a class stays with the training.

    Parameters
    ----------
    groups, targets : int arrays (N,)
        Targets are numbers of classes from 0; all 0 for values.
    share : float
    seed : int
    """
    names, of = np.unique(groups, return_inverse=True)
    back = np.zeros(len(names), bool)
    if share <= 0 or len(names) < 3:
        return back[of]
    classes = int(targets.max()) + 1
    counts = np.bincount(of * classes + targets, minlength=len(names) * classes)
    counts = counts.reshape(len(names), classes)
    left, wanted = counts.sum(axis=0), share * len(groups)
    for group in np.random.default_rng(seed + 1).permutation(len(names)):
        # None that would take more than half again of what is wanted, such as the one large block.
        is_large = back.any() and counts[back].sum() + counts[group].sum() > 1.5 * wanted
        if counts[back].sum() >= wanted or is_large:
            continue
        if not ((left > 0) & (left == counts[group])).any():
            back[group] = True
            left = left - counts[group]
    return back[of]
