"""How much ground polygons cover, on the ellipsoid of their CRS."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import shapely


def ground_areas(shapes: npt.NDArray[Any], crs: str) -> npt.NDArray[np.float64]:
    """Areas of polygons on the ellipsoid, in square metres: float64 ``(n,)``.

    Edges are geodesics between the corners (Karney 2013, doi:10.1007/s00190-012-0578-z), holes are
    left out. NaN where the CRS has no ground.

    Parameters
    ----------
    shapes : object array (n,) of shapely.Polygon or MultiPolygon
    crs : str
        Of their coordinates.
    """
    if not len(shapes):
        return np.zeros(0)
    to_degrees, geod = _geodesy(crs)
    on_ground = shapely.transform(
        shapes, lambda xy: np.stack(to_degrees.transform(xy[:, 0], xy[:, 1]), axis=1)
    )
    # Counterclockwise rings count as positive, and holes, which run the other way, as negative.
    turned = shapely.orient_polygons(on_ground, exterior_cw=False)
    areas = [
        abs(geod.geometry_area_perimeter(shape)[0]) if _is_finite(shape) else np.nan
        for shape in turned
    ]
    return np.array(areas, np.float64)


def _is_finite(shape: shapely.Geometry) -> bool:
    return bool(np.isfinite(shapely.get_coordinates(shape)).all())


@lru_cache(maxsize=8)
def _geodesy(crs: str) -> tuple[pyproj.Transformer, pyproj.Geod]:
    """To longitude and latitude of the CRS's own datum, and its ellipsoid."""
    known = pyproj.CRS(crs)
    geodetic = known.geodetic_crs
    to_degrees = pyproj.Transformer.from_crs(known, geodetic, always_xy=True)
    geod = known.get_geod()
    if geod is None:
        raise ValueError(f"{crs} has no ellipsoid")
    return to_degrees, geod
