"""Pixels of one open file for a box of the output grid, read directly or warped by GDAL.

Both ways give ``(data, masked)``: the file's own numbers, which may hold its nodata or NaN, and
a boolean mask of the same shape that is true where the file's mask says that there is no value;
``None`` where it has no mask.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from rsscale.geo.lattice import PixelBox
from rsscale.read.levels import OpenLevel
from rsscale.read.placement import Floats, OutputGrid, corner, parse_crs, warped_points

METHODS = {m: Resampling[m] for m in ("nearest", "bilinear", "cubic")}

_QUARTERS = np.array([0.25, 0.5, 0.75])
# Below this many source pixels an output pixel, a kernel reaches as far as on equal grids; the
# same bound as GDAL's own, which is 0.95 of the reciprocal.
_SAME_SCALE = 1 / 0.95

Pixels = tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]


def has_mask(dataset: rasterio.DatasetReader, band: int = 1) -> bool:
    """Whether the file holds a mask band, inside or beside it."""
    return MaskFlags.per_dataset in dataset.mask_flag_enums[band - 1]


def read_nested(raster: OpenLevel, inside: PixelBox, out: npt.NDArray[Any] | None = None) -> Pixels:
    """Pixels of a file whose grid nests in the output's, those of a coarser one repeated.

    Parameters
    ----------
    raster : OpenLevel
        Whose placement has a ``zoom`` and a ``box``.
    inside : PixelBox
        A part of that box.
    out : numpy.ndarray, optional
        Of its shape and the file's type: where the numbers go, which are returned too.
    """
    dataset, placement = raster.dataset, raster.placement
    if placement.zoom is None or placement.box is None:
        raise ValueError("only a file whose pixels nest can be read without a warp")
    (ky, kx), box = placement.zoom, placement.box
    row0, row1 = (inside.row0 - box.row0) // ky, -((box.row0 - inside.row1) // ky)
    col0, col1 = (inside.col0 - box.col0) // kx, -((box.col0 - inside.col1) // kx)
    first = dataset.height - row1 if placement.south_up else row0
    window = Window(col0, first, col1 - col0, row1 - row0)
    top, left = (inside.row0 - box.row0) % ky, (inside.col0 - box.col0) % kx
    height, width = inside.shape

    def placed(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        upright = values[::-1] if placement.south_up else values
        if (ky, kx) == (1, 1):
            return upright
        larger = upright.repeat(ky, axis=0).repeat(kx, axis=1)
        return larger[top : top + height, left : left + width]

    if out is not None and (ky, kx) == (1, 1) and not placement.south_up:
        data = dataset.read(raster.band, window=window, out=out)
    else:
        data = placed(dataset.read(raster.band, window=window))
        if out is not None:
            out[...] = data
    if not has_mask(dataset, raster.band):
        return data, None
    return data, placed(dataset.read_masks(raster.band, window=window) == 0)


class RegionWarp:
    """A region of the output grid by GDAL's warp, at its default tolerance, block by block.

    What has no value takes no part in an interpolation: nodata, the file's mask, and NaN
    where no other nodata is declared for floats. (Where one is, NaN spreads to the pixels
    whose kernel touches it; those become invalid, never wrong.)

    How far a kernel reaches is told to GDAL (its options XSCALE and YSCALE). Left alone, GDAL
    takes it from the bounds of the source window of what it warps just then: a turned grid
    would be blurred as if it were coarser, the more the smaller the block, and one that
    crosses the antimeridian as if it were coarser by half the world.

    A context manager. Nothing is opened before the first block is read: to set a warp up takes
    GDAL about half as long as to warp a block of 128 x 256.

    Parameters
    ----------
    raster : OpenLevel
    grid : OutputGrid
    region : PixelBox
        Of the grid.
    method : str
        A key of :data:`METHODS`.
    """

    def __init__(self, raster: OpenLevel, grid: OutputGrid, region: PixelBox, method: str) -> None:
        self._raster, self._grid, self._region, self._method = raster, grid, region, method
        self._nodata = raster.nodata
        if self._nodata is None and raster.dtype.kind == "f":
            self._nodata = math.nan
        self._vrt: WarpedVRT | None = None
        self._held = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def read(self, block: PixelBox) -> Pixels:
        """A part of the region; to be the same each time, always whole and of the same size."""
        if self._vrt is None:
            self._vrt = self._held.enter_context(self._open())
        rows, cols = block.slices(self._region)
        window = Window.from_slices(rows, cols)
        if self._nodata is None:
            data, alpha = self._vrt.read([1, self._vrt.count], window=window)
            return data, alpha == 0
        return self._vrt.read(1, window=window), None

    def _open(self) -> WarpedVRT:
        raster, nodata = self._raster, self._nodata
        height, width = self._region.shape
        options = {
            "crs": parse_crs(self._grid.crs),
            "transform": self._grid.transform(self._region),
            "height": height,
            "width": width,
            "src_crs": raster.crs,
            "resampling": METHODS[self._method],
        }
        if self._method != "nearest":
            options |= _scales(raster, self._grid, self._region)
        source, transform = self._held.enter_context(
            _alone(raster, self._grid, self._region, nodata)
        )
        if nodata is None:
            placed = _placed(source, transform)
            return WarpedVRT(source, add_alpha=source.count == 1, **placed, **options)
        # The warper leaves nodata out of its averages, and moves a valid result that
        # happens to equal nodata by one.
        options |= {"src_nodata": nodata, "nodata": nodata}
        return WarpedVRT(source, **_placed(source, transform), **options)


def _placed(dataset: rasterio.DatasetReader, transform: Affine) -> dict[str, Affine]:
    return {} if transform == dataset.transform else {"src_transform": transform}


def _scales(raster: OpenLevel, grid: OutputGrid, block: PixelBox) -> dict[str, str]:
    """Output pixels per source pixel along the source's axes, at most 1, as GDAL's options."""
    rows, cols = (a.ravel() for a in np.meshgrid(*(n * _QUARTERS for n in block.shape)))
    count = rows.size
    # Nine pixels, each with the next one below and to the right.
    rows, cols = np.r_[rows, rows + 1, rows], np.r_[cols, cols, cols + 1]
    corners = np.split(_in_source(raster, grid, block, rows, cols), [count, 2 * count], 1)
    there = np.isfinite(corners).all(axis=(0, 1))
    if not there.any():
        return {}
    here, below, right = (places[:, there] for places in corners)
    # The median: across the antimeridian two neighbours may lie at both ends of the file.
    down, across = np.median(np.hypot(below - here, right - here), axis=1)
    return {
        name: f"{1 / reach:.2g}" if reach > _SAME_SCALE else "1"
        for name, reach in (("XSCALE", across), ("YSCALE", down))
    }


def _in_source(
    raster: OpenLevel, grid: OutputGrid, block: PixelBox, rows: Floats, cols: Floats
) -> Floats:
    """Rows and columns in the file of positions in a block; NaN outside its projection."""
    xs, ys = corner(grid.transform(block), rows, cols)
    xs, ys = warped_points(parse_crs(grid.crs), raster.crs, xs, ys)
    col, row = corner(~raster.transform, ys, xs)
    return np.stack([row, col])


def invalid_pixels(data: npt.NDArray[Any], nodata: float | None) -> npt.NDArray[np.bool_]:
    """Mask of nodata or NaN."""
    invalid = np.isnan(data) if data.dtype.kind == "f" else np.zeros(data.shape, bool)
    if nodata is not None and not math.isnan(nodata):
        invalid |= data == data.dtype.type(nodata)
    return invalid


@contextmanager
def _alone(
    raster: OpenLevel, grid: OutputGrid, block: PixelBox, nodata: float | None
) -> Iterator[tuple[rasterio.DatasetReader, Affine]]:
    """A file of the one band that is read, and where it lies.

    It holds nodata wherever the file's mask says so: GDAL's warp asks nodata or the mask, never
    both. Without nodata a second band is the mask (alpha). What is not such a file is copied
    around the block; of a file of several bands GDAL would warp all, and take a pixel for
    nodata by all of them.
    """
    dataset, transform = raster.dataset, raster.transform
    masked = has_mask(dataset, raster.band)
    if dataset.count == 1 and not (masked and nodata is not None):
        yield dataset, transform
        return
    window = _source_window(raster, grid, block)
    data = dataset.read(raster.band, window=window)
    bands, colours = [data], [ColorInterp.gray]
    if masked:
        mask = dataset.read_masks(raster.band, window=window)
        if nodata is None:
            bands, colours = [data, mask], [ColorInterp.gray, ColorInterp.alpha]
        else:
            data[mask == 0] = nodata
    height, width = data.shape
    a, b, _, d, e, _ = tuple(transform)[:6]
    x, y = corner(transform, window.row_off, window.col_off)
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", height=height, width=width, count=len(bands), dtype=data.dtype,
            crs=raster.crs, transform=Affine(a, b, x, d, e, y),
        ) as copy:  # fmt: skip
            if len(bands) == 1:
                copy.write(data, 1)
            else:
                copy.colorinterp = colours
                copy.write(_as_alpha(bands))
        with memory.open() as copy:
            yield copy, copy.transform


def _as_alpha(bands: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """A band and its mask, which is the largest number of the type where there is a value."""
    data, mask = bands
    full = np.iinfo(data.dtype).max if data.dtype.kind in "iu" else 1
    return np.stack([data, np.where(mask == 0, 0, full).astype(data.dtype)])


def _source_window(raster: OpenLevel, grid: OutputGrid, block: PixelBox) -> Window:
    """All of a file that a block can touch, generously; one pixel where it touches nothing."""
    dataset = raster.dataset
    rows, cols = np.meshgrid(*(np.linspace(0, n, 17) for n in block.shape), indexing="ij")
    places = _in_source(raster, grid, block, rows.ravel(), cols.ravel())
    if not np.isfinite(places).all():
        return Window(0, 0, dataset.width, dataset.height)
    row, col = places.reshape(2, *rows.shape)
    # A step between samples is many times as wide as a kernel.
    limits = []
    for at, size in ((row, dataset.height), (col, dataset.width)):
        margin = 16 + max(np.abs(np.diff(at, axis=axis)).max() for axis in (0, 1))
        low = min(max(int(at.min() - margin), 0), size - 1)
        limits.append((low, min(max(int(at.max() + margin) + 1, low + 1), size)))
    (row0, row1), (col0, col1) = limits
    return Window(col0, row0, col1 - col0, row1 - row0)
