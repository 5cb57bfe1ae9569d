"""Measure and calibrate a model on blocks of labelled chips that it was not trained on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rsscale.accuracy.calibration import (
    conformal_thresholds,
    coverage,
    fit_temperature,
    reliability,
    softmax,
)
from rsscale.learn.chips import MULTIPLE, UNLABELLED, Chips, to_targets
from rsscale.learn.model import Model
from rsscale.model.outputs import ClassOutput, ConformalSets
from rsscale.network.normalize import window_batch

_FEWEST_BLOCKS = 3


@dataclass(frozen=True)
class HeldOut:
    """Scores of a model for pixels of known class in blocks that it was not trained on.

    Attributes
    ----------
    scores : float32 array (pixels, classes)
        Before softmax.
    truth : int array (pixels,)
        Index of the class.
    groups : int array (pixels,)
        Spatial block.
    """

    scores: npt.NDArray[np.float32]
    truth: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]

    def accuracy(self) -> tuple[float, list[float]]:
        """Overall accuracy, and F1 of each class; NaN for what can't be estimated."""
        count = self.scores.shape[1]
        found = self.scores.argmax(axis=1)
        confusion = np.bincount(found * count + self.truth, minlength=count**2)
        confusion = confusion.reshape(count, count)  # rows: map, columns: reference
        total, right = confusion.sum(), np.diag(confusion)
        either = confusion.sum(axis=0) + confusion.sum(axis=1)
        f1 = [
            float(2 * right[k] / either[k]) if confusion[:, k].any() else float("nan")
            for k in range(count)
        ]
        # Of one class no error of commission can be seen: a model that knows no other is right.
        is_estimable = (confusion.any(axis=0)).sum() >= min(count, 2)
        return (float(right.sum() / total) if total and is_estimable else float("nan")), f1


@dataclass(frozen=True)
class Calibration:
    """How sure a model may be, by blocks that it was not trained on.

    What is measured is measured on blocks that are left out in turn: the temperature and the
    thresholds that apply there come from the others.

    Attributes
    ----------
    temperature : float
        By which scores are divided before softmax.
    error_before, error : float
        Expected calibration error without it and with it.
    level : float
        Share of pixels whose conformal set is to hold the true class.
    thresholds : tuple of float
        Of each class.
    coverage, set_size : float
        Share of pixels whose set held it, and mean number of classes in the sets.
    blocks : int
    """

    temperature: float
    error_before: float
    error: float
    level: float
    thresholds: tuple[float, ...]
    coverage: float
    set_size: float
    blocks: int

    def __str__(self) -> str:
        return (
            f"calibrated by temperature {self.temperature:g}: expected calibration error "
            f"{self.error_before:.3f} before, {self.error:.3f} after; {self._sets} "
            f"({self.blocks} blocks, each left out in turn)"
        )

    @property
    def _sets(self) -> str:
        if not any(self.thresholds):
            return f"too few blocks for sets of {self.level:.0%}: they would hold every class"
        return (
            f"sets of {self.level:.0%} held the true class for {self.coverage:.1%}, "
            f"{self.set_size:.2f} classes each"
        )

    def apply_to(self, output: ClassOutput) -> ClassOutput:
        """The output of a model, calibrated; without sets where these would hold every class."""
        sets = ConformalSets(self.level, self.thresholds) if any(self.thresholds) else None
        return replace(output, temperature=self.temperature, conformal=sets)

    def properties(self) -> dict[str, Any]:
        """For the model's STAC item."""
        return {
            "blocks": self.blocks,
            "error_before": round(self.error_before, 4),
            "error": round(self.error, 4),
            "conformal_coverage": round(self.coverage, 4),
            "conformal_set_size": round(self.set_size, 3),
        }


def held_out(model: Model, chips: Chips) -> HeldOut:
    """Run a model over chips that it was not trained on.

    Parameters
    ----------
    model : Model
    chips : Chips
    """
    scores, truth, groups = [], [], []
    for number, (image, label) in enumerate(zip(chips.images, chips.labels, strict=True)):
        target = to_targets(label, model.spec)
        days = chips.days_of(np.array([number]))
        with torch.inference_mode():
            padded = torch.from_numpy(_padded(image)[None]).to(model.device)
            found = model(window_batch(padded, days, model.spec))[0]
        known = torch.from_numpy(target != UNLABELLED)
        rows, cols = label.shape
        scores.append(found.cpu()[:, :rows, :cols][:, known].T.float().numpy())
        truth.append(target[known.numpy()])
        groups.append(np.full(len(truth[-1]), chips.groups[number]))
    if not scores:
        nothing = np.zeros(0, np.int64)
        return HeldOut(np.zeros((0, model.spec.output_channels), np.float32), nothing, nothing)
    of_pixels = np.concatenate(truth).astype(np.int64)
    return HeldOut(np.concatenate(scores), of_pixels, np.concatenate(groups))


def calibrate(held: HeldOut, level: float) -> Calibration | None:
    """Find temperature and conformal sets; None where fewer than three blocks were held out.

    Parameters
    ----------
    held : HeldOut
    level : float
        Share of pixels, from 0 to 1, whose set is to hold the true class.
    """
    blocks = np.unique(held.groups)
    if len(blocks) < _FEWEST_BLOCKS or not np.isfinite(held.scores).all():
        return None
    cooled = np.empty(held.scores.shape)
    covered, sizes = [], []
    for block in blocks:
        rest, own = held.groups != block, held.groups == block
        temperature = fit_temperature(held.scores[rest], held.truth[rest], held.groups[rest])
        cooled[own] = softmax(held.scores[own], temperature)
        thresholds = conformal_thresholds(
            softmax(held.scores[rest], temperature),
            held.truth[rest],
            held.groups[rest],
            level=level,
        )
        share, size = coverage(cooled[own], held.truth[own], thresholds)
        covered.append(share)
        sizes.append(size)
    temperature = fit_temperature(held.scores, held.truth, held.groups)
    probability = softmax(held.scores, temperature)
    return Calibration(
        temperature=temperature,
        error_before=reliability(softmax(held.scores), held.truth, held.groups).error,
        error=reliability(cooled, held.truth, held.groups).error,
        level=level,
        thresholds=conformal_thresholds(probability, held.truth, held.groups, level=level),
        coverage=float(np.mean(covered)),
        set_size=float(np.mean(sizes)),
        blocks=len(blocks),
    )


def _padded(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Height and width made multiples with missing values, for any depth of network."""
    rows, cols = (-n % MULTIPLE for n in image.shape[-2:])
    return np.pad(image, ((0, 0), (0, rows), (0, cols)), constant_values=np.nan)
