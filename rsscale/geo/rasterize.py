"""Burn polygons into pixels of the grid, with values that do not depend on the box.

GDAL burns a polygon line by line from the window's corner; where an edge passes through a
pixel's centre, rounding may give another result in another window. So shapes are burnt in fixed
blocks that are anchored to the grid, and cropped.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.geo.grid import Grid
from rsscale.geo.lattice import WARP_BLOCK, PixelBox

# rasterio changes the process's filters of warnings meanwhile, which are not made for threads.
_BURNING = threading.Lock()


def rasterize(
    shapes: Sequence[tuple[shapely.Geometry, int]],
    grid: Grid,
    box: PixelBox,
    *,
    fill: int,
    all_touched: bool = False,
    dtype: str = "uint8",
) -> npt.NDArray[Any]:
    """Burn values of shapes into the pixels whose centre they hold.

    Parameters
    ----------
    shapes : sequence of (geometry, value)
        In the grid's CRS, values of the type; where they overlap, the later one wins. A point
        takes the pixel that it lies in.
    grid : Grid
    box : PixelBox
        Pixels to return.
    fill : int
        Where no shape is.
    all_touched : bool
        Burn every pixel that a shape touches.
    dtype : str
        ``"uint8"`` or ``"int32"``.

    Returns
    -------
    array (rows, cols)
    """
    out = np.full(box.shape, fill, dtype)
    if not shapes:
        return out
    tree = shapely.STRtree([shape for shape, _ in shapes])
    for block in box.blocks(WARP_BLOCK):
        hits = sorted(int(i) for i in tree.query(_extent(grid, block), predicate="intersects"))
        if hits:
            part = block & box
            burnt = _burn(
                [shapes[i] for i in hits], grid, block, fill, all_touched=all_touched, dtype=dtype
            )
            out[part.slices(box)] = burnt[part.slices(block)]
    return out


def area_mask(area: shapely.Geometry, grid: Grid, box: PixelBox) -> npt.NDArray[np.bool_]:
    """Which pixels of a box have their centre inside an area.

    Parameters
    ----------
    area : shapely geometry
        In the grid's CRS; holes are outside.
    grid : Grid
    box : PixelBox
        Pixels to return.

    Returns
    -------
    bool array (rows, cols)
    """
    out = np.zeros(box.shape, bool)
    if box.empty:
        return out
    # A copy of its own to prepare: threads share the area, and GEOS builds the index of a
    # prepared geometry when it is first asked, without a lock.
    near = shapely.intersection(area, _extent(grid, box.snap(WARP_BLOCK)))
    shapely.prepare(near)
    for block in box.blocks(WARP_BLOCK):
        extent = _extent(grid, block)
        part = block & box
        if near.covers(extent):
            out[part.slices(box)] = True
        elif near.intersects(extent):
            # Cut from the area itself and not from what is near, which depends on the box.
            shapes = [(polygon, 1) for polygon in _cut(area, _extent(grid, block.pad(1)))]
            if shapes:
                burnt = _burn(shapes, grid, block, 0)
                out[part.slices(box)] = burnt[part.slices(block)] == 1
    return out


def raster_features() -> Any:
    """The module ``rasterio.features``, whose images in memory do not warn of having no transform.

    rasterio keeps that warning back by the process's filters of warnings, while it works. Another
    thread that changes the filters meanwhile, as a median of xarray does, brings it to light. It
    may also undo the filter that is set here, so this is asked for again at each use.
    """
    from rasterio import features
    from rasterio.errors import NotGeoreferencedWarning

    module = r"rasterio\.features"
    ignored = ("ignore", None, NotGeoreferencedWarning, re.compile(module), 0)
    if ignored not in warnings.filters:
        warnings.filterwarnings("ignore", category=NotGeoreferencedWarning, module=module)
    return features


def _cut(area: shapely.Geometry, extent: shapely.Geometry) -> list[shapely.Polygon]:
    """Polygons of the intersection; lines and points, where the two only touch, are left out."""
    parts = shapely.get_parts(shapely.get_parts(shapely.intersection(area, extent)))
    return [part for part in parts if part.geom_type == "Polygon"]


def _extent(grid: Grid, box: PixelBox) -> shapely.Geometry:
    return grid.geobox_of(box).extent.geom


def _burn(
    shapes: Sequence[tuple[shapely.Geometry, int]],
    grid: Grid,
    block: PixelBox,
    fill: int,
    *,
    all_touched: bool = False,
    dtype: str = "uint8",
) -> npt.NDArray[Any]:
    with _BURNING:
        burnt: npt.NDArray[Any] = raster_features().rasterize(
            shapes,
            out_shape=block.shape,
            fill=fill,
            transform=grid.geobox_of(block).affine,
            all_touched=all_touched,
            dtype=dtype,
        )
    return burnt
