"""Read a vector file of reference data, or say in one line why it can't be used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rsscale.errors import RecipeError

if TYPE_CHECKING:
    import geopandas as gpd


def read_vector_file(path: Path, name: str) -> gpd.GeoDataFrame:
    """The features of a file, with a CRS; at least one, rows numbered from 0.

    Parameters
    ----------
    path : Path
        GeoPackage, GeoJSON, GeoParquet or another format of GDAL.
    name : str
        The file in messages, in the plural: ``"labels fields.gpkg"``.

    Raises
    ------
    RecipeError
        When it can't be read, or has no feature, geometry or CRS.
    """
    import geopandas as gpd

    try:
        if path.suffix.lower() in (".parquet", ".geoparquet"):
            frame = gpd.read_parquet(path)
        else:
            frame = gpd.read_file(path)
    except Exception as error:  # noqa: BLE001 -- each driver raises its own
        raise RecipeError(
            f"{name} can't be read as a vector file: {' '.join(str(error).split())[:200]}"
        ) from None
    if not isinstance(frame, gpd.GeoDataFrame) or frame.empty:
        raise RecipeError(f"{name} hold no feature with a geometry")
    if frame.crs is None:
        raise RecipeError(f"{name} have no CRS; save them with one")
    return frame.reset_index(drop=True)
