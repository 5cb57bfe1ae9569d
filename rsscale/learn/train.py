"""Train a network on labelled chips: a plain loop, the same every time for the same seed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from rsscale.errors import RecipeError
from rsscale.geo.lattice import Lattice
from rsscale.learn.architectures import build, complete, reach, registered, small_size
from rsscale.learn.chips import (
    UNLABELLED,
    Chips,
    Crops,
    Days,
    InputBands,
    check_chips,
    check_classes,
    validation_groups,
    with_statistics,
)
from rsscale.learn.fit import Schedule, fit
from rsscale.learn.held_out import Calibration, calibrate, held_out
from rsscale.learn.model import Model, given, move
from rsscale.learn.weights import check_windows
from rsscale.legend.classes import LandClass
from rsscale.model.outputs import ClassOutput
from rsscale.model.spec import ModelSpec
from rsscale.network.normalize import window_batch
from rsscale.runtimes.pretrained import begin_with_encoder

__all__ = ["Chips", "InputBands", "TrainingReport", "train"]

Pair = tuple[Any, torch.Tensor]
# Of a step, for networks that see each pixel alone: their features of all dates fill memory.
_PIXELS = 4096


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
    calibration : Calibration or None
        By the blocks that were not trained on; None where these are fewer than three.
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
    calibration: Calibration | None = None

    def properties(self) -> dict[str, Any]:
        """Properties for the model's STAC item, equal for two equal trainings."""
        calibration = self.calibration and self.calibration.properties()
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
                "calibration": calibration,
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
        if self.calibration:
            lines.append(str(self.calibration))
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
    steps, batch : int
        Optimiser steps, and crops of 96 px in each.
    learning_rate : float
        Peak of the one-cycle schedule of AdamW.
    seed : int
        The same seed gives the same weights on the same machine and threads.
    validation : float
        Share of spatial blocks that are kept back to measure the accuracy, and to calibrate
        probabilities: the model's ``confidence`` is the calibrated one.
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
    started = time.monotonic()
    _check_settings(steps, batch, validation)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    check_chips(chips, inputs, classes)
    chips = chips.seen
    check_classes(chips, classes)
    kept_back = validation_groups(chips, validation, seed)
    training = chips.subset(~np.isin(chips.groups, kept_back))
    known = registered(architecture)
    spec = ModelSpec(
        name=name,
        inputs=tuple(with_statistics(training, inputs, known.takes)),
        classes=tuple(classes),
        lattice=lattice,
        architecture=architecture,
        hyperparameters=complete(architecture, hyperparameters or {}),
        resolution=resolution,
        layout=known.layout,
    )
    module = move(_initial(spec, seed), device).to(memory_format=torch.channels_last)
    batches = _batches(Crops(training, spec, seed), batch, torch.device(device))
    done = fit(module, batches, _cross_entropy, Schedule(steps, learning_rate, seed=seed))
    model = Model(spec, module, torch.device(device))
    validated = chips.subset(np.isin(chips.groups, kept_back))
    held = held_out(model, validated)
    accuracy, f1 = held.accuracy()
    calibration = calibrate(held, conformal)
    if calibration:
        model = replace(model, spec=replace(spec, output=calibration.apply_to(ClassOutput())))
    pixels, kept = (
        {c.name: int((some.labels == c.value).sum()) for c in classes}
        for some in (training, validated)
    )
    seconds = time.monotonic() - started
    names = [c.name for c in classes]
    return model, TrainingReport(
        accuracy,
        dict(zip(names, f1, strict=True)),
        pixels,
        kept,
        done.loss,
        steps,
        seed,
        seconds,
        chips.left_out,
        calibration,
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
    begin_with_encoder(module, spec.architecture, spec.channels, spec.hyperparameters)
    size = small_size(spec.lattice.window)
    check_windows(module.eval(), spec, size, f"architecture {spec.architecture!r}")
    return module


def _batches(crops: Crops, batch: int, device: torch.device) -> Iterator[Pair]:
    """What a network is given, and class indices ``(N, H, W)``, again and again."""
    spec = crops.spec
    by_pixel = spec.layout == "mapping" and not reach(spec.architecture, **spec.hyperparameters)
    while True:
        images, targets, days = crops.draw(batch)
        if by_pixel:
            images, targets, days = _pixels(images, targets, days, crops.random)
        windows = window_batch(images.to(device), days, spec)
        yield given(windows), targets.to(device)


def _pixels(
    images: torch.Tensor, targets: torch.Tensor, days: Days, random: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, Days]:
    """The labelled pixels as images of one pixel, for networks that see no other."""
    labelled = (targets.flatten() != UNLABELLED).nonzero()[:, 0].numpy()
    if len(labelled) > _PIXELS:
        labelled = random.choice(labelled, _PIXELS, replace=False)
    elif len(labelled) == 1:
        labelled = labelled.repeat(2)  # batch normalisation has no statistics of one
    pixels = images.permute(0, 2, 3, 1).flatten(0, 2)[labelled]  # (P, C)
    crop = labelled // targets[0].numel()
    of_pixels = {name: d[crop] if d.ndim == 2 else d for name, d in days.items()}
    return pixels[:, :, None, None], targets.flatten()[labelled][:, None, None], of_pixels


def _cross_entropy(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(scores, targets, ignore_index=UNLABELLED)


def _estimate(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "not estimable"


def _finite(value: float) -> float | None:
    """JSON has no NaN."""
    return round(value, 4) if np.isfinite(value) else None
