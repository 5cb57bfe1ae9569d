"""Choose the overview level of a file to read for a grid, and locate it on the grid.

Where the output is coarser, bilinear and cubic start from the coarsest overview that is not
coarser than the output (by more than a hundredth, anywhere in the file): a choice by grid and
file alone, never by window. That overview is then treated as the file: where its pixels are the
output's it is read directly. Nearest always reads the full resolution: overviews may be
averages, and a mean of two codes is a third, wrong code. So do files without a nodata of their
own whose item declares one, since it was averaged into their overviews.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS

from rsscale.errors import ReadError
from rsscale.net.hrefs import shown
from rsscale.read.file_pool import Opened
from rsscale.read.placement import OutputGrid, Placement, corner, locate_raster, parse_crs, shrink

# An overview that is coarser than the output by less is not coarser: scales of projections
# differ by some thousandths, and sizes that do not divide give overviews of 39.96 m.
_COARSER = 1.01


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
    sign : str or None
        How access is gained, a name of :mod:`rsscale.net.signing`.
    dropped : tuple of str
        Names of what the item's addresses lost when they were frozen, for messages.
    """

    item: str
    asset: str
    url: str
    resampling: str = "bilinear"
    nodata: float | None = None
    crs: str | None = None
    transform: tuple[float, ...] | None = None
    sign: str | None = None
    dropped: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Source({self.item!r}, {self.asset!r}, {shown(self.url)!r})"

    def __str__(self) -> str:
        return f"item {self.item!r}, asset {self.asset!r}: {shown(self.url)}"


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
    """

    dataset: rasterio.DatasetReader
    crs: CRS
    transform: Affine
    placement: Placement
    nodata: float | None


def check_readable(dataset: rasterio.DatasetReader, source: Source, dtype: np.dtype[Any]) -> None:
    """Refuse a file that cannot be read on any grid, or not in this type.

    Raises
    ------
    ReadError
    """
    if dataset.count != 1:
        raise ReadError(f"{source} has {dataset.count} bands in one file; expected one")
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
    if dataset.crs is None and source.crs is None:
        raise ReadError(
            f"{source} has no CRS, neither in the file nor as proj:code of the item; "
            "add it to the item"
        )
    if not np.can_cast(dataset.dtypes[0], dtype):
        raise ReadError(
            f"{source} holds {dataset.dtypes[0]}, which does not fit the cube's "
            f"{dtype}; correct data_type in the item's metadata"
        )


def open_levels(opened: Opened, source: Source, grid: OutputGrid) -> tuple[OpenLevel, ...]:
    """The level of an open file to read on a grid, and where it lies.

    More than one for a file in degrees that may be met a whole turn further west or east: one
    from 179 to 181 degrees also lies from -181 to -179. The first that has a value decides.
    """
    base = opened.dataset
    crs = base.crs if base.crs is not None else parse_crs(str(source.crs))
    transform = base.transform
    if transform.is_identity and source.transform is not None:
        transform = Affine(*source.transform[:6])
    nodata = _nodata(base, source)
    dataset = base
    if source.resampling != "nearest" and _has_true_overviews(base, nodata):
        level = _level(base.overviews(1), shrink(grid, crs, transform, base.shape))
        if level is not None:
            dataset = opened.overview(level)
            across, down = base.width / dataset.width, base.height / dataset.height
            a, b, c, d, e, f = tuple(transform)[:6]
            transform = Affine(a * across, b * down, c, d * across, e * down, f)
    found = []
    for turn in _turns(grid, crs, transform, dataset.shape):
        a, b, c, d, e, f = tuple(transform)[:6]
        turned = Affine(a, b, c + turn, d, e, f)
        placement = locate_raster(grid, crs, turned, dataset.shape, source.resampling)
        found.append(OpenLevel(dataset, crs, turned, placement, nodata))
    return tuple(found)


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


def _has_true_overviews(base: rasterio.DatasetReader, nodata: float | None) -> bool:
    """Whether nodata was known when the overviews were averaged."""
    return nodata is None or (base.nodata is not None and repr(base.nodata) == repr(nodata))


def _level(factors: list[int], factor: float) -> int | None:
    """The overview to read where ``factor`` source pixels make an output pixel."""
    fits = [(one, level) for level, one in enumerate(factors) if one <= factor * _COARSER]
    return max(fits)[1] if fits else None


def _nodata(dataset: rasterio.DatasetReader, source: Source) -> float | None:
    """The item's nodata, else the file's; one that the file's type cannot hold is none."""
    kind = np.dtype(dataset.dtypes[0])
    for nodata in (source.nodata, dataset.nodata):
        if nodata is None:
            continue
        if kind.kind == "f":
            return float(nodata)
        limits = np.iinfo(kind)
        if nodata == nodata // 1 and limits.min <= nodata <= limits.max:
            return float(nodata)
    return None
