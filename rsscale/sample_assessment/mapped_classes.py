"""What a run's maps say: at the units of a sample, and of all pixels by class and region.

Nothing but the chunks that hold a unit is read for the units. All pixels are counted in strips of a
tile, so that memory grows neither with the area nor with the tile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from rsscale.geo.coverage import centres, pixel_edges
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.geo.pixel_area import pixel_areas
from rsscale.progress.bars import progress
from rsscale.reference.zones import Zones
from rsscale.store.zarr_store import ZarrStore, inner_chunk
from rsscale.survey_estimators.units import Floats, Ints

_SQUARE_METRES = 10_000
_THREADS = 4
_VALUES = 256


@dataclass(frozen=True, eq=False)
class ClassLayer:
    """A layer of classes of one span.

    Attributes
    ----------
    store : ZarrStore
        Of its step.
    name, span : str
    positions : int64 array (256,)
        Position of the class of each stored value; K for what is none.
    """

    store: ZarrStore
    name: str
    span: str
    positions: Ints

    @classmethod
    def of(cls, store: ZarrStore, name: str, span: str, codes: Sequence[int]) -> ClassLayer:
        """A layer of uint8 whose classes have some values, in order."""
        positions = np.full(_VALUES, len(codes), np.int64)
        positions[list(codes)] = np.arange(len(codes))
        return cls(store, name, span, positions)

    @property
    def count(self) -> int:
        """Classes."""
        return int(self.positions[-1])

    def at(self, row: Ints, col: Ints) -> Ints:
        """Positions of the classes of pixels, which lie in the extent; chunk by chunk.

        Parameters
        ----------
        row, col : int64 arrays (n,)
            Global pixels.
        """
        width = inner_chunk(self.store.grid.tile)
        classes = np.full(len(row), self.count, np.int64)
        chunks = np.stack([row // width, col // width], axis=1)
        number = np.unique(chunks, axis=0, return_inverse=True)[1].ravel()
        order = np.argsort(number, kind="stable")
        parts = np.split(order, np.cumsum(np.bincount(number))[:-1])

        def read(part: Ints) -> None:
            rows, cols = row[part], col[part]
            box = PixelBox(
                int(rows.min()), int(cols.min()), int(rows.max()) + 1, int(cols.max()) + 1
            )
            values = self.store.read(self.name, self.span, box)
            classes[part] = self.positions[values[rows - box.row0, cols - box.col0]]

        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(read, parts))
        return classes

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
        regions = _Regions(zones, self.store.grid)
        total = np.zeros((1 + regions.count, self.count + 1))

        def count(tile: PixelBox) -> Floats:
            return sum((self._of_strip(s, regions) for s in _strips(tile)), np.zeros_like(total))

        with progress("areas", len(tiles), "tiles") as bar, ThreadPoolExecutor(_THREADS) as pool:
            for part in pool.map(count, tiles):
                total += part
                bar.advance()
        return total

    def _of_strip(self, box: PixelBox, regions: _Regions) -> Floats:
        count = self.count + 1
        hectares = np.zeros((1 + regions.count, count))
        codes = self.positions[self.store.read(self.name, self.span, box)]
        areas = pixel_areas(self.store.grid, box) / _SQUARE_METRES
        areas = np.broadcast_to(areas, box.shape)
        hectares[0] = np.bincount(codes.ravel(), areas.ravel(), count)
        for number, around in regions.near(box):
            part = around.slices(box)
            inside = centres(regions.edges(number), around) > 0
            hectares[1 + number] = np.bincount(codes[part][inside], areas[part][inside], count)
        return hectares


class _Regions:
    """Zones, whose edges are made once."""

    def __init__(self, zones: Zones | None, grid: Grid) -> None:
        self.zones, self.grid = zones, grid
        self._edges: dict[int, Floats] = {}

    @property
    def count(self) -> int:
        return 0 if self.zones is None else len(self.zones.ids)

    def near(self, box: PixelBox) -> list[tuple[int, PixelBox]]:
        return [] if self.zones is None else self.zones.near(box)

    def edges(self, number: int) -> Floats:
        if number not in self._edges and self.zones is not None:
            self._edges[number] = pixel_edges(self.zones.shapes[number], self.grid)
        return self._edges[number]


def _strips(tile: PixelBox) -> Iterator[PixelBox]:
    height = inner_chunk(tile.shape[0])
    for row in range(tile.row0, tile.row1, height):
        yield PixelBox(row, tile.col0, min(row + height, tile.row1), tile.col1)


def unit_areas(grid: Grid, row: Ints, col: Ints) -> Floats:
    """Hectares on the ellipsoid of single pixels ``(n,)``."""
    hectares = np.empty(len(row))
    for n, (r, c) in enumerate(zip(row.tolist(), col.tolist(), strict=True)):
        hectares[n] = pixel_areas(grid, PixelBox(r, c, r + 1, c + 1))[0, 0] / _SQUARE_METRES
    return hectares
