"""Choose the overview level of a file to read for a grid, and locate it on the grid.

Where the output is coarser, bilinear and cubic start from the coarsest overview that is not
coarser than the output (by more than a hundredth, anywhere in the file): a choice by grid and
file alone, never by window. That overview is then treated as the file: where its pixels are the
output's it is read directly. Nearest always reads the full resolution: overviews may be
averages, and a mean of two codes is a third, wrong code. So do files without a nodata of their
own whose item declares one, since it was averaged into their overviews.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.enums import ColorInterp

from rsscale.errors import ReadError
from rsscale.read.agreement import Place, check_place, own_crs
from rsscale.read.file_pool import Opened
from rsscale.read.placement import OutputGrid, Placement, corner, locate_raster, parse_crs, shrink
from rsscale.read.source import Source

# An overview that is coarser than the output by less is not coarser: scales of projections
# differ by some thousandths, and sizes that do not divide give overviews of 39.96 m.
_COARSER = 1.01


@dataclass(frozen=True)
class OpenLevel:
    """The level of an open file that is read for one grid.

    Attributes
    ----------
    dataset : rasterio.DatasetReader
        The file, or one of its overviews.
    crs, transform
        Where it lies, which the file need not say itself.
    placement : Placement
        On the grid.
    nodata : float or None
        In the file's own numbers.
    band : int
        Which one of the file is read, from 1.
    """

    dataset: rasterio.DatasetReader
    crs: CRS
    transform: Affine
    placement: Placement
    nodata: float | None
    band: int = 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the band's numbers."""
        kind: np.dtype[Any] = np.dtype(self.dataset.dtypes[self.band - 1])
        return kind


def check_readable(dataset: rasterio.DatasetReader, source: Source, dtype: np.dtype[Any]) -> None:
    """Refuse a file that cannot be read on any grid, or not in this type.

    Raises
    ------
    ReadError
    """
    check_bands(dataset, source)
    if dataset.transform.is_identity and (dataset.gcps[0] or dataset.rpcs):
        raise ReadError(
            f"{source} is placed by control points or RPCs only; expected a transform: "
            "warp it first (gdalwarp), or use the terrain-corrected product"
        )
    if dataset.transform.is_identity and source.transform is None:
        raise ReadError(
            f"{source} has no transform, neither in the file nor as proj:transform of "
            "the item; add it to the item"
        )
    if source.crs is None and own_crs(dataset) is None:
        problem = "a local CRS" if dataset.crs is not None else "no CRS"
        doubt = " that fits its footprint" if source.footprint is not None else ""
        raise ReadError(
            f"{source} has {problem} in the file, and the item no proj:code{doubt}; "
            "add it to the item"
        )
    check_type(dataset, source, dtype)


def check_type(dataset: rasterio.DatasetReader, source: Source, dtype: np.dtype[Any]) -> None:
    """Refuse numbers that cannot be those of the item, or not be held by the cube's type.

    Whole numbers of another type are read: each must then fit the cube's type.

    Raises
    ------
    ReadError
    """
    kind = np.dtype(dataset.dtypes[source.band - 1])
    if "dtype" in source.assumed and source.dtype is not None:
        expected = np.dtype(source.dtype)
        if kind.kind not in "iu" or kind.itemsize != expected.itemsize:
            raise ReadError(
                f"{source} holds {kind}, and the item declares no type: its product's "
                f"specification, from which scale and offset were taken, has {expected}; declare "
                "data_type, scale and offset in the item's raster:bands"
            )
    if np.can_cast(kind, dtype) or (kind.kind in "iu" and dtype.kind in "iu"):
        return
    declared = "" if source.dtype is None else f" (the item says {np.dtype(source.dtype)})"
    raise ReadError(
        f"{source} holds {kind}, which does not fit the cube's {dtype}{declared}; correct or "
        "declare data_type in the item's metadata"
    )


def check_bands(dataset: rasterio.DatasetReader, source: Source) -> None:
    """Refuse a file that does not hold the band that is read, or others than the item says.

    Raises
    ------
    ReadError
    """
    count = dataset.count
    if source.index is None:
        if count != 1:
            raise ReadError(
                f"{source} has {count} bands in one file, expected one; say which, as in "
                f"'{source.asset}.1' for the first"
            )
        return
    # An alpha band is no band of the item's.
    own = count - int(_colours(dataset)[-1] == ColorInterp.alpha)
    if source.index > count:
        raise ReadError(f"{source} is not there: the file has {count} bands")
    if source.count is not None and source.count not in (count, own):
        raise ReadError(
            f"{source} cannot be told: the item lists {source.count} bands, and the file has "
            f"{count}; say which by its number, once the item is corrected"
        )


def _colours(dataset: rasterio.DatasetReader) -> tuple[ColorInterp, ...]:
    """What each band is, whatever was read in this thread before.

    rasterio takes any answer but 0 for a failure, if GDAL has an error left, of another file too.
    """
    try:
        return tuple(dataset.colorinterp)
    except CPLE_BaseError:
        return tuple(dataset.colorinterp)  # raising has cleared that error


def open_levels(opened: Opened, source: Source, grid: OutputGrid) -> tuple[OpenLevel, ...]:
    """The level of an open file to read on a grid, and where it lies.

    More than one for a file in degrees that may be met a whole turn further west or east: one
    from 179 to 181 degrees also lies from -181 to -179. The first that has a value decides.
    """
    base = opened.dataset
    own = own_crs(base)
    crs = own if own is not None else parse_crs(str(source.crs))
    transform = base.transform
    if transform.is_identity and source.transform is not None:
        transform = Affine(*source.transform[:6])
    check_place(source, Place(crs, transform, base.shape))
    number = source.band - 1
    nodata = effective_nodata(source, np.dtype(base.dtypes[number]), base.nodatavals[number])
    dataset = base
    if source.resampling != "nearest" and _has_true_overviews(base, nodata, source.band):
        level = _level(base.overviews(source.band), shrink(grid, crs, transform, base.shape))
        if level is not None:
            dataset = opened.overview(level)
            across, down = base.width / dataset.width, base.height / dataset.height
            a, b, c, d, e, f = tuple(transform)[:6]
            transform = Affine(a * across, b * down, c, d * across, e * down, f)
    levels = []
    for turn in _turns(grid, crs, transform, dataset.shape):
        a, b, c, d, e, f = tuple(transform)[:6]
        turned = Affine(a, b, c + turn, d, e, f)
        placement = locate_raster(grid, crs, turned, dataset.shape, source.resampling)
        levels.append(OpenLevel(dataset, crs, turned, placement, nodata, source.band))
    return tuple(levels)


def _turns(
    grid: OutputGrid, crs: CRS, transform: Affine, shape: tuple[int, int]
) -> tuple[int, ...]:
    """Shifts in degrees of longitude at which a file meets the grid."""
    if not crs.is_geographic:
        return (0,)
    if crs == parse_crs(grid.crs):  # nothing is projected, so any longitude may be asked for
        return 0, -360, 360
    lons = [corner(transform, row, col)[0] for row in (0, shape[0]) for col in (0, shape[1])]
    # PROJ answers from -180 to 180.
    west, east = min(lons) < -180, max(lons) > 180
    return (0, *((360,) if west else ()), *((-360,) if east else ()))


def _has_true_overviews(base: rasterio.DatasetReader, nodata: float | None, band: int) -> bool:
    """Whether nodata was known when the overviews were averaged."""
    own = base.nodatavals[band - 1]
    return nodata is None or (own is not None and repr(own) == repr(nodata))


def _level(factors: list[int], factor: float) -> int | None:
    """The overview to read where ``factor`` source pixels make an output pixel."""
    fits = [
        (overview, level) for level, overview in enumerate(factors) if overview <= factor * _COARSER
    ]
    return max(fits)[1] if fits else None


def effective_nodata(source: Source, kind: np.dtype[Any], own: float | None) -> float | None:
    """The nodata of a file: of the item and of the file itself, where they do not disagree.

    What the file's type cannot hold is none. NaN, which is never a value, does not disagree. Of a
    product's specification and a file's own the file's counts.

    Parameters
    ----------
    source : Source
    kind : numpy.dtype
        Of the file.
    own : float or None
        What the file declares.

    Raises
    ------
    ReadError
        When item and file declare two numbers.
    """
    item, file = (_held(value, kind, source) for value in (source.nodata, own))
    if source.nodata_among is not None:
        chosen = [v for v in (item, file) if v is not None and v in source.nodata_among]
        chosen += [v for v in source.nodata_among if _held(v, kind, source) is not None]
        return chosen[0] if chosen else None
    if item is None or file is None or repr(item) == repr(file):
        return file if item is None else item
    if math.isnan(item) or math.isnan(file):
        return file if math.isnan(item) else item
    if kind.type(item) == kind.type(file) or "nodata" in source.assumed:
        return file
    raise ReadError(
        f"{source} has nodata {file:g}, and the item says {item:g}; correct the item, or say which "
        f"one holds: nodata: {{{source.name or source.asset}: {file:g}}}"
    )


def _held(value: float | None, kind: np.dtype[Any], source: Source) -> float | None:
    """A nodata value that a type can hold, and that is no value of the band."""
    if value is None or (value == 0 and source.zero_is_valid):
        return None
    if kind.kind == "f":
        return float(value)
    limits = np.iinfo(kind)
    whole = math.isfinite(value) and value == value // 1
    return float(value) if whole and limits.min <= value <= limits.max else None
