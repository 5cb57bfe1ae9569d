"""Colours of classes of objects: the model's or the map's, else those all readers tell apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rsscale.documents import read_json
from rsscale.layers import Layer
from rsscale.legend.flags import flag_classes
from rsscale.store.run_folder import RunFolder

PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999")
"""Okabe and Ito (2008): told apart by colour-blind readers too."""

_CLASSES = "classification:classes"


def class_colors(folder: RunFolder, step: str) -> dict[tuple[int, str], str]:
    """Colours that a run knows of classes of objects, by value and name.

    Those of the detector that the step ran with come first, then those of layers of the run that
    have a class of the same value and name, from which polygons are made.

    Parameters
    ----------
    folder : RunFolder
    step : str
        Holds objects.

    Returns
    -------
    dict of (int, str) to str
        ``"#rrggbb"``. See :func:`color_of` for a class that is not among them.
    """
    state = folder.read_state()
    colors: dict[tuple[int, str], str] = {}
    for described in state["steps"].values():
        for layer in described.get("layers", ()):
            for flag in flag_classes(Layer.parse(layer).attributes):
                if flag.color:
                    colors.setdefault((flag.value, flag.name), flag.color)
    own: dict[tuple[int, str], str] = {}
    for document in _models(folder, state, step):
        own.update(_of_model(document))
    return colors | own


def color_of(colors: Mapping[tuple[int, str], str], value: int, name: str) -> str:
    """The colour of a class, ``"#rrggbb"``: of one without, the same in every period and file."""
    return colors.get((value, name)) or PALETTE[abs(value - 1) % len(PALETTE)]


def _models(folder: RunFolder, state: Mapping[str, Any], step: str) -> Iterator[Any]:
    """Items of the models of a step, or of the passes that it is made of."""
    for name, kept in state.get("attachments", {}).items():
        if name != step and not name.startswith(f"{step}-"):
            continue
        for room, digest in kept.values():
            if room == "models":
                try:
                    yield read_json(folder.storage.read(f"models/{digest}/item.json"))
                except (FileNotFoundError, ValueError):
                    continue  # colours alone: whoever needs the model says that it is lost


def _of_model(document: Any) -> Iterator[tuple[tuple[int, str], str]]:
    """Classes of a model's item that have a colour."""
    try:
        outputs = document["properties"]["mlm:output"]
        listed = [entry for output in outputs for entry in output.get(_CLASSES, ())]
        for entry in listed:
            if entry.get("color_hint"):
                yield (int(entry["value"]), str(entry["name"])), f"#{entry['color_hint'].lower()}"
    except (KeyError, TypeError, ValueError, AttributeError):
        return
