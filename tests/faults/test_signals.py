"""Ctrl-C and SIGTERM, to the client at any moment and to workers: nothing is lost."""

import signal
from collections.abc import Callable

import pytest
from fault_cluster import Cluster, until
from fault_runs import TRACEBACK, Run, check_resumed, check_same, recomputed

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# How far the run is: a file that planning writes, or a number of finished tiles.
MOMENTS = ("area.geojson", "product.zarr", "run.json", 1, 20, 50)
QUICK = {(signal.SIGTERM, 20)}


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        pytest.param(n, m, id=f"{n.name}-{m}", marks=[] if (n, m) in QUICK else pytest.mark.faults)
        for n in SIGNALS
        for m in MOMENTS
    ],
)
def test_the_client_is_asked_to_stop(
    cluster: Cluster,
    reference: Run,
    new_run: Callable[..., Run],
    number: signal.Signals,
    moment: str | int,
) -> None:
    cluster.ensure()
    run = new_run()
    command = run.start()
    if isinstance(moment, int):
        until(lambda: run.entry_count() >= moment, f"{moment} tiles")
    else:
        until((run.path / moment).exists, moment)
    command.signal(number)
    ended = run.wait(command)
    assert ended.code == 130, f"{ended.code}: {ended.err}"
    assert TRACEBACK not in ended.err
    assert "interrupted" in ended.err
    first, held = run.tiles_in_events(), run.entries()
    if (run.path / "run.json").exists():
        assert len(held) < len(reference.entries())
        # Before the first tile was handed out, all that is there is the plan.
        assert run.state["state"] == ("interrupted" if run.events("started") else "planned")
        assert run.state["tiles"]["done"] == len(held)
        again = check_resumed(run, reference)
    else:  # stopped while it was planned: there is nothing to resume, the same command does all
        assert run.do("run").code == 0
        check_same(run, reference)
        again = run.tiles_in_events()
    assert recomputed(first, held, again) == 0


@pytest.mark.faults
def test_ctrl_c_twice_ends_at_once(
    cluster: Cluster, reference: Run, new_run: Callable[..., Run]
) -> None:
    tile = reference.tiles_in_events()[12][1]
    cluster.ensure(f"after-shards@{tile}=wait:30")
    run = new_run()
    command = run.start()
    until(cluster.once.exists, "a tile that takes its time")
    command.signal(signal.SIGINT)
    with pytest.raises(AssertionError, match="still waiting"):
        until(lambda: not command.alive, "the end", within=1)
    command.signal(signal.SIGINT)
    ended = run.wait(command, within=25)
    assert ended.code == 130
    assert TRACEBACK not in ended.err
    check_resumed(run, reference)


@pytest.mark.faults
@pytest.mark.parametrize("nanny", [False, True])
def test_workers_are_told_to_go(
    cluster: Cluster, reference: Run, new_run: Callable[..., Run], nanny: bool
) -> None:
    """As a spot instance or a batch system ends them: one, then all, with others after them."""
    cluster.ensure(nanny=nanny)
    run = new_run()
    command = run.start()
    until(lambda: run.entry_count() >= 5, "5 tiles")
    cluster.workers[0].command.signal(signal.SIGTERM)
    until(lambda: run.entry_count() >= 20 or not command.alive, "20 tiles")
    for worker in cluster.workers:
        worker.command.signal(signal.SIGTERM)
    ended = run.wait(command, tick=cluster.heal)
    assert ended.code == 0, ended.err
    check_same(run, reference)
