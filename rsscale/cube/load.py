"""STAC items as a lazy cube on a grid: one slice an item, in the files' own numbers."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pystac
import xarray as xr
from odc.geo.geobox import GeoBox

from rsscale.cube.chunks import block_origin, cube_chunks
from rsscale.cube.dtypes import number_type
from rsscale.cube.stackstac_graph import Layout, stackstac_array
from rsscale.errors import ReadError, RecipeError, nearest
from rsscale.items import assets, radiometry
from rsscale.items.assets import Selection
from rsscale.net.signing import PROPERTY
from rsscale.read.levels import Source
from rsscale.read.placement import OutputGrid
from rsscale.read.stage_timer import Meter
from rsscale.read.warp import METHODS


def _odc_array(layout: Layout, chosen: Selection, sources: Sequence[Sequence[Source]]) -> Any:
    from rsscale.cube.odc_graph import odc_array  # takes long to import

    return odc_array(layout, chosen, sources)


_LOADERS = {"stackstac": stackstac_array, "odc-stac": _odc_array}


def load(
    items: Iterable[pystac.Item | Mapping[str, Any]],
    geobox: GeoBox,
    bands: Sequence[str],
    *,
    resampling: Mapping[str, str] | None = None,
    chunk: int = 1024,
    loader: str = "stackstac",
    on_error: Literal["raise", "skip"] | Callable[[ReadError], None] = "raise",
    meter: Meter | None = None,
) -> xr.DataArray:
    """Build the lazy cube of some items on a grid.

    Parameters
    ----------
    items : pystac.ItemCollection or iterable of pystac.Item
        Whatever lies under the box and whatever does not: an item without a pixel in the
        box gives a slice of nodata. None at all gives a cube of no slices.
    geobox : odc.geo.geobox.GeoBox
        The output pixels: any CRS, north-up, no rotation.
    bands : sequence of str
        Asset keys or common names, in the order wanted.
    resampling : mapping of band to method, optional
        ``"nearest"``, ``"bilinear"`` or ``"cubic"``. Without it nearest for codes and bit
        fields (SCL, Fmask, qa_pixel, …, or anything with the classification extension),
        else bilinear. It matters only where the grids differ.
    chunk : int
        Width of a block in pixels, about: edges lie on the 512 px blocks of the most common
        source (else of the grid), thin rests are joined to their neighbour, and with many
        looks blocks get smaller, so that one takes at most some 128 MB.
    loader : {"stackstac", "odc-stac"}
        Who builds the graph. The pixels are read by the same reader, so the cubes are equal.
        odc-stac is installed by the extra ``rsscale[odc]``.
    on_error : {"raise", "skip"} or callable
        What becomes of a block that could not be read, after all retries: an error while
        computing; or nodata and a logged warning; or nodata, and the callable is given the
        ReadError (in the thread that reads).
    meter : rsscale.read.stage_timer.Meter, optional
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
        ``x`` (pixel centres, bitwise those of the GeoBox), ``spatial_ref``. Attributes:
        ``nodata`` and ``categorical`` (names of bands with codes).

    Raises
    ------
    BandError
        When a band is not there, or not in every item.
    ItemError
        When an item has no date.
    AreaError
        When the GeoBox is not north-up.
    RecipeError
        When ``resampling``, ``chunk`` or ``loader`` make no sense.
    MissingExtraError
        When the loader is not installed.
    ReadError
        Here when metadata leaves the type of a band open and the file cannot be opened;
        else while computing. A failed read is never nodata, unless ``on_error`` says so.

    Notes
    -----
    The cube's type is the smallest that holds all bands. Its nodata is one number: the
    bands' own when they agree, else the first of them that is no valid value of another
    band, else a number outside all of them in a wider type (NaN for floats). A band whose
    metadata says neither type nor nodata is asked through the header of its first file;
    for Sentinel-2 without metadata they are known (uint16, SCL uint8, nodata 0).
    """
    how = resampling or {}
    if loader not in _LOADERS:
        raise RecipeError(
            f"loader is {loader!r}; expected one of {', '.join(_LOADERS)}"
            f"{nearest(loader, _LOADERS)}"
        )
    chosen = assets.select(items, _checked(bands, how, chunk))
    grid, box = OutputGrid.of(geobox)
    codes = [chosen.is_categorical(column) for column in range(len(chosen.bands))]
    sources = _sources(chosen, codes, how)
    dtype, fill = number_type(chosen, sources)
    looks = len(chosen.items)
    origin = block_origin(chosen, grid)
    chunks = cube_chunks(box, origin, chunk, codes, looks * dtype.itemsize)
    if looks:
        layout = Layout(grid, box, dtype, fill, ((looks,), *chunks), _on_error(on_error), meter)
        data = _LOADERS[loader](layout, chosen, sources)
    else:
        import dask.array as da

        shape = (0, len(chosen.bands), *box.shape)
        data = da.zeros(shape, dtype=dtype, chunks=((0,), *chunks))
    return xr.DataArray(
        data,
        dims=("time", "band", "y", "x"),
        coords=_coords(chosen, geobox),
        attrs={
            "nodata": fill.item(),
            "categorical": [b for b, code in zip(chosen.bands, codes, strict=True) if code],
        },
        name="cube",
    )


def _checked(bands: Sequence[str], resampling: Mapping[str, str], chunk: int) -> list[str]:
    if isinstance(bands, str) or not bands:
        raise RecipeError(f"bands is {bands!r}; expected a list of at least one band name")
    twice = [band for band, count in Counter(bands).items() if count > 1]
    if twice:
        raise RecipeError(f"band {twice[0]!r} is asked for twice; name each band once")
    for band, method in resampling.items():
        if band not in bands:
            raise RecipeError(
                f"resampling names band {band!r}, which is not loaded{nearest(band, bands)}"
            )
        if method not in METHODS:
            raise RecipeError(
                f"resampling of {band!r} is {method!r}; expected one of "
                f"{', '.join(METHODS)}{nearest(method, METHODS)}"
            )
    if chunk < 1:
        raise RecipeError(f"chunk is {chunk}; it must be at least 1 pixel")
    return list(bands)


def _on_error(
    on_error: str | Callable[[ReadError], None],
) -> Callable[[ReadError], None] | None:
    if callable(on_error):
        return on_error
    if on_error not in ("raise", "skip"):
        raise RecipeError(f"on_error is {on_error!r}; expected 'raise', 'skip' or a function")
    return _warn if on_error == "skip" else None


def _warn(error: ReadError) -> None:
    logging.getLogger(__name__).warning("counted as not seen: %s", error)


def _sources(
    chosen: Selection, codes: Sequence[bool], resampling: Mapping[str, str]
) -> list[list[Source]]:
    methods = [
        resampling.get(band, "nearest" if code else "bilinear")
        for band, code in zip(chosen.bands, codes, strict=True)
    ]
    return [
        [_source(item, key, method) for key, method in zip(row, methods, strict=True)]
        for item, row in zip(chosen.items, chosen.keys, strict=True)
    ]


def _source(item: pystac.Item, key: str, method: str) -> Source:
    asset = item.assets[key]
    transform = assets.projection(item, asset, "transform")
    declared = assets.nodata(item, asset)
    return Source(
        item=item.id,
        asset=key,
        url=assets.location(asset),
        resampling=method,
        nodata=radiometry.known_nodata(item, key) if declared is None else declared,
        crs=assets.crs(item, asset),
        transform=tuple(map(float, transform)) if transform else None,
        sign=item.properties.get(PROPERTY),
    )


def _coords(chosen: Selection, geobox: GeoBox) -> dict[str, Any]:
    from odc.geo.xr import xr_coords

    items, shape = chosen.items, (len(chosen.items), len(chosen.bands))
    pairs = [
        radiometry.scale_offset(item, key)
        for item, row in zip(items, chosen.keys, strict=True)
        for key in row
    ]
    scaling = np.array(pairs, "float32").reshape(*shape, 2)
    times = [np.datetime64(assets.moment(item).replace(tzinfo=None), "ns") for item in items]
    days = [assets.solar_day(item) for item in items]
    # rasterio and odc-geo find the CRS through spatial_ref; names stay y and x in degrees too.
    spatial = {str(k): v for k, v in xr_coords(geobox, always_yx=True).items()}
    return {
        "time": ("time", np.array(times, "datetime64[ns]")),
        "band": ("band", np.array(chosen.bands, dtype=str)),
        "id": ("time", np.array([item.id for item in items], dtype=str)),
        "solar_day": ("time", np.array(days, "datetime64[s]")),
        "scale": (("time", "band"), scaling[..., 0]),
        "offset": (("time", "band"), scaling[..., 1]),
        **spatial,
    }
