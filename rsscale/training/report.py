"""What a training says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rsscale.accuracy.place_interval import place_interval
from rsscale.accuracy.sample_scores import ClassScores, Scores, ValueScores
from rsscale.learners.base import Predictions
from rsscale.learners.fit import Fit
from rsscale.text.html_tables import block, heading, preformatted, small_lines
from rsscale.text.wording import counted
from rsscale.training.background import Background
from rsscale.training.basis import WHERE, Basis
from rsscale.training.calibrate import Calibration
from rsscale.training.remarks import remarks_of
from rsscale.training.split import Split
from rsscale.training.story import story_of, write_story

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FEWEST_PLACES = 5


@dataclass(frozen=True)
class FoldReport:
    """One model of a cross-validation.

    Attributes
    ----------
    number : int
        From 1.
    scores : ClassScores or ValueScores
        On the fold's test, of which the model saw no group.
    trained : mapping of class name to int
        Labelled pixels that it learnt from; ``samples`` for values.
    split : Split, optional
    """

    number: int
    scores: Scores
    trained: Mapping[str, int]
    split: Split | None = field(default=None, repr=False, compare=False)

    def lacks(self) -> list[str]:
        """Classes that its training or its test did not have."""
        if not isinstance(self.scores, ClassScores):
            return []
        names, tested = self.scores.names, self.scores.samples
        untaught = [n for n in names if not self.trained[n]]
        untested = [n for n in names if not tested[n]]
        return [
            *(f"fold {self.number} has no {n!r} to learn from, and finds none" for n in untaught),
            *(f"fold {self.number} has no {n!r} to test" for n in untested),
        ]


@dataclass(frozen=True)
class TrainingReport:
    """Result of a training.

    Attributes
    ----------
    learner : str
        The kind of model, such as the architecture of a network.
    scores : ClassScores or ValueScores
        On labelled pixels of places that were not trained on.
    basis : str
        Which those are: of all ``"folds"`` together, of the ``"test"``, of the ``"validation"``,
        which chose the weights, so that they are somewhat too good, or ``"none"``.
    trained : mapping of class name to int
        Labelled pixels that the model learnt from; ``samples`` for values.
    split : Split
        Of the model that is returned.
    folds : tuple of FoldReport
        Empty without cross-validation.
    fit : Fit or None
        Losses, validations and kept step of a network.
    calibration : Calibration or None
        By the same pixels; None where they lie in fewer than three places.
    seed : int
    seconds : float
    left_out : tuple of str
        Labels that were not used: how many, of which class, and why; classes that folds lack.
    not_numbers : int
        Predictions that are NaN or infinite, which no figure counts.
    predictions : Predictions
        What the scores are of; of many at most a number of each place.
    background : Background
        What was asked for, where the places lie, and from which files and items.
    """

    learner: str
    scores: Scores
    basis: Basis
    trained: Mapping[str, int]
    split: Split
    folds: tuple[FoldReport, ...] = ()
    fit: Fit | None = None
    calibration: Calibration | None = None
    seed: int = 0
    seconds: float = 0.0
    left_out: tuple[str, ...] = ()
    not_numbers: int = 0
    predictions: Predictions | None = field(default=None, repr=False, compare=False)
    background: Background = field(default_factory=Background, repr=False, compare=False)

    @property
    def accuracy(self) -> float:
        """Overall accuracy; NaN where the pixels are of fewer than two of the classes.

        What they say of one class is not the accuracy of a map.
        """
        if not isinstance(self.scores, ClassScores):
            return float("nan")
        return self.scores.accuracy if self._classes_tested >= 2 else float("nan")

    @property
    def f1(self) -> dict[str, float]:
        """F1 by class name; NaN for one that has no pixel, which can't be estimated."""
        return self.scores.f1 if isinstance(self.scores, ClassScores) else {}

    @property
    def tested(self) -> dict[str, int]:
        """Labelled pixels by class that the scores are of."""
        if isinstance(self.scores, ClassScores):
            return self.scores.samples
        return {"samples": self.scores.count}

    @property
    def remarks(self) -> tuple[str, ...]:
        """What did not go as it was asked for: a line each, such as on what has no place."""
        lacking = (line for fold in self.folds for line in fold.lacks())
        return (*remarks_of(self), *lacking)

    @property
    def _classes_tested(self) -> int:
        return sum(count > 0 for count in self.tested.values())

    def properties(self) -> dict[str, Any]:
        """Properties for the model's STAC item, equal for two equal trainings."""
        return {
            "rsscale:version": version("rsscale"),
            "rsscale:training": {
                "learner": self.learner,
                "seed": self.seed,
                **({"steps": len(self.fit.losses)} if self.fit else {}),
                "trained": dict(self.trained),
                "tested": self.tested,
                "basis": self.basis,
                "folds": len(self.folds),
                **self._measured(),
                "calibration": self.calibration and self.calibration.properties(),
                "left_out": list(self.left_out),
                "remarks": list(self.remarks),
            },
        }

    def to_dict(self) -> dict[str, Any]:
        """All that it knows as plain data, the content of a model folder's ``training.json``."""
        return story_of(self)

    def plot(self, name: str = "") -> Figure:
        """A picture as a matplotlib figure.

        Parameters
        ----------
        name : str
            ``"confusion"``, ``"values"`` of quantities, ``"curves"``, ``"reliability"`` or
            ``"split"``; the first of those that there are when omitted.

        Raises
        ------
        ModelError
            When there is no such picture.
        MissingExtraError
            When matplotlib is not installed: the extra ``rsscale[pictures]``.
        """
        from rsscale.pictures.training_pictures import charts_of, training_chart

        story = self.to_dict()
        return training_chart(story, name or next(iter(charts_of(story)), "split"))

    def write(self, folder: Path) -> dict[str, dict[str, Any]]:
        """Write ``training.json``, ``split.geojson`` and pictures; their STAC assets by name.

        :func:`rsscale.save_model` calls it, with the ``report`` that it is given.
        """
        return write_story(self.to_dict(), self, folder)

    def _repr_html_(self) -> str:
        head, verdict, *rest = str(self).splitlines()
        return block(small_lines([head]), heading(verdict), preformatted(rest))

    def _measured(self) -> dict[str, Any]:
        if isinstance(self.scores, ValueScores):
            return {"rmse": _finite(self.scores.rmse), "r2": _finite(self.scores.r2)}
        total = {"accuracy": self.accuracy, "balanced_accuracy": self.scores.balanced_accuracy}
        interval = self.accuracy_interval
        known = {"accuracy_interval": [round(e, 4) for e in interval]} if interval else {}
        return {**_finite(total), **known, "f1": _finite(self.f1)}

    def __str__(self) -> str:
        lines = [
            self._head(),
            self.verdict,
            *self._interval(),
            *(self.scores.lines() if self.scores.count else []),
        ]
        lines += [
            f"  fold {fold.number}: {fold.scores.count:,} {self.unit}, {fold.scores.line()}"
            for fold in self.folds
        ]
        if self.calibration:
            lines.append(str(self.calibration))
        lines += [*self._places(), *self.remarks]
        return "\n".join([*lines, *(f"left out: {line}" for line in self.left_out)])

    @property
    def unit(self) -> str:
        """What is counted."""
        return "labelled pixels" if isinstance(self.scores, ClassScores) else "samples"

    def _head(self) -> str:
        count = sum(self.trained.values())
        head = f"trained {self.learner} on {count:,} {self.unit} in {self.seconds:.0f} s"
        if self.fit is None:
            return head
        steps = counted(len(self.fit.losses), "step")
        return (
            f"{head}; {steps}, loss {self.fit.loss:.3f}, the weights of step {self.fit.kept:,} "
            "are kept"
        )

    @property
    def accuracy_interval(self) -> tuple[float, float] | None:
        """Of the overall accuracy, at 95 %, over places; None with fewer than five tested."""
        tested = self.predictions
        if tested is None or self.basis not in ("folds", "test") or np.isnan(self.accuracy):
            return None
        if len(np.unique(tested.groups)) < _FEWEST_PLACES:
            return None
        right = (tested.numbers.argmax(axis=1) == tested.truth).astype(np.float64)
        mean, low, _ = place_interval(right, tested.groups)
        half = mean - low
        return max(self.accuracy - half, 0.0), min(self.accuracy + half, 1.0)

    def _interval(self) -> list[str]:
        """A line on how well the accuracy is known."""
        interval = self.accuracy_interval
        if interval is None or self.predictions is None:
            return []
        places = len(np.unique(self.predictions.groups))
        low, high = interval
        return [f"  95 % interval of the accuracy {low:.3f} to {high:.3f}, over {places} places"]

    def _places(self) -> list[str]:
        """A line on the places, and how many were for what."""
        places = self.background.places
        if places is None:
            return []
        roles = ("training", "validation", "test")
        parts = [f"{len(getattr(self.split, role))} for {role}" for role in roles]
        count = sum(len(getattr(self.split, role)) for role in roles)
        folds = f", each tested in one of {len(self.folds)} folds" if self.folds else ""
        return [f"{counted(count, 'place')} ({places.kind}): {', '.join(parts)}{folds}"]

    @property
    def verdict(self) -> str:
        """The accuracy, and of how much it is known."""
        if not self.scores.count and self.not_numbers:
            return (
                f"accuracy not estimable: all {self.not_numbers:,} predictions are no numbers "
                "(NaN or infinite)"
            )
        if self.basis == "none" or not self.scores.count:
            return (
                "accuracy not estimable: all places were trained on, none were left to measure it"
            )
        folds = f"{len(self.folds)} " if self.folds else ""
        measured = f"{self.scores.count:,} {self.unit}"
        if isinstance(self.scores, ValueScores):
            return f"{self.scores.line()}; {measured}, {folds}{WHERE[self.basis]}"
        measured += f" of {self._classes_tested} of {len(self.scores.names)} classes"
        if np.isnan(self.accuracy):
            return (
                f"accuracy not estimable: there are {measured} to measure it; add labels elsewhere"
            )
        return f"{self.scores.line()} on {measured}, {folds}{WHERE[self.basis]}"


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """JSON has no NaN."""
    return {k: round(v, 4) if np.isfinite(v) else None for k, v in values.items()}
