"""Items are checked where they come in; what nobody reads may be broken."""

import json

import pytest
from stac_factory import make_item

from rsscale.catalog.search import search
from rsscale.documents.stac_items import BROKEN, check_item
from rsscale.errors import CatalogError, ItemError
from rsscale.items.features import Feature
from rsscale.items.item_index import resolve

JUNK = [None, True, 5, 1.5, "text", [], [1], {}, {"a": 1}]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": 5}, "an item has no id: found the number 5; expected a text"),
        ({"id": ""}, "an item has no id: found the text ''"),
        ({"assets": [1]}, "item 'a' has a list of 1 as assets; expected an object"),
        ({"properties": {"datetime": 5}}, "the number 5 as properties.datetime; expected a date"),
    ],
)
def test_what_all_rely_on_is_named(changes, words):
    with pytest.raises(CatalogError, match=words):
        check_item(make_item("a", **changes), "here")


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize(
    "field",
    [
        "geometry", "bbox", "collection", "stac_version", "stac_extensions", "links",
        "assets.other", "assets.other.href", "assets.other.type", "assets.other.roles",
        "assets.other.raster:bands", "assets.other.proj:shape", "assets.other.nodata",
        "assets.other.alternate", "properties.gsd", "properties.updated",
    ],
)  # fmt: skip
def test_a_broken_field_that_nobody_reads_stops_nobody(tmp_path, field, junk):
    item = make_item("a")
    item["assets"]["other"] = {"href": "https://h/b.tif"}
    *parents, last = field.split(".")
    scope = item
    for parent in parents:
        scope = scope[parent]
    scope[last] = junk
    path = tmp_path / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [item]}))
    (found,) = search(path)
    (scene,) = resolve([found], ["red"])
    assert scene.bands[0].url.endswith("a.tif")


@pytest.mark.parametrize(
    ("field", "value", "found", "expected"),
    [
        ("href", 5, "the number 5", "the address"),
        ("href", None, "null", "the address"),
        ("nodata", [0], "a list of 1", "a number"),
        ("scale", "big", "the text 'big'", "a finite number"),
        ("raster:offset", True, "true", "a finite number"),
        ("data_type", 16, "the number 16", "a text"),
        ("proj:transform", "none", "the text 'none'", "six or nine numbers"),
        ("proj:transform", [1, 2, 3, 4, 5, "x"], "a list of 6", "six or nine numbers"),
        ("proj:shape", [1e300, 1], "a list of 2", "two numbers of pixels"),
        ("proj:projjson", [], "a list of 0", "an object"),
    ],
)
def test_a_broken_field_that_is_read_is_named(field, value, found, expected):
    item = make_item("a")
    item["assets"]["red"].pop("bands")
    item["assets"]["red"][field] = value
    with pytest.raises(ItemError, match=rf"item 'a', asset 'red': .*{expected}") as caught:
        resolve([Feature(check_item(item, "here"))], ["red"])
    assert found in str(caught.value)


def test_an_asset_that_is_no_object_keeps_its_place():
    item = check_item(make_item("a", assets={"red": "a.tif", "nir": {}}), "here")
    assert item["assets"]["red"] == {"href": "", BROKEN: "the text 'a.tif'"}
    assert item["assets"]["nir"] == {"href": "", BROKEN: "nothing"}


def test_another_band_of_the_file_may_be_broken():
    item = make_item("a")
    bands = [{"name": "r", "scale": 0.5}, {"name": "g", "scale": "big"}, {"name": "b"}]
    item["assets"]["image"] = {"href": "https://h/image.tif", "bands": bands}
    checked = Feature(check_item(item, "here"))
    (scene,) = resolve([checked], ["r", "b"])
    assert [(band.index, band.scale) for band in scene.bands] == [(1, 0.5), (3, 1.0)]
    with pytest.raises(ItemError, match=r"'image': scale is the text 'big'; expected a finite"):
        resolve([checked], ["g"])
