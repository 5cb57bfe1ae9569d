"""Figures of a change map against the true classes of all years, of pixels in memory."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter, minimum_filter

Flags = npt.NDArray[np.bool_]
_BINS = 15
_UNLIKELY = 0.05
"""Below this probability of change a pixel counts as one that is surely the same."""


@dataclass(frozen=True)
class Truth:
    """What is true of pixels ``(y, x)``, and which of them are measured.

    Attributes
    ----------
    classes : uint8 array (years, y, x)
    years : tuple of int
    where : bool array (y, x)
        Inside the area and far from labels.
    """

    classes: npt.NDArray[np.uint8]
    years: tuple[int, ...]
    where: Flags
    changed: Flags = field(init=False)
    since: npt.NDArray[np.int64] = field(init=False)
    """First year with the class of the latest change; 0 where there was none."""
    near_border: Flags = field(init=False)
    """Pixels that touch one of another class in some year."""

    def __post_init__(self) -> None:
        differs = self.classes[1:] != self.classes[:-1]
        since = np.zeros(self.where.shape, np.int64)
        border = np.zeros(self.where.shape, bool)
        for year, of_year in zip(self.years[1:], differs, strict=True):
            since[of_year] = year
        for of_year in self.classes:
            border |= maximum_filter(of_year, 3) != minimum_filter(of_year, 3)
        object.__setattr__(self, "changed", differs.any(axis=0))
        object.__setattr__(self, "since", since)
        object.__setattr__(self, "near_border", border)


@dataclass(frozen=True)
class Prediction:
    """What a method says of pixels ``(y, x)``.

    Attributes
    ----------
    changed : bool array
        False where it says nothing.
    known : bool array
        Where it says something.
    probability : float array, optional
        Of change, 0 to 1.
    year : int array, optional
        Of the latest change.
    """

    changed: Flags
    known: Flags
    probability: npt.NDArray[np.float32] | None = None
    year: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Figures:
    """Figures of a method; shares are 0 to 1, None where a method has not what they are of.

    Attributes
    ----------
    f1, precision, recall : float
    area_ratio : float
        Mapped changed area over the true.
    false : float
        Falsely changed of 100,000 pixels that are unchanged.
    false_at_border : float
        Share of the false ones that touch a pixel of another class.
    differencing : float
        False pixels of differencing, cut by its probability so that it has the recall of the
        method, over those of the method.
    as_it_is : float
        False pixels of differencing as it is, over those of the method, cut by its probability so
        that it has the recall of differencing.
    year_right : float
        Share of changes that were found, with the year of the latest one.
    calibration, calibration_likely : float
        Expected calibration error: of all pixels, and of those of 5 percent or more.
    mapped : float
        Share of the measured pixels about which it says something.
    """

    f1: float
    precision: float
    recall: float
    area_ratio: float
    false: float
    false_at_border: float
    differencing: float | None
    as_it_is: float | None
    year_right: float | None
    calibration: float | None
    calibration_likely: float | None
    mapped: float

    def to_dict(self) -> dict[str, Any]:
        """Rounded, for JSON."""
        return {k: v if v is None else round(v, 4) for k, v in asdict(self).items()}


def measure(truth: Truth, said: Prediction, differencing: Prediction | None = None) -> Figures:
    """Compare what a method says with the truth, where that is measured."""
    where, real = truth.where, truth.changed
    found = said.changed & where
    hits, false = int((found & real).sum()), found & ~real
    true, same = int((real & where).sum()), int((where & ~real).sum())
    count = int(found.sum())
    is_known = said.known & where
    year = None
    if said.year is not None:
        right = said.year == truth.since
        year = float((right & found & real).sum() / max(hits, 1))
    errors: tuple[float | None, float | None] = (None, None)
    if said.probability is not None:
        probability, outcome = said.probability[is_known], real[is_known]
        likely = probability >= _UNLIKELY
        errors = (
            calibration_error(probability, outcome),
            calibration_error(probability[likely], outcome[likely]),
        )
    return Figures(
        f1=2 * hits / max(count + true, 1),
        precision=hits / max(count, 1),
        recall=hits / max(true, 1),
        area_ratio=count / max(true, 1),
        false=1e5 * int(false.sum()) / max(same, 1),
        false_at_border=float((false & truth.near_border).sum() / max(false.sum(), 1)),
        differencing=_times(truth, said, differencing),
        as_it_is=_times_as_it_is(truth, said, differencing),
        year_right=year,
        calibration=errors[0],
        calibration_likely=errors[1],
        mapped=float(is_known.sum() / max(where.sum(), 1)),
    )


def calibration_error(probability: npt.NDArray[Any], outcome: Flags) -> float:
    """Mean difference of a probability and how often it comes true, in bins of equal width."""
    if not len(outcome):
        return 0.0
    number = np.minimum((probability * _BINS).astype(int), _BINS - 1)
    said = np.bincount(number, probability, _BINS)
    came = np.bincount(number, outcome, _BINS)
    return float(np.abs(said - came).sum() / len(outcome))


def false_at(truth: Truth, said: Prediction, recall: float) -> float:
    """False pixels where a method is cut by its probability so that it has a recall.

    Between two cuts a share of the pixels of one probability counts: it is whole percents.
    """
    where = said.known & truth.where
    probability = np.zeros_like(where, float) if said.probability is None else said.probability
    percent = np.rint(100 * probability[where]).astype(int)
    real = truth.changed[where]
    hits = np.bincount(percent[real], minlength=101)[::-1].cumsum()
    false = np.bincount(percent[~real], minlength=101)[::-1].cumsum()
    # The first cut that has so many hits: those after it add false ones alone.
    hits, first = np.unique(np.r_[0, hits], return_index=True)
    wanted = recall * (truth.changed & truth.where).sum()
    return float(np.interp(wanted, hits, np.r_[0, false][first]))


def _times(truth: Truth, said: Prediction, differencing: Prediction | None) -> float | None:
    if differencing is None or differencing.probability is None:
        return None
    recall, false = _recall_and_false(truth, said)
    return false_at(truth, differencing, recall) / max(false, 1)


def _times_as_it_is(
    truth: Truth, said: Prediction, differencing: Prediction | None
) -> float | None:
    if differencing is None or said.probability is None:
        return None
    recall, false = _recall_and_false(truth, differencing)
    return false / max(false_at(truth, said, recall), 1)


def _recall_and_false(truth: Truth, said: Prediction) -> tuple[float, int]:
    real = truth.changed & truth.where
    recall = float((said.changed & real).sum() / max(real.sum(), 1))
    return recall, int((said.changed & truth.where & ~truth.changed).sum())
