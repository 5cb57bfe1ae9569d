"""Shapes across the antimeridian and around the poles, however they are written."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from rsscale.geo.antimeridian import box_on_globe, centre_longitude, jumps, on_globe

FIJI = shapely.MultiPolygon([shapely.box(177, -20, 180, -12), shapely.box(-180, -20, -178, -12)])


def ring(*points):
    return shapely.Polygon(points)


@pytest.mark.parametrize(
    "written",
    [
        FIJI,
        shapely.box(177, -20, 182, -12),
        shapely.box(-183, -20, -178, -12),
        ring((177, -20), (-178, -20), (-178, -12), (177, -12)),
        ring((177, -20), (177, -12), (-178, -12), (-178, -20)),  # the other way round
        ring((-178, -20), (-178, -12), (177, -12), (177, -20)),
        box_on_globe(177, -20, -178, -12),
        box_on_globe(177, -20, 182, -12),
        box_on_globe(-183, -20, -178, -12),
    ],
)
def test_one_place_however_it_is_written(written):
    assert on_globe(written).equals(FIJI)


def test_holes_stay_holes():
    outer = [(177, -20), (-178, -20), (-178, -12), (177, -12)]
    hole = [(179, -17), (-179, -17), (-179, -15), (179, -15)]
    found = on_globe(shapely.Polygon(outer, [hole]))
    expected = FIJI.difference(on_globe(shapely.Polygon(hole)))
    assert found.equals(expected)
    assert found.area == 5 * 8 - 2 * 2


@pytest.mark.parametrize("sign", [1, -1])
def test_a_ring_around_a_pole_holds_it(sign):
    lons = np.arange(0, 360, 30.0)
    lons = np.where(lons > 180, lons - 360, lons)
    cap = on_globe(shapely.Polygon([(lon, sign * 80.0) for lon in lons]))
    assert cap.equals(
        shapely.box(-180, 80, 180, 90) if sign > 0 else box_on_globe(-180, -90, 180, -80)
    )
    hole = [(lon, sign * 85.0) for lon in lons]
    band = on_globe(shapely.Polygon([(lon, sign * 80.0) for lon in lons], [hole]))
    assert np.isclose(band.area, 360 * 5)
    assert not band.covers(shapely.Point(10, sign * 89))


def test_what_is_plain_is_left_alone():
    for shape in (shapely.box(-10, 40, 10, 50), shapely.box(-180, -90, 180, 90)):
        assert on_globe(shape) is shape
        assert not jumps(shape)
    assert jumps(shapely.box(-179, -20, 179, -12))


def test_edges_known_to_be_short_jump_by_360_too():
    seam = ring((180, -20), (-180, -16), (180, -12), (178, -12), (178, -20))
    assert on_globe(seam, whole=np.inf).equals(shapely.box(178, -20, 180, -12))


@given(
    west=st.floats(-180, 180), width=st.floats(0.1, 170), south=st.floats(-80, 70),
    turns=st.integers(-1, 1),
)  # fmt: skip
def test_the_area_is_kept(west, width, south, turns):
    shape = shapely.box(west + 360 * turns, south, west + 360 * turns + width, south + 5)
    found = on_globe(shape)
    assert np.isclose(found.area, width * 5)
    assert found.bounds[0] >= -180
    assert found.bounds[2] <= 180


def geo(shape):
    return shapely.geometry.mapping(shape)


@pytest.mark.parametrize(
    ("geometry", "bbox", "centre"),
    [
        (geo(shapely.box(10, 40, 12, 42)), None, 11),
        (None, [10, 40, 12, 42], 11),
        (None, [10, 40, 0, 12, 42, 100], 11),
        (geo(FIJI), [-180, -20, 180, -12], 179.5),
        (geo(shapely.box(177, -20, 182, -12)), None, 179.5),
        (geo(ring((177, -20), (-178, -20), (-178, -12), (177, -12))), None, 179.5),
        (None, [177, -20, -178, -12], 179.5),
        (None, [-183, -20, -178, -12], 179.5),
        (None, [178, -20, -177, -12], -179.5),
        (geo(shapely.box(-180, -90, 180, 90)), None, 0),
        (None, [-180, -90, 180, 90], 0),
        ({"type": "Polygon", "coordinates": "?"}, [10, 40, 12, 42], 11),
        ({"type": "Polygon", "coordinates": []}, [10, 40, 12, 42], 11),
        (None, None, None),
        (None, [float("nan")] * 4, None),
        (None, [1, 2], None),
    ],
)
def test_centre(geometry, bbox, centre):
    found = centre_longitude(geometry, bbox)
    assert found == (centre if centre is None else pytest.approx(centre))
