"""The global pixel grid: tiles, model windows and fixed blocks, all anchored to the CRS.

A grid covers the whole plane of a CRS. A pixel has global indices ``(row, col)`` counted
from the grid's origin, rows growing south as in a raster; the pixel ``(0, 0)`` has its
north-west corner at the origin. Tiles, model windows and warp blocks are boxes of these
indices. None of them depends on the area that is mapped, so maps of different areas,
years and tile sizes line up pixel by pixel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, Self, get_args

from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry
from odc.geo.gridspec import GridSpec
from odc.geo.types import ixy_, res_, wh_, xy_

from rsscale.errors import AreaError, RecipeError, nearest

# A coordinate that lies this close to a pixel edge, in pixels, lies on it.
_ON_EDGE = 1e-6

Blend = Literal["trim", "hann"]
"""How windows of a model meet; see :class:`Lattice`."""


@dataclass(frozen=True, order=True)
class PixelBox:
    """A half-open box of global pixel indices: rows ``[row0, row1)``, columns ``[col0, col1)``.

    Rows grow south, columns grow east. A box may be empty.
    """

    row0: int
    col0: int
    row1: int
    col1: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels, never negative."""
        return max(self.row1 - self.row0, 0), max(self.col1 - self.col0, 0)

    @property
    def empty(self) -> bool:
        """Whether there is no pixel in the box."""
        return 0 in self.shape

    def pad(self, pixels: int) -> PixelBox:
        """The box with ``pixels`` more on every side."""
        return PixelBox(
            self.row0 - pixels, self.col0 - pixels, self.row1 + pixels, self.col1 + pixels
        )

    def __and__(self, other: PixelBox) -> PixelBox:
        """The intersection, possibly empty."""
        return PixelBox(
            max(self.row0, other.row0),
            max(self.col0, other.col0),
            min(self.row1, other.row1),
            min(self.col1, other.col1),
        )

    def __or__(self, other: PixelBox) -> PixelBox:
        """The smallest box around both."""
        return PixelBox(
            min(self.row0, other.row0),
            min(self.col0, other.col0),
            max(self.row1, other.row1),
            max(self.col1, other.col1),
        )

    def slices(self, inside: PixelBox) -> tuple[slice, slice]:
        """Row and column slices of this box in an array that covers ``inside``."""
        return (
            slice(self.row0 - inside.row0, self.row1 - inside.row0),
            slice(self.col0 - inside.col0, self.col1 - inside.col0),
        )

    def snap(self, size: int) -> PixelBox:
        """The smallest box of whole ``size`` px blocks of the global lattice around this one."""
        return PixelBox(
            self.row0 // size * size,
            self.col0 // size * size,
            -(-self.row1 // size) * size,
            -(-self.col1 // size) * size,
        )

    def blocks(self, size: int) -> Iterator[PixelBox]:
        """Whole blocks of the global ``size`` px lattice that touch this box, row by row."""
        if self.empty:
            return
        around = self.snap(size)
        for row in range(around.row0, around.row1, size):
            for col in range(around.col0, around.col1, size):
                yield PixelBox(row, col, row + size, col + size)


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
        """A name that is the same in every run and year, usable in a file name."""
        return f"x{self.ix}_y{self.iy}"


@dataclass(frozen=True)
class Lattice:
    """Model windows on a lattice anchored to the grid's origin.

    Window ``(i, j)`` belongs to rows ``[i·stride, (i+1)·stride)`` and the same of columns, its
    core, and reads ``halo`` px more on every side. The stride is never derived from a tile, so
    that a pixel is always predicted in the same windows, however the work was cut.

    Attributes
    ----------
    stride : int
        Distance of the windows, the width of a core, px.
    halo : int
        Context on each side, px.
    blend : str
        ``"trim"``: a pixel is what the one window says in whose core it lies. ``"hann"``: over
        the ``2·halo`` px around each window line the probabilities of the windows on its two
        sides are mixed by a raised cosine; needs ``2·halo <= stride``.

    Raises
    ------
    RecipeError
        When there are no such windows.
    """

    stride: int
    halo: int
    blend: Blend = "trim"

    def __post_init__(self) -> None:
        if self.stride < 1 or self.halo < 0:
            raise RecipeError(
                f"model windows have stride {self.stride} and halo {self.halo}; "
                "the stride must be at least 1 px and the halo at least 0"
            )
        if self.blend not in get_args(Blend):
            raise RecipeError(
                f"model windows are blended by {self.blend!r}; expected 'trim' or 'hann'"
                f"{nearest(self.blend, get_args(Blend))}"
            )
        if self.blend == "hann" and 2 * self.halo > self.stride:
            raise RecipeError(
                f"model windows have stride {self.stride} and halo {self.halo}; blending with "
                "'hann' needs a stride of at least 2 halos, so use a larger stride or 'trim'"
            )

    @property
    def window(self) -> int:
        """Width of a window as the model sees it, px."""
        return self.stride + 2 * self.halo

    @property
    def _reach(self) -> int:
        """How far beyond its core a window has a say, px."""
        return self.halo if self.blend == "hann" else 0

    def share(self, core: PixelBox) -> PixelBox:
        """Pixels that the window with this core has a say in: its core, or all it reads."""
        return core.pad(self._reach)

    def cores(self, box: PixelBox) -> Iterator[PixelBox]:
        """Cores of all windows that have a say in ``box``, row by row."""
        return (box if box.empty else box.pad(self._reach)).blocks(self.stride)

    def read_box(self, box: PixelBox) -> PixelBox:
        """All pixels that the windows with a say in ``box`` read."""
        return box.pad(self._reach).snap(self.stride).pad(self.halo)

    def redundancy(self, tile: int) -> float:
        """Pixels computed over pixels mapped, for tiles of ``tile`` px, windows' context included.

        A mean over all places that a tile can have on the lattice.
        """
        places = self.stride // math.gcd(self.stride, tile)
        count = sum(
            math.ceil(((k + 1) * tile + self._reach) / self.stride)
            - math.floor((k * tile - self._reach) / self.stride)
            for k in range(places)
        )
        return (count * self.window / (places * tile)) ** 2


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
        When the CRS is unknown, or resolution or tile are not positive.
    """

    crs: str
    resolution: float
    tile: int = 2048
    origin: tuple[float, float] = (0.0, 0.0)
    _spec: GridSpec = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.resolution) and self.resolution > 0):
            raise RecipeError(
                f"grid.resolution is {self.resolution}; it must be a positive number of CRS units"
            )
        if self.tile < 1:
            raise RecipeError(f"grid.tile is {self.tile}; it must be at least 1 pixel")
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
                f"a box of {geobox.crs}, resolution {affine.a:g}, corner "
                f"({affine.c:.9g}, {affine.f:.9g}) does not lie on the pixels of {self}"
            )
        height, width = geobox.shape
        return PixelBox(round(row0), round(col0), round(row0) + height, round(col0) + width)

    def project(self, area: Geometry) -> Geometry:
        """The area in the grid's CRS, its edges densified so that they stay where they were.

        Raises
        ------
        AreaError
            When the area cannot be projected into this CRS.
        """
        bounds = area.boundingbox
        step = max(bounds.span_x, bounds.span_y) / 256
        projected = area.to_crs(self._spec.crs, resolution=step) if step > 0 else area
        if projected.is_empty or not all(map(math.isfinite, projected.boundingbox.bbox)):
            raise AreaError(
                f"the area {_bounds(area)} cannot be projected to {self.crs}; "
                "choose a CRS that covers the area"
            )
        return projected

    def box(self, area: Geometry) -> PixelBox:
        """The smallest box of whole pixels that holds the area."""
        left, bottom, right, top = self.project(area).boundingbox.bbox
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

    def tile_at(self, ix: int, iy: int) -> Tile:
        """The tile with a GridSpec index; ``iy`` grows north."""
        return Tile(iy, ix, self.box_of(self._spec[ixy_(ix, iy)]))

    def tiles(self, area: Geometry) -> Iterator[Tile]:
        """Tiles that share some area with ``area``, from north to south and west to east.

        Lazy: a country of a hundred thousand tiles is never held in memory.
        """
        for boxes in self._tile_rows(area):
            for box in boxes:
                yield Tile(-box.row0 // self.tile - 1, box.col0 // self.tile, box)

    def extent(self, area: Geometry) -> tuple[PixelBox, int]:
        """The smallest box around all tiles of an area, and how many they are."""
        around, count = None, 0
        for boxes in self._tile_rows(area):
            row = boxes[0] | boxes[-1]
            around = row if around is None else around | row
            count += len(boxes)
        if around is None:
            raise AreaError(f"the area {_bounds(area)} holds no pixel of {self}")
        return around, count

    def _tile_rows(self, area: Geometry) -> Iterator[list[PixelBox]]:
        """Boxes of the tiles of an area, one row of tiles after another, from north."""
        import numpy as np
        import shapely

        shape = self.project(area).geom
        shapely.prepare(shape)
        around, width = self.box(area).snap(self.tile), self.tile * self.resolution
        cols = np.arange(around.col0, around.col1, self.tile)
        left = self.origin[0] + cols * self.resolution
        for row in range(around.row0, around.row1, self.tile):
            top = self.origin[1] - row * self.resolution
            extents = shapely.box(left, top - width, left + width, top)
            # Touching along an edge only is no overlap: such a tile would have no pixel.
            hit = shapely.intersects(shape, extents) & ~shapely.touches(shape, extents)
            if hit.any():
                yield [
                    PixelBox(row, col, row + self.tile, col + self.tile)
                    for col in cols[hit].tolist()
                ]

    def __str__(self) -> str:
        return (
            f"{self.crs} at {self.resolution:g}, tile {self.tile} px, "
            f"origin ({self.origin[0]:g}, {self.origin[1]:g})"
        )


def as_geometry(area: object) -> Geometry:
    """Any area as an odc-geo Geometry with a CRS.

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


def _bounds(area: Geometry) -> str:
    return "[" + ", ".join(f"{v:.6g}" for v in area.boundingbox.bbox) + f"] ({area.crs})"
