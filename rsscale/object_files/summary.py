"""How many objects a run has found, by step, span and class; and how right they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow.compute as pc

from rsscale.object_files.step_objects import StepObjects, object_steps, open_objects
from rsscale.store.run_folder import RunFolder

_COLUMNS = ("name", "class", "area_m2", "cut")


@dataclass
class ObjectCount:
    """Objects of a class.

    Attributes
    ----------
    name : str
    objects : int
    hectares : float
    cut : int
        How many touch the edge of what was seen, and may be larger.
    value : int
        Of the class.
    """

    name: str
    objects: int = 0
    hectares: float = 0.0
    cut: int = 0
    value: int = 0


@dataclass(frozen=True)
class ObjectSummary:
    """Objects of a step and span.

    Attributes
    ----------
    step, span : str
    rows : tuple of ObjectCount
        By name of the class.
    scores : str
        What was measured of them; empty where nothing was.
    """

    step: str
    span: str
    rows: tuple[ObjectCount, ...] = field(default=())
    scores: str = ""

    @property
    def total(self) -> int:
        """Objects of all classes."""
        return sum(row.objects for row in self.rows)


def summarise_objects(
    folder: RunFolder, accuracy: Mapping[str, Any] | None = None, *, step: str | None = None
) -> list[ObjectSummary]:
    """Count the objects of a run, a tile at a time.

    Parameters
    ----------
    folder : RunFolder
    accuracy : mapping, optional
        The content of ``objects-accuracy.json``.
    step : str, optional
        All steps that hold objects when omitted.

    Raises
    ------
    RunFolderError
        When a table is damaged or lost.
    """
    measured = (accuracy or {}).get("steps", {})
    summaries = []
    for name in object_steps(folder) if step is None else [step]:
        objects = open_objects(folder, name)
        for span in objects.spans:
            scores = described_scores(measured.get(name, {}).get(span))
            summaries.append(ObjectSummary(name, span, _counts(objects, span), scores))
    return summaries


def described_scores(figures: Mapping[str, Any] | None) -> str:
    """Precision, recall and F1 of a step and span in a sentence; empty where there are none."""
    if not figures:
        return ""
    overall = figures["overall"]
    parts = []
    for threshold, scores in overall["thresholds"].items():
        at = f"IoU {threshold}" if figures["measure"] == "iou" else f"{threshold} m"
        numbers = (f"{name} {_number(scores[name])}" for name in ("precision", "recall", "f1"))
        parts.append(f"at {at} {', '.join(numbers)}".replace("f1", "F1"))
    more = [f"{n} {_number(overall[n])}" for n in ("AP", "AP50", "PQ") if n in overall]
    truth = figures["objects"]["truth"]
    return f"Against {truth:,} true objects: {'; '.join([*parts, *more])}."


def _number(figure: Mapping[str, Any]) -> str:
    if figure.get("value") is None:
        return "not estimable"
    low, high = figure.get("low"), figure.get("high")
    interval = f" ({low:.3f} to {high:.3f})" if low is not None and high is not None else ""
    return f"{figure['value']:.3f}{interval}"


def _counts(objects: StepObjects, span: str) -> tuple[ObjectCount, ...]:
    counts: dict[str, ObjectCount] = {}
    for key in objects.keys[span]:
        table = objects.table(key, columns=_COLUMNS)
        table = table.set_column(3, "cut", pc.cast(table["cut"], "int64"))
        sums = table.group_by(["name", "class"]).aggregate(
            [("name", "count"), ("area_m2", "sum"), ("cut", "sum")]
        )
        for row in sums.to_pylist():
            count = counts.setdefault(row["name"], ObjectCount(row["name"], value=row["class"]))
            count.objects += row["name_count"]
            count.hectares += row["area_m2_sum"] / 10_000
            count.cut += row["cut_sum"]
    return tuple(counts[name] for name in sorted(counts))
