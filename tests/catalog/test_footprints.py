"""A wrong footprint loses no item that may have a pixel in the area."""

import numpy as np
import pytest
import shapely
from stac_factory import make_item, write_items

from rsscale.catalog.footprints import footprints, meets
from rsscale.catalog.search import search

FIJI = shapely.MultiPolygon([shapely.box(177, -20, 180, -12), shapely.box(-180, -20, -178, -12)])
WEST, EAST = shapely.box(179, -16, 179.5, -15), shapely.box(-179, -16, -178.5, -15)
ELSEWHERE = shapely.box(0, -16, 1, -15)
# The raster is on both sides of 180: zone 60's middle is 177 E.
PROJECTED = {
    "proj:code": "EPSG:32760",
    "proj:transform": [10, 0, 700_000, 0, -10, 8_350_000],
    "proj:shape": [10_980, 30_000],
}


def across(**changes):
    nothing = {"geometry": None, "bbox": None}
    return make_item("x", **{**nothing, **changes})


def ring(*points):
    return {"type": "Polygon", "coordinates": [[*points, points[0]]]}


JUMP = ring((177, -20), (-178, -20), (-178, -12), (177, -12))


@pytest.mark.parametrize(
    "item",
    [
        across(geometry=shapely.geometry.mapping(FIJI), bbox=[-180, -20, 180, -12]),
        across(geometry=shapely.geometry.mapping(shapely.box(177, -20, 182, -12))),
        across(geometry=shapely.geometry.mapping(shapely.box(-183, -20, -178, -12))),
        across(geometry=JUMP, bbox=[177, -20, -178, -12]),
        across(bbox=[177, -20, -178, -12]),
        across(bbox=[177, -20, 0, -178, -12, 100]),
        across(bbox=[177, -20, 182, -12]),
        across(geometry={"type": "Polygon", "coordinates": "?"}, bbox=[177, -20, -178, -12]),
        across(geometry=JUMP, bbox=[-178, -20, 177, -12], properties=PROJECTED),
        across(properties=PROJECTED),
        # Latitude and longitude have changed places.
        across(geometry=ring((-20, 177), (-20, 180), (-12, 180)), bbox=[177, -20, -178, -12]),
    ],
)
def test_across_the_antimeridian(item):
    assert meets(WEST, [item])[0]
    assert meets(EAST, [item])[0]
    assert not meets(ELSEWHERE, [item])[0]
    assert not meets(shapely.box(179, 15, 179.5, 16), [item])[0]


def test_a_jump_may_mean_either_side_when_nothing_tells():
    for bbox in (None, [-178, -20, 177, -12], [-180, -20, 180, -12]):
        item = across(geometry=JUMP, bbox=bbox)
        assert all(meets(area, [item])[0] for area in (WEST, EAST, ELSEWHERE))


@pytest.mark.parametrize(
    "wrong",
    [
        ring((100, 10), (101, 10), (101, 11)),
        ring((-20, 0), (-12, 0), (-12, 1)),  # latitude and longitude have changed places
        {"type": "Polygon", "coordinates": [[[None, 1]]]},
        {"type": "Nothing"},
    ],
)
def test_rasters_stand_in_for_a_wrong_footprint(wrong):
    projected = {
        "proj:code": "EPSG:32631",
        "proj:transform": [10, 0, 500_000, 0, -10, 5_000_000],
        "proj:shape": [1000, 1000],
    }
    here, there = shapely.box(3.01, 45.1, 3.02, 45.14), shapely.box(7, 45.1, 7.1, 45.2)
    item = make_item("x", geometry=wrong, bbox=None, properties=projected)
    assert meets(here, [item])[0]
    assert not meets(there, [item])[0]


def test_a_footprint_within_its_raster_decides():
    """The rest of a tile at the swath's edge is nodata; archives leave it out in the same way."""
    projected = {
        "proj:code": "EPSG:32631",
        "proj:transform": [10, 0, 500_000, 0, -10, 5_000_000],
        "proj:shape": [10_000, 10_000],
    }
    swath = shapely.geometry.mapping(shapely.box(3.0, 44.3, 3.2, 45.1))
    item = make_item("x", geometry=swath, bbox=None, properties=projected)
    assert meets(shapely.box(3.1, 44.5, 3.15, 44.6), [item])[0]
    assert not meets(shapely.box(3.8, 44.5, 3.9, 44.6), [item])[0]


def test_around_a_pole():
    cap = ring(*[(lon, -80) for lon in (-180, -120, -60, 0, 60, 120)])
    item = across(geometry=cap)
    assert meets(shapely.box(30, -86, 31, -85), [item])[0]
    assert not meets(shapely.box(30, -76, 31, -75), [item])[0]


def test_shapes_and_order():
    items = [make_item("a", west=5.0), across(), make_item("b", west=7.0), across(bbox=[1, 2])]
    found = footprints(items)
    assert found[0].equals(shapely.box(5, 0, 6, 1))
    assert found[2].equals(shapely.box(7, 0, 8, 1))
    assert found[1] is None
    assert found[3] is None
    assert meets(shapely.box(7.5, 0, 9, 1), items).tolist() == [False, True, True, True]
    assert meets(shapely.box(0, 0, 1, 1), []).shape == (0,)
    assert footprints([]).dtype == np.dtype(object)


def test_a_search_across_the_antimeridian(tmp_path):
    items = [
        make_item("west", west=178.5, south=-17),
        make_item("east", west=-179.5, south=-17),
        make_item("both", geometry=JUMP, bbox=[177, -20, -178, -12]),
        make_item("far", west=10, south=-17),
    ]
    path = write_items(items, tmp_path / "items.json")
    for area in ([177, -20, -178, -12], [177, -20, 182, -12], FIJI):
        assert {item.id for item in search(path, area=area)} == {"west", "east", "both"}
    assert {item.id for item in search(path, area=[178, -18, 179.2, -16])} == {"west", "both"}
