"""Areas of interest in every form, and the ones that are refused."""

import math

import geopandas as gpd
import numpy as np
import pytest
import shapely
from odc.geo.geom import Geometry
from pyproj import Transformer

from rsscale.data.area import read_area
from rsscale.errors import AreaError

BOX = [1.0, 41.0, 2.0, 42.0]
HOLED = shapely.box(*BOX).difference(shapely.box(1.4, 41.4, 1.6, 41.6))
with np.errstate(invalid="ignore"):
    NAN_SHAPE = shapely.Polygon([(0, 0), (math.nan, 1), (1, 1)])
BOW_TIE = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])


@pytest.mark.parametrize("suffix", ["geojson", "gpkg", "parquet"])
def test_every_form_gives_the_same_area(tmp_path, suffix):
    frame = gpd.GeoDataFrame({"name": ["a"]}, geometry=[HOLED], crs="EPSG:4326")
    path = tmp_path / f"area.{suffix}"
    frame.to_parquet(path) if suffix == "parquet" else frame.to_file(path)
    forms = [
        path,
        str(path),
        frame,
        frame.geometry,
        HOLED,
        Geometry(HOLED, "EPSG:4326"),
        shapely.geometry.mapping(HOLED),
        {"type": "Feature", "geometry": shapely.geometry.mapping(HOLED), "properties": {}},
    ]
    for form in forms:
        found = read_area(form)
        assert found.crs == "EPSG:4326"
        assert found.geom.equals(HOLED)


def test_box():
    assert read_area(BOX).geom.equals(shapely.box(*BOX))
    assert read_area(tuple(BOX)).geom.equals(shapely.box(*BOX))


def test_features_are_one_area():
    parts = [shapely.box(0, 0, 1, 1), shapely.box(0.5, 0, 2, 1), shapely.box(5, 5, 6, 6), None]
    found = read_area(gpd.GeoSeries(parts, crs="EPSG:4326"))
    assert found.geom.geom_type == "MultiPolygon"
    assert math.isclose(found.geom.area, 3.0)


def test_projected_edges_are_bent_not_cut():
    # A straight edge of 100 km in UTM, off the middle of the zone: its middle in degrees.
    square = shapely.box(700_000, 4_500_000, 800_000, 4_600_000)
    found = read_area(Geometry(square, "EPSG:32631")).geom
    to_degrees = Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True)
    back = Transformer.from_crs("EPSG:4326", "EPSG:32631", always_xy=True)
    for x in (712_345, 750_000, 787_654):
        edge = shapely.Point(to_degrees.transform(x, 4_600_000))
        nearest = shapely.ops.nearest_points(found.exterior, edge)[0]
        x_back, y_back = back.transform(nearest.x, nearest.y)
        assert math.hypot(x_back - x, y_back - 4_600_000) < 0.01  # metres
        corners = shapely.Polygon([to_degrees.transform(*p) for p in square.exterior.coords])
    assert shapely.Point(to_degrees.transform(750_000, 4_600_000)).distance(corners.exterior) > 1e-4


def test_height_is_dropped():
    assert not read_area(shapely.force_3d(shapely.box(*BOX), 7.0)).geom.has_z


@pytest.mark.parametrize(
    ("area", "words"),
    [
        ("absent.geojson", "is not there"),
        (shapely.Polygon(), "is empty"),
        (gpd.GeoDataFrame({"a": []}, geometry=[], crs="EPSG:4326"), "is empty"),
        (gpd.GeoSeries([None], crs="EPSG:4326"), "is empty"),
        (gpd.GeoSeries([shapely.box(*BOX)]), "no CRS"),
        (Geometry(shapely.box(*BOX), None), "no CRS"),
        (shapely.Point(1, 2), "is a Point; expected a Polygon"),
        (shapely.LineString([(0, 0), (1, 1)]), "is a LineString"),
        (BOW_TIE, r"Self-intersection\[1 1\]"),
        (
            gpd.GeoSeries([shapely.box(*BOX), BOW_TIE], crs="EPSG:4326"),
            "feature 2 of 2 is not a val",
        ),
        (NAN_SHAPE, "NaN or infinite"),
        ([0, 0, math.nan, 1], "four finite numbers"),
        ([0, 0, 1], "four numbers"),
        (["a", "b", "c", "d"], "four numbers"),
        (17, "four numbers"),
        ([2, 41, 1, 42], "west < east.*antimeridian"),
        ([1, 42, 2, 41], "south < north"),
        (shapely.box(700_000, 4_500_000, 800_000, 4_600_000), "not degrees on the globe"),
        ({"type": "Polygon"}, "not a GeoJSON geometry"),
    ],
)
def test_refused(area, words):
    with pytest.raises(AreaError, match=words) as caught:
        read_area(area)
    assert "\n" not in str(caught.value)


def test_outside_where_the_crs_is_defined():
    far = Geometry(shapely.box(1e9, 1e9, 2e9, 2e9), "EPSG:32631")
    with pytest.raises(AreaError):
        read_area(far)


def test_unreadable_and_tableless_files(tmp_path):
    noise = tmp_path / "area.geojson"
    noise.write_text("not a vector file")
    with pytest.raises(AreaError, match="cannot be read as a vector file"):
        read_area(noise)
    table = tmp_path / "area.parquet"
    table.write_bytes(b"PAR1")
    with pytest.raises(AreaError, match="cannot be read as a vector file"):
        read_area(table)
