"""What other commands leave in a run folder for a report: areas, accuracy, gates."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image


def figure(value: float, se: float) -> dict[str, float]:
    return {"value": value, "se": se, "low": value - 1.96 * se, "high": value + 1.96 * se}


def areas(
    classes: Sequence[tuple[int, str, str]], periods: Sequence[str] = ("2020",), version: str = ""
) -> dict[str, Any]:
    """``areas.json``; the last class is not estimable."""
    count = len(classes)
    rows = [
        {
            "value": value, "name": name, "color": color,
            "mapped_hectares": 1000.0 + 100 * k,
            "hectares": figure(1234.5 + 100 * k, 50.0 + k),
            "users": figure(0.9 - 0.01 * k, 0.02), "producers": figure(0.8, 0.03),
            "f1": figure(0.85, 0.02), "units_mapped": 50, "units_reference": 48,
        }
        for k, (value, name, color) in enumerate(classes)
    ]  # fmt: skip
    why = {"value": None, "why": "not estimable: no sample units"}
    rows[-1] |= {"hectares": why, "users": why, "producers": why, "f1": why}
    counts = [[40 if i == j else 1 for j in range(count)] for i in range(count)]
    period = {
        "overall": figure(0.91, 0.01), "classes": rows, "counts": counts,
        "proportions": [[1 / count**2] * count] * count,
    }  # fmt: skip
    content: dict[str, Any] = {
        "format": 1, "design": "stratified", "confidence": 0.95,
        "sample": {"path": "/home/someone/private/sample.gpkg", "units": 300, "used": 288,
                   "left_out": ["12 not yet interpreted"]},
        "periods": dict.fromkeys(periods, period),
        "regions": {"North <1>": period}, "interpreters": None,
        "estimator": "stratified estimator (Olofsson et al. 2014)",
        "notes": ["12 units are not yet interpreted"],
    }  # fmt: skip
    if version:
        content["version"] = version
    if len(periods) > 1:
        first, second = classes[0][1], classes[1][1]
        content["change"] = {
            "-".join((periods[0], periods[-1])): {
                "transitions": [
                    {
                        "from": classes[0][0],
                        "to": classes[1][0],
                        "from_name": first,
                        "to_name": second,
                        "hectares": figure(310.0, 60.0),
                        "units": 21,
                    },
                    {
                        "from": classes[1][0],
                        "to": classes[0][0],
                        "from_name": second,
                        "to_name": first,
                        "hectares": why,
                        "units": 0,
                    },
                ],
                "changed": {"hectares": figure(345.0, 70.0)},
            }
        }
    return content


def gates(picture: str = "gates/seam.png") -> dict[str, Any]:
    """``gates.json`` of a product with a seam."""
    place = {"tile": "x1_y2", "span": "2020", "bounds": [6.0, 45.0, 6.1, 45.1], "value": 0.31}
    return {
        "format": 1, "checked": "2026-12-01T10:00:00Z", "passed": False, "version": {},
        "gates": [
            {"name": "missing", "title": "Missing tiles", "status": "passed", "value": 0,
             "threshold": 0, "p_value": None, "text": "all tiles are there", "places": []},
            {"name": "shares", "title": "Class shares", "status": "not checked", "value": None,
             "threshold": 0.1, "p_value": None, "text": "one period alone", "places": []},
            {"name": "seams", "title": "Seams", "status": "failed", "value": 0.31,
             "threshold": 0.05, "p_value": 0.0004, "text": "neighbours differ along tile lines",
             "places": [place | {"picture": picture}, place | {"picture": "../../secret.png"}]},
        ],
    }  # fmt: skip


def leave(run: Path, name: str, content: dict[str, Any]) -> None:
    """Write a document into a run folder, with the picture of a gate."""
    (run / name).write_text(json.dumps(content))
    if name == "gates.json":
        file = io.BytesIO()
        Image.new("P", (40, 40), 3).save(file, "png")
        (run / "gates").mkdir(exist_ok=True)
        (run / "gates" / "seam.png").write_bytes(file.getvalue())
