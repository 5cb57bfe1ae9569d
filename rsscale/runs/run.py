"""Run a recipe over all its tiles, and go on where a run stopped."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from rsscale.cluster.allocator import keep_memory
from rsscale.cluster.connection import TILES_AT_ONCE, connect
from rsscale.cluster.engine import (
    ClusterLostError,
    Outcome,
    Stop,
    TooManyFailuresError,
    describe,
    execute,
)
from rsscale.cluster.machine import Precision, machine_of
from rsscale.cluster.profile import NumericProfile
from rsscale.errors import RunFolderError, TilesFailedError
from rsscale.progress import progress
from rsscale.recipe import Recipe, read_recipe
from rsscale.runs.changes import write_change
from rsscale.runs.estimate import must_fit
from rsscale.runs.folder import RunFolder
from rsscale.runs.metrics import serve_metrics
from rsscale.runs.monitor import Monitor
from rsscale.runs.planning import RunPlan, TileTask, check_same, plan_run, prepare_plan
from rsscale.runs.summary import summary
from rsscale.runs.verification import unfinished
from rsscale.runs.worker import run_tile
from rsscale.store import zarr_store as store
from rsscale.store.lease import Lease, hold

if TYPE_CHECKING:
    from distributed import Client

# What a run finds damaged when it looks back is computed once more, and looked at again.
_PASSES = 3


@dataclass(frozen=True)
class Run:
    """A run folder, finished or not.

    Attributes
    ----------
    path : Path or str
        The folder; an address for one in a bucket.
    """

    path: str | Path

    @property
    def folder(self) -> RunFolder:
        """Its files."""
        return RunFolder.at(self.path)

    @property
    def state(self) -> dict[str, Any]:
        """The content of ``run.json``: state, tiles, pixels, seconds, stages, versions."""
        return self.folder.read_state()

    def open(self) -> xr.Dataset:
        """The map, lazy: dims ``(time, y, x)``, uint8, 255 where nothing was mapped."""
        return store.open_product(self.folder.product)

    def open_change(self) -> xr.Dataset:
        """The change between two periods, lazy; only for a recipe with ``change``."""
        return store.open_product(self.folder.change)

    def events(self) -> Iterator[dict[str, Any]]:
        """What happened, in order: the lines of ``events.jsonl``; the last may still be written."""
        return self.folder.read_events()

    def summary(self) -> str:
        """A few lines on the run, for people."""
        return summary(self.state, str(self.path))

    def __repr__(self) -> str:
        state = self.state
        tiles = state["tiles"]
        return f"Run({str(self.path)!r}, {state['state']}, {tiles['done']}/{tiles['total']} tiles)"


@dataclass(frozen=True)
class Watch:
    """How a run can be watched, and how it is told to end.

    Attributes
    ----------
    metrics_port : int, optional
        Serve Prometheus metrics there.
    heartbeat : Path, optional
        A file that is written anew every few seconds.
    grace_s : float
        After SIGTERM, how long tiles in flight may take before they are abandoned.
    """

    metrics_port: int | None = None
    heartbeat: Path | None = None
    grace_s: float = 25.0


def run(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    out: str | Path | None = None,
    client: Client | str | None = None,
    *,
    device: str = "auto",
    threads: int | None = None,
    precision: Precision = "float32",
    compile: bool = False,  # noqa: A002 -- torch's word
    overrides: Sequence[str] = (),
    search_at: Mapping[str, str] | None = None,
    update: bool = False,
    watch: Watch | None = None,
) -> Run:
    """Map everything that a recipe asks for.

    Parameters
    ----------
    recipe : path, mapping or Recipe
        See ``recipes/landcover.yaml``.
    out : path or address, optional
        The run folder; ``out/<name>`` when omitted, ``s3://bucket/prefix`` with the extra
        ``rsscale[buckets]``. If it holds a run of the same recipe, only what is missing or
        damaged is computed.
    client : distributed.Client or str, optional
        A Dask client, ``"local:2"`` or a scheduler's address; in this process when omitted.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    threads : int, optional
        Threads of torch and of reading in each process; when omitted all cores, or their share
        for ``"local:N"``. Part of the numeric profile, as are device, precision and compile: a
        resumed run keeps the ones it was planned with.
    precision : str
        ``"float32"`` or ``"bfloat16"`` (autocast).
    compile : bool
        Compile the network with torch.compile; its agreement with the plain one is reported.
    overrides : sequence of "key.sub=value"
    search_at : mapping of input name to str, optional
        Another address of an input's catalogue to search this time, such as a mirror; the
        run folder keeps the recipe's own.
    update : bool
        Where the folder was made from another recipe, model, area or item list: search anew and
        compute just the tiles whose inputs changed. Refused without it.
    watch : Watch, optional
        Metrics, heartbeat, and the time that SIGTERM leaves.

    Returns
    -------
    Run

    Raises
    ------
    RsscaleError
        When the recipe, model, catalogue or folder are wrong; nothing was written then.
    TilesFailedError
        When all the rest is done and some tiles failed; ``resume`` tries just those.
    KeyboardInterrupt
        After Ctrl-C or SIGTERM, once the tiles in flight are finished; ``resume`` goes on.
    """
    if not isinstance(recipe, Recipe):
        recipe = read_recipe(recipe, overrides)
    folder = RunFolder.at(out if out is not None else Path("out") / recipe.name)
    with _sigterm_interrupts(f"interrupted; run the same command again, or resume {folder.url}"):
        folder.check_usable()
        if client is None:
            keep_memory()
        planned = None
        if update or not folder.exists:
            machine = machine_of(client)
            profile = NumericProfile.on(
                machine, device, threads, precision=precision, compile=compile
            )
            planned = prepare_plan(recipe, profile, search_at), profile
            must_fit(*planned, machine.memory)
        else:
            _refuse_other(folder, check_same(recipe, folder))
        folder.make()
        with hold(folder.place) as lease:
            if planned is not None:
                plan_run(planned[0], folder, planned[1])
            return _work_off(folder, client, lease, watch or Watch(), out=out)


def resume(
    folder: str | Path, client: Client | str | None = None, *, watch: Watch | None = None
) -> Run:
    """Go on with a run: compute what is missing, failed or no longer what was written.

    Parameters
    ----------
    folder : path or address
        A run folder.
    client : distributed.Client or str, optional
        As for :func:`run`.
    watch : Watch, optional
        As for :func:`run`.
    """
    target = RunFolder.at(folder)
    target.read_state()
    if client is None:
        keep_memory()
    told = f"interrupted; go on with: rsscale resume {target.url}"
    with _sigterm_interrupts(told), hold(target.place) as lease:
        return _work_off(target, client, lease, watch or Watch(), out=folder)


def _refuse_other(folder: RunFolder, differs: list[str]) -> None:
    if differs:
        raise RunFolderError(
            f"{folder.url} was made from another recipe: {', '.join(differs)} differ; choose "
            "another --out, run the recipe.yaml in it, or recompute what changed with --update"
        )


def _work_off(
    folder: RunFolder, client: Client | str | None, lease: Lease, watch: Watch, out: Any
) -> Run:
    """Compute every tile that is not done, look back at all, and say how it went."""
    plan = RunPlan.read(folder)
    folder.place.sweep()
    total = folder.read_state()["tiles"]["total"]
    with ExitStack() as stack:
        stop = stack.enter_context(_stop_on_signals(watch.grace_s))
        metrics = stack.enter_context(serve_metrics(watch.metrics_port))
        dask_client = stack.enter_context(connect(client))
        bar = stack.enter_context(progress("map", total, "tiles"))
        monitor = Monitor(folder, bar, total, metrics, watch.heartbeat)
        monitor.event("started", epoch=lease.epoch, tiles=total)
        monitor.save({"state": "running", "failed": []})
        problem = _passes(plan, dask_client, lease, stop, monitor)
    if stop.asked or problem:  # not all were looked at
        monitor.totals.done = plan.folder.ledger.count()
    state = monitor.snapshot() | {"state": _ended(monitor, stop), "in_flight": 0}
    if state["state"] == "done":
        folder.place.sweep()  # of workers that died
        write_change(plan)
    monitor.event(state["state"], **state["tiles"])
    monitor.flush()
    monitor.save(state)
    _raise_unless_done(folder, state, problem)
    return Run(out if out is not None else folder.url)


def _passes(
    plan: RunPlan, client: Client | None, lease: Lease, stop: Stop, monitor: Monitor
) -> str:
    """Compute what is not done until a look back finds nothing; what stopped it, if anything."""
    for _ in range(_PASSES):
        monitor.look_back()
        computed = 0
        todo = unfinished(plan, found=monitor.found, skip=monitor.failed)
        work = partial(run_tile, plan.folder.url, plan.hash, lease.epoch)
        try:
            for outcome in execute(
                _while_held(todo, lease, stop),
                work,
                client=client,
                slots=TILES_AT_ONCE,
                stop=stop,
                on_tick=monitor.tick,
            ):
                computed += 1
                _record(plan, outcome, monitor)
        except (ClusterLostError, TooManyFailuresError) as error:
            return describe(error)
        if stop.asked or not computed:
            break
    return ""


def _while_held(tasks: Iterator[TileTask], lease: Lease, stop: Stop) -> Iterator[TileTask]:
    """Tasks, until another run takes the folder over."""
    for task in tasks:
        if lease.lost.is_set():
            stop.ask(0.0)
            return
        yield task


def _record(plan: RunPlan, outcome: Outcome[TileTask, dict[str, Any]], monitor: Monitor) -> None:
    """Tell one tile's outcome."""
    if outcome.result is not None:
        monitor.done(outcome.result, outcome.attempts, outcome.worker)
        return
    tile = plan.tile(outcome.task).id
    error = describe(outcome.error) if outcome.error else ""
    monitor.failure(outcome.task.period, tile, error, outcome.attempts, outcome.worker)


def _ended(monitor: Monitor, stop: Stop) -> str:
    if stop.asked:
        return "interrupted"
    return "done" if monitor.totals.done == monitor.total else "failed"


def _raise_unless_done(folder: RunFolder, state: dict[str, Any], problem: str) -> None:
    failed, tiles = state["failed"], state["tiles"]
    go_on = f"go on with: rsscale resume {folder.url}"
    if state["state"] == "interrupted":
        raise KeyboardInterrupt(
            f"interrupted with {tiles['done']} of {tiles['total']} tiles done; {go_on}"
        )
    if problem:
        raise TilesFailedError(
            f"{problem}; {tiles['done']} of {tiles['total']} tiles are done; {go_on}"
        )
    if failed:
        names = ", ".join(f"{f['period']}/{f['tile']}" for f in failed[:5])
        more = ", …" if len(failed) > 5 else ""
        raise TilesFailedError(
            f"{len(failed)} tiles failed ({names}{more}), {tiles['done']} of {tiles['total']} are "
            f"done; the first: {failed[0]['error']}; {go_on}"
        )
    if state["state"] != "done":
        raise TilesFailedError(
            f"only {tiles['done']} of {tiles['total']} tiles hold what was written; {go_on}"
        )


@contextmanager
def _sigterm_interrupts(told: str) -> Iterator[None]:
    """SIGTERM as Ctrl-C, where no tiles are in flight: while planning, and at the end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: Any) -> None:  # noqa: ARG001 -- as the signal module calls it
        raise KeyboardInterrupt(told)

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _stop_on_signals(grace_s: float) -> Iterator[Stop]:
    """Ctrl-C: finish what is in flight and stop; twice: at once. SIGTERM: within the grace."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, frame: Any) -> None:
        if number == signal.SIGTERM:
            stop.ask(grace_s)
        elif stop.asked:
            signal.default_int_handler(number, frame)
        else:
            stop.ask()

    before = {one: signal.signal(one, handle) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


__all__ = ["Run", "Watch", "resume", "run"]
