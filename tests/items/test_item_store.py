"""Frozen scenes: found again as they were, hashed by what decides pixels, and able to grow."""

import copy
import datetime as dt
from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from stac_factory import make_item

from rsscale.errors import ItemError
from rsscale.items.features import Feature
from rsscale.items.item_index import ItemIndex, extend
from rsscale.items.item_store import INDEX, RECORDS, FrozenItems, write_index
from rsscale.items.records import BandRecord, SceneRecord

CRS, BANDS = "EPSG:32631", ["red", "scl"]
LEFT, TOP, SIZE = 500_000, 5_000_000, 100
YEAR = dt.date(2023, 1, 1), dt.date(2023, 12, 31)
FIELDS = {"raster:bands": [{"data_type": "uint16", "nodata": 0, "scale": 1e-4, "offset": -0.1}]}


def near(place):
    """The bbox of a square kilometre, ``place`` km east of the first."""
    west = 3.0 + 0.012713 * place
    return [west, 45.1445, west + 0.0127, 45.1535]


def feature(name, place=0, when="2023-06-15T10:30:00Z", href=None, **properties):
    """An item of 1 km, ``place`` km east of the first."""
    made = make_item(name, when=when) | {"geometry": None, "bbox": near(place)}
    made["properties"] |= {
        "proj:code": CRS,
        "proj:transform": [10, 0, LEFT + 1000 * place, 0, -10, TOP],
        "proj:shape": [SIZE, SIZE],
    } | properties  # fmt: skip
    made["assets"] = {
        "red": {"href": href or f"https://h/{name}.tif", "type": "image/tiff"} | FIELDS,
        "scl": {"href": f"https://h/{name}_scl.tif", "type": "image/tiff"},
    }
    return made


def index(*features):
    return ItemIndex([Feature(copy.deepcopy(one)) for one in features], CRS, BANDS)


def frozen(tmp_path, found):
    write_index(found, lambda ending, content: (tmp_path / ending).write_bytes(content))
    return FrozenItems(tmp_path / INDEX, tmp_path / RECORDS)


def box(place=0, width=1.0):
    left = LEFT + 1000 * place
    return GeoBox.from_bbox((left, TOP - 1000, left + 1000 * width, TOP), CRS, resolution=10)


def ids(scenes):
    return [record.id for record in scenes]


def test_what_was_frozen_is_found_again_exactly(tmp_path):
    found = index(*(feature(f"i{n}", n % 3, f"2023-0{1 + n % 9}-01T00:00:00.000001Z")
                    for n in range(20)))  # fmt: skip
    back = frozen(tmp_path, found)
    assert len(back) == len(found) == 20
    assert back.scenes == found.scenes
    assert (back.crs, back.scenes.names, back.scenes.codes) == (CRS, ("red", "scl"), (False, True))
    for place in range(4):
        for span in (YEAR, (dt.date(2023, 3, 1), dt.date(2023, 4, 1))):
            there = box(place, 0.5), *span
            assert back.touching(*there) == found.touching(*there)
            assert back.digest(*there) == found.digest(*there)
            assert back.cost(*there) == found.cost(*there)
    assert len(back.touching(box(0, 0.5), *YEAR)) == 7


def test_the_same_scenes_give_the_same_bytes_and_few(tmp_path):
    found = index(*(feature(f"item-{n:04d}", n % 3) for n in range(500)))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        frozen(tmp_path / name, found)
    for ending in (INDEX, RECORDS):
        assert (tmp_path / "a" / ending).read_bytes() == (tmp_path / "b" / ending).read_bytes()
    assert (tmp_path / "a" / RECORDS).stat().st_size < 60 * 500
    assert (tmp_path / "a" / INDEX).stat().st_size < 100 * 500


def test_a_tile_reads_its_own_records_only(tmp_path):
    back = frozen(tmp_path, index(feature("a", 0), feature("b", 5)))
    body = bytearray((tmp_path / RECORDS).read_bytes())
    body[int(back._edges[1]) :] = b"x" * (len(body) - int(back._edges[1]))
    (tmp_path / RECORDS).write_bytes(body)
    assert ids(back.touching(box(0, 0.5), *YEAR)) == ["a"]


def test_no_scenes(tmp_path):
    back = frozen(tmp_path, index())
    assert len(back) == len(back.touching(box(), *YEAR)) == 0
    assert back.cost(box(), *YEAR) == (0, 0)
    assert back.scenes.names == ("red", "scl")


NUMBERS = st.floats(allow_nan=False)


@given(
    st.builds(
        SceneRecord,
        id=st.text(),
        microseconds=st.integers(-(2**60), 2**60),
        day=st.integers(-(10**5), 10**5),
        sign=st.none() | st.just("planetary-computer"),
        bands=st.lists(
            st.builds(
                BandRecord,
                asset=st.text(),
                url=st.sampled_from(["/a/b.tif", "https://h/ü?page=2", "s3://b/k.tif"]),
                dtype=st.none() | st.sampled_from(["<u2", "|u1", ">f4"]),
                nodata=st.none() | NUMBERS,
                scale=NUMBERS,
                offset=NUMBERS,
                categorical=st.booleans(),
                crs=st.none() | st.just(CRS),
                transform=st.none() | st.tuples(*[NUMBERS] * 6),
                shape=st.none() | st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)),
                index=st.none() | st.integers(1, 300),
                count=st.none() | st.integers(1, 300),
                assumed=st.sampled_from([(), ("dtype",), ("dtype", "nodata")]),
                footprint=st.none() | st.tuples(*[NUMBERS] * 4),
            ),
            max_size=3,
        ).map(tuple),
    )
)
def test_a_record_comes_back_to_the_bit(record):
    back = SceneRecord.from_bytes(record.to_bytes())
    assert back == record
    assert repr(back) == repr(record)
    assert back.digest() == record.digest()


def test_records_of_older_runs_are_read():
    """Each value has its place; the last that say nothing may be missing."""
    oldest = ["red", "/a.tif", "<u2", 0.0, 1.0, 0.0, 0, "EPSG:32631", None, [9, 8]]
    alone = BandRecord("red", "/a.tif", "<u2", 0.0, crs="EPSG:32631", shape=(9, 8))
    box = (5.0, 45.0, 6.0, 46.0)
    expected = {
        (): alone,
        (4, 8): replace(alone, index=4, count=8),
        (4, None): replace(alone, index=4),
        (None, None, ("dtype",)): replace(alone, assumed=("dtype",)),
        (None, None, (), box): replace(alone, footprint=box),
        (4, 8, ("nodata",), box): BandRecord(
            *oldest[:6], False, "EPSG:32631", None, (9, 8), 4, 8, ("nodata",), box
        ),
    }
    for newer, band in expected.items():
        assert BandRecord.read([*oldest, *newer]) == band
        assert BandRecord.read(band.without_secrets()) == band
    assert len(alone.without_secrets()) == len(oldest)


def test_of_the_newest_values_only_the_number_of_a_band_decides_pixels():
    band = BandRecord("image", "/a.tif", index=1)
    compared = {
        "count": 4,
        "assumed": ("dtype",),
        "footprint": (0.0, 0.0, 1.0, 1.0),
        "shape": (9, 9),
    }
    assert replace(band, **compared).deciding() == band.deciding()
    assert replace(band, index=2).deciding() != band.deciding()


def test_a_record_holds_nodata_that_is_not_a_number_and_no_token():
    band = BandRecord("red", "https://me:S3CRET@h/a.tif?sig=S3CRET&page=2", nodata=float("nan"))
    record = SceneRecord("a", 0, 0, "planetary-computer", (band,))
    assert b"S3CRET" not in record.to_bytes()
    back = SceneRecord.from_bytes(record.to_bytes())
    assert np.isnan(back.bands[0].nodata)
    assert back.bands[0].url == "https://h/a.tif?page=2"
    assert (back.moment, back.solar_day) == (np.datetime64(0, "us"), np.datetime64(0, "D"))


# What changes the digest of a box


def digest_of(change):
    one = feature("a")
    change(one)
    return index(one).digest(box(), *YEAR)


SAME = {
    "updated": lambda i: i["properties"].update(updated="2030-01-01T00:00:00Z"),
    "a thumbnail": lambda i: i["assets"].update(thumbnail={"href": "https://h/t.png"}),
    "cloud cover": lambda i: i["properties"].update({"eo:cloud_cover": 99}),
    "a signer": lambda i: i["properties"].update({"rsscale:sign": "planetary-computer"}),
    "a token": lambda i: i["assets"]["red"].update(href="https://h/a.tif?sig=1&se=2"),
    "a password": lambda i: i["assets"]["red"].update(href="https://me:secret@h/a.tif"),
    "links": lambda i: i["links"].append({"rel": "self", "href": "https://h/a.json"}),
    "another dialect": lambda i: i["assets"]["red"].update({
        "raster:bands": None,
        "bands": [
            {"data_type": "uint16", "nodata": 0, "raster:scale": 1e-4, "raster:offset": -0.1},
        ],
    }),
    "its footprint, slightly": lambda i: i.update(bbox=[*near(0)[:3], 45.1536]),
}  # fmt: skip
OTHER = {
    "offset": lambda i: i["assets"]["red"]["raster:bands"][0].update(offset=0),
    "scale": lambda i: i["assets"]["red"]["raster:bands"][0].update(scale=2e-4),
    "nodata": lambda i: i["assets"]["red"]["raster:bands"][0].update(nodata=1),
    "type": lambda i: i["assets"]["red"]["raster:bands"][0].update(data_type="int16"),
    "path": lambda i: i["assets"]["red"].update(href="https://h/b.tif"),
    "path of the mask": lambda i: i["assets"]["scl"].update(href="https://h/b.tif"),
    "date": lambda i: i["properties"].update(datetime="2023-06-15T10:30:00.000001Z"),
    "place": lambda i: i["properties"].update({"proj:transform": [10, 0, LEFT + 10, 0, -10, TOP]}),
    "id": lambda i: i.update(id="b"),
    "codes": lambda i: i["assets"]["red"].update({"classification:classes": []}),
}


def untouched(_):
    pass


@pytest.mark.parametrize("name", SAME)
def test_what_decides_no_pixel_is_not_in_the_digest(name):
    assert digest_of(SAME[name]) == digest_of(untouched)


@pytest.mark.parametrize("name", OTHER)
def test_what_decides_pixels_is_in_the_digest(name):
    def change(one):
        one["assets"]["red"] = copy.deepcopy(one["assets"]["red"])
        OTHER[name](one)

    assert digest_of(change) != digest_of(untouched)


def test_a_digest_is_of_the_scenes_of_its_box():
    here = index(feature("a")).digest(box(0, 0.5), *YEAR)
    assert index(feature("a"), feature("b", 5)).digest(box(0, 0.5), *YEAR) == here
    assert index(feature("a"), feature("b", 0)).digest(box(0, 0.5), *YEAR) != here


# Cost


def test_a_cost_is_of_the_pixels_that_are_covered():
    found = index(feature("a"), feature("b", 0, when="2022-06-15T00:00:00Z"), feature("c", 5))
    # A kernel's room of three pixels lies around each raster; two bands in a cube of uint16.
    assert found.cost(box(), *YEAR) == (1, 100 * 100 * 2 * 2)
    assert found.cost(box(-0.5), *YEAR) == (1, (50 + 3) * 100 * 2 * 2)
    assert found.cost(box(2), *YEAR) == (0, 0)


# Growth

POOL = [feature(f"i{n}", n % 4, f"2023-0{1 + n % 9}-0{1 + n % 7}T00:00:00Z") for n in range(12)]
CHANGED = [feature(f"i{n}", n % 4, f"2023-0{1 + n % 9}-0{1 + n % 7}T00:00:00Z", href="https://h/x")
           for n in range(12)]  # fmt: skip
SETS = st.lists(st.sets(st.integers(0, 11)), min_size=2, max_size=4)


@settings(max_examples=40, deadline=None)
@given(rounds=SETS, place=st.integers(-1, 4))
def test_a_run_that_grows_sees_for_each_tile_what_it_saw(rounds, place, tmp_path_factory):
    where = box(place, 0.5), *YEAR
    first = index(*(POOL[n] for n in rounds[0]))
    run = frozen(tmp_path_factory.mktemp("run"), first)
    seen = {int(run.extents.generations.max(initial=0)): run}
    known = set(rounds[0])
    for found in rounds[1:]:
        # The catalogue says something else of every item by now, and some are gone.
        grown = extend(run, index(*(CHANGED[n] for n in found)))
        run = frozen(tmp_path_factory.mktemp("run"), grown)
        known |= found
        assert sorted(ids(run.scenes)) == sorted(f"i{n}" for n in known)
        assert [r.microseconds for r in run.scenes] == sorted(r.microseconds for r in run.scenes)
        seen[int(run.extents.generations.max(initial=0))] = run
    for generation, then in seen.items():
        assert run.touching(*where, generation) == then.touching(*where)
        assert run.digest(*where, generation) == then.digest(*where)
        assert run.cost(*where, generation) == then.cost(*where)
    assert run.touching(*where) == run.touching(*where, 65_535)


def test_without_new_items_nothing_changes(tmp_path):
    run = frozen(tmp_path, index(*POOL))
    again = extend(run, index(*CHANGED[:5]))
    assert again.scenes == run.scenes
    assert set(again.extents.generations.tolist()) == {0}
    content = {}
    write_index(again, content.__setitem__)
    assert content == {name: (tmp_path / name).read_bytes() for name in (INDEX, RECORDS)}


def test_what_cannot_be_extended(tmp_path):
    run = frozen(tmp_path, index(feature("a")))
    other = ItemIndex([Feature(feature("b"))], CRS, ["red"])
    with pytest.raises(ItemError, match=r"bands \['red'\].*can't extend.*\['red', 'scl'\]"):
        extend(run, other)
    abroad = ItemIndex([Feature(feature("b"))], "EPSG:32632", BANDS)
    with pytest.raises(ItemError, match="EPSG:32632 can't extend"):
        extend(run, abroad)
    run.extents = replace(run.extents, generations=np.array([65_535], np.uint16))
    with pytest.raises(ItemError, match="generation 65536 can't follow 65535"):
        extend(run, index(feature("b")))


def test_a_generation_may_be_that_of_all_inputs_of_a_run():
    first = index(feature("a"))
    grown = extend(extend(first, index(feature("b")), 3), index(feature("c")), 4)
    where = box(), *YEAR
    assert [ids(grown.touching(*where, n)) for n in (0, 2, 3, 4)] == [
        ["a"], ["a"], ["a", "b"], ["a", "b", "c"],
    ]  # fmt: skip
    with pytest.raises(ItemError, match="generation 3 can't follow 4"):
        extend(grown, index(feature("d")), 3)


def test_a_scene_of_another_transform_is_placed_by_it():
    moved = feature("a", **{"proj:transform": list(Affine(10, 0, LEFT + 3000, 0, -10, TOP))[:6]})
    moved["bbox"] = near(3)
    assert ids(index(moved).touching(box(3, 0.5), *YEAR)) == ["a"]
    assert ids(index(moved).touching(box(0, 0.5), *YEAR)) == []


def test_a_miscount_of_the_interpreter_is_no_damage(tmp_path, monkeypatch):
    """NumPy reads headers by ast.parse, in which CPython 3.11 sometimes fails beside threads."""
    items = index(feature("a"), feature("b", 1))
    expected, load, calls = frozen(tmp_path, items).scenes, np.load, []

    def load_late(*args, **words):
        calls.append(args)
        if len(calls) == 1:
            raise SystemError("AST constructor recursion depth mismatch (before=90, after=86)")
        return load(*args, **words)

    monkeypatch.setattr(np, "load", load_late)
    assert FrozenItems(tmp_path / INDEX, tmp_path / RECORDS).scenes == expected
    assert len(calls) == 2
