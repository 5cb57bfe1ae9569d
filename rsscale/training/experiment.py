"""Train a model and measure it: whatever learns, and whatever it learns from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from rsscale.learn.model import Model
from rsscale.learners.base import Learner, S, Samples, Task
from rsscale.model.outputs import ClassOutput
from rsscale.progress.bars import announce, part_of_work
from rsscale.training.background import Observed, background_of
from rsscale.training.basis import Basis
from rsscale.training.calibrate import Calibration, calibrate
from rsscale.training.measured import Measured, most_of_place
from rsscale.training.report import FoldReport, TrainingReport
from rsscale.training.split import (
    Ids,
    Split,
    SplitPlan,
    fold_splits,
    hold_out,
    labels_by_group,
)


def run_experiment(
    learner: Learner[S],
    samples: S,
    task: Task,
    plan: SplitPlan,
    *,
    conformal: float = 0.9,
    left_out: Sequence[str] = (),
    observed: Observed | None = None,
) -> tuple[Model, TrainingReport]:
    """Train a model on a part of the samples, and measure it on places that it did not see.

    With folds each sample is tested once, by a model of the others, and the model that is returned
    learns from all but the validation. Without, a test is kept back.

    Parameters
    ----------
    learner : Learner
    samples : Samples
    task : Task
    plan : SplitPlan
    conformal : float
        Level of the conformal sets that the model may map (``set_size``, ``class_set``).
    left_out : sequence of str
        Labels that are in no sample, and why.
    observed : mapping of input name to mapping of time window to float, optional
        Share of the labelled pixels that a window has values of, for the report.

    Returns
    -------
    (Model, TrainingReport)
        A model of classes is calibrated by the predictions that it is measured on.

    Raises
    ------
    RecipeError
        When there are fewer groups than folds.
    """
    started = time.monotonic()
    counts = samples.counts(task)
    folds, measured = _cross_validate(learner, samples, task, plan)
    split = hold_out(samples.groups, counts, replace(plan, test=0.0) if folds else plan)
    fitted = learner.fit(_of(samples, split.training), _of(samples, split.validation))
    model, basis = fitted.model, _basis(split, folds)
    if measured is None:
        ids = split.validation if basis == "validation" else split.test
        tested = learner.predict(model, _of(samples, ids))
        measured = Measured.of(tested, task, most_of_place(len(ids)))
    calibration = None
    if task.classes and basis in ("folds", "test") and not measured.not_numbers:
        calibration = calibrate(measured.predictions, conformal)
        model = _calibrated(model, calibration)
    return model, TrainingReport(
        learner=learner.name,
        scores=measured.scores,
        not_numbers=measured.not_numbers,
        basis=basis,
        trained=_trained(samples, split.training, task),
        split=split,
        folds=folds,
        fit=fitted.fit,
        calibration=calibration,
        seed=plan.seed,
        seconds=time.monotonic() - started,
        left_out=tuple(left_out),
        predictions=measured.predictions,
        background=background_of(
            learner,
            task,
            plan,
            _labels_by_group(samples, task),
            samples,
            observed=observed,
        ),
    )


def _cross_validate(
    learner: Learner[S], samples: S, task: Task, plan: SplitPlan
) -> tuple[tuple[FoldReport, ...], Measured | None]:
    """Reports of the folds, and what was measured of all samples; none without folds."""
    if not plan.folds:
        return (), None
    announce(f"{plan.folds} folds, and then the model itself: {plan.folds + 1} trainings")
    reports: list[FoldReport] = []
    started, together = time.monotonic(), None
    most = most_of_place(len(np.unique(samples.groups)))
    for number, split in enumerate(fold_splits(samples.groups, samples.counts(task), plan), 1):
        if number == 2:  # the first tells how long all take
            took = time.monotonic() - started
            announce(f"a training takes {took:.0f} s: {plan.folds * took / 60:.0f} min are left")
        with part_of_work(f"fold {number} of {plan.folds}"):
            fitted = learner.fit(_of(samples, split.training), _of(samples, split.validation))
        measured = Measured.of(learner.predict(fitted.model, _of(samples, split.test)), task, most)
        together = measured if together is None else together + measured
        trained = _trained(samples, split.training, task)
        reports.append(FoldReport(number, measured.scores, trained, split))
    return tuple(reports), together


def _of(samples: S, ids: Ids) -> S:
    return samples.subset(np.isin(samples.groups, ids))


def _trained(samples: Samples, ids: Ids, task: Task) -> dict[str, int]:
    """Labelled pixels by class, or samples of all values."""
    counts = samples.counts(task)[np.isin(samples.groups, ids)].sum(axis=0)
    return _named(counts, task)


def _named(counts: npt.NDArray[np.int64], task: Task) -> dict[str, int]:
    names = task.names if task.classes else ("samples",)
    return {name: int(count) for name, count in zip(names, counts, strict=True)}


def _labels_by_group(samples: Samples, task: Task) -> dict[int, dict[str, int]]:
    """Labelled pixels of each group by class."""
    ids, totals = labels_by_group(samples.groups, samples.counts(task))
    return {int(group): _named(counts, task) for group, counts in zip(ids, totals, strict=True)}


def _basis(split: Split, folds: Sequence[FoldReport]) -> Basis:
    if folds:
        return "folds"
    if len(split.test):
        return "test"
    return "validation" if len(split.validation) else "none"


def _calibrated(model: Model, calibration: Calibration | None) -> Model:
    if calibration is None or not isinstance(model.spec.output, ClassOutput):
        return model
    output = calibration.apply_to(model.spec.output)
    return replace(model, spec=replace(model.spec, output=output))
