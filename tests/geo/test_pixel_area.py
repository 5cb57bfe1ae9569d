"""Areas of pixels against geodesic polygons, in metres, feet and degrees."""

import numpy as np
import pyproj
import pytest
import shapely

from rsscale.errors import RecipeError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.geo.pixel_area import pixel_areas, plane_area

GRID = Grid("EPSG:32631", 10, 512)


@pytest.mark.parametrize(
    ("crs", "resolution", "row", "col"),
    [
        ("EPSG:32631", 10, -498_000, 73_000),
        ("EPSG:3035", 10, -300_000, 400_000),
        ("EPSG:3857", 100, -100_000, 10_000),
        ("EPSG:2263", 30, -6_000, 33_000),  # US feet
        ("EPSG:3413", 1000, -150, -150),  # the pole within
        ("EPSG:4326", 0.0001, -480_000, 20_000),
        ("EPSG:4326", 0.25, -360, 0),  # to the pole
    ],
)
def test_pixel_areas_are_those_of_the_geodesic_polygon(
    crs: str, resolution: float, row: int, col: int
) -> None:
    grid, box = Grid(crs, resolution, 512), PixelBox(row, col, row + 300, col + 300)
    areas = pixel_areas(grid, box)
    ring = shapely.segmentize(grid.geobox_of(box).extent.geom, 300 * resolution / 2000)
    projected = pyproj.CRS(crs)
    to_degrees = pyproj.Transformer.from_crs(projected, projected.geodetic_crs, always_xy=True)
    lon, lat = to_degrees.transform(*shapely.get_coordinates(ring).T)
    whole = abs(projected.get_geod().polygon_area_perimeter(lon, lat)[0])
    assert np.broadcast_to(areas, box.shape).sum() == pytest.approx(whole, rel=1e-7)
    part = PixelBox(row + 7, col + 100, row + 90, col + 227)
    same = np.broadcast_to(areas, box.shape)[part.slices(box)]
    np.testing.assert_array_equal(np.broadcast_to(pixel_areas(grid, part), part.shape), same)


def test_areas_in_the_plane_need_an_equal_area_crs() -> None:
    box = PixelBox(-300_000, 400_000, -299_000, 401_000)
    assert plane_area(Grid("EPSG:3035", 10), box) == 100
    feet = "+proj=laea +lat_0=40 +lon_0=-75 +ellps=GRS80 +units=us-ft"
    box = PixelBox(-500, -500, 500, 500)
    assert plane_area(Grid(feet, 30), box) == pytest.approx((30 * 1200 / 3937) ** 2)
    with pytest.raises(RecipeError, match=r"no equal-area CRS: .* use the area on the ellipsoid"):
        plane_area(GRID, PixelBox(-498_000, 73_000, -497_000, 74_000))
    with pytest.raises(RecipeError, match="degrees, which have no area"):
        plane_area(Grid("EPSG:4326", 0.0001), PixelBox(0, 0, 9, 9))
