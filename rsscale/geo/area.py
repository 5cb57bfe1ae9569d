"""Read areas of interest in any form as one geometry in EPSG:4326."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyproj
import shapely
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox, Geometry
from shapely.geometry.base import BaseGeometry

from rsscale.errors import AreaError
from rsscale.geo.antimeridian import box_on_globe, jumps, on_globe
from rsscale.geo.vector_file import VectorFileError, read_vector, split_layer

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
        | GeoBox
        | BoundingBox
    )

WGS84 = "EPSG:4326"
_BOX = "the area's box"
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/{1,2}(?=\S)")
_WKT = re.compile(
    r"\s*(MULTI)?POLYGON\s*(Z\s*)?\(|\s*GEOMETRYCOLLECTION\s*(Z\s*)?\(", re.IGNORECASE
)
# An area that reaches further than this both west and east goes over the antimeridian.
_NEAR = 170.0
# A straight edge of a projected polygon is a curve in degrees. An edge as long as the
# whole area is cut into this many pieces: one of 500 km in UTM then strays by 0.15 m.
_PIECES = 256
# Share of a shape's area that crossings of its edges may enclose and be taken for rounding.
_ROUNDING = 1e-9


def read_area(area: AreaLike, layer: str | None = None) -> Geometry:
    """Read an area of interest as one valid geometry in degrees.

    Parameters
    ----------
    area : GeoDataFrame, GeoSeries, odc.geo Geometry, shapely geometry, path, or [w, s, e, n]
        Polygons with a CRS; a shapely geometry, GeoJSON (a mapping or its text: a geometry, a
        Feature, a FeatureCollection) and a box are in EPSG:4326 (degrees, longitude first),
        unless the GeoJSON names another in ``crs``. All features of a file, frame or collection
        together make one area; heights are dropped. Across the antimeridian, degrees are written
        as GeoJSON wants it (cut at 180; a box with west > east), or with longitudes beyond 180.
    layer : str, optional
        Which layer of a file; needed where it has several.

    Returns
    -------
    odc.geo.geom.Geometry
        A valid Polygon or MultiPolygon in EPSG:4326 between -180 and 180, holes kept; cut at
        the antimeridian, and along it to the pole where one lies inside.

    Raises
    ------
    AreaError
        A file that is absent or cannot be read, or has several layers and none is named (they
        are listed); no features; no CRS; points or lines; NaN or infinite coordinates; a
        self-crossing polygon (which is named, with the place: it is not repaired, because a
        repair can drop half of it); degrees off the globe; a ring in degrees that jumps by more
        than half the globe, since it may mean either side.
    """
    geometry, name = _checked(area, layer)
    if geometry.crs != WGS84:
        return _to_degrees(geometry, name)
    return _in_degrees(geometry, name)


def area_in_own_crs(area: AreaLike, layer: str | None = None) -> Geometry:
    """Read an area as :func:`read_area` does, with the same refusals, and keep its CRS.

    Nothing is projected, so that what lies on the pixels of a grid goes on lying on them.
    """
    geometry, name = _checked(area, layer)
    return geometry if geometry.crs != WGS84 else _in_degrees(geometry, name)


def _checked(area: AreaLike, layer: str | None) -> tuple[Geometry, str]:
    """The polygons of an area as one geometry in its own CRS, and its name for messages."""
    shapes, crs, name = _shapes(area, layer)
    shapes = [part for shape in shapes for part in _polygons(shape)]
    if not shapes:
        raise AreaError(f"{name} is empty: it has no feature with a geometry; give it a polygon")
    for number, shape in enumerate(shapes, start=1):
        _check_shape(shape, f"{name}, feature {number} of {len(shapes)}" if shapes[1:] else name)
    alone = not shapes[1:] and shapely.is_valid(shapes[0])
    return Geometry(shapes[0] if alone else shapely.union_all(shapes), crs), name


def _polygons(shape: BaseGeometry | None) -> list[BaseGeometry]:
    """A shape without heights; the parts of a collection, none of an empty one."""
    if shape is None or shape.is_empty:
        return []
    flat = shapely.force_2d(shape)
    if flat.geom_type != "GeometryCollection":
        return [flat]
    return [part for inner in shapely.get_parts(flat) for part in _polygons(inner)]


def describe_bounds(geometry: Geometry) -> str:
    """The bounds of an area in degrees, for a message: ``"[0.1600, 40.5200, …]"``."""
    box = geometry.boundingbox
    return f"[{box.left:.4f}, {box.bottom:.4f}, {box.right:.4f}, {box.top:.4f}]"


def sides(area: Geometry) -> list[Geometry]:
    """Split an area in degrees at Greenwich if it reaches the antimeridian from both sides.

    One box around such an area would go around the globe.
    """
    west, _, east, _ = area.geom.bounds
    if west > -_NEAR or east < _NEAR:
        return [area]
    halves = (shapely.box(-180, -90, 0, 90), shapely.box(0, -90, 180, 90))
    parts = [shapely.intersection(area.geom, half) for half in halves]
    return [Geometry(part, WGS84) for part in parts if part.area > 0]


def joined(area: Geometry) -> Geometry:
    """An area across the antimeridian in one piece, going on beyond 180 degrees east.

    Another stays as it is, also one that goes around the globe.
    """
    is_degrees = area.crs is not None and area.crs.geographic
    parts = [part.geom for part in sides(area)] if is_degrees else []
    if len(parts) < 2 or parts[0].bounds[2] >= parts[1].bounds[0]:
        return area
    turned = shapely.transform(parts[0], lambda points: points + np.array([360.0, 0.0]))
    return Geometry(shapely.union_all([parts[1], turned]), area.crs)


def simpler(shape: BaseGeometry, vertices: int) -> BaseGeometry | None:
    """Find a shape of few vertices that covers another; ``None`` when only its box has so few.

    Tried in this order: the shape itself; the hulls of its parts; their boxes; the hull of
    what lies west and of what lies east of Greenwich, if it reaches both ends; the hull.

    Parameters
    ----------
    shape : shapely geometry
        In degrees.
    vertices : int
        At most.
    """
    parts = shapely.get_parts(shape)
    halves = [part.geom for part in sides(Geometry(shape, WGS84))]
    tried = [shape]
    if len(parts) > 1 or halves[1:]:
        tried += [
            shapely.union_all(shapely.convex_hull(parts)),
            shapely.union_all(shapely.envelope(parts)),
        ]
    tried.append(shapely.union_all(shapely.convex_hull(halves)))
    return next((s for s in tried if shapely.get_num_coordinates(s) <= vertices), None)


def _shapes(area: Any, layer: str | None) -> tuple[list[BaseGeometry], Any, str]:
    """Geometries, their CRS, and the area's name for messages."""
    if isinstance(area, Path) or (isinstance(area, str) and not _is_text(area)):
        return _from_file(str(area), layer)
    if layer is not None:
        raise AreaError(f"the layer {layer!r} is named, but the area is no file; leave it out")
    if hasattr(area, "total_bounds") and hasattr(area, "crs"):
        return _from_frame(area, "the area")
    for kinds, read in _READERS:
        if isinstance(area, kinds):
            return read(area)
    if isinstance(getattr(area, "__geo_interface__", None), Mapping):
        return _from_geojson(area.__geo_interface__)
    return [_from_box(area)], WGS84, _BOX


def _from_geometry(area: Geometry) -> tuple[list[BaseGeometry], Any, str]:
    if area.crs is None:
        raise AreaError("the area has no CRS; give one, as in Geometry(shape, 'EPSG:4326')")
    return [area.geom], area.crs, "the area"


def _is_text(area: str) -> bool:
    """Whether a text is GeoJSON or WKT itself, not the name of a file."""
    return area.lstrip().startswith("{") or bool(_WKT.match(area))


def _from_text(text: str) -> tuple[list[BaseGeometry], Any, str]:
    text = text.strip()
    if not text.startswith("{"):
        try:
            return [shapely.from_wkt(text)], WGS84, "the area"
        except shapely.GEOSException as error:
            raise AreaError(f"the area is not valid WKT: {error}; give a polygon") from None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AreaError(f"the area is not valid GeoJSON: {error}; give a polygon") from None
    return _from_geojson(content)


def _from_frame(frame: Any, name: str) -> tuple[list[BaseGeometry], Any, str]:
    geometry = getattr(frame, "geometry", None)
    if geometry is None:
        raise AreaError(f"{name} has no geometry column; give it polygons")
    if len(geometry) and geometry.crs is None:
        raise AreaError(
            f"{name} has no CRS; say which it is in with .set_crs(…), or save it with one"
        )
    return list(geometry), geometry.crs or WGS84, name


def _from_file(given: str, layer: str | None) -> tuple[list[BaseGeometry], Any, str]:
    address = _ADDRESS.match(given)
    if address:
        shown = re.split(r"[?#]", given.rpartition("@")[2] if "@" in given else given)[0]
        raise AreaError(
            f"area {shown!r} is an address ({address[1]}://), and areas are read from files; "
            "download it and give its path"
        )
    path, named = split_layer(given)
    if not path.exists():
        raise AreaError(f"area {str(path)!r} is not there; check the path (now in {Path.cwd()})")
    try:
        frame = read_vector(path, layer or named, key="layer (area_layer in a recipe)")
    except VectorFileError as error:
        raise AreaError(f"area {str(path)!r} {error}") from None
    return _from_frame(frame, f"area {str(path)!r}")


def _from_geojson(mapping: Mapping[str, Any]) -> tuple[list[BaseGeometry], Any, str]:
    """Geometries of a GeoJSON object, and the CRS that it names as GeoJSON did before 2016."""
    kind, crs = mapping.get("type"), _named_crs(mapping)
    features = mapping.get("features") if kind == "FeatureCollection" else [mapping]
    if not isinstance(features, (list, tuple)):
        raise AreaError("the area is a FeatureCollection without a list of features")
    try:
        geometries = [
            feature.get("geometry") if feature.get("type") == "Feature" else feature
            for feature in features
        ]
        shapes = [
            shapely.geometry.shape(geometry) for geometry in geometries if geometry is not None
        ]
    except Exception as error:  # noqa: BLE001 -- whatever shapely trips over
        raise AreaError(
            f"the area is a mapping of type {kind!r} that is not a GeoJSON geometry: {error}; "
            "give a Polygon, a MultiPolygon, a Feature or a FeatureCollection"
        ) from None
    return shapes, crs, "the area"


def _named_crs(mapping: Mapping[str, Any]) -> str:
    named = mapping.get("crs")
    if named is None:
        return WGS84
    try:
        crs = pyproj.CRS.from_user_input(named["properties"]["name"])
    except (TypeError, KeyError, pyproj.exceptions.ProjError):
        raise AreaError(
            f"the area's GeoJSON names the CRS {str(named)[:80]}, which is none that PROJ knows; "
            "leave it out for degrees, or give a GeoDataFrame"
        ) from None
    # OGC:CRS84 is what GeoJSON has without it: degrees, longitude first.
    return WGS84 if crs.to_epsg() == 4326 or crs.name == "WGS 84 (CRS84)" else str(crs.to_wkt())


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
    # Across the antimeridian west is greater; but so it is when the two were swapped.
    across = west - east >= 180 and east >= -180 and west <= 180
    if south >= north or (west >= east and not across):
        raise AreaError(
            f"the area's bounds are {list(area)}; expected west < east and south < north "
            "(swap them; west > east only across the antimeridian, as in [177, -20, -178, -12])"
        )
    beyond = west >= -360 and east <= 360 and (west < -180 or east > 180)
    if across or beyond:
        return box_on_globe(west, south, east, north)
    return shapely.box(west, south, east, north)


_READERS: tuple[tuple[Any, Callable[[Any], tuple[list[BaseGeometry], Any, str]]], ...] = (
    (str, _from_text),
    (GeoBox, lambda area: _from_geometry(area.extent)),
    (BoundingBox, lambda area: _from_geometry(area.polygon)),
    (Geometry, _from_geometry),
    (BaseGeometry, lambda area: ([area], WGS84, "the area")),
    (Mapping, _from_geojson),
)


def _check_shape(shape: BaseGeometry, name: str) -> None:
    if shape.geom_type not in ("Polygon", "MultiPolygon"):
        raise AreaError(f"{name} is a {shape.geom_type}; expected a Polygon or a MultiPolygon")
    # The bounds of a geometry skip its NaN coordinates, so that they say nothing.
    coordinates = shapely.get_coordinates(shape)
    if not all(map(math.isfinite, coordinates.ravel())):
        raise AreaError(f"{name} has NaN or infinite coordinates; expected numbers in its CRS")
    # Parts may overlap: what was cut at the antimeridian does, once it is projected.
    broken = next((part for part in shapely.get_parts(shape) if not shapely.is_valid(part)), None)
    if broken is not None:
        raise AreaError(
            f"{name} is not a valid polygon: {shapely.is_valid_reason(broken)} (x, y in its CRS); "
            "redraw it there, or repair it with shapely.make_valid and look at the result"
        )
    if shape.area == 0:
        raise AreaError(f"{name} covers nothing (area 0); expected a polygon with an inside")


def _to_degrees(geometry: Geometry, name: str) -> Geometry:
    box = geometry.boundingbox
    step = max(box.span_x, box.span_y) / _PIECES
    dense = Geometry(shapely.segmentize(geometry.geom, step), geometry.crs)
    bent = dense.to_crs(WGS84).geom
    if bent.is_empty or not all(map(math.isfinite, shapely.get_coordinates(bent).ravel())):
        raise AreaError(
            f"{name} cannot be brought from {geometry.crs} to degrees: it lies outside where "
            "that CRS is defined; check the CRS and the order of x and y"
        )
    # Its edges are short now: one that jumps crosses the antimeridian.
    result = _unrounded(on_globe(bent, whole=math.inf))
    if not shapely.is_valid(result) or result.is_empty:
        raise AreaError(
            f"{name} is not a valid polygon once in degrees: {shapely.is_valid_reason(result)}"
            "; draw it in EPSG:4326, and as two polygons where it crosses the antimeridian"
        )
    return Geometry(result, WGS84)


def _unrounded(shape: BaseGeometry) -> BaseGeometry:
    """Repair a shape whose edges cross by no more than rounding; others stay as they are."""
    if shapely.is_valid(shape):
        return shape
    mended = shapely.make_valid(shape, method="structure", keep_collapsed=False)
    return mended if abs(mended.area - shape.area) <= _ROUNDING * shape.area else shape


def _in_degrees(geometry: Geometry, name: str) -> Geometry:
    box = geometry.boundingbox
    if box.left < -360 or box.right > 360 or box.bottom < -90 or box.top > 90:
        raise AreaError(
            f"{name} has bounds {describe_bounds(geometry)}, which are not degrees on the globe; "
            "if they are metres, give the CRS too (GeoDataFrame or odc.geo Geometry)"
        )
    if name == _BOX:  # in numbers, it is as wide as it says
        return geometry
    if jumps(geometry.geom):
        raise AreaError(
            f"{name} has an edge of more than 180 degrees of longitude, so it may lie on either "
            "side of the globe; cut it in two at the antimeridian, or go on beyond 180 there"
        )
    return Geometry(on_globe(geometry.geom), WGS84)


def project_area(area: Geometry, crs: CRS) -> Geometry:
    """An area in another CRS: as :meth:`odc.geo.geom.Geometry.to_crs`, all vertices in one call."""
    if area.crs is None or area.crs == crs:
        return area.to_crs(crs)
    transform = area.crs.transformer_to_crs(crs)
    return Geometry(shapely.transform(area.geom, transform, interleaved=False), crs)


def as_geojson(area: Geometry) -> dict[str, Any]:
    """An area in EPSG:4326 as a collection of one feature."""
    feature = {"type": "Feature", "properties": {}, "geometry": area.json}
    return {"type": "FeatureCollection", "features": [feature]}
