"""Try learners in the same folds, on the same samples."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

import numpy as np

from rsscale.comparison.comparison import Comparison, Trial
from rsscale.comparison.margin import gains
from rsscale.errors import RecipeError
from rsscale.learners.base import Learner, Predictions, S, Task
from rsscale.text.wording import counted
from rsscale.training.basis import Basis
from rsscale.training.calibrate import calibrate
from rsscale.training.split import Split, SplitPlan, fold_splits, hold_out, without_validation


@dataclass(frozen=True)
class Contender(Generic[S]):
    """A learner that takes part.

    Attributes
    ----------
    learner : Learner
    is_baseline : bool
        Whether it is a classical learner, which needs no validation: it learns from those samples
        too.
    """

    learner: Learner[S]
    is_baseline: bool


def try_all(
    contenders: Sequence[Contender[S]],
    samples: S,
    task: Task,
    plan: SplitPlan,
    *,
    conformal: float = 0.9,
    left_out: Sequence[str] = (),
) -> Comparison:
    """Train and test each learner in the same splits.

    Parameters
    ----------
    contenders : sequence of Contender
    samples : Samples
        Of which each learner takes what it sees.
    task : Task
    plan : SplitPlan
        Folds, or one test.
    conformal : float
        Level of the conformal sets whose coverage is measured.
    left_out : sequence of str

    Raises
    ------
    RecipeError
        When there is nothing to test on, or two learners have one name.
    """
    names = [contender.learner.name for contender in contenders]
    if len(set(names)) < len(names) or not names:
        raise RecipeError(f"the learners are {names}; expected one or more, each once")
    trials, first = [], None
    strange: list[str] = []
    for contender in contenders:
        trial, tested = _trial(contender, samples, task, plan, conformal)
        first = tested if first is None else first
        if not _same(first, tested):
            raise RuntimeError(f"{trial.learner} was tested on other samples than {names[0]}")
        trials.append(trial)
        if unknown := int((~tested.are_numbers).sum()):
            strange.append(
                f"{counted(unknown, 'prediction')} of {trial.learner} that are no numbers (NaN or "
                "infinite): they count as wrong in the margin, and in no other figure"
            )
    if first is None:
        raise TypeError("there is at least one learner")
    basis: Basis = "folds" if plan.folds else "test"
    lacks = _lacking(samples, task, plan)
    return Comparison(tuple(trials), first.groups, basis, (*left_out, *lacks, *strange))


def _trial(
    contender: Contender[S], samples: S, task: Task, plan: SplitPlan, conformal: float
) -> tuple[Trial, Predictions]:
    started, learner = time.monotonic(), contender.learner
    folds, together = [], None
    for split in _splits(samples, task, plan, validates=not contender.is_baseline):
        training, validation, test = (
            samples.subset(np.isin(samples.groups, ids))
            for ids in (split.training, split.validation, split.test)
        )
        tested = learner.predict(learner.fit(training, validation).model, test)
        folds.append(task.score(tested))
        together = tested if together is None else together + tested
    seconds = time.monotonic() - started
    if together is None or not len(together.groups):
        raise RecipeError(
            "there is nothing to test on: fewer than three places hold labels; set folds, or add "
            "labels elsewhere"
        )
    return Trial(
        learner=learner.name,
        is_baseline=contender.is_baseline,
        scores=task.score(together),
        folds=tuple(folds),
        calibration=calibrate(together, conformal) if task.classes else None,
        gains=gains(task, together),
        seconds=seconds,
    ), together


def _splits(samples: S, task: Task, plan: SplitPlan, *, validates: bool) -> list[Split]:
    """The same tests for all, with a validation for those that need one."""
    plan = plan if validates else without_validation(plan)
    counts = samples.counts(task)
    if plan.folds:
        return fold_splits(samples.groups, counts, plan)
    return [hold_out(samples.groups, counts, plan)]


def _lacking(samples: S, task: Task, plan: SplitPlan) -> list[str]:
    """Classes that a fold can't learn, whatever learns."""
    lines = []
    for number, split in enumerate(_splits(samples, task, plan, validates=False), 1):
        counts = samples.counts(task)[np.isin(samples.groups, split.training)].sum(axis=0)
        lines += [
            f"fold {number} has no {name!r} to learn from, and finds none"
            for name, count in zip(task.names, counts, strict=False)
            if task.classes and not count
        ]
    return lines


def _same(predictions: Predictions, other: Predictions) -> bool:
    return np.array_equal(predictions.truth, other.truth) and np.array_equal(
        predictions.groups, other.groups
    )
