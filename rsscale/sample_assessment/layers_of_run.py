"""Which layers of a run hold its classes and its change, by period."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from rsscale.errors import RecipeError, RunFolderError, nearest
from rsscale.geo.lattice import PixelBox
from rsscale.legend.classes import LandClass, classes_from_attributes
from rsscale.runs.plan import RunPlan
from rsscale.runs.run import Run
from rsscale.sample_assessment.mapped_classes import ClassLayer
from rsscale.steps.base import span_time

CHANGE = "change"
_BEFORE, _AFTER = "from", "to"


@dataclass(frozen=True, eq=False)
class MapLayers:
    """The maps of a run that a sample measures.

    Attributes
    ----------
    plan : RunPlan
    step : str
        Whose classes they are.
    dataset : Dataset
        Its layers.
    layer : str
        Of classes; of a step of change ``from`` and ``to`` take its place.
    """

    plan: RunPlan
    step: str
    dataset: xr.Dataset
    layer: str

    @classmethod
    def open(cls, run: Run, step: str, layer: str) -> MapLayers:
        """The layers of a step that is done.

        Raises
        ------
        RunFolderError
            When the run has no such step, or it is not done.
        RecipeError
            When the step has no layer of classes of that name.
        """
        check_done(run, step)
        dataset = run.open(step)
        names = [str(name) for name in dataset.data_vars]
        if layer not in names and not {_BEFORE, _AFTER} <= set(names):
            raise RecipeError(
                f"step {step!r} has no layer {layer!r}; it has {names}{nearest(layer, names)}"
            )
        return cls(RunPlan.read(run.folder), step, dataset, layer)

    @property
    def is_change(self) -> bool:
        """Whether the classes are those before and after a change."""
        return self.layer not in self.dataset.data_vars or self.layer in (CHANGE, _BEFORE, _AFTER)

    @property
    def periods(self) -> tuple[str, ...]:
        """That have a map, in order."""
        if self.is_change:
            return tuple(dict.fromkeys(p for span in self._spans for p in span.split("-")))
        return tuple(self._spans)

    @property
    def _spans(self) -> Sequence[str]:
        step = self.plan.step(self.step)
        return [str(span) for span in step.spans()]  # type: ignore[union-attr]

    @property
    def classes(self) -> tuple[LandClass, ...]:
        """Of the maps."""
        name = _BEFORE if self.is_change else self.layer
        return classes_from_attributes(self.dataset[name].attrs)

    def of(self, period: str) -> ClassLayer:
        """The map of a period."""
        if not self.is_change:
            return self._layer(self.layer, period, [c.value for c in self.classes])
        for span in self._spans:
            before, _, after = span.partition("-")
            if period in (before, after):
                name = _BEFORE if period == before else _AFTER
                return self._layer(name, span, [c.value for c in self.classes])
        raise RecipeError(f"step {self.step!r} has no map of {period}; it has {list(self.periods)}")

    def _layer(self, name: str, span: str, codes: Sequence[int]) -> ClassLayer:
        return class_layer(self.plan, self.dataset, name, span, codes)


def class_layer(
    plan: RunPlan, dataset: xr.Dataset, name: str, span: str, codes: Sequence[int]
) -> ClassLayer:
    """One layer of one span of a step."""
    when: Any = span_time(span, plan.recipe.periods)
    found = int(np.flatnonzero(dataset.time.values == when)[0])
    return ClassLayer.of(dataset[name].isel(time=found), plan.extent, plan.grid, codes)


def change_layer(run: Run, plan: RunPlan, step: str, span: str) -> ClassLayer | None:
    """The layer that says what has changed between two periods, where a step has it.

    The step of the sample comes first; then any other that is done.
    """
    steps: dict[str, Any] = run.state["steps"]
    for name in [step, *(other for other in steps if other != step)]:
        one = steps.get(name, {})
        layers = {layer["name"] for layer in one.get("layers") or ()}
        is_done = one and one["tiles"]["done"] == one["tiles"]["total"]
        if CHANGE in layers and span in one.get("spans", ()) and is_done:
            return class_layer(plan, run.open(name), CHANGE, span, (0, 1))
    return None


def check_done(run: Run, step: str) -> None:
    """Refuse a step that is still being computed.

    Raises
    ------
    RunFolderError
    """
    steps = run.state["steps"]
    if step not in steps:
        raise RunFolderError(
            f"{run.folder.url} has no step {step!r}; it has {list(steps)}{nearest(step, steps)}"
        )
    tiles = steps[step]["tiles"]
    if tiles["done"] < tiles["total"]:
        raise RunFolderError(
            f"{tiles['done']:,} of {tiles['total']:,} tiles of {step!r} in {run.folder.url} are "
            f"done; a sample tells of a whole map: go on with rsscale resume {run.folder.url}"
        )


def area_tiles(plan: RunPlan) -> list[PixelBox]:
    """The tiles of the area, in pixels."""
    return [tile.box for tile in plan.grid.tiles(plan.area)]
