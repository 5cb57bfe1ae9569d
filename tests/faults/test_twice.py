"""Workers that stop and go on, tiles that run twice at once, two runs on one folder."""

import signal
import time
from collections.abc import Callable

import psutil
import pytest
from fault_cluster import COUNT_ONLY, Cluster, Worker, until
from fault_runs import Run, check_clear, check_resumed, check_same

pytestmark = pytest.mark.faults

# After this the scheduler gives a silent worker up; importing torch makes one silent for seconds.
_TTL = "10s"


def some_tile(reference: Run) -> str:
    return reference.tiles_in_events()[12][1]


def test_a_worker_that_is_stopped_and_goes_on(
    cluster: Cluster, reference: Run, new_run: Callable[..., Run]
) -> None:
    cluster.ensure()
    run = new_run()
    command = run.start()
    until(lambda: run.entry_count() >= 8, "some tiles")
    cluster.workers[0].signal(signal.SIGSTOP)
    stopped_at = run.entry_count()
    until(lambda: run.entry_count() >= stopped_at + 5 or not command.alive, "the other worker")
    cluster.workers[0].signal(signal.SIGCONT)
    ended = run.wait(command)
    assert ended.code == 0, ended.err
    check_same(run, reference)
    assert len(run.tiles_in_events()) == len(reference.entries())


def test_a_worker_that_wakes_when_its_tile_was_done_by_another(
    own_cluster: Cluster, reference: Run, new_run: Callable[..., Run]
) -> None:
    tile = some_tile(reference)
    own_cluster.ensure(f"between-layers@{tile}=wait:2", workers=1, ttl=_TTL)
    run = new_run()
    command = run.start()
    until(own_cluster.once.exists, "a tile between two layers")
    sleeper = own_cluster.workers[0]
    sleeper.signal(signal.SIGSTOP)
    own_cluster.add_worker(RSSCALE_FAILPOINTS=f"tile-start={COUNT_ONLY}")
    ended = run.wait(command)
    assert ended.code == 0, ended.err
    assert own_cluster.passes("tile-start", tile) >= 2 + 1  # periods, and the one done twice
    check_same(run, reference)
    written = {path: path.read_bytes() for path in run.shards()}
    sleeper.signal(signal.SIGCONT)
    # It finishes its tile, whatever it is told; then it joins again, or ends.
    until(lambda: _idle(sleeper), "the worker to finish what it had")
    check_same(run, reference)
    assert {path: path.read_bytes() for path in run.shards()} == written
    assert check_resumed(run, reference) == []


def test_two_workers_in_one_tile_at_once(
    own_cluster: Cluster, reference: Run, new_run: Callable[..., Run]
) -> None:
    tile = some_tile(reference)
    own_cluster.ensure(workers=0, ttl=_TTL)
    marks = f"tile-start={COUNT_ONLY},after-shards={COUNT_ONLY}"
    counts = own_cluster.folder / "first"
    first = own_cluster.add_worker(
        RSSCALE_FAILPOINTS=f"{marks},between-layers@{tile}=wait:2",
        RSSCALE_FAILPOINT_COUNTS=str(counts),
    )
    own_cluster.await_workers()
    run = new_run()
    command = run.start()
    until(own_cluster.once.exists, "a tile between two layers")
    first.signal(signal.SIGSTOP)
    # The second waits in the same tile, between the same layers, until the first has gone by.
    second = own_cluster.folder / "second"
    own_cluster.add_worker(
        RSSCALE_FAILPOINTS=f"{marks},between-layers@{tile}=wait:3",
        RSSCALE_FAILPOINT_ONCE=str(second),
    )
    until(second.exists, "the tile on another worker")
    assert not (counts / f"after-shards@{tile}").exists()
    first.signal(signal.SIGCONT)
    ended = run.wait(command, tick=own_cluster.heal)
    assert ended.code == 0, ended.err
    # Both wrote all layers, the second as the last one.
    assert (counts / f"after-shards@{tile}").exists()
    assert own_cluster.passes("after-shards", tile) >= 1
    check_same(run, reference)
    assert check_resumed(run, reference) == []


def test_a_second_run_on_the_folder_is_refused(
    cluster: Cluster, reference: Run, new_run: Callable[..., Run]
) -> None:
    cluster.ensure(f"after-shards@{some_tile(reference)}=wait:20")
    run = new_run()
    command = run.start()
    until(cluster.once.exists, "a tile that takes its time")
    second = run.do("resume")
    assert command.alive, "the first run has ended before the second was answered"
    assert second.code in (1, 2)
    check_clear(second)
    ended = run.wait(command)
    assert ended.code == 0, ended.err
    check_same(run, reference)
    assert len(run.tiles_in_events()) == len(reference.entries())


def _idle(worker: Worker) -> bool:
    """Whether a worker's process has ended, or uses no processor for half a second."""
    try:
        process = psutil.Process(worker.pid or -1)
        before = process.cpu_times().user
        time.sleep(0.5)
        return process.cpu_times().user - before < 0.05
    except (psutil.Error, ValueError):
        return True
