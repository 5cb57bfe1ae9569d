"""Headers with tokens: by name from the environment, to one host, never kept or shown."""

import http.server
import json
import logging
import threading
from contextlib import contextmanager

import pytest
from cube_scenes import WEST, geobox, item, texture, write
from stac_factory import landing, make_item, page

import rsscale as rs
from rsscale.cli import main
from rsscale.errors import CatalogError, ReadError, RecipeError
from rsscale.items.records import SceneRecord
from rsscale.net import connections
from rsscale.net.headers import HeaderRules
from rsscale.net.signing import (
    PROPERTY,
    access_name,
    check_name,
    gdal_options,
    signer,
    split_access,
)

SECRET = "hunter2-7f3a"  # noqa: S105
VARIABLE = "EXAMPLE_TOKEN"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv(VARIABLE, SECRET)
    monkeypatch.setenv("RSSCALE_TOKENS", f"OTHER, {VARIABLE}")
    signer.cache_clear()
    yield
    signer.cache_clear()


class Guarded(http.server.BaseHTTPRequestHandler):
    """Serves files and an API to who has the token; echoes what it was sent where it refuses."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server.seen.append((self.path, dict(self.headers)))
        if server.elsewhere and self.path.endswith(".tif"):
            return self.send(302, b"", Location=server.elsewhere + self.path)
        if server.header and self.headers.get(server.header) != server.value:
            return self.send(401, b'{"description": "bad token ' + str(dict(self.headers)).encode())
        if self.path in server.pages:
            body = json.dumps(server.pages[self.path]).replace("URL", server.url).encode()
            return self.send(200, body)
        body = server.file
        first, last = (self.headers.get("Range") or f"bytes=0-{len(body) - 1}")[6:].split("-")
        part = body[int(first) : int(last) + 1]
        span = f"bytes {first}-{int(first) + len(part) - 1}/{len(body)}"
        return self.send(206, part, **{"Content-Range": span})

    do_POST = do_GET

    def send(self, status, body, **headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def guarded(file=b"", header="Authorization", value=f"Bearer {SECRET}", pages=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Guarded)
    server.seen, server.file, server.elsewhere = [], file, None
    server.header, server.value, server.pages = header, value, pages or {}
    server.url = f"http://127.0.0.1:{server.server_port}"
    server.host = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def tif(tmp_path_factory):
    path = tmp_path_factory.mktemp("tif") / "red.tif"
    write(path, texture((300, 300), 1), WEST, "EPSG:32631")
    return path.read_bytes()


def cube_of(url, access, loader="dask"):
    made = item("i", "2023-06-15", {"red": f"{url}/red.tif"})
    made.properties[PROPERTY] = access
    return rs.load([made], geobox(0, 0, 300, 300), ["red"], loader=loader)


@pytest.mark.parametrize(
    ("header", "written", "sent"),
    [
        ("Authorization", f"Bearer env:{VARIABLE}", f"Bearer {SECRET}"),
        ("authorization", f"Token env:{VARIABLE}", f"Token {SECRET}"),
        ("X-Api-Key", f"env:{VARIABLE}", SECRET),
    ],
)
@pytest.mark.parametrize("loader", ["dask", "stackstac", "odc-stac"])
def test_files_behind_a_header_are_read(tif, header, written, sent, loader, caplog):
    with guarded(tif, header, sent) as server, caplog.at_level(logging.DEBUG):
        access = access_name(None, {server.host: {header: written}})
        assert cube_of(server.url, access, loader).values.all()
        assert SECRET not in access
        assert SECRET not in caplog.text


def test_a_header_stands_before_netrc(tif, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password other\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    connections.forget()
    with guarded(tif) as server:
        access = access_name(None, {server.host: {"Authorization": f"Bearer env:{VARIABLE}"}})
        assert cube_of(server.url, access).values.all()
    connections.forget()


@pytest.mark.parametrize("header", ["Authorization", "X-Api-Key"])
def test_a_header_is_not_taken_along_to_another_host(tif, header):
    with guarded(tif, header, SECRET) as first, guarded(tif, None) as other:
        first.elsewhere = other.url.replace("127.0.0.1", "localhost")
        access = access_name(None, {first.host: {header: f"env:{VARIABLE}"}})
        assert cube_of(first.url, access).values.all()
        assert {headers.get(header) for _, headers in first.seen} == {SECRET}
        assert other.seen
        assert SECRET not in str(other.seen)
        # One that is named is given its own.
        other.header, other.value = header, f"Bearer {SECRET}"
        port = other.server_port
        both = {first.host: {header: f"env:{VARIABLE}"},
                f"localhost:{port}": {header: f"Bearer env:{VARIABLE}"}}  # fmt: skip
        assert cube_of(first.url + "/again", access_name(None, both)).values.all()


def test_catalogue_and_files_by_one_key(tif, caplog):
    west, south, east, north = bbox = [5.89, 44.99, 5.94, 45.03]
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    made = make_item("a", bbox=bbox, geometry=geometry, when="2023-06-15T10:30:00Z")
    made["assets"]["red"] = {"href": "URL/red.tif", "proj:code": "EPSG:32631"}
    pages = {"/": landing(), "/search": page([made])}
    with guarded(tif, pages=pages) as server, caplog.at_level(logging.DEBUG):
        headers = {server.host: {"Authorization": f"Bearer env:{VARIABLE}"}}
        found = rs.search(server.url + "/", headers=headers)
        cube = rs.load(found, geobox(0, 0, 300, 300), ["red"], loader="dask")
        assert cube.values.all()
        assert SECRET not in str([one.to_dict() for one in found]) + caplog.text
        with pytest.raises(CatalogError, match="HTTP 401") as caught:
            rs.search(server.url + "/")
        assert "headers" in str(caught.value)


def test_an_answer_that_echoes_the_token_is_not_printed(tif):
    with guarded(tif, value="something else", pages={"/": landing()}) as server:
        headers = {server.host: {"Authorization": f"Bearer env:{VARIABLE}"}}
        with pytest.raises(CatalogError, match="HTTP 401") as caught:
            rs.search(server.url + "/", headers=headers)
        assert SECRET not in str(caught.value)
        with pytest.raises(ReadError, match="HTTP 401") as failed:
            cube_of(server.url, access_name(None, headers)).compute()
        assert SECRET not in str(failed.value)


def test_pages_at_another_host_and_redirects_of_the_catalogue():
    made = make_item("a")
    with guarded(header=None) as other, guarded() as first:
        elsewhere = other.url.replace("127.0.0.1", "localhost")
        following = {"rel": "next", "href": f"{elsewhere}/more"}
        first.pages = {"/": landing(method="GET")}
        first.pages["/search"] = {**page([made]), "links": [following]}
        other.pages = {"/more": page([make_item("b")])}
        headers = {first.host: {"Authorization": f"Bearer env:{VARIABLE}",
                                "X-Api-Key": f"env:{VARIABLE}"}}  # fmt: skip
        first.pages["/search?limit=100"] = first.pages["/search"]
        found = rs.search(first.url + "/", headers=headers)
        assert [one.id for one in found] == ["a", "b"]
        assert SECRET not in str(other.seen)


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ("Authorization: Bearer hunter2-7f3a", "not what was expected"),
        (["hunter2-7f3a"], "not what was expected"),
        ({"Authorization": "Bearer hunter2-7f3a"}, "not what was expected"),
        ({"x.org": {"Authorization": "Bearer hunter2-7f3a"}}, "keep secrets out of recipes"),
        ({"x.org": {"Authorization": "hunter2-7f3a"}}, "keep secrets out of recipes"),
        ({"x.org": {"Authorization": 7}}, "keep secrets out of recipes"),
        ({"x.org/hunter2-7f3a": {"A": "env:B"}}, "not what was expected"),
        ({"x.org": {"Range": "env:B"}}, "belongs to the request itself"),
        ({"x.org": {"Bad Name": "env:B"}}, "not what was expected"),
        ({"x.org": {}}, "not what was expected"),
    ],
)
def test_a_secret_in_a_recipe_is_refused_and_not_shown(headers, message):
    with pytest.raises(RecipeError, match=message) as caught:
        access_name(None, headers)
    assert SECRET not in str(caught.value)
    content = {
        "name": "rr", "bbox": [0, 0, 1, 1], "grid": {"crs": "EPSG:32631", "resolution": 10},
        "periods": [2023], "model": "m",
        "inputs": {"s2": {"catalog": "c.json", "bands": ["red"], "headers": headers}},
    }  # fmt: skip
    with pytest.raises(RecipeError, match=message) as caught:
        rs.read_recipe(content)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({VARIABLE: None}, f"want {VARIABLE} of the environment, which is not set here"),
        ({VARIABLE: f"{SECRET}\nX: y"}, "holds signs that no header can"),
        ({"RSSCALE_TOKENS": "OTHER"}, f"does not allow it.*RSSCALE_TOKENS={VARIABLE}"),
    ],
)
def test_what_the_environment_lacks_is_told_before_a_search(monkeypatch, change, message):
    for name, value in change.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    with pytest.raises(RecipeError, match=message) as caught:
        rs.search("c.json", headers={"x.org": {"X-Key": f"env:{VARIABLE}"}})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "url", "sent"),
    [
        ("x.org", "https://x.org/a", True),
        ("X.org", "https://x.ORG:8443/a", True),
        ("x.org:8443", "https://x.org:8443/a", True),
        ("x.org:443", "https://x.org/a", True),
        ("x.org:8443", "https://x.org/a", False),
        ("x.org", "http://x.org/a", False),
        ("http://x.org", "http://x.org/a", True),
        ("http://x.org", "https://x.org/a", False),
        ("x.org", "https://a.x.org/a", False),
        ("x.org", "https://x.org.evil.com/a", False),
        ("x.org", "https://evil.com/x.org", False),
        ("x.org", "https://x.org@evil.com/a", False),
        ("x.org", "https://me@x.org/a", True),
        ("localhost", "http://localhost:9/a", True),
        ("x.org", "s3://x.org/a", False),
    ],
)
def test_a_header_goes_to_its_host_alone(host, url, sent):
    rules = HeaderRules.of({host: {"X-Key": f"env:{VARIABLE}"}})
    assert (rules.of_url(url) == {"X-Key": SECRET}) == sent


def test_names_travel_with_the_signer():
    headers = {"x.org": {"X-Key": f"env:{VARIABLE}"}}
    access = access_name("aws-requester-pays", headers)
    sign, rules = split_access(access)
    assert check_name(sign) == "aws-requester-pays"
    assert rules.dump() == '{"x.org":{"X-Key":"env:EXAMPLE_TOKEN"}}'
    assert gdal_options(access) == {"AWS_REQUEST_PAYER": "requester"}
    record = SceneRecord("i", 0, 0, access, ())
    assert SceneRecord.from_bytes(record.to_bytes()) == record
    assert record.digest() == SceneRecord("i", 0, 0, None, ()).digest()


def sign_with_a_header(url):
    return url, {"Authorization": f"Bearer {SECRET}"}


def test_a_signer_may_give_headers(tif, monkeypatch):
    monkeypatch.setenv("RSSCALE_SIGNERS", __name__)
    with guarded(tif) as first, guarded(tif, None) as other:
        sign = f"{__name__}:sign_with_a_header"
        assert cube_of(first.url, sign).values.all()
        first.elsewhere = other.url.replace("127.0.0.1", "localhost")
        assert cube_of(first.url + "/again", sign).values.all()
        assert other.seen
        assert SECRET not in str(other.seen)


@pytest.mark.parametrize("rules", ["{}", '{"HOST": {"Authorization": "Bearer env:EXAMPLE_TOKEN"}}'])
def test_the_command_that_searches_takes_headers_and_a_signer(tmp_path, capsys, rules):
    pages = {"/": landing(), "/search": page([make_item("a")])}
    with guarded(pages=pages) as server:
        host = server.url.removeprefix("http://")
        words = ["search", server.url + "/", "--sign", "aws-anonymous", "--headers"]
        out = tmp_path / "items.parquet"
        with pytest.raises(SystemExit) as ended:
            main([*words, rules.replace("HOST", host), "--out", str(out)])
    told = "".join(capsys.readouterr())
    assert SECRET not in told
    if rules == "{}":
        assert ended.value.code == 2
        assert "HTTP 401, it wants credentials (headers" in told
        return
    assert ended.value.code == 0
    assert "1 item to" in told
    (found,) = rs.search(out)
    assert found.properties.get(PROPERTY) is None  # a file's own word does not count
    assert SECRET.encode() not in out.read_bytes()


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--headers", "Authorization: Bearer hunter2", "--headers is not JSON"),
        ("--headers", '{"x.org": {"Authorization": "Bearer hunter2"}}', "environment variable"),
        ("--headers", '["x.org", "hunter2"]', "headers are not what was expected"),
        ("--headers", '{"x.org": {"X-Key": "env:NOBODYS"}}', "does not allow it"),
        ("--sign", "planetary", "planetary"),
        ("--query", "{cloud", "--query '{cloud' is not JSON"),
    ],
)
def test_a_wrong_option_of_a_search_is_told_without_secrets(capsys, option, value, words):
    with pytest.raises(SystemExit) as ended:
        main(["search", "items.json", option, value])
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert words in told
    assert "hunter2" not in told
