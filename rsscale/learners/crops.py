"""Random crops of labelled chips, turned and flipped, as batches of a network on images."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from rsscale.errors import RecipeError
from rsscale.learn.model import given
from rsscale.learners.base import Balance, Task
from rsscale.learners.checkpoint import generator_state
from rsscale.learners.chips import MULTIPLE, Chips, Days, to_targets
from rsscale.model.spec import ModelSpec
from rsscale.network.normalize import window_batch

# How often a crop loses one of its time windows, so that a cloudy season is nothing new.
_WINDOW_DROPOUT = 0.1


class Crops:
    """Random crops around labelled pixels.

    A class is drawn, then one of its pixels, then a crop that holds the pixel somewhere; so no
    crop is without labels. Imagery from above has no preferred direction: crops are turned and
    flipped in space, and never in time.

    Parameters
    ----------
    chips : Chips
    spec : ModelSpec
    seed : int
    balance : str
        ``"sampling"``: the probability of a class grows with the square root of its pixels, so
        that rare ones are drawn more often than they occur; else with their number.
    crop : int
        Width, px; less where chips are smaller.
    """

    def __init__(
        self,
        chips: Chips,
        spec: ModelSpec,
        seed: int,
        balance: Balance = "sampling",
        crop: int = 96,
    ) -> None:
        if crop < MULTIPLE or crop % MULTIPLE:
            raise RecipeError(f"crops are {crop} px wide; expected a multiple of {MULTIPLE}")
        self.spec, self.chips = spec, chips
        self.random = np.random.default_rng(seed)
        self.size = min(crop, *chips.images.shape[-2:]) // MULTIPLE * MULTIPLE
        # Numbers of pixels up to each chip, and no list of them: there may be a billion.
        by_chip = chips.counts(Task(classes=spec.classes))
        self.upto = by_chip.cumsum(axis=0)
        counts = by_chip.sum(axis=0).astype(np.float64)
        weight = np.sqrt(counts) if balance == "sampling" else counts
        self.chance = weight / weight.sum()
        self.times = [(i.length, len(i.bands)) for i in spec.inputs]

    def batches(self, count: int, device: torch.device) -> CropBatches:
        """What a network is given, and class indices ``(N, H, W)``, again and again."""
        return CropBatches(self, count, device)

    def draw(self, count: int) -> tuple[torch.Tensor, torch.Tensor, Days]:
        """``(N, C, H, W)`` images, ``(N, H, W)`` class indices, -1 where unlabelled, and days."""
        drawn = [self._crop() for _ in range(count)]
        images, targets = (np.stack([crop[k] for crop in drawn]) for k in (0, 1))
        days = self.chips.days_of(np.array([crop[2] for crop in drawn]))
        return torch.from_numpy(images), torch.from_numpy(targets).long(), days

    def _crop(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any], int]:
        chip, row, col = self._pixel(int(self.random.choice(len(self.chance), p=self.chance)))
        rows, cols = (
            self._span(center, length)
            for center, length in zip((row, col), self.chips.labels.shape[-2:], strict=True)
        )
        image = np.array(self.chips.images[chip, :, rows, cols])
        target = to_targets(self.chips.labels[chip, rows, cols], self.spec)
        self._drop_a_window(image)
        turns, flip = int(self.random.integers(4)), bool(self.random.integers(2))
        image, target = np.rot90(image, turns, (1, 2)), np.rot90(target, turns)
        if flip:
            image, target = image[..., ::-1], target[..., ::-1]
        return np.ascontiguousarray(image), np.ascontiguousarray(target), chip

    def _pixel(self, number: int) -> tuple[int, int, int]:
        """Chip, row and column of a pixel of a class, by its number in the model."""
        upto = self.upto[:, number]
        drawn = int(self.random.integers(upto[-1]))
        chip = int(np.searchsorted(upto, drawn, side="right"))
        before = int(upto[chip - 1]) if chip else 0
        pixels = np.flatnonzero(self.chips.labels[chip] == self.spec.classes[number].value)
        row, col = divmod(int(pixels[drawn - before]), self.chips.labels.shape[2])
        return chip, row, col

    def _span(self, center: int, length: int) -> slice:
        start = int(center) - int(self.random.integers(self.size))
        start = min(max(start, 0), length - self.size)
        return slice(start, start + self.size)

    def _drop_a_window(self, image: npt.NDArray[np.float32]) -> None:
        first = 0
        for times, bands in self.times:
            if times > 1 and self.random.random() < _WINDOW_DROPOUT:
                start = first + int(self.random.integers(times)) * bands
                image[start : start + bands] = np.nan
            first += times * bands


class CropBatches:
    """Batches of random crops without end; they go on from where a checkpoint was made.

    Parameters
    ----------
    crops : Crops
    count : int
        Of a batch.
    device : torch.device
    """

    def __init__(self, crops: Crops, count: int, device: torch.device) -> None:
        self._crops, self._count, self._device = crops, count, device

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[Any, torch.Tensor]:
        images, targets, days = self._crops.draw(self._count)
        windows = window_batch(images.to(self._device), days, self._crops.spec)
        return given(windows), targets.to(self._device)

    def state(self) -> dict[str, Any]:
        """See :class:`~rsscale.learners.checkpoint.Resumable`."""
        return generator_state(self._crops.random)

    def restore(self, state: dict[str, Any]) -> None:
        """See :class:`~rsscale.learners.checkpoint.Resumable`."""
        self._crops.random.bit_generator.state = state
