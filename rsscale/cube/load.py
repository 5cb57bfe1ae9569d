"""STAC items as a lazy cube on a grid: one slice an item, in the files' own numbers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import xarray as xr
from odc.geo.geobox import GeoBox

from rsscale.cube.build import build_cube, check_request
from rsscale.cube.mask_rules import nodata_rule
from rsscale.errors import ReadError, RecipeError
from rsscale.items.assets import with_all_bands
from rsscale.items.bands import BandsLike, band_requests
from rsscale.items.features import ItemsLike
from rsscale.items.item_index import resolve
from rsscale.read.stage_timer import StageTimer

_log = logging.getLogger(__name__)


def load(
    items: ItemsLike,
    geobox: GeoBox,
    bands: BandsLike,
    *,
    alternate: str | Sequence[str] = (),
    missing_asset: Literal["raise", "skip"] = "raise",
    resampling: Mapping[str, str] | None = None,
    nodata: Mapping[str, float | None] | None = None,
    chunk: int = 1024,
    loader: str = "stackstac",
    on_error: Literal["raise", "skip"] | Callable[[ReadError], None] = "raise",
    meter: StageTimer | None = None,
) -> xr.DataArray:
    """Build the lazy cube of some items on a grid.

    Parameters
    ----------
    items : pystac.ItemCollection, iterable of pystac.Item, one item, or their GeoJSON
        Whatever lies under the box and whatever does not: an item without a pixel in the
        box gives a slice of nodata. None at all gives a cube of no slices.
    geobox : odc.geo.geobox.GeoBox
        The output pixels: any CRS, north-up, no rotation.
    bands : sequence of str or {name: names}
        Asset keys or common names, in the order wanted. Of a file of several bands a band's name
        (``"nir"``), or its number with the asset's key (``"image.4"``, from 1). Where names
        differ, a mapping names the band and says what it is called: in each collection
        (``{"nir": {"HLSL30_2.0": "B05", "HLSS30_2.0": "B8A"}}``), or in whichever item has
        exactly one of the names (``{"nir": ["nir08", "nir"]}``).
    alternate : str or sequence of str
        Which location of an asset is read where items have several (the extension
        alternate-assets), in the order of preference, such as ``["s3", "main"]``; ``"main"`` is
        the asset's own href, as when omitted.
    missing_asset : {"raise", "skip"}
        What becomes of an item that lacks one of the bands, though others have it: an error, or
        it is left out, with a warning in the log and its id in the attribute ``left_out``.
    resampling : mapping of band to method, optional
        ``"nearest"``, ``"bilinear"`` or ``"cubic"``. Without it nearest for codes and bit
        fields (SCL, Fmask, qa_pixel, …, or anything with the classification extension),
        else bilinear. It matters only where the grids differ.
    nodata : mapping of band to float or None, optional
        Overrules what items and files declare: the number that means that a pixel of the band has
        no value, or ``None`` where every number is a value.
    chunk : int
        Width of a block in pixels, about: edges lie on the 512 px blocks of the most common
        source (else of the grid), thin rests are joined to their neighbour, and with many
        scenes the blocks get smaller, so that one takes at most some 128 MB.
    loader : {"stackstac", "odc-stac", "dask"}
        Who builds the graph; ``"dask"`` alone is the fastest. The pixels are read by the same
        reader, so the cubes are equal. odc-stac is installed by the extra ``rsscale[odc]``.
    on_error : {"raise", "skip"} or callable
        What becomes of a block that could not be read, after all retries: an error while
        computing; or nodata and a logged warning; or nodata, and the callable is given the
        ReadError (in the thread that reads).
    meter : rsscale.read.stage_timer.StageTimer, optional
        Counts time and bytes while the cube is computed.

    Returns
    -------
    xr.DataArray
        Dask-backed, dims ``(time, band, y, x)``, sorted by (datetime, id), the full time axis
        in one block. Codes and measurements are blocks of their own along ``band``, so that
        a mask can be made without reading everything. Coordinates: ``time`` (UTC,
        datetime64[ns]), ``band``, ``id(time)``, ``solar_day(time)`` (the day by the sun
        where the item is; whole days, in datetime64[s] as xarray knows none in days),
        ``scale(time, band)`` and ``offset(time, band)`` (float32, not applied), ``y`` and
        ``x`` (pixel centres, bitwise those of the GeoBox), ``spatial_ref``, ``resampling(band)``,
        ``file_nodata(band)`` (NaN where a band's files have none) and ``file_dtype(band)`` (empty
        where no file is known). Attributes: ``nodata`` and ``categorical`` (names of bands with
        codes); ``left_out`` (ids) if there are any.

    Raises
    ------
    BandError
        When a band is not there, or not in every item.
    ItemError
        When an item has no date, or one before 1678 or after 2261.
    AreaError
        When the GeoBox is not north-up.
    RecipeError
        When ``resampling``, ``nodata``, ``chunk`` or ``loader`` make no sense, also for the type
        of a band.
    MissingExtraError
        When the loader is not installed.
    ReadError
        Here when metadata leaves the type of a band open and the file cannot be opened;
        else while computing. A failed read is never nodata, unless ``on_error`` says so. Also
        where a file contradicts its item: in its place, its kind of numbers, its nodata.

    Notes
    -----
    The cube's type is the smallest that holds all bands. Its nodata is one number: the
    bands' own when they agree, else the first of them that is no valid value of another
    band, else a number outside all of them in a wider type (NaN for floats). A band whose
    metadata says neither type nor nodata is asked through the header of its first file;
    for Sentinel-2 without metadata they are known (uint16, SCL uint8, nodata 0).
    """
    how = resampling or {}
    check_request([band.name for band in band_requests(bands)], how, chunk, loader)
    left_out: list[str] = []
    locations = [alternate] if isinstance(alternate, str) else alternate
    if missing_asset not in ("raise", "skip"):
        raise RecipeError(f"missing_asset is {missing_asset!r}; expected 'raise' or 'skip'")
    if missing_asset == "skip":
        items, lacking = with_all_bands(items, bands, locations)
        left_out = [item.id for item in lacking]
    cube = build_cube(
        resolve(items, bands, locations),
        geobox,
        resampling=how,
        nodata=nodata_rule(nodata or {}),
        chunk=chunk,
        loader=loader,
        on_error=on_error,
        meter=meter,
    )
    if left_out:
        _log.warning(
            "left out %d of %d items, which lack a band, such as %s",
            len(left_out), len(left_out) + cube.sizes["time"], left_out[0],
        )  # fmt: skip
        cube.attrs["left_out"] = left_out
    return cube
