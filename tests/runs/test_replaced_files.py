"""A file whose bytes change during a run, or between two processes of one: told, never mixed."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from fault_server import Faults, serve
from nine_tiles import SETTINGS, TILE, computed, recipe, shards, write_model, write_scene

import rsscale as rs
from rsscale.net import gdal_files
from rsscale.read.file_pool import POOL, WARPED

# Tiles of the last row, which an interrupted run leaves to be computed.
LEFT = 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two scenes over all tiles, and a model; no file is open from another test."""
    for number, name in enumerate(("scene-a", "scene-b")):
        write_scene(tmp_path, name, slice(0, 3 * TILE), slice(0, 3 * TILE), number)
    write_model(tmp_path)
    as_in_a_new_process()
    return tmp_path


@pytest.fixture(params=["on a disk", pytest.param("on a server", marks=pytest.mark.extended)])
def archive(request: pytest.FixtureRequest, folder: Path) -> Iterator[Path]:
    if request.param == "on a disk":
        yield folder
        return
    with serve(folder) as server:
        point_to(server, folder)
        yield folder


def point_to(server: Faults, folder: Path) -> None:
    for path in folder.glob("scene*.json"):
        item = json.loads(path.read_text())
        asset = item["assets"]["red"]
        asset["href"] = f"{server.url}/{Path(asset['href']).name}"
        path.write_text(json.dumps(item))


def as_in_a_new_process() -> None:
    POOL.close()
    WARPED.forget()
    gdal_files.forget()


def replace_file(folder: Path) -> None:
    """Other pixels under the same name, as many bytes."""
    path = folder / "scene-b-1.tif"
    before = path.stat()
    with rasterio.open(path, "r+") as dataset:
        data = dataset.read(1)
        dataset.write(np.roll(data, 77), 1)
    assert path.stat().st_size == before.st_size
    assert path.stat().st_mtime_ns != before.st_mtime_ns


def interrupted(folder: Path) -> Path:
    """A run of which some tiles are still to be computed, in a new process."""
    run = folder / "run"
    rs.run(recipe(folder), run, **SETTINGS)
    for entry in sorted((run / "ledger/map/2023").iterdir())[-LEFT:]:
        entry.unlink()
    as_in_a_new_process()
    return run


REPLACED = re.compile(
    r"item 'scene-b', asset 'red' was replaced during the run: tiles done before read \[\d+ bytes, "
    r".+\], this one \[\d+ bytes, .+\]; put the former file back .* --update"
)


@pytest.mark.extended
def test_a_file_that_is_replaced_before_a_run_is_resumed(archive: Path) -> None:
    run = interrupted(archive)
    before = shards(run)
    replace_file(archive)
    for _ in range(2):  # it stays so
        with pytest.raises(rs.TilesFailedError, match=REPLACED):
            rs.resume(run)
        assert len(list((run / "ledger/map/2023").iterdir())) == 9 - LEFT
    assert rs.verify(run).absent == LEFT
    foreseen = rs.changes(recipe(archive), run, **SETTINGS, update=True)
    assert foreseen.tiles["map"].to_compute == 9  # all of them have read it
    rs.run(recipe(archive), run, **SETTINGS, update=True)
    assert len(computed(run)) == 9
    rs.run(recipe(archive), archive / "anew", **SETTINGS)
    assert shards(run) == shards(archive / "anew") != before
    nothing = rs.changes(recipe(archive), run, **SETTINGS, update=True)
    assert nothing.tiles["map"].to_compute == 0


@pytest.mark.extended
def test_a_file_that_is_put_back(folder: Path) -> None:
    run = interrupted(folder)
    path = folder / "scene-b-1.tif"
    kept, stat = path.read_bytes(), path.stat()
    before = shards(run)
    replace_file(folder)
    with pytest.raises(rs.TilesFailedError, match=REPLACED):
        rs.resume(run)
    path.write_bytes(kept)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    as_in_a_new_process()
    assert (run / "replaced.json").exists()
    rs.resume(run)
    assert shards(run) == before
    foreseen = rs.changes(recipe(folder), run, **SETTINGS, update=True)
    assert foreseen.tiles["map"].to_compute == 0


def test_a_file_that_is_replaced_during_a_run(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rsscale.runs import loop

    after(1, lambda: replace_file(archive), loop, monkeypatch)
    with pytest.raises(rs.TilesFailedError, match=REPLACED):
        rs.run(recipe(archive), archive / "run", **SETTINGS)
    verified = rs.verify(archive / "run")
    assert verified.damaged == ()
    assert verified.sound + verified.absent == 9
    # Those of the first row may have been read, or lie in memory; the last row does not.
    assert verified.absent >= LEFT
    assert len(versions_read(archive / "run")) == 1


def versions_read(run: Path) -> set[str]:
    """Of the file that was replaced, by the ledger."""
    entries = [json.loads(path.read_text()) for path in (run / "ledger/map/2023").iterdir()]
    return {version for entry in entries for version in entry["files"]["scene-b"].values()}


def after(
    count: int, act: Callable[[], None], module: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Act once so many tiles were recorded."""
    record = module._record  # type: ignore[attr-defined]
    recorded = []

    def recording(*args: object) -> None:
        record(*args)
        recorded.append(1)
        if len(recorded) == count:
            act()

    monkeypatch.setattr(module, "_record", recording)


def test_two_tiles_that_a_dead_process_could_not_compare(folder: Path) -> None:
    """Both entries are there: verify tells, resume computes one of them again."""
    run = interrupted(folder)
    entry = max((run / "ledger/map/2023").iterdir())
    content = json.loads(entry.read_text())
    ((name, _),) = content["files"]["scene-b"].items()
    content["files"]["scene-b"][name] = "1 bytes, ETag another"
    entry.write_text(json.dumps(content))
    (damage,) = rs.verify(run).damaged
    assert damage.key.tile == entry.stem
    assert REPLACED.search(damage.reason)
    rs.resume(run)  # the file is the one that all others read
    assert rs.verify(run).sound == 9


def test_entries_of_an_earlier_release_say_nothing(folder: Path) -> None:
    run = interrupted(folder)
    for entry in (run / "ledger/map/2023").iterdir():
        content = json.loads(entry.read_text())
        del content["files"]
        entry.write_text(json.dumps(content))
    rs.resume(run)
    assert rs.verify(run).sound == 9


@pytest.mark.extended
def test_an_update_of_a_model_may_read_other_files(folder: Path) -> None:
    """Tiles that are computed anew anyway: what they read before does not bind them."""
    run = interrupted(folder)
    replace_file(folder)
    write_model(folder, seed=2)
    rs.run(recipe(folder), run, **SETTINGS, update=True)
    assert len(computed(run)) == 9
