"""The quality gates of a report, with pictures of the worst places."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rsscale.run_report.figures import number
from rsscale.store.run_folder import RunFolder

_PICTURES = 12  # of all gates together
_PLACES = 4  # of a gate
_LARGEST = 200_000  # bytes of a picture
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Place:
    """A place that stands out."""

    where: str
    value: float | None
    picture: str


@dataclass(frozen=True)
class Gate:
    """A check of the product, and what it said."""

    title: str
    status: str
    text: str
    value: float | None
    threshold: float | None
    p_value: float | None
    places: tuple[Place, ...]


def read_gates(folder: RunFolder, gates: Mapping[str, Any]) -> list[Gate]:
    """The gates of ``gates.json``, failed ones first; small pictures are part of them."""
    order = {"failed": 0, "passed": 1}
    listed = sorted(gates.get("gates", ()), key=lambda gate: order.get(gate.get("status"), 2))
    left = _PICTURES
    results = []
    for gate in listed:
        places = []
        for place in gate.get("places", ())[:_PLACES]:
            picture = _picture(folder, place.get("picture")) if left else ""
            left -= bool(picture)
            # Of a gate that passed the worst places are no faults: those with a picture will do.
            if picture or gate.get("status") == "failed":
                tile = " ".join(str(place[key]) for key in ("span", "tile") if place.get(key))
                where = tile or _bounds(place)
                places.append(Place(where, number(place.get("value")), picture))
        results.append(
            Gate(
                str(gate.get("title") or gate.get("name")),
                str(gate.get("status", "not checked")),
                str(gate.get("text", "")),
                number(gate.get("value")),
                number(gate.get("threshold")),
                number(gate.get("p_value")),
                tuple(places),
            )
        )
    return results


def _bounds(place: Mapping[str, Any]) -> str:
    bounds = place.get("bounds") or ()
    return ", ".join(f"{value:.4f}" for value in bounds)


def _picture(folder: RunFolder, name: Any) -> str:
    """A PNG below the run folder as a data URI; nothing where it is none, or large."""
    parts = str(name or "").split("/")
    if not name or ".." in parts or str(name).startswith("/"):
        return ""
    try:
        content = folder.storage.read(str(name))
    except OSError:
        return ""
    if not content.startswith(_PNG) or len(content) > _LARGEST:
        return ""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
