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
    # A parallel, which bends, is the edge of a low zone and of one ten times as large.
    low, large = shapely.box(3, 46, 5, 46.05), shapely.box(3, 26, 5, 46)
    frame = gpd.GeoDataFrame({"id": [1, 2]}, geometry=[low, large], crs=4326)
    frame.to_parquet(tmp_path / "zones.parquet")
    zones = read_zones(tmp_path / "zones.parquet", "id", GRID)
    to_grid = pyproj.Transformer.from_crs(4326, CRS, always_xy=True)
    (west, east), (south, north) = to_grid.transform([3.0, 4.98], [46.0, 46.0])
    box = PixelBox(
        -int(north // 10) - 50, int(west // 10) + 50, 50 - int(south // 10), int(east // 10)
    )
    times = sum(centres(pixel_edges(one, GRID), box).astype(int) for one in zones.shapes)
    assert (times == 1).all()
