"""Compute unfinished tiles step by step, and verify them, in rounds until none is left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from rsscale.cluster.connection import TILES_AT_ONCE, Cluster, connect
from rsscale.cluster.engine import (
    ClusterLostError,
    Outcome,
    Stop,
    TooManyFailuresError,
    Workers,
    execute,
    one_line,
)
from rsscale.cluster.machine import check_workers
from rsscale.cluster.sealed import Sealed
from rsscale.cluster.signals import stop_on_signals
from rsscale.cluster.versions import versions
from rsscale.cluster.walltime import Walltime
from rsscale.errors import ReadError, RunFolderError
from rsscale.monitoring.ending import ended, raise_unless_done
from rsscale.monitoring.metrics import serve_metrics
from rsscale.monitoring.monitor import Monitor
from rsscale.monitoring.run_options import RunOptions
from rsscale.plans.plan import RunPlan, TileTask
from rsscale.progress.bars import progress
from rsscale.runs.replaced_files import KnownVersions
from rsscale.runs.verification import unfinished
from rsscale.runs.worker import check_here, run_tile
from rsscale.steps.base import ByValue, Pass, Step
from rsscale.store.lease import Lease
from rsscale.store.run_folder import REPLACED, RunFolder

if TYPE_CHECKING:
    from distributed import Client

# What a run finds damaged when it looks back is computed once more, and looked at again.
_ROUNDS = 3


def work_off(
    folder: RunFolder,
    client: Cluster,
    lease: Lease,
    watch: RunOptions,
    *,
    by_value: ByValue | None = None,
) -> None:
    """Compute every tile that is not done, look back at all, and say how it went.

    Raises
    ------
    TilesFailedError, MoreToDoError, KeyboardInterrupt
        As for :func:`rsscale.run`.
    """
    from rsscale.plans.planning import mend_stores  # brings pystac, which status needs not
    from rsscale.plans.tile_costs import worker_memory

    plan = RunPlan.read(folder)
    _check_ready(plan, by_value)
    if not isinstance(client, Workers):  # else others of an array may still write what they have
        folder.storage.remove_partial()
    mend_stores(plan.setup, plan.steps)
    counts = [(step, plan.count(step)) for step in plan.steps]
    total = sum(count for _, count in counts)
    with ExitStack() as stack:
        stop = stack.enter_context(stop_on_signals(watch.grace_s))
        metrics = stack.enter_context(serve_metrics(watch.metrics_port))
        workers = stack.enter_context(connect(client, lambda: worker_memory(plan)))
        if workers is not None and not isinstance(workers, Workers):
            check_workers(workers, _worker_check(plan, by_value), stop)
        bar = stack.enter_context(progress("run", total, "tiles"))
        monitor = Monitor(folder, bar, counts, metrics, watch.heartbeat)
        monitor.event("started", epoch=lease.epoch, tiles=total)
        monitor.save({"state": "running", "failed": []})
        walltime = Walltime.of(watch.walltime_s)
        problem = run_steps(
            plan,
            workers,
            lease,
            stop=stop,
            monitor=monitor,
            walltime=walltime,
            by_value=by_value,
        )
    state = _end_state(plan, monitor, stop, problem)
    mend_stores(plan.setup, plan.steps)  # of someone who removed one meanwhile
    if state["state"] == "done":
        folder.storage.remove_partial(keep=("array", "lease"))  # of workers that died
        folder.storage.delete(REPLACED)  # what was replaced is as it was, or was mapped anew
    monitor.event(state["state"], **state["tiles"])
    monitor.flush()
    monitor.save(state)
    again = f"rsscale resume {folder.url}" if by_value is None else "the same call"
    raise_unless_done(state, problem, f"go on with: {again}", is_late=walltime.was_short)


def _check_ready(plan: RunPlan, by_value: ByValue | None) -> None:
    """Refuse, before anything is begun, what would fail: versions, files, items, steps."""
    plan.refuse_other_versions()
    plan.refuse_lost_files()
    for name in plan.items_frozen():
        plan.setup.lookups(name)  # refuses damaged ones
    for step in plan.steps:
        if isinstance(step, Pass) and (by_value is None or by_value.step != step.step):
            step.ready()


def _worker_check(plan: RunPlan, by_value: ByValue | None) -> Sealed[[], None]:
    """What each worker is asked: whether it has the folder, the versions and the functions."""
    name = by_value.step if by_value is not None else ""
    return Sealed(partial(check_here, plan.folder.url, plan.hash, versions(), name))


def _end_state(plan: RunPlan, monitor: Monitor, stop: Stop, problem: str) -> dict[str, Any]:
    """The state of the run for ``run.json``, now that no tile is in flight."""
    state = monitor.snapshot() | {"state": ended(monitor, stop), "in_flight": 0}
    if stop.asked or problem:  # not all were looked at
        state["tiles"]["done"] = plan.folder.ledger.count()
    return state


def run_steps(
    plan: RunPlan,
    client: Client | Workers | None,
    lease: Lease,
    *,
    stop: Stop,
    monitor: Monitor,
    walltime: Walltime,
    by_value: ByValue | None = None,
) -> str:
    """Compute what is not done of every step; returns what stopped it, if anything.

    There is a barrier between steps, and between the levels of one: a tile begins when all
    tiles that it could read are done. Tiles that read one which failed wait, the others go on.

    Parameters
    ----------
    plan : RunPlan
    client : distributed.Client, Workers or None
    lease : Lease
    stop : Stop
    monitor : Monitor
    walltime : Walltime
        No tile is begun that may not end in time.
    by_value : ByValue, optional
        What one step lacks that the run folder can't hold: it travels with that step's tasks.
    """
    work = partial(run_tile, plan.folder.url, plan.hash, lease.epoch, versions=versions())
    known = KnownVersions.of_run(plan)
    for _ in range(_ROUNDS):
        computed = 0
        monitor.waiting = 0
        for step in plan.steps:
            monitor.look_back(step.step)
        for step, level in plan.rounds():
            is_value = by_value is not None and by_value.step == step.step
            try:
                computed += _compute(
                    plan,
                    step,
                    level,
                    partial(work, by_value=by_value) if is_value else work,
                    client=client,
                    lease=lease,
                    stop=stop,
                    monitor=monitor,
                    walltime=walltime,
                    known=known,
                )
            except (ClusterLostError, TooManyFailuresError, RunFolderError) as error:
                return one_line(error)
            if stop.asked:
                return ""
        if not computed:
            break
    return ""


def _compute(
    plan: RunPlan,
    step: Step,
    level: int,
    work: Any,
    *,
    client: Client | Workers | None,
    lease: Lease,
    stop: Stop,
    monitor: Monitor,
    walltime: Walltime,
    known: KnownVersions,
) -> int:
    """Compute what is not done of a step at a level; how many tiles that was."""

    def wait(_: Any) -> None:
        monitor.waiting += 1

    def tick(in_flight: int) -> None:
        monitor.tick(in_flight)
        _is_late(walltime, stop)

    todo = unfinished(
        plan,
        step,
        level,
        known,
        found_done=monitor.found_done,
        found_waiting=wait,
        skip=monitor.failed,
    )
    computed = 0
    for outcome in execute(
        _while_held(todo, lease, stop, walltime),
        work,
        client=client,
        slots=TILES_AT_ONCE,
        stop=stop,
        on_tick=tick,
    ):
        computed += 1
        _record(outcome, monitor, plan, known)
        if outcome.result is not None:
            walltime.add(sum(outcome.result["seconds"].values()))
        if outcome.error is not None:
            plan.refuse_lost_files()  # else each tile fails, one after the other
    return computed


def _while_held(
    tasks: Iterator[TileTask], lease: Lease, stop: Stop, walltime: Walltime
) -> Iterator[TileTask]:
    """Tasks, until another run takes the folder over, or the time is over."""
    for task in tasks:
        if lease.lost.is_set():
            stop.ask(0.0)
            return
        if _is_late(walltime, stop):
            return
        yield task


def _is_late(walltime: Walltime, stop: Stop) -> bool:
    """Whether no further tile fits into the time; those in flight may take what is left of it."""
    if walltime.is_short() and not stop.asked:
        stop.ask(walltime.left())
    return walltime.was_short


def _record(
    outcome: Outcome[TileTask, dict[str, Any]],
    monitor: Monitor,
    plan: RunPlan,
    known: KnownVersions,
) -> None:
    """Count one tile's outcome; one that read a file in another version than others has failed."""
    key, error = outcome.task.key, outcome.error
    if outcome.result is not None:
        result = dict(outcome.result)
        files = result.pop("files")
        try:
            known.add(files)
        except ReadError as replaced:
            plan.folder.ledger.delete(key)
            known.keep_replaced(plan.folder, files)
            error = replaced
        else:
            monitor.done(result, outcome.attempts, outcome.worker)
            return
    monitor.failure(key, one_line(error) if error else "", outcome.attempts, outcome.worker)
