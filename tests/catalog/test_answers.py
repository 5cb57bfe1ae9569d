"""Answers without bounds: bodies that decode to any size, pages and trees without end."""

import gzip
import itertools
import json
import zlib

import pytest
import requests
from stac_factory import Script, landing, make_item, ok, page

from rsscale.catalog import http, kinds
from rsscale.catalog.answers import BoundedAdapter
from rsscale.catalog.search import search
from rsscale.errors import CatalogError

MOST = 2**20


@pytest.fixture
def _small(monkeypatch):
    monkeypatch.setattr(BoundedAdapter.__init__, "__defaults__", (MOST,))


def packed(document, encoding="gzip", padding=0):
    """An answer whose body is longer by so many blanks once it is decoded."""
    body = json.dumps(document).replace("URL/", "/").encode() + b" " * padding
    pack = {"gzip": gzip.compress, "deflate": zlib.compress}
    for name in encoding.split(", "):
        body = pack.get(name, gzip.compress)(body)
    return 200, {"Content-Encoding": encoding}, body


def catalog_of(rel, href):
    return {
        "type": "Catalog", "id": "c", "stac_version": "1.0.0", "description": "",
        "links": [{"rel": rel, "href": href}],
    }  # fmt: skip


def answers(where, bomb):
    """A catalogue in which one of the answers is a bomb."""
    api = {"/": [ok(landing())], "/search": [ok(page([make_item("a")]))]}
    tree = {
        "/catalog.json": [ok(catalog_of("child", "inner.json"))],
        "/inner.json": [ok(catalog_of("item", "item.json"))],
        "/item.json": [ok(make_item("a"))],
    }
    return {
        "landing page": ("/", {**api, "/": [bomb]}),
        "page of items": ("/", {**api, "/search": [bomb]}),
        "static catalogue": ("/catalog.json", {**tree, "/catalog.json": [bomb]}),
        "child": ("/catalog.json", {**tree, "/inner.json": [bomb]}),
        "item": ("/catalog.json", {**tree, "/item.json": [bomb]}),
        "redirect": ("/catalog.json", {**tree, "/catalog.json": [(302, {"Location": "/x.json",
                     **bomb[1]}, bomb[2])], "/x.json": tree["/catalog.json"]}),
        "error": ("/", {**api, "/search": [(400, *bomb[1:])]}),
    }[where]  # fmt: skip


WHERE = ["landing page", "page of items", "static catalogue", "child", "item", "redirect", "error"]


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("where", WHERE)
def test_an_answer_that_decodes_to_any_size(where, encoding):
    path, script = answers(where, packed({}, encoding, padding=50 * MOST))
    with (
        Script(script).run() as server,
        pytest.raises(CatalogError, match=rf"answer has more than {MOST} bytes; expected fewer"),
    ):
        search(f"{server.url}{path}")


@pytest.mark.parametrize("encoding", ["gzip, gzip", "zstd", "br", "gzip, deflate"])
@pytest.mark.parametrize("where", ["page of items", "item"])
def test_an_encoding_that_nobody_asked_for(where, encoding):
    path, script = answers(where, packed({}, encoding))
    with (
        Script(script).run() as server,
        pytest.raises(CatalogError, match=f"encoded as '{encoding}'; expected gzip, deflate or"),
    ):
        search(f"{server.url}{path}")


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_is_packed_and_small_is_read(encoding):
    most = MOST - 5000
    script = {
        "/": [packed(landing(), encoding)],
        "/search": [packed(page([make_item("a")]), encoding, padding=most)],
    }
    with Script(script).run() as server:
        assert [item.id for item in search(server.url)] == ["a"]


def test_an_answer_is_not_decoded_beyond_its_bound():
    """What a bomb takes is the bound and a piece, not what it would decode to."""
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", BoundedAdapter(1000))
    with Script({"/": [packed({}, padding=50 * MOST)]}).run() as server:
        taken = []
        plain = requests.Response.iter_content

        def counted(response, size):
            for piece in plain(response, size):
                taken.append(len(piece))
                yield piece

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(requests.Response, "iter_content", counted)
            with pytest.raises(CatalogError):
                session.get(server.url)
    assert sum(taken) < 2 * MOST


class Endless(Script):
    """Pages that go on for ever, each made by a function of its number."""

    def __init__(self, make):
        super().__init__({})
        self._pages = map(make, itertools.count())

    def next_answer(self, method, path, body):  # noqa: ARG002 -- Script's
        if not path.startswith("/search"):
            return ok(landing(method="GET"))
        return ok(next(self._pages))


def test_pages_without_items_end(monkeypatch):
    monkeypatch.setattr(http, "MOST_EMPTY", 20)
    with (
        Endless(lambda n: page([], f"/search?token={n}")).run() as server,
        pytest.raises(CatalogError, match=r"paging has no end: 20 pages, 0 items, the last 20 "),
    ):
        search(server.url)


def test_pages_that_come_again_end(monkeypatch):
    """One new item in the first pages, later the same ones in another order and number."""
    monkeypatch.setattr(http, "MOST_EMPTY", 20)

    def made(n):
        names = ["a", "b", "c"][: n % 3 + 1] if n > 2 else [f"first-{n}"]
        return page([make_item(name) for name in names], f"/search?token={n}")

    with (
        Endless(made).run() as server,
        pytest.raises(CatalogError, match=r"goes in circles|has no end"),
    ):
        search(server.url)


def test_pages_of_ever_new_items_end(monkeypatch):
    monkeypatch.setattr(http, "MOST_PAGES", 30)
    with (
        Endless(lambda n: page([make_item(f"i{n}")], f"/search?token={n}")).run() as server,
        pytest.raises(CatalogError, match=r"has no end: 30 pages, 30 items, the last 0 pages"),
    ):
        search(server.url)


def test_some_pages_without_items_are_no_end():
    def made(n):
        return page([] if n < 30 else [make_item("a")], f"/search?token={n}" if n < 30 else None)

    with Endless(made).run() as server:
        assert [item.id for item in search(server.url)] == ["a"]


@pytest.mark.parametrize(
    ("bound", "told"), [("MOST_LEVELS", "12 of them, .*level 11"), ("MOST_CATALOGS", "11 of them")]
)
def test_a_tree_of_catalogues_without_end(monkeypatch, bound, told):
    monkeypatch.setattr(kinds, bound, 10)

    class Tree(Script):
        def next_answer(self, method, path, body):  # noqa: ARG002 -- Script's
            return ok(catalog_of("child", "deeper/catalog.json"))

    with (
        Tree({}).run() as server,
        pytest.raises(CatalogError, match=f"tree of its catalogues has no end: {told}"),
    ):
        search(f"{server.url}/catalog.json")
