"""Which layers of a run hold its classes and its change, by period."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rsscale.errors import RecipeError, RunFolderError, nearest
from rsscale.geo.lattice import PixelBox
from rsscale.layers import Layer
from rsscale.legend.classes import LandClass, classes_from_attributes
from rsscale.plans.plan import RunPlan
from rsscale.runs.run import Run
from rsscale.sample_assessment.mapped_classes import ClassLayer
from rsscale.steps.base import Pass

CHANGE = "change"
_BEFORE, _AFTER = "from", "to"


@dataclass(frozen=True, eq=False)
class MapLayers:
    """The maps of a run that a sample measures.

    Attributes
    ----------
    plan : RunPlan
    step : Pass
        Whose classes they are.
    layer : Layer
        Of classes; of a step of change the one before, ``from``, beside which there is ``to``.
    """

    plan: RunPlan
    step: Pass
    layer: Layer

    @classmethod
    def open(cls, run: Run, plan: RunPlan, name: str, layer: str) -> MapLayers:
        """The layers of a step that is done.

        Parameters
        ----------
        run : Run
        plan : RunPlan
        name : str
            Of the step.
        layer : str
            Of its classes. Where it has none of this name, or it is one of change, ``from`` and
            ``to`` take its place.

        Raises
        ------
        RunFolderError
            When the run has no such step, or it is not done.
        RecipeError
            When the step has no such layer, or it holds no classes.
        """
        check_done(run, name)
        step = plan.step(name)
        there = {layer.name: layer for layer in step.layers} if isinstance(step, Pass) else {}
        is_of_change = {_BEFORE, _AFTER} <= set(there) and layer in (CHANGE, _BEFORE, _AFTER)
        chosen = _BEFORE if is_of_change or layer not in there else layer
        if chosen not in there or not isinstance(step, Pass):
            raise RecipeError(
                f"step {name!r} has no layer {layer!r}; it has {list(there)}{nearest(layer, there)}"
            )
        if there[chosen].dtype != "uint8" or "flag_values" not in there[chosen].attributes:
            raise RecipeError(
                f"layer {chosen!r} of step {name!r} holds {there[chosen].dtype} without a legend; "
                "a sample measures a layer of classes"
            )
        return cls(plan, step, there[chosen])

    @property
    def is_change(self) -> bool:
        """Whether the classes are those before and after a change."""
        return self.layer.name == _BEFORE

    @property
    def periods(self) -> tuple[str, ...]:
        """That have a map, in order."""
        spans = [str(span) for span in self.step.spans()]
        if self.is_change:
            return tuple(dict.fromkeys(period for span in spans for period in span.split("-")))
        return tuple(spans)

    @property
    def classes(self) -> tuple[LandClass, ...]:
        """Of the maps."""
        return classes_from_attributes(self.layer.attributes)

    def of(self, period: str) -> ClassLayer:
        """The map of a period.

        Raises
        ------
        RecipeError
            When there is none.
        """
        store, codes = (
            self.plan.setup.store(self.step),
            [land_class.value for land_class in self.classes],
        )
        for span in self.step.spans():
            if not self.is_change and span == period:
                return ClassLayer.of(store, self.layer.name, span, codes)
            before, _, after = span.partition("-")
            if self.is_change and period in (before, after):
                name = _BEFORE if period == before else _AFTER
                return ClassLayer.of(store, name, span, codes)
        raise RecipeError(
            f"step {self.step.step!r} has no map of {period}; it has {list(self.periods)}"
        )


def change_layer(run: Run, plan: RunPlan, first: str, span: str) -> ClassLayer | None:
    """The layer that says what has changed between two periods, where a step has it.

    Parameters
    ----------
    run : Run
    plan : RunPlan
    first : str
        The step that is preferred; else any other that is done.
    span : str
        ``"2023-2024"``.
    """
    steps: dict[str, Any] = run.state["steps"]
    for name in [first, *(other for other in steps if other != first)]:
        tiles, step = steps[name]["tiles"], plan.step(name)
        if not isinstance(step, Pass) or tiles["done"] < tiles["total"]:
            continue
        if CHANGE in {layer.name for layer in step.layers} and span in step.spans():
            return ClassLayer.of(plan.setup.store(step), CHANGE, span, (0, 1))
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
            "done; a sample tells of a whole map: go on with rsscale resume "
            f"{run.folder.url}"
        )


def area_tiles(plan: RunPlan) -> list[PixelBox]:
    """The tiles of the area, in pixels."""
    return [tile.box for tile in plan.grid.tiles(plan.area)]
