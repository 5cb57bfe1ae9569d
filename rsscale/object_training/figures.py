"""How well a detector finds objects: matched as COCO does, on some places of the scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.model.outputs import ObjectKind
from rsscale.object_scenes.scenes import ObjectScenes, Scene
from rsscale.object_scenes.targets import turned_envelopes
from rsscale.object_scores.average_precision import average_precision
from rsscale.object_scores.candidates import overlapping
from rsscale.object_scores.matching import match, ranks
from rsscale.object_scores.scored_objects import ScoredObjects

IOU = 0.5
"""Intersection over union from which on an object counts as found."""
_MOST_POINTS = 200  # of a curve that is drawn
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class FoundObjects:
    """What a detector found in scenes.

    Attributes
    ----------
    outlines : array of shapely.Geometry (n,)
        In pixels of the scene.
    scores : float64 array (n,)
    classes : int64 array (n,)
        Numbers from 0.
    of_scene : int64 array (n,)
    groups : int64 array (n,)
        The place that the centre lies in.
    """

    outlines: npt.NDArray[np.object_]
    scores: Floats
    classes: npt.NDArray[np.int64]
    of_scene: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]

    @property
    def bounds(self) -> Floats:
        """``x0, y0, x1, y1`` ``(n, 4)``."""
        return np.asarray(shapely.bounds(self.outlines), np.float64).reshape(-1, 4)


@dataclass(frozen=True)
class ClassFigures:
    """Figures of a class, or of all together.

    Attributes
    ----------
    name : str
    truth : int
        True objects.
    found, right : int
        Detections above the threshold, and those of them that are true objects.
    average_precision : float
        At an intersection over union of 0.5, over all scores; NaN without a true object.
    """

    name: str
    truth: int
    found: int
    right: int
    average_precision: float

    @property
    def precision(self) -> float:
        """Share of the detections that are right; NaN where there is none."""
        return self.right / self.found if self.found else float("nan")

    @property
    def recall(self) -> float:
        """Share of the true objects that are found; NaN where there is none."""
        return self.right / self.truth if self.truth else float("nan")

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; NaN without a true object."""
        both = self.truth + self.found
        return 2 * self.right / both if self.truth else float("nan")


@dataclass(frozen=True)
class ObjectFigures:
    """Figures of a detector on places.

    Attributes
    ----------
    threshold : float
        Score from which on a detection counts.
    classes : tuple of ClassFigures
    curves : mapping of class name to (recall, precision, score)
        By falling score, thinned.
    """

    threshold: float
    classes: tuple[ClassFigures, ...]
    curves: dict[str, list[list[float]]]

    @property
    def total(self) -> ClassFigures:
        """All objects, whatever their class; AP is the mean over classes that have a true one."""
        truth, detections, right = (
            sum(getattr(c, name) for c in self.classes) for name in ("truth", "found", "right")
        )
        known = [c.average_precision for c in self.classes if c.truth]
        return ClassFigures(
            "all", truth, detections, right, float(np.mean(known)) if known else float("nan")
        )


@dataclass(frozen=True, eq=False)
class Matched:
    """Detections beside the truth of some places, matched at one intersection over union.

    Attributes
    ----------
    names : tuple of str
    scores : float64 array (n,)
        Of detections that count, the highest first.
    classes : int64 array (n,)
    is_right : bool array (n,)
    truth : int64 array (K,)
        True objects of each class.
    """

    names: tuple[str, ...]
    scores: Floats
    classes: npt.NDArray[np.int64]
    is_right: Flags
    truth: npt.NDArray[np.int64]

    def best_threshold(self) -> float | None:
        """The score at which F1 of all objects is best; None where nothing is found or true.

        Between the last detection that counts and the next, so that no digit decides.
        """
        total = int(self.truth.sum())
        if not total or not self.is_right.any():
            return None
        right = np.cumsum(self.is_right)
        f1 = 2 * right / (np.arange(1, len(right) + 1) + total)
        is_last = np.append(self.scores[1:] < self.scores[:-1], True)  # of equal scores
        best = int(np.argmax(np.where(is_last, f1, -1.0)))
        below = self.scores[best + 1] if best + 1 < len(self.scores) else 0.0
        return round(float((self.scores[best] + below) / 2), 4)

    def figures(self, threshold: float) -> ObjectFigures:
        """Figures by class; average precision counts all scores."""
        classes, curves = [], {}
        counts = self.scores >= threshold
        for number, name in enumerate(self.names):
            own = self.classes == number
            truth, right = int(self.truth[number]), self.is_right[own]
            classes.append(
                ClassFigures(
                    name,
                    truth,
                    int((own & counts).sum()),
                    int((self.is_right & own & counts).sum()),
                    average_precision(right, truth) if truth else float("nan"),
                )
            )
            curves[name] = _curve(right, self.scores[own], truth)
        return ObjectFigures(threshold, tuple(classes), curves)


def matched(
    objects: FoundObjects,
    scenes: ObjectScenes,
    places: npt.NDArray[np.int64],
    names: Sequence[str],
    *,
    kind: ObjectKind,
    ious: Sequence[float] = (IOU,),
) -> list[Matched]:
    """Match detections with the true objects of some places, at each intersection over union.

    By score, the highest first, each with the closest that is free (COCO). True objects with their
    centre elsewhere don't count, and neither does what is matched with them, or lies elsewhere.

    Parameters
    ----------
    objects : FoundObjects
    scenes : ObjectScenes
    places : int64 array
    names : sequence of str
        Of the classes.
    kind : str
        What is compared: boxes, outlines or turned boxes, as the detector can get them right.
    ious : sequence of float
        Above 0.
    """
    truth, groups = _truth(scenes, kind)
    predicted = _scored(objects.outlines, objects.classes, objects.of_scene, objects.scores)
    overlaps, turns = overlapping(predicted, truth, min(ious)), ranks(predicted, "score")
    counts = np.isin(objects.groups, places), np.isin(groups, places)
    true = np.bincount(truth.classes[counts[1]], minlength=len(names)).astype(np.int64)
    by_iou = []
    for iou in ious:
        outcome = match(
            overlaps, turns, iou, rule="score",
            counts_predicted=counts[0], counts_truth=counts[1],
        )  # fmt: skip
        kept = outcome.is_true | outcome.is_false
        order = np.lexsort((np.arange(kept.sum()), -objects.scores[kept]))
        chosen = np.flatnonzero(kept)[order]
        right = outcome.is_true[chosen]
        scores, classes = objects.scores[chosen], objects.classes[chosen]
        by_iou.append(Matched(tuple(names), scores, classes, right, true))
    return by_iou


def true_shapes(scene: Scene, kind: ObjectKind) -> npt.NDArray[np.object_]:
    """Outlines of the objects of a scene, or the boxes around them, upright or turned."""
    if kind == "outlines":
        return scene.objects
    if kind == "oriented":
        return turned_envelopes(scene.objects)
    return np.asarray(shapely.box(*scene.bounds.T), object).reshape(-1)


def _truth(scenes: ObjectScenes, kind: ObjectKind) -> tuple[ScoredObjects, npt.NDArray[np.int64]]:
    """All objects of the scenes, and the place of each."""
    parts: list[tuple[Any, ...]] = []
    for number, scene in enumerate(scenes.scenes):
        groups = scene.places_of_objects
        shapes = true_shapes(scene, kind)
        parts.append((shapes, scene.classes, np.full(len(groups), number), groups))
    shapes, classes, images, groups = (
        np.concatenate([np.zeros(0, kind), *(part[k] for part in parts)])
        for k, kind in enumerate((object, np.int64, np.int64, np.int64))
    )
    return _scored(shapes, classes, images, None), groups


def _scored(
    shapes: npt.NDArray[np.object_], classes: Any, images: Any, scores: Floats | None
) -> ScoredObjects:
    bounds = np.asarray(shapely.bounds(shapes), np.float64).reshape(-1, 4)
    centre = np.stack([bounds[:, [0, 2]].mean(axis=1), bounds[:, [1, 3]].mean(axis=1)], axis=1)
    return ScoredObjects(
        shapes,
        np.arange(len(shapes)),
        classes.astype(np.intp),
        images.astype(np.intp),
        scores,
        centre,
        np.ones_like(centre),
    )


def _curve(is_right: Flags, scores: Floats, truth: int) -> list[list[float]]:
    """Recall, precision and score of some points of a curve."""
    if not truth or not len(scores):
        return [[], [], []]
    right = np.cumsum(is_right)
    chosen = np.unique(np.linspace(0, len(right) - 1, _MOST_POINTS).round().astype(int))
    recall, precision = right / truth, right / np.arange(1, len(right) + 1)
    return [[round(float(v), 5) for v in part[chosen]] for part in (recall, precision, scores)]
