"""Rasters over HTTP, from a server with faults: retried, named, or counted; never blank."""

import logging
import re
import subprocess
import sys
import types
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from cube_scenes import item, texture, write
from fault_server import serve
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin

from rsscale.cube.load import load
from rsscale.errors import ReadError, RecipeError
from rsscale.net import gdal_files as remote
from rsscale.net import ranges, retry, signing
from rsscale.read import file_pool as files

TRANSFORM = from_origin(500_000, 5_000_000, 10, 10)
SHAPE = (1536, 1536)
BOX = GeoBox(SHAPE, TRANSFORM, "EPSG:32631")
ELSEWHERE = GeoBox((600, 600), from_origin(30_000, 5_010_000, 10, 10), "EPSG:32632")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("served")
    plain = write(root / "plain.tif", texture(SHAPE, 1), TRANSFORM, "EPSG:32631")
    with rasterio.open(plain) as source:
        rasterio.shutil.copy(source, root / "red.tif", driver="COG", compress="deflate")
    return root


@pytest.fixture
def server(folder):
    with serve(folder) as running:
        yield running


@pytest.fixture(autouse=True)
def slept(monkeypatch):
    """Waiting is recorded, not done; no file stays open from another test."""
    waits = []
    monkeypatch.setattr(retry, "time", types.SimpleNamespace(sleep=waits.append))
    fresh()
    return waits


def fresh():
    """As in a new process."""
    files.POOL.close()
    files.WARPED.forget()
    remote.forget()


def cube(server, box=BOX, name="red.tif", **options):
    fields = {"raster:bands": [{"data_type": "uint16", "nodata": 0}]}
    one = item("scene", "2023-06-01", {"red": f"{server.url}/{name}?sig=hunter2"}, fields=fields)
    one.properties |= options.pop("properties", {})
    return load([one], box, ["red"], **options)


def values(lazy, scheduler="synchronous"):
    """One block after the other, so that a script of faults meets what it is meant for."""
    return lazy.compute(scheduler=scheduler).values[0, 0]


@pytest.fixture(scope="module")
def truth(folder):
    with rasterio.open(folder / "red.tif") as dataset:
        return dataset.read(1)


def test_served_pixels_are_the_files(server, truth):
    np.testing.assert_array_equal(values(cube(server), "threads"), truth)


def test_a_window_takes_the_header_and_one_request_a_row_of_blocks(server):
    values(cube(server, BOX[512:1536, 0:1536]))
    assert len(server.ranges()) == 1 + 2
    assert server.ranges()[0] == (0, remote.HEADER_BYTES)


@pytest.mark.parametrize("fault", [408, 429, 500, 502, 503, 504, "reset", "short"], ids=str)
@pytest.mark.parametrize("at", [0, 1], ids=["header", "block"])
def test_a_fault_that_passes_is_retried(server, truth, fault, at):
    server.script = [None] * at + [fault, fault]
    np.testing.assert_array_equal(values(cube(server)), truth)
    assert server.script == []


def test_a_stalled_socket_is_given_up_and_asked_again(server, truth, monkeypatch):
    monkeypatch.setattr(ranges, "SILENCE_S", 0.2)
    server.script = [None, "stall"]
    np.testing.assert_array_equal(values(cube(server)), truth)


def test_pauses_grow_with_jitter(server, slept):
    server.script = [503] * 4
    values(cube(server))
    assert len(slept) == 4
    for waited, least in zip(slept, (0, 1, 2, 4), strict=True):
        assert least <= waited <= least + retry.JITTER_S


@pytest.mark.parametrize(("asked", "waited"), [("7", 7), ("86400", retry.RETRY_AFTER_MAX_S)])
def test_retry_after_is_honoured_within_reason(server, slept, asked, waited):
    server.script = [None, (429, {"Retry-After": asked}, b"")]
    values(cube(server))
    assert slept == [waited]


def test_retry_after_may_be_a_date(server, slept):
    later = datetime.now(UTC) + timedelta(seconds=60)
    server.script = [(503, {"Retry-After": later.strftime("%a, %d %b %Y %H:%M:%S GMT")}, b"")]
    values(cube(server))
    assert 30 <= slept[0] <= 60


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (503, r"HTTP 503, 6 times"),
        (404, r"HTTP 404, nothing is there"),
        (403, r"HTTP 403, access is refused"),
        (401, r"HTTP 401, it wants credentials"),
        ("html", r"is an HTML page, not a raster"),
        ("whole", r"does not honour Range"),
        ("reset", r"the connection was dropped, 6 times"),
        ("short", r"cut short, 6 times"),
    ],
    ids=lambda value: str(value)[:9],
)
@pytest.mark.parametrize("at", [0, 1], ids=["header", "block"])
def test_a_fault_that_stays_names_item_asset_and_address(server, fault, message, at, caplog):
    server.script, server.always = [None] * at, fault
    with pytest.raises(ReadError) as caught, caplog.at_level(logging.DEBUG):
        values(cube(server))
    said = str(caught.value)
    assert f"item 'scene', asset 'red': {server.url}/red.tif" in said
    assert re.search(message, said), said
    assert "hunter2" not in said + caplog.text
    assert "\n" not in said


def test_a_refusal_is_not_retried(server):
    server.always = 404
    with pytest.raises(ReadError):
        values(cube(server))
    assert len(server.requests) == 1


def test_nobody_there(folder):
    with serve(folder) as gone:
        lazy = cube(gone)
    with pytest.raises(ReadError, match="connection refused"):
        values(lazy)


def test_a_file_cut_short(server, folder):
    body = (folder / "red.tif").read_bytes()
    (folder / "cut.tif").write_bytes(body[: len(body) // 2])
    with pytest.raises(ReadError, match=r"'scene', asset 'red'.*cut short"):
        values(cube(server, name="cut.tif"))


def test_a_server_without_range_is_not_read_whole(server):
    server.always = "whole"
    before = ranges.TRAFFIC.bytes
    with pytest.raises(ReadError, match="does not honour Range"):
        values(cube(server))
    assert ranges.TRAFFIC.bytes == before


def test_a_file_that_is_no_raster(server, folder):
    (folder / "noise.tif").write_bytes(b"\x01\x02" * 5000)
    with pytest.raises(ReadError, match="not a raster that GDAL can open"):
        values(cube(server, name="noise.tif"))


def test_a_file_that_is_replaced_while_it_is_read(server, folder):
    original = (folder / "red.tif").read_bytes()
    (folder / "new.tif").write_bytes(original)
    small = BOX[0:512, 0:512]
    values(cube(server, small, name="new.tif"))
    (folder / "new.tif").write_bytes(original + b"longer")
    with pytest.raises(ReadError, match="was replaced while it was read"):
        values(cube(server, BOX[512:1024, 0:512], name="new.tif"))
    values(cube(server, BOX[512:1024, 0:512], name="new.tif"))  # the new one, on another try


def test_blocks_in_memory_are_not_those_of_another_version(server, folder):
    """A process forgets a header, which is one of thousands; the blocks that it warped stay."""
    original = (folder / "red.tif").read_bytes()
    (folder / "new.tif").write_bytes(original)
    values(cube(server, ELSEWHERE[0:200, 0:200], name="new.tif"))
    assert files.WARPED._kept
    with rasterio.open(folder / "plain.tif") as source:
        data, profile = source.read(1), source.profile
    with rasterio.open(folder / "other.tif", "w", **profile) as target:
        target.write(data[::-1], 1)
    rasterio.shutil.copy(folder / "other.tif", folder / "new.tif", driver="COG", compress="deflate")
    files.POOL.close()
    remote.forget()
    found = values(cube(server, ELSEWHERE[0:230, 0:230], name="new.tif"))
    fresh()
    np.testing.assert_array_equal(
        found, values(cube(server, ELSEWHERE[0:230, 0:230], name="new.tif"))
    )


def test_a_local_file_that_is_replaced_while_it_is_read(folder):
    path = folder / "new.tif"
    path.write_bytes((folder / "red.tif").read_bytes())

    def replaced_while_lent():
        with files.POOL.lend(str(path)) as opened:
            opened.dataset.read(1)
            path.write_bytes((folder / "red.tif").read_bytes())

    with pytest.raises(ReadError, match="was replaced while it was read"):
        replaced_while_lent()


def test_a_file_not_laid_out_as_cog_is_read_too(server, truth):
    np.testing.assert_array_equal(values(cube(server, name="plain.tif")), truth)


def test_a_failure_does_not_stay_in_the_cache_of_warped_blocks(server):
    expected = values(cube(server, ELSEWHERE))
    assert (expected > 0).any()
    fresh()
    server.script, server.always = [None], 503
    with pytest.raises(ReadError, match="HTTP 503"):
        values(cube(server, ELSEWHERE))
    server.always = None
    np.testing.assert_array_equal(values(cube(server, ELSEWHERE)), expected)


def test_two_threads_ask_for_a_header_once(server):
    opened = [files.Opened.of(f"{server.url}/red.tif", None) for _ in range(2)]
    assert server.ranges() == [(0, remote.HEADER_BYTES)]
    for one in opened:
        one.close()


@pytest.mark.parametrize("loader", ["stackstac", "odc-stac"])
def test_skipped_reads_are_nodata_and_told(server, loader):
    server.script, server.always = [None], 503
    told = []
    out = values(cube(server, on_error=told.append, loader=loader))
    assert (out == 0).all()
    assert told
    assert all("asset 'red'" in str(error) and "HTTP 503" in str(error) for error in told)


def test_skipping_logs_a_warning(server, caplog):
    server.always = 404
    with caplog.at_level(logging.WARNING):
        out = values(cube(server, on_error="skip"))
    assert (out == 0).all()
    assert "counted as not seen: item 'scene', asset 'red'" in caplog.text


def test_what_to_do_on_an_error_is_checked(server):
    with pytest.raises(RecipeError, match="on_error is 'ignore'"):
        cube(server, on_error="ignore")


# --- signatures


@pytest.fixture
def signers(monkeypatch):
    """A module of signers that the environment allows; ``calls`` counts signatures."""
    module = types.ModuleType("my_signers")
    module.calls = []

    def sign(url):
        module.calls.append(url)
        expiry = datetime.now(UTC) + timedelta(hours=1)
        return f"{url.partition('?')[0]}?token=t{len(module.calls)}", expiry

    def broken(url):
        raise RuntimeError(f"secret-key for {url}")

    module.sign, module.broken = sign, broken
    monkeypatch.setitem(sys.modules, "my_signers", module)
    monkeypatch.setenv(signing.ALLOWED, "other, my_signers")
    signing.signer.cache_clear()
    yield module
    signing.signer.cache_clear()


SIGNED = {"properties": {signing.PROPERTY: "my_signers:sign"}}


def test_every_request_is_signed_and_signatures_are_kept(server, truth, signers):
    server.needs = "token=t1"
    np.testing.assert_array_equal(values(cube(server, **SIGNED)), truth)
    assert len(signers.calls) == 1


def test_a_signature_that_the_server_calls_stale_is_made_again_once(server, truth, signers):
    server.script = [None, 403]
    np.testing.assert_array_equal(values(cube(server, **SIGNED)), truth)
    assert len(signers.calls) == 2
    fresh()
    server.always = 403
    with pytest.raises(ReadError, match="HTTP 403, access is refused"):
        values(cube(server, **SIGNED))


@pytest.mark.usefixtures("signers")
def test_a_signature_is_made_again_before_it_runs_out(monkeypatch):
    sign = signing.signer("my_signers:sign")
    assert sign("http://x/a") == sign("http://x/a") == "http://x/a?token=t1"
    monkeypatch.setattr(signing, "_BEFORE_EXPIRY", timedelta(hours=2))
    assert sign("http://x/a") == "http://x/a?token=t2"


@pytest.mark.usefixtures("signers")
def test_what_a_signer_raises_is_not_repeated():
    with pytest.raises(ReadError, match="could not be signed: my_signers:broken") as caught:
        signing.signer("my_signers:broken")("http://x/a?sig=s")
    assert "secret-key" not in str(caught.value)
    assert "sig=s" not in str(caught.value)


@pytest.mark.usefixtures("signers")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("planetary-computr", "did you mean 'planetary-computer'"),
        ("os:system", "does not allow the module 'os'.*RSSCALE_SIGNERS=os"),
        ("my_signers:missing", "cannot be imported"),
        ("my_signers", "expected"),
        ("my_signers:not a name", "expected"),
    ],
)
def test_names_of_signers_are_checked(name, message):
    with pytest.raises(RecipeError, match=message):
        signing.signer(name)


@pytest.mark.parametrize(
    ("query", "expiry"),
    [
        ("se=2026-01-02T03%3A04%3A05Z&sig=x", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (
            "X-Amz-Date=20260102T030405Z&X-Amz-Expires=60",
            datetime(2026, 1, 2, 3, 5, 5, tzinfo=UTC),
        ),
        ("Expires=1767323045&Signature=x", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("se=tomorrow", None),
        ("", None),
    ],
)
def test_expiry_is_read_off_signed_urls(query, expiry):
    assert signing.expiry_of(f"https://host/file.tif?{query}") == expiry


def test_planetary_computer_tokens_are_asked_for_and_renewed(tmp_path, monkeypatch):
    sas = pytest.importorskip("planetary_computer").sas
    answer = '{"msft:expiry": "%s", "token": "sv=1&sig=%s"}'
    soon = (datetime.now(UTC) + timedelta(seconds=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    later = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    (tmp_path / "account").mkdir()
    with serve(tmp_path) as server:
        settings = sas.Settings.get()
        monkeypatch.setattr(settings, "sas_url", server.url)
        monkeypatch.setattr(settings, "subscription_key", None)
        sas.TOKEN_CACHE.clear()
        signing.signer.cache_clear()
        sign = signing.signer("planetary-computer")
        href = "https://account.blob.core.windows.net/container/a.tif"
        (tmp_path / "account" / "container").write_text(answer % (soon, "one"))
        assert sign(href).endswith("?sv=1&sig=one")
        (tmp_path / "account" / "container").write_text(answer % (later, "two"))
        assert sign(href).endswith("sig=two")  # the first would have run out within a minute
        assert sign(href).endswith("sig=two")
        assert len(server.requests) == 2
        sign.renew(href)
        server.always = 404
        with pytest.raises(ReadError, match=r"could not be signed.*gave no token"):
            sign(href)
        assert sign("https://elsewhere/a.tif") == "https://elsewhere/a.tif"
    sas.TOKEN_CACHE.clear()


@pytest.mark.parametrize(
    ("offsets", "sizes", "merged"),
    [
        ([0], [10], [(0, 10)]),
        ([100, 0], [50, 100], [(0, 150)]),
        ([0, 100 + remote.GAP_BYTES], [100, 5], [(0, 105 + remote.GAP_BYTES)]),
        ([0, 101 + remote.GAP_BYTES], [100, 5], [(0, 100), (101 + remote.GAP_BYTES, 5)]),
        ([0, 5], [100, 10], [(0, 100)]),
    ],
)
def test_ranges_are_merged(offsets, sizes, merged):
    assert remote.merge_ranges(offsets, sizes) == merged


OUTLIVED = """
import gc, sys, threading
from rasterio.windows import Window
from rsscale.read.file_pool import FilePool, gdal_env

pool, kept = FilePool(8), []

def opens():
    with gdal_env(sys.argv[1]), pool.lend(sys.argv[1]):
        pass

def reads():
    gc.collect()
    junk = [bytearray(200) for _ in range(10**5)]
    with gdal_env(sys.argv[1]), pool.lend(sys.argv[1]) as opened:
        kept.append(opened.run(lambda: opened.dataset.read(1, window=Window(0, 0, 1024, 1024))))
    pool.close()

for work in (opens, reads):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
print(int(kept[0].astype("int64").sum()))
"""


def test_a_file_outlives_the_thread_that_opened_it(server, folder):
    """In a process of its own: where it does not, GDAL reads freed memory."""
    url = f"{server.url}/red.tif"
    told = subprocess.run(
        [sys.executable, "-c", OUTLIVED, url],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    with rasterio.open(folder / "red.tif") as source:
        expected = source.read(1)[:1024, :1024].astype("int64").sum()
    assert told.stderr == ""
    assert told.stdout == f"{expected}\n"
