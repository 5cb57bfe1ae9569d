"""Small STAC catalogues, on disk and over loopback HTTP, for the tests beside this file."""

import http.server
import json
import threading
from contextlib import contextmanager
from functools import partial

COLLECTION = "s2"


def make_item(name, west=0.0, south=0.0, size=1.0, when="2023-06-15T10:30:00Z", **changes):
    """An item of one band with a square footprint; ``changes`` replace top-level fields."""
    east, north = west + size, south + size
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    properties = {"datetime": when, "eo:cloud_cover": 10, "platform": "sentinel-2a"}
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": ["https://stac-extensions.github.io/eo/v1.1.0/schema.json"],
        "id": name,
        "collection": COLLECTION,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [west, south, east, north],
        "links": [],
        "assets": {
            "red": {
                "href": f"./images/{name}.tif",
                "type": "image/tiff; application=geotiff",
                "roles": ["data"],
                "bands": [{"name": "B04", "eo:common_name": "red", "nodata": 0}],
            }
        },
    }
    item.update(changes)
    item["properties"] = {**properties, **changes.get("properties", {})}
    return item


def item_collection(items):
    return {"type": "FeatureCollection", "features": items}


def write_items(items, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(item_collection(items)))
    return path


def write_static(items, folder):
    """A catalogue with one folder a collection, one an item, all hrefs relative."""
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted({item["collection"] for item in items})
    child = [{"rel": "child", "href": f"./{name}/collection.json"} for name in names]
    root = {"type": "Catalog", "stac_version": "1.1.0", "id": "root", "description": "root"}
    write_json(folder / "catalog.json", {**root, "links": child})
    for name in names:
        mine = [item for item in items if item["collection"] == name]
        links = [{"rel": "item", "href": f"./{i['id']}/{i['id']}.json"} for i in mine]
        links.append({"rel": "root", "href": "../catalog.json"})
        links.append({"rel": "parent", "href": "../catalog.json"})
        write_json(folder / name / "collection.json", make_collection(name, links))
        for item in mine:
            up = [{"rel": "root", "href": "../../catalog.json"}]
            up += [{"rel": rel, "href": "../collection.json"} for rel in ("parent", "collection")]
            write_json(folder / name / item["id"] / f"{item['id']}.json", {**item, "links": up})
    return folder / "catalog.json"


def make_collection(name, links=()):
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": name,
        "description": name,
        "license": "other",
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["2020-01-01T00:00:00Z", None]]},
        },
        "links": list(links),
    }


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


@contextmanager
def serve_folder(folder):
    """The address of a plain file server."""
    handler = partial(_QuietFiles, directory=str(folder))
    with _running(_Server(("127.0.0.1", 0), handler)) as url:
        yield url


class Script:
    """A server that plays answers in order, one list a path; the last one is repeated.

    An answer is ``(status, headers, body)``, or ``"reset"`` to drop the connection; a body
    that is not bytes is sent as JSON, with ``URL`` in it replaced by the server's address.
    """

    def __init__(self, answers):
        self.answers = {path: list(some) for path, some in answers.items()}
        self.requests = []
        self.url = ""

    def next_answer(self, method, path, body):
        self.requests.append((method, path, json.loads(body) if body else None))
        some = self.answers.get(path.partition("?")[0], [(404, {}, {"description": "no such"})])
        return some.pop(0) if len(some) > 1 else some[0]

    def bodies(self, path):
        return [body for _, where, body in self.requests if where.partition("?")[0] == path]

    @contextmanager
    def run(self):
        handler = partial(_Player, self)
        with _running(_Server(("127.0.0.1", 0), handler)) as url:
            self.url = url
            yield self


def ok(body):
    return 200, {}, body


def landing(*conforms, method="POST"):
    """A landing page with a search."""
    link = {"rel": "search", "href": "URL/search", "type": "application/geo+json"}
    return {
        "type": "Catalog",
        "id": "api",
        "stac_version": "1.1.0",
        "description": "api",
        "conformsTo": list(conforms),
        "links": [
            {**link, "method": method},
            {"rel": "data", "href": "URL/collections", "type": "application/json"},
        ],
    }


def page(items, following=None, **more):
    links = [] if following is None else [{"rel": "next", "href": f"URL{following}"}]
    return {**item_collection(items), "links": links, **more}


class _QuietFiles(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


class _Player(http.server.BaseHTTPRequestHandler):
    def __init__(self, script, *args, **kwargs):
        self._script = script
        super().__init__(*args, **kwargs)

    def do_GET(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        answer = self._script.next_answer(self.command, self.path, body)
        if answer == "reset":
            self.close_connection = True
            return
        status, headers, content = answer
        if not isinstance(content, bytes):
            content = json.dumps(content).replace("URL", self._script.url).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET

    def log_message(self, *args):
        pass


class _Server(http.server.ThreadingHTTPServer):
    # More than the default five may knock at once, and would wait a second each.
    request_queue_size = 64


@contextmanager
def _running(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
