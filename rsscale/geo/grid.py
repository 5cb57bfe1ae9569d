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
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry
from odc.geo.gridspec import GridSpec
from odc.geo.types import ixy_, res_, wh_, xy_

from rsscale.errors import AreaError, RecipeError
from rsscale.geo.area import area_in_own_crs, joined, project_area
from rsscale.geo.lattice import PixelBox

if TYPE_CHECKING:
    from rsscale.geo.area import AreaLike

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
_TOGETHER = 64  # a power of how many parts a block has
_PARTS = 4

# Pixels of maps: beyond these a resolution is one in metres given for degrees, or the reverse.
_MOST_DEGREES = 1.0
_LEAST_METRES, _MOST_METRES = 0.01, 1e6
_DEGREE_METRES = 111_320.0

_Index = int | npt.NDArray[np.int64]


def crs_name(crs: Any) -> str:
    """A CRS for a message: its code, else its name, and never a page of WKT."""
    if crs is None:
        return "no CRS"
    try:
        known = CRS(crs)
        code = known.to_epsg()
    except Exception:  # noqa: BLE001 -- pyproj raises several unrelated types, and this is a message
        return str(crs)[:60]
    return f"EPSG:{code}" if code else str(known.proj.name)


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
        When the CRS is unknown, resolution, tile or origin are not positive or absurd, or the
        resolution is in another unit than the CRS's: 10 on EPSG:4326, 0.0001 on EPSG:3857.
    """

    crs: str
    resolution: float
    tile: int = 2048
    origin: tuple[float, float] = (0.0, 0.0)
    _level: int = field(default=0, repr=False, compare=False)  # of an overview
    _spec: GridSpec = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 < self.resolution <= MAX_RESOLUTION:
            raise RecipeError(
                f"grid.resolution is {self.resolution}; it must be a positive number of CRS units, "
                f"at most {MAX_RESOLUTION:g}"
            )
        if not 1 <= self.tile <= MAX_TILE or self.tile != int(self.tile):
            raise RecipeError(
                f"grid.tile is {self.tile}; expected a whole number, at least 1, at most {MAX_TILE}"
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
        self._check_unit()

    def _check_unit(self) -> None:
        """Refuse a resolution in another unit than the CRS's: metres for degrees, or reverse."""
        if self._level:
            return
        crs = self._spec.crs.proj
        if crs.is_geocentric or crs.is_vertical:
            raise RecipeError(
                f"grid.crs is {self.crs}, a {crs.type_name}, which has no plane of x and y; use "
                "degrees, or a projected CRS such as a UTM zone"
            )
        axis = crs.axis_info[0] if crs.axis_info else None
        if crs.is_geographic and self.resolution > _MOST_DEGREES:
            about = self.resolution / _DEGREE_METRES
            raise RecipeError(
                f"grid.resolution is {self.resolution:g}, and {self.crs} counts degrees; if it is "
                f"meant in metres, use about {about:.2g}, or a CRS in metres such as a UTM zone"
            )
        metres = self.resolution * (axis.unit_conversion_factor if axis else 1.0)
        if crs.is_projected and not _LEAST_METRES <= metres <= _MOST_METRES:
            unit = axis.unit_name if axis else "metre"
            about = self.resolution * _DEGREE_METRES / (axis.unit_conversion_factor if axis else 1)
            meant = f"; if it is meant in degrees, use about {about:.2g}" if metres < 1 else ""
            raise RecipeError(
                f"grid.resolution is {self.resolution:g}, and {self.crs} counts in {unit}: a pixel "
                f"of {metres:.3g} m{meant}; expected {_LEAST_METRES:g} to {_MOST_METRES:g} m"
            )

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        return type(self), (self.crs, self.resolution, self.tile, self.origin, self._level)

    @property
    def pixel_width(self) -> float:
        """Width of a pixel in metres, by the CRS's unit; in degrees where it counts those."""
        crs = self._spec.crs.proj
        if crs.is_geographic or not crs.axis_info:
            return self.resolution
        return float(self.resolution * crs.axis_info[0].unit_conversion_factor)

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
            When the GeoBox has another CRS or resolution, pixels that are not square, or lies
            between pixels.
        """
        affine, res = geobox.affine, self.resolution
        col0 = (affine.c - self.origin[0]) / res
        row0 = (self.origin[1] - affine.f) / res
        if geobox.crs != self._spec.crs:
            self._refuse(geobox, f"is in {crs_name(geobox.crs)}", "reproject it")
        if affine.e > 0 or affine.a < 0 or affine.b or affine.d:
            self._refuse(geobox, "is not north up", "turn it: rows run south, columns east")
        if not math.isclose(affine.a, -affine.e, rel_tol=1e-9):
            self._refuse(
                geobox,
                f"has pixels {affine.a:g} wide and {-affine.e:g} high",
                "maps are made on square pixels: load onto "
                "rsscale.Grid(crs, resolution).geobox(area)",
            )
        if not (
            math.isclose(affine.a, res, rel_tol=1e-9) and math.isclose(affine.e, -res, rel_tol=1e-9)
        ):
            size = f"{affine.a:.9g} x {-affine.e:.9g}"
            self._refuse(geobox, f"has pixels of {size}", f"square pixels of {res:.9g} are needed")
        if not (abs(col0 - round(col0)) < _ON_EDGE and abs(row0 - round(row0)) < _ON_EDGE):
            origin = tuple(float(f"{v % res:.9g}") for v in (affine.c, affine.f))
            self._refuse(
                geobox,
                "lies between its pixels",
                f"if pixels begin there, say so with origin={origin}, in a recipe grid.origin",
            )
        height, width = geobox.shape
        return PixelBox(round(row0), round(col0), round(row0) + height, round(col0) + width)

    def _refuse(self, geobox: GeoBox, wrong: str, remedy: str) -> NoReturn:
        corner = f"({geobox.affine.c:.12g}, {geobox.affine.f:.12g})"
        raise AreaError(
            f"a box of {geobox.shape[0]} x {geobox.shape[1]} px with its corner at {corner} does "
            f"not lie on the pixels of the grid of {crs_name(self.crs)}, resolution "
            f"{self.resolution:.9g}, origin {self.origin}: it {wrong}; {remedy}"
        )

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
        projected = project_area(dense, self._spec.crs)
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

    def geobox(self, area: AreaLike) -> GeoBox:
        """The GeoBox of whole grid pixels around an area.

        Parameters
        ----------
        area : Geometry, geometry-like, path or (west, south, east, north)
            Anything that :func:`rsscale.geo.area.read_area` takes, with the same refusals.

        Returns
        -------
        odc.geo.geobox.GeoBox
            On this grid's pixels, in its CRS.

        Raises
        ------
        AreaError
            When it cannot be read as an area, or not be projected to the grid's CRS.
        """
        shape = area_in_own_crs(area)
        return self.geobox_of(self.box(joined(shape) if self._spec.crs.geographic else shape))

    def at_level(self, level: int) -> Grid:
        """The grid of an overview: the same origin and tile width, pixels ``2**level`` as wide."""
        if level == 0:
            return self
        return replace(self, resolution=self.resolution * 2**level, _level=self._level + level)

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
        # Most of a country lies inside: blocks of tiles are tested before smaller ones, and single
        # tiles only along its border.
        hit = np.zeros((len(rows), len(cols)), bool)
        size = _TOGETHER
        row, col = (part.ravel() for part in np.mgrid[: len(rows) : size, : len(cols) : size])
        while len(row):
            row1, col1 = np.minimum(row + size, len(rows)), np.minimum(col + size, len(cols))
            some, whole = self._overlap(
                shape, rows[row], rows[row1 - 1] + self.tile, cols[col], cols[col1 - 1] + self.tile
            )
            if size == 1:
                hit[row[some], col[some]] = True
                break
            for place in zip(row[whole], row1[whole], col[whole], col1[whole], strict=True):
                hit[place[0] : place[1], place[2] : place[3]] = True
            size //= _PARTS
            down, right = size * np.mgrid[:_PARTS, :_PARTS].reshape(2, -1, 1)
            undecided = some & ~whole
            row, col = (row[undecided] + down).ravel(), (col[undecided] + right).ravel()
            there = (row < len(rows)) & (col < len(cols))
            row, col = row[there], col[there]
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
            f"{self.crs} at {self.resolution:g}, tile {self.tile} px, "
            f"origin ({self.origin[0]:g}, {self.origin[1]:g})"
        )


def _bounds(area: Geometry) -> str:
    return "[" + ", ".join(f"{v:.6g}" for v in area.boundingbox.bbox) + f"] ({area.crs})"
