"""The disk fills up in the middle of a shard: a clear error, and the rest once there is room."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fault_cluster import Cluster
from fault_runs import Run, check_clear, check_resumed, check_same


def size(folder: Path) -> int:
    """Bytes on disk, in whole pages as a tmpfs counts them."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in files)


@pytest.fixture
def small_disk(reference: Run, tmp_path: Path) -> Iterator[Path]:
    """A disk with room for the most of the run."""
    disk = tmp_path / "disk"
    disk.mkdir()
    room = size(reference.path) * 60 // 100
    mount = ["mount", "-t", "tmpfs", "-o", f"size={room}", "none", str(disk)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.faults
def test_the_disk_is_full(
    cluster: Cluster, reference: Run, new_run: Callable[..., Run], small_disk: Path
) -> None:
    cluster.ensure()
    run = new_run(small_disk / "run")
    # The commands' own logs lie beside the run; let them not be what fills the disk.
    run.logs = small_disk.parent
    ended = run.wait(run.start())
    assert ended.code == 1, ended.err
    check_clear(ended)
    assert "No space left" in ended.err
    kept = run.entries()
    assert 0 < len(kept) < len(reference.entries())
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    again = check_resumed(run, reference)
    assert not set(again) & set(kept)


POINTS = ("before-rename", "between-layers", "after-shards")


@pytest.mark.faults
@pytest.mark.parametrize("point", POINTS)
def test_no_space_for_a_moment(
    cluster: Cluster, reference: Run, new_run: Callable[..., Run], point: str
) -> None:
    cluster.ensure(f"{point}@{reference.tiles_in_events()[10][1]}=nospace")
    run = new_run()
    ended = run.do("run")
    assert ended.code == 0, ended.err
    assert cluster.once.exists()
    check_same(run, reference)


@pytest.mark.faults
@pytest.mark.parametrize("point", POINTS)
def test_no_space_for_one_tile(
    cluster: Cluster, reference: Run, new_run: Callable[..., Run], point: str
) -> None:
    tile = reference.tiles_in_events()[10][1]
    cluster.ensure(f"{point}@{tile}=nospace", always=True)
    run = new_run()
    ended = run.do("run")
    assert ended.code == 1, ended.err
    check_clear(ended)
    lost = set(reference.entries()) - set(run.entries())
    assert {lost_tile for _, lost_tile in lost} == {tile}
    cluster.ensure()
    assert set(check_resumed(run, reference)) == lost


@pytest.mark.faults
def test_files_may_not_grow(
    own_cluster: Cluster, reference: Run, new_run: Callable[..., Run]
) -> None:
    """A quota of a worker's own: writes end in the middle of a shard with EFBIG."""
    own_cluster.ensure(workers=0)
    sizes = sorted(path.stat().st_size for path in reference.shards("confidence"))
    limited = own_cluster.add_worker(largest=sizes[len(sizes) // 2])
    own_cluster.await_workers()
    run = new_run()
    ended = run.wait(run.start())
    assert ended.code == 1, ended.err
    check_clear(ended)
    kept = run.entries()
    assert set(kept) < set(reference.entries())
    limited.command.end()
    own_cluster.stop_workers()
    own_cluster.ensure()
    assert not set(check_resumed(run, reference)) & set(kept)
