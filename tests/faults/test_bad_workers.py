"""Tiles that kill workers, and workers that die of any tile: the rest of the run finishes."""

from collections.abc import Callable

import pytest
from fault_cluster import Cluster, until
from fault_runs import Run, check_clear, check_resumed, key_of

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("nanny", [False, True])
def test_a_tile_that_kills_every_worker(
    cluster: Cluster, reference: Run, new_run: Callable[..., Run], nanny: bool
) -> None:
    tile = reference.tiles_in_events()[12][1]
    cluster.ensure(f"tile-start@{tile}=kill", nanny=nanny, always=True)
    run = new_run()
    ended = run.wait(run.start(), tick=cluster.heal)
    assert ended.code == 1, ended.err
    check_clear(ended)
    poisoned = {key for key in reference.entries() if key[1] == tile}
    assert {key_of(f) for f in run.state["failed"]} == poisoned
    assert set(run.entries()) == set(reference.entries()) - poisoned
    assert tile in ended.err
    cluster.stop_workers()
    cluster.ensure()
    assert set(check_resumed(run, reference)) == poisoned


def test_a_worker_with_too_little_memory_beside_a_good_one(
    own_cluster: Cluster, reference: Run, new_run: Callable[..., Run]
) -> None:
    own_cluster.ensure(workers=1)
    run = new_run()
    command = run.start()
    until(lambda: run.entry_count() >= 1, "a tile")  # it was planned for good ones
    own_cluster.add_worker(nanny=True, memory="250MB")
    ended = run.wait(command, tick=own_cluster.heal)
    if ended.code:
        check_clear(ended)
        assert ended.code == 1
        assert all("memory" in f["error"] or "died" in f["error"] for f in run.state["failed"])
    own_cluster.stop_workers()
    own_cluster.ensure(workers=1)
    check_resumed(run, reference)


def test_only_workers_with_too_little_memory(
    own_cluster: Cluster, reference: Run, new_run: Callable[..., Run]
) -> None:
    own_cluster.ensure(workers=1)
    run = new_run()
    command = run.start()
    # The client knows of it: its workers were good once.
    until(lambda: bool(run.events("tile")), "a tile")
    own_cluster.stop_workers()
    own_cluster.add_worker(nanny=True, memory="250MB")
    ended = run.wait(command, tick=own_cluster.heal)
    assert ended.code == 1, ended.err
    check_clear(ended)
    own_cluster.stop_workers()
    own_cluster.ensure(workers=1)
    check_resumed(run, reference)


def test_workers_with_too_little_memory_are_refused_before_anything_is_written(
    own_cluster: Cluster, new_run: Callable[..., Run]
) -> None:
    own_cluster.ensure(workers=0)
    own_cluster.add_worker(nanny=True, memory="250MB")
    run = new_run()
    ended = run.wait(run.start(), tick=own_cluster.heal)
    assert ended.code == 2, ended.err
    check_clear(ended)
    assert "it may take 0.2 GiB" in ended.err
    assert not run.path.exists()
