"""Zones: polygons with an id, such as communes or parcels, in the CRS of a grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from rsscale.errors import RecipeError, nearest
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.reference.vector_file import read_vector_file
from rsscale.text.wording import counted

# Edges are cut so short before they are projected that they stay where they were, by less than
# 5 cm. By length and not by the zone's size: neighbours must cut the edge that they share alike.
_DEGREES = 0.01
_METRES = 1000.0


_INVALID = "zone that is not valid"


@dataclass(frozen=True)
class Zones:
    """Polygons on a grid; they may overlap.

    Attributes
    ----------
    ids : tuple of str
        Each once.
    shapes : tuple of shapely geometry
        In the grid's CRS.
    grid : Grid
    """

    ids: tuple[str, ...]
    shapes: tuple[shapely.Geometry, ...]
    grid: Grid

    def near(self, box: PixelBox) -> list[tuple[int, PixelBox]]:
        """Zones that may have pixels in a box: number, and which pixels of the box those are."""
        extent = self.grid.geobox_of(box).extent.geom
        boxes = ((int(n), self._around(n) & box) for n in sorted(self._tree.query(extent)))
        return [(number, around) for number, around in boxes if not around.empty]

    @property
    def far_away(self) -> str:
        """What is said where no zone is near the area."""
        if len(self.ids) == 1:
            return "the one zone does not touch the recipe's area"
        return f"none of the {len(self.ids):,} zones touches the recipe's area"

    def _around(self, number: int) -> PixelBox:
        """All pixels that a zone may touch."""
        (x0, y0), res = self.grid.origin, self.grid.resolution
        west, south, east, north = shapely.bounds(self.shapes[number])
        return PixelBox(
            math.floor((y0 - north) / res),
            math.floor((west - x0) / res),
            math.floor((y0 - south) / res) + 1,
            math.floor((east - x0) / res) + 1,
        )

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree(self.shapes)


def read_zones(path: Path, column: str, grid: Grid, layer: str | None = None) -> Zones:
    """Read zones from a vector file and bring them into a grid's CRS.

    Parameters
    ----------
    path : Path
        GeoPackage, GeoJSON, GeoParquet or another format of GDAL, with a CRS.
    column : str
        Of the id.
    grid : Grid
    layer : str, optional
        Which layer of the file; needed where it has several, else they are listed.

    Raises
    ------
    RecipeError
        When the file can't be read, has no CRS or no such column, an id is missing or there
        twice, or a geometry is empty, no polygon, not valid or outside of the grid's CRS; the
        message names the zone.
    """
    frame = read_vector_file(path, f"zones {path.name}", layer, key="zones_layer")
    columns = [str(name) for name in frame.columns if name != frame.geometry.name]
    if column not in columns:
        raise RecipeError(
            f"zones {path.name} have no column {column!r}; "
            f"{f'there are {columns}' if columns else 'they have none'}{nearest(column, columns)}"
        )
    missing = int(frame[column].isna().sum())
    if missing:
        some = counted(missing, "zone")
        raise RecipeError(f"{path.name} has {some} without {column!r}; give each an id")
    ids = frame[column].astype(str)
    twice = ids[ids.duplicated()].unique().tolist()
    if twice:
        raise RecipeError(
            f"column {column!r} of {path.name} has {counted(len(twice), 'id')} more than once, "
            f"{_some(twice)}; dissolve those zones, or choose another column"
        )
    shapes = shapely.force_2d(frame.geometry.to_numpy())
    _check(shapes, ids.tolist(), path.name)
    if frame.crs != grid.crs:
        shapes = _projected(shapes, frame.crs, grid)
        lost = ids[~np.isfinite(shapely.bounds(shapes)).all(axis=1)].tolist()
        if lost:
            raise RecipeError(
                f"{counted(len(lost), 'zone')} of {path.name} can't be projected to {grid.crs}, "
                f"{_some(lost)}; leave out what lies far from the area"
            )
    return Zones(tuple(ids), tuple(shapes), grid)


def _check(shapes: Any, ids: list[str], name: str) -> None:
    """Refuse what has no area, or not one only."""
    is_polygon = np.isin(shapely.get_type_id(shapes), [3, 6])  # Polygon, MultiPolygon
    for fault, is_faulty, remedy in (
        (("empty zone", ""), shapely.is_missing(shapes) | shapely.is_empty(shapes), "remove them"),
        (
            ("zone that is no polygon", "zones that are no polygons"),
            ~is_polygon,
            "keep polygons only",
        ),
        (
            (_INVALID, "zones that are not valid"),
            ~shapely.is_valid(shapes),
            "repair them, e.g. by shapely.make_valid",
        ),
    ):
        rows = np.flatnonzero(is_faulty)
        if len(rows):
            reason = ""
            if fault[0] == _INVALID:
                reason = f" ({shapely.is_valid_reason(shapes[rows[0]])})"
            some = _some([ids[row] for row in rows])
            raise RecipeError(f"{name} has {counted(len(rows), *fault)}, {some}{reason}; {remedy}")


def _projected(shapes: Any, crs: Any, grid: Grid) -> Any:
    import pyproj

    unit = crs.axis_info[0].unit_conversion_factor
    step = np.radians(_DEGREES) / unit if crs.is_geographic else _METRES / unit
    to_grid = pyproj.Transformer.from_crs(crs, grid.crs, always_xy=True)

    def project(points: Any) -> Any:
        return np.column_stack(to_grid.transform(points[:, 0], points[:, 1]))

    return shapely.transform(shapely.segmentize(shapes, step), project)


def _some(names: list[str]) -> str:
    more = ", …" if len(names) > 3 else ""
    return "such as " + ", ".join(map(repr, names[:3])) + more
