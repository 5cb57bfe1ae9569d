"""Read labelled objects: boxes and polygons of vector files, or tables of boxes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely

from rsscale.errors import RecipeError
from rsscale.geo.vector_file import split_layer
from rsscale.reference.label_table import is_table, read_table, table_numbers
from rsscale.reference.labels import read_frame

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

PIXELS = "pixels"
"""In place of a CRS: coordinates are pixels of the grid, or of an image."""
_CORNERS = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x0", "y0", "x1", "y1"),
    ("left", "top", "right", "bottom"),
)


def read_objects(
    path: str | Path, *, layer: str | None = None, crs: str | None = None
) -> gpd.GeoDataFrame:
    """Read boxes or polygons of objects.

    Parameters
    ----------
    path : path
        Any vector file that GDAL reads, or GeoParquet, which must say its CRS. Or a table, CSV or
        Parquet, with a box in each row: columns ``xmin, ymin, xmax, ymax``, or
        ``x0, y0, x1, y1``, or ``left, top, right, bottom``, in upper or lower case.
    layer : str, optional
        Which layer of the file; needed where it has several.
    crs : str, optional
        Of a table's coordinates; ``"pixels"`` where they count pixels: ``x`` columns from the left
        edge of the grid or image, ``y`` rows from the upper one.

    Returns
    -------
    GeoDataFrame
        All columns; without a CRS of pixels.

    Raises
    ------
    RecipeError
        When the file can't be read, a table has no such columns or says no CRS, or a box is
        inverted, with its row.
    """
    file = split_layer(path)[0]
    if not file.exists() or not is_table(file):
        return read_frame(path, layer, None, crs)
    if layer:
        raise RecipeError(f"labels {path} are a table, which has no layers; leave it out")
    return _boxes(read_table(file), file, crs)


def _boxes(table: pd.DataFrame, path: Path, crs: str | None) -> gpd.GeoDataFrame:
    import geopandas as gpd

    names = _corners(table, path)
    if crs is None:
        raise RecipeError(
            f"labels {path} are a table of boxes and don't say what {', '.join(names)} count; say "
            "it with train.labels_crs: a CRS such as EPSG:32631, or pixels (of the grid)"
        )
    x0, y0, x1, y1 = (table_numbers(table, name, path) for name in names)
    inverted = np.flatnonzero((x1 < x0) | (y1 < y0))
    if len(inverted):
        row = int(inverted[0])
        more = f" ({len(inverted)} rows in all)" if len(inverted) > 1 else ""
        box = ", ".join(
            f"{name} {value[row]:g}" for name, value in zip(names, (x0, y0, x1, y1), strict=True)
        )
        raise RecipeError(
            f"labels {path}: the box of row {row} is inverted: {box}{more}; expected {names[0]} "
            f"below {names[2]} and {names[1]} below {names[3]}, are columns exchanged, or is it x, "
            "y, width, height?"
        )
    others = table.drop(columns=[*names, *(["geometry"] if "geometry" in table else [])])
    known = None if crs == PIXELS else crs
    try:
        return gpd.GeoDataFrame(others, geometry=shapely.box(x0, y0, x1, y1), crs=known)
    except Exception as error:  # pyproj raises several types
        raise RecipeError(
            f"labels {path}: the CRS {crs!r} is not known to pyproj; use a code like 'EPSG:32631', "
            "or 'pixels'"
        ) from error


def _corners(table: pd.DataFrame, path: Path) -> tuple[str, str, str, str]:
    """The columns of a box's corners, as the table calls them."""
    by_name = {str(name).lower(): str(name) for name in table.columns}
    for names in _CORNERS:
        if all(name in by_name for name in names):
            x0, y0, x1, y1 = (by_name[name] for name in names)
            return x0, y0, x1, y1
    raise RecipeError(
        f"labels {path} are a table without boxes, with the columns {list(table.columns)}; "
        "expected xmin, ymin, xmax, ymax: a detector learns from boxes or polygons"
    )
