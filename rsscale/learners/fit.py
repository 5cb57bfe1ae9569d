"""The loop that trains a network: one-cycle AdamW, the best weights kept, trouble told at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from rsscale.cluster.machine import Precision
from rsscale.errors import RecipeError
from rsscale.progress import progress

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Of what a network returns, and the targets."""
Score = tuple[float, ...]
"""How good a network is: the larger is the better, of equal first numbers by the next."""


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

    Raises
    ------
    RecipeError
        As soon as the loss is no number, with the step and the weights that are none.
    """
    device = next(module.parameters()).device
    best = _Best(module)
    losses: list[float] = []
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        progress("train", schedule.steps, "steps") as bar,
    ):
        torch.manual_seed(schedule.seed)
        step = _Step(module, loss, schedule, device)
        for number in range(1, schedule.steps + 1):
            losses.append(step(*next(batches)))
            bar.advance()
            bar.note(f"loss {np.mean(losses[-50:]):.3f}")
            is_last = number == schedule.steps
            if validate and schedule.every and (number % schedule.every == 0 or is_last):
                module.eval()
                best.note(number, validate())
                if schedule.patience and best.waited >= schedule.patience:
                    break
    module.eval()
    kept = best.restore() if best.scores else len(losses)
    return Fit(tuple(losses), tuple(best.scores), kept)


class _Step:
    """One step of the optimiser after the other."""

    def __init__(
        self, module: nn.Module, loss: Loss, schedule: Schedule, device: torch.device
    ) -> None:
        self._module, self._loss, self._schedule, self._device = module, loss, schedule, device
        self._made = 0
        self._optimizer = torch.optim.AdamW(
            module.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
        )
        self._rate = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer,
            max_lr=schedule.learning_rate,
            total_steps=schedule.steps,
            pct_start=0.15,
        )

    def __call__(self, given: Any, targets: torch.Tensor) -> float:
        self._module.train()
        # Sixteen bits with the exponents of float32: no gradient needs scaling.
        is_half = self._schedule.precision == "bfloat16"
        with torch.autocast(self._device.type, torch.bfloat16, enabled=is_half):
            returned = self._module(given)
        loss = self._loss(returned.float(), targets)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise RecipeError(self._trouble(value))
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._rate.step()
        self._made += 1
        return value

    def _trouble(self, value: float) -> str:
        bad = [n for n, p in self._module.named_parameters() if not p.isfinite().all()]
        where = f", and the weights {bad[0]!r} are no numbers" if bad else ""
        return (
            f"the training diverged: at step {self._made + 1} its loss is {value}{where}; use a "
            f"learning rate below {self._schedule.learning_rate:g}, and check the values for "
            "extremes"
        )


@dataclass
class _Best:
    """The weights with the best score so far."""

    module: nn.Module
    scores: list[tuple[int, Score]] = field(default_factory=list)
    waited: int = 0
    _score: Score | None = None
    _number: int = 0
    _weights: dict[str, torch.Tensor] = field(default_factory=dict)

    def note(self, number: int, score: Score) -> None:
        self.scores.append((number, score))
        self.waited += 1
        if self._score is None or score > self._score:
            self._score, self._number, self.waited = score, number, 0
            state = self.module.state_dict()
            self._weights = {name: value.detach().clone() for name, value in state.items()}

    def restore(self) -> int:
        self.module.load_state_dict(self._weights)
        return self._number
