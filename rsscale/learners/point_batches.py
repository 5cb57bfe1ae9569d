"""Batches of samples at points, the loss on them, and a model's numbers for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from rsscale.learn.model import Model, given
from rsscale.learners.base import Balance, Loop
from rsscale.learners.checkpoint import generator_state
from rsscale.learners.fit import Loss
from rsscale.learners.network import class_loss, class_weights, score_channels
from rsscale.learners.point_samples import PointSamples
from rsscale.model.spec import ModelSpec
from rsscale.network.batch import WindowBatch
from rsscale.network.normalize import window_batch
from rsscale.points.series_table import SeriesTable

_AT_ONCE = 4096


class TableBatches:
    """Batches of samples, again and again, each time in another order.

    Parameters
    ----------
    samples : PointSamples
    spec : ModelSpec
    loop : Loop
    device : torch.device
    scales : bool
        Whether values are learnt in units of their standard deviations.
    """

    def __init__(
        self,
        samples: PointSamples,
        spec: ModelSpec,
        loop: Loop,
        *,
        device: torch.device,
        scales: bool,
    ) -> None:
        lengths = {part.name: part.length for part in spec.inputs}
        table, targets = samples.table, samples.targets
        self._spec, self._device, self._loop = spec, device, loop
        self._images, self._days = table.images(lengths), table.days(lengths)
        self._random = np.random.default_rng(loop.seed)
        self._batch = min(loop.batch, len(table))
        self.center, self.spread = _scaling(targets, len(table.quantities), scales=scales)
        self._targets = self.scaled(targets)
        self._share = _shares(targets, loop.balance) if spec.classes else None
        self._weights = None
        if spec.classes and loop.balance == "weights":
            self._weights = class_weights(np.bincount(targets, minlength=len(spec.classes)))
        self._begin()

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return max(len(self._images) // self._batch, 1)

    def scaled(self, targets: npt.NDArray[Any]) -> torch.Tensor:
        """Targets as the loss takes them: ``(N, 1, 1)`` int64, or ``(N, Q, 1, 1)`` float32."""
        if self.center is None or self.spread is None:
            return torch.from_numpy(targets.astype(np.int64))[:, None, None]
        values = ((targets - self.center) / self.spread).astype(np.float32)
        return torch.from_numpy(values)[:, :, None, None]

    def loss(self) -> Loss:
        """Of classes, weighted; or of values in units of their standard deviations."""
        if self.center is not None:
            return functional.huber_loss if self._loop.loss == "huber" else functional.mse_loss
        return class_loss(self._weights)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[Any, torch.Tensor]:
        if self._place == self.steps:
            self._begin()
        some = self._order[self._place * self._batch : (self._place + 1) * self._batch]
        self._place += 1
        if len(some) == 1:
            some = some.repeat(2)  # batch normalisation has no statistics of one
        images = torch.from_numpy(self._images[some]).to(self._device)
        days = {name: days[some] for name, days in self._days.items()}
        windows = window_batch(images, days, self._spec)
        return given(windows), self._targets[some].to(self._device)

    def state(self) -> dict[str, Any]:
        """See :class:`~rsscale.learners.checkpoint.Resumable`."""
        return {"random": self._before, "place": self._place}

    def restore(self, state: dict[str, Any]) -> None:
        """See :class:`~rsscale.learners.checkpoint.Resumable`."""
        self._random.bit_generator.state = state["random"]
        self._begin()
        self._place = state["place"]

    def _begin(self) -> None:
        """Order the samples for an epoch."""
        self._before, self._place = generator_state(self._random), 0
        self._order = self._shuffled()

    def _shuffled(self) -> npt.NDArray[np.int64]:
        count = len(self._images)
        if self._share is None:
            return self._random.permutation(count)
        return self._random.choice(count, count, p=self._share)


def predict_numbers(model: Model, table: SeriesTable) -> npt.NDArray[np.float32]:
    """Numbers ``(N, K)`` of a model for samples: scores of classes, or values."""
    count = score_channels(model.spec)
    numbers = [np.zeros((0, count), np.float32)]
    with torch.inference_mode():
        numbers += [
            model(windows)[:, :count, 0, 0].float().cpu().numpy()
            for windows in table_windows(model, table)
        ]
    return np.concatenate(numbers)


def table_windows(model: Model, table: SeriesTable) -> Iterator[WindowBatch]:
    """Samples as windows of one pixel of a model, some at a time."""
    lengths = {part.name: part.length for part in model.spec.inputs}
    images, days = table.images(lengths), table.days(lengths)
    for start in range(0, len(table), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        batch = torch.from_numpy(images[some]).to(model.device)
        yield window_batch(batch, {n: d[some] for n, d in days.items()}, model.spec)


def into_physical(
    module: nn.Module,
    center: npt.NDArray[np.float64] | None,
    spread: npt.NDArray[np.float64] | None,
) -> None:
    """Make the last layer of a network return physical values instead of scaled ones."""
    if center is None or spread is None or bool((center == 0).all() and (spread == 1).all()):
        return
    head = module.head
    if not isinstance(head, nn.Linear | nn.Conv2d) or head.bias is None:
        raise TypeError("the last layer of a network of values is linear, and has a bias")
    scale = torch.as_tensor(spread, dtype=torch.float32, device=head.weight.device)
    shift = torch.as_tensor(center, dtype=torch.float32, device=head.weight.device)
    with torch.no_grad():
        head.weight.mul_(scale.view(-1, *[1] * (head.weight.ndim - 1)))
        head.bias.mul_(scale).add_(shift)


def _scaling(
    targets: npt.NDArray[Any], quantities: int, *, scales: bool
) -> tuple[npt.NDArray[np.float64] | None, npt.NDArray[np.float64] | None]:
    """Mean and standard deviation of values; None for classes."""
    if not quantities:
        return None, None
    if not scales:
        return np.zeros(quantities), np.ones(quantities)
    spread = targets.std(axis=0)
    return targets.mean(axis=0), np.where(spread > 0, spread, 1.0)


def _shares(targets: npt.NDArray[np.int64], balance: Balance) -> npt.NDArray[np.float64] | None:
    """How often each sample is drawn, for classes as often as each other; None for once each."""
    if balance != "sampling":
        return None
    share = 1 / np.bincount(targets)[targets]
    shares: npt.NDArray[np.float64] = share / share.sum()
    return shares
