"""A minimum mapping unit as a pass: pieces below an area take the class around them, no seams.

Three steps of one part of a recipe: ``NAME-pieces`` decides in each tile what can be known from it
and gives the rest as rows, the gather ``NAME-decided`` decides those, ``NAME`` writes the classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import field_validator

from rsscale.area_passes.class_layer import class_layer, names_of
from rsscale.cluster.connection import TILES_AT_ONCE
from rsscale.cluster.profile import NumericProfile
from rsscale.errors import RecipeError, RsscaleError, nearest
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.geo.pixel_area import pixel_areas, units_per_hectare
from rsscale.layers import Layer
from rsscale.memory import PROCESS_BYTES
from rsscale.passes.mapping_unit_total import MappingUnitTotal
from rsscale.patches.elimination import LeastUnits
from rsscale.patches.parts import COLUMNS, Part, decide_part
from rsscale.patches.pieces import Connectivity
from rsscale.recipe import StepRecipe
from rsscale.steps.base import Block, Cost, Fold, Pass, Result, Setup, Source, Step
from rsscale.steps.options import Options

if TYPE_CHECKING:
    import pyarrow as pa

DECIDED = "decided"
"""The source of what was decided of all tiles together."""
_M2_PER_HECTARE = 10_000
# Bytes of a pixel: runs, pieces, their borders, and areas.
_WORKING_BYTES = 200
# What a change map tells of a change, beside its probability, and of none: `to` is as `from`.
_CHANGE, _CHANGED = "change", 1
_OF_CHANGE = ("from", "to", "change_year", "changes")


class MappingUnitOptions(Options):
    """``{kind: minimum-mapping-unit, of: STEP, hectares:, connectivity:, layer:}``.

    ``hectares`` are those on the ground, of all classes or by class name; a class without is kept.
    """

    hectares: float | dict[str, float]
    """Pieces below this area on the ground take the class around them; of all classes, or by class
    name (a class without is kept)."""
    connectivity: Connectivity = 4
    """4, or 8: pixels that touch at a corner are connected, too."""
    layer: str = "classification"
    """The layer of classes."""

    @field_validator("hectares")
    @classmethod
    def _some(cls, hectares: float | dict[str, float]) -> float | dict[str, float]:
        if hectares == {}:
            raise ValueError("names no class; expected an area, or one for a class: {water: 0.1}")
        areas = hectares.values() if isinstance(hectares, dict) else [hectares]
        for area in areas:
            if not (math.isfinite(area) and area > 0):
                raise ValueError(f"is {area:g}; expected an area above 0, such as 0.5")
        return hectares


@dataclass(repr=False, kw_only=True)
class MappingUnitPass(Pass):
    """Classes whose pieces are of a least area: the rule is :mod:`rsscale.patches.elimination`'s.

    Of a change map pieces that changed are dropped, and nothing else: ``to`` is as ``from`` there.

    Attributes
    ----------
    layer : Layer
        Of classes, whose pieces they are.
    least : LeastUnits
        Areas below which a piece is small.
    connectivity : 4 or 8
    grid : Grid
    times : tuple of str
        Spans.
    """

    kind: ClassVar[str] = "minimum-mapping-unit"
    version: ClassVar[str] = "1"
    Options: ClassVar[type[Options]] = MappingUnitOptions
    facts: ClassVar[Mapping[str, Fold]] = {"sieved": "sum"}

    step: str
    sources: Mapping[str, Source]
    layers: tuple[Layer, ...]
    layer: Layer
    least: LeastUnits
    connectivity: Connectivity
    grid: Grid
    times: tuple[str, ...]

    @classmethod
    def open(cls, step: str, recipe: StepRecipe, options: Any, setup: Setup) -> list[Step]:
        """The pass of pieces, the gather, and the pass that writes classes."""
        import pyarrow as pa

        reference = recipe.only_reference("step whose classes have a minimum mapping unit")
        layer = class_layer(options.layer, setup, reference, "sieve")
        there = {step_layer.name: step_layer for step_layer in setup.layers(reference)}
        written = [layer]
        if layer.name == _CHANGE:
            written += [there[name] for name in _OF_CHANGE if name in there]
        given: dict[str, Any] = {
            "layer": layer,
            "least": _least(options.hectares, layer, setup),
            "connectivity": options.connectivity,
            "grid": setup.grid,
            "times": tuple(setup.spans(reference)),
        }
        pieces = PiecesPass(
            step=f"{step}-pieces",
            sources={"layers": setup.source(reference, (layer.name,))},
            layers=(),
            schema=pa.schema([(name, pa.type_for_alias(kind)) for name, kind in COLUMNS.items()]),
            **given,
        )
        total = MappingUnitTotal(
            step=f"{step}-decided",
            of=pieces.step,
            least=given["least"],
            connectivity=options.connectivity,
            times=given["times"],
        )
        names = tuple(layer.name for layer in written)
        sources = {"layers": setup.source(reference, names), DECIDED: setup.gathered(total)}
        return [pieces, total, cls(step=step, sources=sources, layers=tuple(written), **given)]

    def spans(self) -> Sequence[str]:
        """Those of the step."""
        return self.times

    def parameters(self) -> Mapping[str, Any]:
        """Least areas, connectivity, and which layer."""
        units = {str(value): area for value, area in self.least.units.items()}
        return {
            "layer": self.layer.name,
            "units": units,
            "other": self.least.other,
            "connectivity": self.connectivity,
        }

    def memory(self, tile: int, cost: Cost, profile: NumericProfile) -> int:
        """Bytes of the process, and of tiles side by side: layers, runs and pieces."""
        del profile
        working = tile * tile * (_WORKING_BYTES + 3 * sum(n.pixel_bytes for n in self.layers))
        return PROCESS_BYTES + int(TILES_AT_ONCE * (cost.bytes + working))

    def part(self, block: Block) -> Part:
        """The pieces of a tile, decided as far as it knows."""
        classes = block.inputs["layers"][self.layer.name].values
        valid = block.where & self.layer.is_valid(classes)
        units = np.rint(pixel_areas(self.grid, block.core) * (self._units / _M2_PER_HECTARE))
        if not np.isfinite(units).all():
            if not np.isfinite(np.broadcast_to(units, valid.shape)[valid]).all():
                raise RsscaleError(f"the CRS of the grid has no ground under the tile {block.key}")
            units = np.nan_to_num(units)
        return decide_part(
            classes,
            valid,
            units.astype(np.int64),
            block.core,
            least=self.least,
            connectivity=self.connectivity,
        )

    @property
    def _units(self) -> int:
        return units_per_hectare(self.grid)

    def run(self, block: Block) -> Result:
        """Write the classes of one tile."""
        table, part = block.inputs[DECIDED], self.part(block)
        last = part.classes(table["place"].values, table["class"].values.astype(np.int64))
        layers = {name: array.values.copy() for name, array in block.inputs["layers"].items()}
        before = layers[self.layer.name]
        after = np.append(last.astype(before.dtype), before.dtype.type(self.layer.nodata))
        after = after[part.pieces.of_pixel]
        sieved = (after != before) & block.where
        if self.layer.name == _CHANGE:
            _unchange(layers, sieved)
        layers[self.layer.name] = after
        return Result(
            layers=block.dataset(self.layers, {str(name): array for name, array in layers.items()}),
            facts={"sieved": int(sieved.sum())},
        )

    def describe(self, facts: Mapping[str, float]) -> list[str]:
        """Share of the pixels whose class is another one now."""
        if not facts.get("pixels"):
            return []
        share = facts.get("sieved", 0) / facts["pixels"]
        return [f"{self.step}   {share:.2%} of the pixels were in pieces below the mapping unit"]


@dataclass(repr=False, kw_only=True)
class PiecesPass(MappingUnitPass):
    """Rows of what a tile can't decide by itself: they grow with its edge, not with its area."""

    kind: ClassVar[str] = "minimum-mapping-unit-pieces"
    facts: ClassVar[Mapping[str, Fold]] = {}
    schema: pa.Schema

    def run(self, block: Block) -> Result:
        """The rows of one tile."""
        import pyarrow as pa

        return Result(table=pa.table(self.part(block).rows()).cast(self.schema))

    def describe(self, facts: Mapping[str, float]) -> list[str]:
        """Nothing."""
        del facts
        return []


def _unchange(layers: dict[Any, npt.NDArray[Any]], where: npt.NDArray[np.bool_]) -> None:
    """What else a change map tells of pixels that are unchanged now."""
    if "from" in layers and "to" in layers:
        layers["to"][where] = layers["from"][where]
    for name in ("change_year", "changes"):
        if name in layers:
            layers[name][where] = 0


def _least(hectares: float | dict[str, float], layer: Layer, setup: Setup) -> LeastUnits:
    """The least units of each class.

    Raises
    ------
    RecipeError
        For a class that the layer has not, or more hectares than there are.
    """
    by_name = hectares if isinstance(hectares, dict) else {}
    most = _hectares(setup.grid, setup.extent())
    for area in by_name.values() if by_name else [hectares]:
        if isinstance(area, float) and area > most:
            raise RecipeError(
                f"hectares is {area:g}, and all tiles of the area have {most:,.0f} together; "
                "expected less"
            )
    per_hectare = units_per_hectare(setup.grid)
    values = {name: value for value, name in names_of(layer).items()}
    if layer.name == _CHANGE:
        changed = [name for name, value in values.items() if value == _CHANGED] or ["changed"]
        if not isinstance(hectares, dict):
            by_name = {changed[0]: hectares}
        values = {changed[0]: _CHANGED}
    for name in by_name:
        if name not in values:
            raise RecipeError(
                f"hectares names the class {name!r}; layer {layer.name!r} has "
                f"{', '.join(values) or 'no names of classes'}{nearest(name, values)}"
            )
    units = {values[name]: math.ceil(area * per_hectare) for name, area in by_name.items()}
    other = 0 if by_name or isinstance(hectares, dict) else math.ceil(hectares * per_hectare)
    return LeastUnits(units, other)


def _hectares(grid: Grid, extent: PixelBox) -> float:
    """About how many hectares a box of the grid has; infinitely many where it has no ground."""
    row, col = (extent.row0 + extent.row1) // 2, (extent.col0 + extent.col1) // 2
    pixel = float(pixel_areas(grid, PixelBox(row, col, row + 1, col + 1))[0, 0])
    height, width = extent.shape
    return height * width * pixel / _M2_PER_HECTARE if math.isfinite(pixel) else math.inf
