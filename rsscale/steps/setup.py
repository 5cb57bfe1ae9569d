"""The setup that passes are opened with: recipe, grid, area, paths.

The same steps are opened when a run is planned, in each worker, by ``verify`` and for a preview;
what differs is where files and items come from, and that is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import shapely
from odc.geo.geom import Geometry

from rsscale.errors import RecipeError, nearest
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.layers import Layer
from rsscale.recipe import Recipe, RunReference
from rsscale.steps.attachments import Attachment, Kept
from rsscale.steps.base import Gather, Pass, Source, Step, span_time
from rsscale.steps.evaluate import ComputedSource
from rsscale.steps.placed_rows import GatheredRows, UngatheredRows
from rsscale.steps.rows import ComputedRows, FoldedRows, StoredRows
from rsscale.steps.sources import (
    Generations,
    InputSource,
    LayersSource,
    Lookups,
    StoredLayers,
    no_generation,
)
from rsscale.store.ledger import LedgerReader
from rsscale.store.run_folder import RunFolder
from rsscale.store.zarr_store import ZarrStore

if TYPE_CHECKING:
    from rsscale.recipe.steps import Reference


@dataclass(frozen=True)
class RunSetup:
    """The setup that steps are opened with.

    Attributes
    ----------
    recipe : Recipe
    grid : Grid
    area : Geometry
        EPSG:4326.
    run : RunFolder
        Where stores and the ledger lie; need not exist yet.
    attachments : mapping of step to mapping of name to Attachment or Kept
    lookups : callable
        Gives the items of an input, by the input's name.
    ledger : LedgerReader
    steps : dict of name to Step
        Those opened so far.
    indexes : dict of input name to Lookup
        Items that were found while planning; ``lookups`` may read them from here.
    generation : callable
        Gives the newest generation of items that a tile sees, by its key.
    computes : bool
        Whether layers of a step are computed as they are read, and not read where a run stored
        them: for a preview.
    device : str
        Where networks compute.
    """

    recipe: Recipe
    grid: Grid
    area: Geometry
    run: RunFolder
    attachments: Mapping[str, Mapping[str, Attachment | Kept]]
    lookups: Lookups
    ledger: LedgerReader
    steps: dict[str, Step] = field(default_factory=dict)
    indexes: dict[str, Any] = field(default_factory=dict)
    computes: bool = False
    generation: Generations = no_generation
    device: str = "cpu"

    @cached_property
    def shape(self) -> shapely.Geometry:
        """The area in the grid's CRS."""
        return self.grid.project(self.area).geom

    @cached_property
    def _extents(self) -> dict[int, tuple[PixelBox, int]]:
        return {}

    def extent(self, level: int = 0) -> PixelBox:
        """All tiles of a level, in its pixels."""
        return self._extent(level)[0]

    def tile_count(self, level: int = 0) -> int:
        """How many tiles a level has in the area."""
        return self._extent(level)[1]

    def _extent(self, level: int) -> tuple[PixelBox, int]:
        if level not in self._extents:  # a country's tiles are looked through once
            self._extents[level] = self.grid.at_level(level).extent(self.area)
        return self._extents[level]

    def periods(self) -> tuple[str, ...]:
        """The recipe's periods as spans."""
        return tuple(map(str, self.recipe.periods))

    def attachment(self, step: str, name: str) -> Attachment | Kept:
        """Files of a step by the name that the step gave them."""
        return self.attachments[step][name]

    def step(self, name: str) -> Pass:
        """An earlier step that writes layers.

        Raises
        ------
        RecipeError
            When there is none, or it writes rows or overviews only.
        """
        if name in self.recipe.inputs:
            raise RecipeError(
                f"reads layers of a step, and {name!r} is an input; the steps before it are "
                f"{', '.join(self.steps) or 'none'}"
            )
        if name not in self.steps:
            known = [*self.recipe.inputs, *self.steps]
            raise RecipeError(
                f"there is no input or earlier step {name!r}; there are "
                f"{', '.join(known) or 'none'}{nearest(str(name), known)}"
            )
        opened = self.steps[name]
        if isinstance(opened, Gather) or not opened.layers or 0 not in opened.levels():
            raise RecipeError(
                f"step {name!r} writes no layers at full resolution; read those of another step"
            )
        return opened

    def layers(self, reference: Reference) -> tuple[Layer, ...]:
        """The layers of a step, of this run or another."""
        if isinstance(reference, RunReference):
            return self._other(reference).store.layers
        return self.step(reference).layers

    def spans(self, reference: Reference) -> tuple[str, ...]:
        """The spans of a step, of this run or another; of an input, the periods."""
        if isinstance(reference, RunReference):
            return self._other(reference).store.spans
        if reference in self.recipe.inputs:
            return self.periods()
        return tuple(self.step(reference).spans())

    def source(
        self,
        reference: Reference | Pass,
        names: tuple[str, ...] = (),
        *,
        at: str = "",
    ) -> Source:
        """Something to read: an input's composites, or layers of a step of this or another run.

        Parameters
        ----------
        reference : str, RunReference or Pass
            A pass is a step that is opened together with the one that reads it.
        names : tuple of str
            Layers; all when empty.
        at : str
            A fixed span, or ``"all"`` for all of them along ``time``; the key's own when empty.

        Raises
        ------
        RecipeError
            When the step has no such layer or span.
        """
        if isinstance(reference, str) and reference in self.recipe.inputs:
            return InputSource(reference, self.recipe, self.grid, self.lookups, self.generation, at)
        if isinstance(reference, RunReference):
            stored = {0: self._other(reference)}
        else:
            step = reference if isinstance(reference, Pass) else self.step(reference)
            if self.computes:
                return ComputedSource(step, self.grid, self.shape, names, at)
            stored = {0: self.stored(step)}
        return LayersSource(stored, names, at=at)

    @cached_property
    def _computed(self) -> dict[Any, Any]:
        return {}

    def gathered(self, step: Gather) -> GatheredRows | UngatheredRows | FoldedRows:
        """The table of a gather, as something to read.

        For a preview it is folded from the box alone, where that is meaningful; else it is refused
        when it is read.
        """
        if self.computes and step.previews:
            return FoldedRows(step, partial(self._rows_of, step))
        if self.computes:
            return UngatheredRows(step)
        return GatheredRows(step, self.run.storage, self.ledger)

    def rows(self, step: Pass, *, at: str = "") -> StoredRows | ComputedRows:
        """The rows of a pass of this run, of all tiles that a box touches, along ``row``.

        Parameters
        ----------
        step : Pass
            Writes rows; one that is opened together with the one that reads it is given itself.
        at : str
            A fixed span; the key's own when empty.

        Raises
        ------
        RecipeError
            When the step writes no rows.
        """
        if step.schema is None:
            raise RecipeError(f"step {step.step!r} writes no rows; read those of another step")
        if self.computes:
            return ComputedRows(step, self.grid, self.shape, at, self._computed)
        return StoredRows(
            step, self.grid, self.extent(), self.shape, self.run.storage, self.ledger, at
        )

    def _rows_of(self, gather: Gather) -> ComputedRows:
        """The rows that a gather folds, computed."""
        step = self.steps[gather.of]
        if not isinstance(step, Pass):
            raise RecipeError(f"step {gather.step!r} folds the rows of {gather.of!r}, no pass")
        return ComputedRows(step, self.grid, self.shape, computed=self._computed)

    def level_below(self, step: Pass) -> LayersSource:
        """For each level of a pass that writes overviews: the level below, of the same layers.

        Raises
        ------
        RecipeError
            When the store has overviews by another step.
        """
        for other in self.steps.values():
            if isinstance(other, Pass) and other.step != step.store and other.store == step.store:
                raise RecipeError(f"step {other.step!r} writes overviews of {step.store!r} already")
        stored = {0: self.stored(self.step(step.store))}
        stored |= {level: self.stored(step, level) for level in step.levels()}
        return LayersSource(stored, tuple(layer.name for layer in step.layers), below=1)

    def stored(self, step: Pass, level: int = 0) -> StoredLayers:
        """The layers of a step of this run, at a level, and the ledger that knows them."""
        return StoredLayers(step.step, self.store(step, level), self.ledger, self.shape)

    def store(self, step: Pass, level: int = 0) -> ZarrStore:
        """Store of a step's layers at a level."""
        spans = tuple(step.spans())
        return ZarrStore(
            storage=self.run.store(step.store),
            grid=self.grid.at_level(level),
            extent=self.extent(level),
            spans=spans,
            times=tuple(span_time(span, self.recipe.periods) for span in spans),
            layers=step.layers,
            group=str(level) if level else "",
        )

    def _other(self, reference: RunReference) -> StoredLayers:
        from rsscale.steps.other_run import stored_in

        return stored_in(self.recipe.path(reference.run), reference.step, self.grid)
