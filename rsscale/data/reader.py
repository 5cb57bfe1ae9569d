"""Reads one asset on the output grid, so that a pixel never depends on what was asked.

On an aligned grid the window is read directly. Everything else is warped in fixed blocks
that are anchored to the grid, not to the window: GDAL approximates the transformation over
what it warps, so two windows over the same pixels would give values that differ by some
digital numbers, and maps would change with the tile size.

:class:`Reader` is what :func:`stackstac.stack` takes as ``reader=``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import MaskFlags, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from rsscale.data.files import POOL, WARPED, Opened, gdal_env, without_query
from rsscale.data.placement import OutputGrid, Placement, parse_crs, place
from rsscale.errors import ReadError
from rsscale.grid import PixelBox

BLOCK = 512
"""Width of the lattice of fixed blocks, in output pixels."""

# Blocks are warped in two halves, each on its own and always whole: GDAL takes no longer a
# pixel for them, and less is warped in vain around a window.
_HALF = BLOCK // 2

METHODS = {m: Resampling[m] for m in ("nearest", "bilinear", "cubic")}


@dataclass(frozen=True)
class Source:
    """One asset to read.

    Attributes
    ----------
    item, asset : str
        Whose it is, for messages.
    url : str
        Path or URL, as GDAL or rasterio understand it.
    resampling : str
        A key of :data:`METHODS`, used where the grids differ.
    nodata : float or None
        What the item declares; ``None`` means that the file decides.
    crs, transform : optional
        Used where the file itself has none.
    """

    item: str
    asset: str
    url: str
    resampling: str = "bilinear"
    nodata: float | None = None
    crs: str | None = None
    transform: tuple[float, ...] | None = None

    def __str__(self) -> str:
        return f"item {self.item!r}, asset {self.asset!r}: {self.url.partition('?')[0]}"


class Reader:
    """Reads windows of one asset, on the grid of the cube, in the cube's type and nodata.

    Picklable and thread-safe: it holds no open file. Files are lent from a pool of the
    process, each to one thread at a time, and GDAL releases the interpreter while it reads.

    Parameters
    ----------
    url : str
        The key of a :class:`Source` in ``sources``.
    sources : dict of str to Source
    grid : OutputGrid
    box : PixelBox
        The pixels of the grid that the cube covers; windows count from its corner.
    dtype : numpy.dtype
        Of the cube.
    fill_value : scalar
        The cube's nodata. The source's own nodata is replaced by it, and it is what lies
        outside the source.
    **others
        What stackstac passes besides and this reader decides by itself.
    """

    def __init__(
        self,
        *,
        url: str,
        sources: dict[str, Source],
        grid: OutputGrid,
        box: PixelBox,
        dtype: npt.DTypeLike,
        fill_value: Any,
        **others: Any,  # noqa: ARG002
    ) -> None:
        self.source = sources[url]
        self.grid = grid
        self.box = box
        self.dtype = np.dtype(dtype)
        self.fill = self.dtype.type(fill_value)

    def read(self, window: Window, **_: Any) -> npt.NDArray[Any]:
        """Read a window of the cube.

        Parameters
        ----------
        window : rasterio.windows.Window
            In pixels from the cube's north-west corner.

        Returns
        -------
        numpy.ndarray
            ``(height, width)``.

        Raises
        ------
        ReadError
            When anything at all goes wrong; a failure is never turned into nodata.
        """
        row0, col0 = self.box.row0 + int(window.row_off), self.box.col0 + int(window.col_off)
        asked = PixelBox(row0, col0, row0 + int(window.height), col0 + int(window.width))
        try:
            with gdal_env(), POOL.lend(self.source.url) as opened:
                self._check(opened.dataset)
                return self._read(opened, asked)
        except ReadError:
            raise
        except Exception as error:
            reason = without_query(str(error) or type(error).__name__)
            raise ReadError(f"{self.source} could not be read: {reason}") from error

    def close(self) -> None:
        """Nothing to do: the pool closes files."""

    def _check(self, dataset: rasterio.DatasetReader) -> None:
        if dataset.count != 1:
            raise ReadError(f"{self.source} has {dataset.count} bands in one file; expected one")
        if dataset.crs is None and self.source.crs is None:
            raise ReadError(
                f"{self.source} has no CRS, neither in the file nor as proj:code of the item"
            )
        if not np.can_cast(dataset.dtypes[0], self.dtype):
            raise ReadError(
                f"{self.source} holds {dataset.dtypes[0]}, which does not fit the cube's "
                f"{self.dtype}; correct data_type in the item's metadata"
            )

    def _read(self, opened: Opened, asked: PixelBox) -> npt.NDArray[Any]:
        method = self.source.resampling
        crs, transform = self._georeference(opened.dataset)
        key = (self.grid, self.source)
        if key not in opened.memo:
            opened.memo[key] = place(self.grid, crs, transform, opened.dataset.shape, method)
        placement: Placement = opened.memo[key]
        out = np.full(asked.shape, self.fill, self.dtype)
        inside = asked if placement.box is None else asked & placement.box
        if inside.empty:
            return out
        if placement.zoom is not None and placement.box is not None:
            out[inside.slices(asked)] = self._direct(opened, inside, placement.box, placement.zoom)
            return out
        for block in warp_blocks(inside):
            part = block & inside
            out[part.slices(asked)] = self._block(opened, block, part)[part.slices(block)]
        return out

    def _georeference(self, dataset: rasterio.DatasetReader) -> tuple[CRS, Affine]:
        crs = dataset.crs if dataset.crs is not None else parse_crs(str(self.source.crs))
        if dataset.transform.is_identity and self.source.transform is not None:
            return crs, Affine(*self.source.transform[:6])
        return crs, dataset.transform

    def _direct(
        self, opened: Opened, inside: PixelBox, box: PixelBox, zoom: tuple[int, int]
    ) -> npt.NDArray[Any]:
        """Read aligned pixels without resampling, repeating those of a coarser source."""
        ky, kx = zoom
        rows = (inside.row0 - box.row0) // ky, -((box.row0 - inside.row1) // ky)
        cols = (inside.col0 - box.col0) // kx, -((box.col0 - inside.col1) // kx)
        window = Window(cols[0], rows[0], cols[1] - cols[0], rows[1] - rows[0])
        data = opened.dataset.read(1, window=window)
        invalid = self._invalid(data, self._nodata(opened.dataset))
        if MaskFlags.per_dataset in opened.dataset.mask_flag_enums[0]:
            invalid = invalid | (opened.dataset.read_masks(1, window=window) == 0)
        data = self._typed(data, invalid)
        if zoom == (1, 1):
            return data
        data = data.repeat(ky, axis=0).repeat(kx, axis=1)
        top, left = (inside.row0 - box.row0) % ky, (inside.col0 - box.col0) % kx
        height, width = inside.shape
        return data[top : top + height, left : left + width]

    def _block(self, opened: Opened, block: PixelBox, part: PixelBox) -> npt.NDArray[Any]:
        """One whole warped block; kept for the neighbouring window when it needs the rest."""
        if part == block:
            return self._warp(opened.dataset, block)
        key = (opened.key, self.source, self.grid, block, self.dtype.str, repr(self.fill))
        warped = WARPED.get(key)
        if warped is None:
            warped = self._warp(opened.dataset, block)
            WARPED.put(key, warped)
        return warped

    def _warp(self, dataset: rasterio.DatasetReader, block: PixelBox) -> npt.NDArray[Any]:
        crs, transform = self._georeference(dataset)
        height, width = block.shape
        nodata = self._nodata(dataset)
        options = {
            "crs": parse_crs(self.grid.crs),
            "transform": self.grid.transform(block),
            "height": height,
            "width": width,
            "src_crs": crs,
            "resampling": METHODS[self.source.resampling],
        }
        if transform != dataset.transform:
            options["src_transform"] = transform
        if nodata is not None:
            # The warper leaves nodata out of its averages, and moves a valid result that
            # happens to equal nodata by one.
            with WarpedVRT(dataset, src_nodata=nodata, nodata=nodata, **options) as vrt:
                data = vrt.read(1)
            return self._typed(data, self._invalid(data, nodata))
        with WarpedVRT(dataset, add_alpha=True, **options) as vrt:
            data, alpha = vrt.read([1, vrt.count])
        return self._typed(data, self._invalid(data, None) | (alpha == 0))

    def _nodata(self, dataset: rasterio.DatasetReader) -> float | None:
        """The item's nodata, else the file's; ``None`` when the file's type cannot hold it."""
        nodata = dataset.nodata if self.source.nodata is None else self.source.nodata
        kind = np.dtype(dataset.dtypes[0])
        if nodata is None or kind.kind == "f":
            return nodata
        limits = np.iinfo(kind)
        return nodata if nodata == nodata // 1 and limits.min <= nodata <= limits.max else None

    @staticmethod
    def _invalid(data: npt.NDArray[Any], nodata: float | None) -> npt.NDArray[np.bool_]:
        invalid = np.isnan(data) if data.dtype.kind == "f" else np.zeros(data.shape, bool)
        if nodata is not None and not math.isnan(nodata):
            invalid |= data == data.dtype.type(nodata)
        return invalid

    def _typed(self, data: npt.NDArray[Any], invalid: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
        data = data.astype(self.dtype, copy=False)
        data[invalid] = self.fill
        return data


def warp_blocks(box: PixelBox) -> Iterator[PixelBox]:
    """The fixed half blocks that a window needs: where they lie does not depend on it."""
    for block in box.blocks(BLOCK):
        for row in (block.row0, block.row0 + _HALF):
            half = PixelBox(row, block.col0, row + _HALF, block.col1)
            if not (half & box).empty:
                yield half


def describe(source: Source) -> tuple[np.dtype[Any], float | None]:
    """Type and nodata of a file, from its header.

    Raises
    ------
    ReadError
        When it cannot be opened.
    """
    try:
        with gdal_env(), POOL.lend(source.url) as opened:
            return np.dtype(opened.dataset.dtypes[0]), opened.dataset.nodata
    except Exception as error:
        reason = without_query(str(error) or type(error).__name__)
        raise ReadError(f"{source} could not be opened: {reason}") from error
