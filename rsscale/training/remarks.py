"""What did not go as a training was asked to do, in a plain line each."""

from __future__ import annotations

import numpy as np

from rsscale.training.background import Report
from rsscale.training.calibrate import FEWEST_PLACES
from rsscale.wording import counted


def remarks_of(report: Report) -> tuple[str, ...]:
    """Lines on places that are wider than asked for, a part without places, no calibration."""
    background = report.background
    lines = [background.places.remark] if background.places and background.places.remark else []
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
    if background.task.classes and report.calibration is None:
        lines.append(f"probabilities are not calibrated: {_why_not_calibrated(report)}")
    return tuple(lines)


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
