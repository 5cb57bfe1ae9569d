"""Train a model from series at points: classes or values, validated by whole groups."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

from rsscale.cluster.machine import Precision, has_bfloat16, no_bfloat16
from rsscale.errors import ModelError, RecipeError, nearest
from rsscale.geo.lattice import Lattice
from rsscale.layers import Layer
from rsscale.learn.architectures import ARCHITECTURES, build, complete, registered
from rsscale.learn.fit import Fit, Schedule, fit
from rsscale.learn.model import Model, move
from rsscale.learn.weights import check_windows
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import ModelInput
from rsscale.model.outputs import ClassOutput, Output, ValueOutput
from rsscale.model.spec import ModelSpec
from rsscale.network.receptive_field import reach_of
from rsscale.points.batches import Balance, TableBatches, into_physical, predict_numbers
from rsscale.points.folds import folds_of, kept_back
from rsscale.points.report import FoldReport, TableReport
from rsscale.points.scores import ClassScores, Scores, ValueScores
from rsscale.points.series_table import SeriesInput, SeriesTable
from rsscale.reference.class_column import classes_in, values_in

ValueLoss = Literal["huber", "mse"]


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
        if self.epochs < 1 or self.batch < 2 or not 0 <= self.validation < 1 or self.patience < 0:
            raise RecipeError(
                f"training has epochs {self.epochs}, batch {self.batch}, validation "
                f"{self.validation}, patience {self.patience}; expected at least 1, at least 2, a "
                "share from 0 to below 1, and at least 0"
            )
        for name, value, known in (
            ("balance", self.balance, get_args(Balance)),
            ("loss", self.loss, get_args(ValueLoss)),
            ("precision", self.precision, get_args(Precision)),
        ):
            if value not in known:
                raise RecipeError(
                    f"{name} is {value!r}; expected one of {', '.join(known)}"
                    f"{nearest(value, known)}"
                )


def train_table(
    table: SeriesTable,
    *,
    architecture: str = "tempcnn",
    hyperparameters: Mapping[str, Any] | None = None,
    name: str = "series",
    classes: Sequence[LandClass] | None = None,
    quantities: Sequence[Layer] | None = None,
    folds: int = 0,
    observations: int | None = None,
    lattice: Lattice | None = None,
    resolution: float | None = None,
    device: str | None = None,
    **training: Any,
) -> tuple[Model, TableReport]:
    """Train a model on series at points; it maps imagery with the same bands and times.

    Parameters
    ----------
    table : SeriesTable
        As :func:`rsscale.read_series_table` reads it, or :meth:`SeriesTable.of_arrays` makes it.
    architecture, hyperparameters
        A network that sees each pixel alone: ``"tempcnn"``, ``"ltae"``, ``"fusion"`` for several
        inputs, or ``"pixel"``.
    name : str
        Of the model.
    classes : sequence of LandClass, optional
        In the order of the outputs; those of the table when omitted.
    quantities : sequence of Layer, optional
        Layers that the values become, of the names of the table's; float32 when omitted.
    folds : int
        Cross-validation: so many models are trained, each tested on groups that it did not see,
        and the report has the accuracy of all. The model that is returned learns from all samples.
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
    (Model, TableReport)
        The scores in the report are those of groups that were not trained on. Without folds these
        are the groups that decided when the training ended, so that they are somewhat too good.

    Raises
    ------
    RecipeError
        When a class has no sample, a band no value, there are fewer groups than folds, or the
        network looks beyond a pixel.
    ModelError
        When the architecture is not known, or the device has no such precision.
    """
    started = time.monotonic()
    how = _settings(training)
    problem = _Problem.of(table, classes, quantities)
    known = registered(architecture)
    spec = ModelSpec(
        name=name,
        inputs=tuple(_input(one, observations, known.takes) for one in table.inputs),
        classes=problem.classes,
        lattice=lattice or Lattice(256, 0),
        architecture=architecture,
        hyperparameters=complete(architecture, hyperparameters or {}),
        resolution=resolution,
        output=problem.output,
        layout=known.layout,
    )
    _check_alone(spec)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if how.precision == "bfloat16" and not has_bfloat16(torch.device(device).type):
        raise ModelError(no_bfloat16(device))
    tested, results = _cross_validate(spec, problem, folds, how, device)
    back = kept_back(table.groups, problem.codes, how.validation, how.seed)
    model, done = _train(spec, problem, ~back, back, how=how, device=device)
    scores = tested if folds else problem.scores(model, back)
    return model, TableReport(
        scores=scores,
        trained=_counts(problem, ~back),
        folds=results,
        fit=done,
        seed=how.seed,
        seconds=time.monotonic() - started,
        notes=(*table.notes, *problem.lacks(results)),
    )


@dataclass(frozen=True, eq=False)
class _Problem:
    """A table with what its targets are to a network: numbers of classes, or values."""

    table: SeriesTable
    classes: tuple[LandClass, ...]
    output: Output
    codes: npt.NDArray[np.int64]  # (N,), all 0 for values

    @classmethod
    def of(
        cls,
        table: SeriesTable,
        classes: Sequence[LandClass] | None,
        quantities: Sequence[Layer] | None,
    ) -> _Problem:
        if table.quantities:
            layers = quantities or [
                Layer(name, dtype="float32", overview="mean") for name in table.quantities
            ]
            if [layer.name for layer in layers] != list(table.quantities):
                raise RecipeError(
                    f"the layers {[layer.name for layer in layers]} are not the table's values "
                    f"{list(table.quantities)}"
                )
            return cls(table, (), ValueOutput(tuple(layers)), np.zeros(len(table), np.int64))
        known = tuple(classes or classes_in(table.targets, "the samples"))
        number = {one.value: index for index, one in enumerate(known)}
        values = values_in(table.targets, known, "the samples")
        codes = np.array([number[value] for value in values], np.int64)
        missing = [c.name for k, c in enumerate(known) if not (codes == k).any()]
        if missing or len(known) < 2:
            found = f"class {missing[0]!r} has no sample" if missing else "there is one class"
            raise RecipeError(f"{found}; a model tells at least two classes apart, add samples")
        return cls(table, known, ClassOutput(), codes)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.classes)

    @property
    def targets(self) -> npt.NDArray[Any]:
        return self.codes if self.classes else self.table.targets

    def scores(self, model: Model, where: npt.NDArray[np.bool_]) -> Scores:
        """Of a model at some samples, of which there may be none."""
        numbers = predict_numbers(model, self.table.subset(where))
        return self.scored(numbers, self.targets[where])

    def scored(self, numbers: npt.NDArray[np.float32], truth: npt.NDArray[Any]) -> Scores:
        if self.classes:
            return ClassScores.of(self.names, numbers.argmax(axis=1), truth)
        return ValueScores(self.table.quantities, numbers.astype(np.float64) - truth, truth)

    def lacks(self, folds: Sequence[FoldReport]) -> list[str]:
        """What folds did not have of classes."""
        return [line for fold in folds for line in fold.lacks(self.names)]


def _settings(training: Mapping[str, Any]) -> TableTraining:
    known = list(TableTraining.__dataclass_fields__)
    for name in training:
        if name not in known:
            raise RecipeError(
                f"a training from a table has no setting {name!r}; it has {', '.join(known)}"
                f"{nearest(name, known)}"
            )
    return TableTraining(**training)


def _input(one: SeriesInput, observations: int | None, takes: tuple[str, ...]) -> ModelInput:
    """An input of the contract, its statistics not known yet."""
    count = len(one.bands)
    length = 0 if one.times else max(observations or 0, one.values.shape[1])
    unknown = (0.0,) * count, (1.0,) * count
    return ModelInput(one.name, one.bands, one.times, *unknown, length, takes)


def _check_alone(spec: ModelSpec) -> None:
    reach = reach_of(spec.architecture, spec.hyperparameters)
    if reach:
        raise RecipeError(
            f"architecture {spec.architecture!r} looks {reach} px around a pixel, and samples at "
            "points have no surroundings; use 'tempcnn', 'ltae', 'fusion' or 'pixel', or train on "
            "images (rsscale.train)"
        )


def _cross_validate(
    spec: ModelSpec, problem: _Problem, folds: int, how: TableTraining, device: str
) -> tuple[Scores, tuple[FoldReport, ...]]:
    """Scores of all folds together, and of each; none for no folds."""
    table, results = problem.table, []
    numbers = np.zeros((len(table), spec.output_channels), np.float32)
    fold = folds_of(table.groups, folds, how.seed) if folds else np.zeros(0, np.int64)
    for number in range(folds):
        test = fold == number
        back = np.zeros(len(table), bool)
        back[~test] = kept_back(
            table.groups[~test], problem.codes[~test], how.validation, how.seed + number
        )
        model, _ = _train(spec, problem, ~test & ~back, back, how=how, device=device)
        numbers[test] = predict_numbers(model, table.subset(test))
        scores = problem.scored(numbers[test], problem.targets[test])
        results.append(FoldReport(number + 1, scores, _counts(problem, ~test & ~back)))
    return problem.scored(numbers, problem.targets), tuple(results)


def _train(
    spec: ModelSpec,
    problem: _Problem,
    use: npt.NDArray[np.bool_],
    back: npt.NDArray[np.bool_],
    *,
    how: TableTraining,
    device: str,
) -> tuple[Model, Fit]:
    """A model of some samples, whose best weights others choose."""
    table = problem.table.subset(use)
    spec = replace(
        spec,
        inputs=tuple(
            _with_statistics(empty, one)
            for empty, one in zip(spec.inputs, table.inputs, strict=True)
        ),
    )
    module = move(_initial(spec, how.seed), device)
    batches = TableBatches(
        table,
        problem.targets[use],
        spec,
        batch=how.batch,
        balance=how.balance,
        seed=how.seed,
        device=torch.device(device),
        scales=spec.architecture in ARCHITECTURES,  # their last layer is linear, and known
    )
    model = Model(spec, module, torch.device(device), reach=0)
    loss = batches.loss(how.loss)

    held = problem.table.subset(back)
    truth = batches.scaled(problem.targets[back])

    def validate() -> tuple[float, ...]:
        numbers = predict_numbers(model, held)
        value = float(loss(torch.from_numpy(numbers[:, :, None, None]), truth))
        if not problem.classes:
            return (-value,)
        scores = problem.scored(numbers, problem.targets[back])
        return (scores.balanced_accuracy, -value)  # type: ignore[union-attr]

    schedule = Schedule(
        steps=how.epochs * batches.steps,
        learning_rate=how.learning_rate,
        every=batches.steps,
        patience=how.patience,
        precision=how.precision,
        seed=how.seed,
    )
    done = fit(module, iter(batches), loss, schedule, validate if back.any() else None)
    into_physical(module, batches.center, batches.spread)
    return model, done


def _with_statistics(empty: ModelInput, one: SeriesInput) -> ModelInput:
    """Mean and standard deviation of each band over all valid observations."""
    values = one.values[one.valid]  # (observations, B)
    if not len(values):
        raise RecipeError(
            f"input {one.name!r} has no observation with a value of all of {list(one.bands)} in "
            "the training; check nodata and bands"
        )
    mean, std = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
    # Six digits, for readable contracts.
    rounded = [tuple(float(f"{v:.6g}") for v in some) for some in (mean, np.maximum(std, 1e-6))]
    return replace(empty, mean=rounded[0], std=rounded[1])


def _initial(spec: ModelSpec, seed: int) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers go on as they were
        torch.manual_seed(seed)
        module = build(spec.architecture, spec.inputs, spec.output_channels, **spec.hyperparameters)
    check_windows(module.eval(), spec, 1, f"architecture {spec.architecture!r}")
    return module


def _counts(problem: _Problem, where: npt.NDArray[np.bool_]) -> dict[str, int]:
    """Samples by class, or of all values."""
    if not problem.classes:
        return {"samples": int(where.sum())}
    counts = np.bincount(problem.codes[where], minlength=len(problem.classes))
    return {name: int(count) for name, count in zip(problem.names, counts, strict=True)}
