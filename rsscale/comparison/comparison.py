"""What a comparison says: a table of learners, and the margin of the best."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rsscale import durable
from rsscale.accuracy.place_interval import place_interval
from rsscale.accuracy.sample_scores import ClassScores, Scores, ValueScores
from rsscale.comparison.margin import Margin
from rsscale.decorators.first_argument import made_by
from rsscale.text.html_tables import block, small_lines, table
from rsscale.training.basis import WHERE, Basis
from rsscale.training.calibrate import Calibration

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Trial:
    """A learner of a comparison, and how right it was.

    Attributes
    ----------
    learner : str
    is_baseline : bool
        Whether it is a classical learner.
    scores : ClassScores or ValueScores
        Of all samples that were tested.
    folds : tuple of the same
        Of each fold.
    calibration : Calibration or None
        Of classes, on the same samples; None where they lie in fewer than three places.
    gains : float64 array (N,)
        Of each sample; see :func:`~rsscale.comparison.margin.gains`.
    seconds : float
        Of all trainings and predictions.
    """

    learner: str
    is_baseline: bool
    scores: Scores
    folds: tuple[Scores, ...]
    calibration: Calibration | None
    gains: npt.NDArray[np.float64]
    seconds: float

    def row(self) -> dict[str, float]:
        """Its figures by column."""
        if isinstance(self.scores, ValueScores):
            return {
                **{f"RMSE {name}": value for name, value in self.scores.rmse.items()},
                **{f"R2 {name}": value for name, value in self.scores.r2.items()},
                "seconds": self.seconds,
            }
        calibration, none = self.calibration, float("nan")
        has_sets = calibration is not None and any(calibration.thresholds)
        return {
            "overall accuracy": self.scores.accuracy,
            "balanced accuracy": self.scores.balanced_accuracy,
            **{f"F1 {name}": value for name, value in self.scores.f1.items()},
            "calibration error": calibration.error if calibration else none,
            "coverage": calibration.coverage if calibration and has_sets else none,
            "set size": calibration.set_size if calibration and has_sets else none,
            "seconds": self.seconds,
        }


@made_by("rs.compare(recipe)")
@dataclass(frozen=True, eq=False)
class Comparison:
    """Learners that were tested on the same samples.

    Attributes
    ----------
    trials : tuple of Trial
    groups : int64 array (N,)
        The place of each sample that was tested.
    basis : str
        ``"folds"`` or ``"test"``.
    left_out : tuple of str
        Labels and learners that did not take part, and why; what folds lack.
    """

    trials: tuple[Trial, ...]
    groups: npt.NDArray[np.int64]
    basis: Basis
    left_out: tuple[str, ...] = ()

    @property
    def margin(self) -> Margin | None:
        """Of the best network over the best baseline; of the best over the next without both."""
        ranked = sorted(self.trials, key=lambda trial: -float(trial.gains.mean()))
        networks = [trial for trial in ranked if not trial.is_baseline]
        baselines = [trial for trial in ranked if trial.is_baseline]
        if networks and baselines:
            return self._margin(networks[0], baselines[0])
        return self._margin(ranked[0], ranked[1]) if len(ranked) > 1 else None

    def _margin(self, trial: Trial, other: Trial) -> Margin:
        figures = place_interval(trial.gains - other.gains, self.groups)
        is_of_classes = isinstance(trial.scores, ClassScores)
        measure = "overall accuracy" if is_of_classes else "R2"
        places = len(np.unique(self.groups))
        return Margin(trial.learner, other.learner, measure, *figures, places)

    def to_frame(self) -> pd.DataFrame:
        """The table: a row for each learner, a column for each figure."""
        import pandas as pd

        rows = {trial.learner: trial.row() for trial in self.trials}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("learner")

    def __str__(self) -> str:
        frame = self.to_frame()
        rows = [["", *frame.index]]
        rows += [[name, *map(_cell, frame[name])] for name in frame.columns]
        widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
            for row in rows
        ]
        return "\n".join([*lines, *self._notes()])

    def _notes(self) -> list[str]:
        count = f"{len(self.groups):,} {self._unit}"
        folds = f"{len(self.trials[0].folds)} " if self.basis == "folds" else ""
        lines = [f"tested on the same {count} in {folds}{WHERE[self.basis]}"]
        if self.margin is not None:
            lines.append(str(self.margin))
        scores = self.trials[0].scores
        if isinstance(scores, ClassScores):
            lines += [f"{n!r} has no sample to test" for n, s in scores.samples.items() if not s]
        return [*lines, *(f"left out: {line}" for line in self.left_out)]

    @property
    def _unit(self) -> str:
        of_classes = isinstance(self.trials[0].scores, ClassScores)
        return "labelled pixels" if of_classes else "samples"

    def _repr_html_(self) -> str:
        frame = self.to_frame()
        rows = [(str(name), *map(_cell, frame[name])) for name in frame.columns]
        return block(table(rows, ("", *map(str, frame.index))), small_lines(self._notes()))

    def properties(self) -> dict[str, Any]:
        """All of it as plain values, for JSON."""
        margin = self.margin
        return {
            "rsscale:version": version("rsscale"),
            "basis": self.basis,
            "tested": self._tested(),
            "places": len(np.unique(self.groups)),
            "learners": [
                {
                    "learner": trial.learner,
                    "is_baseline": trial.is_baseline,
                    **_finite(trial.row()),
                    "folds": [_figure(fold) for fold in trial.folds],
                }
                for trial in self.trials
            ],
            "margin": None if margin is None else {**_finite(vars(margin)), "text": str(margin)},
            "left_out": list(self.left_out),
        }

    def _tested(self) -> dict[str, int]:
        scores = self.trials[0].scores
        return scores.samples if isinstance(scores, ClassScores) else {"samples": scores.count}

    def save(self, path: str | Path) -> None:
        """Write it as JSON."""
        text = json.dumps(self.properties(), indent=1) + "\n"
        durable.replace(Path(path), lambda file: file.write(text.encode()))


def _figure(scores: Scores) -> float | None:
    """The overall accuracy or mean R2 of a fold."""
    value = scores.accuracy if isinstance(scores, ClassScores) else scores.figure
    return float(value) if np.isfinite(value) else None


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no NaN."""
    return {
        k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in values.items()
    }


def _cell(value: float) -> str:
    if not np.isfinite(value):
        return "not estimable"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
