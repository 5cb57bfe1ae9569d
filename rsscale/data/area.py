"""Areas of interest, from whatever a person has at hand to one geometry in EPSG:4326."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import shapely
from odc.geo.geom import Geometry
from shapely.geometry.base import BaseGeometry

from rsscale.errors import AreaError

if TYPE_CHECKING:
    import geopandas as gpd

    # A GeoDataFrame counts as Any here, because geopandas ships no types.
    AreaLike: TypeAlias = (
        Geometry
        | BaseGeometry
        | Mapping[str, Any]
        | str
        | Path
        | Sequence[float]
        | gpd.GeoDataFrame
        | gpd.GeoSeries
    )

WGS84 = "EPSG:4326"
# A straight edge of a projected polygon is a curve in degrees. An edge as long as the
# whole area is cut into this many pieces: one of 500 km in UTM then strays by 0.15 m.
_PIECES = 256


def read_area(area: AreaLike) -> Geometry:
    """Read an area of interest.

    Parameters
    ----------
    area : GeoDataFrame, GeoSeries, odc.geo Geometry, shapely geometry, path, or [w, s, e, n]
        Polygons with a CRS; a shapely geometry, a GeoJSON mapping and a box are in
        EPSG:4326 (degrees, longitude first). All features of a file or frame together
        make one area.

    Returns
    -------
    odc.geo.geom.Geometry
        A valid Polygon or MultiPolygon in EPSG:4326, holes kept.

    Raises
    ------
    AreaError
        A file that is absent or cannot be read; no features; no CRS; points or lines; NaN
        or infinite coordinates; a self-crossing polygon (which is named, with the place:
        it is not repaired, because a repair can drop half of it); degrees off the globe.
    """
    shapes, crs, name = _shapes(area)
    shapes = [shapely.force_2d(s) for s in shapes if s is not None and not s.is_empty]
    if not shapes:
        raise AreaError(f"{name} is empty: it has no feature with a geometry; give it a polygon")
    for number, shape in enumerate(shapes, start=1):
        _check_shape(shape, f"{name}, feature {number} of {len(shapes)}" if shapes[1:] else name)
    merged = shapely.union_all(shapes) if shapes[1:] else shapes[0]
    geometry = _to_degrees(Geometry(merged, crs), name)
    _check_degrees(geometry, name)
    return geometry


def describe_bounds(geometry: Geometry) -> str:
    """The bounds of an area in degrees, for a message: ``"[0.1600, 40.5200, …]"``."""
    box = geometry.boundingbox
    return f"[{box.left:.4f}, {box.bottom:.4f}, {box.right:.4f}, {box.top:.4f}]"


def _shapes(area: Any) -> tuple[list[BaseGeometry], Any, str]:
    """Geometries, their CRS, and what to call the area in a message."""
    if isinstance(area, Geometry):
        if area.crs is None:
            raise AreaError("the area has no CRS; give one, as in Geometry(shape, 'EPSG:4326')")
        return [area.geom], area.crs, "the area"
    if isinstance(area, BaseGeometry):
        return [area], WGS84, "the area"
    if isinstance(area, Mapping):
        return [_from_geojson(area)], WGS84, "the area"
    if isinstance(area, (str, Path)):
        return _from_frame(_read_file(Path(area)), f"area {str(area)!r}")
    if hasattr(area, "total_bounds") and hasattr(area, "crs"):
        return _from_frame(area, "the area")
    return [_from_box(area)], WGS84, "the area"


def _from_frame(frame: Any, name: str) -> tuple[list[BaseGeometry], Any, str]:
    geometry = getattr(frame, "geometry", None)
    if geometry is None:
        raise AreaError(f"{name} has no geometry column; give it polygons")
    if len(geometry) and geometry.crs is None:
        raise AreaError(
            f"{name} has no CRS; say which it is in with .set_crs(…), or save it with one"
        )
    return list(geometry), geometry.crs or WGS84, name


def _read_file(path: Path) -> Any:
    import geopandas as gpd

    if not path.exists():
        raise AreaError(f"area {str(path)!r} is not there; check the path (now in {Path.cwd()})")
    try:
        if path.suffix.lower() in (".parquet", ".geoparquet"):
            return gpd.read_parquet(path)
        return gpd.read_file(path)
    except Exception as error:  # pyogrio, pyarrow and GDAL each raise their own
        first = str(error).strip().partition("\n")[0]
        raise AreaError(
            f"area {str(path)!r} cannot be read as a vector file: {first}; "
            "expected GeoJSON, GeoPackage, GeoParquet or another format of GDAL"
        ) from error


def _from_geojson(mapping: Mapping[str, Any]) -> BaseGeometry:
    geometry = mapping.get("geometry") if mapping.get("type") == "Feature" else mapping
    try:
        return shapely.geometry.shape(geometry)
    except Exception as error:  # noqa: BLE001 -- whatever shapely trips over
        raise AreaError(
            f"the area is a mapping of type {mapping.get('type')!r} that is not a GeoJSON "
            f"geometry: {error}; give a Polygon, a MultiPolygon or a Feature"
        ) from None


def _from_box(area: Any) -> BaseGeometry:
    try:
        west, south, east, north = (float(value) for value in area)
    except (TypeError, ValueError):
        raise AreaError(
            f"the area is {area!r}; expected a vector file, a geometry, a GeoDataFrame "
            "or four numbers [west, south, east, north]"
        ) from None
    if not all(map(math.isfinite, (west, south, east, north))):
        raise AreaError(f"the area's bounds are {list(area)}; expected four finite numbers")
    if south >= north or west >= east:
        hint = "give two polygons if it crosses the antimeridian" if west > east else "swap them"
        raise AreaError(
            f"the area's bounds are {list(area)}; expected west < east and south < north ({hint})"
        )
    return shapely.box(west, south, east, north)


def _check_shape(shape: BaseGeometry, name: str) -> None:
    if shape.geom_type not in ("Polygon", "MultiPolygon"):
        raise AreaError(f"{name} is a {shape.geom_type}; expected a Polygon or a MultiPolygon")
    # The bounds of a geometry skip its NaN coordinates, so that they say nothing.
    coordinates = shapely.get_coordinates(shape)
    if not all(map(math.isfinite, coordinates.ravel())):
        raise AreaError(f"{name} has NaN or infinite coordinates; expected numbers in its CRS")
    if not shapely.is_valid(shape):
        raise AreaError(
            f"{name} is not a valid polygon: {shapely.is_valid_reason(shape)} (x, y in its CRS); "
            "redraw it there, or repair it with shapely.make_valid and look at the result"
        )
    if shape.area == 0:
        raise AreaError(f"{name} covers nothing (area 0); expected a polygon with an inside")


def _to_degrees(geometry: Geometry, name: str) -> Geometry:
    if geometry.crs == WGS84:
        return geometry
    box = geometry.boundingbox
    step = max(box.span_x, box.span_y) / _PIECES
    result = geometry.segmented(step).to_crs(WGS84)
    if result.is_empty or not all(map(math.isfinite, shapely.get_coordinates(result.geom).ravel())):
        raise AreaError(
            f"{name} cannot be brought from {geometry.crs} to degrees: it lies outside where "
            "that CRS is defined; check the CRS and the order of x and y"
        )
    if not result.is_valid:
        raise AreaError(
            f"{name} is not a valid polygon once in degrees: {shapely.is_valid_reason(result.geom)}"
            "; draw it in EPSG:4326, and as two polygons where it crosses the antimeridian"
        )
    return result


def _check_degrees(geometry: Geometry, name: str) -> None:
    box = geometry.boundingbox
    if box.left < -180 or box.right > 180 or box.bottom < -90 or box.top > 90:
        raise AreaError(
            f"{name} has bounds {describe_bounds(geometry)}, which are not degrees on the globe; "
            "if they are metres, give the CRS too (GeoDataFrame or odc.geo Geometry)"
        )
