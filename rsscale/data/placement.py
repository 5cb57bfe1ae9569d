"""Where a file lies on the output grid, and whether it can be read without warping."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.crs import CRS
from rasterio.warp import transform_bounds

from rsscale.errors import AreaError
from rsscale.grid import PixelBox

_ON_PIXEL = 1e-4  # output pixels; a grid that is off by less is the same grid
_MICRO = 1_000_000  # the sub-pixel phase is counted in millionths of a pixel


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

    def position(self, x: float, y: float) -> tuple[float, float]:
        """``(row, col)`` of a coordinate of the CRS, in pixels of the lattice."""
        return -y / self.res_y - self.phase_y / _MICRO, x / self.res_x - self.phase_x / _MICRO


@dataclass(frozen=True)
class Placement:
    """Where a file lies on an output grid.

    Attributes
    ----------
    zoom : (int, int) or None
        Output rows and columns per source pixel when the pixels nest; ``None`` otherwise.
    box : PixelBox or None
        What the file covers, exactly when ``zoom`` is given, else generously; ``None`` when
        it is not known.
    """

    zoom: tuple[int, int] | None
    box: PixelBox | None


def place(
    grid: OutputGrid, crs: CRS, transform: Affine, shape: tuple[int, int], method: str
) -> Placement:
    """Decide between a direct read and a warp; the answer is the same for every window."""
    if crs == parse_crs(grid.crs) and not (transform.b or transform.d):
        zoom = _nesting(grid, transform, shape)
        # Only repeating a source pixel is exact for any window; a gradient across source
        # pixels is for the warp.
        if zoom == (1, 1) or (zoom and method == "nearest"):
            row, col = map(round, grid.position(transform.c, transform.f))
            height, width = shape[0] * zoom[0], shape[1] * zoom[1]
            return Placement(zoom, PixelBox(row, col, row + height, col + width))
    return Placement(None, _footprint(grid, crs, transform, shape))


def _nesting(grid: OutputGrid, transform: Affine, shape: tuple[int, int]) -> tuple[int, int] | None:
    """Output pixels per source pixel when all edges of the source lie on output edges."""
    zoom = round(-transform.e / grid.res_y), round(transform.a / grid.res_x)
    if min(zoom) < 1:
        return None
    row0, col0 = grid.position(transform.c, transform.f)
    row1, col1 = grid.position(*_corner(transform, shape[0], shape[1]))
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
    """What a warped file can reach, generously; ``None`` when that cannot be told."""
    corners = [_corner(transform, r, c) for r in (0, shape[0]) for c in (0, shape[1])]
    xs, ys = zip(*corners, strict=True)
    try:
        left, bottom, right, top = transform_bounds(
            crs, parse_crs(grid.crs), min(xs), min(ys), max(xs), max(ys), densify_pts=21
        )
    except Exception:  # noqa: BLE001 -- outside the projection's domain; then the warp decides
        return None
    if not all(map(math.isfinite, (left, bottom, right, top))) or left > right:
        return None
    row0, col0 = grid.position(left, top)
    row1, col1 = grid.position(right, bottom)
    # Edges bow out between the projected points, and kernels reach past the edge.
    margin = 64 + math.ceil(0.01 * max(row1 - row0, col1 - col0))
    box = PixelBox(math.floor(row0), math.floor(col0), math.ceil(row1), math.ceil(col1))
    return box.pad(margin)


def _corner(transform: Affine, row: int, col: int) -> tuple[float, float]:
    # affine 3 deprecates ``transform * (col, row)`` for ``@``, which affine 2 lacks.
    x = transform.a * col + transform.b * row + transform.c
    y = transform.d * col + transform.e * row + transform.f
    return x, y


@lru_cache(maxsize=64)
def parse_crs(text: str) -> CRS:
    """A CRS from text, parsed once a process: parsing takes longer than reading a block."""
    return CRS.from_user_input(text)
