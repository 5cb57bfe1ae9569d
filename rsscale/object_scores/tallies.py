"""Figures of a group of objects from its true, false and missed ones, with their intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from rsscale.object_scores.average_precision import (
    THRESHOLDS,
    average_precision,
    resampled_precision,
)
from rsscale.object_scores.events import Events
from rsscale.object_scores.figures import GroupScores, ThresholdScores
from rsscale.object_scores.resampling import Resampling
from rsscale.survey_estimators.estimates import Estimate

_Floats = npt.NDArray[np.float64]

NO_TRUTH = "no true object"
NO_PREDICTION = "no predicted object"
NO_SCORES = "predictions have no scores to rank them by"
_NO_MATCH = "no predicted object is matched"
_QUICK = "intervals of average precision are those of all objects and of classes"
_PANOPTIC = ("PQ", "SQ", "RQ")


@dataclass(frozen=True)
class Tally:
    """The events of a group of objects, and their figures.

    Attributes
    ----------
    at : tuple of Events
        At the thresholds of precision and recall.
    curve : tuple of Events
        At the thresholds of average precision; empty where predictions have no scores.
    panoptic : Events, optional
        Above an intersection over union of 0.5; None of points.
    resampling : Resampling
    classes : int
        How many there are.
    """

    at: tuple[Events, ...]
    curve: tuple[Events, ...]
    panoptic: Events | None
    resampling: Resampling
    classes: int

    def pick(self, which: Callable[[Events], npt.NDArray[np.bool_]]) -> Tally:
        """The figures of some of the objects."""
        at, curve = (tuple(e.pick(which(e)) for e in some) for some in (self.at, self.curve))
        panoptic = self.panoptic and self.panoptic.pick(which(self.panoptic))
        return replace(self, at=at, curve=curve, panoptic=panoptic)

    @cached_property
    def by_class(self) -> tuple[Tally, ...]:
        """Those of each class."""
        if self.classes == 1:
            return (self,)

        def of(number: int) -> Tally:
            part = self.pick(lambda events: events.classes == number)
            return replace(part, classes=1)

        return tuple(of(number) for number in range(self.classes))

    def scores(self, *, quick: bool = False) -> GroupScores:
        """The figures of all classes together.

        Counts are added; average precision and panoptic quality are means over the classes that
        have true objects.

        Parameters
        ----------
        quick : bool
            Leave out the intervals of average precision, which take the longest.
        """
        parts = [part for part in self.by_class if part.at[0].truth]
        return GroupScores(
            truth=self.at[0].truth,
            thresholds={events.threshold: self._ratios(events) for events in self.at},
            average_precision=self._average_precision(parts, quick=quick),
            panoptic=self._panoptic(parts),
        )

    def _ratios(self, events: Events) -> ThresholdScores:
        """Precision, recall and F1 at one threshold."""
        blocks = events.by_block(self.resampling.blocks)
        true, false, missed = (int(n) for n in blocks.sum(axis=0))
        if not true + missed:
            none = Estimate(None, why=NO_TRUTH)
            return ThresholdScores(true, false, missed, none, none, none)
        recall = true / (true + missed)
        precision = true / (true + false) if true + false else None
        samples = None if self.resampling.why else _ratios(self.resampling.sums(blocks))
        estimates = [
            Estimate(None, why=NO_PREDICTION)
            if value is None
            else self._estimate(value, None if samples is None else samples[k])
            for k, value in enumerate((precision, recall, _f1(precision, recall)))
        ]
        return ThresholdScores(true, false, missed, *estimates)

    def _average_precision(self, parts: Sequence[Tally], *, quick: bool) -> Mapping[str, Estimate]:
        picks = {"AP": slice(None), "AP50": slice(0, 1), "AP75": slice(5, 6)}
        if self.curve and len(self.curve) < len(THRESHOLDS):
            picks = {"AP": slice(None)}
        if not parts or not self.curve:
            why = NO_SCORES if parts else NO_TRUTH
            return {name: Estimate(None, why=why) for name in picks}
        values = np.array(
            [[average_precision(e.ranked()[0], e.truth) for e in part.curve] for part in parts]
        )
        if quick and not self.resampling.why:
            return {n: Estimate(float(values[:, p].mean()), why=_QUICK) for n, p in picks.items()}
        samples = None
        if not self.resampling.why:
            samples = np.array([part.curve_samples for part in parts])
        return {
            name: self._estimate(
                float(values[:, pick].mean()), None if samples is None else _mean(samples[:, pick])
            )
            for name, pick in picks.items()
        }

    @cached_property
    def curve_samples(self) -> _Floats:
        """Average precision in each resample ``(T, R)``, of objects of one class."""
        drawn = self.resampling.sums(self.curve[0].by_block(self.resampling.blocks))
        truth = drawn[:, 0] + drawn[:, 2]  # the same at each threshold
        return np.array(
            [
                resampled_precision(*events.ranked(), truth, events.truth, self.resampling)
                for events in self.curve
            ]
        )

    def _panoptic(self, parts: Sequence[Tally]) -> Mapping[str, Estimate]:
        """Panoptic quality and its two factors, segmentation and recognition quality."""
        if self.panoptic is None:
            return {}
        if not parts:
            return {name: Estimate(None, why=NO_TRUTH) for name in _PANOPTIC}
        count = self.resampling.blocks
        blocks = [
            np.column_stack([e.overlap_by_block(count), e.by_block(count)])
            for e in (part.panoptic for part in parts)
            if e is not None
        ]
        values = np.array([_qualities(sums.sum(axis=0)[None]) for sums in blocks])  # (K, 3, 1)
        samples = None
        if not self.resampling.why:
            samples = np.array(
                [_qualities(self.resampling.sums(block_sums)) for block_sums in blocks]
            )
        estimates = {}
        for k, name in enumerate(_PANOPTIC):
            value = float(_mean(values[:, k : k + 1])[0])
            if not np.isfinite(value):
                estimates[name] = Estimate(None, why=_NO_MATCH)
            else:
                some = None if samples is None else _mean(samples[:, k : k + 1])
                estimates[name] = self._estimate(value, some)
        return estimates

    def _estimate(self, value: float, samples: _Floats | None) -> Estimate:
        if samples is None:
            return Estimate(value, why=self.resampling.why)
        return self.resampling.estimate(value, samples)


def _f1(precision: float | None, recall: float) -> float:
    """As published scorers divide: other ways to write it differ in the last digit."""
    if not precision or not recall:
        return 0.0
    return 2 * precision * recall / (precision + recall)


def _ratios(sums: _Floats) -> tuple[_Floats, _Floats, _Floats]:
    """Precision, recall and F1 of true, false and missed ``(R, 3)``; NaN without objects."""
    true, false, missed = sums.T
    with np.errstate(invalid="ignore", divide="ignore"):
        return true / (true + false), true / (true + missed), 2 * true / (2 * true + false + missed)


def _qualities(sums: _Floats) -> _Floats:
    """Panoptic, segmentation and recognition quality ``(3, R)`` of sums ``(R, 4)``.

    Kirillov et al. 2019, "Panoptic Segmentation", https://arxiv.org/abs/1801.00868, equation 1.
    """
    overlap, true, false, missed = sums.T
    whole = true + false / 2 + missed / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack([overlap / whole, overlap / true, true / whole])


def _mean(samples: _Floats) -> _Floats:
    """Means over classes and thresholds ``(K, T, R)`` of what there is in each resample."""
    there = np.isfinite(samples)
    count = there.sum(axis=(0, 1))
    total = np.where(there, samples, 0.0).sum(axis=(0, 1))
    with np.errstate(invalid="ignore"):
        means: _Floats = total / count  # NaN where there are none
    return means
