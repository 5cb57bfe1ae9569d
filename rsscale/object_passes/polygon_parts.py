"""Parts of the polygons of a map that a tile knows, and what they touch beyond it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import shapely
import xarray as xr

from rsscale.cluster.connection import TILES_AT_ONCE
from rsscale.cluster.profile import NumericProfile
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.geo.rasterize import area_mask
from rsscale.layers import Layer, TileKey
from rsscale.memory import PROCESS_BYTES
from rsscale.polygons.image import box_around, class_image, image_parts
from rsscale.polygons.part_rows import part_rows, row_hash
from rsscale.polygons.rules import PolygonRules
from rsscale.steps.base import Block, Cost, PartPass, Resources, Result, Source
from rsscale.steps.fingerprint import area_in

if TYPE_CHECKING:
    import pyarrow as pa

# Bytes of a pixel: its piece and area, and polygons of a map with a piece for every ten pixels.
_WORKING_BYTES = 150
_LAYERS, _AREA, _PARTS = "layers", "area", "parts"


@dataclass(repr=False, kw_only=True)
class PolygonPartsPass(PartPass):
    """``NAME-parts``: pieces whose first pixel lies in the tile, joined where they touch in it.

    Attributes
    ----------
    layer : Layer
        Of classes.
    rules : PolygonRules
    grid : Grid
    times : tuple of str
        Spans.
    halo : int
        Pixels beyond a tile that are read, to whole cells.
    """

    kind: ClassVar[str] = "polygons-parts"
    version: ClassVar[str] = "1"
    layers: tuple[Layer, ...] = ()

    step: str
    sources: Mapping[str, Source]
    schema: pa.Schema
    layer: Layer
    rules: PolygonRules
    grid: Grid
    times: tuple[str, ...]
    halo: int

    def around(self, core: PixelBox) -> PixelBox:
        """Whole cells, and their margin."""
        return box_around(core, self.rules)

    def spans(self) -> Sequence[str]:
        """Those of the step."""
        return self.times

    def parameters(self) -> Mapping[str, Any]:
        """The layer, and the rules."""
        return {"layer": self.layer.name, "rules": repr(self.rules)}

    def memory(self, tile: int, cost: Cost, profile: NumericProfile) -> int:
        """Bytes of the process, and of tiles side by side: pixels, pieces and their polygons."""
        del profile
        height, width = self.around(PixelBox(0, 0, tile, tile)).shape
        return PROCESS_BYTES + int(TILES_AT_ONCE * (cost.bytes + height * width * _WORKING_BYTES))

    def run(self, block: Block) -> Result:
        """The rows of one tile."""
        values = block.inputs[_LAYERS][self.layer.name].values
        valid = self.layer.is_valid(values) & block.inputs[_AREA]["inside"].values
        image = class_image(values, valid, self.grid, block.around)
        return Result(table=part_rows(image_parts(image, block.core, self.rules)))


@dataclass(repr=False, kw_only=True)
class PolygonContactsPass(PartPass):
    """``NAME-contacts``: what parts touch beyond their tile, without their geometry.

    A row for each contact: the part's ``place``, the ``contact``, and a hash of the part, so that
    who reads a part of another tile by the gather knows when it has changed.
    """

    kind: ClassVar[str] = "polygons-contacts"
    version: ClassVar[str] = "1"
    layers: tuple[Layer, ...] = ()

    step: str
    sources: Mapping[str, Source]
    schema: pa.Schema
    times: tuple[str, ...]

    def spans(self) -> Sequence[str]:
        """Those of the step."""
        return self.times

    def parameters(self) -> Mapping[str, Any]:
        """None."""
        return {}

    def run(self, block: Block) -> Result:
        """The rows of one tile."""
        import pyarrow as pa

        rows = {str(name): column.values for name, column in block.inputs[_PARTS].items()}
        contacts = [np.frombuffer(keys, "<u8") for keys in rows["contacts"]]
        counts = np.array([len(keys) for keys in contacts], np.int64)
        touching = np.flatnonzero(counts)
        hashes = [
            row_hash(*(rows[name][i] for name in ("value", "units", "cut", "geometry")))
            for i in touching
        ]
        table = {
            "place": np.repeat(rows["place"][touching], counts[touching]),
            "contact": np.concatenate([np.empty(0, np.uint64), *contacts]),
            "hash": np.repeat(np.array(hashes, np.int64), counts[touching]),
        }
        return Result(table=pa.table(table, schema=self.schema))


@lru_cache(maxsize=1)
def contact_schema() -> pa.Schema:
    """The columns of :class:`PolygonContactsPass`."""
    import pyarrow as pa

    return pa.schema([("place", pa.int64()), ("contact", pa.uint64()), ("hash", pa.int64())])


@dataclass(frozen=True)
class AreaSource:
    """Which pixels lie inside the area, as something to read: also those around a tile."""

    shape: shapely.Geometry
    grid: Grid

    def read(self, box: PixelBox, key: TileKey, resources: Resources) -> xr.Dataset:
        """``inside (y, x)``, bool."""
        del key, resources
        return xr.Dataset({"inside": (("y", "x"), area_mask(self.shape, self.grid, box))})

    def digest(self, box: PixelBox, key: TileKey) -> str:
        """Hash of the area in the box."""
        del key
        return area_in(self.shape, self.grid, box)

    def inputs(self, box: PixelBox, key: TileKey) -> Sequence[str]:
        """Nothing that has a name."""
        del box, key
        return []

    def cost(self, box: PixelBox, key: TileKey) -> Cost:
        """A byte a pixel."""
        del key
        return Cost(math.prod(box.shape))
