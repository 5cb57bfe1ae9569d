"""Totals of a run's steps, summed over ledger entries without keeping them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import add
from typing import Any

from rsscale.inference.constant_pixels import CONSTANT_FACTS
from rsscale.steps.base import Fold

COUNTED: Mapping[str, Fold] = {
    "pixels": "sum",
    "decoded_bytes": "sum",
    "unreadable": "sum",
    **CONSTANT_FACTS,
}
"""Facts of every tile, whatever the pass: the engine counts them itself."""

_FOLDS: Mapping[Fold, Callable[[float, float], float]] = {"sum": add, "min": min, "max": max}


@dataclass
class StepTotals:
    """Folded facts of the finished tiles of one step.

    Attributes
    ----------
    folds : mapping of fact to fold
        Those that the pass declares, and :data:`COUNTED`.
    total : int
        Tiles of the step.
    done : int
        Finished ones.
    facts : dict of str to number
    stages : Counter of stage to float
        Seconds of all tiles together.
    """

    folds: Mapping[str, Fold]
    total: int
    done: int = 0
    facts: dict[str, float] = field(default_factory=dict)
    stages: Counter[str] = field(default_factory=Counter)

    def add(self, entry: Mapping[str, Any]) -> None:
        """Add a finished tile, as :meth:`rsscale.store.ledger.Entry.summary` gives it."""
        self.done += 1
        for name, fold in self.folds.items():
            value = entry["facts"].get(name)
            if value is not None and math.isfinite(value):  # JSON has no others
                known = self.facts.get(name)
                self.facts[name] = value if known is None else _FOLDS[fold](known, value)
        for stage, seconds in entry["seconds"].items():
            self.stages[stage] += seconds

    def to_dict(self, lines: list[str]) -> dict[str, Any]:
        """The totals for run.json, with the pass's lines on its facts."""
        return {
            "tiles": {"total": self.total, "done": self.done},
            "facts": {name: value for name, value in self.facts.items() if math.isfinite(value)},
            "stages": in_order({stage: round(s, 3) for stage, s in self.stages.items()}),
            "lines": lines,
        }


def in_order(stages: Mapping[str, float]) -> dict[str, float]:
    """Stages in the order of the work: what is read first, what is written last."""
    first = [name for name in ("read", "prepare") if name in stages]
    last = [name for name in ("write",) if name in stages]
    middle = [name for name in stages if name not in (*first, *last)]
    return {name: stages[name] for name in (*first, *middle, *last)}
