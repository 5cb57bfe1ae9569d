"""Areas by zone as a pass: pixels and hectares of each class in each polygon.

A tile gives rows, one for each zone and class that it holds; a gather sums them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from rsscale.cluster.connection import TILES_AT_ONCE
from rsscale.cluster.profile import NumericProfile
from rsscale.errors import RecipeError, RsscaleError, nearest
from rsscale.geo.coverage import centres, coverage, pixel_edges
from rsscale.geo.lattice import PixelBox
from rsscale.geo.pixel_area import pixel_areas, plane_area, units_per_hectare
from rsscale.layers import Layer
from rsscale.legend.flags import class_names
from rsscale.passes.zones_total import ZonesTotal
from rsscale.processes import PROCESS_BYTES
from rsscale.recipe import Recipe, Reference, StepRecipe
from rsscale.reference.zones import Zones, read_zones
from rsscale.steps.attachments import Attachment
from rsscale.steps.base import Block, Cost, Pass, Result, Setup, Source, Step
from rsscale.steps.options import Options

if TYPE_CHECKING:
    import pyarrow as pa

_M2_PER_HECTARE = 10_000
# Bytes of a pixel: its area, and what its zone covers while it is summed.
_WORKING_BYTES = 48


class ZonesOptions(Options):
    """``{kind: zones, of: STEP, zones: FILE, zones_layer:, id: COLUMN, layer:, method:, area:}``.

    ``zones_layer`` is a layer of the file, ``layer`` one of the step.
    """

    zones: str
    zones_layer: str | None = None
    id: str
    layer: str = "classification"
    method: Literal["centre", "coverage"] = "centre"
    area: Literal["ellipsoid", "projected"] = "ellipsoid"


@dataclass(repr=False, kw_only=True)
class ZonesPass(Pass):
    """Rows of each tile: ``zone``, ``span``, ``class``, ``pixels``, ``hectares``.

    A pixel counts where it lies in the area and in a zone; in each of them, where zones overlap.
    One without a class counts with nodata as its class, so that the rows of a zone add up to it.

    Attributes
    ----------
    options : ZonesOptions
    zones : Zones
    layer : Layer
    file : str
        Digest of the zones' file.
    times : tuple of str
        Spans.
    plane : float, optional
        Square metres of every pixel, where areas are those of the grid's CRS.
    """

    kind: ClassVar[str] = "zones"
    version: ClassVar[str] = "1"
    Options: ClassVar[type[Options]] = ZonesOptions

    step: str
    sources: Mapping[str, Source]
    schema: pa.Schema
    options: ZonesOptions
    zones: Zones
    layer: Layer
    file: str
    times: tuple[str, ...]
    plane: float | None

    @classmethod
    def attachments(cls, options: Any, recipe: Recipe) -> list[Attachment]:
        """The zones' file."""
        path = Path(recipe.path(options.zones))
        if not path.is_file():
            raise RecipeError(f"there are no zones at {path}")
        return [Attachment("zones", (path,))]

    @classmethod
    def open(cls, step: str, recipe: StepRecipe, options: Any, setup: Setup) -> list[Step]:
        """The pass ``<step>-tiles``, and the gather of the step's name."""
        if len(recipe.references) != 1:
            raise RecipeError("needs 'of': the one step whose classes are counted")
        (reference,) = recipe.references.values()
        layer = class_layer(options.layer, setup, reference)
        kept = setup.attachment(step, "zones")
        path = kept.folder / Path(options.zones).name
        zones = read_zones(path, options.id, setup.grid, options.zones_layer)
        if not zones.near(setup.extent()):
            raise RecipeError(f"none of the {len(zones.ids)} zones touches the recipe's area")
        is_plane = options.area == "projected"
        tiles = cls(
            step=f"{step}-tiles",
            sources={"layers": setup.source(reference, (layer.name,))},
            schema=_schema(),
            options=options,
            zones=zones,
            layer=layer,
            file=kept.digest,
            times=setup.spans(reference),
            plane=plane_area(setup.grid, setup.extent()) if is_plane else None,
        )
        total = ZonesTotal(
            step=step,
            of=tiles.step,
            schema=_schema(named=True),
            zones=zones.ids,
            times=tiles.times,
            nodata=int(layer.nodata),
            names=names_of(layer),
            units=tiles.units,
        )
        return [tiles, total]

    def spans(self) -> Sequence[str]:
        """Those of the step."""
        return self.times

    def parameters(self) -> Mapping[str, Any]:
        """Options of the counting; :meth:`digest` has the zones."""
        return self.options.model_dump(exclude={"zones"}, exclude_none=True)

    def digest(self, span: str) -> str:
        """Hash of the zones' file."""
        del span
        return self.file

    def memory(self, tile: int, cost: Cost, profile: NumericProfile) -> int:
        """Bytes of the process, and of tiles side by side: layer, areas, the largest zone."""
        del profile
        return PROCESS_BYTES + int(TILES_AT_ONCE * (cost.bytes + tile**2 * _WORKING_BYTES))

    def run(self, block: Block) -> Result:
        """Count the pixels of a tile."""
        import pyarrow as pa

        classes = block.inputs["layers"][self.layer.name].to_numpy()
        areas = self._areas(block.core)
        found = [
            (self.zones.ids[number], block.key.span, *row)
            for number, box in self.zones.near(block.core)
            for row in self._count(number, box, block, classes, areas)
        ]
        columns = zip(*found, strict=True) if found else [[]] * len(self.schema)
        arrays = [pa.array(list(c), f.type) for c, f in zip(columns, self.schema, strict=True)]
        return Result(table=pa.Table.from_arrays(arrays, schema=self.schema))

    def _areas(self, core: PixelBox) -> npt.NDArray[Any]:
        """Areas of pixels in whole units of :func:`units_per_hectare`."""
        square_metres: Any = (
            pixel_areas(self.zones.grid, core) if self.plane is None else self.plane
        )
        units = np.rint(square_metres * (self.units / _M2_PER_HECTARE))
        return np.broadcast_to(units, core.shape)

    @property
    def units(self) -> int:
        """Units of area in a hectare."""
        return units_per_hectare(self.zones.grid)

    def _count(
        self,
        number: int,
        box: PixelBox,
        block: Block,
        classes: npt.NDArray[Any],
        areas: npt.NDArray[Any],
    ) -> Iterator[tuple[int, float, float]]:
        """Class, pixels and hectares of a zone in a tile."""
        edges, part = pixel_edges(self.zones.shapes[number], block.grid), box.slices(block.core)
        by_share = self.options.method == "coverage"
        share = (coverage if by_share else centres)(edges, box) * block.where[part]
        inside = share > 0
        if not inside.any():
            return
        values = classes[part][inside].astype(np.int64)
        lowest = values.min()
        pixels = np.bincount(values - lowest, weights=share[inside])
        units = np.bincount(values - lowest, weights=np.rint((share * areas[part])[inside]))
        if not np.isfinite(units).all():
            raise RsscaleError(f"the CRS of the grid has no ground under the tile {block.key}")
        for value in np.flatnonzero(pixels):
            yield int(value + lowest), float(pixels[value]), float(units[value] / self.units)


def class_layer(name: str, setup: Setup, reference: Reference, of: str = "count") -> Layer:
    """A layer of classes of an earlier step; ``of`` is what is done with it, for messages.

    Raises
    ------
    RecipeError
        When there is none, or it has no classes.
    """
    there = {layer.name: layer for layer in setup.layers(reference)}
    if name not in there:
        raise RecipeError(
            f"the step to {of} has no layer {name!r}; it has {', '.join(there)}"
            f"{nearest(name, there)}"
        )
    layer = there[name]
    if layer.is_float or layer.is_scaled or layer.axis:
        raise RecipeError(f"layer {name!r} holds no classes, but quantities or an axis")
    return layer


def names_of(layer: Layer) -> dict[int, str]:
    """Names of classes, where the layer says them."""
    values = layer.attributes.get("flag_values", ())
    names = class_names(layer.attributes)
    return {int(value): name for value, name in zip(values, names, strict=False)}


def _schema(*, named: bool = False) -> pa.Schema:
    import pyarrow as pa

    fields = [("zone", pa.string()), ("span", pa.string()), ("class", pa.int32())]
    name = [("name", pa.string())] if named else []
    return pa.schema([*fields, *name, ("pixels", pa.float64()), ("hectares", pa.float64())])
