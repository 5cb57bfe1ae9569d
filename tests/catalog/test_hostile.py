"""Answers of servers that nobody meant: one line, no loop, and no file of this machine."""

import json

import pytest
import shapely
from stac_factory import Script, landing, make_item, ok, page, write_items

from rsscale.catalog.search import search
from rsscale.errors import CatalogError
from rsscale.geo.antimeridian import on_globe


def _link(document, rel, **changes):
    links = [{**link, **changes} if link["rel"] == rel else link for link in document["links"]]
    return {**document, "links": links}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": {"a": 1}}, "wants an object as method; expected GET or POST"),
        ({"method": "DELETE"}, "wants the text 'DELETE' as method"),
        ({"href": "file:///etc/hostname"}, "is a server's link; expected http"),
        ({"href": "EPSG:None"}, "is a server's link; expected http"),
    ],
)
def test_a_search_link_that_is_none(changes, words):
    with (
        Script({"/": [ok(_link(landing(), "search", **changes))]}).run() as server,
        pytest.raises(CatalogError, match=words),
    ):
        search(server.url)


@pytest.mark.parametrize("rel", ["child", "item"])
def test_a_static_catalogue_on_a_server_reads_no_file_of_this_machine(rel, tmp_path):
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps(make_item("mine")))
    document = {
        "type": "Catalog", "id": "c", "stac_version": "1.0.0", "description": "",
        "links": [{"rel": rel, "href": mine.as_uri()}],
    }  # fmt: skip
    with (
        Script({"/catalog.json": [ok(document)]}).run() as server,
        pytest.raises(CatalogError, match="is a server's link; expected http"),
    ):
        search(f"{server.url}/catalog.json")


@pytest.mark.parametrize("href", ["file:///etc/hostname", "ftp://h/a", "EPSG:1"])
def test_a_next_page_that_is_no_address(href):
    first = {**page([make_item("a")]), "links": [{"rel": "next", "href": href}]}
    answers = {"/": [ok(landing())], "/search": [ok(first)]}
    with Script(answers).run() as server, pytest.raises(CatalogError, match=r"next page|http"):
        search(server.url)


@pytest.mark.parametrize("east", [1e6, 1e25, 1e300])
def test_a_footprint_of_a_million_turns(tmp_path, east):
    ring = [[0, 0], [1, 0], [east, 1], [0, 1], [0, 0]]
    odd = make_item("a", geometry={"type": "Polygon", "coordinates": [ring]})
    path = write_items([odd], tmp_path / "items.json")
    (found,) = search(path, area=[0.2, 0.2, 0.4, 0.4])  # by its bbox
    assert found.id == "a"
    assert on_globe(shapely.Polygon(ring)).is_empty
