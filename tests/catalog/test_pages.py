"""Servers that can't give large pages, and catalogues that say things in odd ways."""

import json

import pytest
from stac_factory import Script, landing, make_item, ok, page, serve_folder, write_json

import rsscale as rs
from rsscale.catalog import paging
from rsscale.catalog.search import find_features, search_filter
from rsscale.errors import CatalogError, ItemError
from rsscale.items.assets import with_all_bands
from rsscale.items.freeze import freeze, thaw
from rsscale.net import retry

TOTAL = 120


@pytest.fixture(autouse=True)
def slept(monkeypatch):
    """Waiting is recorded, not done; no server is known yet."""
    waits = []
    monkeypatch.setattr("urllib3.util.retry.time.sleep", waits.append)
    paging.forget()
    return waits


class Limited(Script):
    """An API of 120 items that refuses pages which ``refuses(limit, start)`` answers for."""

    def __init__(self, refuses):
        super().__init__({})
        self.refuses = refuses

    def next_answer(self, method, path, body):
        sent = json.loads(body) if body else {}
        self.requests.append((method, path, sent))
        if not path.startswith("/search"):
            return ok(landing())
        limit, start = sent["limit"], sent.get("token", 0)
        refusal = self.refuses(limit, start)
        if refusal is not None:
            return refusal
        some = range(start, min(start + limit, TOTAL))
        following = {
            "rel": "next", "href": "URL/search", "method": "POST",
            "body": {**sent, "token": start + limit},
        }  # fmt: skip
        links = [following] if start + limit < TOTAL else []
        return ok({**page([make_item(f"i{k}") for k in some]), "links": links})

    @property
    def limits(self):
        return [body["limit"] for body in self.bodies("/search")]


def too_large(most, status, body, headers=None):
    return lambda limit, _: (status, headers or {}, body) if limit > most else None


@pytest.mark.parametrize(
    ("most", "status", "body", "first"),
    [
        (99, 502, {"message": "Internal server error"}, [100, 50]),
        (30, 504, b"<html>gateway timeout</html>", [100, 50, 25]),
        (12, 500, {"message": "response size exceeded"}, [100, 50, 25, 10]),
        (20, 413, {"message": "Request Too Long"}, [100, 50, 25, 10]),
        (50, 400, {"code": "BadRequest", "description": "limit must be <= 50"}, [100, 50]),
        (40, 422, {"detail": [{"loc": ["body", "limit"],
                               "msg": "Input should be less than or equal to 40"}]}, [100, 40]),
        (10, 400, {"description": "the limit is not valid"}, [100, 50, 25, 10]),
    ],
)  # fmt: skip
def test_pages_become_smaller_where_a_server_cannot_give_large_ones(
    slept, most, status, body, first
):
    with Limited(too_large(most, status, body)).run() as server:
        found = rs.search(server.url + "/")
        assert [item.id for item in found] == sorted(f"i{k}" for k in range(TOTAL))
        assert server.limits[: len(first)] == first
        assert sum(slept) < (9 if status >= 500 else 0.001)
        # The next search of the process knows it.
        before = len(server.limits)
        assert (
            len(find_features(server.url + "/", search_filter(None, None, None, None), None))
            == TOTAL
        )
        assert server.limits[before] == first[-1]


def test_the_first_smaller_page_comes_at_once(slept):
    with Limited(too_large(99, 502, {"message": "Internal server error"})).run() as server:
        rs.search(server.url + "/")
        assert sum(slept) <= retry.JITTER_S


def test_a_later_page_that_is_too_large_begins_anew_without_twins():
    def refuses(limit, start):
        return (502, {}, {"message": "no"}) if start >= 100 and limit > 25 else None

    with Limited(refuses).run() as server:
        found = find_features(server.url + "/", search_filter(None, None, None, None), None)
        assert len(found) == TOTAL
        assert len({item.id for item in found}) == TOTAL


@pytest.mark.parametrize(
    ("refusal", "tries"),
    [((502, {}, {"message": "down"}), 6), ((400, {}, {"message": "bad area"}), 1),
     ((413, {}, {}), 6), ((401, {}, {}), 1)],
)  # fmt: skip
def test_what_no_page_size_mends_is_told(refusal, tries):
    with Limited(lambda *_: refusal).run() as server:
        with pytest.raises(CatalogError, match=f"HTTP {refusal[0]}") as caught:
            rs.search(server.url + "/")
        # With no items, the message counts what is there: one more search.
        assert len(server.limits) == tries
        assert ("tried 6 times" in str(caught.value)) == (refusal[0] == 502)


def test_an_item_that_comes_twice_stays_in_its_newer_version():
    old = make_item("a", properties={"updated": "2024-01-01T00:00:00Z"})
    new = make_item("a", properties={"updated": "2024-06-01T00:00:00Z"})
    pages = [ok(page([old], "/search?two")), ok(page([new, make_item("b")]))]
    with Script({"/": [ok(landing(method="GET"))], "/search": pages}).run() as server:
        found = find_features(server.url + "/", search_filter(None, None, None, None), None)
    assert [one.properties.get("updated") for one in found] == ["2024-06-01T00:00:00Z", None]


def test_a_page_that_always_fails_ends():
    def refuses(_, start):
        return (502, {}, {"message": "no"}) if start >= 50 else None

    with Limited(refuses).run() as server, pytest.raises(CatalogError, match="HTTP 502"):
        rs.search(server.url + "/")


# Links


@pytest.mark.parametrize("root", ["/", "/stac", "/stac/", "/api/v1"])
@pytest.mark.parametrize("href", ["search", "./search", "/PATH/search"])
def test_a_relative_search_link_works(root, href):
    inside = f"{root.rstrip('/')}/search"
    link = landing()
    link["links"][0]["href"] = href.replace("/PATH", root.rstrip("/"))
    answers = {root: [ok(link)], inside: [ok(page([make_item("a")]))]}
    with Script(answers).run() as server:
        assert [item.id for item in rs.search(server.url + root)] == ["a"]


def test_a_relative_search_link_beside_the_landing_page():
    link = landing()
    link["links"][0]["href"] = "search"
    answers = {"/v1/landing.json": [ok(link)], "/v1/search": [ok(page([make_item("a")]))]}
    with Script(answers).run() as server:
        assert len(rs.search(server.url + "/v1/landing.json")) == 1


def test_a_landing_page_in_a_file_says_itself_where_it_was(tmp_path):
    with Script({"/search": [ok(page([make_item("a")]))]}).run() as server:
        saved = landing()
        saved["links"][0]["href"] = "./search"
        saved["links"].append({"rel": "self", "href": f"{server.url}/"})
        path = write_json(tmp_path / "landing.json", saved)
        assert [item.id for item in rs.search(path)] == ["a"]
    # Without that it is a catalogue without items, not a missing file.
    saved["links"].pop()
    path = write_json(tmp_path / "other.json", saved)
    with pytest.raises(CatalogError, match="no items for anything: the catalogue is empty"):
        rs.search(path)


# Items


def odd(name, **assets):
    made = make_item(name)
    made["assets"] |= assets
    return made


ODD = {
    "no href": {"title": "not online yet", "storage:tier": "cold"},
    "null": None,
    "text": "./thumbnail.png",
    "number": {"href": 7},
}


@pytest.mark.parametrize("version", ["1.1.0", "1.0.0", "1.0.0-beta.2"])
def test_an_asset_that_nobody_can_read_ends_no_search(tmp_path, version):
    items = [{**odd(f"i{k}", **ODD), "stac_version": version} for k in range(3)]
    path = write_json(tmp_path / "c.json", {"type": "FeatureCollection", "features": items})
    for found in (
        rs.search(path),
        find_features(path, search_filter(None, None, None, None), None),
    ):
        assert len(found) == 3
        assert set(found[0].assets) == {"red", *ODD}
        freeze(found, tmp_path / "items.parquet")
        assert len(thaw(tmp_path / "items.parquet")) == 3
    box = rs.Grid("EPSG:32631", 10).geobox((0, 0, 0.01, 0.01))
    for name, what in {"no href": "nothing", "null": "null", "number": "the number 7"}.items():
        with pytest.raises(ItemError, match=f"item 'i0', asset '{name}': its href is {what};"):
            rs.load(found, box, [name])
    with pytest.raises(rs.BandError, match="no item has all of the bands no href"):
        with_all_bands(found, ["no href"])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", ["asset", "band", "property", "bbox", "nested"])
def test_what_is_no_json_is_frozen_as_stac_writes_it(tmp_path, value, place):
    made = make_item("i", bbox=[0, 0, 1, 1])
    made["assets"]["delta"] = {"href": "t.tif", "raster:bands": [{"data_type": "float32"}]}
    where = {
        "asset": (made["assets"]["delta"], "nodata"),
        "band": (made["assets"]["delta"]["raster:bands"][0], "nodata"),
        "property": (made["properties"], "view:off_nadir"),
        "bbox": (made["bbox"], 2),
        "nested": (made["properties"].setdefault("other:more", {"a": [1]})["a"], 0),
    }
    target, key = where[place]
    target[key] = value
    path = write_json(tmp_path / "c.json", {"type": "FeatureCollection", "features": [made]})
    for found in (
        rs.search(path),
        find_features(path, search_filter(None, None, None, None), None),
    ):
        freeze(found, tmp_path / "items.parquet")
        [back] = thaw(tmp_path / "items.parquet")
        frozen = json.dumps(back.to_dict(transform_hrefs=False))
        assert str(value) in frozen or (place == "bbox" and not back.bbox)


def test_exclude_leaves_items_out(tmp_path):
    items = [make_item("a"), make_item("b"), make_item("b", collection="other")]
    path = write_json(tmp_path / "c.json", {"type": "FeatureCollection", "features": items})
    ids = [(i.collection_id, i.id) for i in rs.search(path, exclude=["a", "other/b"])]
    assert ids == [("s2", "b")]
    with pytest.raises(CatalogError, match="all items for anything are excluded"):
        rs.search(path, exclude=["a", "b"])


def test_several_collections_at_once(tmp_path):
    items = [make_item(name, collection=name) for name in ("a", "b", "c")]
    path = write_json(tmp_path / "c.json", {"type": "FeatureCollection", "features": items})
    assert [item.id for item in rs.search(path, ["a", "c"])] == ["a", "c"]
    with pytest.raises(CatalogError, match="has no collection 'd', it has a, b, c"):
        rs.search(path, ["a", "d"])
    with serve_folder(tmp_path) as url:
        assert len(rs.search(f"{url}/c.json", ("b", "c"))) == 2
    with Script({"/": [ok(landing())], "/search": [ok(page(items))]}).run() as server:
        assert [item.id for item in rs.search(server.url + "/", ["a", "c"])] == ["a", "c"]
        assert server.bodies("/search")[0]["collections"] == ["a", "c"]
