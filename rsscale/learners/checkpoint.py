"""Checkpoints of a loop: all that it needs to go on as if it had never stopped.

Weights, those of the best validation, the optimiser's moments, the schedule, losses and scores, and
the states of all random numbers: of torch, of its device, and of the batches. Tensors lie in a
safetensors file, the rest as JSON in its header; it is replaced as a whole.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from rsscale import durable
from rsscale.errors import StorageError
from rsscale.progress.bars import announce

Score = tuple[float, ...]
"""How good a network is: the larger is the better, of equal first numbers by the next."""
EVERY_S = 60.0
"""Seconds between checkpoints: what a killed training does again at most."""
_FORMAT = 1


class Resumable(Protocol):
    """Protocol of batches that can go on where they were."""

    def state(self) -> dict[str, Any]:
        """All that the next batches depend on, as JSON."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""


@dataclass
class Best:
    """The weights with the best score so far.

    Attributes
    ----------
    module : torch.nn.Module
    scores : list of (int, Score)
        Of each validation, with the number of steps before it.
    waited : int
        Validations since the best one.
    number : int
        Steps before the best one.
    weights : dict of Tensor
        Of the best one; empty before the first validation.
    """

    module: nn.Module
    scores: list[tuple[int, Score]] = field(default_factory=list)
    waited: int = 0
    number: int = 0
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    _score: Score | None = None

    def note(self, number: int, score: Score) -> None:
        """Take the score of a validation, and the weights if none was better."""
        self.scores.append((number, score))
        self.waited += 1
        if self._score is None or _ranked(score) > _ranked(self._score):
            self._score, self.number, self.waited = score, number, 0
            state = self.module.state_dict()
            self.weights = {name: value.detach().clone() for name, value in state.items()}

    def to_dict(self) -> dict[str, Any]:
        """All but the weights, as JSON."""
        return {
            "scores": self.scores,
            "score": self._score,
            "waited": self.waited,
            "number": self.number,
        }

    def restore(self, state: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
        """Take what :meth:`to_dict` gave, and the weights."""
        self.scores = [(number, tuple(score)) for number, score in state["scores"]]
        self._score = None if state["score"] is None else tuple(state["score"])
        self.waited, self.number, self.weights = state["waited"], state["number"], weights


@dataclass(frozen=True, eq=False)
class LoopState:
    """What a loop changes on its way.

    Attributes
    ----------
    module : torch.nn.Module
    optimizer : torch.optim.Optimizer
    rate : torch.optim.lr_scheduler.LRScheduler
    best : Best
    losses : list of float
        Of each step that was made.
    batches : Resumable
        Or any iterator, where nothing is kept.
    """

    module: nn.Module
    optimizer: torch.optim.Optimizer
    rate: torch.optim.lr_scheduler.LRScheduler
    best: Best
    losses: list[float]
    batches: Any

    @property
    def device(self) -> torch.device:
        """Of the weights."""
        return next(self.module.parameters()).device

    def tensors(self) -> dict[str, torch.Tensor]:
        """All tensors by name."""
        named = {f"module.{name}": value for name, value in self.module.state_dict().items()}
        named |= {f"best.{name}": value for name, value in self.best.weights.items()}
        for number, kept in self.optimizer.state_dict()["state"].items():
            named |= {f"optimizer.{number}.{key}": value for key, value in kept.items()}
        named["losses"] = torch.tensor(self.losses, dtype=torch.float64)
        named["random.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            named["random.device"] = torch.cuda.get_rng_state(self.device)
        # Copies: networks may share tensors between names, which the format refuses.
        return {n: v.detach().cpu().clone().contiguous() for n, v in named.items()}

    def to_dict(self) -> dict[str, Any]:
        """The rest, as JSON."""
        return {
            "format": _FORMAT,
            "groups": self.optimizer.state_dict()["param_groups"],
            "rate": self.rate.state_dict(),
            "best": self.best.to_dict(),
            "batches": self.batches.state(),
        }

    def restore(self, tensors: dict[str, torch.Tensor], rest: dict[str, Any]) -> None:
        """Go on from what :meth:`tensors` and :meth:`to_dict` gave."""
        self.module.load_state_dict(_below("module.", tensors))
        self.optimizer.load_state_dict(
            {"state": self._moments(_below("optimizer.", tensors)), "param_groups": rest["groups"]}
        )
        self.rate.load_state_dict(rest["rate"])
        weights = {n: v.to(self.device) for n, v in _below("best.", tensors).items()}
        self.best.restore(rest["best"], weights)
        self.losses[:] = tensors["losses"].tolist()
        self.batches.restore(rest["batches"])
        torch.set_rng_state(tensors["random.cpu"])
        if "random.device" in tensors:
            torch.cuda.set_rng_state(tensors["random.device"], self.device)

    def _moments(self, tensors: dict[str, torch.Tensor]) -> dict[int, dict[str, torch.Tensor]]:
        """The optimiser's tensors, laid out in memory as the weights are: sums go by it."""
        weights = [p for group in self.optimizer.param_groups for p in group["params"]]
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            number, _, key = name.partition(".")
            weight = weights[int(number)]
            is_moment = key != "step" and value.shape == weight.shape
            placed = torch.empty_like(weight).detach().copy_(value) if is_moment else value
            moments.setdefault(int(number), {})[key] = placed
        return moments


@dataclass(frozen=True)
class Checkpoints:
    """The folder in which the loops of an experiment keep their checkpoints, a file each.

    Attributes
    ----------
    folder : Path
    """

    folder: Path

    def of(self, *identity: str | bytes) -> Checkpoint:
        """The checkpoint of the loop that all of this decides: settings, samples, seed."""
        digest = hashlib.sha256()
        for part in identity:
            data = part.encode() if isinstance(part, str) else part
            digest.update(len(data).to_bytes(8, "little") + data)
        return Checkpoint(self.folder / f"{digest.hexdigest()[:16]}.safetensors")


class Checkpoint:
    """The file of one loop.

    Parameters
    ----------
    path : Path
        Its folder is made when it is needed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._saved = time.monotonic()

    def restore(self, state: LoopState) -> None:
        """Go on from the file, if there is one."""
        if not self.path.exists():
            return
        try:
            with safe_open(self.path, "pt") as file:
                rest = json.loads(file.metadata()["state"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            announce(f"the checkpoint {self.path} can't be read ({error}); the loop begins anew")
            return
        if rest.get("format") != _FORMAT:
            return
        state.restore(tensors, rest)
        announce(f"goes on after step {len(state.losses):,}: what was learnt is kept")

    def save_if_due(self, state: LoopState) -> None:
        """Save where the last one is old enough."""
        if time.monotonic() - self._saved >= EVERY_S:
            self.save(state)

    def save(self, state: LoopState) -> None:
        """Replace the file by one of the loop as it is.

        Raises
        ------
        StorageError
            When it can't be written.
        """
        data = save(state.tensors(), {"state": json.dumps(state.to_dict())})
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            durable.replace(self.path, lambda file: file.write(data))
        except OSError as error:
            raise StorageError(
                f"the checkpoint {self.path} can't be written: {error.strerror or error}; free "
                "some space, then the same command goes on"
            ) from error
        self._saved = time.monotonic()


def generator_state(random: np.random.Generator) -> dict[str, Any]:
    """The state of a generator of numpy, as JSON."""
    return dict(random.bit_generator.state)


def samples_of(groups: Iterable[Any], counts: np.ndarray[Any, Any]) -> bytes:
    """What tells samples of one set apart from others of it: their places and their labels."""
    places = np.asarray(groups, np.int64)
    return hashlib.sha256(places.tobytes() + counts.astype(np.int64).tobytes()).digest()


def _ranked(score: Score) -> Score:
    """A score to compare: what is NaN is worse than any number, and never the best for good."""
    return tuple(-np.inf if np.isnan(value) else value for value in score)


def _below(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}
