"""Train a network on labelled chips: a plain loop, the same every time for the same seed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from rsscale.data.normalize import normalize
from rsscale.errors import RecipeError
from rsscale.grid import Lattice
from rsscale.learn.architectures import build, complete
from rsscale.learn.models import Model
from rsscale.modelspec import NODATA, LandClass, ModelInput, ModelSpec
from rsscale.progress import progress

_IGNORED = -1
_CROP = 96
# How often a crop loses one of its time windows, so that a cloudy season is nothing new.
_WINDOW_DROPOUT = 0.1


@dataclass(frozen=True)
class InputBands:
    """An input of the model to be: its name, bands and time windows."""

    name: str
    bands: tuple[str, ...]
    times: tuple[str, ...]

    @property
    def channels(self) -> int:
        """Time windows times bands."""
        return len(self.times) * len(self.bands)


@dataclass(frozen=True)
class Chips:
    """Labelled images.

    Attributes
    ----------
    images : float32 array (N, C, H, W)
        In the composite's units, NaN where nothing was seen; channels input by input, time by
        time, band by band.
    labels : uint8 array (N, H, W)
        Class values; 255 is unlabelled.
    groups : int array (N,)
        The spatial block of each chip: validation takes whole blocks.
    """

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    groups: npt.NDArray[np.int64]

    def subset(self, keep: npt.NDArray[np.bool_]) -> Chips:
        """Some of the chips."""
        return Chips(self.images[keep], self.labels[keep], self.groups[keep])


@dataclass(frozen=True)
class TrainingReport:
    """How a training went.

    Attributes
    ----------
    accuracy : float
        Overall accuracy on the labelled pixels of blocks never trained on; NaN without any.
    f1 : mapping of class name to float
        On the same pixels; NaN for a class that has none there.
    pixels : mapping of class name to int
        Labelled pixels that were trained on.
    loss : float
        Mean cross-entropy over the last tenth of the steps.
    steps, seed : int
    seconds : float
    """

    accuracy: float
    f1: Mapping[str, float]
    pixels: Mapping[str, int]
    loss: float
    steps: int
    seed: int
    seconds: float

    def properties(self) -> dict[str, Any]:
        """For the model's STAC item; nothing that differs between two equal trainings."""
        return {
            "rsscale:version": version("rsscale"),
            "rsscale:training": {
                "steps": self.steps,
                "seed": self.seed,
                "labelled_pixels": dict(self.pixels),
                "validation_accuracy": _finite(self.accuracy),
                "validation_f1": {name: _finite(value) for name, value in self.f1.items()},
            },
        }

    def __str__(self) -> str:
        lines = [
            f"trained {self.steps} steps in {self.seconds:.0f} s, loss {self.loss:.3f}",
            f"accuracy {self.accuracy:.3f} on blocks that were not trained on",
        ]
        width = max(len(name) for name in self.f1)
        lines += [
            f"  {name:<{width}}  F1 {self.f1[name]:.3f}  {self.pixels[name]:>8} px"
            for name in self.f1
        ]
        return "\n".join(lines)


def train(
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
    learning_rate: float = 3e-3,
    seed: int = 0,
    validation: float = 0.2,
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
        Pixel width, CRS units.
    architecture, hyperparameters
        See :mod:`rsscale.learn.architectures`.
    steps, batch : int
        Optimiser steps, and crops of 96 px in each.
    learning_rate : float
        Peak of the one-cycle schedule of AdamW.
    seed : int
        The same seed gives the same weights on the same machine and threads.
    validation : float
        Share of spatial blocks that are kept back to measure the accuracy.
    device : str, optional
        The GPU if there is one, when omitted.

    Returns
    -------
    (Model, TrainingReport)

    Raises
    ------
    RecipeError
        When there is no labelled pixel, a class has none, or all imagery is missing.
    """
    started = time.monotonic()
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    _check(chips, inputs, classes)
    kept_back = _validation_groups(chips, validation, seed)
    training = chips.subset(~np.isin(chips.groups, kept_back))
    _check_classes(training, classes)
    spec = ModelSpec(
        name=name,
        inputs=tuple(_with_statistics(training, inputs)),
        classes=tuple(classes),
        lattice=lattice,
        architecture=architecture,
        hyperparameters=complete(architecture, hyperparameters or {}),
        resolution=resolution,
    )
    torch.manual_seed(seed)
    module = build(architecture, spec.channels, len(classes), **spec.hyperparameters)
    module = module.to(device).to(memory_format=torch.channels_last)
    loss = _optimise(module, _Crops(training, spec, seed), steps, batch, learning_rate)
    model = Model(spec, module.eval(), torch.device(device))
    accuracy, f1 = _validate(model, chips.subset(np.isin(chips.groups, kept_back)))
    counts = {c.name: int((training.labels == c.value).sum()) for c in classes}
    seconds = time.monotonic() - started
    return model, TrainingReport(accuracy, f1, counts, loss, steps, seed, seconds)


def _optimise(
    module: torch.nn.Module, crops: _Crops, steps: int, batch: int, learning_rate: float
) -> float:
    """The loop; returns the mean loss of the last tenth."""
    device = next(module.parameters()).device
    optimizer = torch.optim.AdamW(module.parameters(), lr=learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=learning_rate, total_steps=steps, pct_start=0.15
    )
    losses = []
    module.train()
    with progress("train", steps, "steps") as bar:
        for _ in range(steps):
            images, targets = crops.draw(batch)
            images = normalize(images.to(device), crops.spec)  # (N, C, H, W)
            scores = module(images.contiguous(memory_format=torch.channels_last))  # (N, K, H, W)
            loss = functional.cross_entropy(scores, targets.to(device), ignore_index=_IGNORED)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
            bar.advance()
            bar.note(f"loss {np.mean(losses[-50:]):.3f}")
    return float(np.mean(losses[-max(steps // 10, 1) :]))


class _Crops:
    """Random crops around labelled pixels, rare classes more often than they occur.

    A class is drawn with a probability that grows with the square root of its pixels, then one
    of its pixels, then a crop that holds the pixel somewhere; so no crop is without labels.
    """

    def __init__(self, chips: Chips, spec: ModelSpec, seed: int) -> None:
        self.spec = spec
        self.images = chips.images
        self.targets = _targets(chips.labels, spec)
        self.random = np.random.default_rng(seed)
        self.size = min(_CROP, *chips.images.shape[-2:])
        self.pixels = [np.argwhere(self.targets == k) for k in range(len(spec.classes))]
        weight = np.sqrt([len(p) for p in self.pixels])
        self.chance = weight / weight.sum()
        self.times = [(len(i.times), len(i.bands)) for i in spec.inputs]

    def draw(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """``(N, C, H, W)`` images and ``(N, H, W)`` class indices, -1 where unlabelled."""
        pairs = [self._one() for _ in range(count)]
        images, targets = (np.stack(arrays) for arrays in zip(*pairs, strict=True))
        return torch.from_numpy(images), torch.from_numpy(targets)

    def _one(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        pixels = self.pixels[self.random.choice(len(self.pixels), p=self.chance)]
        chip, row, col = pixels[self.random.integers(len(pixels))]
        rows, cols = (
            self._span(center, length)
            for center, length in zip((row, col), self.images.shape[-2:], strict=True)
        )
        image = self.images[chip, :, rows, cols].copy()
        target = self.targets[chip, rows, cols]
        self._drop_a_window(image)
        turns, flip = int(self.random.integers(4)), bool(self.random.integers(2))
        image, target = np.rot90(image, turns, (1, 2)), np.rot90(target, turns)
        if flip:
            image, target = image[..., ::-1], target[..., ::-1]
        return np.ascontiguousarray(image), np.ascontiguousarray(target)

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


def _targets(labels: npt.NDArray[np.uint8], spec: ModelSpec) -> npt.NDArray[np.int64]:
    """Class values to output channels; 255 to -1."""
    table = np.full(256, _IGNORED, np.int64)
    for index, one in enumerate(spec.classes):
        table[one.value] = index
    return table[labels]


def _with_statistics(chips: Chips, inputs: Sequence[InputBands]) -> list[ModelInput]:
    """Mean and standard deviation of each band over all valid pixels and time windows."""
    found, first = [], 0
    for one in inputs:
        block = chips.images[:, first : first + one.channels]
        block = block.reshape(len(block), len(one.times), len(one.bands), -1)
        mean = np.nanmean(block, axis=(0, 1, 3), dtype=np.float64)
        std = np.maximum(np.nanstd(block, axis=(0, 1, 3), dtype=np.float64), 1e-6)
        # Rounded: a contract that a person reads, and the same bytes for the same labels.
        rounded = [tuple(float(f"{v:.6g}") for v in np.atleast_1d(a)) for a in (mean, std)]
        found.append(ModelInput(one.name, one.bands, one.times, *rounded))
        first += one.channels
    return found


def _validation_groups(chips: Chips, share: float, seed: int) -> npt.NDArray[np.int64]:
    """Whole spatial blocks to keep back: the share, at least one when there are three.

    A block that holds all the labels of a class stays with the training.
    """
    groups = np.unique(chips.groups)
    wanted = round(share * len(groups))
    if share > 0 and len(groups) >= 3:
        wanted = max(wanted, 1)
    counts = np.array(
        [np.bincount(chips.labels[chips.groups == g].ravel(), minlength=256) for g in groups]
    )
    left = counts.sum(axis=0)
    kept_back: list[int] = []
    for index in np.random.default_rng(seed + 1).permutation(len(groups)):
        if len(kept_back) < wanted and not ((left > 0) & (left == counts[index]))[:NODATA].any():
            kept_back.append(int(groups[index]))
            left = left - counts[index]
    return np.array(sorted(kept_back), np.int64)


def _validate(model: Model, chips: Chips) -> tuple[float, dict[str, float]]:
    """Overall accuracy and each class's F1 on chips that were not trained on."""
    count = len(model.spec.classes)
    confusion = np.zeros((count, count), np.int64)  # rows: map, columns: reference
    for image, label in zip(chips.images, chips.labels, strict=True):
        target = _targets(label, model.spec)
        with torch.inference_mode():
            batch = torch.from_numpy(_padded(image)[None]).to(model.device)
            scores = model(normalize(batch, model.spec))[0]
        found = scores.argmax(dim=0).cpu().numpy()[: label.shape[0], : label.shape[1]]
        known = target != _IGNORED
        confusion += np.bincount(found[known] * count + target[known], minlength=count**2).reshape(
            count, count
        )
    total, right = confusion.sum(), np.diag(confusion)
    either = confusion.sum(axis=0) + confusion.sum(axis=1)
    f1 = {
        one.name: float(2 * right[k] / either[k]) if confusion[:, k].any() else float("nan")
        for k, one in enumerate(model.spec.classes)
    }
    return (float(right.sum() / total) if total else float("nan")), f1


def _padded(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Height and width made multiples of 32 with missing values, for any depth of network."""
    rows, cols = (-n % 32 for n in image.shape[-2:])
    return np.pad(image, ((0, 0), (0, rows), (0, cols)), constant_values=np.nan)


def _check(chips: Chips, inputs: Sequence[InputBands], classes: Sequence[LandClass]) -> None:
    channels = sum(one.channels for one in inputs)
    if chips.images.shape[1] != channels:
        raise RecipeError(
            f"the chips have {chips.images.shape[1]} channels, the inputs' bands and time windows "
            f"make {channels}"
        )
    if not np.isfinite(chips.images).any():
        raise RecipeError(
            "all imagery under the labels is missing; check the dates, the mask and the area"
        )
    known = [c.value for c in classes]
    others = sorted(set(np.unique(chips.labels).tolist()) - {NODATA, *known})
    if others:
        raise RecipeError(f"the labels hold the class value {others[0]}; the classes are {known}")


def _check_classes(chips: Chips, classes: Sequence[LandClass]) -> None:
    for one in classes:
        if not (chips.labels == one.value).any():
            raise RecipeError(
                f"class {one.name!r} has no labelled pixel to train on; add labels for it, or "
                "leave it out of the classes"
            )


def _finite(value: float) -> float | None:
    """JSON has no NaN."""
    return round(value, 4) if np.isfinite(value) else None
