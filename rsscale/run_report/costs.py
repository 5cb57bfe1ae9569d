"""Time and cost of a run, as its report shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rsscale.monitoring.totals import in_order


@dataclass(frozen=True)
class StepCost:
    """What a step took: seconds of each stage, of all its tiles together."""

    name: str
    kind: str
    done: int
    total: int
    stages: Mapping[str, float]

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return sum(self.stages.values())


@dataclass(frozen=True)
class Costs:
    """What a run took.

    Attributes
    ----------
    seconds : float
        From start to end, of all commands that worked on it.
    pixels : int
        Of the step with most of them.
    peak_bytes : int
        Largest memory of a process.
    decoded_bytes : float
        Of imagery and layers, as they are in memory once read.
    stages : mapping of str to float
        Seconds of each, of all tiles together.
    steps : tuple of StepCost
    """

    seconds: float
    pixels: int
    peak_bytes: int
    decoded_bytes: float
    stages: Mapping[str, float]
    steps: tuple[StepCost, ...]

    @property
    def rate(self) -> float:
        """Pixels a second."""
        return self.pixels / max(self.seconds, 1e-9)


def costs_of(state: Mapping[str, Any]) -> Costs:
    """Of the content of ``run.json``."""
    steps = state["steps"]
    names = [name for name in state.get("order") or steps if name in steps]
    facts = [steps[name].get("facts", {}) for name in names]
    return Costs(
        float(state.get("seconds") or 0.0),
        int(max((fact.get("pixels", 0) for fact in facts), default=0)),
        int(state.get("peak_rss_bytes") or 0),
        float(sum(fact.get("decoded_bytes", 0) for fact in facts)),
        in_order(state.get("stages", {})),
        tuple(
            StepCost(
                name,
                steps[name]["kind"],
                steps[name]["tiles"]["done"],
                steps[name]["tiles"]["total"],
                in_order(steps[name].get("stages", {})),
            )
            for name in names
        ),
    )
