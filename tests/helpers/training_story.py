"""A training.json as a training of three classes in four places would write it."""

from __future__ import annotations

from typing import Any

CLASSES = [
    {"value": 1, "name": "water", "color": "#0000ff"},
    {"value": 2, "name": "wood", "color": "#00ff00"},
    {"value": 5, "name": "field $a$", "color": "#ffff00"},
]
NAMES = [c["name"] for c in CLASSES]


def square(x: float, y: float, width: float = 1000.0) -> dict[str, Any]:
    ring = [[x, y], [x + width, y], [x + width, y + width], [x, y + width], [x, y]]
    return {"type": "Polygon", "coordinates": [ring]}


def place(number: int, role: str, fold: int | None = None, **labels: int) -> dict[str, Any]:
    names = {"water": "water", "wood": "wood", "field": "field $a$"}
    return {
        "id": number,
        "role": role,
        "fold": fold,
        "labels": {names[key]: count for key, count in labels.items()},
        "shape": square(1000.0 * number, 0.0),
    }


def story(**changes: Any) -> dict[str, Any]:
    """The content of a training.json."""
    bins = {"confidence": [None, 0.4, 0.9], "accuracy": [None, 0.5, 0.8], "weight": [0, 0.25, 0.75]}
    content: dict[str, Any] = {
        "format": 1,
        "learner": "unet",
        "classes": CLASSES,
        "quantities": [],
        "unit": "labelled pixels",
        "verdict": "accuracy 0.800 on 10 labelled pixels",
        "basis": "test",
        "trained": dict(zip(NAMES, (30, 20, 0), strict=True)),
        "tested": dict(zip(NAMES, (5, 5, 0), strict=True)),
        "scores": {
            "count": 10,
            "accuracy": 0.8,
            "balanced_accuracy": 0.8,
            "f1": dict(zip(NAMES, (0.8, 0.8, None), strict=True)),
            "users_accuracy": dict(zip(NAMES, (0.75, 0.5, None), strict=True)),
            "producers_accuracy": dict(zip(NAMES, (0.25, 1.0, None), strict=True)),
            "confusion_matrix": [[4, 1, 0], [1, 4, 0], [0, 0, 0]],
            "confusion_axes": ["model", "reference"],
        },
        "pairs": {},
        "folds": [],
        "calibration": {
            "temperature": 1.5,
            "error_before": 0.2,
            "error": 0.1,
            "reliability_before": bins | {"accuracy": [None, 0.1, 0.7]},
            "reliability": bins,
            "conformal": {
                "level": 0.9, "thresholds": [0.1], "coverage": 0.95, "set_size": 1.2,
                "offered": True,
            },
            "places": 3,
        },
        "curve": {
            "steps": [1, 2, 3, 4],
            "loss": [4.0, 3.0, 2.0, 1.0],
            "learning_rate": [0.1, 0.2, 0.1, 0.0],
            "validations": [
                {"step": 2, "score": 0.5, "loss": 2.5}, {"step": 4, "score": 0.4, "loss": 2.0},
            ],
            "score": "balanced accuracy",
            "kept": 2,
        },
        "split": {
            "groups": "blocks of 1000 m",
            "validation": 0.2,
            "test": 0.2,
            "folds": 0,
            "crs": "EPSG:32631",
            "unit": "m",
            "metres": [1.0, 1.0],
            "places": [
                place(0, "training", 1, water=30),
                place(1, "training", 2, wood=20),
                place(2, "validation", 1, water=3, wood=4),
                place(3, "test", 2, water=5, wood=5),
            ],
            "points": [[100.0, 200.0, "water"], [1100.0, 300.0, "wood"], [150.0, 250.0, "water"]],
        },
        "settings": {},
        "labels": {
            "used": dict(zip(NAMES, (38, 29, 0), strict=True)),
            "unused": {"wood": {"masked": {"pixels": 1200}}, "": {"blank": {"features": 2}}},
            "notes": ["1,200 labelled pixels of 'wood': masked"],
            "file": "labels.gpkg",
        },
        "periods": [2023],
        "inputs": {
            "s2": {"collection": "sentinel-2-l2a", "first": "2023-03-01", "last": "2023-10-31"}
        },
        "seed": 0,
        "seconds": 12.3,
        "versions": {"rsscale": "0.1.0", "torch": "2.5"},
    }  # fmt: skip
    return content | changes
