"""Nothing secret is written or printed: not by a run that succeeds, nor by one that fails.

Each shape of a secret goes through a whole run by the command line, and through runs that fail in
one way after another, with ``--debug``. Then every byte that was written or printed is searched.
"""

from __future__ import annotations

import base64
import copy
import http.server
import json
import logging
import tempfile
import threading
from functools import partial
from itertools import count
from pathlib import Path
from urllib.parse import quote, urlsplit

import fault_archive
import numpy as np
import pyarrow.parquet as pq
import pytest
import secret_signer
import yaml

import rsscale as rs
from rsscale.cli import application as cli
from rsscale.items.item_store import FrozenItems
from rsscale.net import retry
from rsscale.recipe import read_recipe

SECRET = "s3cretVALUE0123xyz"  # noqa: S105 -- of the tests
JWT = f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.{SECRET}"
FAILURES = {
    "the files answer 403": {"files": 403},
    "the files answer 404": {"files": 404},
    "the files are pages": {"files": 200},
    "the files redirect to a refusal": {"files": 302},
    "the catalogue answers 401": {"catalog": 401},
    "the catalogue answers 500": {"catalog": 500},
    "the catalogue is no JSON": {"catalog": 200},
}


class World(http.server.ThreadingHTTPServer):
    """A server of items and rasters that says again whatever it was asked with."""

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Handler, self))
        self.root, self.items, self.fault, self.asked = root, [], {}, []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, world, *args):
        self.world = world
        super().__init__(*args)

    def do_GET(self):
        path = urlsplit(self.path).path
        self.world.asked.append(self.path)
        echo = f"{self.path} {dict(self.headers)} key: {SECRET}, token={SECRET}"
        if path.startswith("/items.json"):
            status = self.world.fault.get("catalog")
            body = {"type": "FeatureCollection", "features": self.world.items}
            answer = {"description": f"refused: {echo}"} if status else body
            content = json.dumps(answer).encode()
            return self.send(status or 200, {}, b"<html>" + content if status == 200 else content)
        status = self.world.fault.get("files")
        if status:
            headers = {"Location": f"{self.world.url}/elsewhere?token={SECRET}"}
            self.world.fault = {"files": 403} if status == 302 else self.world.fault
            return self.send(status, headers if status == 302 else {}, f"<html>{echo}".encode())
        file = self.world.root / path.lstrip("/").partition("/")[2]
        if not file.is_file():
            return self.send(404, {}, echo.encode())
        content = file.read_bytes()
        start, stop = self.headers["Range"].removeprefix("bytes=").split("-")
        part = content[int(start) : int(stop) + 1]
        where = f"bytes {start}-{int(start) + len(part) - 1}/{len(content)}"
        return self.send(206, {"Content-Range": where}, part)

    def send(self, status, headers, body):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def hrefs(change):
    """Items whose hrefs are changed."""

    def changed(case):
        for item in case.items:
            for asset in item["assets"].values():
                asset["href"] = change(asset["href"])

    return changed


def query(name):
    return hrefs(lambda href: f"{href}?{name}={SECRET}")


def items(change):
    def changed(case):
        for item in case.items:
            change(item)

    return changed


def catalog(change):
    def changed(case):
        case.catalog = change(case.catalog)

    return changed


def user(href):
    return href.replace("://", f"://me:{SECRET}@")


def signer(name):
    def changed(case):
        case.patch.setenv("RSSCALE_SIGNERS", "secret_signer")
        case.recipe["inputs"]["s2"]["sign"] = f"secret_signer:{name}"

    return changed


def environment(name):
    return lambda case: case.patch.setenv(name, SECRET)


def netrc(case):
    path = case.folder / "my-netrc"
    path.write_text(f"machine 127.0.0.1 login me password {SECRET}\n")
    path.chmod(0o600)
    case.patch.setenv("NETRC", str(path))


def _update(place, **fields):
    return lambda item: (item["assets"]["red"] if place == "asset" else item[place]).update(fields)


SHAPES = {
    "Azure's signature": hrefs(lambda h: f"{h}?sv=2022&se=2030&sp=r&sig={SECRET}"),
    "Amazon's signature": hrefs(lambda h: f"{h}?X-Amz-Credential=a&X-Amz-Signature={SECRET}"),
    "api_token": query("api_token"),
    "access-token": query("access-token"),
    "key": query("key"),
    "jwt": query("jwt"),
    "session": query("session"),
    "client_secret": query("client_secret"),
    "bearer": query("bearer"),
    "a name that nobody knows": query("zz"),
    "an escaped name": query("%74oken"),
    "a second parameter": hrefs(lambda h: f"{h}?f=tif;auth={SECRET}"),
    "a value without a name": hrefs(lambda h: f"{h}?{SECRET}"),
    "a token as a known name's value": hrefs(lambda h: f"{h}?id={JWT}"),
    "an address in an address": hrefs(lambda h: f"{h}?url={quote(f'http://u:{SECRET}@h/')}"),
    "user and password": hrefs(user),
    "a token as user": hrefs(lambda h: h.replace("://", f"://{SECRET}@")),
    "a fragment": hrefs(lambda h: f"{h}#token={SECRET}"),
    "behind a semicolon": hrefs(lambda h: f"{h};jsessionid={SECRET}"),
    "a token in the path": hrefs(lambda h: h.replace("/tifs/", f"/{JWT}/tifs/")),
    "headers of a link": items(
        lambda i: i["links"].append(
            {"rel": "next", "href": "http://h/", "headers": {"Authorization": f"Bearer {SECRET}"}}
        )
    ),
    "address of a link": items(
        lambda i: i["links"].append({"rel": "self", "href": f"http://h/?token={SECRET}"})
    ),
    "an alternate": items(_update("asset", alternate={"s3": {"href": f"s3://b/a?sig={SECRET}"}})),
    "auth:schemes": items(_update("properties", **{"auth:schemes": {"a": {"value": SECRET}}})),
    "storage: of an asset": items(_update("asset", **{"storage:client_secret": SECRET})),
    "a property": items(_update("properties", apiKey=SECRET, note=f"Bearer {SECRET}")),
    "user of the catalogue": catalog(user),
    "query of the catalogue": catalog(lambda url: f"{url}?subscription-key={SECRET}"),
    "fragment of the catalogue": catalog(lambda url: f"{url}#{SECRET}"),
    "a signer": signer("sign"),
    "a signer that fails": signer("fails"),
    "an environment variable": environment("MY_SERVICE_TOKEN"),
    "Amazon's environment": environment("AWS_SECRET_ACCESS_KEY"),
    "netrc": netrc,
    "a server that echoes": lambda _: None,
}
# Each kind of place once. The others are of another name or form there, whose rules are those of
# tests/test_redaction.py.
QUICK = {"a token in the path"}
# Without what is dropped, the files are not found: the message says so.
FAILS = {"a token in the path", "a signer that fails"}


_number = count()


class Case:
    """A recipe and its items, into which a secret is put."""

    def __init__(self, world, folder, patch):
        self.folder, self.patch = folder, patch
        # Each has addresses of its own: what was read before is kept open.
        text = json.dumps(world.plain).replace("/tifs/", f"/{next(_number)}/tifs/")
        self.items = json.loads(text)
        self.catalog = f"{world.url}/items.json"
        self.recipe = copy.deepcopy(world.recipe)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("secrets") / "archive"
    recipe = yaml.safe_load(fault_archive.make(folder).read_text())
    del recipe["area"]
    recipe |= {
        "bbox": [3.03, 41.48, 3.04, 41.49],
        "periods": [2023],
        "model": str(folder / "model"),
    }
    made = World(folder)
    made.recipe, made.plain = recipe, []
    for path in sorted(folder.rglob("*.json")):
        item = json.loads(path.read_text())
        if item.get("type") != "Feature" or "mlm:name" in item["properties"]:
            continue
        for asset in item["assets"].values():
            there = (path.parent / asset["href"]).resolve()
            link = folder / "tifs" / f"{item['id']}-{there.name}"
            link.parent.mkdir(exist_ok=True)
            if not link.exists():
                link.symlink_to(there)
            asset["href"] = f"{made.url}/tifs/{link.name}"
        made.plain.append({**item, "links": []})
    yield made
    made.shutdown()
    made.server_close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape",
    [pytest.param(shape, marks=[] if shape in QUICK else pytest.mark.extended) for shape in SHAPES],
)
def test_nothing_secret_is_written_or_printed(world, shape, tmp_path, monkeypatch, capfd, caplog):
    """After success and two of the failures, which are others for each shape."""
    numbers, first = list(FAILURES), list(SHAPES).index(shape)
    failures = [numbers[(first + n) % len(numbers)] for n in (0, 3)]
    search_what_is_written(world, shape, failures, tmp_path, monkeypatch, capfd, caplog)


@pytest.mark.long
@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_secret_after_any_failure(world, shape, tmp_path, monkeypatch, capfd, caplog):
    search_what_is_written(world, shape, list(FAILURES), tmp_path, monkeypatch, capfd, caplog)


def search_what_is_written(world, shape, failures, tmp_path, monkeypatch, capfd, caplog):
    """Run a recipe with a secret, without a fault and with each: no byte of it is left anywhere."""
    monkeypatch.setattr(retry, "BACKOFF_S", 0.0)
    monkeypatch.setattr(retry, "JITTER_S", 0.0)
    monkeypatch.setattr(retry, "RETRIES", 1)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "temp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    for name in ("urllib3", "pystac_client", "requests", "rsscale"):
        caplog.set_level(logging.DEBUG, logger=name)
    given, mine = tmp_path / "recipe.yaml", {tmp_path / "recipe.yaml", tmp_path / "my-netrc"}
    for number, failure in enumerate([None, *failures]):
        case = Case(world, tmp_path, monkeypatch)
        SHAPES[shape](case)
        case.recipe["inputs"]["s2"]["catalog"] = case.catalog
        given.write_text(yaml.safe_dump(case.recipe))
        world.items, world.fault = case.items, dict(FAILURES.get(failure, {}))
        words = ["run", "recipe.yaml", "--out", f"out{number}", "--threads", "1"]
        code = cli._invoke(words, debug=failure is not None)
        if failure is None:
            assert code == (1 if shape in FAILS else 0)
        else:
            assert code != 0, failure
        cli._invoke(["status", f"out{number}"], debug=True)
    written = "\n".join(_everything(tmp_path, mine))
    printed = "".join(capfd.readouterr()) + caplog.text
    assert "error" in printed
    for form in _forms():
        assert form not in written, _around(written, form)
        assert form not in printed, _around(printed, form)


@pytest.mark.slow
def test_a_refused_read_says_what_was_dropped(world, tmp_path, monkeypatch):
    case = Case(world, tmp_path, monkeypatch)
    hrefs(lambda href: f"{href}?f=tif&handle=7&token={SECRET}")(case)
    world.items, world.fault = case.items, {"files": 403}
    world.asked.clear()
    recipe = {**case.recipe}
    recipe["inputs"]["s2"]["catalog"] = case.catalog
    with pytest.raises(rs.RsscaleError) as caught:
        rs.run(recipe, tmp_path / "out", device="cpu", threads=1)
    assert "handle, token was dropped from this item's addresses" in str(caught.value)
    assert "RSSCALE_KEEP_QUERY" in str(caught.value)
    assert all(
        "f=tif" in path for path in world.asked if "/tifs/" in path and "elsewhere" not in path
    )
    monkeypatch.setenv("RSSCALE_KEEP_QUERY", "handle")
    world.asked.clear()
    world.fault = {}
    rs.run(recipe, tmp_path / "again", device="cpu", threads=1)
    assert all("handle=7" in path for path in world.asked if "/tifs/" in path)


def test_notebooks_show_no_secret(world, tmp_path, monkeypatch):
    case = Case(world, tmp_path, monkeypatch)
    query("token")(case)
    world.items, world.fault = case.items, {}
    case.recipe["inputs"]["s2"]["catalog"] = f"{user(case.catalog)}?token={SECRET}"
    recipe = read_recipe(case.recipe)
    assert SECRET not in repr(recipe) + str(recipe) + recipe.to_yaml()
    items = rs.search(recipe.inputs["s2"].catalog)
    geobox = recipe.grid.build().geobox(list(recipe.bbox))
    cube = rs.load(items, geobox, bands=["red"])
    shown = repr(cube) + cube._repr_html_() + repr(dict(cube.__dask_graph__()))
    assert SECRET not in shown


def _forms():
    for secret in (SECRET, secret_signer.SECRET):
        yield secret
        yield base64.b64encode(f"me:{secret}".encode()).decode()


def _everything(folder, mine):
    """The content of all files, packed ones unpacked."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path in mine:
            continue
        yield str(path)
        yield path.read_bytes().decode("latin-1")
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            yield f"{table.schema.metadata} {table.to_pylist()}"
        elif path.name.endswith(".index.npz"):
            with np.load(path) as arrays:
                yield "".join(arrays[name].tobytes().decode("latin-1") for name in arrays)
            records = path.with_name(path.name.replace("index.npz", "records"))
            scenes = FrozenItems(path, records).scenes
            yield b"".join(record.to_bytes() for record in scenes).decode()


def _around(text, form):
    at = text.index(form)
    return text[max(at - 300, 0) : at + len(form) + 50]
