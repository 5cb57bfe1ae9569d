"""Whole polygons: the small ones dropped, holes filled by rule, areas on the ground."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.geo.pixel_area import pixel_areas
from rsscale.patches.pieces import rows_and_columns
from rsscale.polygons.parts import Parts
from rsscale.polygons.rules import PolygonRules

_Floats = npt.NDArray[np.float64]
_Shapes = npt.NDArray[np.object_]
# Within so many pixels one area of a pixel counts for all, where holes are measured.
_SAME_GROUND = 16


def finished(
    parts: Parts, rules: PolygonRules, grid: Grid, square_metres: float
) -> tuple[Parts, _Floats]:
    """Drop polygons below the minimum, and fill holes.

    Parameters
    ----------
    parts : Parts
        Whole polygons.
    rules : PolygonRules
    grid : Grid
    square_metres : float
        Of a unit of area.

    Returns
    -------
    parts : Parts
        Those that are left.
    area_m2 : float64 array
        Of the pixels of each, on the ellipsoid; with holes that were filled.
    """
    area = parts.units.astype(np.float64) * square_metres
    kept = area >= rules.minimum
    parts, area = parts.take(kept), area[kept]
    if not rules.fill_below or not len(parts):
        return parts, area
    geometry, more = _filled(parts.geometry, rules.fill_below, _ground(grid))
    columns = {name: getattr(parts, name) for name in Parts.__dataclass_fields__}
    return Parts(**{**columns, "geometry": geometry}), area + more


def in_crs(geometry: _Shapes, grid: Grid) -> _Shapes:
    """Shapes in pixels of a grid in its CRS."""
    (x0, y0), res = grid.origin, grid.resolution
    # As GeoBoxes have them, so that shapes share the bits of the pixels' edges.
    placed: _Shapes = shapely.transform(
        geometry, lambda xy: np.stack([x0 + xy[:, 0] * res, y0 - xy[:, 1] * res], axis=1)
    )
    return placed


def centres_of(geometry: _Shapes) -> _Floats:
    """Centroids ``(n, 2)``."""
    centres: _Floats = shapely.get_coordinates(shapely.centroid(geometry))
    return centres.reshape(len(geometry), 2)


def _filled(
    geometry: _Shapes, below: float, ground: Callable[[_Shapes], _Floats]
) -> tuple[_Shapes, _Floats]:
    """Shapes without holes below an area, and the square metres that each has gained."""
    out, more = geometry.copy(), np.zeros(len(geometry))
    polygons, of = shapely.get_parts(geometry, return_index=True)
    has_holes = np.unique(of[shapely.get_num_interior_rings(polygons) > 0])
    for at in has_holes.tolist():
        own = [_without(polygon, below, ground) for polygon in shapely.get_parts(geometry[at])]
        # Parts may lie in a hole of another one, which they touch at a corner.
        out[at] = shapely.normalize(shapely.union_all(own) if len(own) > 1 else own[0])
        added = shapely.get_parts(shapely.difference(out[at], geometry[at]))
        more[at] = ground(added[shapely.area(added) > 0]).sum()
    return out, more


def _without(
    polygon: shapely.Polygon, below: float, ground: Callable[[_Shapes], _Floats]
) -> shapely.Polygon:
    holes = np.array([shapely.Polygon(ring) for ring in polygon.interiors], object)
    if not len(holes):
        return polygon
    kept = holes[ground(holes) >= below] if np.isfinite(below) else holes[:0]
    return shapely.Polygon(polygon.exterior, [hole.exterior for hole in kept])


def _ground(grid: Grid) -> Callable[[_Shapes], _Floats]:
    """For shapes in pixels: their square metres, by the area of a pixel at their centroids."""

    @lru_cache(maxsize=4096)
    def pixel(row: int, col: int) -> float:
        middle = (row * 2 + 1) * _SAME_GROUND // 2, (col * 2 + 1) * _SAME_GROUND // 2
        box = PixelBox(middle[0], middle[1], middle[0] + 1, middle[1] + 1)
        return float(pixel_areas(grid, box)[0, 0])

    def ground(shapes: _Shapes) -> _Floats:
        blocks = np.floor(centres_of(shapes) / _SAME_GROUND).astype(np.int64)
        each = [pixel(row, col) for col, row in blocks.tolist()]
        areas: _Floats = shapely.area(shapes) * np.array(each, np.float64)
        return areas

    return ground


def polygon_ids(place: npt.NDArray[np.int64]) -> list[str]:
    """Names of polygons by the row and column of their first pixels: the same for any tiles."""
    rows, cols = rows_and_columns(place)
    return [f"p{row}_{col}" for row, col in zip(rows.tolist(), cols.tolist(), strict=True)]
