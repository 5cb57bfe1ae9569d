"""Build the lazy cube of scene records on a grid, without STAC."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from rsscale.cube.chunks import block_origin, cube_chunks
from rsscale.cube.dask_graph import Layout, Sources, dask_array
from rsscale.cube.dtypes import CubeKind, cube_kind
from rsscale.cube.mask_rules import check_nodata
from rsscale.errors import ItemError, ReadError, RecipeError, nearest
from rsscale.items.records import SceneRecord, Scenes, is_percentage
from rsscale.read.placement import OutputGrid
from rsscale.read.source import Source
from rsscale.read.stage_timer import StageTimer
from rsscale.read.warp import METHODS

OUTPUT_CHUNK = 1024
"""Width of a cube's chunks, about, where nothing else is asked for; px."""

# What nanoseconds since 1970 in 64 bits can hold: a cube's times are such.
_EARLIEST, _LATEST = np.datetime64("1678-01-01"), np.datetime64("2262-01-01")


def _stackstac_array(layout: Layout, scenes: Scenes, sources: Sources) -> Any:
    from rsscale.cube.stackstac_graph import stackstac_array  # imports pystac

    return stackstac_array(layout, scenes, sources)


def _odc_array(layout: Layout, scenes: Scenes, sources: Sources) -> Any:
    from rsscale.cube.odc_graph import odc_array  # likewise, and takes long

    return odc_array(layout, scenes, sources)


_LOADERS: Mapping[str, Callable[[Layout, Scenes, Sources], Any]] = {
    "stackstac": _stackstac_array,
    "odc-stac": _odc_array,
    "dask": dask_array,
}


def build_cube(
    scenes: Scenes,
    geobox: GeoBox,
    *,
    resampling: Mapping[str, str] | None = None,
    nodata: Mapping[str, Sequence[float]] | None = None,
    chunk: int = OUTPUT_CHUNK,
    loader: str = "dask",
    on_error: Literal["raise", "skip"] | Callable[[ReadError], None] = "raise",
    meter: StageTimer | None = None,
) -> xr.DataArray:
    """Build the lazy cube of some scenes on a grid.

    Parameters
    ----------
    scenes : Scenes
        All of their bands are read.
    geobox, resampling, chunk, loader, on_error, meter
        See :func:`rsscale.cube.load.load`.
    nodata : mapping of band to sequence of float, optional
        What may be nodata of a band: what is declared if it is one of these, else the first; with
        none of them, nothing is.

    Returns
    -------
    xr.DataArray
        As :func:`rsscale.cube.load.load`.

    Raises
    ------
    AreaError, RecipeError, ReadError
        Likewise.
    """
    how = resampling or {}
    check_request(scenes.names, how, chunk, loader)
    _check_names("nodata", nodata or {}, scenes.names)
    _check_dates(scenes)
    grid, box = OutputGrid.of(geobox)
    codes = [scenes.is_categorical(column) for column in range(len(scenes.names))]
    methods = [
        how.get(band, "nearest" if code else "bilinear")
        for band, code in zip(scenes.names, codes, strict=True)
    ]
    given = nodata or {}
    among = [given.get(band) for band in scenes.names]
    sources = [_sources(record, scenes.names, methods, among) for record in scenes]
    kind = cube_kind(scenes, sources, skips=on_error != "raise")
    for band, holds in zip(scenes.names, kind.types, strict=True):
        check_nodata(band, given.get(band, ()), holds)
    dtype, fill = kind.dtype, kind.fill
    count = len(scenes)
    chunks = cube_chunks(box, block_origin(scenes, grid), chunk, codes, count * dtype.itemsize)
    if count:
        layout = Layout(grid, box, dtype, fill, ((count,), *chunks), _on_error(on_error), meter)
        data = _LOADERS[loader](layout, scenes, sources)
    else:
        import dask.array as da

        shape = (0, len(scenes.names), *box.shape)
        data = da.zeros(shape, dtype=dtype, chunks=((0,), *chunks))
    return xr.DataArray(
        data,
        dims=("time", "band", "y", "x"),
        coords=_coords(scenes, geobox) | _band_coords(methods, kind),
        attrs={
            "nodata": fill.item(),
            "categorical": [b for b, code in zip(scenes.names, codes, strict=True) if code],
        },
        name="cube",
    )


def check_request(
    bands: Sequence[str], resampling: Mapping[str, str], chunk: int, loader: str
) -> None:
    """Check bands, resampling, chunk and loader, whatever the items are.

    Raises
    ------
    RecipeError
    """
    if loader not in _LOADERS:
        raise RecipeError(
            f"loader is {loader!r}; expected one of {', '.join(_LOADERS)}"
            f"{nearest(loader, _LOADERS)}"
        )
    if isinstance(bands, str) or not bands:
        raise RecipeError(f"bands is {bands!r}; expected a list of at least one band name")
    twice = [band for band, count in Counter(bands).items() if count > 1]
    if twice:
        raise RecipeError(f"band {twice[0]!r} is asked for twice; name each band once")
    _check_names("resampling", resampling, bands)
    for band, method in resampling.items():
        if method not in METHODS:
            raise RecipeError(
                f"resampling of {band!r} is {method!r}; expected one of "
                f"{', '.join(METHODS)}{nearest(method, METHODS)}"
            )
    if chunk < 1:
        raise RecipeError(f"chunk is {chunk}; it must be at least 1 pixel")


def _check_names(subject: str, given: Iterable[str], bands: Sequence[str]) -> None:
    for band in given:
        if band not in bands:
            raise RecipeError(
                f"{subject} names band {band!r}, which is not loaded{nearest(band, bands)}"
            )


def _check_dates(scenes: Scenes) -> None:
    for record in scenes:
        if not _EARLIEST <= record.moment <= _LATEST:
            raise ItemError(
                f"item {record.id!r} is dated {record.moment}; expected a date from {_EARLIEST} to "
                f"{_LATEST}: correct the item, or leave it out (exclude)"
            )


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
    record: SceneRecord,
    names: Sequence[str],
    methods: Sequence[str],
    among: Sequence[Sequence[float] | None],
) -> list[Source]:
    return [
        Source(
            item=record.id,
            asset=band.asset,
            url=band.url,
            resampling=method,
            nodata=band.nodata,
            crs=band.crs,
            transform=band.transform,
            sign=record.sign,
            dtype=band.dtype,
            shape=band.shape,
            assumed=band.assumed,
            footprint=band.footprint,
            nodata_among=None if values is None else tuple(map(float, values)),
            zero_is_valid=is_percentage(name) or is_percentage(band.asset),
            index=band.index,
            count=band.count,
            dropped=record.dropped,
            name=name,
        )
        for band, name, method, values in zip(record.bands, names, methods, among, strict=True)
    ]


def _band_coords(methods: Sequence[str], kind: CubeKind) -> dict[str, Any]:
    """What a mask asks of its band: how it was resampled, and nodata and type of its files."""
    own = [np.nan if value is None else value for value in kind.nodata]
    return {
        "resampling": ("band", np.array(methods, dtype=str)),
        "file_nodata": ("band", np.array(own, np.float64)),
        "file_dtype": ("band", np.array([str(known or "") for known in kind.types], dtype=str)),
    }


def _coords(scenes: Scenes, geobox: GeoBox) -> dict[str, Any]:
    from odc.geo.xr import xr_coords

    pairs = [(band.scale, band.offset) for record in scenes for band in record.bands]
    scaling = np.array(pairs, "float32").reshape(len(scenes), len(scenes.names), 2)
    # rasterio and odc-geo find the CRS through spatial_ref; names stay y and x in degrees too.
    spatial = {str(k): v for k, v in xr_coords(geobox, always_yx=True).items()}
    return {
        "time": ("time", np.array([record.moment for record in scenes], "datetime64[ns]")),
        "band": ("band", np.array(scenes.names, dtype=str)),
        "id": ("time", np.array([record.id for record in scenes], dtype=str)),
        "solar_day": ("time", np.array([r.solar_day for r in scenes], "datetime64[s]")),
        "scale": (("time", "band"), scaling[..., 0]),
        "offset": (("time", "band"), scaling[..., 1]),
        **spatial,
    }
