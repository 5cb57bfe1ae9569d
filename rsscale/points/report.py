"""What a training from a table says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from rsscale.learn.fit import Fit
from rsscale.points.scores import ClassScores, Scores, ValueScores


@dataclass(frozen=True)
class FoldReport:
    """One model of a cross-validation.

    Attributes
    ----------
    number : int
        From 1.
    scores : ClassScores or ValueScores
        On the fold's samples, of which the model saw no group.
    trained : mapping of class name to int
        Samples that it learnt from; ``samples`` for values.
    """

    number: int
    scores: Scores
    trained: Mapping[str, int]

    def lacks(self, names: Sequence[str]) -> list[str]:
        """Classes that its training or its test did not have."""
        if not isinstance(self.scores, ClassScores):
            return []
        untaught = [n for n in names if not self.trained[n]]
        untested = [n for n in names if not self.scores.samples[n]]
        return [
            *(f"fold {self.number} has no {n!r} to learn from: its are wrong" for n in untaught),
            *(f"fold {self.number} has no {n!r} to test" for n in untested),
        ]


@dataclass(frozen=True)
class TableReport:
    """Result of a training from a table.

    Attributes
    ----------
    scores : ClassScores or ValueScores
        Of all folds together; without folds, of the groups kept back for validation.
    trained : mapping of class name to int
        Samples that the model learnt from; ``samples`` for values.
    folds : tuple of FoldReport
        Empty without cross-validation.
    fit : Fit
        Losses, validations and kept step of the model.
    seed : int
    seconds : float
    notes : tuple of str
        What was left out, how samples are grouped, and classes that folds lack.
    """

    scores: Scores
    trained: Mapping[str, int]
    folds: tuple[FoldReport, ...]
    fit: Fit
    seed: int
    seconds: float
    notes: tuple[str, ...] = ()

    def properties(self) -> dict[str, Any]:
        """Properties for the model's STAC item, equal for two equal trainings."""
        measured: dict[str, Any]
        if isinstance(self.scores, ValueScores):
            measured = {"validation_rmse": _finite(self.scores.rmse)}
        else:
            total = {"accuracy": self.scores.accuracy, "balanced": self.scores.balanced_accuracy}
            known = _finite(total)
            measured = {
                "validation_accuracy": known["accuracy"],
                "validation_balanced_accuracy": known["balanced"],
                "validation_f1": _finite(self.scores.f1),
            }
        return {
            "rsscale:version": version("rsscale"),
            "rsscale:training": {
                "steps": len(self.fit.losses),
                "seed": self.seed,
                "samples": dict(self.trained),
                "folds": len(self.folds),
                "validation_samples": self.scores.count,
                **measured,
                "notes": list(self.notes),
            },
        }

    def __str__(self) -> str:
        head = (
            f"trained {len(self.fit.losses)} steps on {sum(self.trained.values()):,} samples in "
            f"{self.seconds:.0f} s, loss {self.fit.loss:.3f}; weights of step {self.fit.kept}"
        )
        lines = [
            head,
            self._verdict(),
            *(self.scores.lines() if self.scores.count else []),
            *(
                f"  fold {fold.number}: {fold.scores.count} samples, {fold.scores.line()}"
                for fold in self.folds
            ),
        ]
        return "\n".join([*lines, *self.notes])

    def _verdict(self) -> str:
        if not self.scores.count:
            return "accuracy not estimable: no group was left to measure it"
        where = (
            f"{len(self.folds)} folds of groups that were not trained on"
            if self.folds
            else "groups that were not trained on, but chose the weights"
        )
        return f"{self.scores.line()}; {self.scores.count:,} samples, {where}"


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """JSON has no NaN."""
    return {k: round(v, 4) if np.isfinite(v) else None for k, v in values.items()}
