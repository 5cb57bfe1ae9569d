"""The server starts, answers, and never outlives its block."""

import json
import os
import stat
import sys
import urllib.error
import urllib.request

import pytest

from rsscale.demo import serve
from rsscale.demo.serve import serve_catalog
from rsscale.errors import CatalogError, MissingExtraError

ITEM = {
    "type": "Feature",
    "stac_version": "1.1.0",
    "id": "a",
    "collection": "s2",
    "geometry": {"type": "Point", "coordinates": [1, 2]},
    "bbox": [1, 2, 1, 2],
    "properties": {"datetime": "2023-01-01T00:00:00Z"},
    "links": [],
    "assets": {},
}


@pytest.fixture
def items(tmp_path):
    path = tmp_path / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [ITEM]}))
    return path


def get(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:
        return json.load(answer)


def test_serves_and_stops(items):
    with serve_catalog(items) as url, serve_catalog(items) as other:
        assert url != other
        assert [item["id"] for item in get(f"{url}/search")["features"]] == ["a"]
    with pytest.raises(urllib.error.URLError):
        get(url)


def test_stops_after_an_exception(items):
    context = serve_catalog(str(items))
    url = context.__enter__()
    assert get(f"{url}/search")
    interrupt = KeyboardInterrupt()
    assert not context.__exit__(KeyboardInterrupt, interrupt, None)
    with pytest.raises(urllib.error.URLError):
        get(url)


def test_items_that_are_not_there(tmp_path):
    with pytest.raises(CatalogError, match="are not there"), serve_catalog(tmp_path / "no.json"):
        pass


def test_items_that_the_server_refuses(tmp_path):
    path = tmp_path / "items.json"
    path.write_text("not JSON")
    with pytest.raises(CatalogError, match=r"did not start.*it said: .+"), serve_catalog(path):
        pass


def test_program_that_is_not_installed(items, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with (
        pytest.raises(MissingExtraError, match=r"pip install 'rsscale\[demo\]'"),
        serve_catalog(items),
    ):
        pass


def test_server_that_never_answers(items, monkeypatch, tmp_path):
    program = tmp_path / "rustac"
    program.write_text("#!/bin/sh\necho thinking\necho $$ > pid\nexec sleep 60\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(serve, "_START_S", 1.0)
    with pytest.raises(CatalogError, match="it said: thinking"), serve_catalog(items):
        pass
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_port_that_is_taken_is_tried_again(items, monkeypatch):
    with serve_catalog(items) as url:
        free = serve._free_port
        ports = [int(url.rpartition(":")[2])]
        monkeypatch.setattr(serve, "_free_port", lambda: ports.pop() if ports else free())
        with serve_catalog(items) as other:
            assert other != url
            assert len(get(f"{other}/search")["features"]) == 1
