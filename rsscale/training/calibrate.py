"""Calibrate a model on blocks of labelled pixels that it was not trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.accuracy.calibration import (
    Reliability,
    conformal_thresholds,
    coverage,
    fit_temperature,
    reliability,
    softmax,
)
from rsscale.learners.base import Predictions
from rsscale.model.outputs import ClassOutput, ConformalSets

FEWEST_PLACES = 3
"""Places that a calibration takes."""
# Blocks that are left out one by one take a fit of all others each: with samples that are blocks of
# their own the time would grow with the square of their number.
_MOST_PARTS = 100


@dataclass(frozen=True)
class Calibration:
    """How sure a model may be, by blocks that it was not trained on.

    What is measured is measured on blocks that are left out in turn, of more than 100 some at once:
    the temperature and the thresholds that apply there come from the others.

    Attributes
    ----------
    temperature : float
        By which scores are divided before softmax.
    before, after : Reliability
        How often a class is right by how probable it was said to be, without it and with it.
    level : float
        Share of pixels whose conformal set is to hold the true class.
    thresholds : tuple of float
        Of each class.
    coverage, set_size : float
        Share of pixels whose set held it, and mean number of classes in the sets.
    blocks : int
    """

    temperature: float
    before: Reliability
    after: Reliability
    level: float
    thresholds: tuple[float, ...]
    coverage: float
    set_size: float
    blocks: int

    @property
    def error_before(self) -> float:
        """Expected calibration error without the temperature."""
        return self.before.error

    @property
    def error(self) -> float:
        """Expected calibration error with it."""
        return self.after.error

    def __str__(self) -> str:
        scaled = (
            f"probabilities stay as they are, expected calibration error {self.error:.3f}"
            if self.temperature == 1
            else f"calibrated by temperature {self.temperature:g}: expected calibration error "
            f"{self.error_before:.3f} before, {self.error:.3f} after"
        )
        return f"{scaled}; {self._sets} ({self.blocks} places, each left out in turn)"

    @property
    def _sets(self) -> str:
        if not any(self.thresholds):
            return f"too few places for conformal sets of {self.level:.0%}"
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


def calibrate(held: Predictions, level: float) -> Calibration | None:
    """Find temperature and conformal sets; None where fewer than three blocks were held out.

    Parameters
    ----------
    held : Predictions
        Of classes. Probabilities have no temperature: their sets alone are found. Nor have scores
        whose temperature would not help blocks that it was not fitted on.
    level : float
        Share of pixels, from 0 to 1, whose set is to hold the true class.
    """
    if len(np.unique(held.groups)) < FEWEST_PLACES or not np.isfinite(held.numbers).all():
        return None
    if not held.are_probabilities:
        scaled = _measured(held, level, _temperature)
        if scaled.error < scaled.error_before:
            return scaled
    return _measured(held, level, lambda _: 1.0)


def _measured(
    held: Predictions, level: float, temperature_of: Callable[[Predictions], float]
) -> Calibration:
    """Calibration by all blocks, its figures of blocks that are left out in turn."""
    blocks, block = np.unique(held.groups, return_inverse=True)
    cooled = np.empty((len(held.numbers), max(held.numbers.shape[1], 2)))
    covered, sizes, weights = [], [], []
    for number in range(min(len(blocks), _MOST_PARTS)):
        is_own = block % _MOST_PARTS == number
        rest, own = held.subset(~is_own), held.subset(is_own)
        temperature = temperature_of(rest)
        probability = _probability(own, temperature)
        thresholds = conformal_thresholds(
            _probability(rest, temperature), rest.truth, rest.groups, level=level
        )
        share, size = coverage(probability, own.truth, thresholds, own.groups)
        cooled[is_own] = probability
        covered.append(share)
        sizes.append(size)
        weights.append(len(np.unique(own.groups)))
    temperature = temperature_of(held)
    before = reliability(_probability(held), held.truth, held.groups)
    after = reliability(cooled, held.truth, held.groups)
    return Calibration(
        temperature=temperature,
        before=before,
        after=after,
        level=level,
        thresholds=conformal_thresholds(
            _probability(held, temperature), held.truth, held.groups, level=level
        ),
        coverage=float(np.average(covered, weights=weights)),
        set_size=float(np.average(sizes, weights=weights)),
        blocks=len(blocks),
    )


def _temperature(held: Predictions) -> float:
    return fit_temperature(held.numbers, held.truth, held.groups)


def _probability(held: Predictions, temperature: float = 1.0) -> npt.NDArray[np.floating]:
    if held.are_probabilities:
        return held.numbers.astype(np.float64)
    return softmax(held.numbers, temperature)
