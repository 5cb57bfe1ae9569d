"""The area that is searched: the mapped one and what windows at its edge read."""

import geopandas as gpd
import shapely

from rsscale.geo.area import read_area
from rsscale.geo.grid import Grid
from rsscale.plans.find_items import _with_margin


def test_a_country_and_its_margin_may_be_rounded() -> None:
    """Its short edges cross, by rounding alone, once they are in degrees."""
    left, top, width = 512_000 - 808_960 // 2, 5_120_000, 808_960
    outline = shapely.box(left + 5, top - width + 5, left + width - 5, top - 5)
    area = read_area(gpd.GeoDataFrame(geometry=[outline], crs="EPSG:32632"))
    around = _with_margin(Grid("EPSG:32632", resolution=10), area, 1156)
    assert around.geom.is_valid
    assert around.contains(area)
    assert around.geom.area < 1.1 * area.geom.area
