"""Grids of the two tiles: MGRS-like squares of two UTM zones that overlap near 6 degrees east."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from rasterio.transform import Affine
from rasterio.windows import Window

WORLD_CRS = "EPSG:32631"
RESOLUTION = 10.0
BLOCK = 512
ANCHOR = {"EPSG:32631": (725_940.0, 5_265_100.0), "EPSG:32632": (274_060.0, 5_265_100.0)}
"""The anchor, 6.0 E 47.5 N, in UTM zones 31 and 32: the middle of the overlap."""
# World coordinates are taken exactly at these pixels and interpolated in between; over 640 m
# the projection is straight to within a millimetre.
_NODE = 64


@dataclass(frozen=True)
class TileGrid:
    """The pixel grid of a tile, or of the truth.

    Attributes
    ----------
    name : str
        MGRS-like name, e.g. ``"31TGN"``.
    crs : str
        EPSG code.
    left, top : float
        Outer corner, metres.
    height, width : int
        Pixels of 10 m.
    """

    name: str
    crs: str
    left: float
    top: float
    height: int
    width: int

    @property
    def transform(self) -> Affine:
        """From (column, row) to map coordinates."""
        return Affine(RESOLUTION, 0.0, self.left, 0.0, -RESOLUTION, self.top)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in the tile's CRS."""
        return (
            self.left,
            self.top - RESOLUTION * self.height,
            self.left + RESOLUTION * self.width,
            self.top,
        )

    @cached_property
    def footprint(self) -> shapely.Polygon:
        """The tile's outline in the world's CRS, with points every few kilometres."""
        outline = shapely.segmentize(shapely.box(*self.bounds), max(self.width, self.height) / 2)
        return shapely.transform(outline, self._to_world, interleaved=False)

    def blocks(self) -> Iterator[Window]:
        """Windows of 512 px, row by row."""
        for row in range(0, self.height, BLOCK):
            for col in range(0, self.width, BLOCK):
                yield Window(col, row, min(BLOCK, self.width - col), min(BLOCK, self.height - row))

    def world_xy(self, window: Window) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """World coordinates of pixel centres, metres from the anchor, ``(row, col)`` float64.

        A pixel's coordinates do not depend on the window, which may reach beyond the tile.
        """
        rows = np.arange(window.row_off, window.row_off + window.height)
        cols = np.arange(window.col_off, window.col_off + window.width)
        if self.crs == WORLD_CRS:
            x, y = np.meshgrid(
                self.left + RESOLUTION * (cols + 0.5), self.top - RESOLUTION * (rows + 0.5)
            )
        else:
            x, y = self._interpolated(rows, cols)
        anchor_x, anchor_y = ANCHOR[WORLD_CRS]
        return x - anchor_x, y - anchor_y

    def _interpolated(
        self, rows: npt.NDArray[Any], cols: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        node_rows = np.arange(rows[0] // _NODE, rows[-1] // _NODE + 2) * _NODE
        node_cols = np.arange(cols[0] // _NODE, cols[-1] // _NODE + 2) * _NODE
        nodes = self._to_world(
            *np.meshgrid(
                self.left + RESOLUTION * (node_cols + 0.5),
                self.top - RESOLUTION * (node_rows + 0.5),
            )
        )
        row, down = np.divmod(rows - node_rows[0], _NODE)
        col, right = np.divmod(cols - node_cols[0], _NODE)
        down, right = (down / _NODE)[:, None], right / _NODE
        x, y = (
            (node[row][:, col] * (1 - right) + node[row][:, col + 1] * right) * (1 - down)
            + (node[row + 1][:, col] * (1 - right) + node[row + 1][:, col + 1] * right) * down
            for node in nodes
        )
        return x, y

    def _to_world(
        self, x: npt.NDArray[Any], y: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        if self.crs == WORLD_CRS:
            return x, y
        to_world = pyproj.Transformer.from_crs(self.crs, WORLD_CRS, always_xy=True)
        world_x, world_y = to_world.transform(x, y)
        return np.asarray(world_x), np.asarray(world_y)


def make_tiles(size: int) -> tuple[TileGrid, TileGrid]:
    """The two tiles of an archive, ``size`` pixels wide; 30 % of the width overlaps."""
    west, east = ANCHOR["EPSG:32631"], ANCHOR["EPSG:32632"]
    span = size * RESOLUTION
    return (
        TileGrid(
            "31TGN", "EPSG:32631",
            _corner(west[0] - 0.85 * span), _corner(west[1] + 0.5 * span), size, size,
        ),
        TileGrid(
            "32TKT", "EPSG:32632",
            _corner(east[0] - 0.15 * span), _corner(east[1] + 0.54 * span), size, size,
        ),
    )  # fmt: skip


def _corner(metres: float) -> float:
    """A multiple of 20 m, as real tiles have, but not one of a COG block."""
    corner = round(metres / 20.0) * 20.0
    return corner + 20.0 if corner % (BLOCK * RESOLUTION) == 0 else corner


def truth_grid(tiles: tuple[TileGrid, ...]) -> TileGrid:
    """The smallest grid of the world's CRS that covers all tiles, on whole 10 m."""
    west, south, east, north = shapely.union_all([tile.footprint for tile in tiles]).bounds
    left, top = np.floor(west / 10.0) * 10.0, np.ceil(north / 10.0) * 10.0
    height, width = np.ceil((top - south) / 10.0), np.ceil((east - left) / 10.0)
    return TileGrid("truth", WORLD_CRS, float(left), float(top), int(height), int(width))


def covered(x: npt.NDArray[Any], y: npt.NDArray[Any], tiles: tuple[TileGrid, ...]) -> Any:
    """Whether points (metres from the anchor) lie in any tile."""
    anchor_x, anchor_y = ANCHOR[WORLD_CRS]
    inside = np.zeros(x.shape, bool)
    for tile in tiles:
        inside |= shapely.contains_xy(tile.footprint, x + anchor_x, y + anchor_y)
    return inside
