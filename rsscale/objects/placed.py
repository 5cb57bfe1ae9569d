"""Objects of the plane where they are: named, inside a box and an area, as rows in the CRS."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.legend.classes import LandClass
from rsscale.objects.columns import object_rows
from rsscale.objects.deciding import PlaneObjects
from rsscale.objects.ground_area import ground_areas

if TYPE_CHECKING:
    import pyarrow as pa


def placed_rows(
    objects: PlaneObjects,
    *,
    grid: Grid,
    classes: Sequence[LandClass],
    span: str = "",
    run: str = "",
    step: str = "",
    model: str = "",
) -> pa.Table:
    """Rows of objects, in their order.

    Parameters
    ----------
    objects : PlaneObjects
    grid : Grid
    classes : sequence of LandClass
        For their names.
    span, run, step, model : str
        Where they come from.

    Returns
    -------
    pyarrow.Table
        Of :func:`rsscale.objects.columns.object_schema`.
    """
    shapes = in_crs(objects.shapes, grid)
    centres, (x0, y0), res = centres_of(objects), grid.origin, grid.resolution
    places = np.stack([x0 + centres[:, 0] * res, y0 - centres[:, 1] * res], axis=1)
    return object_rows(
        shapes,
        crs=grid.crs,
        ids=[object_id(key) for key in objects.keys.tolist()],
        classes=objects.classes,
        names={c.value: c.name for c in classes},
        area_m2=ground_areas(shapes, grid.crs),
        span=span,
        run=run,
        step=step,
        model=model,
        scores=objects.scores,
        centres=places,
        parts=objects.parts,
        cut=objects.cut,
    )


def object_id(key: Iterable[int]) -> str:
    """Name of an object by its window and its number there: the same for any tiles."""
    row, col, number = key
    return f"w{row}_{col}_{number}"


def in_crs(shapes: npt.NDArray[Any], grid: Grid) -> npt.NDArray[Any]:
    """Shapes in global pixels in the CRS of the grid."""
    (x0, y0), res = grid.origin, grid.resolution
    if not len(shapes):
        return shapes
    geometries: npt.NDArray[Any] = shapely.transform(
        shapes, lambda xy: np.stack([x0 + xy[:, 0] * res, y0 - xy[:, 1] * res], axis=1)
    )
    return geometries


def centres_of(objects: PlaneObjects) -> npt.NDArray[np.float64]:
    """Middles of their bounds ``(n, 2)``: ``x, y`` in global pixels."""
    bounds = shapely.bounds(objects.shapes).reshape(len(objects), 4)
    centres: npt.NDArray[np.float64] = (bounds[:, :2] + bounds[:, 2:]) / 2
    return centres


def inside(objects: PlaneObjects, core: PixelBox, where: npt.NDArray[np.bool_]) -> PlaneObjects:
    """Objects whose centre, the middle of their bounds, is one of some pixels.

    Parameters
    ----------
    objects : PlaneObjects
    core : PixelBox
    where : bool array (row, col)
        Which pixels of the core.
    """
    col, row = np.floor(centres_of(objects)).astype(np.int64).T
    here = (row >= core.row0) & (row < core.row1) & (col >= core.col0) & (col < core.col1)
    here[here] = where[row[here] - core.row0, col[here] - core.col0]
    return objects.take(here)
