"""Hectares beside the classes of the viewer's legends, from ``areas.json`` of ``assess``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rsscale.documents import read_json
from rsscale.store.run_folder import RunFolder
from rsscale.store.step_version import is_same_version

AREAS = "areas.json"
_BEFORE, _AFTER, _CHANGE = "from", "to", "change"
_CHANGED = "1"  # the value of a layer of change where there is one

Spans = dict[str, dict[str, Any]]
"""By span, then by class value: ``mapped``, ``value``, ``low`` and ``high``, null where unknown."""


def legend_areas(folder: RunFolder, layers: Sequence[Mapping[str, Any]]) -> dict[str, Spans]:
    """Hectares of the classes of each layer that a sample has estimated, with their intervals.

    Parameters
    ----------
    folder : RunFolder
    layers : sequence of mapping
        See :func:`~rsscale.viewer.layer_entries.layer_entries`.

    Returns
    -------
    dict of layer id to dict of span to dict of class value to dict
        At each layer of the classes that the sample measured, for the periods that it measured;
        at each layer ``change`` the hectares that changed. Empty without a sample.
    """
    try:
        document = read_json(folder.storage.read(AREAS))
        areas = dict(_of_classes(document, layers))
        return areas | dict(_of_change(document, layers))
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # not estimated, or by another version: the page goes without


def area_notes(folder: RunFolder, state: Mapping[str, Any]) -> Iterator[str]:
    """A line where areas were estimated of another version of the map."""
    try:
        document = read_json(folder.storage.read(AREAS))
        assessed, step, _ = (document[key] for key in ("assessed", "step", "version"))
        # The version is hashed from the entries of all tiles: only where it can have changed.
        may_differ = datetime.fromisoformat(assessed) < datetime.fromisoformat(state["updated"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return
    if may_differ and not is_same_version(folder, step, document):
        yield (
            f"the areas were estimated on {assessed[:10]}, of another version of the map than is "
            "shown; interpret and assess a sample of this one"
        )


def not_sampled(folder: RunFolder) -> list[str]:
    """Lines of ``areas.json`` on land that its sample could not be drawn from."""
    try:
        lines = read_json(folder.storage.read(AREAS))["sample"]["not_sampled"]
        return [str(line) for line in lines]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []


def _of_classes(
    document: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, Spans]]:
    """Hectares of each class, at all layers of the classes that were measured.

    An estimate is of the ground, not of one map; what is mapped is of the measured step alone.
    """
    step, name = document.get("step", "map"), document.get("layer", "classification")
    legends = [_legend(layer) for layer in layers if (layer["step"], layer["name"]) == (step, name)]
    for layer in layers:
        if not legends or _legend(layer) != legends[0]:
            continue
        estimated = {
            span: {
                str(entry["value"]): _area(entry, is_measured=layer["step"] == step)
                for entry in document["periods"][period]["classes"]
            }
            for span, period in _periods(layer).items()
            if period in document["periods"]
        }
        if estimated:
            yield layer["id"], estimated


def _legend(layer: Mapping[str, Any]) -> list[tuple[int, str]]:
    return [(entry["value"], entry["name"]) for entry in layer.get("classes", ())]


def _periods(layer: Mapping[str, Any]) -> dict[str, str]:
    """The period that each span of a layer is of: ``from`` of 2023-2024 is of 2023."""
    spans = {span: span.partition("-") for span in layer["spans"]}
    if layer["name"] == _BEFORE:
        return {span: before for span, (before, _, _) in spans.items()}
    if layer["name"] == _AFTER:
        return {span: after for span, (_, _, after) in spans.items()}
    return {span: span for span in spans}


def _of_change(
    document: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, Spans]]:
    """Hectares that became another class."""
    estimated = document.get("change") or {}
    for layer in layers:
        spans = {
            span: {_CHANGED: _area(estimated[span]["changed"])}
            for span in layer["spans"]
            if span in estimated
        }
        if layer["name"] == _CHANGE and layer["kind"] == "classes" and spans:
            yield layer["id"], spans


def _area(entry: Mapping[str, Any], *, is_measured: bool = True) -> dict[str, Any]:
    estimate = entry.get("hectares") or {}
    return {
        "mapped": entry.get("mapped_hectares") if is_measured else None,
        **{name: estimate.get(name) for name in ("value", "low", "high")},
    }
