"""Read the objects of a run into a GeoDataFrame: all, or those of a place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import shapely

from rsscale.errors import RecipeError, nearest
from rsscale.geo.area import read_area
from rsscale.object_files.step_objects import (
    Bounds,
    RunLike,
    StepObjects,
    folder_of,
    open_objects,
)
from rsscale.objects.columns import GEOMETRY
from rsscale.store.run_state import run_grid

if TYPE_CHECKING:
    import geopandas as gpd
    import pyarrow as pa

_COVERING = "bbox"  # for readers of files; a frame has the geometry's own bounds


def read_objects(
    run: RunLike,
    step: str | None = None,
    *,
    span: str | int | None = None,
    bbox: Any = None,
    columns: Sequence[str] | None = None,
) -> gpd.GeoDataFrame:
    """Read the objects that a step of a run has found, all in memory.

    Parameters
    ----------
    run : Run, path or address
    step : str, optional
        May be left out where only one step holds objects.
    span : str or int, optional
        Such as 2023; all when omitted.
    bbox : (west, south, east, north) in degrees, or anything that is an area; optional
        Only objects that touch it. Only files that hold such objects are read.
    columns : sequence of str, optional
        Besides ``geometry``; all when omitted. See :func:`rsscale.objects.columns.object_schema`.

    Returns
    -------
    geopandas.GeoDataFrame
        In the grid's CRS, one row an object, those of a tile together; ``attrs`` have ``run`` and
        ``step``. Of a step that is not done, the objects of the tiles that are.

    Raises
    ------
    RunFolderError
        When the run has no such step, it holds no objects, or a table is damaged or lost.
    RecipeError
        When there is no such span or column.
    """
    import pandas as pd

    objects = open_objects(folder_of(run), step)
    frames = list(_frames(objects, span, bbox, columns))
    parts = [frame for frame in frames if len(frame)] or frames[:1]
    whole = parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)
    whole.attrs.update(_attributes(objects))
    return whole


def object_tiles(
    run: RunLike,
    step: str | None = None,
    *,
    span: str | int | None = None,
    columns: Sequence[str] | None = None,
) -> Iterator[gpd.GeoDataFrame]:
    """The objects of a step, a tile at a time, along a Hilbert curve: for whole countries.

    Parameters and errors are those of :func:`read_objects`. A tile without objects gives a frame
    without rows. ``attrs`` have ``tile`` and ``span`` too.

    Yields
    ------
    geopandas.GeoDataFrame
    """
    objects = open_objects(folder_of(run), step)
    wanted = _columns(objects, columns)
    spans = objects.chosen(span)
    objects.check_whole(spans, partial=True)
    for each in spans:
        for key in objects.keys[each]:
            frame = frame_of(objects.table(key, columns=wanted), objects.crs)
            frame.attrs.update(_attributes(objects), tile=key.tile, span=each)
            yield frame


def frame_of(table: pa.Table, crs: Any) -> gpd.GeoDataFrame:
    """Rows of objects as a GeoDataFrame."""
    import geopandas as gpd

    shapes = shapely.from_wkb(table[GEOMETRY].to_numpy(zero_copy_only=False))
    dropped = [name for name in (GEOMETRY, _COVERING) if name in table.column_names]
    return gpd.GeoDataFrame(table.drop_columns(dropped).to_pandas(), geometry=shapes, crs=crs)


def _frames(
    objects: StepObjects, span: Any, bbox: Any, columns: Sequence[str] | None
) -> Iterator[gpd.GeoDataFrame]:
    """A frame without rows, and one for each tile that has some."""
    wanted = _columns(objects, columns)
    spans = objects.chosen(span)
    objects.check_whole(spans, partial=True)
    empty = objects.schema.empty_table()
    yield frame_of(empty if wanted is None else empty.select(wanted), objects.crs)
    area = None if bbox is None else _area(objects, bbox)
    bounds: Bounds | None = None
    if area is not None:
        west, south, east, north = map(float, area.bounds)
        bounds = (west, south, east, north)
    for each in spans:
        keys = objects.keys[each] if bounds is None else objects.near(each, bounds)
        for key in keys:
            frame = frame_of(objects.table(key, bounds, wanted), objects.crs)
            yield frame if area is None else frame[frame.intersects(area)]


def _area(objects: StepObjects, bbox: Any) -> shapely.Geometry:
    """A box in degrees, or an area, in the grid's CRS."""
    return run_grid(objects.folder.read_state()).project(read_area(bbox)).geom


def _columns(objects: StepObjects, columns: Sequence[str] | None) -> list[str] | None:
    if columns is None:
        return None
    known = [name for name in objects.schema.names if name not in (_COVERING, GEOMETRY)]
    for name in columns:
        if name not in (*known, GEOMETRY):
            raise RecipeError(
                f"objects have no column {name!r}; there are {', '.join(known)}"
                f"{nearest(name, known)}"
            )
    return [*(name for name in known if name in columns), GEOMETRY]


def _attributes(objects: StepObjects) -> dict[str, str]:
    return {"run": objects.folder.url, "step": objects.step}
