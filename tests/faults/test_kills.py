"""kill -9 of a worker, all workers, the scheduler and the client, at random moments."""

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import pytest
from fault_cluster import Cluster, until
from fault_runs import Run, check_clear, check_resumed, check_said, check_same, recomputed

VICTIMS = ("worker", "workers", "scheduler", "client")
SLOTS = 2
IN_FLIGHT = 3 * SLOTS
"""Tiles that may be handed out and not finished at a time."""

# Seconds that a worker stays at a point, for the harness to kill what it is to kill.
_STAY = 4


@dataclass(frozen=True)
class Case:
    """What one seed does."""

    seed: int
    victim: str
    point: str
    nanny: bool


def _case(seed: int) -> Case:
    """Of five: three at random moments, one between shards and ledger, one elsewhere."""
    victim = VICTIMS[seed % 4]
    kind = seed // 4 % 5
    points = {2: "after-shards", 4: ("before-rename", "between-layers", "after-shards")[seed % 3]}
    return Case(seed, victim, points.get(kind, ""), nanny=seed // 20 % 2 == 1)


CASES = [_case(seed) for seed in range(60)]
# A worker, and a client between shards and ledger; the others take minutes.
QUICK = {0, 11}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case,
            id=f"{case.seed}-{case.victim}-{case.point or 'anywhere'}",
            marks=[] if case.seed in QUICK else pytest.mark.faults,
        )
        for case in CASES
    ],
)
def test_the_map_is_the_same_after_a_kill(
    case: Case,
    cluster: Cluster,
    reference: Run,
    new_run: Callable[[], Run],
    seeds: list[dict[str, Any]],
) -> None:
    began = time.monotonic()
    run = new_run()
    chance = random.Random(case.seed)
    tile = _tile(chance, reference)
    cluster.ensure(_rules(case, tile), nanny=case.nanny)
    command = run.start()
    total = len(reference.entries())
    if case.point:
        until(lambda: cluster.once.exists() or not command.alive, f"the point {case.point}")
        assert cluster.once.exists(), f"no worker came by {case.point}: {command.err}"
    else:
        wanted = chance.randrange(1, total * 3 // 4)
        until(lambda: run.entry_count() >= wanted or not command.alive, f"{wanted} tiles")
        time.sleep(chance.uniform(0, 0.1))
    done = run.entries()
    _kill(case, cluster, command.process.pid)
    log = asdict(case) | {"total": total, "done_at_kill": len(done)}
    unfinished = sum(key[1] == tile for key in done) < cluster.passes("tile-start", tile)
    log["in_hand"] = case.point if unfinished else ""
    seeds.append(log)

    ended = run.wait(command, tick=cluster.heal)
    log["exit"] = ended.code
    _check_end(case, ended)
    first, held = run.tiles_in_events(), run.entries()
    resumed = check_resumed(run, reference, cluster.heal) if ended.code else []
    check_same(run, reference)
    log["recomputed"] = recomputed(first, held, resumed)
    log["evaluations"] = cluster.passes("tile-start")
    log["seconds"] = round(time.monotonic() - began, 1)
    assert log["recomputed"] <= IN_FLIGHT
    assert log["evaluations"] - total <= IN_FLIGHT


def _tile(chance: random.Random, reference: Run) -> str:
    """A tile that is neither among the first nor the last to be done."""
    order = [tile for _, tile in reference.tiles_in_events()]
    return chance.choice(order[len(order) // 8 : len(order) // 2])


def _rules(case: Case, tile: str) -> str:
    """A worker that is to die at a point does so itself; for others it waits there."""
    if not case.point:
        return ""
    action = "kill" if case.victim == "worker" else f"wait:{_STAY}"
    return f"{case.point}@{tile}={action}"


def _kill(case: Case, cluster: Cluster, client: int) -> None:
    if case.victim == "client":
        os.killpg(client, signal.SIGKILL)
    elif case.victim == "scheduler":
        cluster.kill_scheduler()
    elif case.victim == "workers":
        for worker in cluster.workers:
            worker.signal(signal.SIGKILL)
    elif not case.point:
        cluster.workers[case.seed // 4 % SLOTS].signal(signal.SIGKILL)


def _check_end(case: Case, ended: Any) -> None:
    """Workers may come and go; a run without its scheduler may end, and says so."""
    if case.victim == "client":
        assert ended.code == -signal.SIGKILL
    elif case.victim == "scheduler" and ended.code:
        check_said(ended)
    else:
        assert ended.code == 0, f"{ended.code}: {ended.err[-3000:]}"


@pytest.mark.faults
def test_a_scheduler_that_does_not_come_back(
    own_cluster: Cluster, reference: Run, new_run: Callable[[], Run]
) -> None:
    own_cluster.ensure()
    run = new_run()
    command = run.start()
    until(lambda: run.entry_count() >= 10, "10 tiles")
    assert own_cluster.scheduler is not None
    own_cluster.scheduler.end()
    ended = run.wait(command)
    assert ended.code == 1, ended.err
    check_clear(ended)
    assert own_cluster.address in ended.err
    nobody = run.do("resume")  # still not there
    assert nobody.code == 2
    check_clear(nobody)
    kept = run.entries()
    own_cluster.ensure()
    assert not set(check_resumed(run, reference)) & set(kept)


@pytest.mark.faults
def test_the_seeds_were_in_the_middle_of_things(seeds: list[dict[str, Any]]) -> None:
    if len(seeds) < len(CASES):
        pytest.skip(f"{len(seeds)} of {len(CASES)} seeds were run; this judges all of them")
    middle = [log for log in seeds if 0 < log["done_at_kill"] < log["total"]]
    assert len(middle) >= 40
    between = [log for log in seeds if log["in_hand"] == "after-shards"]
    assert len(between) >= 10
    assert {log["victim"] for log in between} == set(VICTIMS)
