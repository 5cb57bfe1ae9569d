"""The lazy array of a cube by stackstac."""

from __future__ import annotations

from functools import partial
from typing import Any

from rsscale.cube.dask_graph import Layout, Sources
from rsscale.items.records import Scenes
from rsscale.read.reader import Reader


def stackstac_array(layout: Layout, scenes: Scenes, sources: Sources) -> Any:
    """A Dask array ``(time, band, y, x)`` by stackstac, one slice an item.

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
            "id": record.id,
            "properties": {
                "datetime": f"{record.moment}Z",
                "proj:epsg": 1,
                "proj:bbox": bounds,
            },
            "assets": {band: {"href": f"{i}/{b}"} for b, band in enumerate(scenes.names)},
        }
        for i, record in enumerate(scenes)
    ]
    stacked = stackstac.stack(
        plain,
        assets=list(scenes.names),
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
