"""What a training says of itself in files: ``training.json``, ``split.geojson``, pictures."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from rsscale.accuracy.calibration import Reliability
from rsscale.accuracy.sample_scores import ClassScores, Scores
from rsscale.geo.sample_groups import some_of
from rsscale.learners.fit import Fit, learning_rates
from rsscale.model.files import TRAINING, TRAINING_FORMAT
from rsscale.pictures.training_pictures import CHARTS, draw_training_if_possible
from rsscale.training.background import Background, Fold, Report, SplitReport
from rsscale.training.calibrate import Calibration

_MOST_STEPS = 2000  # points of a curve
_MOST_PAIRS = 2000  # true and predicted values of a quantity
_LIBRARIES = ("rsscale", "torch", "numpy", "rasterio", "stackstac", "scikit-learn", "lightgbm")


def story_of(report: Report) -> dict[str, Any]:
    """All that a report knows, as JSON has it: no NaN, no arrays.

    Lengths are in the units of the split's CRS; confusion matrices have a row for each class that
    the model says, a column for each that is there.
    """
    background, calibration = report.background, report.calibration
    task = background.task
    return {
        "format": TRAINING_FORMAT,
        "learner": report.learner,
        "classes": [{"value": c.value, "name": c.name, "color": c.color} for c in task.classes],
        "quantities": [layer.name for layer in task.quantities],
        "unit": report.unit,
        "verdict": report.verdict,
        "remarks": list(report.remarks),
        "basis": report.basis,
        "trained": dict(report.trained),
        "tested": dict(report.tested),
        "not_numbers": report.not_numbers,
        "scores": _scores(report.scores),
        "pairs": _pairs(report),
        "folds": [_fold(fold) for fold in report.folds],
        "calibration": calibration and _calibration(calibration),
        "curve": report.fit and curve_story(report.fit, background),
        "split": split_story(report),
        "settings": dict(background.settings),
        "labels": {
            "used": {name: _sum(background.labels, name) for name in report.trained},
            "unused": background.unused.to_dict(),
            "notes": list(report.left_out),
            **background.provenance.get("labels", {}),
        },
        **{k: v for k, v in background.provenance.items() if k != "labels"},
        "observed": {name: dict(shares) for name, shares in background.observed.items()},
        "seed": report.seed,
        "seconds": round(report.seconds, 1),
        "versions": library_versions(),
    }


def split_features(story: Mapping[str, Any], report: SplitReport) -> dict[str, Any]:
    """The places of a split as GeoJSON, in EPSG:4326 as its standard (RFC 7946) wants.

    A place has no geometry where its CRS, or where it lies, is not known.
    """
    places = report.background.places
    shapes = places.to_lonlat() if places else {}
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "geometry": _rounded(shapes[place["id"]], 7) if place["id"] in shapes else None,
                "properties": {
                    "id": place["id"],
                    "role": place["role"],
                    "fold": place["fold"],
                    "labels": sum(place["labels"].values()),
                    **{f"labels {name}": place["labels"].get(name, 0) for name in report.trained},
                },
            }
            for place in story["split"]["places"]
        ],
    }


def write_story(
    story: Mapping[str, Any], report: SplitReport, folder: Path
) -> dict[str, dict[str, Any]]:
    """Write ``training.json``, ``split.geojson`` and, where matplotlib is installed, pictures.

    Parameters
    ----------
    story : mapping
        What :func:`story_of` gives, or the like of another kind of training.
    report : SplitReport
        That it is of.
    folder : Path

    Returns
    -------
    dict
        STAC assets by name; ``href`` is the name of the file.
    """
    _write_json(folder / TRAINING, story, indent=1)
    _write_json(folder / "split.geojson", split_features(story, report))
    assets = {
        "training": {
            "href": TRAINING,
            "type": "application/json",
            "title": "Settings, split, scores and curves of the training",
            "roles": ["metadata"],
        },
        "split": {
            "href": "split.geojson",
            "type": "application/geo+json",
            "title": "Places of the labels, and what each was for",
            "roles": ["metadata"],
        },
    }
    for path in draw_training_if_possible(story, folder):
        assets[f"{path.stem}-picture"] = {
            "href": path.name,
            "type": "image/png",
            "title": CHARTS[path.stem][0],
            "roles": ["graphic"],
        }
    return assets


def _scores(scores: Scores) -> dict[str, Any]:
    if not isinstance(scores, ClassScores):
        return {
            "count": scores.count,
            "rmse": _finite(scores.rmse),
            "bias": _finite(scores.bias),
            "r2": _finite(scores.r2),
        }
    return {
        "count": scores.count,
        "accuracy": _number(scores.accuracy),
        "balanced_accuracy": _number(scores.balanced_accuracy),
        "f1": _finite(scores.f1),
        "users_accuracy": _finite(scores.users_accuracy),
        "producers_accuracy": _finite(scores.producers_accuracy),
        "confusion_matrix": scores.confusion.tolist(),
        "confusion_axes": ["model", "reference"],
    }


def _pairs(report: Report) -> dict[str, list[list[float | None]]]:
    """Some true values of each quantity, beside what the model says."""
    quantities, predictions = report.background.task.quantities, report.predictions
    if not quantities or predictions is None:
        return {}
    chosen = some_of(len(predictions.truth), _MOST_PAIRS)
    truth, numbers = predictions.truth[chosen], predictions.numbers[chosen]
    return {
        layer.name: [
            [_digits(a), _digits(b)] for a, b in zip(truth[:, k], numbers[:, k], strict=True)
        ]
        for k, layer in enumerate(quantities)
    }


def _fold(fold: Fold) -> dict[str, Any]:
    tested = fold.scores.samples if isinstance(fold.scores, ClassScores) else None
    return {
        "number": fold.number,
        "trained": dict(fold.trained),
        "tested": tested or {"samples": fold.scores.count},
        "scores": _scores(fold.scores),
    }


def _calibration(calibration: Calibration) -> dict[str, Any]:
    return {
        "temperature": _digits(calibration.temperature),
        "error_before": _number(calibration.error_before),
        "error": _number(calibration.error),
        "reliability_before": _bins(calibration.before),
        "reliability": _bins(calibration.after),
        "conformal": {
            "level": calibration.level,
            "thresholds": [_number(value) for value in calibration.thresholds],
            "coverage": _number(calibration.coverage),
            "set_size": _number(calibration.set_size),
            "offered": any(calibration.thresholds),
        },
        "places": calibration.blocks,
    }


def _bins(bins: Reliability) -> dict[str, list[float | None]]:
    return {
        "confidence": [_number(value) for value in bins.confidence],
        "accuracy": [_number(value) for value in bins.accuracy],
        "weight": [_number(value) for value in bins.weight],
    }


def curve_story(fit: Fit, background: Background) -> dict[str, Any]:
    """Losses and learning rates by the step that they are up to, thinned to means."""
    count = len(fit.losses)
    every = math.ceil(count / _MOST_STEPS)
    starts = range(0, count, every)
    loop = background.loop
    rates = learning_rates(loop.learning_rate, loop.steps)[:count] if loop else []
    is_class = bool(background.task.classes)
    return {
        "steps": [min(start + every, count) for start in starts],
        "loss": [_digits(float(np.mean(fit.losses[s : s + every]))) for s in starts],
        "learning_rate": [_digits(float(np.mean(rates[s : s + every]))) for s in starts]
        if rates
        else [],
        "validations": [
            {
                "step": step,
                **({"score": _number(score[0])} if is_class else {}),
                "loss": _number(-score[-1]),
            }
            for step, score in fit.scores
        ],
        "score": "balanced accuracy" if is_class else "loss",
        "kept": fit.kept,
    }


def split_story(report: SplitReport) -> dict[str, Any]:
    """Every place: what it was for, what it holds, and its shape where that is known."""
    background, plan = report.background, report.background.plan
    places, fold_of = background.places, _fold_of(report.folds)
    return {
        "groups": places.kind if places else "groups of the samples",
        "validation": plan.validation,
        "test": 0.0 if report.folds else plan.test,
        "folds": len(report.folds),
        "crs": places.crs_name if places else "",
        "unit": places.unit if places else "",
        "metres": places.metres if places else None,
        "places": [
            {
                "id": group,
                "role": report.split.role_of(group),
                "fold": fold_of.get(group),
                "labels": {name: count for name, count in labels.items() if count},
                "shape": _rounded(places.shapes[group], 6)
                if places and group in places.shapes
                else None,
            }
            for group, labels in sorted(background.labels.items())
        ],
        "points": _points(background),
    }


def _fold_of(folds: Sequence[Fold]) -> dict[int, int]:
    """The fold that each group was tested in."""
    return {int(group): fold.number for fold in folds if fold.split for group in fold.split.test}


def _points(background: Background) -> list[list[Any]]:
    """x, y and the class name, or None, of some labels."""
    places = background.places
    if places is None:
        return []
    names = {str(c.value): c.name for c in background.task.classes}
    known = {*names.values()}
    points = []
    for (x, y), label in zip(places.points.tolist(), places.labels.tolist(), strict=True):
        name = str(label) if str(label) in known else names.get(str(label))
        points.append([_digits(x, 9), _digits(y, 9), name])
    return points


def _rounded(shape: shapely.Geometry, digits: int) -> dict[str, Any]:
    geometry: dict[str, Any] = shapely.geometry.mapping(
        shapely.transform(shape, lambda xy: np.round(xy, digits))
    )
    return geometry


def library_versions() -> dict[str, str]:
    """Versions of Python and of what a training uses."""
    versions = {"python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            continue
    return versions


def _sum(labels: Mapping[int, Mapping[str, int]], name: str) -> int:
    return sum(counts.get(name, 0) for counts in labels.values())


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in values.items()}


def _number(value: float) -> float | None:
    """Rounded; None for NaN and infinity, which JSON does not have."""
    return round(float(value), 6) if math.isfinite(value) else None


def _digits(value: float, digits: int = 6) -> float | None:
    """With so many significant digits; None for NaN and infinity."""
    return float(f"{float(value):.{digits}g}") if math.isfinite(value) else None


def _write_json(path: Path, content: Mapping[str, Any], indent: int | None = None) -> None:
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", "utf-8")
