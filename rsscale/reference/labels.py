"""Read labelled polygons or points, and burn them into pixels of the grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.errors import RecipeError, nearest
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.geo.rasterize import rasterize
from rsscale.geo.vector_file import split_layer
from rsscale.layers import NODATA
from rsscale.model.spec import LandClass
from rsscale.reference.vector_file import read_vector_file

if TYPE_CHECKING:
    import geopandas as gpd

# Paul Tol's "muted" and "bright" schemes (https://personal.sron.nl/~pault/), distinct with
# any colour vision; used where no colours are given.
_PALETTE = (
    "#332288",
    "#117733",
    "#ddcc77",
    "#cc6677",
    "#88ccee",
    "#999933",
    "#aa4499",
    "#44aa99",
    "#882255",
    "#ee7733",
    "#0077bb",
    "#009988",
    "#cc3311",
    "#bbbbbb",
    "#ee3377",
    "#33bbee",
)
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
    """

    frame: gpd.GeoDataFrame
    classes: tuple[LandClass, ...]
    source: str

    def on(self, grid: Grid, period: int | None = None) -> GridLabels:
        """The labels of a year (of all years when None) on a grid."""
        frame = self.frame
        if period is not None:
            frame = frame[frame["period"].isin([_ALWAYS, period])]
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
        return GridLabels(tuple(zip(frame.geometry, frame["value"].astype(int), strict=True)), grid)


@dataclass(frozen=True)
class GridLabels:
    """Labels as pixels of a grid.

    Attributes
    ----------
    shapes : tuple of (geometry, class value)
        In the grid's CRS.
    grid : Grid
    """

    shapes: tuple[tuple[shapely.Geometry, int], ...]
    grid: Grid

    def rasterize(self, box: PixelBox) -> npt.NDArray[np.uint8]:
        """Class values of the pixels of a box whose centre is labelled.

        Returns
        -------
        uint8 array (rows, cols)
            255 where unlabelled, and where features of different classes overlap, since it is not
            known which of them is right.
        """
        # Burnt in ascending order the highest class wins, in descending order the lowest: where
        # both are equal there is one class only.
        shapes = [self._sorted[i] for i in self._near(box)]
        highest = rasterize(shapes, self.grid, box, fill=NODATA)
        lowest = rasterize(shapes[::-1], self.grid, box, fill=NODATA)
        return np.where(highest == lowest, highest, NODATA).astype(np.uint8)

    def blocks(self, size: int) -> list[PixelBox]:
        """Blocks of the global ``size`` px lattice that hold a labelled pixel, sorted."""
        touched: set[PixelBox] = set()
        for west, south, east, north in shapely.bounds(self._tree.geometries):
            touched.update(self._pixels(west, south, east, north).blocks(size))
        return [block for block in sorted(touched) if (self.rasterize(block) != NODATA).any()]

    def _near(self, box: PixelBox) -> list[int]:
        if not self.shapes:
            return []
        extent = self.grid.geobox_of(box).extent.geom
        return sorted(int(i) for i in self._tree.query(extent, predicate="intersects"))

    @cached_property
    def _sorted(self) -> list[tuple[shapely.Geometry, int]]:
        return sorted(self.shapes, key=lambda pair: pair[1])

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree([shape for shape, _ in self._sorted])

    def _pixels(self, west: float, south: float, east: float, north: float) -> PixelBox:
        """Pixels around bounds; at least one, since a point has no extent but its pixel has."""
        (x0, y0), res = self.grid.origin, self.grid.resolution
        row0, col0 = math.floor((y0 - north) / res), math.floor((west - x0) / res)
        row1, col1 = math.floor((y0 - south) / res) + 1, math.floor((east - x0) / res) + 1
        return PixelBox(row0, col0, row1, col1)


def read_labels(
    path: str | Path,
    class_column: str,
    *,
    period_column: str | None = None,
    classes: Sequence[LandClass] | None = None,
    layer: str | None = None,
) -> Labels:
    """Read labelled polygons or points.

    Parameters
    ----------
    path : path
        Any vector file that GDAL reads, or GeoParquet; it must say its CRS.
    class_column : str
        The column of the class name (or of the class value, when ``classes`` are given).
    period_column : str, optional
        The column of the year that a label is true for; without it they are true for all.
    classes : sequence of LandClass, optional
        Values, names and colours. Without them the names in the file, sorted and numbered
        from 1.
    layer : str, optional
        Which layer of the file; needed where it has several, else they are listed.

    Raises
    ------
    RecipeError
        When the file, the column, a class or the CRS is missing, or a geometry is not valid;
        the message names the row.
    """
    frame = _read_frame(path, layer)
    names = _column(frame, class_column, path)
    problem = _geometry_problem(frame)
    if problem:
        raise RecipeError(f"labels {path}: {problem}")
    if classes is None:
        classes = _numbered(names, path)
    frame = frame[["geometry"]].assign(
        value=_values(names, classes, path),
        period=_ALWAYS
        if period_column is None
        else _years(_column(frame, period_column, path), path),
    )
    return Labels(frame, tuple(classes), str(path))


def _read_frame(given: str | Path, layer: str | None) -> gpd.GeoDataFrame:
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


def _numbered(names: Any, path: str | Path) -> tuple[LandClass, ...]:
    found = sorted({str(name) for name in names.dropna()})
    if len(found) >= NODATA:
        raise RecipeError(
            f"labels {path} have {len(found)} different classes; at most 254 fit a map, is this "
            "the column of the class name?"
        )
    return tuple(
        LandClass(value, name, _PALETTE[(value - 1) % len(_PALETTE)])
        for value, name in enumerate(found, start=1)
    )


def _values(names: Any, classes: Sequence[LandClass], path: str | Path) -> list[int]:
    """Class values of names; values themselves are taken too."""
    by_name = {str(c.value): c.value for c in classes} | {c.name: c.value for c in classes}
    values = []
    for row, name in enumerate(names):
        if name is None or name != name:  # noqa: PLR0124 -- NaN
            raise RecipeError(f"labels {path}: row {row} has no class; fill it in or remove it")
        # A column of whole numbers with a gap in it is read as floats.
        text = str(int(name)) if isinstance(name, float) and name.is_integer() else str(name)
        if text not in by_name:
            count = int((names == name).sum())
            known = [c.name for c in classes]
            raise RecipeError(
                f"labels {path}: class {text!r} ({count} features) is not among the classes "
                f"{known}{nearest(text, known)}"
            )
        values.append(by_name[text])
    return values


def _years(column: Any, path: str | Path) -> list[int]:
    years = []
    for row, value in enumerate(column):
        text = str(value)[:4]
        if not text.isdigit():
            raise RecipeError(
                f"labels {path}: row {row} has the period {value!r}; expected a year or a date"
            )
        years.append(int(text))
    return years
