"""The global pixel grid and its tiles, anchored to the CRS.

A grid covers the whole plane of a CRS. A pixel has global indices ``(row, col)`` counted
from the grid's origin, rows growing south as in a raster; the pixel ``(0, 0)`` has its
north-west corner at the origin. Tiles, model windows and warp blocks are boxes of these
indices. None of them depends on the area that is mapped, so maps of different areas,
years and tile sizes line up pixel by pixel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry
from odc.geo.gridspec import GridSpec
from odc.geo.types import ixy_, res_, wh_, xy_

from rsscale.errors import AreaError, RecipeError
from rsscale.geo.lattice import PixelBox

# A coordinate that lies this close to a pixel edge, in pixels, lies on it.
_ON_EDGE = 1e-6
MAX_TILE = 65_536
"""Pixels across the widest tile: a shard of it takes 4 GB in memory."""

MAX_RESOLUTION = 1e7
"""CRS units across the widest pixel: a quarter of the Earth, in metres."""

MAX_TILES = 2**24
"""Tiles of the largest area: the globe at 10 m in tiles of 2048 px has two million."""

_FAR = 1e9  # CRS units from the origin of a CRS: beyond it nothing can be projected
# Tiles that are tested together, in each direction.
_TOGETHER = 16

_Index = int | npt.NDArray[np.int64]


@dataclass(frozen=True, order=True)
class Tile:
    """One unit of work: the core that a task writes.

    Attributes
    ----------
    iy, ix : int
        Index in the grid, as in :class:`odc.geo.gridspec.GridSpec`: ``iy`` grows north.
    box : PixelBox
        The core in global pixels; its rows grow south.
    """

    iy: int
    ix: int
    box: PixelBox

    @property
    def id(self) -> str:
        """The tile's name, the same in every run and year, usable in a file name."""
        return f"x{self.ix}_y{self.iy}"


@dataclass(frozen=True)
class Grid:
    """A global grid of square pixels in a projected or geographic CRS.

    Parameters
    ----------
    crs : str
        Anything that pyproj understands, e.g. ``"EPSG:25831"``.
    resolution : float
        Pixel width in CRS units (metres, or degrees for a geographic CRS).
    tile : int
        Width of a tile in pixels.
    origin : (float, float)
        ``(x, y)`` of the corner that tiles and windows are counted from, in CRS units.
        Landsat pixels start at half a pixel: ``origin=(15, 15)`` with a resolution of 30.

    Raises
    ------
    RecipeError
        When the CRS is unknown, or resolution, tile or origin are not positive or absurd.
    """

    crs: str
    resolution: float
    tile: int = 2048
    origin: tuple[float, float] = (0.0, 0.0)
    _spec: GridSpec = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 < self.resolution <= MAX_RESOLUTION:
            raise RecipeError(
                f"grid.resolution is {self.resolution}; it must be a positive number of CRS units, "
                f"at most {MAX_RESOLUTION:g}"
            )
        if not 1 <= self.tile <= MAX_TILE:
            raise RecipeError(
                f"grid.tile is {self.tile}; it must be at least 1 pixel, at most {MAX_TILE}"
            )
        if not all(abs(value) <= _FAR for value in self.origin):
            raise RecipeError(
                f"grid.origin is {list(self.origin)}; expected two finite numbers of CRS units"
            )
        object.__setattr__(self, "origin", (float(self.origin[0]), float(self.origin[1])))
        try:
            spec = GridSpec(
                self.crs,
                (self.tile, self.tile),
                res_(self.resolution),
                origin=xy_(*self.origin),
            )
        except Exception as error:  # pyproj and odc-geo raise several unrelated types
            raise RecipeError(
                f"grid.crs is {self.crs!r}, which pyproj does not know; "
                "use a code like 'EPSG:25831' or WKT"
            ) from error
        object.__setattr__(self, "_spec", spec)

    def __reduce__(self) -> tuple[type[Self], tuple[str, float, int, tuple[float, float]]]:
        return type(self), (self.crs, self.resolution, self.tile, self.origin)

    def geobox_of(self, box: PixelBox) -> GeoBox:
        """The :class:`~odc.geo.geobox.GeoBox` of a box of global pixels."""
        height, width = box.shape
        x0, y0 = self.origin
        res = self.resolution
        # Computed from the integer indices, so that boxes which share an edge share its bits.
        affine = Affine(res, 0, x0 + box.col0 * res, 0, -res, y0 - box.row0 * res)
        return GeoBox(wh_(width, height), affine, self._spec.crs)

    def box_of(self, geobox: GeoBox) -> PixelBox:
        """The global pixels of a GeoBox that lies on this grid.

        Raises
        ------
        AreaError
            When the GeoBox has another CRS or resolution, or lies between pixels.
        """
        affine = geobox.affine
        col0 = (affine.c - self.origin[0]) / self.resolution
        row0 = (self.origin[1] - affine.f) / self.resolution
        on_grid = (
            geobox.crs == self._spec.crs
            and math.isclose(affine.a, self.resolution, rel_tol=1e-9)
            and math.isclose(affine.e, -self.resolution, rel_tol=1e-9)
            and affine.b == affine.d == 0
            and abs(col0 - round(col0)) < _ON_EDGE
            and abs(row0 - round(row0)) < _ON_EDGE
        )
        if not on_grid:
            raise AreaError(
                f"a box of {_short(geobox.crs)}, resolution {affine.a:g}, corner "
                f"({affine.c:.9g}, {affine.f:.9g}) does not lie on the pixels of {self}: "
                f"{self._why_off(geobox)}"
            )
        height, width = geobox.shape
        return PixelBox(round(row0), round(col0), round(row0) + height, round(col0) + width)

    def _why_off(self, geobox: GeoBox) -> str:
        """Why a GeoBox does not lie on this grid, and what to do."""
        affine, res = geobox.affine, self.resolution
        if geobox.crs != self._spec.crs:
            return "its CRS is another; reproject it, or take a grid in its CRS"
        if affine.b or affine.d:
            return "it is rotated; warp it to the grid"
        if affine.e > 0:
            return "its rows run from south to north; turn them: .isel(y=slice(None, None, -1))"
        if not math.isclose(affine.a, res, rel_tol=1e-9) or not math.isclose(
            affine.e, -res, rel_tol=1e-9
        ):
            return f"its pixels are {affine.a:g} by {-affine.e:g}; take a grid of that resolution"
        x, y = affine.c % res, affine.f % res
        return f"it starts between two pixels; take a grid with origin=({x:.9g}, {y:.9g})"

    def project(self, area: Geometry) -> Geometry:
        """Project an area to the grid's CRS, with edges densified so that they keep their course.

        Raises
        ------
        AreaError
            When the area cannot be projected into this CRS.
        """
        dense, bounds = area, area.boundingbox
        step = max(bounds.span_x, bounds.span_y) / 256
        if area.crs != self._spec.crs and step > 0:
            dense = Geometry(shapely.segmentize(area.geom, step), area.crs)
        projected = dense.to_crs(self._spec.crs)
        if projected.is_empty or not all(map(math.isfinite, projected.boundingbox.bbox)):
            raise AreaError(
                f"the area {_bounds(area)} cannot be projected to {self.crs}; "
                "choose a CRS that covers the area"
            )
        return projected

    def box(self, area: Geometry) -> PixelBox:
        """The smallest box of whole pixels that holds the area."""
        return self._box(self.project(area))

    def _box(self, projected: Geometry) -> PixelBox:
        left, bottom, right, top = projected.boundingbox.bbox
        x0, y0 = self.origin
        res = self.resolution
        return PixelBox(
            math.floor((y0 - top) / res + _ON_EDGE),
            math.floor((left - x0) / res + _ON_EDGE),
            math.ceil((y0 - bottom) / res - _ON_EDGE),
            math.ceil((right - x0) / res - _ON_EDGE),
        )

    def geobox(self, area: object) -> GeoBox:
        """The GeoBox of whole grid pixels around an area.

        Parameters
        ----------
        area : Geometry, geometry-like or (west, south, east, north)
            Anything with a CRS that odc-geo understands, a shapely geometry or bounds in
            EPSG:4326, or a GeoDataFrame.

        Returns
        -------
        odc.geo.geobox.GeoBox
            On this grid's pixels, in its CRS.
        """
        return self.geobox_of(self.box(as_geometry(area)))

    def at_level(self, level: int) -> Grid:
        """The grid of an overview: the same origin and tile width, pixels ``2**level`` as wide."""
        return self if level == 0 else replace(self, resolution=self.resolution * 2**level)

    def overlaps(self, shape: shapely.Geometry, box: PixelBox) -> bool:
        """Whether a box shares some area with a shape in the grid's CRS: touching is not enough."""
        extent = self.geobox_of(box).extent.geom
        return bool(shape.intersects(extent) and not shape.touches(extent))

    def tile_at(self, ix: int, iy: int) -> Tile:
        """The tile with a GridSpec index; ``iy`` grows north."""
        return Tile(iy, ix, self.box_of(self._spec[ixy_(ix, iy)]))

    def tile_of(self, box: PixelBox) -> Tile:
        """The tile with a box that is one."""
        return self._tile(box.row0, box.col0)

    def tiles(self, area: Geometry, start: int = 0, step: int = 1) -> Iterator[Tile]:
        """Tiles that share some area with ``area``, from north to south and west to east.

        Lazy: a country of a hundred thousand tiles is never held in memory. ``start`` and
        ``step`` choose some of them, as in a slice of a list.
        """
        skip = start
        for row, cols in self._tile_rows(area):
            for col in cols[skip::step].tolist():
                yield self._tile(row, col)
            skip = skip - len(cols) if skip >= len(cols) else (skip - len(cols)) % step

    def extent(self, area: Geometry) -> tuple[PixelBox, int]:
        """The smallest box around all tiles of an area, and how many they are."""
        around, count = None, 0
        for row, cols in self._tile_rows(area):
            box = PixelBox(row, int(cols[0]), row + self.tile, int(cols[-1]) + self.tile)
            around = box if around is None else around | box
            count += len(cols)
        if around is None:
            raise AreaError(f"the area {_bounds(area)} holds no pixel of {self}")
        return around, count

    def _tile(self, row: int, col: int) -> Tile:
        box = PixelBox(row, col, row + self.tile, col + self.tile)
        return Tile(-row // self.tile - 1, col // self.tile, box)

    def _tile_rows(self, area: Geometry) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
        """First pixel row, and first columns of the tiles, of each row of tiles from the north."""
        projected = self.project(area)
        shapely.prepare(projected.geom)
        around = self._box(projected).snap(self.tile)
        count = math.prod(side // self.tile for side in around.shape)
        if count > MAX_TILES:
            raise AreaError(
                f"the area {_bounds(area)} takes about {count:.0e} tiles of {self}; expected at "
                f"most {MAX_TILES}: is the resolution in units of the CRS?"
            )
        all_cols = np.arange(around.col0, around.col1, self.tile)
        for first in range(around.row0, around.row1, _TOGETHER * self.tile):
            rows = np.arange(first, min(first + _TOGETHER * self.tile, around.row1), self.tile)
            for row, hit in zip(
                rows.tolist(), self._hits(projected.geom, rows, all_cols), strict=True
            ):
                if hit.any():
                    yield row, all_cols[hit]

    def _hits(
        self, shape: shapely.Geometry, rows: npt.NDArray[np.int64], cols: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        """Which tiles, by their first rows and columns, share some area with a shape."""
        # Most of a country lies inside: blocks of tiles are tested before single tiles.
        starts = cols[::_TOGETHER]
        ends = np.append(starts[1:], cols[-1] + self.tile)
        some, whole = self._overlap(shape, rows[0], rows[-1] + self.tile, starts, ends)
        hit = np.tile(np.repeat(whole, _TOGETHER)[: len(cols)], (len(rows), 1))
        undecided = np.repeat(some & ~whole, _TOGETHER)[: len(cols)]
        row, col = rows[:, None], cols[undecided]
        hit[:, undecided] = self._overlap(shape, row, row + self.tile, col, col + self.tile)[0]
        return hit

    def _overlap(
        self, shape: shapely.Geometry, row0: _Index, row1: _Index, col0: _Index, col1: _Index
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Which of many boxes share some area with a shape, and which lie inside it."""
        (x0, y0), res = self.origin, self.resolution
        extents = shapely.box(x0 + col0 * res, y0 - row1 * res, x0 + col1 * res, y0 - row0 * res)
        some, whole = shapely.intersects(shape, extents), shapely.contains_properly(shape, extents)
        # Touching along an edge only is no overlap: such a tile would have no pixel.
        edge = some & ~whole
        some[edge] = ~shapely.touches(shape, extents[edge])
        return some, whole

    def __str__(self) -> str:
        return (
            f"{_short(self._spec.crs)} at {self.resolution:g}, tile {self.tile} px, "
            f"origin ({self.origin[0]:g}, {self.origin[1]:g})"
        )


def as_geometry(area: object) -> Geometry:
    """Convert an area to an odc-geo Geometry with a CRS.

    Parameters
    ----------
    area : Geometry, shapely geometry, GeoDataFrame, or (west, south, east, north)
        Without a CRS of its own, coordinates are EPSG:4326.

    Raises
    ------
    AreaError
        When it is none of these.
    """
    from odc.geo.geom import box

    if isinstance(area, Geometry):
        return area
    if hasattr(area, "union_all") and hasattr(area, "crs"):
        return Geometry(area.union_all(), area.crs)
    if hasattr(area, "geom_type"):
        return Geometry(area, "EPSG:4326")
    try:
        west, south, east, north = map(float, area)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        raise AreaError(
            f"an area is given as {type(area).__name__}; expected a geometry, a GeoDataFrame "
            "or (west, south, east, north) in degrees"
        ) from None
    return box(west, south, east, north, "EPSG:4326")


def _short(crs: object) -> str:
    """A CRS by its code or name: WKT fills a page."""
    code = getattr(crs, "epsg", None)
    if code is not None:
        return f"EPSG:{code}"
    return str(getattr(getattr(crs, "proj", None), "name", crs))[:80]


def _bounds(area: Geometry) -> str:
    return "[" + ", ".join(f"{v:.6g}" for v in area.boundingbox.bbox) + f"] ({area.crs})"
