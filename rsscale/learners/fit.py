"""The loop that trains a network: one-cycle AdamW, the best weights kept, trouble told at once.

The seed decides the first weights, the samples of each batch and how they are turned, and what is
random in the network, such as dropout; of an experiment also how its samples are split. With the
same samples, versions, device and number of threads the weights are the same to the last bit, also
when the training was stopped on its way and went on from a checkpoint. The seed does not decide the
order of sums: it changes with the number of torch's threads, the device and the kind of CPU, and
with it the last digits of each step, which grow with the steps; some sums of CUDA have no fixed
order either. How samples were read, and by how many workers, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from rsscale.cluster.engine import Stop
from rsscale.cluster.machine import Precision
from rsscale.cluster.signals import stop_on_signals
from rsscale.errors import RecipeError
from rsscale.learners.checkpoint import Best, Checkpoint, LoopState, Score
from rsscale.progress.bars import progress

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Of what a network returns, and the targets."""
_GRACE_S = 25.0


@dataclass(frozen=True)
class Schedule:
    """How long a network is trained, how fast, and when it is good enough.

    Attributes
    ----------
    steps : int
        Optimiser steps at most.
    learning_rate : float
        Peak of the one-cycle schedule (Smith & Topin 2018, https://arxiv.org/abs/1708.07120).
    every : int
        Steps between validations; 0 for none.
    patience : int
        Validations in a row without a better one that end the training; 0 for never.
    weight_decay : float
    precision : str
        ``"bfloat16"``: forward passes in 16 bits by :class:`torch.autocast`.
    seed : int
        Of what is random in the network, such as dropout.
    """

    steps: int
    learning_rate: float
    every: int = 0
    patience: int = 0
    weight_decay: float = 1e-2
    precision: Precision = "float32"
    seed: int = 0


@dataclass(frozen=True)
class Fit:
    """How a training went.

    Attributes
    ----------
    losses : tuple of float
        Of each step that was made.
    scores : tuple of (int, Score)
        Of each validation, with the number of steps before it.
    kept : int
        Steps after which the weights were what they are now.
    """

    losses: tuple[float, ...]
    scores: tuple[tuple[int, Score], ...] = ()
    kept: int = 0

    @property
    def loss(self) -> float:
        """Mean over the last tenth of the steps."""
        return float(np.mean(self.losses[-max(len(self.losses) // 10, 1) :]))


def fit(
    module: nn.Module,
    batches: Iterator[tuple[Any, torch.Tensor]],
    loss: Loss,
    schedule: Schedule,
    validate: Callable[[], Score] | None = None,
    *,
    checkpoint: Checkpoint | None = None,
) -> Fit:
    """Train a network in place; it ends in evaluation mode, with its best weights.

    Parameters
    ----------
    module : torch.nn.Module
    batches : iterator of (given, Tensor)
        What the network is called with, and the targets, on its device.
    loss : callable
    schedule : Schedule
    validate : callable, optional
        Scores the network, which is in evaluation mode then. The weights with the best score are
        kept; those of the last step without it.
    checkpoint : Checkpoint, optional
        Goes on from it, and keeps it on the way and at the end; batches are
        :class:`~rsscale.learners.checkpoint.Resumable` then.

    Raises
    ------
    RecipeError
        As soon as the loss is no number, with the step and the weights that are none.
    KeyboardInterrupt
        After Ctrl-C or SIGTERM, once a step is done and, with a checkpoint, kept.
    """
    device = next(module.parameters()).device
    best, losses = Best(module), list[float]()

    def is_over() -> bool:
        is_patient = not schedule.patience or best.waited < schedule.patience
        return len(losses) >= schedule.steps or not is_patient

    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        progress("train", schedule.steps, "steps") as bar,
        _stopping(checkpoint) as stop,
    ):
        torch.manual_seed(schedule.seed)
        step = _Step(module, loss, schedule, device)
        state = LoopState(module, step.optimizer, step.rate, best, losses, batches)
        keep = _Keeper(checkpoint, state, stop, schedule.steps)
        step.made = len(losses)
        bar.keep(len(losses))
        while not is_over():
            losses.append(step(*next(batches)))
            bar.advance()
            bar.note(f"loss {np.mean(losses[-50:]):.3f}")
            number = len(losses)
            is_last = number == schedule.steps
            if validate and schedule.every and (number % schedule.every == 0 or is_last):
                module.eval()
                best.note(number, validate())
            keep(is_last=is_over())
    module.eval()
    if best.weights:
        module.load_state_dict(best.weights)
    kept = best.number if best.scores else len(losses)
    return Fit(tuple(losses), tuple(best.scores), kept)


def _stopping(checkpoint: Checkpoint | None) -> AbstractContextManager[Stop]:
    """Ctrl-C ends a step first where there is something to keep it in."""
    return nullcontext(Stop()) if checkpoint is None else stop_on_signals(_GRACE_S)


class _Keeper:
    """Restores a loop from its checkpoint, and keeps it from time to time."""

    def __init__(
        self, checkpoint: Checkpoint | None, state: LoopState, stop: Stop, steps: int
    ) -> None:
        self._checkpoint, self._state, self._stop, self._steps = checkpoint, state, stop, steps
        if checkpoint is not None:
            checkpoint.restore(state)

    def __call__(self, *, is_last: bool) -> None:
        if self._checkpoint is None:
            return
        if is_last or self._stop.asked:
            self._checkpoint.save(self._state)
        else:
            self._checkpoint.save_if_due(self._state)
        if self._stop.asked:
            raise KeyboardInterrupt(
                f"interrupted after step {len(self._state.losses):,} of {self._steps:,}, which is "
                "kept; the same command goes on from there, with --fresh it begins anew"
            )


def learning_rates(peak: float, steps: int) -> list[float]:
    """The learning rate of each step of a training of so many."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=peak)
    schedule, rates = _one_cycle(optimizer, peak, steps), []
    for _ in range(steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return rates


def _one_cycle(
    optimizer: torch.optim.Optimizer, peak: float, steps: int
) -> torch.optim.lr_scheduler.OneCycleLR:
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=peak, total_steps=steps, pct_start=0.15
    )


class _Step:
    """One step of the optimiser after the other."""

    def __init__(
        self, module: nn.Module, loss: Loss, schedule: Schedule, device: torch.device
    ) -> None:
        self.module, self._loss, self._schedule, self.device = module, loss, schedule, device
        self.made = 0
        self.optimizer = torch.optim.AdamW(
            module.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
        )
        self.rate = _one_cycle(self.optimizer, schedule.learning_rate, schedule.steps)

    def __call__(self, given: Any, targets: torch.Tensor) -> float:
        self.module.train()
        # Sixteen bits with the exponents of float32: no gradient needs scaling.
        is_half = self._schedule.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=is_half):
            returned = self.module(given)
        loss = self._loss(returned.float(), targets)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise RecipeError(self._trouble(value))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.rate.step()
        self.made += 1
        return value

    def _trouble(self, value: float) -> str:
        bad = [n for n, p in self.module.named_parameters() if not p.isfinite().all()]
        where = f", and the weights {bad[0]!r} are no numbers" if bad else ""
        return (
            f"the training diverged: at step {self.made + 1} its loss is {value}{where}; use a "
            f"learning rate below {self._schedule.learning_rate:g}, and check the values for "
            "extremes"
        )
