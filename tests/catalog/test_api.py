"""Pages of a search that go wrong: each an error with a name, none a shorter result."""

import http.server
import json
import threading

import pytest
from stac_factory import Script, landing, make_item, ok, page

from rsscale.catalog.search import search
from rsscale.errors import CatalogError

FIRST = ok(page([make_item("a")], "/search?p=2"))
WHOLE = json.dumps(page([make_item("b"), make_item("c")])).encode()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr("urllib3.util.retry.time.sleep", lambda _: None)


def answers(*pages):
    return Script({"/": [ok(landing())], "/search": list(pages)}).run()


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ((200, {}, b"<!DOCTYPE html><title>Sign in</title>"), "HTML page"),
        ((200, {}, b"\n\n  <html lang='en'>"), "HTML page"),
        ((200, {}, b""), "empty answer"),
        ((200, {}, WHOLE[: len(WHOLE) // 2]), "expected STAC JSON"),
        ((200, {}, b"null"), "expected a STAC object"),
        ((200, {}, b'["a"]'), "expected a STAC object, found a JSON list"),
        (ok({"code": "NotFound", "description": "x"}), "expected a page of items"),
        (ok({"type": "FeatureCollection", "features": None}), "expected a page of items"),
        ((500, {}, b"<html>gateway</html>"), "HTTP 500, tried 6 times"),
        ((404, {}, {"description": "no such token"}), "HTTP 404.*no such token"),
        ("reset", "connection was dropped, 6 times"),
        (ok(page([{"type": "Feature", "properties": {}}])), "an item has no id"),
        (ok(page([make_item("x", properties={"datetime": None})])), "'x' is not valid STAC"),
    ],
)
def test_a_page_that_is_none(number, wrong, words):
    before = [FIRST] * (number - 1)
    with answers(*before, wrong) as server, pytest.raises(CatalogError, match=words) as caught:
        search(server.url + "/")
    message = str(caught.value)
    assert "\n" not in message
    assert server.url in message or "not valid STAC" in message


class CutShort(http.server.BaseHTTPRequestHandler):
    """Sends fewer bytes of a page than its header promises."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(WHOLE, len(WHOLE) - 100)

    def do_GET(self):
        host = f"http://{self.headers['Host']}"
        body = json.dumps(landing()).replace("URL", host).encode()
        self.answer(body, len(body))

    def answer(self, body, sent):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:sent])

    def log_message(self, *args):
        pass


def test_a_body_that_is_cut_short_by_the_connection():
    server = http.server.HTTPServer(("127.0.0.1", 0), CutShort)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        with pytest.raises(CatalogError, match=f"{url}/search: ") as caught:
            search(url + "/")
        assert "\n" not in str(caught.value)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_next_links_in_a_ring(size):
    ring = [ok(page([make_item(f"{n}")], f"/search?p={(n + 1) % size}")) for n in range(size)] * 30
    with answers(*ring) as server:
        with pytest.raises(CatalogError, match=rf"goes in circles after {size} items?;"):
            search(server.url + "/")
        assert len(server.bodies("/search")) <= 2 * size + 1


def test_a_page_that_shifted_is_no_circle():
    """While a catalogue grows, the last item of a page comes again on the next."""
    pages = [
        page([make_item("a"), make_item("b")], "/search?p=2"),
        page([make_item("b"), make_item("c")], "/search?p=3"),
        page([make_item("c"), make_item("d")]),
    ]
    with answers(*map(ok, pages)) as server:
        assert [item.id for item in search(server.url + "/")] == ["a", "b", "c", "d"]
