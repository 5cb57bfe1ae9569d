"""What befalls a run as a whole: stopped, moved, robbed of its files, raced, with odd workers."""

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from fault_cluster import Cluster, Command, until
from fault_runs import TRACEBACK, Run, check_clear, check_resumed, check_same, differences

import rsscale as rs


@pytest.fixture
def running(cluster: Cluster, new_run: Callable[..., Run]) -> tuple[Run, Command]:
    """A run on the cluster of which some tiles are done, and its client."""
    cluster.ensure()
    run = new_run()
    command = run.start()
    until(lambda: run.entry_count() >= 5, "5 tiles")
    return run, command


def remove(path: Path) -> None:
    """A file, or a folder with all that is in it."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.faults
@pytest.mark.parametrize("seconds", [2, 12])
def test_the_client_is_stopped_and_goes_on(
    running: tuple[Run, Command], reference: Run, seconds: int
) -> None:
    """Twelve seconds are longer than Dask waits for a heartbeat, and less than its patience."""
    run, command = running
    command.signal(signal.SIGSTOP)
    time.sleep(seconds)
    second = Run(run.path, reference.recipe).do("resume")  # the holder sleeps, and is not dead
    assert second.code == 2, second.err
    check_clear(second)
    command.signal(signal.SIGCONT)
    ended = run.wait(command)
    assert ended.code == 0, ended.err
    check_same(run, reference)
    assert len(run.tiles_in_events()) == len(reference.entries())


@pytest.mark.faults
@pytest.mark.parametrize("seconds", [2, 12])
def test_the_scheduler_is_stopped_and_goes_on(
    cluster: Cluster, running: tuple[Run, Command], reference: Run, seconds: int
) -> None:
    run, command = running
    assert cluster.scheduler is not None
    cluster.scheduler.signal(signal.SIGSTOP)
    time.sleep(seconds)
    cluster.scheduler.signal(signal.SIGCONT)
    ended = run.wait(command, tick=cluster.heal)
    assert ended.code == 0, ended.err
    check_same(run, reference)


# What is deleted of a finished run; of the last ones, what resume mends by itself.
LOST = ("items", "models", "recipes", "areas", "items/s2.records")


@pytest.mark.parametrize("lost", LOST)
def test_what_a_run_is_made_from_is_lost(copied: Run, lost: str) -> None:
    """status still tells, verify and resume say in a line what is lost and what to do."""
    remove(copied.path / lost)
    assert copied.do("status").code == 0
    for verb in ("verify", "resume"):
        ended = copied.do(verb)
        assert ended.code == 2, f"{ended.code} {ended.err}"
        check_clear(ended)
        said = next(line for line in ended.errors if line.startswith("error:"))
        assert "is damaged" in said
        assert Path(lost).name.split(".")[0] in said.replace("recipe or area", "recipes")
        assert "Error:" not in said.removeprefix("error:")


@pytest.mark.faults
@pytest.mark.parametrize("garbage", [b"", b"PK\x03\x04 no", b"\x93NUMPY"])
def test_items_that_are_no_items(copied: Run, garbage: bytes) -> None:
    (copied.path / "items/s2.index.npz").write_bytes(garbage)
    for verb in ("verify", "resume"):
        ended = copied.do(verb)
        assert ended.code == 2
        check_clear(ended)
        assert "its items" in ended.err


@pytest.mark.parametrize(
    "lost",
    [
        pytest.param("product.zarr", marks=pytest.mark.faults),
        pytest.param("product.zarr/zarr.json", marks=pytest.mark.faults),
        "product.zarr/classification",
        pytest.param("product.zarr/y", marks=pytest.mark.faults),
    ],
)
def test_a_store_is_lost(copied: Run, reference: Run, lost: str) -> None:
    """verify names it, and resume makes it again, so that the product opens as before."""
    remove(copied.path / lost)
    assert copied.do("status").code == 0
    verified = copied.do("verify")
    assert verified.code == 1, verified.err
    check_clear(verified)
    assert "damaged" in verified.out
    assert "product.zarr" in verified.out
    check_resumed(copied, reference)
    assert copied.do("verify").code == 0


@pytest.mark.faults
@pytest.mark.parametrize("lost", ["items", "models", "product.zarr", "ledger", "lease"])
def test_a_folder_is_deleted_while_the_run_works(
    cluster: Cluster, running: tuple[Run, Command], reference: Run, lost: str
) -> None:
    run, command = running
    kept = run.path.parent / "kept"
    if lost in ("items", "models"):
        shutil.copytree(run.path / lost, kept)
    subprocess.run(["rm", "-rf", str(run.path / lost)], check=False)
    ended = run.wait(command, tick=cluster.heal)
    assert TRACEBACK not in ended.err, ended.err[-3000:]
    if ended.code:
        check_clear(ended)
        assert "Error:" not in ended.err.rpartition("error: ")[2]
    if lost == "items":
        assert ended.code
        assert "items/s2.index.npz is not there any more" in ended.err
    for verb in ("status", "verify"):
        told = run.do(verb)
        assert told.code in (0, 1, 2)
        assert TRACEBACK not in told.err
        if told.code:
            check_clear(told)
    if kept.exists() and not (run.path / lost).exists():
        shutil.copytree(kept, run.path / lost)  # put back from a copy, as the message says
    cluster.stop_workers()
    cluster.ensure()
    check_resumed(run, reference)


@pytest.mark.parametrize("done", [pytest.param(True, marks=pytest.mark.faults), False])
def test_a_run_folder_is_moved(copied: Run, reference: Run, done: bool) -> None:
    moved = Run(copied.path.parent / "elsewhere" / "run", reference.recipe)
    if not done:
        for entry in sorted(copied.path.glob("ledger/*/*/*.json"))[:3]:
            entry.unlink()
    moved.path.parent.mkdir()
    shutil.move(copied.path, moved.path)
    again = check_resumed(moved, reference)
    assert len(again) == (0 if done else 3)
    assert str(moved.path) in moved.do("status").out
    assert moved.do("verify").code == 0


@pytest.mark.faults
def test_two_runs_race_for_a_new_folder(reference: Run, tmp_path: Path) -> None:
    """Whoever comes second is refused; both would have planned it."""
    first, second = (Run(tmp_path / "run", reference.recipe, logs=tmp_path / n) for n in "ab")
    commands = [first.start(), second.start()]
    ended = [first.wait(commands[0]), second.wait(commands[1])]
    winners = [one for one in ended if one.code == 0]
    for loser in (one for one in ended if one.code):
        assert loser.code == 2, loser.err
        check_clear(loser)
        assert "is working on" in loser.err
    assert winners
    check_same(first, reference)
    assert len(first.tiles_in_events()) == len(reference.entries())


@pytest.mark.extended
def test_a_run_that_was_checked_while_another_took_the_folder(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another recipe: it is looked at again, and refused, and the first one's plan stays."""
    from rsscale.runs import changes

    content = yaml.safe_load(recipe.read_text())
    content |= {"area": str(recipe.parent / "area.gpkg"), "model": str(recipe.parent / "model")}
    content["inputs"]["s2"]["catalog"] = str(recipe.parent / "catalog.json")
    content["periods"] = [2022]
    other = json.loads(json.dumps(content))
    other["inputs"]["s2"]["mask"]["drop"] = [4]
    prepare = changes.prepare
    out = tmp_path / "run"
    raced: list[bytes] = []

    def meanwhile(*args: object, **options: object) -> object:
        prepared = prepare(*args, **options)  # type: ignore[arg-type]
        if not raced:
            raced.append(b"")
            rs.run(content, out, device="cpu", threads=1)
            raced[0] = (out / "run.json").read_bytes()
        return prepared

    monkeypatch.setattr(changes, "prepare", meanwhile)
    with pytest.raises(rs.RunFolderError, match=r"made from another recipe: inputs.s2.mask.drop"):
        rs.run(other, out, device="cpu", threads=1)
    assert (out / "run.json").read_bytes() == raced[0]


def with_version(folder: Path, package: str, version: str) -> str:
    """A PYTHONPATH on which a package says that it has another version."""
    from fault_cluster import environment

    info = folder / f"{package}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    return f"{folder}:{environment()['PYTHONPATH']}"


@pytest.mark.faults
@pytest.mark.parametrize(("package", "version"), [("rsscale", "9.9.9"), ("torch", "1.0.0")])
def test_workers_with_other_packages(
    own_cluster: Cluster,
    reference: Run,
    new_run: Callable[..., Run],
    tmp_path: Path,
    package: str,
    version: str,
) -> None:
    own_cluster.ensure(workers=0)
    path = with_version(tmp_path / "odd", package, version)
    own_cluster.add_worker(PYTHONPATH=path)
    own_cluster.await_workers()
    run = new_run()
    ended = run.wait(run.start())
    assert ended.code == 2, ended.err  # nothing was begun
    check_clear(ended)
    assert "other packages than the client" in ended.err
    assert f"{package} {version if package == 'rsscale' else '1.0'} for " in ended.err
    assert run.entries() == {}
    own_cluster.stop_workers()
    own_cluster.ensure()
    check_resumed(run, reference)


def test_what_differs_is_named() -> None:
    from rsscale.cluster.versions import refuse_other_versions, versions

    refuse_other_versions(versions())
    assert set(versions()) >= {"rsscale", "torch", "numpy", "rasterio", "python"}
    with pytest.raises(rs.RunFolderError, match=r"torch \d+\.\d+ for 1\.0\).*same environment"):
        refuse_other_versions({**versions(), "torch": "1.0"})


def test_the_product_of_a_mended_store_is_the_same(copied: Run, reference: Run) -> None:
    (copied.path / "product.zarr/zarr.json").unlink()
    check_resumed(copied, reference)
    name = "product.zarr/zarr.json"
    mended, before = (json.loads((run.path / name).read_text()) for run in (copied, reference))
    assert mended["attributes"] == before["attributes"]
    assert differences(copied.path / "product.zarr", reference.path / "product.zarr") == []
