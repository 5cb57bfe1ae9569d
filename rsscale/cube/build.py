"""Build the lazy cube of scene records on a grid, without STAC."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from rsscale.cube.chunks import block_origin, cube_chunks
from rsscale.cube.dask_graph import Layout, Sources, dask_array
from rsscale.cube.dtypes import common_dtype
from rsscale.errors import ReadError, RecipeError, nearest
from rsscale.items.records import SceneRecord, Scenes
from rsscale.read.levels import Source
from rsscale.read.placement import OutputGrid
from rsscale.read.stage_timer import StageTimer
from rsscale.read.warp import METHODS


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
    chunk: int = 1024,
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
    grid, box = OutputGrid.of(geobox)
    codes = [scenes.is_categorical(column) for column in range(len(scenes.names))]
    methods = [
        how.get(band, "nearest" if code else "bilinear")
        for band, code in zip(scenes.names, codes, strict=True)
    ]
    sources = [_sources(record, methods) for record in scenes]
    dtype, fill = common_dtype(scenes, sources)
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
        coords=_coords(scenes, geobox),
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


def _sources(record: SceneRecord, methods: Sequence[str]) -> list[Source]:
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
            dropped=record.dropped,
        )
        for band, method in zip(record.bands, methods, strict=True)
    ]


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
