"""What is frozen comes back as it was, and without tokens."""

import json
import random
import weakref
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pystac
import pytest
from stac_factory import make_item

from rsscale.errors import CatalogError, ItemError
from rsscale.items.freeze import EXACT, freeze, thaw, to_items
from rsscale.text.redaction import strip_document

REAL = Path(__file__).resolve().parents[2] / "../shared/data/stac-items"


def as_dicts(items):
    return [item.to_dict(transform_hrefs=False) for item in items]


def awkward_items():
    """What stac-geoparquet writers round, drop, fill in or refuse."""
    span = {"start_datetime": "2020-01-01T00:00:00Z", "end_datetime": "2020-12-31T23:59:59Z"}
    other = make_item("other assets")
    other["assets"] = {
        "nir": {"href": "/n.tif", "bands": [{"name": "B08"}, {"name": "B8A", "nodata": None}]},
        "scl": {"href": "/s.tif", "raster:bands": [{"scale": 1, "offset": 0.5}]},
    }
    return to_items(
        [
            make_item("microseconds", when="2020-01-14T17:05:46.732651Z"),
            make_item("range", properties={"datetime": None, **span}),
            make_item("text", properties={"landsat:wrs_path": "028", "x": 0, "note": "é ☃"}),
            make_item("number", properties={"landsat:wrs_path": 28, "x": 0.5}),
            make_item("null", properties={"proj:code": None, "proj:wkt2": "PROJCRS[…]"}),
            make_item("nested", properties={"a": {"b": [1, {"c": None}], "d": []}}),
            make_item("nowhere", geometry=None, bbox=None, collection=None),
            make_item("extra", description="a field of its own", assets={}),
            other,
        ]
    )


def test_awkward_items_come_back_exactly(tmp_path):
    items = awkward_items()
    freeze(items, tmp_path / "items.parquet")
    assert as_dicts(thaw(tmp_path / "items.parquet")) == as_dicts(items)


@pytest.mark.parametrize("name", ["microseconds", "range", "null", "nested", "extra"])
def test_single_items_come_back_exactly(tmp_path, name):
    items = [item for item in awkward_items() if item.id == name]
    freeze(items, tmp_path / "items.parquet")
    assert as_dicts(thaw(tmp_path / "items.parquet")) == as_dicts(items)


def real_items():
    if not REAL.is_dir():
        pytest.skip(f"needs the real STAC items in {REAL}")
    found = []
    for path in sorted(REAL.glob("*json")):
        document = json.loads(path.read_text())
        if document["type"] != "Collection":
            found += document.get("features", [document])
    return found


def test_real_items_come_back_exactly(tmp_path):
    items = to_items(real_items())
    assert len({item.collection_id for item in items}) > 4
    freeze(items, tmp_path / "items.parquet")
    assert as_dicts(thaw(tmp_path / "items.parquet")) == as_dicts(items)


def test_migration_keeps_the_projection():
    before = {item["id"]: item["properties"] for item in real_items()}
    checked = 0
    for item in to_items(real_items()):
        epsg = before[item.id].get("proj:epsg")
        if epsg is not None:
            assert item.properties["proj:code"] == f"EPSG:{epsg}"
            checked += 1
    assert checked > 10


def test_other_tools_can_read_it(tmp_path):
    gpd = pytest.importorskip("geopandas")
    rustac = pytest.importorskip("rustac")
    items = to_items([make_item("a", west=2), make_item("b", south=3, properties={"x": 1})])
    path = tmp_path / "items.parquet"
    freeze(items, path)
    frame = gpd.read_parquet(path)
    assert frame.crs == "OGC:CRS84"
    assert list(frame["id"]) == ["a", "b"]
    assert list(frame.total_bounds) == [0, 0, 3, 4]
    assert list(frame["eo:cloud_cover"]) == [10, 10]
    found = rustac.read_sync(str(path))["features"]
    assert [item["assets"]["red"]["href"] for item in found] == ["./images/a.tif", "./images/b.tif"]


def test_items_of_mixed_types_keep_their_core_columns(tmp_path):
    gpd = pytest.importorskip("geopandas")
    freeze(awkward_items(), tmp_path / "items.parquet")
    frame = gpd.read_parquet(tmp_path / "items.parquet")
    assert {"id", "geometry", "datetime", "start_datetime", "assets", EXACT} <= set(frame.columns)
    assert sorted(frame["id"]) == sorted(item.id for item in awkward_items())


def test_columns_for_other_tools(tmp_path):
    gpd = pytest.importorskip("geopandas")
    awkward = to_items([
        make_item("a", properties={"n": 1, "f": 1, "flag": True, "mixed": "028", "nested": {"x": 1},
                                   "big": 2**70, "none": None}, bbox=[0, 0, 5, 1, 1, 9]),
        make_item("b", properties={"n": 2, "f": 0.5, "flag": None, "mixed": 28, "nested": {}}),
    ])  # fmt: skip
    freeze(awkward, tmp_path / "items.parquet")
    frame = gpd.read_parquet(tmp_path / "items.parquet")
    assert list(frame["n"]) == [1, 2]
    assert list(frame["f"]) == [1.0, 0.5]
    assert frame["flag"][0]
    assert frame["flag"][1] is None
    assert not {"mixed", "nested", "big", "none"} & set(frame.columns)
    assert frame["bbox"][0] == {"xmin": 0, "ymin": 0, "xmax": 1, "ymax": 1}
    assert frame["assets"][0]["red"]["href"] == "./images/a.tif"
    assert frame["datetime"][0].isoformat() == "2023-06-15T10:30:00+00:00"
    assert as_dicts(thaw(tmp_path / "items.parquet")) == as_dicts(awkward)


def test_files_are_written_and_read_some_items_at_a_time(tmp_path, monkeypatch):
    from rsscale.items import freeze as items
    from rsscale.items import geoparquet

    monkeypatch.setattr(geoparquet, "_ROWS", 10)
    monkeypatch.setattr(items, "_ROWS", 7)
    made = to_items([make_item(f"{n:03d}", west=n / 10) for n in range(95)])
    alive = []

    class Feature(dict):
        pass

    def to_json(item):
        assert sum(ref() is not None for ref in alive) <= 20
        feature = Feature(item.to_dict(transform_hrefs=False))
        alive.append(weakref.ref(feature))
        return geoparquet.with_text(feature)

    with (tmp_path / "items.parquet").open("wb") as file:
        geoparquet.write(file, list(made), to_json)
    assert len(alive) == 95
    assert pq.ParquetFile(tmp_path / "items.parquet").num_row_groups == 10
    assert as_dicts(thaw(tmp_path / "items.parquet")) == as_dicts(made)


def test_only_items_that_may_hold_a_secret_are_looked_through(tmp_path, monkeypatch):
    looked_through = []

    def strip(feature):
        looked_through.append(feature["id"])
        return strip_document(feature)

    monkeypatch.setattr("rsscale.items.freeze.strip_document", strip)
    made = to_items([make_item(f"{n}") for n in range(5)])
    made[3].assets["red"].href = "https://example.org/a.tif?token=abc"
    freeze(made, tmp_path / "items.parquet")
    assert looked_through == ["3"]
    assert not any("?" in item.assets["red"].href for item in thaw(tmp_path / "items.parquet"))


def test_rows_that_others_added_are_read_by_their_columns(tmp_path):
    rustac = pytest.importorskip("rustac")
    freeze(to_items([make_item("a")]), tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet")
    at = table.schema.get_field_index(EXACT)
    table = table.set_column(at, EXACT, pa.array([None], pa.string()))
    pq.write_table(table, tmp_path / "b.parquet")
    [item] = thaw(tmp_path / "b.parquet")
    assert item.id == "a"
    assert item.assets["red"].href == "./images/a.tif"
    assert EXACT not in item.properties
    assert rustac


def test_same_items_same_bytes(tmp_path):
    items = list(awkward_items())
    freeze(items, tmp_path / "a.parquet")
    random.Random(1).shuffle(items)
    freeze(items, tmp_path / "b.parquet")
    freeze(thaw(tmp_path / "a.parquet"), tmp_path / "c.parquet")
    first = (tmp_path / "a.parquet").read_bytes()
    assert first == (tmp_path / "b.parquet").read_bytes() == (tmp_path / "c.parquet").read_bytes()
    freeze(items[1:], tmp_path / "d.parquet")
    assert first != (tmp_path / "d.parquet").read_bytes()


def test_foreign_files_are_read_without_made_up_nulls(tmp_path):
    rustac = pytest.importorskip("rustac")
    features = [make_item("a"), make_item("b", properties={"x": 1})]
    features[1]["assets"]["nir"] = {"href": "/n.tif"}
    path = str(tmp_path / "foreign.parquet")
    rustac.write_sync(path, features)
    a, b = thaw(path)
    assert "x" not in a.properties
    assert b.properties["x"] == 1
    assert set(a.assets) == {"red"}
    assert set(b.assets) == {"red", "nir"}
    assert b.assets["nir"].to_dict() == {"href": "/n.tif"}


def test_tokens_are_not_written(tmp_path):
    item = make_item("a")
    signed = "https://me:SECRET@h.example/a.tif?st=SECRET&se=1&sp=r&sig=SECRET&page=2"
    item["assets"]["red"]["href"] = signed
    item["assets"]["red"]["alternate"] = {"s3": {"href": "https://b/x?X-Amz-Signature=SECRET"}}
    item["links"] = [
        {"rel": "self", "href": "https://h/a?token=SECRET", "headers": {"Authorization": "SECRET"}}
    ]
    path = tmp_path / "items.parquet"
    freeze(to_items([item]), path)
    [back] = thaw(path)
    assert "SECRET" not in json.dumps(back.to_dict(transform_hrefs=False))
    assert back.assets["red"].href == "https://h.example/a.tif?page=2"
    assert "SECRET" not in str(pq.read_table(path).to_pylist())


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "items.parquet"
    freeze(to_items([make_item("a")]), path)
    before = path.read_bytes()

    def full(_fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        freeze(to_items([make_item("b")]), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["items.parquet"]


def test_freezing_does_not_change_the_items():
    item = make_item("a")
    item["assets"]["red"]["href"] = "https://h/a.tif?sig=1"
    items = to_items([item])
    before = as_dicts(items)
    with pytest.raises(FileNotFoundError):
        freeze(items, "/nonexistent-folder/items.parquet")
    assert as_dicts(items) == before


def test_items_without_a_place_are_frozen_too(tmp_path):
    nowhere = to_items([make_item("a", geometry=None, bbox=None, assets={})])
    freeze(nowhere, tmp_path / "items.parquet")
    assert as_dicts(thaw(tmp_path / "items.parquet")) == as_dicts(nowhere)


def test_what_cannot_be_frozen(tmp_path):
    with pytest.raises(ItemError, match="at least one"):
        freeze([], tmp_path / "items.parquet")
    no_json = to_items([make_item("sound"), make_item("z", properties={"x": {1, 2}})])
    with pytest.raises(ItemError, match=r"item 'z' cannot be written as JSON: .*set"):
        freeze(no_json, tmp_path / "items.parquet")
    assert not list(tmp_path.iterdir())


def test_numbers_that_json_has_not_are_frozen_as_texts(tmp_path):
    """As STAC writes nodata; most stand in assets that nobody reads."""
    endless = {"x": float("inf"), "y": [{"z": float("nan")}], "w": float("-inf")}
    freeze(to_items([make_item("a", properties=endless)]), tmp_path / "items.parquet")
    (item,) = thaw(tmp_path / "items.parquet")
    found = {name: item.properties[name] for name in endless}
    assert found == {"x": "inf", "y": [{"z": "nan"}], "w": "-inf"}


def test_what_cannot_be_thawed(tmp_path):
    with pytest.raises(CatalogError, match="cannot be read: No such file"):
        thaw(tmp_path / "absent.parquet")
    (tmp_path / "noise.parquet").write_bytes(b"PAR1noisePAR1")
    with pytest.raises(CatalogError, match="damaged Parquet"):
        thaw(tmp_path / "noise.parquet")
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(CatalogError, match="lacks the columns assets, geometry"):
        thaw(tmp_path / "other.parquet")


def test_a_deprecated_item_is_no_error():
    [item] = to_items([make_item("old", properties={"deprecated": True})])
    assert isinstance(item, pystac.Item)
