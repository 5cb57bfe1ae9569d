"""The network that a design asks for, with its first weights, and losses on labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from rsscale.cluster.machine import has_bfloat16, no_bfloat16
from rsscale.errors import ModelError
from rsscale.learn.architectures import build, complete, registered, small_size
from rsscale.learn.weights import check_windows
from rsscale.learners.base import Design, Loop, Samples, Task
from rsscale.learners.checkpoint import Checkpoint, Checkpoints, samples_of
from rsscale.learners.chips import UNLABELLED
from rsscale.learners.fit import Loss, Schedule
from rsscale.model.model_input import ModelInput
from rsscale.model.spec import ModelSpec
from rsscale.runtimes.pretrained import begin_with_encoder


def contract(design: Design, inputs: Sequence[ModelInput], task: Task) -> ModelSpec:
    """The contract of the network to be.

    Raises
    ------
    ModelError
        When the architecture is not known, or finds objects.
    """
    known = registered(design.architecture)
    if known.finds_objects:
        raise ModelError(
            f"architecture {design.architecture!r} is a detector, which learns from boxes or "
            "polygons of objects and maps no pixels; see docs/objects.md"
        )
    return ModelSpec(
        name=design.name,
        inputs=tuple(inputs),
        classes=task.classes,
        lattice=design.lattice,
        architecture=design.architecture,
        hyperparameters=complete(design.architecture, design.hyperparameters),
        resolution=design.resolution,
        output=task.output,
        layout=known.layout,
        seen=design.seen,
    )


def first_network(spec: ModelSpec, seed: int) -> torch.nn.Module:
    """The network of a contract with its first weights, which depend on the seed alone.

    Raises
    ------
    ModelError
        When it can't take the windows of the contract.
    """
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers go on as they were
        torch.manual_seed(seed)
        module = build(spec.architecture, spec.inputs, spec.output_channels, **spec.hyperparameters)
    begin_with_encoder(module, spec.architecture, spec.channels, spec.hyperparameters)
    size = small_size(spec.lattice.window)
    check_windows(module.eval(), spec, size, f"architecture {spec.architecture!r}")
    return module


def score_channels(spec: ModelSpec) -> int:
    """Numbers of the task itself that a network returns, which come before all others."""
    return spec.output_channels - len(spec.extras)


def schedule_of(loop: Loop) -> Schedule:
    """The schedule of a loop."""
    return Schedule(
        steps=loop.steps,
        learning_rate=loop.learning_rate,
        every=loop.every,
        patience=loop.patience,
        precision=loop.precision,
        seed=loop.seed,
    )


def checkpoint_of(
    settings: str, checkpoints: Checkpoints | None, task: Task, *samples: Samples
) -> Checkpoint | None:
    """The checkpoint of a network's loop on such samples, if checkpoints are kept.

    It is found by all that decides the weights: a loop with another design, another seed or other
    samples, such as those of another fold, has a checkpoint of its own.
    """
    if checkpoints is None:
        return None
    parts = [samples_of(some.groups, some.counts(task)) for some in samples]
    return checkpoints.of(settings, *parts)


def check_precision(loop: Loop, device: str) -> None:
    """Refuse bfloat16 where it is slower than float32.

    Raises
    ------
    ModelError
    """
    if loop.precision == "bfloat16" and not has_bfloat16(torch.device(device).type):
        raise ModelError(no_bfloat16(device))


def class_loss(weights: npt.NDArray[np.float64] | None) -> Loss:
    """Cross-entropy over labelled pixels, with weights of the classes if there are any."""
    tensor = None if weights is None else torch.tensor(weights, dtype=torch.float32)

    def cross_entropy(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        weight = None if tensor is None else tensor.to(scores.device)
        return functional.cross_entropy(scores, targets, weight, ignore_index=UNLABELLED)

    return cross_entropy


def class_weights(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The rarer, the heavier: by the inverse root of the count, 1 on the average sample."""
    weights = 1 / np.sqrt(np.maximum(counts, 1))
    scaled: npt.NDArray[np.float64] = weights * (counts.sum() / math.fsum(weights * counts))
    return scaled
