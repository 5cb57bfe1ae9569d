"""Read labelled polygons or points, and burn them into pixels of the grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from rsscale.errors import RecipeError, nearest
from rsscale.geo.grid import Grid
from rsscale.geo.vector_file import split_layer
from rsscale.legend.classes import LandClass
from rsscale.reference.class_column import classes_in, values_in
from rsscale.reference.grid_labels import GridLabels
from rsscale.reference.vector_file import read_vector_file

__all__ = ["GridLabels", "Labels", "read_columns", "read_frame", "read_labels"]

if TYPE_CHECKING:
    import geopandas as gpd

_ALWAYS = -1
# A straight line of this length is bent by a projection by less than a metre or so.
_LONGEST_DEGREES = 0.05
_LONGEST_METRES = 5000.0
_KINDS = ("Polygon", "MultiPolygon", "Point", "MultiPoint")


@dataclass(frozen=True)
class Labels:
    """Labelled features.

    Attributes
    ----------
    frame : GeoDataFrame
        In its own CRS; columns ``value`` (class value), ``period`` (a year, or -1 for all),
        ``geometry``.
    classes : tuple of LandClass
    source : str
        Where they come from, for messages.
    all_touched, priority
        See :class:`~rsscale.reference.grid_labels.GridLabels`.
    """

    frame: gpd.GeoDataFrame
    classes: tuple[LandClass, ...]
    source: str
    all_touched: bool = False
    priority: tuple[int, ...] = ()

    def of(self, period: int) -> Labels:
        """The labels of a year."""
        return replace(self, frame=self.frame[self.frame["period"].isin([_ALWAYS, period])])

    def on(self, grid: Grid, period: int | None = None) -> GridLabels:
        """The labels of a year (of all years when None) on a grid."""
        frame = (self if period is None else self.of(period)).frame
        # Long edges are bent where the grid's CRS bends them; short ones are left as they are.
        step = _LONGEST_DEGREES if frame.crs.is_geographic else _LONGEST_METRES
        frame = frame.set_geometry(shapely.segmentize(frame.geometry.values, step), crs=frame.crs)
        frame = frame.to_crs(grid.crs)
        if not frame.empty and not np.isfinite(frame.bounds.to_numpy()).all():
            row = frame.index[~np.isfinite(frame.bounds).all(axis=1)][0]
            raise RecipeError(
                f"labels {self.source}: row {row} cannot be projected to {grid.crs}; "
                "choose a CRS that covers the labels"
            )
        shapes = tuple(zip(frame.geometry, frame["value"].astype(int), strict=True))
        return GridLabels(shapes, grid, self.all_touched, self.priority)


def read_labels(
    path: str | Path,
    class_column: str,
    *,
    period_column: str | None = None,
    classes: Sequence[LandClass] | None = None,
    layer: str | None = None,
    all_touched: bool = False,
    priority: Sequence[str] = (),
) -> Labels:
    """Read labelled polygons or points.

    Parameters
    ----------
    path : path
        Any vector file that GDAL reads, or GeoParquet; it must say its CRS.
    class_column : str
        The column of the class name or value, of any type: ``3``, ``3.0`` and ``"03"`` are the
        class with the value 3.
    period_column : str, optional
        The column of the year that a label is true for; without it they are true for all.
    classes : sequence of LandClass, optional
        Values, names and colours. Without them codes from 0 to 254 are the values; names are
        sorted and numbered from 1.
    layer : str, optional
        Which layer of the file; needed where it has several, else they are listed.
    all_touched : bool
        Label every pixel that a feature touches, and not those alone whose centre it holds.
    priority : sequence of str
        Names of classes that win where features overlap, the first over all others. Where none
        of them is, features of different classes leave a pixel without a label.

    Raises
    ------
    RecipeError
        When the file, the column, a class or the CRS is missing, or a geometry is not valid;
        the message names the row.
    """
    frame = read_frame(path, layer)
    names = _column(frame, class_column, path)
    problem = _geometry_problem(frame)
    if problem:
        raise RecipeError(f"labels {path}: {problem}")
    if classes is None:
        classes = classes_in(names, f"labels {path}")
    frame = frame[["geometry"]].assign(
        value=values_in(names, classes, f"labels {path}"),
        period=_ALWAYS
        if period_column is None
        else _years(_column(frame, period_column, path), path),
    )
    ranked = tuple(_ranked(priority, classes, path))
    return Labels(frame, tuple(classes), str(path), all_touched, ranked)


def _ranked(
    priority: Sequence[str], classes: Sequence[LandClass], path: str | Path
) -> Iterator[int]:
    """Values of the classes that win, the first over the others."""
    by_name = {c.name: c.value for c in classes}
    for name in priority:
        if name not in by_name:
            raise RecipeError(
                f"labels {path}: 'priority' names {name!r}, which is no class; there are "
                f"{list(by_name)}{nearest(name, by_name)}"
            )
        yield by_name[name]


def read_columns(path: str | Path) -> list[str]:
    """Names of the columns of a vector file."""
    frame = read_frame(path)
    return [str(name) for name in frame.columns if name != "geometry"]


def read_frame(given: str | Path, layer: str | None = None) -> gpd.GeoDataFrame:
    """Read a vector file with a CRS, its geometry flat and in the column ``geometry``.

    Parameters
    ----------
    given : path
        May name its layer as QGIS does.
    layer : str, optional
        Needed where the file has several.

    Raises
    ------
    RecipeError
    """
    path, named = split_layer(given)
    if not path.exists():
        raise RecipeError(f"there are no labels at {path}")
    try:
        frame = read_vector_file(
            path, f"labels {path}", layer or named, key="layer (labels_layer in a recipe)"
        )
    except RecipeError:
        if _is_raster(path):
            raise RecipeError(
                f"labels {path} are a raster; labels are polygons or points with a class: make "
                "them with rasterio.features.shapes or gdal_polygonize, and save a GeoPackage"
            ) from None
        raise
    frame = frame.rename_geometry("geometry") if frame.geometry.name != "geometry" else frame
    return frame.set_geometry(frame.geometry.force_2d())


def _is_raster(path: Path) -> bool:
    import rasterio
    from rasterio.errors import RasterioError

    try:
        with rasterio.open(path) as found:
            return bool(found.count)
    except (RasterioError, OSError):
        return False


def _column(frame: gpd.GeoDataFrame, column: str, path: str | Path) -> Any:
    columns = [str(c) for c in frame.columns if c != "geometry"]
    if column not in columns:
        raise RecipeError(
            f"labels {path} have no column {column!r}; "
            f"there are {columns}{nearest(column, columns)}"
        )
    return frame[column]


def _geometry_problem(frame: gpd.GeoDataFrame) -> str | None:
    for row, shape in enumerate(frame.geometry):
        if shape is None or shape.is_empty:
            return f"row {row} has no geometry; remove it"
        if shape.geom_type not in _KINDS:
            return f"row {row} is a {shape.geom_type}; expected polygons or points"
        if not shape.is_valid:
            reason = shapely.is_valid_reason(shape)
            return f"row {row} is not valid: {reason}; repair it, e.g. with shapely.make_valid"
    return None


def _years(column: Any, path: str | Path) -> list[int]:
    years = []
    for row, value in enumerate(column):
        text = str(value)[:4]
        if not (text.isdigit() and len(text) == 4):
            raise RecipeError(
                f"labels {path}: row {row} has the period {value!r}; expected a year or a date"
                ", such as 2023 or 2023-04-01"
            )
        years.append(int(text))
    return years
