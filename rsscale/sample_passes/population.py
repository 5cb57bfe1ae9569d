"""The population that a sample is drawn from: mapped pixels of the area, and what tells them apart.

A pixel has a code of its class, or of its classes before and after, with its region and its value
of a raster. Strata are made of codes once all pixels are counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.errors import RecipeError, RsscaleError
from rsscale.geo.coverage import centres, pixel_edges
from rsscale.geo.lattice import PixelBox
from rsscale.geo.pixel_area import pixel_areas, units_per_hectare
from rsscale.layers import NODATA, Layer
from rsscale.reference.class_raster import RasterOnGrid
from rsscale.reference.zones import Zones
from rsscale.steps.base import Block

UNMAPPED = -1
"""The code of pixels in the area that the map has no class of."""
OUTSIDE = 0
"""The number of pixels that no region, or no value of the raster, covers."""
OUTSIDE_NAME = "outside"
_MAP_CODES = 65536
_PAIR = 256
_RASTER_CODES = 256
_M2_PER_HECTARE = 10_000

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Population:
    """What a pixel's code is made of.

    Attributes
    ----------
    places : tuple of (source, layer)
        One, or those of the class before and of the one after.
    layer : Layer
        Of classes.
    names : mapping of class to str
    regions : Zones, optional
    raster : RasterOnGrid, optional
    raster_names : mapping of value to str
    """

    places: tuple[tuple[str, str], ...]
    layer: Layer
    names: Mapping[int, str]
    regions: Zones | None = None
    raster: RasterOnGrid | None = None
    raster_names: Mapping[int, str]

    @property
    def is_pair(self) -> bool:
        """Whether a sample is of two periods."""
        return len(self.places) == 2

    def codes(self, block: Block) -> Codes:
        """The code of each pixel of a tile; -1 where the map has no class, or beyond the area."""
        codes = self._map_codes(block)
        factor = _MAP_CODES
        if self.regions is not None:
            codes += factor * _region_numbers(self.regions, block).astype(np.int64)
            factor *= len(self.regions.ids) + 1
        if self.raster is not None:
            values = self.raster.read(block.core).astype(np.int64)
            codes += factor * np.where(values == NODATA, OUTSIDE, values + 1)
        codes[~self._is_mapped(block)] = UNMAPPED
        return codes

    def split(self, code: int) -> tuple[int, int, int]:
        """Code of the map, number of the region, number of the raster's value."""
        rest, of_map = divmod(code, _MAP_CODES)
        if self.regions is None:
            return of_map, OUTSIDE, rest
        rest, region = divmod(rest, len(self.regions.ids) + 1)
        return of_map, region, rest

    def is_outside(self, code: int) -> bool:
        """Whether a pixel is in no region, or has no value of the raster."""
        _, region, raster = self.split(code)
        return (self.regions is not None and region == OUTSIDE) or (
            self.raster is not None and raster == OUTSIDE
        )

    def classes(self, code: int) -> tuple[int, ...]:
        """The class, or the class before and the one after."""
        of_map, _, _ = self.split(code)
        return divmod(of_map, _PAIR) if self.is_pair else (of_map,)

    def part(self, code: int, kind: str) -> tuple[int, str]:
        """What a pixel is by one kind of strata: a number that sorts it, and its name."""
        of_map, region, raster = self.split(code)
        if kind == "regions" and self.regions is not None:
            return region, self.regions.ids[region - 1] if region else OUTSIDE_NAME
        if kind == "raster":
            known = self.raster_names.get(raster - 1, str(raster - 1))
            return raster, known if raster else OUTSIDE_NAME
        classes = self.classes(code)
        after = self.class_name(classes[-1])
        if kind == "class" or not self.is_pair:
            return classes[-1], after
        if classes[0] == classes[1]:
            return of_map, f"{after} unchanged"
        if kind == "change":
            return _MAP_CODES, "changed"
        return of_map, f"{self.class_name(classes[0])} to {after}"

    def class_name(self, value: int) -> str:
        """A class's name; its value where it has none."""
        return self.names.get(value, str(value))

    def areas(self, block: Block) -> Codes:
        """Area of each pixel of a tile in whole units of ``units_per_hectare``."""
        per_hectare = units_per_hectare(block.grid)
        units = np.rint(pixel_areas(block.grid, block.core) * (per_hectare / _M2_PER_HECTARE))
        units = np.broadcast_to(units, block.core.shape)
        if not np.isfinite(units[block.where]).all():
            raise RsscaleError(f"the CRS of the grid has no ground under the tile {block.key}")
        return np.nan_to_num(units).astype(np.int64)

    def _map_codes(self, block: Block) -> Codes:
        *before, after = (_layer(block, *place).astype(np.int64) for place in self.places)
        return before[0] * _PAIR + after if before else after

    def _is_mapped(self, block: Block) -> npt.NDArray[np.bool_]:
        mapped = block.where.copy()
        for place in self.places:
            mapped &= self.layer.is_valid(_layer(block, *place))
        return mapped


def _layer(block: Block, source: str, layer: str) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = block.inputs[source][layer].to_numpy()
    return values[block.inside]


def _region_numbers(regions: Zones, block: Block) -> npt.NDArray[np.int32]:
    """The number of each pixel's region, from 1; 0 outside. The first where edges overlap."""
    numbers = np.zeros(block.core.shape, np.int32)
    for number, box in regions.near(block.core):
        inside = centres(pixel_edges(regions.shapes[number], block.grid), box)
        part = numbers[box.slices(block.core)]
        part[inside & (part == OUTSIDE)] = number + 1
    return numbers


def refuse_overlaps(regions: Zones, name: str, pixel: float) -> None:
    """Refuse regions of which two share more ground than a pixel: a stratum is one of them.

    Parameters
    ----------
    regions : Zones
    name : str
        Of the file.
    pixel : float
        Area of a pixel, CRS units squared.

    Raises
    ------
    RecipeError
    """
    import shapely

    tree = shapely.STRtree(regions.shapes)
    first, second = tree.query(regions.shapes, predicate="intersects")
    shapes = np.array(regions.shapes, object)
    pairs = first < second
    shared = shapely.area(shapely.intersection(shapes[first[pairs]], shapes[second[pairs]]))
    if (shared > pixel).any():
        worst = int(np.argmax(shared))
        first_id, other = (regions.ids[which[pairs][worst]] for which in (first, second))
        raise RecipeError(
            f"regions {name}: {int((shared > pixel).sum()):,} pairs overlap, most {first_id!r} and "
            f"{other!r} by {shared[worst] / pixel:,.0f} pixels; strata can't overlap: cut them, or "
            "choose another layer"
        )


def block_of(box: PixelBox, lattice: tuple[int, int]) -> tuple[Codes, Codes]:
    """Row and column of the primary unit of each row and column of a box of pixels."""
    return np.arange(box.row0, box.row1) // lattice[0], np.arange(box.col0, box.col1) // lattice[1]
