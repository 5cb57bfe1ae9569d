"""Metres on the ground: how many a unit of a CRS is at a place, and pixels that they are.

A unit of a CRS is a metre on the ground only where the projection is true to scale: a metre of Web
Mercator at 60 degrees north is half a metre, a foot is no metre anywhere, and a degree is none.
Whatever a person gives in metres passes through here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
from odc.geo.geobox import GeoBox

from rsscale.errors import AreaError

_Array = npt.NDArray[np.float64]

# Half the length over which a projection's derivatives are taken.
STEP_METRES = 100.0
# A projection whose scale is this near to 1 counts as true: UTM, national grids, most of a
# continent's. Where it does, a unit is what the CRS says it is, everywhere alike.
_TRUE = 0.02
# Cosine of the angle between the axes on the ground. Beyond three degrees off the right angle, as
# in a sinusoidal grid, a unit is as long as in its shortest direction, so that a length in metres
# is reached in all of them; beyond thirty that says too little.
_SKEW, _MOST_SKEW = 0.05, 0.5
# Within a cell of so many pixels and metres one scale is used for all pixels: the cells lie on the
# CRS, so that no value depends on the window that is read.
_CELL_PIXELS = 512
_CELL_METRES = 20_000.0
_CELLS_TRIED = 65


@dataclass(frozen=True)
class GroundScale:
    """Metres on the ground of a unit of a CRS around a place.

    Attributes
    ----------
    x, y : float
        Along the axes of the CRS.
    """

    x: float
    y: float

    def pixels(self, metres: float, resolution: float) -> tuple[int, int]:
        """Rows and columns that a length is, to the nearest pixel, at least one."""
        return (
            max(round(metres / (resolution * self.y)), 1),
            max(round(metres / (resolution * self.x)), 1),
        )


@dataclass(frozen=True)
class PixelRadii:
    """A length on the ground in pixels, for each pixel of a window.

    Attributes
    ----------
    radii : tuple of (int, int)
        Rows and columns, rounded up; a single one where it is the same everywhere.
    which : uint8 array (rows, cols) or None
        Index of each pixel's radius; None where there is one.
    """

    radii: tuple[tuple[int, int], ...]
    which: npt.NDArray[np.uint8] | None = None

    @property
    def largest(self) -> tuple[int, int]:
        """Rows and columns that hold all of them."""
        rows, cols = zip(*self.radii, strict=True)
        return max(rows), max(cols)


def ground_scale(crs: str, x: float, y: float) -> GroundScale:
    """The scale at a place, in the CRS's own coordinates.

    Raises
    ------
    AreaError
        Where the CRS has no ground, or its axes are not perpendicular on it.
    """
    along_x, along_y = ground_scales(crs, np.array([x]), np.array([y]))
    return GroundScale(float(along_x[0]), float(along_y[0]))


def ground_scales(crs: str, x: _Array, y: _Array) -> tuple[_Array, _Array]:
    """Metres on the ground of a unit along x and along y, at several places.

    Raises
    ------
    AreaError
        See :func:`ground_scale`.
    """
    along = _scales(str(crs), x, y)
    if not all((np.isfinite(v) & (v > 0)).all() for v in along):
        raise AreaError(
            f"{_crs(str(crs)).name} has no ground here, so that metres can't be measured; map on a "
            "CRS that covers the area"
        )
    return along


def scale_of(geobox: GeoBox) -> GroundScale:
    """The scale at the centre of a GeoBox."""
    height, width = geobox.shape
    x, y = geobox.affine * (width / 2, height / 2)
    return ground_scale(str(geobox.crs), x, y)


def true_north(crs: str, x: float, y: float) -> float:
    """Degrees from the y axis of a CRS to true north at a place, clockwise: its convergence."""
    there = _crs(crs)
    if there.is_geographic:
        return 0.0
    to_degrees = pyproj.Transformer.from_crs(there, there.geodetic_crs, always_xy=True)
    lon, lat = to_degrees.transform(x, y)
    step = 1e-4 if lat < 89 else -1e-4
    east, north = to_degrees.transform(lon, lat + step, direction="INVERSE")
    angle = math.degrees(math.atan2((east - x) * step, (north - y) * step))
    return angle if math.isfinite(angle) else 0.0


def pixel_radii(geobox: GeoBox, metres: float) -> PixelRadii:
    """A length on the ground as pixels of a window, rounded up.

    Parameters
    ----------
    geobox : GeoBox
    metres : float

    Raises
    ------
    AreaError
        See :func:`ground_scale`.
    """
    cells = _Cells.of(geobox)
    rows, row_of = np.unique(cells.rows(geobox), return_inverse=True)
    cols, col_of = np.unique(cells.cols(geobox), return_inverse=True)
    radii, index = np.unique(cells.radii(rows, cols, metres), axis=0, return_inverse=True)
    unique_radii = tuple((int(r), int(c)) for r, c in radii)
    if len(unique_radii) == 1:
        return PixelRadii(unique_radii)
    which = index.reshape(len(rows), len(cols)).astype(np.uint8)
    return PixelRadii(unique_radii, which[row_of[:, None], col_of[None, :]])


def largest_radius(geobox: GeoBox, metres: float) -> int:
    """The most pixels that a length is anywhere in a window, of any size, rounded up."""
    cells = _Cells.of(geobox)
    rows, cols = (
        np.unique(np.linspace(index.min(), index.max(), _CELLS_TRIED).round().astype(int))
        for index in (cells.rows(geobox), cells.cols(geobox))
    )
    return int(cells.radii(rows, cols, metres).max())


@dataclass(frozen=True)
class _Cells:
    """Cells of the CRS's plane, counted from its origin, in which one scale is used."""

    crs: str
    width: float  # units of the CRS
    resolution: tuple[float, float]  # of a row and of a column

    @classmethod
    def of(cls, geobox: GeoBox) -> _Cells:
        # From coordinates a resolution may come back with another last digit.
        row, col = (float(f"{abs(r):.12g}") for r in (geobox.affine.e, geobox.affine.a))
        unit = _nominal(str(geobox.crs))
        pixels = _CELL_PIXELS
        while pixels > 1 and pixels * max(row, col) * unit > _CELL_METRES:
            pixels //= 2
        return cls(str(geobox.crs), pixels * max(row, col), (row, col))

    def rows(self, geobox: GeoBox) -> npt.NDArray[np.int64]:
        """The cell of each row of a window."""
        return self._index(geobox.affine.f, geobox.affine.e, geobox.shape[0])

    def cols(self, geobox: GeoBox) -> npt.NDArray[np.int64]:
        """The cell of each column of a window."""
        return self._index(geobox.affine.c, geobox.affine.a, geobox.shape[1])

    def _index(self, start: float, step: float, count: int) -> npt.NDArray[np.int64]:
        centres = start + (np.arange(count) + 0.5) * step
        # A centre that lies on a cell's edge, but for rounding, belongs to the cell beyond.
        index: npt.NDArray[np.int64] = np.floor(centres / self.width + 1e-9).astype(np.int64)
        return index

    def radii(
        self, rows: npt.NDArray[np.int64], cols: npt.NDArray[np.int64], metres: float
    ) -> npt.NDArray[np.int64]:
        """Radius of each cell ``(cells, 2)``, in rows and columns of pixels."""
        y, x = np.meshgrid((rows + 0.5) * self.width, (cols + 0.5) * self.width, indexing="ij")
        along_x, along_y = _scales(self.crs, x.ravel(), y.ravel())
        row, col = self.resolution
        lengths = np.stack([along_y * row, along_x * col], axis=-1)
        # Where the CRS has no ground there is no pixel to drop either.
        lengths[~(lengths > 0)] = min(self.resolution) * _nominal(self.crs)
        # A radius that is a whole number of pixels but for rounding stays that number.
        radii: npt.NDArray[np.int64] = np.ceil(metres / lengths - 1e-9).astype(np.int64)
        return radii


def _scales(name: str, x: _Array, y: _Array) -> tuple[_Array, _Array]:
    """Metres of a unit along x and along y, at places; NaN where there is no ground."""
    crs = _crs(name)
    place, step = positions(name)
    east = (place(x + step, y) - place(x - step, y)) / (2 * step)
    north = (place(x, y + step) - place(x, y - step)) / (2 * step)
    along_x, along_y = np.linalg.norm(east, axis=-1), np.linalg.norm(north, axis=-1)
    across = (east * north).sum(axis=-1)
    with np.errstate(invalid="ignore"):
        skew = np.abs(across) / (along_x * along_y)
    if (skew > _MOST_SKEW).any():
        off = math.degrees(math.asin(min(float(np.nanmax(skew)), 1.0)))
        raise AreaError(
            f"the axes of {crs.name} are {off:.0f} degrees off the right angle on the ground here, "
            "so that metres can't be measured in pixels; map on a CRS made for the area, such as "
            "its UTM zone"
        )
    shortest = _shortest(along_x, along_y, across)
    along_x, along_y = (np.where(skew > _SKEW, shortest, v) for v in (along_x, along_y))
    if crs.is_projected:
        unit = _nominal(name)
        true = (np.abs(along_x / unit - 1) <= _TRUE) & (np.abs(along_y / unit - 1) <= _TRUE)
        along_x, along_y = np.where(true, unit, along_x), np.where(true, unit, along_y)
    return along_x, along_y


def _shortest(along_x: _Array, along_y: _Array, across: _Array) -> _Array:
    """Length of a unit in the direction in which it is shortest: the lesser singular value."""
    total, difference = along_x**2 + along_y**2, along_x**2 - along_y**2
    length: _Array = np.sqrt(np.maximum(total - np.hypot(difference, 2 * across), 0) / 2)
    return length


def pixel_width(geobox: GeoBox) -> float:
    """Width of a pixel at the centre of a GeoBox: metres on the ground; degrees as they are.

    What the CRS says where a unit has no one length on the ground.
    """
    resolution, crs = abs(float(geobox.affine.a)), _crs(str(geobox.crs))
    if crs.is_geographic:
        return resolution
    try:
        scale = scale_of(geobox)
    except AreaError:
        return resolution * _nominal(str(geobox.crs))
    return resolution * (scale.x + scale.y) / 2


@lru_cache(maxsize=8)
def positions(name: str) -> tuple[Callable[[Any, Any], _Array], float]:
    """For places in a CRS: their positions in space, metres; and a short step, in its units.

    Positions and not longitude and latitude, which have no derivative at a pole.

    Raises
    ------
    AreaError
        When the CRS has no ellipsoid.
    """
    crs = _crs(name)
    geodetic, ellipsoid = crs.geodetic_crs, crs.ellipsoid
    if geodetic is None or ellipsoid is None:
        raise AreaError(f"{crs.name} has no ellipsoid, so that metres on the ground are not known")
    to_degrees = pyproj.Transformer.from_crs(crs, geodetic, always_xy=True)
    radians = geodetic.axis_info[0].unit_conversion_factor
    a, b = ellipsoid.semi_major_metre, ellipsoid.semi_minor_metre

    def place(x: Any, y: Any) -> _Array:
        lon, lat = (np.asarray(v) * radians for v in to_degrees.transform(x, y))
        lon, lat = (np.where(np.isfinite(v), v, np.nan) for v in (lon, lat))
        normal = a**2 / np.hypot(a * np.cos(lat), b * np.sin(lat))
        flat = normal * np.cos(lat)
        up = normal * (b / a) ** 2 * np.sin(lat)
        return np.stack([flat * np.cos(lon), flat * np.sin(lon), up], axis=-1)

    return place, STEP_METRES / _nominal(name)


def _nominal(name: str) -> float:
    """Metres of a unit as the CRS says; of a degree those on a meridian."""
    crs = _crs(name)
    unit = float(crs.axis_info[0].unit_conversion_factor)
    if not crs.is_geographic:
        return unit
    ellipsoid = crs.ellipsoid
    return unit * (ellipsoid.semi_major_metre if ellipsoid is not None else 6.4e6)


@lru_cache(maxsize=8)
def _crs(name: str) -> pyproj.CRS:
    return pyproj.CRS.from_user_input(name)
