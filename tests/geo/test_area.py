"""Areas of interest in every form, and the ones that are refused."""

import json
import math
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from odc.geo.geom import BoundingBox, Geometry
from pyproj import Transformer

from rsscale.errors import AreaError
from rsscale.geo.area import read_area, sides, simpler
from rsscale.geo.grid import Grid

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
        ([400, 41, 401, 42], "not degrees on the globe"),
        (shapely.box(-179, -20, 178, -12), "an edge of more than 180 degrees.*cut it in two"),
        (shapely.MultiPolygon([shapely.box(5, 5, 6, 6), BOW_TIE]), r"Self-intersection\[1 1\]"),
        ([1, 42, 2, 41], "south < north"),
        (shapely.box(700_000, 4_500_000, 800_000, 4_600_000), "not degrees on the globe"),
        ({"type": "Polygon"}, "not a GeoJSON geometry"),
    ],
)
def test_refused(area, words):
    with pytest.raises(AreaError, match=words) as caught:
        read_area(area)
    assert "\n" not in str(caught.value)


FIJI = shapely.MultiPolygon([shapely.box(177, -20, 180, -12), shapely.box(-180, -20, -178, -12)])


@pytest.mark.parametrize(
    "written",
    [
        FIJI,
        shapely.box(177, -20, 182, -12),
        shapely.box(-183, -20, -178, -12),
        [177, -20, -178, -12],
        [177, -20, 182, -12],
        [-183, -20, -178, -12],
        np.array([177, -20, -178, -12]),
    ],
)
def test_across_the_antimeridian(written):
    assert read_area(written).geom.equals(FIJI)


@pytest.mark.parametrize("crs", ["EPSG:3460", "EPSG:32760", "EPSG:32701", "EPSG:3857"])
def test_across_the_antimeridian_in_metres(crs):
    # As a GIS would save it: the halves meet, and overlap by a hair once they are projected.
    frame = gpd.GeoSeries([FIJI], crs="EPSG:4326").segmentize(0.1).to_crs(crs)
    found = read_area(frame).geom
    assert found.is_valid
    assert found.symmetric_difference(FIJI).area < 1e-3 * FIJI.area
    joined = Geometry(frame.iloc[0].buffer(0.01), crs)
    if crs != "EPSG:3857":  # whose map ends at 180
        assert read_area(joined).geom.symmetric_difference(FIJI).area < 1e-3 * FIJI.area


@pytest.mark.parametrize(("crs", "sign"), [("EPSG:3413", 1), ("EPSG:3031", -1)])
def test_around_a_pole(crs, sign):
    hole = shapely.box(-2e5, -2e5, 2e5, 2e5)
    ring = shapely.box(-1e6, -1e6, 1e6, 1e6)
    whole, holed = (read_area(Geometry(s, crs)).geom for s in (ring, ring.difference(hole)))
    for lon in range(-180, 181, 15):
        assert whole.covers(shapely.Point(lon, sign * 89.9))
        assert not holed.covers(shapely.Point(lon, sign * 89.9))
        assert holed.covers(shapely.Point(lon, sign * 85))
        assert not whole.intersects(shapely.Point(lon, sign * 70))


def test_countries_across_the_antimeridian():
    path = Path(__file__).resolve().parents[2] / "../shared/data/countries-50m.parquet"
    if not path.exists():
        pytest.skip(f"Natural Earth's countries are not at {path}; they are not of the project")
    countries = gpd.read_parquet(path).set_index("NAME_EN")
    for name, points, crs in (
        ("Fiji", [(178.0, -17.8), (-179.99, -16.8)], "EPSG:3460"),
        ("Russia", [(37.6, 55.7), (-173.0, 66.5)], None),
        ("Antarctica", [(0, -80), (179.9, -85), (-179.9, -85)], "EPSG:3031"),
    ):
        frame = countries.loc[[name]]
        for form in (frame, frame.to_crs(crs)) if crs else (frame,):
            found = read_area(form).geom
            assert found.is_valid
            assert all(found.intersects(shapely.Point(*point).buffer(0.05)) for point in points)
            assert not found.intersects(shapely.Point(100, 20))


def test_parts_that_overlap_are_one_area():
    double = shapely.MultiPolygon([shapely.box(0, 0, 2, 1), shapely.box(1, 0, 3, 1)])
    assert not double.is_valid
    assert read_area(double).geom.equals(shapely.box(0, 0, 3, 1))


def test_wide_boxes_are_as_wide_as_they_say():
    assert read_area([-170, -60, 170, 60]).geom.equals(shapely.box(-170, -60, 170, 60))
    assert read_area([-180, -90, 180, 90]).geom.equals(shapely.box(-180, -90, 180, 90))
    world = shapely.box(-180, -60, 180, 60)
    assert read_area(world).geom.equals(world)


def test_sides():
    assert [a.geom.bounds for a in sides(read_area(FIJI))] == [
        (-180, -20, -178, -12), (177, -20, 180, -12),
    ]  # fmt: skip
    assert [a.geom.bounds for a in sides(read_area(BOX))] == [tuple(BOX)]


def islands(a_side):
    """Round ones, near 180 on both sides."""
    return shapely.union_all(
        [circle(side * (179 - x), x % 7, 0.3) for side in (1, -1) for x in range(a_side)]
    )


def circle(x, y, radius, edges=25):
    return shapely.Point(x, y).buffer(radius, quad_segs=edges)


@pytest.mark.parametrize(
    ("shape", "boxes"),
    [
        (circle(0, 0, 1, 10), None),
        # Islands: their hulls, then their boxes.
        (shapely.union_all([circle(x, y, 1) for x in (0, 10) for y in (0, 1.2)]), 2),
        (shapely.union_all([circle(x * 10, 0, 1, 100) for x in range(10)]), 10),
        # Too many islands, on both sides of 180: a hull for each side.
        (islands(60), 2),
    ],
)  # fmt: skip
def test_simpler_shapes_cover_the_area(shape, boxes):
    found = simpler(shape, 250)
    assert shapely.get_num_coordinates(found) <= 250
    assert found.buffer(1e-9).covers(shape)
    if boxes is None:
        assert found.equals(shape)
    else:
        assert len(shapely.get_parts(found)) == boxes
        assert not found.intersects(shapely.Point(90, 3))
    assert simpler(circle(0, 0, 1, 200), 250) is None


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


# More forms that people have at hand

SQUARE = shapely.box(*BOX)
SQUARE_JSON = shapely.geometry.mapping(SQUARE)


def collection(*geometries, **more):
    features = [{"type": "Feature", "properties": {}, "geometry": g} for g in geometries]
    return {"type": "FeatureCollection", "features": features, **more}


@pytest.mark.parametrize(
    "form",
    [
        collection(SQUARE_JSON),
        collection(None, SQUARE_JSON),
        json.dumps(collection(SQUARE_JSON)),
        json.dumps(SQUARE_JSON),
        "  " + json.dumps({"type": "Feature", "properties": None, "geometry": SQUARE_JSON}),
        shapely.GeometryCollection([SQUARE]),
        shapely.GeometryCollection([shapely.GeometryCollection([SQUARE])]),
        {"type": "GeometryCollection", "geometries": [SQUARE_JSON]},
        SQUARE.wkt,
        "MULTIPOLYGON Z (((1 41 5, 2 41 5, 2 42 5, 1 42 5, 1 41 5)))",
        shapely.force_3d(SQUARE, 512.0),
        BoundingBox(*BOX, crs="EPSG:4326"),
        collection(SQUARE_JSON, crs={"type": "name", "properties": {"name": "EPSG:4326"}}),
        collection(
            SQUARE_JSON,
            crs={"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}},
        ),
    ],
)
def test_forms_that_people_have_at_hand(form):
    assert read_area(form).geom.equals(SQUARE)
    grid = Grid("EPSG:25831", 10)
    assert grid.geobox(form) == grid.geobox(SQUARE)


def test_a_collection_is_all_of_its_features():
    other = shapely.box(5, 45, 6, 46)
    found = read_area(collection(SQUARE_JSON, shapely.geometry.mapping(other)))
    assert found.geom.equals(shapely.union_all([SQUARE, other]))


def test_geojson_in_another_crs_is_taken_at_its_word():
    shape = shapely.box(500_000, 4_500_000, 510_000, 4_510_000)
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32631"}}
    found = read_area(collection(shapely.geometry.mapping(shape), crs=crs))
    expected = read_area(Geometry(shape, "EPSG:32631"))
    assert found.geom.symmetric_difference(expected.geom).area < 1e-9
    with pytest.raises(AreaError, match=r"names the CRS .*none that PROJ knows"):
        read_area({**SQUARE_JSON, "crs": {"type": "link", "properties": {"href": "x"}}})


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (
            "https://me:hunter2@example.com/area.geojson?token=hunter2",
            "is an address .https://.*path",
        ),
        ("s3://bucket/area.gpkg", "is an address .s3://"),
        (Path("https://example.com/area.geojson"), "is an address .https"),
        ('{"type": "Polygon", ', "not valid GeoJSON"),
        ("POLYGON ((1 41, 2", "not valid WKT"),
        (collection(), "is empty"),
        ({"type": "FeatureCollection", "features": 3}, "without a list of features"),
        (shapely.GeometryCollection([SQUARE, shapely.Point(1, 1)]), "feature 2 of 2 is a Point"),
        (collection({"type": "Point", "coordinates": [1, 41]}), "is a Point"),
        (BOW_TIE, "not a valid polygon"),
        (gpd.GeoDataFrame(geometry=[SQUARE]), "no CRS"),
        ([2.0, 41.0, 1.0, 42.0], "expected west < east"),
        ((0, 0, math.inf, 1), "four finite numbers"),
    ],
)
def test_area_and_geobox_refuse_the_same(form, message):
    for read in (read_area, Grid("EPSG:25831", 10).geobox):
        with pytest.raises(AreaError, match=message) as caught:
            read(form)
        assert "hunter2" not in str(caught.value)


def test_a_geobox_across_the_antimeridian_is_as_wide_as_the_area():
    box = (179.9, -1.0, -179.9, -0.9)
    in_metres, in_degrees = Grid("EPSG:32660", 10), Grid("EPSG:4326", 0.001)
    assert 2200 < in_metres.geobox(box).shape[1] < 2260
    assert in_degrees.geobox(box).shape == (100, 200)
    assert in_degrees.geobox(box).boundingbox.bbox == pytest.approx((179.9, -1.0, 180.1, -0.9))
    assert in_degrees.geobox((-180, -1, 180, 1)).shape == (2000, 360_000)


def test_a_geobox_in_the_grids_crs_stays_on_its_pixels():
    shape = shapely.box(500_000, 4_500_000, 500_100, 4_500_050)
    for form in (
        Geometry(shape, "EPSG:32631"),
        gpd.GeoSeries([shape], crs="EPSG:32631"),
        Grid("EPSG:32631", 10).geobox(Geometry(shape, "EPSG:32631")),
    ):
        geobox = Grid("EPSG:32631", 10).geobox(form)
        assert geobox.boundingbox.bbox == shape.bounds
