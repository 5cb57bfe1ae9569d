"""Areas by zone as a pass: pixels and hectares of each class in each polygon.

A tile gives rows, one for each zone and class that it holds; a gather sums them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from rsscale.area_passes.area_counts import AreaCounts, rows_schema, table_of
from rsscale.area_passes.class_layer import class_layer, names_of
from rsscale.area_passes.zone_pass import ZonePass
from rsscale.area_passes.zones_file import open_zones
from rsscale.area_passes.zones_total import ZonesTotal
from rsscale.geo.pixel_area import plane_area
from rsscale.layers import Layer
from rsscale.recipe import StepRecipe
from rsscale.steps.base import Block, Result, Setup, Step
from rsscale.steps.options import Options


class ZonesOptions(Options):
    """``{kind: zones, of: STEP, zones: FILE, zones_layer:, id: COLUMN, layer:, method:, area:}``.

    ``zones_layer`` is a layer of the file, ``layer`` one of the step.
    """

    zones: str
    """A vector file of polygons, in any CRS."""
    zones_layer: str | None = None
    """The layer of the file, where it has several."""
    id: str
    """The column of the polygons' names."""
    layer: str = "classification"
    """The layer of the step whose values are counted."""
    method: Literal["centre", "coverage"] = "centre"
    """A pixel counts where its centre lies (`centre`), or by the share of it that a polygon covers
    (`coverage`)."""
    area: Literal["ellipsoid", "projected"] = "ellipsoid"
    """Hectares on the `ellipsoid`, or as the CRS has them (`projected`)."""


@dataclass(repr=False, kw_only=True)
class ZonesPass(ZonePass):
    """Rows of each tile: ``zone``, ``span``, ``class``, ``pixels``, ``hectares``.

    A pixel counts where it lies in the area and in a zone; in each of them, where zones overlap.
    One without a class counts with nodata as its class, so that the rows of a zone add up to it.

    Attributes
    ----------
    options : ZonesOptions
    layer : Layer
    plane : float, optional
        Square metres of every pixel, where areas are those of the grid's CRS.
    """

    kind: ClassVar[str] = "zones"
    version: ClassVar[str] = "1"
    Options: ClassVar[type[Options]] = ZonesOptions

    options: ZonesOptions
    layer: Layer
    plane: float | None

    @classmethod
    def open(cls, step: str, recipe: StepRecipe, options: Any, setup: Setup) -> list[Step]:
        """The pass ``<step>-tiles``, and the gather of the step's name."""
        reference = recipe.only_reference("step whose classes are counted")
        layer = class_layer(options.layer, setup, reference)
        zones, digest = open_zones(step, options.zones, options.id, options.zones_layer, setup)
        is_plane = options.area == "projected"
        tiles = cls(
            step=f"{step}-tiles",
            sources={"layers": setup.source(reference, (layer.name,))},
            schema=rows_schema(),
            options=options,
            zones=zones,
            layer=layer,
            file=digest,
            times=setup.spans(reference),
            plane=plane_area(setup.grid, setup.extent()) if is_plane else None,
        )
        total = ZonesTotal(
            step=step,
            of=tiles.step,
            schema=rows_schema(named=True),
            zones=zones.ids,
            times=tiles.times,
            nodata=int(layer.nodata),
            names=names_of(layer),
            units=tiles.counts.units,
        )
        return [tiles, total]

    def run(self, block: Block) -> Result:
        """Count the pixels of a tile."""
        classes = block.inputs["layers"][self.layer.name].to_numpy()
        zone_rows = [
            (zone, block.key.span, *row)
            for zone, rows in self.counts.by_zone(classes, self.zones, block)
            for row in rows
        ]
        return Result(table=table_of(zone_rows, self.schema))

    @property
    def counts(self) -> AreaCounts:
        """How pixels are counted."""
        return AreaCounts(self.zones.grid, self.options.method, self.plane)
