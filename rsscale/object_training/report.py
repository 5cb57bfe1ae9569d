"""What a training of a detector says of itself."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsscale.errors import MissingExtraError
from rsscale.learners.fit import Fit
from rsscale.model.files import TRAINING_FORMAT
from rsscale.object_training.figures import ClassFigures, ObjectFigures
from rsscale.pictures.charts import require_matplotlib, save_figure
from rsscale.pictures.object_charts import Example, examples_chart
from rsscale.pictures.training_pictures import training_chart
from rsscale.text.html_tables import block, heading, preformatted, small_lines
from rsscale.text.wording import counted
from rsscale.training.background import Background
from rsscale.training.basis import WHERE, Basis
from rsscale.training.remarks import seldom_observed
from rsscale.training.report import FoldReport
from rsscale.training.split import Split
from rsscale.training.story import curve_story, library_versions, split_story, write_story

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_log = logging.getLogger("rsscale")
OBJECTS_PICTURE = "objects.png"


@dataclass(frozen=True)
class ObjectReport:
    """Result of the training of a detector.

    Attributes
    ----------
    learner : str
        The architecture.
    figures : ObjectFigures
        On places that were not trained on, at an intersection over union of 0.5.
    basis : str
        Which those are: of the ``"test"``, of the ``"validation"``, which chose the weights and the
        threshold, so that they are somewhat too good, or ``"none"``.
    trained : mapping of class name to int
        Objects that the model learnt from.
    split : Split
    fit : Fit
        Losses, validations and kept step.
    is_threshold_chosen : bool
        Whether the validation chose the score from which on a detection counts.
    seed : int
    seconds : float
    notes : tuple of str
        What is to be said of the labels and the settings, a line each.
    examples : tuple of Example
        Images for :meth:`plot`; they are kept in the picture alone.
    background : Background
        What was asked for, where the places lie, and from which files and items.
    """

    learner: str
    figures: ObjectFigures
    basis: Basis
    trained: Mapping[str, int]
    split: Split
    fit: Fit
    is_threshold_chosen: bool
    seed: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    examples: tuple[Example, ...] = field(default=(), repr=False, compare=False)
    background: Background = field(default_factory=Background, repr=False, compare=False)

    unit = "objects"

    @property
    def folds(self) -> tuple[FoldReport, ...]:
        """None: a detector is measured on a test."""
        return ()

    @property
    def tested(self) -> dict[str, int]:
        """True objects by class that the figures are of."""
        return {c.name: c.truth for c in self.figures.classes}

    @property
    def left_out(self) -> tuple[str, ...]:
        """Labels that were not used: how many, of which class, and why."""
        return tuple(self.background.unused.lines())

    @property
    def remarks(self) -> tuple[str, ...]:
        """What did not go as it was asked for, and what is to be known of it."""
        background, lines = self.background, list(self.notes)
        if background.places and background.places.remark:
            lines.append(background.places.remark)
        lines += seldom_observed(background.observed)
        if not len(self.split.validation):
            lines.append(
                "no place was kept for validation: there are too few, or each holds all that is "
                f"left of a class; the weights are those of the last step, {self.fit.kept:,}"
            )
        if background.plan.test and not len(self.split.test):
            lines.append(
                "no place was kept for the test: there are too few, or each holds all that is left "
                "of a class"
            )
        if not self.is_threshold_chosen:
            lines.append(
                f"the score threshold {self.figures.threshold:g} was not chosen: nothing was found "
                "in places of a validation"
            )
        lines.append("scores are not calibrated: they order detections, and are no probabilities")
        return tuple(lines)

    @property
    def verdict(self) -> str:
        """The figures, and of how many objects they are."""
        total = self.figures.total
        if not total.truth:
            return "accuracy not estimable: no object lies where nothing was trained on"
        return f"{_line(total)}; {counted(total.truth, 'object')} in {WHERE[self.basis]}"

    def properties(self) -> dict[str, Any]:
        """Properties for the model's STAC item, equal for two equal trainings."""
        total = self.figures.total
        return {
            "rsscale:version": version("rsscale"),
            "rsscale:training": {
                "learner": self.learner,
                "seed": self.seed,
                "steps": len(self.fit.losses),
                "trained": dict(self.trained),
                "tested": self.tested,
                "basis": self.basis,
                "average_precision_50": _number(total.average_precision),
                "f1": _number(total.f1),
                "score_threshold": self.figures.threshold,
                "left_out": list(self.left_out),
                "remarks": list(self.remarks),
            },
        }

    def to_dict(self) -> dict[str, Any]:
        """All that it knows as plain data, the content of a model folder's ``training.json``."""
        background = self.background
        by_place = background.labels.values()
        return {
            "format": TRAINING_FORMAT,
            "kind": "objects",
            "learner": self.learner,
            "classes": [
                {"value": c.value, "name": c.name, "color": c.color}
                for c in background.task.classes
            ],
            "quantities": [],
            "unit": self.unit,
            "verdict": self.verdict,
            "remarks": list(self.remarks),
            "basis": self.basis,
            "trained": dict(self.trained),
            "tested": self.tested,
            "scores": _scores(self.figures),
            "pairs": {},
            "folds": [],
            "calibration": None,
            "curve": _curve(self.fit, background),
            "split": split_story(self),
            "settings": dict(background.settings),
            "labels": {
                "used": {n: sum(counts.get(n, 0) for counts in by_place) for n in self.trained},
                "unused": background.unused.to_dict(),
                "notes": list(self.left_out),
                **background.provenance.get("labels", {}),
            },
            **{k: v for k, v in background.provenance.items() if k != "labels"},
            "observed": {name: dict(shares) for name, shares in background.observed.items()},
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "versions": library_versions(),
        }

    def plot(self, name: str = "objects") -> Figure:
        """A picture as a matplotlib figure.

        Parameters
        ----------
        name : str
            ``"objects"``: images with true and detected objects; ``"precision-recall"``,
            ``"curves"`` or ``"split"``.

        Raises
        ------
        ModelError
            When there is no such picture.
        MissingExtraError
            When matplotlib is not installed: the extra ``rsscale[pictures]``.
        """
        if name == "objects" and self.examples:
            require_matplotlib("a picture of a training")
            return examples_chart(self.examples, self.verdict)
        return training_chart(self.to_dict(), name)

    def write(self, folder: Path) -> dict[str, dict[str, Any]]:
        """Write ``training.json``, ``split.geojson`` and pictures; their STAC assets by name."""
        assets = write_story(self.to_dict(), self, folder)
        try:
            if self.examples:
                save_figure(self.plot("objects"), folder / OBJECTS_PICTURE)
                assets["objects-picture"] = {
                    "href": OBJECTS_PICTURE,
                    "type": "image/png",
                    "title": "True and detected objects",
                    "roles": ["graphic"],
                }
        except MissingExtraError:
            pass  # said already, of the other pictures
        return assets

    def __str__(self) -> str:
        count = sum(self.trained.values())
        made = (
            f"trained {self.learner} on {counted(count, 'object')} in {self.seconds:.0f} s; "
            f"{counted(len(self.fit.losses), 'step')}, loss {self.fit.loss:.3f}, the weights of "
            f"step {self.fit.kept:,} are kept"
        )
        lines = [
            made,
            self.verdict,
            *(f"  {c.name}: {_line(c)}" for c in self.figures.classes if c.truth or c.found),
        ]
        places = self.background.places
        if places is not None:
            roles = ("training", "validation", "test")
            parts = [f"{len(getattr(self.split, role))} for {role}" for role in roles]
            total = sum(len(getattr(self.split, role)) for role in roles)
            lines.append(f"{counted(total, 'place')} ({places.kind}): {', '.join(parts)}")
        return "\n".join([*lines, *self.remarks, *(f"left out: {x}" for x in self.left_out)])

    def _repr_html_(self) -> str:
        head, verdict, *rest = str(self).splitlines()
        return block(small_lines([head]), heading(verdict), preformatted(rest))


def _line(figures: ClassFigures) -> str:
    """AP50, precision, recall and F1 in a line."""
    if not figures.truth:
        return f"not estimable: no true object, {counted(figures.found, 'detection')}"
    parts = (
        ("AP50", figures.average_precision),
        ("precision", figures.precision),
        ("recall", figures.recall),
        ("F1", figures.f1),
    )
    return ", ".join(
        f"{name} {value:.3f}" if math.isfinite(value) else f"{name} not estimable"
        for name, value in parts
    )


def _scores(figures: ObjectFigures) -> dict[str, Any]:
    def by_class(name: str) -> dict[str, float | None]:
        return {c.name: _number(getattr(c, name)) for c in figures.classes}

    total = figures.total
    return {
        "count": total.truth,
        "iou": 0.5,
        "threshold": figures.threshold,
        "mean_average_precision": _number(total.average_precision),
        **{f"total_{k}": _number(getattr(total, k)) for k in ("precision", "recall", "f1")},
        **{k: by_class(k) for k in ("average_precision", "precision", "recall", "f1")},
        "found": {c.name: c.found for c in figures.classes},
        "right": {c.name: c.right for c in figures.classes},
        "curves": dict(figures.curves),
    }


def _curve(fit: Fit, background: Background) -> dict[str, Any]:
    validations = [
        {"step": step, "score": _number(score[0]), "at_50": _number(score[1]), "loss": None}
        for step, score in fit.scores
    ]
    return {
        **curve_story(fit, background),
        "validations": validations,
        "score": "AP 0.50:0.95",
    }


def _number(value: float) -> float | None:
    """Rounded; None for NaN, which JSON does not have."""
    return round(float(value), 6) if math.isfinite(value) else None
