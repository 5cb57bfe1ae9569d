"""Locate a file on the output grid, and decide whether it can be read without warping."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform as warp_points

from rsscale.errors import AreaError, ReadError
from rsscale.geo.lattice import PixelBox

_ON_PIXEL = 1e-4  # output pixels; a grid that is off by less is the same grid
_MICRO = 1_000_000  # the sub-pixel phase is counted in millionths of a pixel
_SAMPLES = 33  # points along each side of a file that are projected

Floats = npt.NDArray[np.float64]
_Number = TypeVar("_Number", float, Floats)


@dataclass(frozen=True)
class OutputGrid:
    """The lattice of output pixels, counted from the CRS's origin; no window in it.

    Two cubes on the same grid have equal ``OutputGrid`` to the last bit, whatever their
    windows are: resolution is taken as it is, and the phase is rounded to a millionth.

    Attributes
    ----------
    crs : str
        As rasterio reads it.
    res_x, res_y : float
        Positive, CRS units a pixel.
    phase_x, phase_y : int
        Where pixel edges lie, in millionths of a pixel from the CRS's origin, east and south.
    """

    crs: str
    res_x: float
    res_y: float
    phase_x: int
    phase_y: int

    @classmethod
    def of(cls, geobox: GeoBox) -> tuple[Self, PixelBox]:
        """The grid of a GeoBox, and the pixels of it that the GeoBox covers.

        Raises
        ------
        AreaError
            When the GeoBox has no CRS or is not north-up.
        """
        affine = geobox.affine
        if geobox.crs is None or affine.b or affine.d or affine.a <= 0 or affine.e >= 0:
            raise AreaError(
                f"a GeoBox with CRS {geobox.crs} and transform {tuple(affine)[:6]} cannot be "
                "loaded; expected a CRS and a north-up grid without rotation"
            )
        col, phase_x = divmod(round(affine.c / affine.a * _MICRO), _MICRO)
        row, phase_y = divmod(round(affine.f / affine.e * _MICRO), _MICRO)
        height, width = geobox.shape
        epsg = geobox.crs.epsg
        crs = f"EPSG:{epsg}" if epsg else geobox.crs.to_wkt()
        grid = cls(crs, affine.a, -affine.e, phase_x, phase_y)
        return grid, PixelBox(row, col, row + height, col + width)

    def transform(self, box: PixelBox) -> Affine:
        """The affine transform of a box, from integers, so that its bits depend on nothing else."""
        x = (box.col0 + self.phase_x / _MICRO) * self.res_x
        y = -(box.row0 + self.phase_y / _MICRO) * self.res_y
        return Affine(self.res_x, 0.0, x, 0.0, -self.res_y, y)

    def goes_round(self, box: PixelBox) -> bool:
        """Whether a box of a grid in degrees reaches beyond 180 degrees of longitude."""
        left, width = self.transform(box).c, box.shape[1] * self.res_x
        return (left < -180 or left + width > 180) and bool(parse_crs(self.crs).is_geographic)

    def position(self, x: _Number, y: _Number) -> tuple[_Number, _Number]:
        """``(row, col)`` of coordinates of the CRS, in pixels of the lattice."""
        return -y / self.res_y - self.phase_y / _MICRO, x / self.res_x - self.phase_x / _MICRO


@dataclass(frozen=True)
class Placement:
    """Location of a file on an output grid.

    Attributes
    ----------
    zoom : (int, int) or None
        Output rows and columns per source pixel when the pixels nest; ``None`` otherwise.
    box : PixelBox or None
        What the file covers, exactly when ``zoom`` is given, else generously; ``None`` when
        it is not known.
    south_up : bool
        Whether the first row of a nested file is its southernmost.
    """

    zoom: tuple[int, int] | None
    box: PixelBox | None
    south_up: bool = False

    def nests(self, window: PixelBox) -> bool:
        """Whether all of a box lies in a file that is read without a warp."""
        return self.zoom is not None and self.box is not None and window & self.box == window


def locate_raster(
    grid: OutputGrid, crs: CRS, transform: Affine, shape: tuple[int, int], method: str
) -> Placement:
    """Decide between a direct read and a warp; the answer is the same for every window."""
    if crs == parse_crs(grid.crs) and not (transform.b or transform.d):
        south_up = transform.e > 0
        upright = _turned(transform, shape[0]) if south_up else transform
        zoom = _nesting(grid, upright, shape)
        # Only repeating a source pixel is exact for any window; a gradient across source
        # pixels is for the warp.
        if zoom == (1, 1) or (zoom and method == "nearest"):
            row, col = map(round, grid.position(upright.c, upright.f))
            height, width = shape[0] * zoom[0], shape[1] * zoom[1]
            return Placement(zoom, PixelBox(row, col, row + height, col + width), south_up)
    return Placement(None, _footprint(grid, crs, transform, shape))


def shrink(grid: OutputGrid, crs: CRS, transform: Affine, shape: tuple[int, int]) -> float:
    """Source pixels per output pixel where they are fewest, over the whole file.

    1 where the grids are alike, 6 where a file of 10 m is read at 60 m; 0 when the file
    reaches out of the output projection, where nothing can be said of all of it.
    """
    rows, cols = (np.linspace(0.5, n - 0.5, 5) for n in shape)
    row, col = (a.ravel() for a in np.meshgrid(rows, cols, indexing="ij"))
    points = np.array(
        [
            _positions(grid, crs, transform, row + down, col + across)
            for down, across in ((0, 0), (0, 1), (1, 0))
        ]
    )
    if not np.isfinite(points).all():
        return 0.0
    here, right, below = points
    per_pixel = np.stack([below - here, right - here], axis=-1).transpose(1, 0, 2)
    widest = np.linalg.svd(per_pixel, compute_uv=False).max()
    return float(1 / widest) if widest > 0 else 0.0


def _turned(transform: Affine, height: int) -> Affine:
    """A south-up transform of ``height`` rows, counted from its north-west corner."""
    a, _, c, _, e, f = tuple(transform)[:6]
    return Affine(a, 0.0, c, 0.0, -e, f + height * e)


def _nesting(grid: OutputGrid, transform: Affine, shape: tuple[int, int]) -> tuple[int, int] | None:
    """Output pixels per source pixel when all edges of the source lie on output edges."""
    zoom = round(-transform.e / grid.res_y), round(transform.a / grid.res_x)
    if min(zoom) < 1:
        return None
    row0, col0 = grid.position(transform.c, transform.f)
    row1, col1 = grid.position(*corner(transform, shape[0], shape[1]))
    off = [
        row0 - round(row0),
        col0 - round(col0),
        row1 - round(row0) - shape[0] * zoom[0],
        col1 - round(col0) - shape[1] * zoom[1],
    ]
    return zoom if max(map(abs, off)) < _ON_PIXEL else None


def _footprint(
    grid: OutputGrid, crs: CRS, transform: Affine, shape: tuple[int, int]
) -> PixelBox | None:
    """Box that a warped file can reach, with a margin; ``None`` when it is not known.

    Sampled inside too, not along the edges only: of a raster around a pole, or of one much
    wider than a UTM zone, the edges say little. A raster across the antimeridian is taken
    to go around the world on a grid in degrees.
    """
    rows, cols = (np.linspace(0, n, _SAMPLES) for n in shape)
    row, col = np.meshgrid(rows, cols, indexing="ij")
    positions = np.array(_positions(grid, crs, transform, row.ravel(), col.ravel()))
    if not np.isfinite(positions).all():
        return None
    positions = positions.reshape(2, *row.shape)
    # Between two samples the true edge bows out by a part of their distance.
    steps = [np.abs(np.diff(positions, axis=axis)).max(axis=(1, 2)) for axis in (1, 2)]
    margin = 64 + np.ceil(np.max(steps, axis=0) / 4)
    (row0, col0), (row1, col1) = positions.min(axis=(1, 2)), positions.max(axis=(1, 2))
    low = math.floor(row0 - margin[0]), math.floor(col0 - margin[1])
    return PixelBox(*low, math.ceil(row1 + margin[0]), math.ceil(col1 + margin[1]))


def _positions(
    grid: OutputGrid, crs: CRS, transform: Affine, rows: Floats, cols: Floats
) -> tuple[Floats, Floats]:
    """Rows and columns of the lattice at pixels of a file; not finite where there are none."""
    xs, ys = warped_points(crs, parse_crs(grid.crs), *corner(transform, rows, cols))
    return grid.position(xs, ys)


def corner(transform: Affine, row: _Number, col: _Number) -> tuple[_Number, _Number]:
    """``(x, y)`` of the north-west corners of pixels."""
    # affine 3 deprecates ``transform * (col, row)`` for ``@``, which affine 2 lacks.
    x = transform.a * col + transform.b * row + transform.c
    y = transform.d * col + transform.e * row + transform.f
    return x, y


def warped_points(source: CRS, target: CRS, xs: Floats, ys: Floats) -> tuple[Floats, Floats]:
    """Points in another CRS; NaN for all of them when one has no place there."""
    if source == target:
        return xs, ys
    try:
        x, y = warp_points(source, target, xs, ys)
    except Exception:  # noqa: BLE001 -- GDAL's errors have no public base
        return np.full_like(xs, np.nan), np.full_like(ys, np.nan)
    return np.asarray(x), np.asarray(y)


@lru_cache(maxsize=64)
def parse_crs(text: str) -> CRS:
    """A CRS from text, parsed once a process: parsing takes longer than reading a block.

    Raises
    ------
    ReadError
        When GDAL does not know it.
    """
    try:
        return CRS.from_user_input(text)
    except CRSError:
        raise ReadError(
            f"{text[:80]!r} is no CRS; expected a code such as 'EPSG:32631', or WKT: correct the "
            "item's proj: fields"
        ) from None
