"""Read a raster file of class values on the grid's pixels: references and other maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT

from rsscale.errors import ReadError, RecipeError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import WARP_BLOCK, PixelBox
from rsscale.layers import NODATA
from rsscale.legend.values import class_values
from rsscale.read.file_pool import POOL, gdal_env


@contextmanager
def lent_raster(path: Path) -> Iterator[rasterio.DatasetReader]:
    """The open file, from the pool of imagery: an error that GDAL reports fails the read."""
    url = str(path)
    with gdal_env(url), POOL.lend(url) as opened:
        yield opened.dataset


def check_raster(dataset: rasterio.DatasetReader, path: Path) -> None:
    """Refuse a raster that can't be one of class values.

    Raises
    ------
    RecipeError
        When it has no CRS, no place on the ground, several bands or scaled values.
    """
    if dataset.count != 1 or dataset.crs is None:
        raise RecipeError(
            f"{path} has {dataset.count} bands and the CRS {dataset.crs}; expected "
            "one band of class values with a CRS"
        )
    if dataset.transform.is_identity:
        raise RecipeError(
            f"{path} does not say where it lies; expected a raster with a geotransform"
        )
    if dataset.scales != (1.0,) or dataset.offsets != (0.0,):
        raise RecipeError(
            f"{path} has the scale {dataset.scales[0]} and offset "
            f"{dataset.offsets[0]}; expected class values as they are"
        )


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
    codes : mapping of int to int, optional
        Class value of each code of the raster, which may then be any whole number; other codes
        are no value.

    Raises
    ------
    RecipeError
        When the file is not a raster, has no CRS, several bands or scaled values.

    Notes
    -----
    :meth:`read` raises ModelError where values are no whole numbers from 0 to 254, and ReadError
    for what GDAL reports as an error inside a read.
    """

    def __init__(self, path: Path, grid: Grid, codes: Mapping[int, int] | None = None) -> None:
        self.path, self.grid, self.codes = path, grid, codes
        try:
            with lent_raster(path) as dataset:
                check_raster(dataset, path)
        except (RasterioError, OSError, ReadError) as error:
            raise RecipeError(f"{path} can't be read as a raster: {error}") from None

    def read(self, box: PixelBox) -> npt.NDArray[np.uint8]:
        """Class values of a box, ``(rows, cols)``; 255 where the raster has none."""
        out = np.full(box.shape, NODATA, np.uint8)
        for block in box.blocks(WARP_BLOCK):
            part = block & box
            out[part.slices(box)] = self._block(block)[part.slices(block)]
        return out

    def _block(self, block: PixelBox) -> npt.NDArray[np.uint8]:
        try:
            with lent_raster(self.path) as dataset:
                values, inside, nodata = self._warped(dataset, block)
        except (RasterioError, OSError, ReadError) as error:
            reason = " ".join(str(error.__cause__ or error).split())
            raise ReadError(f"{self.path} could not be read: {reason}") from error
        codes = np.full(block.shape, NODATA, np.uint8)
        declared = () if nodata is None else (nodata,)
        if self.codes is None:
            codes[inside] = class_values(values[inside], declared, holder=str(self.path))
        else:
            codes[inside] = _translated(values[inside], self.codes, declared)
        return codes

    def _warped(
        self, dataset: rasterio.DatasetReader, block: PixelBox
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_], float | None]:
        """Values on the grid, where the raster has any, and its nodata."""
        height, width = block.shape
        nodata = dataset.nodata
        with WarpedVRT(
            dataset,
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
        return values, inside, nodata


def _translated(
    values: npt.NDArray[Any], codes: Mapping[int, int], nodata: tuple[float, ...]
) -> npt.NDArray[np.uint8]:
    """Class values of codes; 255 of all others."""
    out = np.full(values.shape, NODATA, np.uint8)
    for code in np.unique(values):
        if code in codes and code not in nodata:
            out[values == code] = codes[int(code)]
    return out
