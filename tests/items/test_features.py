"""Items read in place, as JSON, say what they say as pystac's objects."""

import copy
import json
from pathlib import Path

import pytest
from stac_factory import make_item

from rsscale.errors import BandError, CatalogError
from rsscale.items import assets
from rsscale.items.bands import known_names
from rsscale.items.features import Feature, is_plain
from rsscale.items.freeze import freeze, thaw, to_features, to_items
from rsscale.items.item_index import ItemIndex, resolve
from rsscale.items.versions import keep_newest, newest_versions
from rsscale.net.hrefs import resolve as absolute

REAL = Path(__file__).resolve().parents[2] / "../shared/data/stac-items"


def real():
    """The files of real archives, as JSON objects by file."""
    if not REAL.is_dir():
        pytest.skip(f"needs the real STAC items in {REAL}")
    found = {}
    for path in sorted(REAL.glob("*json")):
        document = json.loads(path.read_text())
        if document["type"] != "Collection":
            features = document.get("features", [document])
            found[path.name] = [absolute(one, "/catalog/item.json") for one in features]
    return found


def both(features):
    return to_features(copy.deepcopy(features)), list(to_items(copy.deepcopy(features)))


def bands_of(item):
    """Every name by which one asset of an item can be loaded, alone."""
    names = []
    for name in known_names([item]):
        try:
            if all(assets.choose_assets([item], [name]).places[0]):
                names.append(name)
        except BandError:
            continue
    return names


def test_real_items_resolve_to_the_same_records():
    checked = 0
    for features in real().values():
        for plain, made in zip(*both(features), strict=True):
            for band in bands_of(made):
                one, other = resolve([plain], [band]), resolve([made], [band])
                assert repr(one) == repr(other)
                checked += 1
    assert checked > 100


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0"])
@pytest.mark.parametrize(
    ("properties", "asset"),
    [
        ({"proj:epsg": 32631, "proj:transform": [10, 0, 5, 0, -10, 6], "proj:shape": [7, 8]}, {}),
        ({"proj:code": "EPSG:32631"}, {"proj:transform": [1, 0, 0, 0, -1, 0, 0, 0, 1]}),
        ({}, {"proj:epsg": 32632, "proj:shape": [3, 3]}),
        ({"s2:processing_baseline": "05.00", "constellation": "sentinel-2"}, {}),
        ({}, {"raster:bands": [{"data_type": "int16", "nodata": "nan", "scale": 2, "offset": 1}]}),
        ({}, {"bands": [{"name": "B04", "data_type": "uint8", "nodata": 255}]}),
        ({"eo:bands": [{"name": "B01"}, {"name": "red"}]}, {"eo:bands": [1]}),
        ({"datetime": None, "start_datetime": "2020-01-01T00:00:00Z",
          "end_datetime": "2020-12-31T23:59:59.5+02:00"}, {}),
        ({"datetime": "2020-01-14T17:05:46.732651999Z"}, {}),
    ],
)  # fmt: skip
def test_dialects_resolve_to_the_same_records(version, properties, asset):
    feature = make_item("a", properties=properties, stac_version=version)
    feature["stac_extensions"].append(
        "https://stac-extensions.github.io/projection/v1.1.0/schema.json"
    )
    feature["assets"] = {"red": {"href": "https://h/a_red.tif", "type": "image/tiff"} | asset}
    [plain], [made] = both([feature])
    assert isinstance(plain, Feature)
    assert is_plain(feature)
    assert repr(resolve([plain], ["red"])) == repr(resolve([made], ["red"]))
    one, other = (ItemIndex([item], "EPSG:32631", ["red"]).extents for item in (plain, made))
    assert one.bounds.tolist() == other.bounds.tolist()
    assert (one.starts, one.ends) == (other.starts, other.ends)


def test_the_same_order_and_each_item_once():
    features = [
        make_item("b"),
        make_item("a", properties={"updated": "2024-01-01", "n": 2}),
        make_item("a", properties={"updated": "2023-01-01", "n": 1}),
        make_item("late", when="2024-01-01T00:00:00Z"),
        make_item("early", when="2023-06-15T10:30:00+02:00"),
    ]
    plain, made = both(features)
    assert [one.id for one in plain] == [one.id for one in made] == ["early", "a", "b", "late"]
    assert plain[1].properties["n"] == made[1].properties["n"] == 2


def test_the_same_versions_are_kept():
    for features in real().values():
        plain, made = both(features)
        kept, left_out = keep_newest(plain)
        found = newest_versions(made)
        assert [one.id for one in kept] == [one.id for one in found.items]
        assert left_out == found.left_out


def test_frozen_features_thaw_to_the_same_items(tmp_path):
    for name, features in real().items():
        plain, made = both(features)
        freeze(plain, tmp_path / name)
        back = [item.to_dict(transform_hrefs=False) for item in thaw(tmp_path / name)]
        assert back == [item.to_dict(transform_hrefs=False) for item in made]


def test_items_of_older_versions_are_migrated():
    old = make_item("old", stac_version="1.0.0-beta.2", stac_extensions=["eo", "projection"])
    assert not is_plain(old)
    [plain] = to_features([old])
    assert plain.json["stac_version"] == "1.1.0"
    assert plain.id == "old"


@pytest.mark.parametrize(
    "broken",
    [
        {"properties": {"datetime": "yesterday"}},
        {"properties": {"datetime": None}},
        {"assets": "none"},
        {"type": "Catalog"},
    ],
)
def test_what_is_not_valid_is_refused_by_name(broken):
    with pytest.raises(CatalogError, match="item 'x' is not valid STAC"):
        to_features([make_item("x", **broken)])
