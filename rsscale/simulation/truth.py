"""Truth of the simulated landscape: land cover, changes, labels, areas, and answers to a sample."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import geopandas
import numpy as np
import numpy.typing as npt
import pyogrio
import pyproj
import rasterio
import shapely
from rasterio.transform import Affine
from rasterio.windows import Window

from rsscale.errors import RecipeError
from rsscale.geo.rasterize import raster_features
from rsscale.legend.classes import LandClass
from rsscale.simulation.render import cog_writer, grid_profile
from rsscale.simulation.tiles import RESOLUTION, WORLD_CRS, TileGrid, covered, truth_grid
from rsscale.simulation.world import CLASSES, World

NODATA = 255
# Labelled squares: how many, and their width in pixels.
_SQUARES, _SIDE = 48, 80
_THINNED = 4
_TRAINING_SHARE = 0.40
_OF_A_YEAR = re.compile(r"reference_(\d{4})")


class TruthWriter:
    """Writes ``landcover_<year>.tif`` and ``change_<from>_<to>.tif``, block by block."""

    def __init__(self, folder: Path, world: World, tiles: tuple[TileGrid, ...]) -> None:
        folder.mkdir(parents=True)
        self.grid = truth_grid(tiles)
        self._world, self._tiles = world, tiles
        self.landcover = {year: folder / f"landcover_{year}.tif" for year in world.years}
        pairs = zip(world.years, world.years[1:], strict=False)
        self.change = {(a, b): folder / f"change_{a}_{b}.tif" for a, b in pairs}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        profile = {**grid_profile(self.grid), "dtype": "uint8", "nodata": NODATA}
        colors = {c.value: (*bytes.fromhex(c.color[1:]), 255) for c in CLASSES}
        changes = {0: (225, 225, 225, 255), 1: (200, 30, 40, 255)}
        self._files = {
            path: self._stack.enter_context(cog_writer(path, resampling="nearest", **profile))
            for path in (*self.landcover.values(), *self.change.values())
        }
        for path in self.landcover.values():
            self._files[path].write_colormap(1, colors)
        for path in self.change.values():
            self._files[path].write_colormap(1, changes)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def evaluate(self, window: Window) -> dict[Path, npt.NDArray[np.uint8]]:
        """All layers of one block; independent of other blocks."""
        x, y = self.grid.world_xy(window)
        inside = covered(x, y, self._tiles)
        if not inside.any():
            return {path: np.full(x.shape, NODATA, np.uint8) for path in self._files}
        cover = self._world.landcover(x, y)
        out = {path: np.where(inside, cover[year], NODATA) for year, path in self.landcover.items()}
        for (before, after), path in self.change.items():
            out[path] = np.where(inside, cover[before] != cover[after], NODATA)
        return {path: values.astype(np.uint8) for path, values in out.items()}

    def write(self, window: Window, layers: dict[Path, npt.NDArray[np.uint8]]) -> None:
        """Write what :meth:`evaluate` returned."""
        for path, values in layers.items():
            self._files[path].write(values, 1, window=window)


def make_areas(tiles: tuple[TileGrid, ...]) -> tuple[shapely.Polygon, shapely.Polygon]:
    """The area to map and its part to train on, in the world's CRS.

    The area is both tiles less a rim, with rounded corners; the training area is its
    western part.
    """
    union = shapely.union_all([tile.footprint for tile in tiles])
    span = tiles[0].width * RESOLUTION
    area = union.buffer(-0.09 * span).buffer(0.07 * span)
    west, south, east, north = area.bounds
    training = area & shapely.box(west, south, west + _TRAINING_SHARE * (east - west), north)
    return area, training


def write_area(path: Path, area: shapely.Polygon, name: str) -> None:
    """Write a polygon of the world's CRS as GeoJSON, EPSG:4326."""
    feature = {
        "type": "Feature",
        "properties": {"name": name},
        "geometry": shapely.geometry.mapping(to_degrees(area, WORLD_CRS)),
    }
    collection = {"type": "FeatureCollection", "features": [feature]}
    path.write_text(json.dumps(collection, indent=1) + "\n")


def to_degrees(polygon: shapely.Polygon, crs: str) -> shapely.Polygon:
    """A polygon in EPSG:4326, to 1e-7 degrees, with points close enough for curved edges."""
    west, south, east, north = polygon.bounds
    dense = shapely.segmentize(polygon, max(east - west, north - south) / 8)
    transformer = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    turned = shapely.transform(dense, transformer.transform, interleaved=False)
    rounded = shapely.transform(turned, lambda points: np.round(points, 7))
    return shapely.orient_polygons(rounded)


def write_labels(path: Path, world: World, grid: TileGrid, training: shapely.Polygon) -> None:
    """Write polygons of squares that an annotator mapped wall to wall, for each year.

    GeoPackage in the world's CRS with the columns ``landcover``, a class name, ``year`` and
    ``square``, the number of the annotated square.
    """
    names = {c.value: c.name for c in CLASSES}
    rows: list[dict[str, Any]] = []
    for number, window in enumerate(_squares(world, grid, training)):
        corner = grid.transform * Affine.translation(window.col_off, window.row_off)
        for year, cover in world.landcover(*grid.world_xy(window)).items():
            for geometry, value in raster_features().shapes(cover, transform=corner):
                polygon = shapely.geometry.shape(geometry)
                rows.append(
                    {"landcover": names[int(value)], "year": year, "square": number,
                     "geometry": polygon}
                )  # fmt: skip
    write_vectors(path, geopandas.GeoDataFrame(rows, crs=WORLD_CRS), "labels", world.years[0])


def write_vectors(path: Path, frame: geopandas.GeoDataFrame, layer: str, year: int) -> None:
    """Write a GeoPackage whose bytes do not depend on when it is written."""
    # A GeoPackage holds the time of writing; GDAL takes it from here.
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": f"{year}-01-01T00:00:00.000Z"})
    try:
        frame.to_file(path, layer=layer, driver="GPKG", engine="pyogrio")
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})


def _squares(world: World, grid: TileGrid, training: shapely.Polygon) -> list[Window]:
    """Squares inside the training area, chosen so that rare classes are there too.

    Candidates lie on a lattice, thinned to a few hundred; each pick is the one that adds
    most to the classes that have least so far.
    """
    candidates = _candidates(grid, training, world.seed)
    cover = [world.landcover(*_thinned(grid, window)) for window in candidates]
    first = world.years[0]
    counts = _THINNED**2 * np.array(
        [np.bincount(years[first].ravel(), minlength=CLASSES[-1].value + 1)[1:] for years in cover]
    )
    chosen: list[int] = []
    have = np.zeros(len(CLASSES))
    for _ in range(min(_SQUARES, len(candidates))):
        gain = (counts / (have + _SIDE**2)).sum(axis=1)
        gain[chosen] = -1
        best = int(np.argmax(gain))
        chosen.append(best)
        have += counts[best]
    return [candidates[n] for n in sorted(chosen)]


def _thinned(grid: TileGrid, window: Window) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """World coordinates of every fourth pixel: enough to know which classes a square has."""
    x, y = grid.world_xy(window)
    return x[::_THINNED, ::_THINNED], y[::_THINNED, ::_THINNED]


def _candidates(grid: TileGrid, training: shapely.Polygon, seed: int) -> list[Window]:
    side = min(_SIDE, grid.height // 8)
    west, south, east, north = training.bounds
    col0, row0 = ~grid.transform * (west, north)
    col1, row1 = ~grid.transform * (east, south)
    step = side + side // 10
    candidates = []
    for row in range(int(row0) + 1, int(row1) - side, step):
        for col in range(int(col0) + 1, int(col1) - side, step):
            left, top = grid.transform * (col, row)
            box = shapely.box(left, top - side * RESOLUTION, left + side * RESOLUTION, top)
            if training.contains(box):
                candidates.append(Window(col, row, side, side))
    keep = np.sort(np.random.default_rng([seed, 7]).permutation(len(candidates))[:400])
    return [candidates[int(n)] for n in keep]


def class_table() -> Sequence[dict[str, Any]]:
    """Classes as plain dictionaries, for ``classes.json``."""
    return [{"value": c.value, "name": c.name, "color": c.color} for c in CLASSES]


def interpret(
    sample: str | Path, truth: Mapping[int, Path], classes: Sequence[LandClass], year: int
) -> Path:
    """Write the true class into each unit of a sample, where interpreters of a country write it.

    Parameters
    ----------
    sample : path
        A GeoPackage of :func:`rsscale.design_sample`; it is written anew.
    truth : mapping of year to path
        Rasters of class values in the sample's CRS, as a simulated archive has them.
    classes : sequence of LandClass
        Names of the values.
    year : int
        That of a column ``reference`` without a year.

    Returns
    -------
    Path
        The sample.

    Raises
    ------
    RecipeError
        When a year has no truth, or a unit lies where it holds no class.
    """
    units = geopandas.read_file(sample, layer="sample")
    years = {
        column: int(match.group(1)) if match else year
        for column in units.columns
        if (match := _OF_A_YEAR.fullmatch(column)) or column == "reference"
    }
    missing = sorted(set(years.values()) - set(truth))
    if missing:
        raise RecipeError(f"there is no truth of {missing}; of {sorted(truth)} there is")
    points = list(zip(units.geometry.x, units.geometry.y, strict=True))
    names = {land_class.value: land_class.name for land_class in classes}
    for column, of_year in years.items():
        units[column] = _names(_values(truth[of_year], points), names, of_year)
    units.to_file(sample, layer="sample", driver="GPKG")
    return Path(sample)


def _values(path: Path, points: Sequence[tuple[float, float]]) -> npt.NDArray[np.uint8]:
    with rasterio.open(path) as raster:
        return np.array([value[0] for value in raster.sample(points)], np.uint8)


def _names(values: npt.NDArray[np.uint8], names: Mapping[int, str], year: int) -> list[str]:
    unknown = sorted(set(values.tolist()) - set(names))
    if unknown:
        raise RecipeError(f"the truth of {year} holds {unknown} at units; expected {list(names)}")
    return [names[value] for value in values.tolist()]
