"""The lazy array of a cube: what both loaders build, and stackstac's way to build it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from rsscale.errors import ReadError
from rsscale.geo.lattice import PixelBox
from rsscale.items import assets
from rsscale.items.assets import Selection
from rsscale.read.levels import Source
from rsscale.read.placement import OutputGrid
from rsscale.read.reader import Reader
from rsscale.read.stage_timer import Meter


@dataclass(frozen=True)
class Layout:
    """The array that a loader has to give.

    Attributes
    ----------
    grid : OutputGrid
    box : PixelBox
        The pixels of the grid that the cube covers.
    dtype : numpy.dtype
    fill : numpy.generic
        The cube's nodata, of that type.
    chunks : tuple of tuple of int
        Of ``(time, band, y, x)``.
    on_error : callable, optional
        Takes the ReadError of what could not be read and then holds nodata; else it is raised.
    meter : Meter, optional
        Counts what is read.
    """

    grid: OutputGrid
    box: PixelBox
    dtype: np.dtype[Any]
    fill: np.generic
    chunks: tuple[tuple[int, ...], ...]
    on_error: Callable[[ReadError], None] | None = None
    meter: Meter | None = None


def stackstac_array(layout: Layout, chosen: Selection, sources: Sequence[Sequence[Source]]) -> Any:
    """A Dask array ``(time, band, y, x)`` by stackstac, one look an item.

    stackstac is given plain items that hide everything but the names. From real items it
    would drop bands and slices it thinks are outside (judged by four projected corners), need
    an EPSG code of each, and refuse STAC 1.1's ``proj:code``.
    """
    import stackstac

    grid, box = layout.grid, layout.box
    bounds = _bounds(layout)
    table = {f"{i}/{b}": s for i, row in enumerate(sources) for b, s in enumerate(row)}
    plain = [
        {
            "id": item.id,
            "properties": {
                "datetime": assets.moment(item).isoformat(),
                "proj:epsg": 1,
                "proj:bbox": bounds,
            },
            "assets": {band: {"href": f"{i}/{b}"} for b, band in enumerate(chosen.bands)},
        }
        for i, item in enumerate(chosen.items)
    ]
    stacked = stackstac.stack(
        plain,
        assets=list(chosen.bands),
        epsg=1,
        resolution=(grid.res_x, grid.res_y),
        bounds=bounds,
        snap_bounds=False,
        chunksize=layout.chunks,
        dtype=layout.dtype,
        fill_value=layout.fill,
        rescale=False,
        sortby_date=False,
        xy_coords=False,
        properties=False,
        band_coords=False,
        reader=partial(
            Reader,
            sources=table,
            grid=grid,
            box=box,
            on_error=layout.on_error,
            meter=layout.meter,
        ),
    )
    return stacked.data


def _bounds(layout: Layout) -> tuple[float, float, float, float]:
    grid, affine = layout.grid, layout.grid.transform(layout.box)
    height, width = layout.box.shape
    left, top = affine.c, affine.f
    return left, top - height * grid.res_y, left + width * grid.res_x, top
