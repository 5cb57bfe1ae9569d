"""Servers that fail in all the usual ways."""

import logging

import pytest
from stac_factory import Script, landing, make_item, ok, page

from rsscale.catalog.search import search
from rsscale.errors import CatalogError
from rsscale.net import retry

BUSY = (503, {}, {"description": "come back later"})


@pytest.fixture(autouse=True)
def slept(monkeypatch):
    """Waiting is recorded, not done."""
    waits = []
    monkeypatch.setattr("urllib3.util.retry.time.sleep", waits.append)
    return waits


def api(*searches, first=None):
    return Script({"/": [*(first or ()), ok(landing())], "/search": list(searches)}).run()


@pytest.mark.parametrize(
    "fault", [BUSY, (429, {}, {}), (500, {}, {}), (502, {}, b"<html>"), "reset"]
)
def test_a_fault_is_retried(fault):
    with api(fault, fault, ok(page([make_item("a")])), first=[fault]) as server:
        assert [item.id for item in search(server.url + "/")] == ["a"]
        assert len(server.bodies("/search")) == 3


def test_retries_back_off_with_jitter(slept):
    with api(BUSY, BUSY, BUSY, BUSY, ok(page([make_item("a")]))) as server:
        search(server.url + "/")
    assert len(slept) == 3  # the first retry comes at once
    for wait, least in zip(slept, (1, 2, 4), strict=True):
        assert least <= wait <= least + retry.JITTER_S


@pytest.mark.parametrize(("asked", "waited"), [("7", 7), ("86400", retry.RETRY_AFTER_MAX_S)])
def test_retry_after_is_respected_within_reason(slept, asked, waited):
    with api((429, {"Retry-After": asked}, {}), ok(page([make_item("a")]))) as server:
        search(server.url + "/")
    assert slept == [waited]


def test_a_fault_that_stays_names_the_address_without_secrets(caplog):
    with caplog.at_level(logging.DEBUG, logger="urllib3"), api(BUSY, first=[BUSY] * 99) as server:
        address = server.url.replace("http://", "http://me:hunter2@") + "/?token=hunter2"
        with pytest.raises(CatalogError) as caught:
            search(address)
        assert len(server.requests) == retry.RETRIES + 1
    message = str(caught.value)
    assert server.url in message
    assert "HTTP 503" in message
    assert "come back later" in message
    assert "hunter2" not in message
    warned = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert "hunter2" not in " ".join(warned)


def test_dropped_connections_are_not_logged_with_their_secrets(caplog):
    with api(ok({}), first=["reset"] * 99) as server, pytest.raises(CatalogError, match="dropped"):
        search(server.url + "/?token=hunter2")
    assert caplog.records  # urllib3 does warn
    assert "hunter2" not in caplog.text


def test_a_refusal_is_not_retried():
    for status, words in ((401, "credentials"), (403, "refused"), (404, "check the address")):
        with api(ok({}), first=[(status, {}, {})] * 9) as server:
            with pytest.raises(CatalogError, match=f"HTTP {status}.*{words}"):
                search(server.url + "/")
            assert len(server.requests) == 1


def test_nobody_there():
    with api(ok({})) as server:
        address = server.url
    with pytest.raises(CatalogError, match=f"{address}.*connection refused"):
        search(address + "/stac?key=1")


@pytest.mark.parametrize("where", ["landing", "search"])
def test_html_instead_of_json(where):
    html = (200, {"Content-Type": "text/html"}, b"\n<!doctype html><title>Browser</title>")
    with (
        api(html, first=[html] if where == "landing" else None) as server,
        pytest.raises(CatalogError, match="HTML page"),
    ):
        search(server.url + "/")


def test_an_answer_that_is_no_page():
    with (
        api(ok({"message": "hello"})) as server,
        pytest.raises(CatalogError, match="expected a page of items, found an object with mess"),
    ):
        search(server.url + "/")


def test_next_that_leads_in_a_circle():
    with (
        api(ok(page([make_item("a")], "/search?p=1"))) as server,
        pytest.raises(CatalogError, match="goes in circles after 1 item"),
    ):
        search(server.url + "/")


def test_next_that_always_differs_but_gives_the_same():
    pages = [ok(page([make_item("a")], f"/search?p={n}")) for n in range(50)]
    with api(*pages) as server:
        with pytest.raises(CatalogError, match="goes in circles"):
            search(server.url + "/")
        assert len(server.requests) < 10


def test_an_empty_page_is_not_the_end():
    pages = [
        ok(page([make_item("a")], "/search?p=1")),
        ok(page([], "/search?p=2")),
        ok(page([make_item("b")])),
    ]
    with api(*pages) as server:
        assert [item.id for item in search(server.url + "/")] == ["a", "b"]


def test_post_paging_merges_the_body():
    first = page([make_item("a")])
    first["links"] = [
        {"rel": "next", "href": "/search", "method": "POST", "body": {"token": "t"}, "merge": True}
    ]
    with api(ok(first), ok(page([make_item("b")]))) as server:
        search(server.url + "/", "s2")
        bodies = server.bodies("/search")
    assert bodies[1] == {**bodies[0], "token": "t"}
