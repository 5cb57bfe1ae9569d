"""Read a vector file of reference data, or say in one line why it can't be used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import shapely

from rsscale.errors import RecipeError
from rsscale.geo.vector_file import VectorFileError, read_vector

if TYPE_CHECKING:
    import geopandas as gpd


_KINDS = ("Polygon", "MultiPolygon", "Point", "MultiPoint")


def read_vector_file(
    path: Path, name: str, layer: str | None = None, *, key: str = "layer"
) -> gpd.GeoDataFrame:
    """The features of a file, with a CRS; at least one, rows numbered from 0.

    Parameters
    ----------
    path : Path
        GeoPackage, GeoJSON, GeoParquet or another format of GDAL.
    name : str
        The file in messages, in the plural: ``"labels fields.gpkg"``.
    layer : str, optional
        Name of the layer; needed where several hold geometries.
    key : str
        What the caller calls the layer, for messages.

    Raises
    ------
    RecipeError
        When it can't be read, has no feature, geometry or CRS, or several layers and none is named.
    """
    import geopandas as gpd

    try:
        frame = read_vector(path, layer, key=key)
    except VectorFileError as error:
        raise RecipeError(f"{name} {error}") from None
    if not isinstance(frame, gpd.GeoDataFrame):
        raise RecipeError(
            f"{name} are a table without geometry, with the columns {list(frame.columns)}; make "
            "points with geopandas.points_from_xy(longitude, latitude, crs='EPSG:4326'), and save "
            "them as GeoPackage"
        )
    if frame.empty:
        raise RecipeError(f"{name} hold no feature with a geometry")
    if frame.crs is None:
        raise RecipeError(f"{name} have no CRS; save them with one")
    return frame.reset_index(drop=True)


def geometry_problem(frame: gpd.GeoDataFrame) -> str | None:
    """What is wrong with the first geometry that is no polygon or point; None where all are."""
    for row, shape in enumerate(frame.geometry):
        if shape is None or shape.is_empty:
            return f"row {row} has no geometry; remove it"
        if shape.geom_type not in _KINDS:
            return f"row {row} is a {shape.geom_type}; expected polygons or points"
        if not shape.is_valid:
            reason = shapely.is_valid_reason(shape)
            return f"row {row} is not valid: {reason}; repair it, e.g. with shapely.make_valid"
    return None
