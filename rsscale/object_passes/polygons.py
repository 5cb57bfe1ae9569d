"""Polygons of a map as a pass: each object whole and exactly once, whatever the tiles.

Four steps of one part of a recipe: ``NAME-parts`` traces what a tile holds of polygons,
``NAME-contacts`` says what those touch beyond it, the gather ``NAME-joined`` tells which are one
polygon, and ``NAME`` puts them together in the tile that holds the first pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from rsscale.area_passes.class_layer import class_layer, names_of
from rsscale.cluster.connection import TILES_AT_ONCE
from rsscale.cluster.profile import NumericProfile
from rsscale.errors import RecipeError
from rsscale.geo.grid import Grid
from rsscale.geo.pixel_area import units_per_hectare
from rsscale.layers import Layer
from rsscale.memory import PROCESS_BYTES
from rsscale.object_passes.polygon_parts import (
    AreaSource,
    PolygonContactsPass,
    PolygonPartsPass,
    contact_schema,
)
from rsscale.object_passes.polygon_total import MemberRows, PolygonTotal
from rsscale.objects.columns import object_rows, object_schema
from rsscale.patches.pieces import Connectivity
from rsscale.polygons.finish import centres_of, finished, in_crs, polygon_ids
from rsscale.polygons.named_rules import named_rules
from rsscale.polygons.part_rows import part_schema, parts_of
from rsscale.polygons.parts import Parts
from rsscale.polygons.rules import CELL, M2_PER_HECTARE, PolygonRules
from rsscale.recipe import StepRecipe
from rsscale.steps.base import Block, Cost, Fold, Pass, Result, Setup, Source, Step
from rsscale.steps.options import Options
from rsscale.steps.placed_rows import GatheredRows
from rsscale.text.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa

_PARTS, _MEMBERS = "parts", "members"
# Bytes of the rows of a tile's polygons, a pixel.
_ROW_BYTES = 40


class InstanceOptions(Options):
    """``{interior: field, boundary: edge, grow: 3}``: names of classes, and steps of a pixel."""

    interior: str
    """The class of the inside of objects."""
    boundary: str
    """The class of the lines between them."""
    grow: int = Field(default=0, ge=0)
    """Steps of a pixel that objects grow into the boundary, at most 64."""


class HoleOptions(Options):
    """``{below: 0.5}``: hectares below which a hole is filled."""

    below: float = Field(gt=0)
    """Hectares below which a hole is filled."""


class PolygonOptions(Options):
    """``{kind: polygons, of: STEP, layer:, classes:, connectivity:, simplify:, minimum:, holes:}``.

    ``simplify`` is in metres on the ground, ``minimum`` and ``holes.below`` in hectares.
    """

    layer: str = "classification"
    """The layer of classes."""
    classes: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Names of the classes that become polygons; all when left out."""
    connectivity: Connectivity = 4
    """4, or 8: pixels that touch at a corner are connected, too."""
    simplify: float = Field(default=0.0, ge=0)
    """Metres on the ground: corners whose triangle is smaller than the square of it are left out; 0
    keeps the edges of pixels. Neighbours go on sharing their borders."""
    minimum: float = Field(default=0.0, ge=0)
    """Hectares of pixels below which an object is dropped."""
    holes: Literal["keep", "fill"] | HoleOptions = "keep"
    """Holes stay (`keep`), are filled (`fill`), or are filled `below` an area."""
    instances: InstanceOptions | None = None
    """Make an object of each connected piece of an interior class, grown into its boundary."""
    cell: int = CELL
    """Width of the fixed cells that lines are simplified in, pixels; it may change how lines run.
    """


@dataclass(repr=False, kw_only=True)
class PolygonsPass(Pass):
    """Rows of :func:`rsscale.objects.columns.object_schema`, one for each polygon.

    A polygon belongs to the tile that holds the first of its pixels in the order of reading, which
    is its ``id``, too. ``area_m2`` is that of its pixels, before lines are simplified.

    Attributes
    ----------
    layer : Layer
    rules : PolygonRules
    grid : Grid
    times : tuple of str
        Spans.
    run_name : str
    """

    kind: ClassVar[str] = "polygons"
    version: ClassVar[str] = "1"
    Options: ClassVar[type[Options]] = PolygonOptions
    facts: ClassVar[Mapping[str, Fold]] = {
        "polygons": "sum", "square_metres": "sum", "cut": "sum", "across": "sum",
    }  # fmt: skip

    step: str
    sources: Mapping[str, Source]
    schema: pa.Schema
    layer: Layer
    rules: PolygonRules
    grid: Grid
    times: tuple[str, ...]
    run_name: str

    @classmethod
    def open(cls, step: str, recipe: StepRecipe, options: Any, setup: Setup) -> list[Step]:
        """The passes of parts and of contacts, the gather, and the pass of whole polygons."""
        reference = recipe.only_reference("step whose classes become polygons")
        layer = class_layer(options.layer, setup, reference, "polygonize")
        rules = _rules(options, layer)
        grid, times = setup.grid, tuple(setup.spans(reference))
        parts = PolygonPartsPass(
            step=f"{step}-parts",
            sources={
                "layers": setup.source(reference, (layer.name,)),
                "area": AreaSource(setup.shape, grid),
            },
            schema=part_schema(),
            layer=layer,
            rules=rules,
            grid=grid,
            times=times,
            halo=_halo(rules, grid),
        )
        contacts = PolygonContactsPass(
            step=f"{step}-contacts",
            sources={"parts": setup.rows(parts)},
            schema=contact_schema(),
            times=times,
        )
        total = PolygonTotal(step=f"{step}-joined", of=contacts.step)
        gathered = setup.gathered(total)
        members = (
            MemberRows(gathered, parts.step) if isinstance(gathered, GatheredRows) else gathered
        )
        whole = cls(
            step=step,
            sources={_PARTS: setup.rows(parts), _MEMBERS: members},
            schema=object_schema(grid.crs),
            layer=layer,
            rules=rules,
            grid=grid,
            times=times,
            run_name=setup.recipe.name,
        )
        return [parts, contacts, total, whole]

    def spans(self) -> Sequence[str]:
        """Those of the step."""
        return self.times

    def parameters(self) -> Mapping[str, Any]:
        """The rules, and what rows say beside geometry."""
        names = {str(value): name for value, name in names_of(self.layer).items()}
        return {"rules": repr(self.rules), "classes": names, "run": self.run_name,
                "step": self.step}  # fmt: skip

    def memory(self, tile: int, cost: Cost, profile: NumericProfile) -> int:
        """Bytes of the process, and of the rows of tiles side by side."""
        del profile
        return PROCESS_BYTES + int(TILES_AT_ONCE * (cost.bytes + tile * tile * _ROW_BYTES))

    def run(self, block: Block) -> Result:
        """The polygons of one tile, in order of their first pixels."""
        rows = {str(name): column.values for name, column in block.inputs[_PARTS].items()}
        own = parts_of({n: v[rows["contacts"] == b""] for n, v in rows.items()})
        others = {str(name): column.values for name, column in block.inputs[_MEMBERS].items()}
        across = parts_of(others).merged(others["polygon"])
        polygons = Parts.together([own, across])
        polygons, area = finished(
            polygons.ordered(), self.rules, self.grid, M2_PER_HECTARE / units_per_hectare(self.grid)
        )
        facts = {
            "polygons": len(polygons),
            "square_metres": float(area.sum()),
            "cut": int(polygons.cut.sum()),
            "across": len(across),
        }
        return Result(table=self._rows(polygons, area, block.key.span), facts=facts)

    def _rows(self, parts: Parts, area: Any, span: str) -> pa.Table:
        geometry = in_crs(parts.geometry, self.grid)
        return object_rows(
            geometry,
            crs=self.grid.crs,
            ids=polygon_ids(parts.place),
            classes=parts.value,
            names=names_of(self.layer),
            area_m2=area,
            span=span,
            run=self.run_name,
            step=self.step,
            centres=centres_of(geometry),
            parts=parts.pieces,
            cut=parts.cut,
        )

    def describe(self, facts: Mapping[str, float]) -> list[str]:
        """How many polygons, and their hectares."""
        hectares = facts.get("square_metres", 0) / M2_PER_HECTARE
        polygons = counted(int(facts.get("polygons", 0)), "polygon")
        lines = [f"{self.step}  {polygons}, {hectares:,.0f} ha"]
        if facts.get("across") or facts.get("cut"):
            lines.append(
                f"{self.step}  {int(facts.get('across', 0)):,} of them over several tiles, "
                f"{int(facts.get('cut', 0)):,} beside pixels without a value, and perhaps larger"
            )
        return lines


def _halo(rules: PolygonRules, grid: Grid) -> int:
    halo = rules.reach(grid.tile)
    if halo > grid.tile:
        raise RecipeError(
            f"tiles of {grid.tile} px read {halo} px around them, to whole cells of "
            f"{rules.cell} px; use a grid.tile that cells divide, such as {rules.cell}, or a "
            "smaller cell"
        )
    return halo


def _rules(options: PolygonOptions, layer: Layer) -> PolygonRules:
    holes, instances = options.holes, options.instances
    return named_rules(
        names_of(layer),
        layer=layer.name,
        classes=options.classes,
        connectivity=options.connectivity,
        simplify=options.simplify,
        minimum=options.minimum,
        holes=holes.model_dump() if isinstance(holes, HoleOptions) else holes,
        instances=None if instances is None else instances.model_dump(),
        cell=options.cell,
    )
