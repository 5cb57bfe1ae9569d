"""Train a detector and measure it on places that it did not see."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rsscale.errors import RecipeError
from rsscale.learn.model import Model
from rsscale.model.outputs import ObjectOutput
from rsscale.object_scenes.scenes import ObjectScenes
from rsscale.object_training.examples import examples_of
from rsscale.object_training.figures import Matched
from rsscale.object_training.finding import find_in_places
from rsscale.object_training.learner import Ids, ObjectNetwork
from rsscale.object_training.report import ObjectReport
from rsscale.training.background import background_of
from rsscale.training.basis import Basis
from rsscale.training.split import Split, SplitPlan, hold_out


def run_object_experiment(
    learner: ObjectNetwork, scenes: ObjectScenes, plan: SplitPlan, notes: Sequence[str] = ()
) -> tuple[Model, ObjectReport]:
    """Train a detector on a part of the places, and measure it on others.

    The validation chooses the weights, by average precision over overlaps of 0.50 to 0.95, and the
    score from which on a detection counts, by F1. Scores are not calibrated: they are no
    probabilities.

    Parameters
    ----------
    learner : ObjectNetwork
    scenes : ObjectScenes
    plan : SplitPlan
        Without folds.
    notes : sequence of str
        What else is to be said, a line each.

    Returns
    -------
    (Model, ObjectReport)

    Raises
    ------
    RecipeError
        When there is no object to learn from.
    """
    started = time.monotonic()
    split = split_objects(learner, scenes, plan)
    model, fit = learner.fit(scenes, split.training, split.validation)
    threshold, is_chosen = _threshold(learner, model, scenes, split.validation)
    model = replace(model, spec=replace(model.spec, output=threshold))
    basis = _basis(split)
    places = split.test if basis == "test" else split.validation
    detections = find_in_places(model, scenes, places)
    (scores,) = learner.matched(detections, scenes, places)
    figures = scores.figures(threshold.score_threshold)
    by_place = scenes.by_place(learner.task)
    return model, ObjectReport(
        learner=learner.name,
        figures=figures,
        basis=basis,
        trained=scenes.named(learner.task, split.training),
        split=split,
        fit=fit,
        is_threshold_chosen=is_chosen,
        seed=plan.seed,
        seconds=time.monotonic() - started,
        notes=(*notes, *scenes.notes, *_advice(learner, scenes)),
        examples=examples_of(model, scenes, places, detections, threshold.score_threshold),
        background=background_of(
            learner,
            learner.task,
            plan,
            by_place,
            scenes,
            observed=scenes.observed(learner.inputs),
        ),
    )


def split_objects(learner: ObjectNetwork, scenes: ObjectScenes, plan: SplitPlan) -> Split:
    """Places to train on, to validate and to test, by the objects that have their centre there.

    Places that are labelled and have no object are trained on: they are background.

    Raises
    ------
    RecipeError
        When there is no object, or the training has none.
    """
    counts = scenes.counts(learner.task)
    if not len(scenes):
        raise RecipeError(
            "no object has its centre where something is labelled and seen"
            + "".join(f"; {line}" for line in scenes.unused.lines())
        )
    split = hold_out(scenes.groups, counts, plan)
    if scenes.places:
        known = np.array(sorted(scenes.places.shapes), np.int64)
        empty = known[~np.isin(known, [*split.training, *split.validation, *split.test])]
        split = replace(split, training=np.union1d(split.training, empty))
    return split


def _threshold(
    learner: ObjectNetwork, model: Model, scenes: ObjectScenes, validation: Ids
) -> tuple[ObjectOutput, bool]:
    """The output with the score at which F1 of the validation is best, and whether there is one."""
    matches: Matched | None = None
    if np.isin(scenes.groups, validation).any():
        detections = find_in_places(model, scenes, validation)
        (matches,) = learner.matched(detections, scenes, validation)
    best = matches.best_threshold() if matches else None
    if best is None:
        return learner.output, False
    return replace(learner.output, score_threshold=best), True


def _basis(split: Split) -> Basis:
    if len(split.test):
        return "test"
    return "validation" if len(split.validation) else "none"


def _advice(learner: ObjectNetwork, scenes: ObjectScenes) -> list[str]:
    """Lines on objects that are too large for crops or windows, and classes with one object."""
    sides = np.concatenate(
        [np.zeros(0), *((s.bounds[:, 2:] - s.bounds[:, :2]).max(axis=1) for s in scenes.scenes)]
    )
    lattice, crop = learner.design.lattice, learner.crops.size
    lines = []
    for width, kind in ((crop, "a crop (train.crop)"), (lattice.window, "a window")):
        if larger := int((sides > width).sum()):
            lines.append(
                f"{larger:,} of {len(sides):,} objects are larger than {kind} of {width} px: they "
                "are never seen whole, and learnt from by parts that are deeper than the halo"
            )
    if len(sides) and round(sides.max()) > lattice.halo and not lines:
        lines.append(
            f"the largest object is {sides.max():.0f} px wide and the halo {lattice.halo} px: "
            "objects that no window sees whole are joined from pieces; a halo of the largest "
            "object's width avoids it (train.halo)"
        )
    counts = scenes.counts(learner.task).sum(axis=0)
    single = [n for n, c in zip(learner.task.names, counts, strict=True) if c == 1]
    if single:
        named = ", ".join(map(repr, single))
        lines.append(
            f"a single object of {named}: it is learnt from, and nothing is measured of it"
        )
    return lines
