"""The local server: ranges as RFC 9110 has them, nothing but the product, many requests at once."""

import asyncio
import http.client
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
import zarr

import rsscale as rs
from rsscale.errors import RecipeError, RunFolderError
from rsscale.store.run_folder import RunFolder
from rsscale.store.storage import open_storage
from rsscale.viewer.static import write_viewer

SHARD = "/product.zarr/classification/c/0/2/3"


@pytest.fixture(scope="module")
def viewer(viewed_run: Path) -> Iterator[rs.Viewer]:
    with rs.view(viewed_run) as viewer:
        yield viewer


def port(viewer: rs.Viewer) -> int:
    return int(viewer.url.split(":")[2].split("/")[0])


def ask(
    viewer: rs.Viewer, path: str, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port(viewer), timeout=30)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.putrequest(method, path, skip_host="Host" in named)
        for name, value in named.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def content(viewer: rs.Viewer, name: str) -> dict:
    answer, body = ask(viewer, f"/viewer/{name}")
    assert answer.status == 200, name
    return json.loads(body)


def test_a_shard_as_a_whole_and_in_parts(viewer: rs.Viewer, viewed_run: Path) -> None:
    stored = (viewed_run / SHARD[1:]).read_bytes()
    answer, body = ask(viewer, SHARD)
    assert (answer.status, body) == (200, stored)
    assert answer.headers["Accept-Ranges"] == "bytes"
    for asked, expected in (
        ("bytes=0-9", stored[:10]),
        ("bytes=10-", stored[10:]),
        ("bytes=-68", stored[-68:]),
    ):
        answer, body = ask(viewer, SHARD, Range=asked)
        assert (answer.status, body) == (206, expected)
        first = stored.index(expected)
        span = f"bytes {first}-{first + len(expected) - 1}/{len(stored)}"
        assert answer.headers["Content-Range"] == span
    answer, body = ask(viewer, SHARD, Range=f"bytes={len(stored)}-")
    assert answer.status == 416
    assert answer.headers["Content-Range"] == f"bytes */{len(stored)}"


def test_head_and_what_is_still_the_same(viewer: rs.Viewer, viewed_run: Path) -> None:
    answer, body = ask(viewer, SHARD, "HEAD")
    assert (answer.status, body) == (200, b"")
    assert int(answer.headers["Content-Length"]) == (viewed_run / SHARD[1:]).stat().st_size
    tag = answer.headers["ETag"]
    assert ask(viewer, SHARD, If_None_Match=tag)[0].status == 304
    assert ask(viewer, SHARD, Range="bytes=0-1", If_Range=tag)[0].status == 206
    assert ask(viewer, SHARD, Range="bytes=0-1", If_Range='"another"')[0].status == 200


@pytest.mark.parametrize(
    "path",
    ["/run.json", "/recipe.yaml", "/ledger/map/2023/x0_y0.json", "/items/s2.parquet",
     "/product.zarr/../run.json", "/product.zarr/%2e%2e/run.json", "/%2e%2e/%2e%2e/etc/passwd",
     "/product.zarr/%252e%252e/run.json", "//etc/passwd", "/etc/passwd", "/product.zarr",
     "/product.zarr/classification/c/0/99/99", "/product.zarr/classification/c/9/0/0",
     "/viewer/tiles/map/2023/x999_y999.json", "/viewer/tiles/map/1999/x285_y-1949.json",
     "/viewer/tiles/map/2023/x99999999999999999999_y1.json", "/viewer/tiles/map/2023/xx.json",
     "/viewer/regions/nowhere.json", "/viewer/../run.json", "/viewer/app/package.json",
     "/viewer/build.json", "/communes.zarr/zarr.json"],
)  # fmt: skip
def test_nothing_but_the_product(viewer: rs.Viewer, path: str) -> None:
    assert ask(viewer, path)[0].status == 404


def test_links_that_lead_out_are_not_followed(viewed_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(viewed_run, run)
    (tmp_path / "secret").write_text("secret")
    shard = run / SHARD[1:]
    shard.unlink()
    shard.symlink_to(tmp_path / "secret")
    with rs.view(run) as viewer:
        assert ask(viewer, SHARD)[0].status == 404


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1.example.org:80", ""])
def test_foreign_hosts_are_refused(viewer: rs.Viewer, host: str) -> None:
    """A name of another site that was made to resolve to this machine."""
    for path in ("/viewer/viewer.json", SHARD, "/"):
        assert ask(viewer, path, Host=host)[0].status == 403
    assert ask(viewer, "http://example.org/viewer/")[0].status == 403
    assert ask(viewer, "http://example.org/viewer/", Host="localhost")[0].status == 404
    assert ask(viewer, "/viewer/", Host="localhost:9999")[0].status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_is_written(viewer: rs.Viewer, method: str) -> None:
    answer, _ = ask(viewer, SHARD, method)
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"


def test_the_page_loads_nothing_from_elsewhere(viewer: rs.Viewer) -> None:
    answer, body = ask(viewer, "/viewer/")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'; ")
    assert b"http" not in body.replace(b"http-equiv", b"")
    assert ask(viewer, "/")[0].headers["Location"] == "/viewer/"


def test_a_thousand_requests_at_once(viewer: rs.Viewer, viewed_run: Path) -> None:
    """All connections are open before the first is read; each gets its answer."""
    stored = (viewed_run / SHARD[1:]).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096
    if soft < wanted and hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"a process may have {hard} open files here; the test needs {wanted}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))

    async def one() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port(viewer))
        writer.write(f"GET {SHARD} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        body = await reader.readexactly(len(stored))
        writer.close()
        return body

    async def all_of_them() -> list[bytes]:
        return await asyncio.gather(*(one() for _ in range(1000)))

    try:
        assert set(asyncio.run(all_of_them())) == {stored}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert ask(viewer, "/viewer/")[0].status == 200


def test_what_the_page_is_told(viewer: rs.Viewer) -> None:
    document = content(viewer, "viewer.json")
    layers = {layer["id"]: layer for layer in document["layers"]}
    assert [layer for layer in layers if layer.startswith("map/")] == list(layers)
    classes = layers["map/classification"]
    assert classes["kind"] == "classes"
    assert [one["name"] for one in classes["classes"]] == ["water", "open forest", "crops", "built"]
    assert classes["levels"] == 4
    assert classes["spans"] == ["2023", "2024"]
    assert layers["map/confidence"]["range"] == [0, 100]
    low, high = layers["map/temperature"]["range"]  # of what is meant, not of what is stored
    assert -15 < low < 15 < high < 45
    assert layers["map/index"]["nodata"] is None
    assert layers["map/probability"]["axis"] == {"name": "class", "values": [1, 2, 4, 9]}
    assert document["regions"] == [
        {"step": "communes", "title": "communes", "of": "map", "kind": "zones"}
    ]
    assert document["notes"] == []
    area = document["areas"]["map/classification"]["2024"]
    assert area["1"] == {"mapped": 1000.0, "value": 900.0, "low": 860.0, "high": 940.0}
    assert area["9"]["value"] is None


def test_regions_have_the_hectares_of_the_table(viewer: rs.Viewer, viewed_run: Path) -> None:
    table = rs.Run(viewed_run).table("communes").to_pandas()
    regions = {one["id"]: one for one in content(viewer, "regions/communes.json")["features"]}
    assert set(regions) == {"Étang", "Ölberg"}
    for name, region in regions.items():
        for span in ("2023", "2024"):
            rows = table[(table.zone == name) & (table.span == span) & table.name.notna()]
            shown = {row["class"]: row["hectares"] for row in region["properties"]["areas"][span]}
            assert shown == pytest.approx(
                dict(zip(rows["class"], rows["hectares"], strict=True)), abs=0.01
            )


def test_sample_points_lie_on_the_grid(viewer: rs.Viewer) -> None:
    points = content(viewer, "sample.json")["features"]
    assert points[0]["geometry"]["coordinates"] == pytest.approx([733_005, 4_982_005], abs=0.01)
    assert [point["properties"]["agrees"] for point in points] == [True, False, True]


def test_scenes_of_a_tile_with_their_days(landscape_run: Path) -> None:
    entry = next((landscape_run / "ledger/map/2023").glob("*.json"))
    inputs = json.loads(entry.read_text())["inputs"]
    with rs.view(landscape_run) as viewer:
        found = content(viewer, f"tiles/map/2023/{entry.name}")
    assert sorted(scene["id"] for scene in found["scenes"]) == sorted(inputs)
    assert all(scene["day"] == scene["id"][-10:] for scene in found["scenes"])
    assert [s["day"] for s in found["scenes"]] == sorted(s["day"] for s in found["scenes"])


def test_the_same_files_for_a_static_host(
    viewed_run: Path, landscape_run: Path, tmp_path: Path
) -> None:
    for run in (viewed_run, landscape_run):
        target = tmp_path / run.parent.name / run.name
        shutil.copytree(run / "product.zarr", target / "product.zarr")
        written = write_viewer(RunFolder.at(run), open_storage(target))
        assert written[-1] == "viewer/viewer.json"
        with rs.view(run) as viewer:
            for name in written:
                answer, body = ask(viewer, f"/{name}")
                assert answer.status == 200, name
                assert body == (target / name).read_bytes()
        text = b"".join((target / name).read_bytes() for name in written if name.endswith("json"))
        assert str(run).encode() not in text  # no path of this machine is published
        with rs.view(target) as viewer:
            assert content(viewer, "viewer.json")["title"]
            assert ask(viewer, "/product.zarr/zarr.json")[0].status == 200
            assert ask(viewer, "/viewer/none.json")[0].status == 404
    assert any(name.startswith("viewer/tiles/map/2023/") for name in written)


def test_a_target_without_the_stores(viewed_run: Path, tmp_path: Path) -> None:
    with pytest.raises(
        RunFolderError, match=r"holds no layers or objects .*: publish the stores first"
    ):
        write_viewer(RunFolder.at(viewed_run), open_storage(tmp_path))


@pytest.mark.extended
@pytest.mark.usefixtures("s3_server")
def test_a_run_in_a_bucket(viewed_run: Path) -> None:
    target = open_storage("s3://maps/viewed")
    source = open_storage(viewed_run)
    for name in source.names():
        if not name.startswith(("ledger/", "items/")):
            target.write(name, source.read(name))
    with rs.view("s3://maps/viewed") as viewer:
        answer, body = ask(viewer, SHARD, Range="bytes=-68")
        assert (answer.status, body) == (206, (viewed_run / SHARD[1:]).read_bytes()[-68:])
        assert ask(viewer, "/product.zarr/classification/c/0/99/99")[0].status == 404
        assert content(viewer, "regions/communes.json")["features"]
        again = ask(viewer, SHARD, If_None_Match=answer.headers["ETag"])
        assert again[0].status == 304


def test_a_run_that_is_not_done_says_so(viewed_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(viewed_run, run)
    state = json.loads((run / "run.json").read_text())
    state["steps"]["map"]["tiles"]["done"] -= 1
    (run / "run.json").write_text(json.dumps(state))
    with rs.view(run) as viewer:
        (note,) = viewer.notes
    total = state["steps"]["map"]["tiles"]["total"]
    assert note == f"map: {total - 1} of {total} tiles are done; the others are empty here"


def test_what_cannot_be_viewed(tmp_path: Path, viewer: rs.Viewer, viewed_run: Path) -> None:
    with pytest.raises(RunFolderError, match="is not a run folder"):
        rs.view(tmp_path)
    with pytest.raises(RecipeError, match=r"port \d+ can't be listened to .*; choose another"):
        rs.view(viewed_run, port=port(viewer))
    with pytest.raises(RecipeError, match="port 70000 can't be listened to"):
        rs.view(viewed_run, port=70000)


def test_zarr_reads_through_the_server_what_it_reads_from_the_disk(
    viewer: rs.Viewer, viewed_run: Path
) -> None:
    """Another reader of Zarr, by ranges."""
    stored = zarr.open_array(viewed_run / "product.zarr/classification", mode="r")
    answer, body = ask(viewer, "/product.zarr/classification/zarr.json")
    assert answer.status == 200
    assert json.loads(body)["shape"] == list(stored.shape)
    assert np.unique(stored[0]).tolist() == [1, 2, 4, 9, 255]


@pytest.mark.slow
def test_the_command_prints_the_address_and_ends_by_ctrl_c(viewed_run: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "rsscale", "view", str(viewed_run)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        url = line.split()[0]
        assert requests.get(f"{url}viewer.json", timeout=30).status_code == 200
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, errors) == (0, "")


@pytest.mark.extended
def test_a_terminated_command_leaves_no_files_of_the_page(object_run: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "rsscale", "view", str(object_run)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )  # fmt: skip
    try:
        # Notes about the run come first.
        url = next(line.split()[0] for line in process.stdout if line.startswith("http"))
        assert requests.get(f"{url}objects/ponds/2024.fgb", timeout=30).status_code == 200
        assert len(list(tmp_path.glob("rsscale-view-*"))) == 1
        process.terminate()
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, errors) == (0, "")
    assert not list(tmp_path.iterdir())
