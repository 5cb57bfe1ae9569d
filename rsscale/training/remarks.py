"""What did not go as a training was asked to do, in a plain line each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from rsscale.model.files import SELDOM
from rsscale.text.wording import counted
from rsscale.training.background import Observed, Report
from rsscale.training.calibrate import FEWEST_PLACES

_LISTED = 6


def remarks_of(report: Report) -> tuple[str, ...]:
    """Lines on places that are wider than asked for, a part without places, no calibration."""
    background = report.background
    lines = [background.places.remark] if background.places and background.places.remark else []
    lines += seldom_observed(background.observed)
    if report.not_numbers:
        lines.append(
            f"{counted(report.not_numbers, 'prediction')} of the model are no numbers (NaN or "
            "infinite) and count in no figure here: look for extreme or missing values in the "
            "imagery, or use a lower learning rate"
        )
    if report.fit and background.plan.validation and not len(report.split.validation):
        lines.append(
            "no place was kept for validation: there are too few, or each holds all that is left "
            f"of a class; the weights are those of the last step, {report.fit.kept:,}"
        )
    if background.plan.test and not report.folds and not len(report.split.test):
        lines.append(
            "no place was kept for the test: there are too few, or each holds all that is left of "
            "a class"
        )
    lines += _seldom_learnt(report)
    if background.task.classes and report.calibration is None:
        lines.append(f"probabilities are not calibrated: {_why_not_calibrated(report)}")
    return tuple(lines)


def _seldom_learnt(report: Report) -> list[str]:
    """A line for each class of which the model that is kept saw less than a third."""
    labels: Counter[str] = Counter()
    for of_place in report.background.labels.values():
        labels.update(of_place)
    return [
        f"class {name!r}: the model learnt from {learnt:,} of {labels[name]:,} labelled pixels, as "
        "the others lie in places that are kept for the validation or the test; smaller shares of "
        "split, or labels elsewhere, teach it more"
        for name, learnt in report.trained.items()
        if 3 * learnt < labels[name]
    ]


def seldom_observed(observed: Observed) -> list[str]:
    """A line for each input with time windows that next to no labelled pixel was observed in."""
    return [_seldom(*part) for part in observed.items() if _windows(part[1])]


def _windows(shares: Mapping[str, float]) -> list[str]:
    """Those of several time windows that were next to never observed."""
    return [name for name, share in shares.items() if share < SELDOM and len(shares) > 1]


def _seldom(name: str, shares: Mapping[str, float]) -> str:
    few, most = _windows(shares), max(shares.values())
    which = ", ".join(f"{window} ({shares[window]:.1%})" for window in few[:_LISTED])
    more = f" and {len(few) - _LISTED} more" if len(few) > _LISTED else ""
    return (
        f"input {name!r}: next to no labelled pixel was observed in {which}{more}, where the best "
        f"window has {most:.0%}: nothing was learnt of that, and a map of a period that has "
        "imagery there means little; use wider windows, such as composite: {by: year}"
    )


def _why_not_calibrated(report: Report) -> str:
    if report.not_numbers:
        return "not all predictions are numbers"
    if report.basis not in ("folds", "test"):
        return "no place was left to test on"
    predictions = report.predictions
    places = 0 if predictions is None else len(np.unique(predictions.groups))
    return (
        f"that takes {FEWEST_PLACES} places that were tested, and there "
        f"{'is' if places == 1 else 'are'} {places}"
    )
