"""Pieces of a product that have a file each: the whole, its tiles, or the polygons of a layer."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from odc.geo.geobox import GeoBox

from rsscale.errors import RecipeError
from rsscale.finished_runs.finished_run import FinishedRun
from rsscale.geo.antimeridian import on_globe
from rsscale.geo.area import simpler
from rsscale.geo.grid import Grid, Tile
from rsscale.geo.lattice import PixelBox
from rsscale.geo.rasterize import area_mask
from rsscale.reference.zones import read_zones

Cut = Literal["whole", "tile", "region", "none"]
"""How files are cut: one for all, one a tile, one a polygon; or no files."""

_VERTICES = 500
_EDGE = 64  # parts that an edge is cut into before it is projected
_ODD = re.compile(r"[^\w.-]+")


@dataclass(frozen=True)
class Piece:
    """A part of the product that is published as files of its own.

    Attributes
    ----------
    name : str
        In file names and ids; empty for the whole.
    box : PixelBox
    grid : Grid
    title : str
        For people: the id of a region as it is written.
    shape : shapely geometry, optional
        In the grid's CRS: pixels whose centre lies outside are nodata; all are kept without.
    area : shapely geometry
        What was mapped, in EPSG:4326.
    tile : Tile, optional
        The one that it is.
    """

    name: str
    box: PixelBox
    grid: Grid
    title: str
    area: shapely.Geometry
    shape: shapely.Geometry | None = None
    tile: Tile | None = None

    @cached_property
    def geobox(self) -> GeoBox:
        """Its pixels."""
        return self.grid.geobox_of(self.box)

    def where(self, rows: slice, cols: slice) -> npt.NDArray[np.bool_]:
        """Which of its pixels belong to it."""
        box = PixelBox(
            self.box.row0 + rows.start,
            self.box.col0 + cols.start,
            self.box.row0 + rows.stop,
            self.box.col0 + cols.stop,
        )
        if self.shape is None:
            return np.ones(box.shape, bool)
        return area_mask(self.shape, self.grid, box)

    @cached_property
    def footprint(self) -> shapely.Geometry:
        """What it covers, in EPSG:4326, cut at the antimeridian: simple, and nothing left out."""
        if not self.name:
            return simpler(self.area, _VERTICES) or shapely.envelope(self.area)
        shape = self.shape if self.shape is not None else self.geobox.extent.geom
        degrees = _in_degrees(shape, self.grid)
        inside = shapely.intersection(degrees, self.area)
        inside = degrees if inside.is_empty or not inside.area else inside
        return simpler(inside, _VERTICES) or shapely.envelope(inside)


def pieces(
    finished: FinishedRun,
    cut: Cut,
    regions: str | Path | None = None,
    region_id: str | None = None,
    regions_layer: str | None = None,
) -> Iterator[Piece]:
    """The pieces of a product, from north to south, or in the order of the regions.

    Parameters
    ----------
    finished : FinishedRun
    cut : str
    regions : path, optional
        Polygons, for ``"region"``; those without a pixel of the product give no piece.
    region_id : str, optional
        Column of their id.
    regions_layer : str, optional
        Layer of their file.

    Raises
    ------
    RecipeError
        When regions are needed and not given, or can't be read; none touches the product.
    """
    if cut == "region":
        yield from _regions(finished, regions, region_id, regions_layer)
        return
    if regions is not None:
        raise RecipeError(f"regions are for cogs='region', and cogs is {cut!r}; leave them out")
    if cut in ("whole", "none"):
        yield whole(finished)
        return
    for tile in finished.grid.tiles(finished.area):
        title, area = f"tile {tile.id}", finished.area.geom
        yield Piece(tile.id, tile.box, finished.grid, title, area, tile=tile)


def _regions(
    finished: FinishedRun, path: Any, column: str | None, layer: str | None
) -> Iterator[Piece]:
    if path is None or column is None:
        raise RecipeError(
            "files by region need polygons and the column of their id: give regions and region_id "
            "(--regions FILE --region-id COLUMN)"
        )
    file = Path(path)
    if not file.is_file():
        raise RecipeError(f"there are no regions at {file}")
    zones = read_zones(file, column, finished.grid, layer)
    near = zones.near(finished.extent)
    if not near:
        raise RecipeError(zones.far_away.replace("recipe's area", "product's area"))
    names = _file_names([zones.ids[number] for number, _ in near])
    for (number, box), name in zip(near, names, strict=True):
        title, shape = zones.ids[number], zones.shapes[number]
        yield Piece(name, box, finished.grid, title, finished.area.geom, shape)


def _file_names(ids: list[str]) -> list[str]:
    """Names that every file system takes, one for each id, in the script they are written in."""
    taken: dict[str, int] = {}
    names = []
    for tile_id in ids:
        name = _ODD.sub("-", unicodedata.normalize("NFC", tile_id)).strip("-.")[:80] or "region"
        count = taken[name.casefold()] = taken.get(name.casefold(), 0) + 1
        names.append(name if count == 1 else f"{name}-{count}")
    return names


def _in_degrees(shape: shapely.Geometry, grid: Grid) -> shapely.Geometry:
    west, south, east, north = shapely.bounds(shape)
    step = max(east - west, north - south) / _EDGE
    to_degrees = pyproj.Transformer.from_crs(str(grid.crs), "EPSG:4326", always_xy=True)

    def project(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.column_stack(to_degrees.transform(points[:, 0], points[:, 1]))

    degrees = shapely.transform(shapely.segmentize(shape, step), project)
    return shapely.make_valid(on_globe(degrees, whole=float("inf")))


def whole(finished: FinishedRun) -> Piece:
    """All of a product, cut to its area: tiles reach beyond it, and hold nothing there."""
    title, area = finished.name, finished.area.geom
    inside = finished.grid.box(finished.area) & finished.extent
    return Piece("", inside, finished.grid, title, area)


def rounded(shape: shapely.Geometry) -> dict[str, Any]:
    """A GeoJSON geometry with seven decimals, a centimetre."""
    exact = shapely.set_precision(shape, 1e-7)
    geometry = shapely.geometry.mapping(shape if exact.is_empty else exact)
    return {"type": geometry["type"], "coordinates": _lists(geometry["coordinates"])}


def _lists(value: Any) -> Any:
    return [_lists(v) for v in value] if isinstance(value, tuple | list) else round(float(value), 7)


def bbox_of(shape: shapely.Geometry) -> list[float]:
    """West, south, east, north in degrees; west > east across the antimeridian (RFC 7946, 5.2)."""
    west, south, east, north = shapely.bounds(shape)
    parts = [shapely.bounds(part) for part in shapely.get_parts(shape)]
    if west == -180.0 and east == 180.0 and len(parts) > 1:
        wests = [part[0] for part in parts if part[0] >= 0]
        easts = [part[2] for part in parts if part[2] <= 0]
        if len(wests) + len(easts) == len(parts):
            west, east = min(wests), max(easts)
    return [round(float(edge), 7) for edge in (west, south, east, north)]
