"""Tell the story of a training in a few lines, from ``training.json``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from rsscale.text.wording import counted, date_range

_MOST_CLASSES = 8


def story_lines(training: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and text of each line, at most eighteen: data, split, accuracy, calibration.

    Parameters
    ----------
    training : mapping
        The content of ``training.json``.
    """
    yield "trained on", _data(training)
    if training["labels"]["unused"]:
        yield "not used", _unused(training["labels"]["unused"])
    if training.get("inputs"):
        yield "imagery", "; ".join(_imagery(*part) for part in training["inputs"].items())
    yield "split", _split(training["split"])
    for remark in training.get("remarks", ()):
        yield "note", remark
    yield "measured", training["verdict"]
    if training.get("kind") == "objects":
        yield from _object_scores(training)
    else:
        yield from _scores(training)
    if training["classes"] and training.get("kind") != "objects":
        yield "calibrated", _calibrated(training["calibration"])
        yield "sets", _sets(training["calibration"])
    yield "made", _made(training)


def _data(training: Mapping[str, Any]) -> str:
    labels = training["labels"]
    total = f"{sum(training['trained'].values()):,} {training['unit']}"
    file = f" of {labels['file']}" if labels.get("file") else ""
    years = f", {', '.join(map(str, training['periods']))}" if training.get("periods") else ""
    return f"{total}{file}{years}"


def _unused(unused: Mapping[str, Any]) -> str:
    """Labels that were not used, by reason: the classes are in the file."""
    totals: Counter[tuple[str, str]] = Counter()
    for by_reason in unused.values():
        for reason, by_unit in by_reason.items():
            for unit, number in by_unit.items():
                totals[reason.replace("_", " "), unit.replace("_", " ")] += number
    return ", ".join(f"{number:,} {unit} {reason}" for (reason, unit), number in totals.items())


def _imagery(name: str, imagery: Mapping[str, Any]) -> str:
    collection = imagery["collection"]
    listed = collection if isinstance(collection, str) else ", ".join(collection or ["all"])
    dates = f", {date_range(imagery['first'], imagery['last'])}" if "first" in imagery else ""
    return f"{name}: {listed}{dates}"


def _split(split: Mapping[str, Any]) -> str:
    roles = Counter(place["role"] for place in split["places"])
    known = [role for role in ("training", "validation", "test") if roles[role]]
    parts = ", ".join(f"{roles[role]} {role}" for role in known)
    folds = f"; tested in {split['folds']} folds" if split["folds"] else ""
    return f"{counted(len(split['places']), 'place')} ({split['groups']}): {parts}{folds}"


def _scores(training: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A row for each class or quantity, as many as there is room for."""
    scores = training["scores"]
    if not training["classes"]:
        for name, rmse in list(scores["rmse"].items())[:_MOST_CLASSES]:
            bias, r2 = scores["bias"][name], scores["r2"][name]
            yield "", f"{name}: RMSE {_text(rmse)}, bias {_text(bias)}, R2 {_text(r2)}"
        return
    classes = training["classes"]
    room = _MOST_CLASSES if len(classes) <= _MOST_CLASSES else _MOST_CLASSES - 1
    names = [c["name"] for c in classes[:room]]
    width = max(len(f"{c['value']} {c['name']}") for c in classes[:room])
    yield "classes", f"{'':<{width}}    F1  user's  producer's   trained    tested"
    for land_class, name in zip(classes, names, strict=False):
        shares = (scores[k].get(name) for k in ("f1", "users_accuracy", "producers_accuracy"))
        f1, users, producers = map(_text, shares)
        counts = f"{training['trained'][name]:>9,} {training['tested'][name]:>9,}"
        title = f"{land_class['value']} {name}"
        yield "", f"{title:<{width}} {f1:>5}  {users:>6}  {producers:>10} {counts}"
    if len(classes) > room:
        yield "", f"and {len(classes) - room} more in training.json"


def _object_scores(training: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A row for each class of objects, as many as there is room for."""
    scores, names = training["scores"], [c["name"] for c in training["classes"]]
    yield "counted", f"detections with a score of {scores['threshold']:g} or more"
    width = max(len(name) for name in names[:_MOST_CLASSES])
    yield "classes", f"{'':<{width}}  AP50  precision  recall     F1   trained    tested"
    for name in names[:_MOST_CLASSES]:
        figures = (scores[k].get(name) for k in ("average_precision", "precision", "recall", "f1"))
        average, precision, recall, f1 = map(_text, figures)
        counts = f"{training['trained'][name]:>9,} {training['tested'][name]:>9,}"
        yield "", f"{name:<{width}} {average:>5} {precision:>10} {recall:>7} {f1:>6} {counts}"
    if len(names) > _MOST_CLASSES:
        yield "", f"and {len(names) - _MOST_CLASSES} more in training.json"


def _calibrated(calibration: Mapping[str, Any] | None) -> str:
    if calibration is None:
        return "no; that takes three places that were tested"
    return (
        f"by the temperature {calibration['temperature']:g}: expected calibration error "
        f"{_text(calibration['error_before'])} before, {_text(calibration['error'])} after"
    )


def _sets(calibration: Mapping[str, Any] | None) -> str:
    if calibration is None:
        return "none: they are found with the calibration, which was not made"
    sets = calibration["conformal"]
    if not sets["offered"]:
        return f"none: too few places for sets of {sets['level']:.0%}"
    return (
        f"of {sets['level']:.0%} held the true class for {sets['coverage']:.1%}, "
        f"{sets['set_size']:.2f} classes each, on {calibration['places']} places left out in turn"
    )


def _made(training: Mapping[str, Any]) -> str:
    curve = training["curve"]
    steps = f"{curve['steps'][-1]:,} steps, weights of step {curve['kept']:,}; " if curve else ""
    versions = training["versions"]
    by = f"rsscale {versions['rsscale']}, torch {versions['torch']}"
    return f"{steps}seed {training['seed']}, {training['seconds']:.0f} s, by {by}"


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
