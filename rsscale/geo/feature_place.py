"""Check where features lie: in their own CRS, and in the area that is mapped."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from odc.geo.geom import Geometry

from rsscale.errors import RecipeError

_WGS84 = "EPSG:4326"
# Longitudes are also counted from 0 to 360.
_MOST_LONGITUDE, _MOST_LATITUDE = 360.0, 90.0
_ROUNDING = 1e-6

Bounds = npt.NDArray[np.float64]


def check_coordinates(bounds: Bounds, crs: Any, source: str) -> None:
    """Refuse coordinates that can't be in their CRS.

    Parameters
    ----------
    bounds : float array (features, 4)
        West, south, east and north of each.
    crs : pyproj CRS
    source : str
        For the message.

    Raises
    ------
    RecipeError
        With the first row that is wrong.
    """
    crs = pyproj.CRS.from_user_input(crs)
    finite = np.isfinite(bounds).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise RecipeError(f"{source}: row {row} has coordinates that are no numbers; remove it")
    if not crs.is_geographic:
        return
    lon, lat = np.abs(bounds[:, [0, 2]]).max(axis=1), np.abs(bounds[:, [1, 3]]).max(axis=1)
    is_wrong = (lon > _MOST_LONGITUDE + _ROUNDING) | (lat > _MOST_LATITUDE + _ROUNDING)
    if not is_wrong.any():
        return
    row = int(np.flatnonzero(is_wrong)[0])
    swapped = lat.max() <= _MOST_LONGITUDE and lon.max() <= _MOST_LATITUDE
    remedy = (
        "longitude and latitude look swapped: x is the longitude"
        if swapped
        else "expected degrees; state the CRS in which the coordinates are"
    )
    raise RecipeError(
        f"{source}: row {row} lies at ({bounds[row, 0]:.10g}, {bounds[row, 1]:.10g}), which can't "
        f"be longitude and latitude of {_name(crs)} ({int(is_wrong.sum())} of {len(bounds)} rows); "
        f"{remedy}"
    )


def check_area(bounds: Bounds, crs: Any, area: Geometry, source: str) -> None:
    """Refuse features of which none lies in the area.

    Parameters
    ----------
    bounds : float array (features, 4)
        West, south, east and north of each, in their CRS.
    crs : pyproj CRS
    area : Geometry
        In EPSG:4326.
    source : str
        For the message.

    Raises
    ------
    RecipeError
        Which says where they are, where the area is, and what may be the reason.
    """
    crs = pyproj.CRS.from_user_input(crs)
    degrees = _in_degrees(bounds, crs)
    if degrees is not None and _touches(degrees, area):
        return
    where = (
        f"at {_text(_around(degrees))} (west, south, east, north)"
        if degrees is not None
        else f"at {_text(_around(bounds))}, which is nowhere on the ground"
    )
    raise RecipeError(
        f"{source} in {_name(crs)} lie {where}, and none of them in the area, which is at "
        f"{_text(np.array(area.boundingbox.bbox))}; {_likely_reason(bounds, crs, area)}"
    )


def _likely_reason(bounds: Bounds, crs: pyproj.CRS, area: Geometry) -> str:
    swapped = bounds[:, [1, 0, 3, 2]]
    degrees = _in_degrees(swapped, crs)
    if degrees is not None and _touches(degrees, area):
        return "with x and y swapped they would be there: swap the columns of the coordinates"
    if not crs.is_geographic:
        for name, values in (
            ("longitude and latitude", bounds),
            ("latitude and longitude", swapped),
        ):
            if (np.abs(values) <= [180, 90, 180, 90]).all() and _touches(values, area):
                return (
                    f"taken as {name} they would be there: their CRS is EPSG:4326 and not "
                    f"{_name(crs)}"
                )
    return "check the CRS of the labels and the area of the recipe"


def _in_degrees(bounds: Bounds, crs: pyproj.CRS) -> Bounds | None:
    """Bounds in EPSG:4326; None where the CRS can't hold the coordinates."""
    transformer = pyproj.Transformer.from_crs(crs, _WGS84, always_xy=True)
    # Each by its own: all features at once may lie on both sides of the antimeridian.
    corners = [transformer.transform(bounds[:, x], bounds[:, y]) for x in (0, 2) for y in (1, 3)]
    lon, lat = (np.stack([corner[axis] for corner in corners]) for axis in (0, 1))
    degrees = np.stack([lon.min(0), lat.min(0), lon.max(0), lat.max(0)], axis=-1)
    degrees = degrees[np.isfinite(degrees).all(axis=1)]
    return degrees if len(degrees) else None


def _touches(degrees: Bounds, area: Geometry) -> bool:
    shapely.prepare(area.geom)
    return bool(shapely.intersects(area.geom, shapely.box(*degrees.T)).any())


def _around(bounds: Bounds) -> npt.NDArray[np.float64]:
    around: npt.NDArray[np.float64] = np.concatenate(
        [bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)]
    )
    return around


def _text(bounds: npt.NDArray[np.float64]) -> str:
    return "[" + ", ".join(f"{value:.6g}" for value in bounds) + "]"


def _name(crs: pyproj.CRS) -> str:
    authority = crs.to_authority()
    return ":".join(authority) if authority else str(crs.name)
