"""Train a model from series at points: classes or values, measured on whole groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsscale.classical.point_estimator import PointEstimator, check_not_wrapped, is_estimator
from rsscale.cluster.machine import Precision, training_device
from rsscale.decorators.first_argument import TABLE, first_is
from rsscale.errors import RecipeError, nearest
from rsscale.geo.lattice import Lattice
from rsscale.layers import Layer
from rsscale.learn.model import Model
from rsscale.learners.applicability import wrapped
from rsscale.learners.base import Balance, Design, Loop, Task, ValueLoss
from rsscale.learners.point_network import PointNetwork
from rsscale.learners.point_samples import PointSamples, point_samples
from rsscale.legend.classes import LandClass
from rsscale.points.series_table import SeriesTable
from rsscale.training.experiment import run_experiment
from rsscale.training.report import TrainingReport
from rsscale.training.split import SplitPlan, training_samples, without_validation

_OF_ESTIMATORS = ("balance", "validation", "seed")


@dataclass(frozen=True)
class TableTraining:
    """How a model is trained from a table.

    Attributes
    ----------
    epochs : int
        Times that all samples are seen, at most.
    batch : int
        Samples of a step.
    learning_rate : float
        Peak of the one-cycle schedule of AdamW.
    balance : str
        What is done for rare classes: ``"weights"``, errors count the more the rarer the class;
        ``"sampling"``, each class is drawn as often; ``"none"``.
    loss : str
        Of values: ``"huber"``, which outliers sway less, or ``"mse"``.
    validation : float
        Share of the samples, in whole groups, that decides when the training ends and which
        weights are kept.
    patience : int
        Epochs without a better validation that end it; 0 for never.
    precision : str
        ``"bfloat16"`` on GPUs and CPUs that have it.
    seed : int
        The same seed gives the same weights on the same machine and threads.
    """

    epochs: int = 100
    batch: int = 64
    learning_rate: float = 3e-3
    balance: Balance = "weights"
    loss: ValueLoss = "huber"
    validation: float = 0.2
    patience: int = 20
    precision: Precision = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 2 or self.patience < 0:
            raise RecipeError(
                f"training has epochs {self.epochs}, batch {self.batch}, patience "
                f"{self.patience}; expected at least 1, at least 2, and at least 0"
            )

    def loop(self, samples: int) -> Loop:
        """The loop over so many samples: an epoch between validations."""
        steps = max(samples // min(self.batch, max(samples, 1)), 1)
        return Loop(
            steps=self.epochs * steps,
            batch=self.batch,
            learning_rate=self.learning_rate,
            balance=self.balance,
            loss=self.loss,
            validations=self.epochs,
            patience=self.patience,
            precision=self.precision,
            seed=self.seed,
        )


@first_is(SeriesTable, expected=TABLE)
def train_table(
    table: SeriesTable,
    *,
    architecture: str = "tempcnn",
    hyperparameters: Mapping[str, Any] | None = None,
    name: str = "series",
    classes: Sequence[LandClass] | None = None,
    quantities: Sequence[Layer] | None = None,
    folds: int = 0,
    test: float = 0.2,
    conformal: float = 0.9,
    members: int = 1,
    applicability: bool = False,
    observations: int | None = None,
    lattice: Lattice | None = None,
    resolution: float | None = None,
    device: str | None = None,
    **training: Any,
) -> tuple[Model, TrainingReport]:
    """Train a model on series at points; it maps imagery with the same bands and times.

    Parameters
    ----------
    table : SeriesTable
        As :func:`rsscale.read_series_table` reads it, or :meth:`SeriesTable.of_arrays` makes it.
    architecture, hyperparameters
        A network that sees each pixel alone: ``"tempcnn"``, ``"ltae"``, ``"fusion"`` for several
        inputs, or ``"pixel"``; or a classical learner: ``"random_forest"``,
        ``"gradient_boosting"``, ``"nearest_neighbours"``, whose hyperparameters are those of its
        library, and ``indices`` such as ``["NDVI"]``.
    name : str
        Of the model.
    classes : sequence of LandClass, optional
        In the order of the outputs; those of the table when omitted.
    quantities : sequence of Layer, optional
        Layers that the values become, of the names of the table's; float32 when omitted.
    folds : int
        Cross-validation: so many models are trained, each tested on groups that it did not see,
        and the report has the accuracy of all. The model that is returned learns from all samples
        but the validation.
    test : float
        Share of the samples, in whole groups, that a training without folds is measured on.
    conformal : float
        Level of the conformal sets of classes that the model may map.
    members : int
        Networks that are trained from other seeds and averaged; the model may map their
        ``disagreement``.
    applicability : bool
        Whether the model may map ``dissimilarity`` to its training, and where it is ``applicable``.
    observations : int, optional
        Places for observations in the windows of a map: as many dates as there may be, often more
        than a sample has. As many as a sample has at most when omitted.
    lattice : Lattice, optional
        Windows that the model will be run on; 256 px without context when omitted.
    resolution : float, optional
        Pixel width of the imagery, metres on the ground or degrees.
    device : str, optional
        The GPU if there is one, when omitted.
    **training
        See :class:`TableTraining`: epochs, batch, learning_rate, balance, loss, validation,
        patience, precision, seed.

    Returns
    -------
    (Model, TrainingReport)
        The scores in the report are those of groups that were not trained on. With three of them or
        more, the model of classes is calibrated by them.

    Raises
    ------
    RecipeError
        When a class has no sample, a band no value, there are fewer groups than folds, or the
        network looks beyond a pixel.
    ModelError
        When the architecture is not known, or the device has no such precision.
    """
    how = table_settings(training, architecture)
    task, samples = point_samples(table, classes, quantities)
    design = Design(
        name,
        architecture,
        hyperparameters or {},
        lattice or Lattice(256, 0),
        resolution,
        training_device(device),
    )
    plan = SplitPlan(how.validation, test, folds, how.seed)
    learner = table_learner(design, task, how, samples, plan, observations=observations)
    if isinstance(learner, PointEstimator):
        check_not_wrapped(learner.name, members, applicability=applicability)
        return run_experiment(
            learner,
            samples,
            task,
            without_validation(plan),
            conformal=conformal,
            left_out=table.notes,
            observed=table.observed,
        )
    return run_experiment(
        wrapped(learner, members, applicability=applicability),
        samples,
        task,
        plan,
        conformal=conformal,
        left_out=table.notes,
        observed=table.observed,
    )


def table_learner(
    design: Design,
    task: Task,
    how: TableTraining,
    samples: PointSamples,
    plan: SplitPlan,
    *,
    observations: int | None = None,
) -> PointNetwork | PointEstimator:
    """The learner that a design names: a network of single pixels, or a classical one.

    An epoch of a network is as many steps as its training has batches: neither validation nor test
    counts. The models of folds, which learn from fewer samples, see each a little more often.
    """
    if is_estimator(design.architecture):
        return PointEstimator(design, task, how.balance, how.seed, observations)
    counts = samples.counts(task)
    loop = how.loop(training_samples(np.asarray(samples.groups), counts, plan))
    return PointNetwork(design, task, loop, observations)


def table_settings(training: Mapping[str, Any], architecture: str = "") -> TableTraining:
    """Settings of a training by name.

    Raises
    ------
    RecipeError
        When there is no such setting, or a classical learner does not have it.
    """
    known = list(TableTraining.__dataclass_fields__)
    for name in training:
        if name not in known:
            raise RecipeError(
                f"a training from a table has no setting {name!r}; it has {', '.join(known)}"
                f"{nearest(name, known)}"
            )
        if is_estimator(architecture) and name not in _OF_ESTIMATORS:
            raise RecipeError(
                f"{architecture} is not trained step by step and has no {name!r}; it has "
                f"{', '.join(_OF_ESTIMATORS)}, and hyperparameters of its library"
            )
    return TableTraining(**training)
