"""What a run's maps say: at the units of a sample, and of all pixels by class and region.

Nothing but the chunks that hold a unit is read for the units. All pixels are counted tile by tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import xarray as xr

from rsscale.estimation.units import Floats, Ints
from rsscale.geo.coverage import centres, pixel_edges
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.geo.pixel_area import pixel_areas
from rsscale.progress import progress
from rsscale.reference.zones import Zones

_SQUARE_METRES = 10_000
_THREADS = 4


@dataclass(frozen=True, eq=False)
class ClassLayer:
    """A layer of classes of one period, and where it lies.

    Attributes
    ----------
    values : DataArray
        ``(y, x)``, lazy.
    extent : PixelBox
        Of it, in global pixels.
    grid : Grid
    positions : int64 array (256,)
        Position of the class of each stored value; K for what is none.
    """

    values: xr.DataArray
    extent: PixelBox
    grid: Grid
    positions: Ints

    @classmethod
    def of(
        cls, values: xr.DataArray, extent: PixelBox, grid: Grid, codes: Sequence[int]
    ) -> ClassLayer:
        """A layer whose classes have some values, in order."""
        positions = np.full(256, len(codes), np.int64)
        positions[list(codes)] = np.arange(len(codes))
        return cls(values, extent, grid, positions)

    @property
    def count(self) -> int:
        """Classes."""
        return int(self.positions[255])

    def at(self, row: Ints, col: Ints) -> Ints:
        """Positions of the classes of pixels, which lie in the extent; chunk by chunk."""
        width = int(self.values.chunksizes["x"][0]) if self.values.chunks else 4096
        down, right = row - self.extent.row0, col - self.extent.col0
        found = np.full(len(row), self.count, np.int64)
        chunk = np.stack([down // width, right // width], axis=1)
        places, number = np.unique(chunk, axis=0, return_inverse=True)
        order = np.argsort(number.ravel(), kind="stable")
        parts = np.split(order, np.cumsum(np.bincount(number.ravel()))[:-1])

        def read(part: Ints) -> None:
            rows, cols = down[part], right[part]
            first, left = rows.min(), cols.min()
            # The smallest window in the chunk: a chunk of the store is a part of a shard.
            block = self.values[first : rows.max() + 1, left : cols.max() + 1].values
            found[part] = self.positions[block[rows - first, cols - left]]

        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(read, parts[: len(places)]))
        return found

    def hectares(self, zones: Zones | None, tiles: Sequence[PixelBox]) -> Floats:
        """Hectares of each class on the ellipsoid, of all and in each zone.

        Parameters
        ----------
        zones : Zones, optional
        tiles : sequence of PixelBox
            Which together are the area.

        Returns
        -------
        float64 array (1 + Z, K + 1)
            The first row is of all; the last column of pixels without a class, inside the area
            or not.
        """
        count = self.count + 1
        total = np.zeros((1 + (len(zones.ids) if zones else 0), count))
        with progress("areas", len(tiles), "tiles") as bar, ThreadPoolExecutor(_THREADS) as pool:
            for part in pool.map(lambda box: self._of_tile(box, zones), tiles):
                total += part
                bar.advance()
        return total

    def _of_tile(self, tile: PixelBox, zones: Zones | None) -> Floats:
        box = tile & self.extent
        count = self.count + 1
        found = np.zeros((1 + (len(zones.ids) if zones else 0), count))
        if box.empty:
            return found
        rows, cols = box.slices(self.extent)
        codes = self.positions[self.values[rows, cols].values]
        areas = np.broadcast_to(pixel_areas(self.grid, box) / _SQUARE_METRES, box.shape)
        found[0] = np.bincount(codes.ravel(), areas.ravel(), count)
        if zones is None:
            return found
        for number, around in zones.near(box):
            part = around.slices(box)
            inside = centres(pixel_edges(zones.shapes[number], self.grid), around) > 0
            found[1 + number] = np.bincount(codes[part][inside], areas[part][inside], count)
        return found


def unit_areas(grid: Grid, row: Ints, col: Ints) -> Floats:
    """Hectares on the ellipsoid of single pixels ``(n,)``."""
    found = np.empty(len(row))
    for n, (r, c) in enumerate(zip(row.tolist(), col.tolist(), strict=True)):
        found[n] = pixel_areas(grid, PixelBox(r, c, r + 1, c + 1))[0, 0] / _SQUARE_METRES
    return found
