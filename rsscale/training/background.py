"""What a training was asked to do, where its places lie, and what it was made from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Protocol

from rsscale.accuracy.sample_scores import Scores
from rsscale.geo.sample_groups import GroupShapes
from rsscale.learners.base import Loop, Predictions, Task
from rsscale.learners.fit import Fit
from rsscale.reference.unused_labels import UnusedLabels
from rsscale.training.calibrate import Calibration
from rsscale.training.split import Split, SplitPlan

Observed = Mapping[str, Mapping[str, float]]
"""Share of the labelled pixels that a time window has values of, by input and window."""
_NOT_SETTINGS = ("task", "inputs", "checkpoints")  # told by the contract, or no matter of it


@dataclass(frozen=True)
class Background:
    """All that a report keeps beside results.

    Attributes
    ----------
    task : Task
    plan : SplitPlan
    settings : mapping
        Of the learner, as plain data.
    loop : Loop or None
        How a network was trained.
    labels : mapping of group to mapping of class name to int
        Labelled pixels of each place.
    places : GroupShapes or None
    unused : UnusedLabels
    provenance : mapping
        Plain data: files with their digests, imagery, recipe.
    observed : mapping of input name to mapping of time window to float
        Share of the labelled pixels that a window has values of.
    """

    task: Task = field(default_factory=Task)
    plan: SplitPlan = field(default_factory=SplitPlan)
    settings: Mapping[str, Any] = field(default_factory=dict)
    loop: Loop | None = None
    labels: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    places: GroupShapes | None = None
    unused: UnusedLabels = field(default_factory=UnusedLabels)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    observed: Observed = field(default_factory=dict)


class Placed(Protocol):
    """Protocol of what a background needs of samples."""

    @property
    def places(self) -> GroupShapes | None:
        """Where the groups lie."""

    @property
    def unused(self) -> UnusedLabels:
        """Labels that are in no sample."""


def background_of(
    learner: Any,
    task: Task,
    plan: SplitPlan,
    labels: Mapping[int, Mapping[str, int]],
    samples: Placed,
    *,
    observed: Observed | None = None,
) -> Background:
    """The background of an experiment; settings are the learner's fields."""
    return Background(
        task=task,
        plan=plan,
        settings=_plain(learner) if is_dataclass(learner) else {},
        loop=_loop_of(learner),
        labels=labels,
        places=samples.places,
        unused=samples.unused,
        observed=observed or {},
    )


def _loop_of(learner: Any) -> Loop | None:
    """How its network is trained; of a learner around another, such as an ensemble, that one's."""
    if not is_dataclass(learner):
        return None
    values = [getattr(learner, part.name) for part in fields(learner)]
    own = next((value for value in values if isinstance(value, Loop)), None)
    return own or next(filter(None, map(_loop_of, values)), None)


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if is_dataclass(value):
        names = [part.name for part in fields(value) if part.name not in _NOT_SETTINGS]
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    is_plain = isinstance(value, str | int | bool | None) or (
        isinstance(value, float) and math.isfinite(value)
    )
    return value if is_plain else str(value)


# Properties, as reports are frozen; what each is, its class says.
class Fold(Protocol):
    """Protocol of what a story needs of a :class:`~rsscale.training.report.FoldReport`."""

    @property
    def number(self) -> int:
        """From 1."""

    @property
    def scores(self) -> Scores:
        """On places not trained on."""

    @property
    def trained(self) -> Mapping[str, int]:
        """Labelled pixels learnt from."""

    @property
    def split(self) -> Split | None:
        """Roles of the groups."""


class SplitReport(Protocol):
    """Protocol of what the story of a split needs of a report."""

    @property
    def trained(self) -> Mapping[str, int]:
        """What was learnt from, by class."""

    @property
    def split(self) -> Split:
        """Roles of the groups."""

    @property
    def folds(self) -> Sequence[Fold]:
        """Of a cross-validation."""

    @property
    def background(self) -> Background:
        """What was asked for."""


class Report(Protocol):
    """Protocol of what a story needs of a :class:`~rsscale.training.report.TrainingReport`."""

    @property
    def learner(self) -> str:
        """The kind of model."""

    @property
    def scores(self) -> Scores:
        """On places not trained on."""

    @property
    def basis(self) -> str:
        """Which places the scores are of."""

    @property
    def trained(self) -> Mapping[str, int]:
        """Labelled pixels learnt from."""

    @property
    def tested(self) -> Mapping[str, int]:
        """Labelled pixels that they are of."""

    @property
    def split(self) -> Split:
        """Roles of the groups."""

    @property
    def folds(self) -> Sequence[Fold]:
        """Of a cross-validation."""

    @property
    def fit(self) -> Fit | None:
        """How the loop went."""

    @property
    def calibration(self) -> Calibration | None:
        """By what was measured."""

    @property
    def seed(self) -> int:
        """Of the training."""

    @property
    def seconds(self) -> float:
        """That it took."""

    @property
    def left_out(self) -> Sequence[str]:
        """Labels that were not used."""

    @property
    def predictions(self) -> Predictions | None:
        """What the scores are of."""

    @property
    def background(self) -> Background:
        """What was asked for."""

    @property
    def unit(self) -> str:
        """What is counted."""

    @property
    def verdict(self) -> str:
        """The accuracy in words."""

    @property
    def remarks(self) -> Sequence[str]:
        """What did not go as it was asked for, in a line each."""

    @property
    def not_numbers(self) -> int:
        """Predictions that are NaN or infinite."""
