"""Write the report of a run: one HTML file that needs nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rsscale.durable import replace
from rsscale.errors import MissingExtraError, RecipeError, RsscaleError, StorageError
from rsscale.monitoring.summary import describe_dead, describe_left_out
from rsscale.object_files.summary import ObjectSummary, summarise_objects
from rsscale.run_report.change import estimated_changes, mapped_changes
from rsscale.run_report.costs import costs_of
from rsscale.run_report.documents import (
    ACCURACY,
    AREAS,
    GATES,
    OBJECTS_ACCURACY,
    REPORT,
    content_hash,
    is_stale,
    optional_document,
    parsed,
)
from rsscale.run_report.gates import read_gates
from rsscale.run_report.maps import MapFigure, described_likeness, draw_maps, map_step
from rsscale.run_report.measured import (
    described_comparison,
    estimated_areas,
    interpreters_lines,
    mapped_areas,
    reference_accuracy,
    sample_accuracy,
    summarised,
)
from rsscale.run_report.models import models_of
from rsscale.run_report.observations import count_observations, never_seen
from rsscale.run_report.page import render
from rsscale.run_report.provenance import collect_provenance
from rsscale.runs.run import Run
from rsscale.store.run_folder import RECIPE
from rsscale.store.step_version import is_same_version, step_version

PROVENANCE = "provenance.parquet"


def report(run: Run | str | Path, out: str | Path | None = None) -> Path:
    """Write one page about a run: map, areas, accuracy, change, gates, costs, provenance.

    The page needs no network and no script. Beside it lies ``provenance.parquet``, a row for each
    tile and scene. What other commands have left in the run folder is shown where it is there:
    ``areas.json`` and ``accuracy.json`` of ``rsscale assess``, ``gates.json``. Without an estimate
    from a sample, hectares are called mapped, and not estimated. Addresses lose what could be a
    secret, paths their folders.

    Parameters
    ----------
    run : Run or path
        Finished or not: an unfinished one is said to be so.
    out : path, optional
        The HTML file; ``report.html`` in the run folder when omitted.

    Returns
    -------
    Path

    Raises
    ------
    RunFolderError
        When there is no run.
    RecipeError
        When ``out`` is no file name that can be written, or is needed: for a run in a bucket.
    StorageError
        When a file can't be written.
    MissingExtraError
        When Pillow is not installed: the extra ``rsscale[pictures]``.
    """
    run = run if isinstance(run, Run) else Run(run)
    state = run.status()
    path = _path(run, out)
    notes: list[str] = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        provenance = collect_provenance(run, state, path.with_name(PROVENANCE))
        content = {
            **_heading(run, state),
            **(product := _product(run, state, notes)),
            **_measured(run, state, product["maps"], notes),
            "costs": costs_of(state),
            "models": models_of(run, state),
            "provenance": provenance,
            "provenance_name": PROVENANCE,
            "recipe": _recipe(run),
            "made_of": content_hash(run.folder, state["steps"]),
        }
        page = render({**content, "notes": notes})
        replace(path, lambda file: file.write(page.encode()))
    except OSError as error:
        raise StorageError(f"{path} can't be written: {error.strerror or error}") from error
    return path


def _path(run: Run, out: str | Path | None) -> Path:
    where = run.folder.url
    if out is None and "://" in where:
        raise RecipeError(f"{where} is in a bucket; say with --out where the report goes")
    path = Path(where) / REPORT if out is None else Path(out)
    if "://" in os.fspath(path) or (out is not None and "://" in os.fspath(out)):
        raise RecipeError(f"{out} can't be written to; give a local file, and copy it")
    if path.is_dir():
        raise RecipeError(f"{path} is a folder; give the name of the page: {path / REPORT}")
    return path


def _heading(run: Run, state: Mapping[str, Any]) -> dict[str, Any]:
    """What the run is, and whether it is all there."""
    tiles = state["tiles"]
    unfinished = []
    if state.get("dead"):
        unfinished.append(describe_dead(state["dead"]))
    if tiles["done"] < tiles["total"]:
        unfinished.append(
            f"{tiles['done']:,} of {tiles['total']:,} tiles are done, {tiles['failed']:,} failed: "
            "maps and figures are of those that are done"
        )
    elif state["state"] != "done":
        unfinished.append(f"the run is {state['state']}")
    unfinished += [
        f"failed {failure.get('key', '?')}: {failure.get('error', '?')}"
        for failure in state["failed"][:5]
    ]
    periods = [period for part in state["generations"] for period in part["periods"]]
    return {
        "title": _title(run),
        "state": state,
        "unfinished": unfinished,
        "periods": list(dict.fromkeys(periods)),
        "left_out": describe_left_out(state.get("left_out") or {}),
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _title(run: Run) -> str:
    import yaml

    try:
        name = yaml.safe_load(_recipe(run)).get("name")
    except (yaml.YAMLError, AttributeError):
        name = None
    return str(name or Path(run.folder.url).name)


def _recipe(run: Run) -> str:
    try:
        return run.folder.storage.read(RECIPE).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def _product(run: Run, state: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """Maps, change layer and observations: all that reads pixels."""
    step, part = map_step(state), _Part(notes)
    seen = "map" if _has(state, "map", "observations") else step
    figures: dict[str, Any] = {"maps": [], "change_maps": [], "observations": []}
    if step:
        figures["maps"] = part(lambda: draw_maps(run, state, step, "classification"), "the map")
    if _has(state, "change", "change"):
        figures["change_maps"] = part(lambda: draw_maps(run, state, "change", "change"), "change")
    if seen:
        figures["observations"] = part(lambda: count_observations(run, state, seen), "observations")
    figures["likeness"] = described_likeness(figures["maps"])
    return figures | {"never_seen": never_seen(state, seen) if seen else None}


def _is_stale(run: Run, document: Mapping[str, Any], versions: Mapping[str, str]) -> bool:
    """Whether it is of another version of the run; one of some periods looks at these alone."""
    step = str(document.get("step"))
    if document.get("versions") and step in versions:
        return not is_same_version(run.folder, step, document)
    return is_stale(document.get("version"), versions)


def _measured(
    run: Run, state: Mapping[str, Any], maps: list[MapFigure], notes: list[str]
) -> dict[str, Any]:
    """Areas, accuracy, change and gates: what other commands have measured."""
    versions = {step: step_version(run.folder, step) for step in state["steps"]}
    areas = optional_document(run.folder, AREAS, notes)
    accuracy = optional_document(run.folder, ACCURACY, notes, has_format=False)
    gates = optional_document(run.folder, GATES, notes)
    for name, document in ((AREAS, areas), (ACCURACY, accuracy), (GATES, gates)):
        if document is not None and _is_stale(run, document, versions):
            notes.append(
                f"{name} is of another version of the product than the maps of this page: "
                "make it again"
            )
    colors = {row.name: row.color for table in maps for row in table.legend}
    figures: dict[str, Any] = {"area_tables": mapped_areas(maps), "versions": versions}

    def take(key: str, name: str, document: Mapping[str, Any] | None, make: Any) -> None:
        made: list[Any] = (
            [] if document is None else parsed(name, notes, lambda: make(document), [])
        )
        if document is not None or key not in figures:
            figures[key] = made

    take("area_tables", AREAS, areas, estimated_areas)
    take("sample_tables", AREAS, areas, sample_accuracy)
    take("interpreters", AREAS, areas, interpreters_lines)
    take("changes", AREAS, areas, estimated_changes)
    take("comparison", ACCURACY, accuracy, described_comparison)
    take(
        "reference_tables",
        ACCURACY,
        accuracy,
        lambda reference: reference_accuracy(reference, colors),
    )
    take("gate_list", GATES, gates, lambda gate: read_gates(run.folder, gate))
    figures["changes"] += _Part(notes)(lambda: mapped_changes(run, state), "change")
    scored = optional_document(run.folder, OBJECTS_ACCURACY, notes)
    figures["objects"] = _Part(notes)(lambda: _objects(run, scored, notes), "objects")
    return figures | {
        "areas": areas and parsed(AREAS, notes, lambda: summarised(areas), None),
        "gates": gates and {"checked": gates.get("checked", ""), "passed": gates.get("passed")},
    }


def _objects(run: Run, scored: Mapping[str, Any] | None, notes: list[str]) -> list[ObjectSummary]:
    """Counts of objects, with their scores where those can be read."""
    plain = summarise_objects(run.folder)
    if scored is None:
        return plain
    return parsed(OBJECTS_ACCURACY, notes, lambda: summarise_objects(run.folder, scored), plain)


def _has(state: Mapping[str, Any], step: str, layer: str) -> bool:
    """Whether a step has a layer, and any tile of it."""
    entry = state["steps"].get(step)
    if entry is None or not entry["tiles"]["done"]:
        return False
    return any(described["name"] == layer for described in entry.get("layers") or ())


class _Part:
    """Calls for one part of the page; where that fails, the page says so instead."""

    def __init__(self, notes: list[str]) -> None:
        self._notes = notes

    def __call__(self, make: Callable[[], list[Any]], name: str) -> list[Any]:
        try:
            return make()
        except MissingExtraError:
            raise
        except RsscaleError as error:
            self._notes.append(f"{name} is not shown: {error}")
            return []
