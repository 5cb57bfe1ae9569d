"""Read a raster file of class values on the grid's pixels: references and other maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import RasterioIOError
from rasterio.vrt import WarpedVRT

from rsscale.errors import RecipeError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import WARP_BLOCK, PixelBox
from rsscale.layers import NODATA
from rsscale.legend.values import class_values


class RasterOnGrid:
    """A raster of class values, read by boxes of the grid's pixels.

    Parameters
    ----------
    path : Path
        One band of whole numbers from 0 to 254, whatever the type; its own nodata, NaN and 255
        are no value.
    grid : Grid
        Each pixel takes the raster's value nearest to its centre. Where the grids differ, the
        raster is warped in fixed blocks, so that a value does not depend on the box.

    Raises
    ------
    RecipeError
        When the file is not a raster, has no CRS, several bands or scaled values.

    Notes
    -----
    :meth:`read` raises ModelError where values are no whole numbers from 0 to 254.
    """

    def __init__(self, path: Path, grid: Grid) -> None:
        self.path, self.grid = path, grid
        try:
            self._dataset = rasterio.open(path)
        except RasterioIOError as error:
            raise RecipeError(f"{path} can't be read as a raster: {error}") from None
        if self._dataset.count != 1 or self._dataset.crs is None:
            raise RecipeError(
                f"{path} has {self._dataset.count} bands and the CRS {self._dataset.crs}; expected "
                "one band of class values with a CRS"
            )

        if self._dataset.scales != (1.0,) or self._dataset.offsets != (0.0,):
            raise RecipeError(
                f"{path} has the scale {self._dataset.scales[0]} and offset "
                f"{self._dataset.offsets[0]}; expected class values as they are"
            )

    def read(self, box: PixelBox) -> npt.NDArray[np.uint8]:
        """Class values of a box, ``(rows, cols)``; 255 where the raster has none."""
        out = np.full(box.shape, NODATA, np.uint8)
        for block in box.blocks(WARP_BLOCK):
            part = block & box
            out[part.slices(box)] = self._block(block)[part.slices(block)]
        return out

    def _block(self, block: PixelBox) -> npt.NDArray[np.uint8]:
        height, width = block.shape
        nodata = self._dataset.nodata
        with WarpedVRT(
            self._dataset,
            crs=CRS.from_user_input(self.grid.crs),
            transform=self.grid.geobox_of(block).affine,
            height=height,
            width=width,
            resampling=Resampling.nearest,
            src_nodata=nodata,
            nodata=nodata,
            add_alpha=nodata is None,
        ) as vrt:
            values = vrt.read(1)
            inside = np.ones(block.shape, bool) if nodata is not None else vrt.read(vrt.count) != 0
        found = np.full(block.shape, NODATA, np.uint8)
        declared = () if nodata is None else (nodata,)
        found[inside] = class_values(values[inside], declared, what=str(self.path))
        return found
