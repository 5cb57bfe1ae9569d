"""Train a network on labelled images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rsscale.cluster.machine import training_device
from rsscale.geo.lattice import Lattice
from rsscale.learn.model import Model
from rsscale.learners.applicability import wrapped
from rsscale.learners.base import Balance, Design, Loop, Task
from rsscale.learners.chips import Chips, InputBands
from rsscale.learners.image_network import ImageNetwork
from rsscale.legend.classes import LandClass
from rsscale.training.checks import check_chips, check_classes
from rsscale.training.experiment import run_experiment
from rsscale.training.report import TrainingReport
from rsscale.training.split import SplitPlan


def train_images(
    chips: Chips,
    *,
    name: str,
    inputs: Sequence[InputBands],
    classes: Sequence[LandClass],
    lattice: Lattice,
    resolution: float | None = None,
    architecture: str = "unet",
    hyperparameters: Mapping[str, Any] | None = None,
    steps: int = 350,
    batch: int = 8,
    crop: int = 96,
    learning_rate: float = 3e-3,
    balance: Balance = "sampling",
    patience: int = 0,
    members: int = 1,
    applicability: bool = False,
    seed: int = 0,
    validation: float = 0.2,
    test: float = 0.2,
    folds: int = 0,
    conformal: float = 0.9,
    device: str | None = None,
) -> tuple[Model, TrainingReport]:
    """Train a network to tell the classes of labelled pixels.

    Parameters
    ----------
    chips : Chips
    name : str
        Of the model.
    inputs : sequence of InputBands
        What the channels are, in order.
    classes : sequence of LandClass
        In the order of the output channels; each needs a labelled pixel.
    lattice : Lattice
        Windows that the model will be run on.
    resolution : float, optional
        Pixel width, metres on the ground or degrees.
    architecture, hyperparameters
        See :mod:`rsscale.learn.architectures`.
    steps, batch, crop : int
        Optimiser steps, crops in each, and their width, px.
    learning_rate : float
        Peak of the one-cycle schedule of AdamW.
    balance : str
        See :class:`~rsscale.learners.base.Loop`.
    patience : int
        Validations in a row without a better one that end the training; 0 for never.
    members : int
        Networks that are trained from other seeds and averaged; the model may map their
        ``disagreement``.
    applicability : bool
        Whether the model may map ``dissimilarity`` to its training, and where it is ``applicable``.
    seed : int
        The same seed gives the same weights on the same machine and threads.
    validation, test : float
        Shares of the labelled pixels, in whole spatial blocks: the validation chooses the weights,
        the test measures the accuracy, and calibrates probabilities: the model's ``confidence`` is
        the calibrated one.
    folds : int
        Cross-validation in place of a test; see :class:`~rsscale.training.split.SplitPlan`.
    conformal : float
        Level of the conformal sets that the model may map (``set_size``, ``class_set``).
    device : str, optional
        The GPU if there is one, when omitted.

    Returns
    -------
    (Model, TrainingReport)

    Raises
    ------
    RecipeError
        When there is no labelled pixel, a class has none, or all imagery or that of a band is
        missing; or when the loss is no number in the end.
    ModelError
        When the architecture is not known, or can't take the windows of the lattice, or there
        is no such device.
    """
    check_chips(chips, inputs, classes)
    chips = chips.seen
    check_classes(chips, classes)
    device = training_device(device)
    network = ImageNetwork(
        design=Design(name, architecture, hyperparameters or {}, lattice, resolution, device),
        task=Task(classes=tuple(classes)),
        inputs=tuple(inputs),
        loop=Loop(steps, batch, learning_rate, balance, patience=patience, seed=seed, crop=crop),
    )
    plan = SplitPlan(validation, test, folds, seed)
    learner = wrapped(network, members, applicability=applicability)
    labelled = chips.subset((chips.labels != 255).any(axis=(1, 2)))
    return run_experiment(
        learner,
        labelled,
        network.task,
        plan,
        conformal=conformal,
        left_out=chips.left_out,
        observed=labelled.observed(network.inputs),
    )
