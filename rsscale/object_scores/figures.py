"""Figures of a group of objects: all of them, a class, a region or a range of sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rsscale.survey_estimators.estimates import Estimate


@dataclass(frozen=True)
class ThresholdScores:
    """Counts and ratios at one threshold.

    Attributes
    ----------
    true, false, missed : int
        Predicted objects that are matched and that are not; true objects that are not.
    precision, recall, f1 : Estimate
    """

    true: int
    false: int
    missed: int
    precision: Estimate
    recall: Estimate
    f1: Estimate

    def to_dict(self) -> dict[str, Any]:
        """As ``objects-accuracy.json`` has it."""
        return {
            "true": self.true,
            "false": self.false,
            "missed": self.missed,
            "precision": plain(self.precision),
            "recall": plain(self.recall),
            "f1": plain(self.f1),
        }


@dataclass(frozen=True)
class GroupScores:
    """All figures of a group.

    Attributes
    ----------
    truth : int
        True objects that count.
    thresholds : mapping of float to ThresholdScores
        By threshold: intersection over union, or the distance in metres.
    average_precision : mapping of str to Estimate
        ``AP`` (mean over 0.50 to 0.95), ``AP50``, ``AP75``; of points ``AP`` at the distance.
    panoptic : mapping of str to Estimate
        ``PQ``, ``SQ``, ``RQ``; empty of points.
    """

    truth: int
    thresholds: Mapping[float, ThresholdScores]
    average_precision: Mapping[str, Estimate]
    panoptic: Mapping[str, Estimate]

    def to_dict(self) -> dict[str, Any]:
        """As ``objects-accuracy.json`` has it."""
        more = {**self.average_precision, **self.panoptic}
        return {
            "truth": self.truth,
            "thresholds": {f"{key:g}": scores.to_dict() for key, scores in self.thresholds.items()},
            **{name: plain(estimate) for name, estimate in more.items()},
        }


def plain(estimate: Estimate) -> dict[str, Any]:
    """A figure as JSON, with all of its digits."""
    if estimate.value is None:
        return {"value": None, "why": estimate.why}
    numbers = {name: getattr(estimate, name) for name in ("value", "se", "low", "high")}
    return numbers | ({"why": estimate.why} if estimate.why else {})
