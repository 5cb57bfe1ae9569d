"""Objects of a tile: those whose centre lies in it, each exactly once over all tiles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from rsscale.geo.grid import Grid
from rsscale.legend.classes import LandClass
from rsscale.object_passes.candidate_rows import candidates_of, objects_of
from rsscale.object_passes.decided import DecidedObjects
from rsscale.object_passes.windows import WindowsPass
from rsscale.objects.columns import object_schema
from rsscale.objects.deciding import PlaneObjects
from rsscale.objects.placed import inside, placed_rows
from rsscale.steps.base import Block, Fold, PartPass, Result, Setup, Source, Step
from rsscale.text.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa

WINDOWS, DECIDED = "windows", "decided"
"""Names of the sources: the tile's own rows, and those of all tiles together."""


@dataclass(repr=False, kw_only=True)
class PlacingPass(PartPass):
    """``NAME``: final rows of the objects whose centre lies in the tile and inside the area.

    Attributes
    ----------
    classes : tuple of LandClass
    grid : Grid
    run_name : str
    models : mapping of span to str
        Digests, for the column ``model``.
    schema : pyarrow.Schema
        :func:`rsscale.objects.columns.object_schema`.
    """

    kind: ClassVar[str] = "detect"
    version: ClassVar[str] = "1"

    step: str
    sources: Mapping[str, Source]
    classes: tuple[LandClass, ...]
    grid: Grid
    run_name: str
    models: Mapping[str, str]
    schema: pa.Schema

    def __post_init__(self) -> None:
        counted = ("objects", "merged", "cut", *(_fact(c.value) for c in self.classes))
        facts: dict[str, Fold] = dict.fromkeys(counted, "sum")
        object.__setattr__(self, "facts", facts)  # which classes there are is known here only

    def spans(self) -> tuple[str, ...]:
        """Those of the models."""
        return tuple(self.models)

    def parameters(self) -> Mapping[str, Any]:
        """What rows say beside geometry and score."""
        names = {str(c.value): c.name for c in self.classes}
        return {"classes": names, "run": self.run_name, "step": self.step}

    def digest(self, span: str) -> str:
        """Digest of the span's model, which rows have."""
        return self.models[span]

    def run(self, block: Block) -> Result:
        """The objects of one tile, in order of their keys."""
        own = {str(n): v.values for n, v in block.inputs[WINDOWS].data_vars.items()}
        decided = {str(n): v.values for n, v in block.inputs[DECIDED].data_vars.items()}
        kept = candidates_of(_some(own, ~own["shared"].astype(bool)))
        rest = objects_of(_some(decided, decided["span"] == block.key.span))
        objects = PlaneObjects.together(PlaneObjects.whole(kept), rest)
        objects = inside(objects, block.core, block.where)
        rows = placed_rows(
            objects,
            grid=self.grid,
            classes=self.classes,
            span=block.key.span,
            run=self.run_name,
            step=self.step,
            model=self.models[block.key.span],
        )
        return Result(table=rows, facts=self._count(objects))

    def describe(self, facts: Mapping[str, float]) -> Iterable[str]:
        """Objects by class; how many were merged, or may be larger than what was seen."""
        total = int(facts.get("objects", 0))
        by_class = ", ".join(
            f"{c.name} {int(facts.get(_fact(c.value), 0)):,}" for c in self.classes
        )
        yield f"{self.step}  {counted(total, 'object')}: {by_class}"
        merged, cut = int(facts.get("merged", 0)), int(facts.get("cut", 0))
        if merged or cut:
            yield (
                f"{self.step}  {merged:,} of them put together from pieces of several windows, "
                f"{cut:,} at the edge of what was seen, which may be larger"
            )

    def _count(self, objects: PlaneObjects) -> dict[str, float | None]:
        by_class = {_fact(c.value): int((objects.classes == c.value).sum()) for c in self.classes}
        merged, cut = int((objects.parts > 1).sum()), int(objects.cut.sum())
        return {"objects": len(objects), "merged": merged, "cut": cut, **by_class}


def detection_steps(
    step: str, windows: WindowsPass, classes: tuple[LandClass, ...], models: Mapping[str, str],
    setup: Setup,
) -> list[Step]:  # fmt: skip
    """The three steps of objects: what windows see, the gather, and the final rows.

    Parameters
    ----------
    step : str
    windows : WindowsPass
        Its step is called ``STEP-windows``.
    classes : tuple of LandClass
    models : mapping of span to str
        Digests.
    setup : Setup
    """
    decided = DecidedObjects(
        step=f"{step}-decided",
        of=windows.step,
        strides={span: lattice.stride for span, lattice in windows.lattices.items()},
        rules=windows.rules,
    )
    placing = PlacingPass(
        step=step,
        sources={WINDOWS: setup.rows(windows), DECIDED: setup.gathered(decided)},
        classes=classes,
        grid=setup.grid,
        run_name=setup.recipe.name,
        models=models,
        schema=object_schema(setup.grid.crs),
    )
    return [windows, decided, placing]


def _fact(value: int) -> str:
    return f"class_{value}"


def _some(
    columns: Mapping[str, npt.NDArray[Any]], chosen: npt.NDArray[np.bool_]
) -> dict[str, npt.NDArray[Any]]:
    return {name: values[chosen] for name, values in columns.items()}
