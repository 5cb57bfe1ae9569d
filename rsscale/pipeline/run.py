"""Run a recipe over all its tiles, and go on where a run stopped."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from rsscale.errors import TilesFailed
from rsscale.pipeline.changes import write_change
from rsscale.pipeline.folder import RunFolder
from rsscale.pipeline.job import Profile
from rsscale.pipeline.planning import RunPlan, TileTask, plan_run
from rsscale.pipeline.worker import peak_rss, run_tile
from rsscale.progress import progress
from rsscale.recipe import Recipe, read_recipe
from rsscale.scale import store
from rsscale.scale.cluster import connect
from rsscale.scale.engine import Outcome, execute

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True)
class Run:
    """A run folder, finished or not.

    Attributes
    ----------
    path : Path
        The folder.
    """

    path: Path

    @property
    def state(self) -> dict[str, Any]:
        """The content of ``run.json``: state, tiles, pixels, seconds, stages, versions."""
        return RunFolder(self.path).read_state()

    def open(self) -> xr.Dataset:
        """The map, lazy: dims ``(time, y, x)``, uint8, 255 where nothing was mapped."""
        return store.open_product(RunFolder(self.path).product)

    def open_change(self) -> xr.Dataset:
        """The change between two periods, lazy; only for a recipe with ``change``."""
        return store.open_product(RunFolder(self.path).change)

    def __repr__(self) -> str:
        state = self.state
        tiles = state["tiles"]
        return f"Run({str(self.path)!r}, {state['state']}, {tiles['done']}/{tiles['total']} tiles)"


def run(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    out: str | Path | None = None,
    client: Client | str | None = None,
    *,
    device: str = "auto",
    threads: int | None = None,
    overrides: Sequence[str] = (),
    search_at: Mapping[str, str] | None = None,
) -> Run:
    """Map everything that a recipe asks for.

    Parameters
    ----------
    recipe : path, mapping or Recipe
        See ``recipes/landcover.yaml``.
    out : path, optional
        The run folder; ``out/<name>`` when omitted. If it holds a run of the same recipe,
        only what is missing or damaged is computed.
    client : distributed.Client or str, optional
        A Dask client, ``"local:2"`` or a scheduler's address; in this process when omitted.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    threads : int, optional
        Threads of torch and of reading in each process; all cores when omitted. Part of the
        numeric profile, as is the device: a resumed run keeps the ones it was planned with.
    overrides : sequence of "key.sub=value"
    search_at : mapping of input name to str, optional
        Another address of an input's catalogue to search this time, such as a mirror; the
        run folder keeps the recipe's own.

    Returns
    -------
    Run

    Raises
    ------
    RsscaleError
        When the recipe, model, catalogue or folder are wrong; nothing was written then.
    TilesFailed
        When all the rest is done and some tiles failed; ``resume`` tries just those.
    KeyboardInterrupt
        After Ctrl-C, once the tiles in flight are finished; ``resume`` goes on.
    """
    if not isinstance(recipe, Recipe):
        recipe = read_recipe(recipe, overrides)
    folder = RunFolder(Path(out) if out is not None else Path("out") / recipe.name)
    plan_run(recipe, folder, Profile.here(device, threads), search_at)
    return _work_off(folder, client)


def resume(folder: str | Path, client: Client | str | None = None) -> Run:
    """Go on with a run: compute what is missing, failed or no longer what was written.

    Parameters
    ----------
    folder : path
        A run folder.
    client : distributed.Client or str, optional
        As for :func:`run`.
    """
    target = RunFolder(Path(folder))
    target.read_state()
    recipe, _ = target.read_recipe()
    plan_run(recipe, target, target.profile())
    return _work_off(target, client)


def _work_off(folder: RunFolder, client: Client | str | None) -> Run:
    """Compute every tile that is not done, then the change, then say how it went."""
    started = time.monotonic()
    plan = RunPlan.read(folder)
    todo = [task for task in plan.tasks() if not plan.is_done(task)]
    state = folder.read_state() | {"state": "running", "failed": []}
    folder.write_state(state)
    folder.event("started", todo=len(todo))
    with (
        connect(client) as dask_client,
        _stop_on_interrupt() as stop,
        progress("map", state["tiles"]["total"], "tiles") as bar,
    ):
        bar.advance(state["tiles"]["total"] - len(todo))
        work = partial(run_tile, str(folder.path.absolute()), plan.hash)
        for outcome in execute(todo, work, client=dask_client, stop=stop):
            _record(plan, outcome, state)
            bar.advance()
    state["seconds"] = round(state.get("seconds", 0.0) + time.monotonic() - started, 3)
    state |= _totals(plan, state["tiles"]["total"], stopped=stop.is_set())
    if state["state"] == "done":
        write_change(plan)
    folder.write_state(state)
    folder.event(state["state"], **state["tiles"])
    _raise_unless_done(folder, state)
    return Run(folder.path)


def _record(
    plan: RunPlan, outcome: Outcome[TileTask, dict[str, Any]], state: dict[str, Any]
) -> None:
    """Write one tile's outcome to the events, and what concerns the whole run to its state."""
    if outcome.result is not None:
        plan.folder.event("tile", **outcome.result)
        peak = max(outcome.result["peak_rss_bytes"], peak_rss())
        state["peak_rss_bytes"] = max(peak, state.get("peak_rss_bytes", 0))
        return
    failure = {
        "period": outcome.task.period,
        "tile": plan.tile(outcome.task).id,
        "error": " ".join(str(outcome.error).split()) or type(outcome.error).__name__,
    }
    plan.folder.event("tile-failed", **failure)
    state["failed"].append(failure)


def _totals(plan: RunPlan, total: int, *, stopped: bool) -> dict[str, Any]:
    """What ``run.json`` says of a run that has ended, counted from the ledger."""
    entries = [entry for entry in plan.folder.ledger.entries() if entry.plan == plan.hash]
    stages = sorted({stage for entry in entries for stage in entry.seconds})
    done = len(entries)
    ended = "done" if done == total else "interrupted" if stopped else "failed"
    return {
        "state": ended,
        "tiles": {"total": total, "done": done, "failed": 0 if stopped else total - done},
        "pixels": sum(entry.pixels for entry in entries),
        "unseen": sum(entry.unseen for entry in entries),
        "non_finite": sum(entry.non_finite for entry in entries),
        "missing": sum(len(entry.missing) for entry in entries),
        "stages": {s: round(sum(e.seconds.get(s, 0.0) for e in entries), 3) for s in stages},
    }


def _raise_unless_done(folder: RunFolder, state: dict[str, Any]) -> None:
    failed, tiles = state["failed"], state["tiles"]
    go_on = f"go on with: rsscale resume {folder.path}"
    if failed:
        names = ", ".join(f"{f['period']}/{f['tile']}" for f in failed[:5])
        more = ", …" if len(failed) > 5 else ""
        raise TilesFailed(
            f"{len(failed)} tiles failed ({names}{more}), {tiles['done']} of {tiles['total']} are "
            f"done; the first: {failed[0]['error']}; {go_on}"
        )
    if state["state"] != "done":
        raise KeyboardInterrupt(
            f"interrupted with {tiles['done']} of {tiles['total']} tiles done; {go_on}"
        )


@contextmanager
def _stop_on_interrupt() -> Iterator[threading.Event]:
    """Ctrl-C once: finish what is in flight and stop. Twice: stop at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, frame: Any) -> None:
        if stop.is_set():
            signal.default_int_handler(number, frame)
        stop.set()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
