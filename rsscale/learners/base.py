"""The nouns of training: a task, samples, and learners that make a model from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from rsscale.accuracy.sample_scores import ClassScores, Scores, ValueScores
from rsscale.cluster.machine import Precision
from rsscale.errors import RecipeError, nearest
from rsscale.geo.lattice import Lattice
from rsscale.geo.sample_groups import GroupShapes
from rsscale.layers import Layer
from rsscale.learn.model import Model
from rsscale.learners.fit import Fit
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import Seen
from rsscale.model.outputs import ClassOutput, Output, ValueOutput
from rsscale.reference.unused_labels import UnusedLabels

Balance = Literal["weights", "sampling", "none"]
ValueLoss = Literal["huber", "mse"]


@dataclass(frozen=True)
class Task:
    """What is learnt: the classes of a legend, or quantities.

    Attributes
    ----------
    classes : tuple of LandClass
        In the order of a model's numbers; empty for quantities.
    quantities : tuple of Layer
        The layers that values become.
    """

    classes: tuple[LandClass, ...] = ()
    quantities: tuple[Layer, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes or the quantities."""
        return tuple(part.name for part in self.classes or self.quantities)

    @property
    def output(self) -> Output:
        """What a network of the task returns."""
        return ClassOutput() if self.classes else ValueOutput(self.quantities)

    def score(self, predictions: Predictions) -> Scores:
        """Compare predictions with the truth; those that are no numbers don't count."""
        known = predictions.known
        numbers, truth = known.numbers, known.truth
        if self.classes:
            return ClassScores.of(self.names, numbers.argmax(axis=1), truth)
        return ValueScores(self.names, numbers.astype(np.float64) - truth, truth)


@dataclass(frozen=True, eq=False)
class Predictions:
    """Numbers of a model for labelled pixels, beside what is true of them.

    Attributes
    ----------
    numbers : float32 array (pixels, K)
        Scores of classes, or values.
    truth : int64 array (pixels,), or float64 array (pixels, Q)
        Number of the class, from 0, or values.
    groups : int64 array (pixels,)
        The place of each: pixels of one group are never parted.
    are_probabilities : bool
        Whether scores are probabilities already, as those of trees are.
    """

    numbers: npt.NDArray[np.float32]
    truth: npt.NDArray[Any]
    groups: npt.NDArray[np.int64]
    are_probabilities: bool = False

    @property
    def are_numbers(self) -> npt.NDArray[np.bool_]:
        """Of which pixels ``(pixels,)`` all numbers are finite."""
        return np.asarray(np.isfinite(self.numbers).all(axis=1))

    @property
    def known(self) -> Predictions:
        """Those of which all numbers are finite."""
        finite = self.are_numbers
        return self if finite.all() else self.subset(finite)

    def subset(self, keep: npt.NDArray[np.bool_]) -> Predictions:
        """Some of the pixels."""
        return Predictions(
            self.numbers[keep], self.truth[keep], self.groups[keep], self.are_probabilities
        )

    def __add__(self, other: Predictions) -> Predictions:
        return Predictions(
            np.concatenate([self.numbers, other.numbers]),
            np.concatenate([self.truth, other.truth]),
            np.concatenate([self.groups, other.groups]),
            self.are_probabilities,
        )


class Samples(Protocol):
    """Protocol of what is labelled: chips of images, or series at points."""

    @property
    def groups(self) -> npt.NDArray[np.int64]:
        """The place of each sample ``(N,)``."""

    @property
    def places(self) -> GroupShapes | None:
        """Where the groups lie; None where that is not known."""

    @property
    def unused(self) -> UnusedLabels:
        """Labels that are in no sample, and why."""

    def counts(self, task: Task) -> npt.NDArray[np.int64]:
        """Labelled pixels ``(N, K)`` of each sample, by class; one column for quantities."""

    def subset(self, keep: npt.NDArray[np.bool_]) -> Self:
        """Some of the samples."""

    def __len__(self) -> int:
        """Number of samples."""


@dataclass(frozen=True)
class Fitted:
    """A model as a learner made it.

    Attributes
    ----------
    model : Model
    fit : Fit or None
        How its loop went; None for what has none.
    """

    model: Model
    fit: Fit | None = None


S = TypeVar("S", bound=Samples)
S_contra = TypeVar("S_contra", bound=Samples, contravariant=True)


class Learner(Protocol[S_contra]):
    """Protocol of what makes a model from samples of a kind."""

    @property
    def name(self) -> str:
        """By which tables call it."""

    def fit(self, training: S_contra, validation: S_contra) -> Fitted:
        """Make a model of the training samples; the validation, if any, picks the best one."""

    def predict(self, model: Model, samples: S_contra) -> Predictions:
        """Numbers of such a model for the labelled pixels of other samples."""


class NetworkLearner(Learner[S], Protocol[S]):
    """Protocol of a learner whose model is a network of torch."""

    @property
    def design(self) -> Design:
        """What the network is to be."""

    @property
    def task(self) -> Task:
        """What it learns."""

    def from_seed(self, number: int) -> NetworkLearner[S]:
        """The same with another seed: so many beyond its own."""

    def features(
        self, model: Model, samples: S
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """What a network of its is given of labelled pixels ``(P, F)``, and their groups."""


@dataclass(frozen=True)
class Design:
    """What a model is to be, before it has learnt anything.

    Attributes
    ----------
    name : str
    architecture : str
        A network or kind of trees by name; see :mod:`rsscale.learn.architectures`.
    hyperparameters : mapping
    lattice : Lattice
        Windows that it will be run on.
    resolution : float, optional
        Pixel width of the imagery, metres on the ground or degrees.
    device : str
    seen : str
        Which inputs must have seen a pixel: ``"any"`` or ``"all"``.
    """

    name: str
    architecture: str
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    lattice: Lattice = field(default_factory=lambda: Lattice(256, 0))
    resolution: float | None = None
    device: str = "cpu"
    seen: Seen = "any"


@dataclass(frozen=True)
class Loop:
    """How a network is trained.

    Attributes
    ----------
    steps : int
        Of the optimiser, at most.
    batch : int
        Crops or samples of a step.
    learning_rate : float
        Peak of the one-cycle schedule of AdamW.
    balance : str
        What is done for rare classes: ``"weights"``, errors count the more the rarer the class;
        ``"sampling"``, rare classes are drawn more often than they occur; ``"none"``.
    loss : str
        Of values: ``"huber"``, which outliers sway less, or ``"mse"``.
    validations : int
        How often the network is validated on its way; the best weights are kept.
    patience : int
        Validations in a row without a better one that end the training; 0 for never.
    precision : str
        ``"bfloat16"`` on GPUs and CPUs that have it.
    seed : int
        The same seed gives the same weights on the same machine and threads.
    crop : int
        Width of crops, px, a multiple of 32; less where chips are smaller.
    """

    steps: int = 350
    batch: int = 8
    learning_rate: float = 3e-3
    balance: Balance = "sampling"
    loss: ValueLoss = "huber"
    validations: int = 10
    patience: int = 0
    precision: Precision = "float32"
    seed: int = 0
    crop: int = 96

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or self.validations < 0 or self.patience < 0:
            raise RecipeError(
                f"training has steps {self.steps}, batch {self.batch}, validations "
                f"{self.validations}, patience {self.patience}; expected at least 1, 1, 0 and 0"
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

    @property
    def every(self) -> int:
        """Steps between validations; 0 for none."""
        return max(self.steps // self.validations, 1) if self.validations else 0
