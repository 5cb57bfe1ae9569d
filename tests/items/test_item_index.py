"""An index of items never leaves out one that has a pixel in the box."""

import datetime as dt

import numpy as np
import pystac
import pytest
from affine import Affine
from cube_scenes import item
from odc.geo.geobox import GeoBox

from rsscale.items.item_index import ItemIndex

DAY = dt.date(2024, 1, 1)


def tile(name, epsg, left, top, size=1000, when="2024-01-01T10:00:00", **more):
    transform = Affine(10, 0, left, 0, -10, top)
    return item(name, when, {"red": f"{name}.tif"}, epsg=epsg, transform=transform,
                shape=(size, size), **more)  # fmt: skip


def ids(index, bounds, crs, start=DAY, end=DAY):
    box = GeoBox.from_bbox(bounds, crs, shape=(64, 64))
    return [one.id for one in index.touching(box, start, end)]


def test_by_place():
    items = [tile("a", 32631, 500_000, 5_000_000), tile("b", 32631, 510_000, 5_000_000)]
    index = ItemIndex(items, "EPSG:32631", ["red"])
    assert len(index) == 2
    assert ids(index, (501_000, 4_995_000, 502_000, 4_996_000), "EPSG:32631") == ["a"]
    # A kernel of a neighbour reaches 30 m over the edge.
    assert ids(index, (510_000, 4_995_000, 510_020, 4_995_020), "EPSG:32631") == ["a", "b"]
    assert ids(index, (510_031, 4_995_000, 510_050, 4_995_020), "EPSG:32631") == ["b"]
    assert ids(index, (600_000, 4_995_000, 601_000, 4_996_000), "EPSG:32631") == []


def test_the_footprint_is_not_asked():
    lying = tile("a", 32631, 500_000, 5_000_000)
    lying.geometry = {"type": "Point", "coordinates": [100, -40]}
    lying.bbox = [100, -40, 100, -40]
    index = ItemIndex([lying], "EPSG:32631", ["red"])
    assert ids(index, (501_000, 4_995_000, 502_000, 4_996_000), "EPSG:32631") == ["a"]


@pytest.mark.parametrize(
    "changes",
    [
        {"proj:code": None},
        {"proj:transform": None},
        {"proj:shape": None},
        {"proj:code": "EPSG:0"},
        {"proj:code": None, "proj:wkt2": "not a CRS"},
    ],
)
def test_an_item_that_does_not_say_where_it_is_may_be_anywhere(changes):
    vague = tile("vague", 32631, 500_000, 5_000_000)
    vague.properties |= changes
    index = ItemIndex([vague, tile("a", 32631, 500_000, 5_000_000)], "EPSG:32631", ["red"])
    assert ids(index, (300_000, 1_000_000, 301_000, 1_001_000), "EPSG:32631") == ["vague"]


# From 300 km west of 177 degrees east (zone 1's middle is 177 W), at 72 degrees north.
ACROSS = tile("across", 32601, 300_000, 8_000_000, size=10_000)


@pytest.mark.parametrize(
    ("lons", "found"),
    [
        ((179.9, 179.99), True),
        ((-179.99, -179.9), True),
        ((180.01, 180.1), True),  # a grid that goes on beyond 180
        ((-180.1, -180.01), True),
        ((178, 178.1), True),
        ((-179, -178.9), False),
        ((170, 170.1), False),
        ((0, 0.1), False),
    ],
)
def test_across_the_antimeridian_in_degrees(lons, found):
    index = ItemIndex([ACROSS], "EPSG:4326", ["red"])
    west, east = lons
    assert ids(index, (west, 71.5, east, 71.6), "EPSG:4326") == ["across"] * found


def test_across_the_antimeridian_in_metres():
    index = ItemIndex([ACROSS], "EPSG:32660", ["red"])
    from pyproj import Transformer

    to_zone = Transformer.from_crs(4326, 32660, always_xy=True)
    for lon, found in ((179.95, True), (-179.95, True), (-178.5, False), (170, False)):
        x, y = to_zone.transform(lon, 71.55)
        bounds = (x - 500, y - 500, x + 500, y + 500)
        assert ids(index, bounds, "EPSG:32660") == ["across"] * found


def test_around_the_pole():
    transform = Affine(1000, 0, -500_000, 0, -1000, 500_000)
    polar = item(
        "pole", "2024-01-01", {"red": "a"}, epsg=3031, transform=transform, shape=(1000, 1000)
    )
    index = ItemIndex([polar], "EPSG:4326", ["red"])
    for west in (-179, -10, 45, 178):
        assert ids(index, (west, -89.9, west + 1, -89), "EPSG:4326") == ["pole"]
        assert ids(index, (west, -80, west + 1, -79), "EPSG:4326") == []
    index = ItemIndex([polar], "EPSG:3031", ["red"])
    assert ids(index, (-100, -100, 100, 100), "EPSG:3031") == ["pole"]


def test_around_the_globe():
    world = item("world", "2024-01-01", {"red": "a.tif"}, epsg=4326,
                 transform=Affine(0.1, 0, -180, 0, -0.1, 90), shape=(1800, 3600))  # fmt: skip
    for crs, bounds in (
        ("EPSG:4326", (179.95, 10, 179.99, 11)),
        ("EPSG:32631", (500_000, 0, 501_000, 1000)),
        ("EPSG:3031", (-100, -100, 100, 100)),
    ):
        assert ids(ItemIndex([world], crs, ["red"]), bounds, crs) == ["world"]


def test_bands_of_several_sizes_count_together():
    several = tile("a", 32631, 500_000, 5_000_000)
    wide = {"proj:transform": [10, 0, 500_000, 0, -10, 5_000_000], "proj:shape": [1000, 3000]}
    several.add_asset("nir", pystac.Asset("b.tif", extra_fields=wide))
    bounds = (520_000, 4_995_000, 521_000, 4_996_000)
    assert ids(ItemIndex([several], "EPSG:32631", ["red"]), bounds, "EPSG:32631") == []
    assert ids(ItemIndex([several], "EPSG:32631", ["red", "nir"]), bounds, "EPSG:32631") == ["a"]


def test_a_range_counts_from_its_first_to_its_last_day():
    one = tile("range", 32631, 500_000, 5_000_000)
    one.datetime = None
    one.properties |= {
        "start_datetime": "2024-02-01T00:00:00Z",
        "end_datetime": "2024-02-29T23:59:59Z",
    }
    index = ItemIndex([one], "EPSG:32631", ["red"])
    bounds = (501_000, 4_995_000, 502_000, 4_996_000)
    for start, end, found in (
        ("2024-01-01", "2024-01-31", False),
        ("2024-01-01", "2024-02-01", True),
        ("2024-02-10", "2024-02-11", True),
        ("2024-02-29", "2024-03-31", True),
        ("2024-03-01", "2024-03-31", False),
    ):
        window = dt.date.fromisoformat(start), dt.date.fromisoformat(end)
        assert ids(index, bounds, "EPSG:32631", *window) == ["range"] * found


def test_scenes_of_one_tile_are_projected_once(monkeypatch):
    projected = []
    from rsscale.items import item_index

    def spy(rasters, crs):
        projected.append(len(rasters))
        return bounds_in(rasters, crs)

    bounds_in = item_index.bounds_in
    monkeypatch.setattr(item_index, "bounds_in", spy)
    items = [
        tile(f"{day}-{place}", 32631, 500_000 + 10_000 * place, 5_000_000,
             when=f"2024-01-{day:02d}")
        for day in range(1, 29) for place in range(3)
    ]  # fmt: skip
    index = ItemIndex(items, "EPSG:32632", ["red"])
    assert projected == [3]
    assert len(index) == 84
    assert np.isfinite(index.extents.bounds).all()


def test_no_items():
    index = ItemIndex([], "EPSG:4326", ["red"])
    assert ids(index, (0, 0, 1, 1), "EPSG:4326") == []
