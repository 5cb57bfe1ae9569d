"""A run folder through its life: run, damaged, verified, updated, watched, in a bucket."""

import json
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from landscape import BANDS, Landscape, make_model

import rsscale as rs
from rsscale.errors import RsscaleError, RunFolderError, SupersededError
from rsscale.memory import peak_rss
from rsscale.passes.mapping import MapPass
from rsscale.plans.plan import RunPlan, TileTask
from rsscale.read.file_pool import POOL
from rsscale.runs.run import Run, RunOptions, resume, run
from rsscale.runs.verification import verify
from rsscale.runs.worker import run_tile
from rsscale.store.lease import acquire
from rsscale.store.run_folder import RunFolder
from rsscale.store.storage import open_storage

SETTINGS: dict[str, Any] = {"threads": 2, "device": "cpu"}


@pytest.fixture(scope="module")
def archive(landscape: Landscape, tmp_path_factory: pytest.TempPathFactory) -> Landscape:
    """A copy, since its items and its model are changed here."""
    folder = tmp_path_factory.mktemp("own") / "archive"
    shutil.copytree(landscape.folder, folder)
    return Landscape(folder)


@pytest.fixture(scope="module")
def finished(archive: Landscape, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests take copies."""
    out = tmp_path_factory.mktemp("finished") / "run"
    run(archive.part(), out, **SETTINGS)
    return out


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def events(out: Path, kind: str = "tile") -> list[dict[str, Any]]:
    """Events of a kind since the last start."""
    lines = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    start = max(n for n, line in enumerate(lines) if line["event"] == "started")
    return [line for line in lines[start:] if line["event"] == kind]


def first_task(plan: RunPlan) -> TileTask:
    """The first tile of the map, taken back from the ledger."""
    task = plan.task(next(plan.keys(plan.steps[0])))
    plan.folder.ledger.delete(task.key)
    return task


def layers(out: str | Path) -> xr.Dataset:
    return rs.Run(out).open().load()


@pytest.mark.parametrize("fails", [False, True])
def test_a_tile_closes_files_that_it_did_not_read(
    finished: Path, copy: Path, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    folder = RunFolder.at(copy)
    plan = RunPlan.read(folder)
    task = first_task(plan)
    with POOL.lend(str(next(finished.parent.parent.glob("own*/archive/**/*.tif")))) as opened:
        pass
    if fails:
        monkeypatch.setattr(MapPass, "run", lambda *_, **__: 1 / 0)
    with (
        acquire(folder.storage) as lease,
        pytest.raises(RsscaleError, match="ZeroDivisionError") if fails else nullcontext(),
    ):
        run_tile(folder.url, plan.hash, lease.epoch, task)
    assert opened.dataset.closed


def test_a_run_says_what_it_took(finished: Path) -> None:
    state = json.loads((finished / "run.json").read_text())
    assert state["state"] == "done"
    assert state["tiles"] == {"total": 6, "done": 6, "failed": 0}
    assert set(state["stages"]) == {"read", "prepare", "infer", "write"}
    assert all(seconds > 0 for seconds in state["stages"].values())
    facts = state["steps"]["map"]["facts"]
    assert facts["decoded_bytes"] > 0
    assert facts["line_pairs"] > 0
    assert facts["batch"] == 1
    assert state["peak_rss_bytes"] > 2**27
    told = events(finished)
    assert sum(one["facts"]["pixels"] for one in told) == facts["pixels"]
    assert {"attempts", "worker", "seconds", "peak_rss_bytes"} <= set(told[0])


def test_a_finished_run_computes_nothing_again(copy: Path) -> None:
    resume(copy)
    assert events(copy) == []
    assert events(copy, "done")


def test_verify_names_each_kind_of_damage_and_resume_mends_it(copy: Path) -> None:
    before = layers(copy)
    assert verify(copy).damaged == ()
    entries = sorted((copy / "ledger" / "map" / "2023").iterdir())
    shards = sorted(p for p in (copy / "product.zarr/confidence/c").rglob("*") if p.is_file())
    shards[0].write_bytes(b"garbage")
    shards[3].unlink()
    whole = entries[-1].read_bytes()
    entries[-1].write_bytes(whole[: len(whole) // 2])
    found = verify(copy)
    assert found.total == 6
    assert found.absent == 0
    assert found.sound == 6 - len(found.damaged) >= 3
    reasons = [one.reason for one in found.damaged]
    assert reasons.count("stored confidence is not what was written") == 2
    assert reasons.count("its ledger entry was cut short") == 1
    assert verify(copy, repair=True).damaged == found.damaged
    mended = verify(copy)
    assert (mended.damaged, mended.absent) == ((), 3)
    resume(copy)
    assert len(events(copy)) == 3
    xr.testing.assert_identical(layers(copy), before)
    assert verify(copy).sound == 6


def test_what_was_half_written_is_swept(copy: Path) -> None:
    litter = copy / "product.zarr/confidence/c/0/0/.0.abc.partial"
    litter.parent.mkdir(exist_ok=True)
    litter.write_bytes(b"half")
    resume(copy)
    assert not litter.exists()


def change_item(archive: Landscape, name: str) -> None:
    """A catalogue that has processed a scene anew, into files of their own."""
    path = archive.folder / name / f"{name}.json"
    item = json.loads(path.read_text())
    for asset in item["assets"].values():
        file = path.parent / asset["href"]
        again = path.parent / f"{file.stem}-2{file.suffix}"
        shutil.copy(file, again)
        asset["href"] = str(again)
    path.write_text(json.dumps(item))


def touch_item(archive: Landscape, name: str) -> None:
    """A catalogue that says something new of a scene, its pixels left as they are."""
    path = archive.folder / name / f"{name}.json"
    item = json.loads(path.read_text())
    item["properties"] |= {"updated": "2030-01-01T00:00:00Z", "eo:cloud_cover": 12.5}
    item["assets"]["thumbnail"] = {"href": "thumbnail.png", "type": "image/png"}
    path.write_text(json.dumps(item))


@pytest.mark.slow
def test_an_update_computes_just_the_tiles_whose_items_changed(
    archive: Landscape, copy: Path
) -> None:
    before = layers(copy)
    catalog = json.loads((archive.folder / "catalog.json").read_text())
    names = [Path(link["href"]).stem for link in catalog["links"] if link["rel"] == "item"]
    east = next(name for name in names if "e" in name.replace("scene", ""))
    used = {
        json.loads(path.read_text())["tile"]
        for path in (copy / "ledger" / "map" / "2023").iterdir()
        if east in json.loads(path.read_text())["inputs"]
    }
    change_item(archive, east)
    run(archive.part(), copy, update=True, **SETTINGS)
    computed = {one["tile"] for one in events(copy)}
    assert used <= computed
    assert len(computed) <= 6
    xr.testing.assert_identical(layers(copy), before)
    touch_item(archive, east)
    run(archive.part(), copy, update=True, **SETTINGS)
    assert events(copy) == []


@pytest.mark.slow
def test_another_model_is_refused_and_an_update_maps_all_anew(
    landscape: Landscape, tmp_path: Path
) -> None:
    folder = tmp_path / "archive"
    shutil.copytree(landscape.folder, folder)
    own = Landscape(folder)
    run(own.part(), tmp_path / "own", **SETTINGS)
    before = layers(tmp_path / "own")
    shutil.rmtree(folder / "model")
    resume(tmp_path / "own")  # the model was frozen with the rest
    make_model(folder / "model", seed=5, bands=BANDS)
    with pytest.raises(RunFolderError, match=r"another recipe: model differ.*--update"):
        run(own.part(), tmp_path / "own", **SETTINGS)
    run(own.part(), tmp_path / "own", update=True, **SETTINGS)
    assert len(events(tmp_path / "own")) == 6
    assert (layers(tmp_path / "own").confidence.values != before.confidence.values).any()
    assert verify(tmp_path / "own").sound == 6


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"grid": {"crs": "EPSG:32631", "resolution": 10, "tile": 1024}}, "grid"),
        ({"output": {"layers": ["classification"]}}, "output.layers"),
    ],
)
def test_an_update_cannot_change_the_shape_of_the_product(
    archive: Landscape, copy: Path, changes: dict, named: str
) -> None:
    before = (copy / "run.json").read_bytes()
    with pytest.raises(RunFolderError, match=f"can't be updated: .*{named}"):
        run(archive.part(**changes), copy, update=True, **SETTINGS)
    assert (copy / "run.json").read_bytes() == before


def test_an_update_that_was_cut_short_is_told(copy: Path) -> None:
    folder = RunFolder.at(copy)
    folder.write_state(folder.read_state() | {"state": "updating"})
    with pytest.raises(RunFolderError, match="run the recipe again with --update"):
        resume(copy)


def test_two_runs_on_one_folder(archive: Landscape, copy: Path) -> None:
    with acquire(open_storage(copy)):
        for second in (lambda: resume(copy), lambda: run(archive.part(), copy, **SETTINGS)):
            with pytest.raises(RunFolderError, match="is working on"):
                second()


def test_work_of_an_older_run_is_not_written(copy: Path) -> None:
    plan = RunPlan.read(RunFolder.at(copy))
    task = first_task(plan)
    shards = {p: p.stat().st_mtime_ns for p in copy.rglob("c/0/0/*")}
    with (
        acquire(plan.folder.storage) as newer,
        pytest.raises(SupersededError, match="a newer run works on"),
    ):
        run_tile(plan.folder.url, plan.hash, newer.epoch - 1, task)
    assert {p: p.stat().st_mtime_ns for p in copy.rglob("c/0/0/*")} == shards
    assert not plan.folder.ledger.holds(task.key)


def test_a_tile_that_this_run_has_done_is_not_computed_again(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = RunPlan.read(RunFolder.at(copy))
    task = plan.task(next(plan.keys(plan.steps[0])))
    with acquire(plan.folder.storage) as lease:
        first = run_tile(plan.folder.url, plan.hash, lease.epoch, task)
        monkeypatch.setattr(MapPass, "run", None)
        second = run_tile(plan.folder.url, plan.hash, lease.epoch, task)
    assert first["seconds"] == second["seconds"]


@pytest.mark.extended
def test_a_bucket_holds_the_same_run(archive: Landscape, finished: Path, s3_server: str) -> None:
    del s3_server
    out = "s3://maps/country/run"
    found = run(archive.part(), out, **SETTINGS)
    assert found.state["tiles"]["done"] == 6
    xr.testing.assert_identical(layers(out), layers(finished))
    assert repr(found) == "Run('s3://maps/country/run', done, 6/6 tiles)"
    there = open_storage(out)
    names = list(there.names())
    shard = next(name for name in names if name.startswith("product.zarr/confidence/c/"))
    there.write(shard, b"garbage")
    assert [one.reason for one in verify(out).damaged] == [
        "stored confidence is not what was written"
    ]
    resume(out)
    xr.testing.assert_identical(layers(out), layers(finished))
    lines = b"".join(there.read(n) for n in there.names("events.jsonl")).decode().splitlines()
    assert sum(json.loads(line)["event"] == "tile" for line in lines) == 7
    stored = b"".join(there.read(name) for name in names)
    assert b"secret-of-the-test" not in stored


@pytest.mark.slow
def test_a_run_can_be_watched(copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(copy / "ledger")
    beat = tmp_path / "heartbeat"
    resume(copy, watch=RunOptions(heartbeat=beat))
    told = json.loads(beat.read_text())
    assert told["tiles"]["done"] == 6


def test_seams_of_tiles_add_up_to_those_of_the_map(finished: Path) -> None:
    from rsscale.inference.seams import Seams, count_seams

    plan = RunPlan.read(RunFolder.at(finished))
    labels = layers(finished).classification.values[0]
    state = json.loads((finished / "run.json").read_text())
    whole = count_seams(labels, plan.extent, plan.step("map").specs["2023"].lattice)
    # Pairs across the edges of tiles are nobody's.
    facts = state["steps"]["map"]["facts"]
    tiles = Seams.from_dict(facts)
    assert 0 < tiles.line.pairs <= whole.line.pairs
    assert tiles.line.count >= whole.line.count  # one line crosses several tiles
    assert np.isclose(tiles.between.share, whole.between.share, rtol=0.1)


def test_events_tell_what_happened_and_a_line_cut_short_is_left_out(copy: Path) -> None:
    found = Run(copy)
    kinds = [event["event"] for event in found.events()]
    assert kinds[0] == "started"
    assert kinds[-1] == "done"
    assert kinds.count("tile") == found.state["tiles"]["total"]
    with (copy / "events.jsonl").open("a") as file:
        file.write('{"event": "ti')
    assert [event["event"] for event in found.events()] == kinds


def test_a_summary_tells_seams_and_failures(copy: Path) -> None:
    state = Run(copy).state
    state["steps"]["map"]["lines"] = ["seams     neighbours differ at 3.00% along window lines"]
    state["failed"] = [{"key": "map/2023/x1_y2", "error": "no such file"}]
    (copy / "run.json").write_text(json.dumps(state))
    told = Run(copy).summary()
    assert "neighbours differ at 3.00% along window lines" in told
    assert "failed map/2023/x1_y2: no such file" in told
    assert told.endswith(f"map       {copy}/product.zarr")


@pytest.mark.extended
def test_a_process_does_not_report_the_memory_of_its_parent() -> None:
    code = "from rsscale.memory import peak_rss; import numpy; print(peak_rss())"
    ballast = np.ones(2**26)  # 512 MiB
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert peak_rss() > ballast.nbytes > 2 * int(done.stdout)
