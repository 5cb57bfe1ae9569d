"""Read windows of one asset on the output grid; a pixel's value does not depend on the window.

On an aligned grid the window is read directly. Everything else is warped in fixed blocks
that are anchored to the grid, not to the window: GDAL approximates the transformation over
what it warps, so two windows over the same pixels would give values that differ by some
digital numbers, and maps would change with the tile size.

:class:`Reader` is what :func:`stackstac.stack` takes as ``reader=``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window

from rsscale.errors import ReadError, RsscaleError
from rsscale.geo.lattice import WARP_BLOCK, PixelBox
from rsscale.read.file_pool import POOL, WARPED, Opened, gdal_env
from rsscale.read.levels import OpenLevel, check_bands, check_readable, open_levels
from rsscale.read.placement import OutputGrid
from rsscale.read.source import Source
from rsscale.read.stage_timer import StageTimer
from rsscale.read.warp import RegionWarp, invalid_pixels, read_nested
from rsscale.text.redaction import KEEP_QUERY

# Blocks are warped in parts, each on its own and always whole. GDAL takes about as long a pixel
# for 128 x 256 as for larger ones (a WarpedVRT works in strips of 128 rows anyway), half as much
# more for 128 x 128; and the smaller they are, the less is warped in vain around a window.
_PART_HEIGHT, _PART_WIDTH = WARP_BLOCK // 4, WARP_BLOCK // 2
# To set up a warp costs as much as half a part, so that some parts share one. Fixed as well: how
# far a kernel reaches is the same in all of a region.
_REGION_HEIGHT = 2 * WARP_BLOCK


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
    on_error : callable, optional
        Takes the ReadError of what could not be read, which then holds nodata.
    meter : StageTimer, optional
        Counts the time and the bytes.
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
        on_error: Callable[[ReadError], None] | None = None,
        meter: StageTimer | None = None,
        **others: Any,  # noqa: ARG002
    ) -> None:
        self.source = sources[url]
        self.grid = grid
        self.box = box
        self.dtype = np.dtype(dtype)
        self.fill = self.dtype.type(fill_value)
        self.on_error = on_error
        self.meter = meter or StageTimer()

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
            When anything at all goes wrong and there is no ``on_error``; a failure is
            never turned into nodata without a word.
        """
        row0, col0 = self.box.row0 + int(window.row_off), self.box.col0 + int(window.col_off)
        asked = PixelBox(row0, col0, row0 + int(window.height), col0 + int(window.width))
        out = np.empty(asked.shape, self.dtype)
        self.read_into(asked, out)
        return out

    def read_into(self, window: PixelBox, out: npt.NDArray[Any]) -> None:
        """Read pixels of the grid into an array.

        Parameters
        ----------
        window : PixelBox
            Of the grid, anywhere.
        out : numpy.ndarray
            Of that shape and the cube's type; all of it is written.

        Raises
        ------
        ReadError
            As :meth:`read`.
        """
        try:
            with self.meter.reading(out.nbytes):
                self._open_and_read(window, out)
        except ReadError as error:
            if self.on_error is None:
                raise
            self.on_error(error)
            out[...] = self.fill

    def _open_and_read(self, window: PixelBox, out: npt.NDArray[Any]) -> None:
        source = self.source
        with (
            _named(source, "read"),
            gdal_env(source.url, source.sign),
            POOL.lend(source.url, source.sign) as opened,
        ):
            check_readable(opened.dataset, source, self.dtype)
            opened.run(lambda: self._read(opened, window, out))
            self.meter.files.note(source, opened.versions())

    def close(self) -> None:
        """Nothing to do: the pool closes files."""

    def _read(self, opened: Opened, window: PixelBox, out: npt.NDArray[Any]) -> None:
        key = (self.grid, self.source)
        if key not in opened.memo:
            opened.memo[key] = open_levels(opened, self.source, self.grid)
        rasters: tuple[OpenLevel, ...] = opened.memo[key]
        if not rasters[0].placement.nests(window):
            out[...] = self.fill
        for number, raster in enumerate(rasters):
            box = raster.placement.box
            if number == 0 and raster.placement.zoom is not None and box is not None:
                inside = window & box
                if not inside.empty:
                    self._read_nested(raster, inside, out[inside.slices(window)])
                continue
            for part, pixels in self._parts(opened, raster, window):
                target = out[part.slices(window)]
                is_free = True if number == 0 else invalid_pixels(target, float(self.fill))
                np.copyto(target, pixels, where=is_free)

    def _read_nested(self, raster: OpenLevel, window: PixelBox, out: npt.NDArray[Any]) -> None:
        """Pixels of a file that nests in the grid, straight into an array where they are as it."""
        kind = raster.dtype
        if kind == self.dtype and _is_filled(kind, raster.nodata, float(self.fill)):
            _, masked = read_nested(raster, window, out)
            if masked is not None:
                out[masked] = self.fill
            return
        out[...] = self._typed(raster, *read_nested(raster, window))

    def _parts(
        self, opened: Opened, raster: OpenLevel, window: PixelBox
    ) -> Iterator[tuple[PixelBox, npt.NDArray[Any]]]:
        """The pixels of a raster within a box, in pieces."""
        placement = raster.placement
        # Beyond 180 degrees lie pixels that PROJ places a turn away; then GDAL has to look.
        is_known = placement.zoom is not None or not self.grid.goes_round(window)
        inside = window & placement.box if placement.box is not None and is_known else window
        if inside.empty:
            return
        if placement.zoom is not None:
            yield inside, self._typed(raster, *read_nested(raster, inside))
            return
        for region, blocks in warp_regions(inside):
            with RegionWarp(raster, self.grid, region, self.source.resampling) as warp:
                for block in blocks:
                    part = block & inside
                    whole = self._block(opened, raster, warp, block, is_shared=part != block)
                    yield part, whole[part.slices(block)]

    def _block(
        self,
        opened: Opened,
        raster: OpenLevel,
        warp: RegionWarp,
        block: PixelBox,
        *,
        is_shared: bool,
    ) -> npt.NDArray[Any]:
        """One whole warped block; kept for the neighbouring window when it needs the rest."""
        if not is_shared:
            return self._typed(raster, *warp.read(block))
        kind = self.dtype.str, repr(self.fill)
        key = (self.source, self.grid, raster.transform, block, kind)
        warped = WARPED.get((opened.key, *opened.versions(), *key))
        if warped is None:
            warped = self._typed(raster, *warp.read(block))
            opened.check()
            # Sources of a virtual raster are known only now: an old one's pixels are not found.
            WARPED.put((opened.key, *opened.versions(), *key), warped)
        return warped

    def _typed(
        self, raster: OpenLevel, values: npt.NDArray[Any], masked: npt.NDArray[np.bool_] | None
    ) -> npt.NDArray[Any]:
        """Values in the cube's dtype and nodata; refuses a value that would become nodata."""
        data, fill = values.astype(self.dtype, copy=False), float(self.fill)
        is_safe = np.can_cast(values.dtype, self.dtype)
        if is_safe and masked is None and _is_filled(values.dtype, raster.nodata, fill):
            return data
        invalid = invalid_pixels(values, raster.nodata)
        if masked is not None:
            invalid |= masked
        if not is_safe:
            self._check_fits(values, invalid)
        if raster.nodata != fill and fill == fill // 1 and ((data == self.fill) & ~invalid).any():
            raise ReadError(
                f"{self.source} holds valid pixels of {fill:g}, which is the cube's nodata, and "
                f"its own nodata is {raster.nodata}; declare nodata in the item's metadata"
            )
        data[invalid] = self.fill
        return data

    def _check_fits(self, values: npt.NDArray[Any], invalid: npt.NDArray[np.bool_]) -> None:
        """Refuse valid numbers that the cube's type, of whole numbers too, cannot hold."""
        limits = np.iinfo(self.dtype)
        beyond = ((values < limits.min) | (values > limits.max)) & ~invalid
        if beyond.any():
            raise ReadError(
                f"{self.source} holds {values.dtype} numbers such as {values[beyond][0]}, which "
                f"do not fit the cube's {self.dtype}; correct or declare data_type in the item's "
                "metadata"
            )


def warp_regions(box: PixelBox) -> Iterator[tuple[PixelBox, list[PixelBox]]]:
    """Fixed regions and the blocks in them that a window needs: it does not move any of them."""
    for area in box.blocks(_REGION_HEIGHT):
        for col in range(area.col0, area.col1, _PART_WIDTH):
            region = PixelBox(area.row0, col, area.row1, col + _PART_WIDTH)
            parts = (
                PixelBox(row, col, row + _PART_HEIGHT, col + _PART_WIDTH)
                for row in range(region.row0, region.row1, _PART_HEIGHT)
            )
            needed = [part for part in parts if not (part & box).empty]
            if needed:
                yield region, needed


def _is_filled(kind: np.dtype[Any], nodata: float | None, fill: float) -> bool:
    """Whether pixels of this type that hold no value hold the cube's nodata already."""
    if kind.kind == "f":
        return math.isnan(fill) and (nodata is None or math.isnan(nodata))
    return nodata == fill


def read_header(source: Source) -> tuple[np.dtype[Any], float | None]:
    """Type and nodata of a file, from its header.

    Raises
    ------
    ReadError
        When it cannot be opened.
    """
    with (
        _named(source, "opened"),
        gdal_env(source.url, source.sign),
        POOL.lend(source.url, source.sign) as opened,
    ):
        check_bands(opened.dataset, source)
        number = source.band - 1
        return np.dtype(opened.dataset.dtypes[number]), opened.dataset.nodatavals[number]


@contextmanager
def _named(source: Source, done: str) -> Iterator[None]:
    """Any failure as a ReadError that names item, asset and URL, and no token."""
    try:
        yield
    except ReadError as error:
        known = str(source) in str(error)
        message = str(error) if known else f"{source} could not be {done}: {error}"
        raise ReadError(f"{message}{_lost(source, message)}", str(source)) from None
    except RsscaleError:
        raise
    except Exception as error:
        # rasterio chains what GDAL said of a failed read behind a sentence that points to it.
        cause = error.__cause__ if error.__cause__ is not None else error
        reason = " ".join(str(cause).split()) or type(cause).__name__
        message = f"{source} could not be {done}: {reason}"
        raise ReadError(f"{message}{_lost(source, message)}", str(source)) from error


_REFUSED = re.compile(r"HTTP 4\d\d|40[0134]|AccessDenied|NoSuchKey|NoSuchBucket|not a raster")


def _lost(source: Source, message: str) -> str:
    """What a refused address lost when it was frozen; empty where that is not the reason."""
    if not source.dropped or not _REFUSED.search(message):
        return ""
    return (
        f"; when the run was planned, {', '.join(source.dropped)} was dropped from this item's "
        "addresses, as it may be a secret: give access by sign, headers, ~/.netrc or the "
        f"environment, or name what addresses a file in {KEEP_QUERY} and plan anew"
    )
