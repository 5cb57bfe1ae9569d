"""Every kind of catalogue gives the same items, and says why it gives none."""

import json
import weakref

import pytest
import shapely
from odc.geo.geom import Geometry
from stac_factory import (
    COLLECTION,
    Script,
    item_collection,
    landing,
    make_collection,
    make_item,
    ok,
    page,
    serve_folder,
    write_items,
    write_json,
    write_static,
)

from rsscale.catalog import api, paging
from rsscale.catalog import kinds as catalogs
from rsscale.catalog.search import search
from rsscale.demo.serve import serve_catalog
from rsscale.errors import CatalogError, RecipeError
from rsscale.items.freeze import freeze, to_items
from rsscale.net.hrefs import resolve

TRIANGLE = {"type": "Polygon", "coordinates": [[[0, 0], [4, 0], [0, 4], [0, 0]]]}
YEAR_2023 = ("2023-01-01", "2024-01-01")


def archive():
    """Items on a grid of places and months, and the awkward ones."""
    items = [
        make_item(
            f"{month:02d}_{west}_{south}",
            west=west,
            south=south,
            when=f"2023-{month:02d}-15T10:30:00Z",
            properties={
                "eo:cloud_cover": (7 * month + 11 * west + 13 * south) % 100,
                "platform": "sentinel-2a" if month % 2 else "sentinel-2b",
            },
        )
        for month in range(1, 13)
        for west in (0, 2)
        for south in (0, 2)
    ]
    span = {"datetime": None, "start_datetime": "2022-12-20T00:00:00Z"}
    items += [
        make_item("range", properties={**span, "end_datetime": "2023-01-05T00:00:00Z"}),
        make_item("range_before", properties={**span, "end_datetime": "2022-12-31T00:00:00Z"}),
        make_item("last_instant", when="2023-12-31T23:59:59.500Z"),
        make_item("first_instant", when="2023-01-01T00:00:00Z"),
        make_item("next_year", when="2024-01-01T00:00:00Z"),
        make_item("triangle", geometry=TRIANGLE, bbox=[0, 0, 4, 4]),
        make_item("other", collection="dem"),
    ]
    # Shuffled in a fixed way: the order of the result must not come from the input.
    return sorted(items, key=lambda item: hash_of(item["id"]))


def hash_of(text):
    return sum(ord(c) * 31**i for i, c in enumerate(text)) % 1009


@pytest.fixture(scope="module")
def catalogue_of(tmp_path_factory):
    """The address of the archive in each kind of catalogue."""
    folder = tmp_path_factory.mktemp("archive")
    items = archive()
    static = write_static(items, folder)
    listed = write_items(items, folder / "list" / "items.json")
    freeze(to_items(items), folder / "items.parquet")
    with serve_folder(folder) as files, serve_catalog(listed) as server:
        yield {
            "api": server,
            "static": static,
            "static over http": f"{files}/catalog.json",
            "folder": folder,
            "item collection": listed,
            "item collection over http": f"{files}/list/items.json",
            "geoparquet": folder / "items.parquet",
            "geoparquet over http": f"{files}/items.parquet",
        }


KINDS = [
    "api",
    "static",
    "static over http",
    "folder",
    "item collection",
    "item collection over http",
    "geoparquet",
    "geoparquet over http",
]
SEARCHES = {
    "all": {},
    "area": {"area": [2.5, 0.5, 2.7, 0.6]},
    "beyond the triangle": {"area": [2.5, 2.5, 2.9, 2.9]},
    "year": {"datetime": "2023"},
    "months": {"datetime": "2023-03/2023-04"},
    "open end": {"datetime": "2023-11-15T10:30:00Z/.."},
    "instant": {"datetime": "2023-05-15T10:30:00Z"},
    "clouds": {"query": {"eo:cloud_cover": {"gte": 20, "lt": 60}}},
    "platform": {"query": {"platform": {"in": ["sentinel-2b"]}, "id": {"startsWith": "0"}}},
    "all filters": {
        "area": [2.5, 2.5, 2.6, 2.6],
        "datetime": "2023-02/2023-10",
        "query": {"eo:cloud_cover": {"lt": 60}},
    },
}


def expected_ids(area=None, datetime=None, query=None):
    """An independent reading of the same filters, for the forms used above."""
    limits = {
        None: ("", "9"),
        "2023": YEAR_2023,
        "2023-03/2023-04": ("2023-03", "2023-05"),
        "2023-11-15T10:30:00Z/..": ("2023-11-15T10:30:00Z", "9"),
        "2023-05-15T10:30:00Z": ("2023-05-15T10:30:00Z", "2023-05-15T10:30:00Z~"),
        "2023-02/2023-10": ("2023-02", "2023-11"),
    }
    low, high = limits[datetime]
    kept = []
    for item in archive():
        p = item["properties"]
        start, end = (
            p.get("start_datetime") or p["datetime"],
            p.get("end_datetime") or p["datetime"],
        )
        if item["collection"] != COLLECTION or not (end >= low and start < high):
            continue
        if area and not shapely.box(*area).intersects(shapely.geometry.shape(item["geometry"])):
            continue
        clouds = (query or {}).get("eo:cloud_cover", {})
        if not clouds.get("gte", -1) <= p["eo:cloud_cover"] < clouds.get("lt", 101):
            continue
        if "platform" in (query or {}) and not (
            p["platform"] == "sentinel-2b" and item["id"].startswith("0")
        ):
            continue
        kept.append((p["datetime"] or p["start_datetime"], item["id"]))
    return [name for _, name in sorted(kept)]


@pytest.mark.parametrize("asked", SEARCHES)
@pytest.mark.parametrize("kind", KINDS)
def test_same_items_from_every_kind(catalogue_of, monkeypatch, kind, asked):
    monkeypatch.setattr(paging, "LARGEST", 7)  # several pages
    wanted = SEARCHES[asked]
    expected = expected_ids(**wanted)
    assert expected  # the test says nothing otherwise
    found = search(catalogue_of[kind], COLLECTION, **wanted)
    assert [item.id for item in found] == expected


def test_all_collections_when_none_is_named(catalogue_of):
    for kind in KINDS:
        ids = [item.id for item in search(catalogue_of[kind], datetime="2023-06")]
        assert "other" in ids
        assert "06_0_0" in ids


def test_area_forms_and_exact_footprints(catalogue_of):
    box = shapely.box(2.2, 2.2, 2.9, 2.9)  # in the triangle's box, not in the triangle
    for kind in KINDS:
        ids = {item.id for item in search(catalogue_of[kind], COLLECTION, area=box)}
        assert "triangle" not in ids
        assert ids == {item["id"] for item in archive() if item["id"].endswith("_2_2")}
    metres = Geometry(box, "EPSG:4326").to_crs("EPSG:32631", resolution=0.05)
    again = search(catalogue_of["static"], COLLECTION, area=metres)
    assert {item.id for item in again} == ids


def test_hrefs_are_absolute(catalogue_of):
    for kind in ("static", "folder"):
        [item] = search(catalogue_of[kind], COLLECTION, datetime="2024")
        folder = catalogue_of["static"].parent / COLLECTION / "next_year"
        assert item.assets["red"].href == str(folder / "images" / "next_year.tif")
    [item] = search(catalogue_of["item collection"], COLLECTION, datetime="2024")
    listed = catalogue_of["item collection"].parent
    assert item.assets["red"].href == str(listed / "images" / "next_year.tif")
    for kind in ("static over http", "item collection over http"):
        [item] = search(catalogue_of[kind], COLLECTION, datetime="2024")
        href = item.assets["red"].href
        assert href.startswith("http://127.0.0.1:")
        assert href.endswith("/images/next_year.tif")


def test_found_items_stand_alone(catalogue_of):
    # A root link would make pystac read the catalogue again, for example in to_dict.
    for kind in KINDS:
        [item] = search(catalogue_of[kind], COLLECTION, datetime="2024")
        assert {link.rel for link in item.links} <= {"self"}
        item.to_dict()


def test_an_item_that_comes_twice_is_found_once(tmp_path):
    old = make_item("a", properties={"updated": "2023-07-01T00:00:00Z", "v": 1})
    new = make_item("a", properties={"updated": "2023-08-01T00:00:00Z", "v": 2})
    same_name = make_item("a", collection="dem")
    path = write_items([old, new, old, same_name], tmp_path / "items.json")
    found = search(path)
    assert [(item.collection_id, item.properties.get("v")) for item in found] == [
        ("dem", None),
        (COLLECTION, 2),
    ]


@pytest.mark.parametrize("kind", ["api", "static", "geoparquet", "item collection"])
@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"area": [50, 50, 51, 51]}, ["none", "in the area", "[50.0000, 50.0000", "cover"]),
        ({"datetime": "2030"}, ["none", "in the dates", "2030-01-01"]),
        ({"query": {"eo:cloud_cover": {"gt": 101}}}, ["none", "matching the query", '{"gt": 101}']),
        ({"area": [0, 0, 1, 1], "datetime": "2030"}, ["of the collection", "none", "in the dates"]),
    ],
)
def test_no_items_says_which_filter_left_none(catalogue_of, kind, asked, words):
    with pytest.raises(CatalogError) as caught:
        search(catalogue_of[kind], COLLECTION, **asked)
    message = str(caught.value)
    assert "\n" not in message
    for word in [*words, COLLECTION]:
        assert word in message


@pytest.mark.parametrize("kind", ["api", "static", "geoparquet", "item collection"])
def test_unknown_collection_names_the_nearest(catalogue_of, kind):
    with pytest.raises(CatalogError, match=r"no collection 's2x'.*dem, s2.*did you mean 's2'"):
        search(catalogue_of[kind], "s2x")


def test_unknown_operator_and_date_are_the_recipes_fault(catalogue_of):
    with pytest.raises(RecipeError, match="did you mean 'lte'"):
        search(catalogue_of["static"], query={"eo:cloud_cover": {"ltee": 60}})
    with pytest.raises(RecipeError, match="'2023-13' is not a date"):
        search(catalogue_of["static"], datetime="2023-13")


def test_an_item_that_says_nowhere_where_it_lies_is_kept(tmp_path):
    nowhere = make_item("nowhere", geometry=None)
    del nowhere["bbox"]
    path = write_items([make_item("here"), nowhere], tmp_path / "items.json")
    assert {item.id for item in search(path, area=[0, 0, 1, 1])} == {"here", "nowhere"}
    assert [item.id for item in search(path, area=[50, 50, 51, 51])] == ["nowhere"]


def test_crossed_footprint_is_no_reason_to_fail(tmp_path):
    bow_tie = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}
    path = write_items([make_item("bow", geometry=bow_tie)], tmp_path / "items.json")
    assert len(search(path, area=[0.4, 0.4, 0.6, 0.6])) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html></html>", "HTML page"),
        (b"", "nothing"),
        (b"[1, 2]", "a JSON list"),
        (b"{'a': 1", "something else"),
        (b'{"type": "FeatureCollection", "feat', "ends after 35 bytes, cut short"),
        (b'{"type": "Topology"}', "type 'Topology'"),
        (b"PAR1 and then noise", "damaged Parquet"),
        (b'{"type": "FeatureCollection", "features": []}', "the catalogue is empty"),
    ],
)
def test_what_is_no_catalogue(tmp_path, content, words):
    path = tmp_path / "catalog.json"
    path.write_bytes(content)
    with pytest.raises(CatalogError, match=words) as caught:
        search(path)
    assert str(path) in str(caught.value)


def test_catalogue_that_is_not_there(tmp_path):
    with pytest.raises(CatalogError, match=r"absent\.json' is not there"):
        search(tmp_path / "absent.json")
    with pytest.raises(CatalogError, match=r"folder without catalog\.json"):
        search(tmp_path)
    with pytest.raises(CatalogError, match=r"not from s3://"):
        search("s3://bucket/catalog.json")


def test_broken_link_names_both_files(tmp_path):
    path = write_static([make_item("a")], tmp_path)
    (tmp_path / COLLECTION / "a" / "a.json").unlink()
    with pytest.raises(
        CatalogError, match=r"a\.json' is not there.*linked from .*collection\.json"
    ):
        search(path)


def test_static_catalogue_that_links_in_a_circle(tmp_path):
    path = write_static([make_item("a")], tmp_path)
    collection = tmp_path / COLLECTION / "collection.json"
    document = json.loads(collection.read_text())
    document["links"].append({"rel": "child", "href": "../catalog.json"})
    write_json(collection, document)
    assert [item.id for item in search(path)] == ["a"]


def test_collection_of_an_item_comes_from_its_folder(tmp_path):
    item = make_item("a")
    path = write_static([item], tmp_path)
    del item["collection"]
    write_json(tmp_path / COLLECTION / "a" / "a.json", item)
    assert len(search(path, COLLECTION)) == 1


def test_items_of_other_collections_are_not_read(tmp_path):
    path = write_static([make_item("a"), make_item("b", collection="dem")], tmp_path)
    (tmp_path / "dem" / "b" / "b.json").write_text("not JSON")
    assert [item.id for item in search(path, COLLECTION)] == ["a"]


QUERY = {"eo:cloud_cover": {"lt": 60}, "platform": {"startsWith": "sentinel"}}
QUERY_CLASS = "https://api.stacspec.org/v1.0.0/item-search#query"
FILTER_CLASS = "https://api.stacspec.org/v1.0.0-rc.2/item-search#filter"


@pytest.mark.parametrize(
    ("conforms", "sent"),
    [
        ([], {}),
        ([QUERY_CLASS], {"query": QUERY}),
        ([QUERY_CLASS, FILTER_CLASS], {"query": QUERY}),
        (
            [FILTER_CLASS],
            {
                "filter": {"op": "<", "args": [{"property": "eo:cloud_cover"}, 60]},
                "filter-lang": "cql2-json",
            },
        ),
    ],
)
def test_query_goes_to_servers_that_take_it(conforms, sent):
    items = [make_item("clear"), make_item("cloudy", properties={"eo:cloud_cover": 90})]
    script = Script({"/": [ok(landing(*conforms))], "/search": [ok(page(items))]})
    with script.run() as server:
        found = search(server.url + "/", COLLECTION, query=QUERY)
    assert [item.id for item in found] == ["clear"]
    [body] = script.bodies("/search")
    assert {k: v for k, v in body.items() if k in ("query", "filter", "filter-lang")} == sent


def test_big_outlines_are_sent_as_a_superset():
    round_area = shapely.Point(0.5, 0.5).buffer(0.4, quad_segs=500)
    star = shapely.MultiPolygon(
        [shapely.box(x / 100, 0, x / 100 + 0.004, 1) for x in range(0, 100, 1)]
    )
    for area, key in ((round_area, "bbox"), (star, "intersects")):
        script = Script({"/": [ok(landing())], "/search": [ok(page([make_item("a")]))]})
        with script.run() as server:
            search(server.url + "/", area=area)
        [body] = script.bodies("/search")
        sent = shapely.box(*body["bbox"]) if key == "bbox" else shapely.geometry.shape(body[key])
        assert sent.covers(area)
        assert shapely.get_num_coordinates(sent) <= 200


FIJI = shapely.MultiPolygon([shapely.box(177, -20, 180, -12), shapely.box(-180, -20, -178, -12)])


def islands(per_side):
    """Round islands on both sides of 180, too many vertices for a request."""
    return shapely.union_all(
        [shapely.Point(s * (179 - x % 3), x % 7).buffer(0.3, quad_segs=8) for s in (1, -1)
         for x in range(per_side)]
    )  # fmt: skip


@pytest.mark.parametrize("area", [FIJI, islands(60)])
def test_an_area_on_both_sides_of_the_antimeridian_is_not_sent_around_the_globe(area):
    script = Script(
        {
            "/": [ok(landing())],
            "/search": [ok(page([make_item("a", geometry=shapely.geometry.mapping(area))]))],
        }
    )
    with script.run() as server:
        search(server.url + "/", area=area)
    [body] = script.bodies("/search")
    sent = shapely.geometry.shape(body["intersects"])
    assert sent.buffer(1e-9).covers(area)
    assert not sent.intersects(shapely.box(-170, -90, 170, 90))


def test_boxes_are_sent_one_a_side():
    """A box with west > east is not understood everywhere."""
    here = [make_item("west", west=178, south=-17), make_item("both", west=179.5, south=-17)]
    there = [make_item("both", west=179.5, south=-17), make_item("east", west=-180, south=-17)]
    script = Script(
        {"/": [ok(landing(method="GET"))], "/search": [ok(page(here)), ok(page(there))]}
    )
    with script.run() as server:
        found = search(server.url + "/", area=[177, -20, -178, -12])
    assert {item.id for item in found} == {"west", "both", "east"}
    boxes = [path.partition("bbox=")[2].partition("&")[0] for _, path, _ in script.requests[1:]]
    assert boxes == ["-180.0%2C-20.0%2C-178.0%2C-12.0", "177.0%2C-20.0%2C180.0%2C-12.0"]


def test_none_on_either_side_is_said():
    script = Script({"/": [ok(landing(method="GET"))], "/search": [ok(page([]))]})
    with script.run() as server, pytest.raises(CatalogError, match="none in the area"):
        search(server.url + "/", area=[177, -20, -178, -12])


def test_a_range_is_found_ordered_and_frozen(tmp_path):
    span = {"datetime": None, "start_datetime": "2023-05-01T00:00:00Z"}
    month = make_item("month", properties={**span, "end_datetime": "2023-05-31T23:59:59Z"})
    items = [make_item("june", when="2023-06-01T00:00:00Z"), month,
             make_item("april", when="2023-04-30T00:00:00Z")]  # fmt: skip
    path = write_items(items, tmp_path / "items.json")
    assert [item.id for item in search(path)] == ["april", "month", "june"]
    for dates, found in (
        ("2023-04", ["april"]),
        ("2023-05-31", ["month"]),
        ("2023-05-31/2023-06", ["month", "june"]),
        ("2023-05-31T23:59:59.5Z/..", ["june"]),
    ):
        assert [item.id for item in search(path, datetime=dates)] == found
    freeze(search(path), tmp_path / "items.parquet")
    again = search(tmp_path / "items.parquet", datetime="2023-05-10")
    assert [(i.id, i.datetime, i.properties["end_datetime"]) for i in again] == [
        ("month", None, "2023-05-31T23:59:59Z")
    ]


def test_pages_are_filtered_as_they_come(monkeypatch):
    """What is not wanted is let go page by page, and each is asked for after the one before."""
    alive = []

    class Counted(dict):
        def __init__(self, *args):
            super().__init__(*args)
            alive.append(weakref.ref(self))

    def counted(item, base):
        living = sum(ref() is not None for ref in alive)
        assert living <= 2 * 10 + kept_before(len(alive))
        return Counted(resolve(item, base))

    def kept_before(number):
        return number // 10

    monkeypatch.setattr(api, "resolve", counted)
    pages = [
        [make_item(f"{p}-{i}", properties={"eo:cloud_cover": 0 if i == 0 else 90})
         for i in range(10)]
        for p in range(20)
    ]  # fmt: skip
    answers = [
        ok(page(items, f"/search?p={n}" if n < 20 else None)) for n, items in enumerate(pages, 1)
    ]
    with Script({"/": [ok(landing())], "/search": answers}).run() as server:
        found = search(server.url + "/", query={"eo:cloud_cover": {"lt": 50}})
    assert len(alive) == 200
    assert [item.id for item in found] == sorted(f"{p}-0" for p in range(20))


def test_no_item_passes_says_how_many_passed_each_filter(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogs, "_BATCH", 3)
    items = [make_item(f"{n:02d}", west=n, when=f"2023-{1 + n % 12:02d}-01T00:00:00Z")
             for n in range(20)]  # fmt: skip
    path = write_items(items, tmp_path / "items.json")
    with pytest.raises(CatalogError) as caught:
        search(path, COLLECTION, area=[4.5, 0, 9.5, 1], datetime="2023-01")
    assert str(caught.value).endswith(
        "it has 20 items, 20 of them of the collection, 6 of them in the area, "
        "none of them in the dates (they are from 2023-05-01 to 2023-10-01)"
    )
    with pytest.raises(CatalogError, match=r"none of them in the area \(they cover \[0\.0000, 0"):
        search(path, COLLECTION, area=[50, 50, 51, 51])


def test_api_that_only_takes_get():
    script = Script({"/": [ok(landing(method="GET"))], "/search": [ok(page([make_item("a")]))]})
    with script.run() as server:
        search(server.url + "/", COLLECTION, area=[0, 0, 1, 1], datetime="2023")
    method, path, _ = script.requests[-1]
    assert method == "GET"
    assert "bbox=0.0%2C0.0%2C1.0%2C1.0" in path
    assert "collections=s2" in path


def test_address_of_a_collection_leads_to_its_api():
    links = [{"rel": "items", "href": "URL/collections/s2/items"}, {"rel": "root", "href": "URL/"}]
    script = Script(
        {
            "/": [ok(landing())],
            "/collections/s2": [ok(make_collection("s2", links))],
            "/search": [ok(page([make_item("a")]))],
        }
    )
    with script.run() as server:
        assert len(search(f"{server.url}/collections/s2", "s2")) == 1


def test_wrong_collection_that_the_server_refuses():
    known = {"collections": [make_collection("sentinel-2-l2a")], "links": []}
    script = Script(
        {
            "/": [ok(landing())],
            "/search": [(400, {}, {"description": "bad collection"})],
            "/collections": [ok(known)],
        }
    )
    with script.run() as server, pytest.raises(CatalogError, match="did you mean 'sentinel-2-l2a'"):
        search(server.url + "/", "sentinel-2-l2")


def test_answer_with_an_item_that_is_not_stac(tmp_path):
    bad = make_item("undated", properties={"datetime": None})
    path = write_items([bad], tmp_path / "items.json")
    with pytest.raises(CatalogError, match="item 'undated' is not valid STAC"):
        search(path)
    write_json(path, item_collection([{"type": "Feature", "id": "x"}]))
    with pytest.raises(CatalogError, match=r"item .x. has null as properties; expected an object"):
        search(path)


def test_every_kind_is_told_by_its_content(catalogue_of, tmp_path):
    copy = tmp_path / "no-suffix"
    copy.write_bytes(catalogue_of["geoparquet"].read_bytes())
    assert isinstance(catalogs.open_catalog(copy), catalogs.ItemList)
    assert isinstance(catalogs.open_catalog(catalogue_of["api"]), api.ApiCatalog)
    assert isinstance(
        catalogs.open_catalog(catalogue_of["static"].as_uri()), catalogs.StaticCatalog
    )


def test_a_catalogue_cannot_say_how_files_are_paid_for(tmp_path):
    greedy = make_item("a", properties={"rsscale:sign": "aws-requester-pays"})
    path = write_items([greedy], tmp_path / "items.json")
    assert "rsscale:sign" not in search(path)[0].properties
    assert search(path, sign="aws-anonymous")[0].properties["rsscale:sign"] == "aws-anonymous"
