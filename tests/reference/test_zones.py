"""Zones are read and bent into the grid's CRS; neighbours stay neighbours."""

from pathlib import Path

import geopandas as gpd
import pyproj
import shapely

from rsscale.geo.coverage import centres, pixel_edges
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.reference.zones import read_zones

CRS = "EPSG:32631"
GRID = Grid(CRS, 10, 512)


def test_long_edges_are_bent_by_projecting(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame({"id": [1]}, geometry=[shapely.box(2, 45, 6, 46)], crs=4326)
    frame.to_file(tmp_path / "zones.geojson")
    zones = read_zones(tmp_path / "zones.geojson", "id", GRID)
    assert zones.ids == ("1",)
    # On the parallel; the chord between its ends lies kilometres away.
    x, y = pyproj.Transformer.from_crs(4326, CRS, always_xy=True).transform(4.0, 45.0)
    assert shapely.Point(x, y).distance(zones.shapes[0].boundary) < 0.05
    assert frame.to_crs(CRS).geometry[0].boundary.distance(shapely.Point(x, y)) > 500


def test_neighbours_of_any_size_leave_no_gap_once_projected(tmp_path: Path) -> None:
    small = shapely.box(3, 45, 3.02, 45.1)
    # Its edge holds the other's corners, and is cut by another rule if zones are cut by size.
    large = [(3.02, 44), (6, 44), (6, 46), (3.02, 46), (3.02, 45.1), (3.02, 45)]
    frame = gpd.GeoDataFrame({"id": [1, 2]}, geometry=[small, shapely.Polygon(large)], crs=4326)
    frame.to_parquet(tmp_path / "zones.parquet")
    zones = read_zones(tmp_path / "zones.parquet", "id", GRID)
    x, y = pyproj.Transformer.from_crs(4326, CRS, always_xy=True).transform(3.02, 45.05)
    row, col = int(-y // 10), int(x // 10)
    box = PixelBox(row - 300, col - 50, row + 300, col + 50)
    times = sum(centres(pixel_edges(one, GRID), box).astype(int) for one in zones.shapes)
    assert (times == 1).all()
