"""Of one scene the newest version stays; what only looks alike stays too."""

import logging
import random

import pystac
import pytest
import shapely
from stac_factory import make_item

from rsscale.errors import ItemError
from rsscale.items.freeze import to_items
from rsscale.items.versions import newest_versions


def kept(*items):
    """Ids that stay; the result must not depend on the order."""
    made = [one if isinstance(one, pystac.Item) else to_items([one])[0] for one in items]
    found = newest_versions(made)
    for seed in range(3):
        shuffled = random.Random(seed).sample(made, len(made))
        again = newest_versions(shuffled)
        assert [i.id for i in again.items] == [i.id for i in found.items]
        assert again.left_out == found.left_out
    assert len(found.items) + len(found.left_out) == len(made)
    return {item.id for item in found.items}


def planetary(baseline, made, tile="06VVN", sensed="20190629T212529", orbit="R043", sat="S2B",
              **properties):  # fmt: skip
    """As Planetary Computer writes it: the id has no baseline."""
    name = f"{sat}_MSIL2A_{sensed}_{orbit}_T{tile}_{made}"
    uri = name.replace(f"_{orbit}", f"_N{baseline.replace('.', '')}_{orbit}")
    when = f"{sensed[:4]}-{sensed[4:6]}-{sensed[6:11]}:{sensed[11:13]}:{sensed[13:]}.024Z"
    return make_item(
        name, when=when,
        properties={"platform": "Sentinel-2B", "s2:processing_baseline": baseline,
                    "s2:product_uri": f"{uri}.SAFE", "s2:mgrs_tile": tile, **properties},
    )  # fmt: skip


OLD = planetary("02.12", "20201006T080531")
NEW = planetary("05.00", "20230516T201530")


def test_the_higher_baseline_stays():
    assert kept(OLD, NEW) == {NEW["id"]}
    found = newest_versions(to_items([OLD, NEW]))
    assert found.left_out == {OLD["id"]: NEW["id"]}
    assert str(found).startswith("1 of 2 items are older versions of other items and left out")
    assert NEW["id"] in str(found)


def test_items_of_one_id_in_two_collections_are_two():
    both = [{**one, "collection": name} for one in (OLD, NEW) for name in ("a", "b")]
    assert kept(*both) == {NEW["id"]}
    found = newest_versions([to_items([one])[0] for one in both])
    assert [(i.id, i.collection_id) for i in found.items] == [(NEW["id"], "a"), (NEW["id"], "b")]
    assert found.left_out == {f"{name}/{OLD['id']}": NEW["id"] for name in ("a", "b")}


def test_a_higher_baseline_counts_more_than_a_later_day():
    later = planetary("02.14", "20240101T000000")
    assert kept(later, NEW) == {NEW["id"]}


def test_the_later_day_counts_within_a_baseline():
    again = planetary("05.00", "20230601T000000")
    assert kept(OLD, NEW, again) == {again["id"]}


@pytest.mark.parametrize(
    "other",
    [
        planetary("02.12", "20201006T080531", tile="06VVP"),
        planetary("02.12", "20201006T080531", sensed="20190630T212529"),
        planetary("02.12", "20201006T080531", orbit="R044"),
        planetary("02.12", "20201006T080531", sat="S2A"),
        {**OLD, "collection": "sentinel-2-l1c"},
        {**OLD, "id": OLD["id"].replace("L2A", "L1C"), "properties": {
            **OLD["properties"],
            "s2:product_uri": OLD["properties"]["s2:product_uri"].replace("L2A", "L1C")}},
    ],
)  # fmt: skip
def test_another_scene_is_no_version(other):
    assert kept(other, NEW) == {other["id"], NEW["id"]}


def test_two_parts_of_an_overpass_are_no_versions():
    """The tile lies where one datastrip ends and the next begins."""
    north = make_item(NEW["id"], west=0, south=0.5, size=1, properties=NEW["properties"],
                      when=NEW["properties"]["datetime"])  # fmt: skip
    south = {**planetary("05.00", "20230516T221530"),
             "geometry": shapely.geometry.mapping(shapely.box(0, 0, 1, 0.6)),
             "bbox": [0, 0, 1, 0.6]}  # fmt: skip
    assert kept(north, south) == {north["id"], south["id"]}


@pytest.mark.parametrize(
    ("seconds", "same"), [("30", True), ("32", True), ("50", False)]
)  # fmt: skip
def test_datastrips_tell_parts_that_have_the_whole_tile_as_footprint(seconds, same):
    one = planetary(
        "05.00", "20230516T201530",
        **{"s2:datastrip_id": "S2B_OPER_MSI_L2A_DS_S2RP_20230516T201530_S20190629T212530_N05.00"},
    )  # fmt: skip
    other = planetary(
        "05.10", "20240516T221530",
        **{"s2:datastrip_id":
           f"S2B_OPER_MSI_L2A_DS_S2RP_20240516T221530_S20190629T2125{seconds}_N05.10"},
    )  # fmt: skip
    assert kept(one, other) == ({other["id"]} if same else {one["id"], other["id"]})


def earth_search(number, tile="28QCH", when="2020-07-14T11:55:52Z", **properties):
    return make_item(
        f"S2A_{tile}_{when[:10].replace('-', '')}_{number}_L2A", when=when,
        properties={"platform": "sentinel-2a", **properties},
    )  # fmt: skip


def test_numbers_of_earth_search():
    first, second = earth_search(0), earth_search(1)
    assert kept(first, second) == {second["id"]}
    # Near a pole one satellite sees a tile on two orbits of a day.
    next_orbit = earth_search(1, when="2020-07-14T13:36:10Z")
    assert kept(first, next_orbit) == {first["id"], next_orbit["id"]}
    elsewhere = earth_search(0, tile="28QCJ")
    assert kept(first, elsewhere) == {first["id"], elsewhere["id"]}
    # The baseline counts more than the number.
    uri = "S2A_MSIL2A_20200714T115221_{}_R123_T28QCH_{}.SAFE"
    old = earth_search(1, **{"s2:product_uri": uri.format("N0214", "20200714T191310")})
    new = earth_search(0, **{"s2:product_uri": uri.format("N0500", "20230714T191310")})
    assert kept(old, new) == {new["id"]}


def landsat(name, **properties):
    return make_item(name, when="2020-01-14T17:05:46Z",
                     properties={"platform": "LANDSAT_8", **properties})  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LC08_L2SP_028030_20200114_20200824_02_T1", "LC08_L2SP_028030_20200114_20210101_02_T1"),
        ("LC08_L2SP_028030_20200114_20200824_02_RT", "LC08_L2SP_028030_20200114_20200720_02_T1"),
        ("LC08_L2SR_028030_20200114_20200824_02_T1", "LC08_L2SP_028030_20200114_20210101_02_T2"),
        ("LC08_L1TP_028030_20200114_20200824_01_T1", "LC08_L1TP_028030_20200114_20200801_02_T1"),
        ("LC08_L2SP_028030_20200114_20200824_02_T1_SR",
         "LC08_L2SP_028030_20200114_20210101_02_T1_SR"),
    ],
)  # fmt: skip
def test_landsat(old, new):
    assert kept(landsat(old), landsat(new)) == {new}


def test_what_of_landsat_is_no_version():
    name = "LC08_L2SP_028030_20200114_20200824_02_T1"
    others = [
        name.replace("LC08", "LC09"), name.replace("L2SP", "L1TP"),
        name.replace("028030", "028031"), name.replace("20200114", "20200130"),
        f"{name}_SR", f"{name}_ST",
    ]  # fmt: skip
    assert kept(*map(landsat, [name, *others])) == {name, *others}


def test_landsat_by_its_product_when_the_id_is_of_another_kind():
    """Digital Earth Australia: ids are random, a day's first product is preliminary."""
    product = "LC08_L1TP_088080_20200525_{}_01_{}"
    interim = landsat(
        "1f",
        **{
            "landsat:landsat_product_id": product.format("20200608", "T1"),
            "dea:dataset_maturity": "interim",
        },
    )
    final = landsat(
        "0a",
        **{
            "landsat:landsat_product_id": product.format("20200608", "T1"),
            "dea:dataset_maturity": "final",
        },
    )
    assert kept(interim, final) == {"0a"}


def tiled(name, **properties):
    base = {"platform": "sentinel-2a", "grid:code": "MGRS-31TCH", "sat:relative_orbit": 51}
    return make_item(name, properties={**base, **properties})


@pytest.mark.parametrize(
    ("field", "old", "new"),
    [
        ("s2:processing_baseline", "02.12", "05.00"),
        ("processing:version", "02.12", "05.00"),
        ("processing:datetime", "2023-07-01T00:00:00Z", "2023-08-01T00:00:00Z"),
        ("created", "2023-07-01T00:00:00Z", "2023-08-01T00:00:00Z"),
        ("updated", "2023-07-01T00:00:00Z", "2023-08-01T00:00:00Z"),
    ],
)
def test_by_tile_orbit_and_time(field, old, new):
    # The id says the opposite.
    assert kept(tiled("z", **{field: old}), tiled("a", **{field: new})) == {"a"}


@pytest.mark.parametrize(
    "changes",
    [
        {"grid:code": "MGRS-31TCJ"},
        {"platform": "sentinel-2b"},
        {"sat:relative_orbit": 94},
        {"datetime": "2023-06-15T10:32:00Z"},
        {"processing:level": "L1C"},
        {"grid:code": None},
        {"platform": None},
        {"created": "2023-01-01T00:00:00Z"},  # as the other: nothing tells which is newer
    ],
)
def test_what_only_looks_alike_stays(changes):
    one = tiled("a", created="2023-01-01T00:00:00Z")
    other = tiled("b", **{"created": "2024-01-01T00:00:00Z", **changes})
    assert kept(one, other) == {"a", "b"}


def test_items_of_other_bands_or_places_are_no_versions():
    one = tiled("a", created="2023-01-01T00:00:00Z")
    nir = tiled("nir", created="2024-01-01T00:00:00Z")
    nir["assets"] = {"nir": nir["assets"]["red"]}
    moved = tiled("moved", created="2024-01-01T00:00:00Z")
    moved["geometry"] = shapely.geometry.mapping(shapely.box(0.5, 0, 1.5, 1))
    assert kept(one, nir, moved) == {"a", "nir", "moved"}


def test_broken_footprints_are_no_reason_to_fail():
    for geometry in (
        None,
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]},
    ):
        assert kept({**OLD, "geometry": geometry}, {**NEW, "geometry": geometry}) == {NEW["id"]}
    broken = pystac.Item.from_dict({**OLD, "geometry": {"type": "Polygon", "coordinates": "?"}})
    assert kept(broken, NEW) == {NEW["id"]}


def test_nothing_is_copied_and_a_count_is_logged(caplog):
    items = to_items([OLD, NEW, make_item("a")])
    with caplog.at_level(logging.INFO, logger="rsscale"):
        found = newest_versions(items)
    assert [r.getMessage() for r in caplog.records] == [str(found)]
    assert all(any(item is one for one in items) for item in found.items)
    assert [item.id for item in found.items] == [NEW["id"], "a"]  # by time
    caplog.clear()
    assert str(newest_versions(found.items)) == "2 items, each the only version of its scene"
    assert not caplog.records
    assert not newest_versions([]).items


def test_an_item_without_a_date_is_named():
    undated = pystac.Item("x", None, None, None, {"start_datetime": None, "end_datetime": None})
    with pytest.raises(ItemError, match="'x' has neither"):
        newest_versions([undated])
