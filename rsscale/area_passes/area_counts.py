"""Pixels and hectares of the values of a tile: of all of it, or in each of some polygons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from rsscale.errors import RsscaleError
from rsscale.geo.coverage import centres, coverage, pixel_edges
from rsscale.geo.grid import Grid
from rsscale.geo.pixel_area import pixel_areas, units_per_hectare
from rsscale.reference.zones import Zones
from rsscale.steps.base import Block

if TYPE_CHECKING:
    import pyarrow as pa

_M2_PER_HECTARE = 10_000
WORKING_BYTES = 56
"""Of a pixel: its area, and what its zone covers while it is summed."""

Row = tuple[int, float, float]
"""A value, its pixels, its hectares."""


@dataclass(frozen=True)
class AreaCounts:
    """How pixels are counted, and what each covers.

    Areas are whole units of :func:`rsscale.geo.pixel_area.units_per_hectare`, so that sums are
    the same to the bit however the work was cut.

    Attributes
    ----------
    grid : Grid
    method : str
        A pixel counts in a zone by its ``"centre"``, or by the share that the zone covers:
        ``"coverage"``.
    plane : float, optional
        Square metres of every pixel, where areas are those of the grid's CRS; else they are those
        on the ellipsoid.
    """

    grid: Grid
    method: Literal["centre", "coverage"] = "centre"
    plane: float | None = None

    @property
    def units(self) -> int:
        """Units of area in a hectare."""
        return units_per_hectare(self.grid)

    def of_area(self, values: npt.NDArray[Any], block: Block) -> list[Row]:
        """Each value of a tile's pixels inside the area."""
        tile = _Tile(values, self._areas(block), self.units)
        return tile.rows(block.where.astype(np.float64), (slice(None), slice(None)), block)

    def by_zone(
        self, values: npt.NDArray[Any], zones: Zones, block: Block
    ) -> Iterator[tuple[str, list[Row]]]:
        """Zones that a tile may touch, and each value of the pixels in them."""
        tile = _Tile(values, self._areas(block), self.units)
        shares = coverage if self.method == "coverage" else centres
        for number, box in zones.near(block.core):
            edges, part = pixel_edges(zones.shapes[number], block.grid), box.slices(block.core)
            share = (shares(edges, box) * block.where[part]).astype(np.float64)
            yield zones.ids[number], tile.rows(share, part, block)

    def _areas(self, block: Block) -> npt.NDArray[np.float64]:
        """Units of each pixel of a tile."""
        square_metres: Any = (
            pixel_areas(self.grid, block.core) if self.plane is None else self.plane
        )
        units = np.rint(square_metres * (self.units / _M2_PER_HECTARE))
        return np.broadcast_to(units, block.core.shape)


class _Tile:
    """A tile whose values are numbered, so that a zone costs no more than its pixels."""

    def __init__(
        self, values: npt.NDArray[Any], areas: npt.NDArray[np.float64], units: int
    ) -> None:
        lowest = int(values.min())
        shifted = values.astype(np.int32) - lowest
        present = np.flatnonzero(np.bincount(shifted.ravel()))
        number_of = np.zeros(int(present[-1]) + 1, np.int32)
        number_of[present] = np.arange(len(present))
        self._values, self._number = present + lowest, number_of[shifted]
        self._areas, self._units = areas, units

    def rows(
        self, share: npt.NDArray[np.float64], part: tuple[slice, slice], block: Block
    ) -> list[Row]:
        """Rows of a part of the tile, of which a share of each pixel counts."""
        inside = share > 0
        number, weight = self._number[part][inside], share[inside]
        count = len(self._values)
        pixels = np.bincount(number, weights=weight, minlength=count)
        areas = np.rint(weight * self._areas[part][inside])
        units = np.bincount(number, weights=areas, minlength=count)
        if not np.isfinite(units).all():
            raise RsscaleError(f"the CRS of the grid has no ground under the tile {block.key}")
        return [
            (int(self._values[n]), float(pixels[n]), float(units[n] / self._units))
            for n in np.flatnonzero(pixels)
        ]


def table_of(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    """Rows as a table; none gives one without rows."""
    import pyarrow as pa

    columns = zip(*rows, strict=True) if rows else [[]] * len(schema)
    arrays = [pa.array(list(c), f.type) for c, f in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def rows_schema(*, named: bool = False) -> pa.Schema:
    """Columns of counts by zone, span and class, in a sum with the name of the class."""
    import pyarrow as pa

    fields = [("zone", pa.string()), ("span", pa.string()), ("class", pa.int32())]
    name = [("name", pa.string())] if named else []
    return pa.schema([*fields, *name, ("pixels", pa.float64()), ("hectares", pa.float64())])
