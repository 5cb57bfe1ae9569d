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

from rsscale.errors import RecipeError
from rsscale.geo.lattice import Lattice
from rsscale.learn.architectures import build, complete, small_size
from rsscale.learn.chips import (
    MULTIPLE,
    UNLABELLED,
    Chips,
    Crops,
    InputBands,
    check_chips,
    check_classes,
    to_targets,
    validation_groups,
    with_statistics,
)
from rsscale.learn.model import Model, move
from rsscale.learn.weights import check_windows
from rsscale.legend.classes import LandClass
from rsscale.model.spec import ModelSpec
from rsscale.network.normalize import normalize
from rsscale.progress import progress

__all__ = ["Chips", "InputBands", "TrainingReport", "train"]


@dataclass(frozen=True)
class TrainingReport:
    """Result of a training.

    Attributes
    ----------
    accuracy : float
        Overall accuracy on the labelled pixels of blocks never trained on. NaN where these hold
        fewer than two of the classes: what they say of one is not the accuracy of a map.
    f1 : mapping of class name to float
        On the same pixels; NaN for a class that has none there, which can't be estimated.
    pixels : mapping of class name to int
        Labelled pixels that were trained on.
    validated : mapping of class name to int
        Labelled pixels in the blocks that were not.
    loss : float
        Mean cross-entropy over the last tenth of the steps.
    steps, seed : int
    seconds : float
    left_out : tuple of str
        Labels that gave no pixel to train on: how many, of which class, and why.
    """

    accuracy: float
    f1: Mapping[str, float]
    pixels: Mapping[str, int]
    validated: Mapping[str, int]
    loss: float
    steps: int
    seed: int
    seconds: float
    left_out: tuple[str, ...] = ()

    def properties(self) -> dict[str, Any]:
        """Properties for the model's STAC item, equal for two equal trainings."""
        return {
            "rsscale:version": version("rsscale"),
            "rsscale:training": {
                "steps": self.steps,
                "seed": self.seed,
                "labelled_pixels": dict(self.pixels),
                "validation_accuracy": _finite(self.accuracy),
                "validation_f1": {name: _finite(value) for name, value in self.f1.items()},
                "validation_pixels": dict(self.validated),
                "validation_classes": self._classes_validated,
                "left_out": list(self.left_out),
            },
        }

    @property
    def _classes_validated(self) -> int:
        return sum(count > 0 for count in self.validated.values())

    def __str__(self) -> str:
        width = max(5, *(len(name) for name in self.f1))
        lines = [
            f"trained {self.steps} steps in {self.seconds:.0f} s, loss {self.loss:.3f}",
            self.verdict,
            f"  {'class':<{width}}  {'F1':>13}  {'trained px':>11}  {'validated px':>12}",
        ]
        lines += [
            f"  {name:<{width}}  {_estimate(self.f1[name]):>13}  {self.pixels[name]:>11,}"
            f"  {self.validated[name]:>12,}"
            for name in self.f1
        ]
        return "\n".join([*lines, *(f"left out: {line}" for line in self.left_out)])

    @property
    def verdict(self) -> str:
        """The accuracy, and of how much it is known."""
        pixels, classes = sum(self.validated.values()), len(self.validated)
        if not pixels:
            return (
                "accuracy not estimable: all blocks were trained on, none were left to measure it"
            )
        measured = (
            f"{pixels:,} pixels of {self._classes_validated} of {classes} classes, in blocks that "
            "were not trained on"
        )
        if np.isnan(self.accuracy):
            return f"accuracy not estimable: validation has {measured}; add labels elsewhere"
        return f"accuracy {self.accuracy:.3f} on {measured}"


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
        Pixel width, metres on the ground or degrees.
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
        When there is no labelled pixel, a class has none, or all imagery or that of a band is
        missing; or when the loss is no number in the end.
    ModelError
        When the architecture is not known, or can't take the windows of the lattice, or there
        is no such device.
    """
    started = time.monotonic()
    _check_settings(steps, batch, validation)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    check_chips(chips, inputs, classes)
    chips = chips.seen
    check_classes(chips, classes)
    kept_back = validation_groups(chips, validation, seed)
    training = chips.subset(~np.isin(chips.groups, kept_back))
    spec = ModelSpec(
        name=name,
        inputs=tuple(with_statistics(training, inputs)),
        classes=tuple(classes),
        lattice=lattice,
        architecture=architecture,
        hyperparameters=complete(architecture, hyperparameters or {}),
        resolution=resolution,
    )
    module = move(_initial(spec, seed), device).to(memory_format=torch.channels_last)
    loss = _optimise(module, Crops(training, spec, seed), steps, batch, learning_rate)
    model = Model(spec, module.eval(), torch.device(device))
    validated = chips.subset(np.isin(chips.groups, kept_back))
    accuracy, f1 = _validate(model, validated)
    pixels, kept = (
        {c.name: int((some.labels == c.value).sum()) for c in classes}
        for some in (training, validated)
    )
    seconds = time.monotonic() - started
    return model, TrainingReport(
        accuracy, f1, pixels, kept, loss, steps, seed, seconds, chips.left_out
    )


def _check_settings(steps: int, batch: int, validation: float) -> None:
    if steps < 1 or batch < 1 or not 0 <= validation < 1:
        raise RecipeError(
            f"training has steps {steps}, batch {batch}, validation {validation}; "
            "expected at least 1, at least 1, and a share from 0 to below 1"
        )


def _initial(spec: ModelSpec, seed: int) -> torch.nn.Module:
    """The network with its first weights, which depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers go on as they were
        torch.manual_seed(seed)
        module = build(spec.architecture, spec.inputs, spec.output_channels, **spec.hyperparameters)
    size = small_size(spec.lattice.window)
    check_windows(module.eval(), spec, size, f"architecture {spec.architecture!r}")
    return module


def _optimise(
    module: torch.nn.Module, crops: Crops, steps: int, batch: int, learning_rate: float
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
            loss = functional.cross_entropy(scores, targets.to(device), ignore_index=UNLABELLED)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
            bar.advance()
            bar.note(f"loss {np.mean(losses[-50:]):.3f}")
    final = float(np.mean(losses[-max(steps // 10, 1) :]))
    if not np.isfinite(final):
        raise RecipeError(
            f"the training diverged, its loss is {final}; use a learning rate below "
            f"{learning_rate:g}, and check the imagery for extreme values"
        )
    return final


def _validate(model: Model, chips: Chips) -> tuple[float, dict[str, float]]:
    """Overall accuracy and each class's F1 on chips that were not trained on."""
    count = len(model.spec.classes)
    confusion = np.zeros((count, count), np.int64)  # rows: map, columns: reference
    for image, label in zip(chips.images, chips.labels, strict=True):
        target = to_targets(label, model.spec)
        with torch.inference_mode():
            batch = torch.from_numpy(_padded(image)[None]).to(model.device)
            scores = model(normalize(batch, model.spec))[0]
        found = scores.argmax(dim=0).cpu().numpy()[: label.shape[0], : label.shape[1]]
        known = target != UNLABELLED
        confusion += np.bincount(found[known] * count + target[known], minlength=count**2).reshape(
            count, count
        )
    total, right = confusion.sum(), np.diag(confusion)
    either = confusion.sum(axis=0) + confusion.sum(axis=1)
    f1 = {
        land_class.name: float(2 * right[k] / either[k]) if confusion[:, k].any() else float("nan")
        for k, land_class in enumerate(model.spec.classes)
    }
    # Of a single class no error of commission can be seen: a model that knows no other is right.
    is_estimable = (confusion.any(axis=0)).sum() >= min(count, 2)
    return (float(right.sum() / total) if total and is_estimable else float("nan")), f1


def _padded(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Height and width made multiples with missing values, for any depth of network."""
    rows, cols = (-n % MULTIPLE for n in image.shape[-2:])
    return np.pad(image, ((0, 0), (0, rows), (0, cols)), constant_values=np.nan)


def _estimate(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "not estimable"


def _finite(value: float) -> float | None:
    """JSON has no NaN."""
    return round(value, 4) if np.isfinite(value) else None
