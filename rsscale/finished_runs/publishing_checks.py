"""Refuse to publish a run whose gates failed, or whose figures are of another state of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rsscale.errors import RecipeError, RunFolderError, nearest
from rsscale.finished_runs.finished_run import FinishedRun
from rsscale.run_report.documents import (
    ACCURACY,
    AREAS,
    GATES,
    OBJECTS_ACCURACY,
    REPORT,
    is_outdated_report,
)
from rsscale.store.step_version import is_same_version

OUTDATED = "outdated"
"""Name by which gates that were checked on another version of the map are overridden."""
OUTDATED_AREAS = "outdated-areas"
"""Name by which areas and accuracies of another version of the map are published all the same."""
OUTDATED_ACCURACY = "outdated-accuracy"
"""The same of a comparison with a reference raster or labels."""
OUTDATED_REPORT = "outdated-report"
"""The same of the report of an earlier state of the run."""


def check_gates(finished: FinishedRun, override: Sequence[str]) -> list[dict[str, Any]]:
    """Refuse a product whose quality gates failed, unless each of them is overridden by name.

    Parameters
    ----------
    finished : FinishedRun
    override : sequence of str
        Names of gates; ``"outdated"`` for gates of another version of the product, and
        ``"outdated-areas"`` and ``"outdated-accuracy"`` for figures of another one,
        ``"outdated-report"`` for a report of it.

    Returns
    -------
    list of dict
        The gates that failed and were overridden.

    Raises
    ------
    RunFolderError
        When a gate failed that is not overridden, or figures are of another version of the map.
    RecipeError
        When a gate is overridden that did not fail.
    """
    document = finished.document(GATES)
    failed = _failed(finished, document) if isinstance(document, Mapping) else {}
    failed |= _outdated_figures(finished)
    for name in override:
        if name not in failed:
            raise RecipeError(
                f"no gate {name!r} failed, so there is nothing to override; failed are "
                f"{', '.join(failed) or 'none'}{nearest(name, failed)}"
            )
    open_ = [name for name in failed if name not in override]
    if open_:
        raise RunFolderError(_refusal(finished.folder.url, open_, failed[open_[0]]))
    return list(failed.values())


def _refusal(url: str, names: Sequence[str], first: Mapping[str, Any]) -> str:
    """What is said of gates that failed: the first with its remedy, the others by name."""
    remedies = {
        OUTDATED: f"check them again with: rsscale gates {url}",
        OUTDATED_AREAS: f"estimate them again with: rsscale assess {url} --sample FILE",
        OUTDATED_ACCURACY: f"compare again with: rsscale assess {url} --reference FILE, or "
        "--objects FILE",
        OUTDATED_REPORT: f"write it again with: rsscale report {url}",
    }
    name, *others = names
    remedy = remedies.get(name, f"look at the places in {url}/{GATES}")
    more = f" (nor {', '.join(map(repr, others))})" if others else ""
    flags = " ".join(f"--override {each}" for each in names)
    return (
        f"{url} does not pass its quality gate {name!r}{more}: {first.get('text') or 'failed'}; "
        f"{remedy}, or publish all the same with {flags}"
    )


def without_gates(finished: FinishedRun) -> list[str]:
    """Lines on the steps of layers that no quality gate was checked of, if there are some."""
    document = finished.document(GATES)
    checked = document.get("version") or {} if isinstance(document, Mapping) else {}
    if not finished.steps or any(step in checked for step in finished.steps):
        return []
    steps = ", ".join(finished.steps)
    line = (
        f"no quality gates were checked of {steps}: publish refuses a map where they were checked "
        f"and failed; check them with: rsscale gates {finished.folder.url}"
    )
    return [line]


def _failed(finished: FinishedRun, document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    failed = {}
    checked = document.get("version") or {}
    other = [
        step for step in finished.versions
        if step in checked and checked[step] != finished.versions[step]
    ]  # fmt: skip
    if other:
        failed[OUTDATED] = {
            "name": OUTDATED,
            "text": f"{GATES} is of another version of {', '.join(other)} than what is there now",
        }
    for gate in document.get("gates") or []:
        if isinstance(gate, Mapping) and gate.get("status") == "failed":
            failed[str(gate.get("name"))] = {
                "name": str(gate.get("name")),
                "text": str(gate.get("text", "")),
            }
    if document.get("passed") is False and not failed:
        failed["gates"] = {"name": "gates", "text": f"{GATES} says that the product did not pass"}
    return failed


def _outdated_figures(finished: FinishedRun) -> dict[str, dict[str, Any]]:
    """Figures describe the map that they were estimated for, and no other.

    Those that say which periods they are of still hold when the run has grown by another one.
    """
    outdated = {}
    for file, name in ((AREAS, OUTDATED_AREAS), (ACCURACY, OUTDATED_ACCURACY)):
        figures = finished.document(file)
        if not isinstance(figures, Mapping) or figures.get("version") is None:
            continue
        step = str(figures.get("step") or "map")
        if not is_same_version(finished.folder, step, figures):
            text = f"{file} is of another version of {step} than what is there now"
            outdated[name] = {"name": name, "text": text}
    for step, span in _outdated_scores(finished):
        text = f"{OBJECTS_ACCURACY} has scores of {step} {span} of another version than is there"
        outdated[OUTDATED_ACCURACY] = {"name": OUTDATED_ACCURACY, "text": text}
    if is_outdated_report(finished.folder, finished.state["steps"]):
        text = f"{REPORT} was written before the run or its figures changed"
        outdated[OUTDATED_REPORT] = {"name": OUTDATED_REPORT, "text": text}
    return outdated


def _outdated_scores(finished: FinishedRun) -> Iterator[tuple[str, str]]:
    """Steps and spans whose objects are others than those that were scored."""
    for step, by_span in (finished.object_scores or {"steps": {}})["steps"].items():
        for span, scores in by_span.items():
            if "version" in scores and not is_same_version(finished.folder, step, scores):
                yield step, span
