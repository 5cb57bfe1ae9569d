"""Run a recipe over all its tiles, go on where a run stopped, and let a run grow."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from rsscale.cluster.allocator import keep_memory
from rsscale.cluster.connection import Cluster, asked_first, is_array
from rsscale.cluster.machine import Machine, Precision, machine_of
from rsscale.cluster.profile import NumericProfile
from rsscale.cluster.request import chosen
from rsscale.cluster.signals import sigterm_interrupts
from rsscale.monitoring.ending import ENDED
from rsscale.monitoring.run_html import run_html
from rsscale.monitoring.run_options import RunOptions
from rsscale.monitoring.summary import remarks_on_constant, summary
from rsscale.monitoring.webhook import webhook_at_the_end
from rsscale.plans.plan import CUT_SHORT
from rsscale.progress.bars import announce
from rsscale.recipe import Recipe
from rsscale.recipe.given_model import reading
from rsscale.runs.loop import work_off
from rsscale.runs.sharing import refuse_by_value, share
from rsscale.steps.base import ByValue
from rsscale.steps.kinds import recipe_of
from rsscale.store.lease import acquire, dead_holder, latest_epoch
from rsscale.store.run_folder import RunFolder
from rsscale.store.run_state import check_layers

if TYPE_CHECKING:
    import geopandas as gpd
    import pyarrow as pa

    from rsscale.recipe.given_model import GivenModel

_log = logging.getLogger(__name__)


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
        """The content of ``run.json``: state, tiles, steps with facts and stages, versions."""
        return self.folder.read_state()

    def status(self) -> dict[str, Any]:
        """The state, with ``dead`` where the process that worked on the run is gone.

        ``dead`` has ``host`` and ``pid`` of that process, and ``go_on``, the command that goes on.
        """
        # The holder first: a run saves its last state before it lets go.
        holder, state = dead_holder(self.folder.storage), self.state
        if holder is None or state.get("state") in ENDED:
            return state
        go_on = f"rsscale resume {self.path}"
        if state.get("state") in CUT_SHORT:
            update = " --update" if state["state"] == "updating" else ""
            go_on = f"rsscale run RECIPE --out {self.path}{update}"
        return state | {"dead": {"host": holder.host, "pid": holder.pid, "go_on": go_on}}

    def open(self, step: str = "map", level: int = 0) -> xr.Dataset:
        """The layers of a step, lazy: dims ``(time, y, x)``; the map when no step is named.

        Parameters
        ----------
        step : str
        level : int
            Of overviews; 0 is the full resolution.

        Raises
        ------
        RunFolderError
            When the run has no such step.
        """
        from rsscale.store.zarr_store import open_product

        storage = self.folder.store(step)
        if not storage.exists("zarr.json"):
            check_layers(self.state, step, self.folder.url)
        return open_product(storage, str(level) if level else "")

    def open_change(self) -> xr.Dataset:
        """The change between two periods, lazy; only for a recipe with ``change``."""
        return self.open("change")

    def table(self, step: str) -> pa.Table:
        """The rows of a step: those that a gather folded, or of all its tiles.

        Raises
        ------
        RunFolderError
            When the run has no such step, or it is not done.
        """
        from rsscale.store.table_store import read_table

        return read_table(self.folder, step)

    def objects(
        self,
        step: str | None = None,
        span: str | int | None = None,
        bbox: Any = None,
        columns: Sequence[str] | None = None,
    ) -> gpd.GeoDataFrame:
        """The objects that a step has found, in memory: all, or those that touch a box in degrees.

        See :func:`rsscale.read_objects` for parameters and errors. ``step`` may be left out where
        only one holds objects; only the files that a box needs are read.
        """
        from rsscale.object_files.read_objects import read_objects

        return read_objects(self.folder, step, span=span, bbox=bbox, columns=columns)

    def object_tiles(
        self,
        step: str | None = None,
        span: str | int | None = None,
        columns: Sequence[str] | None = None,
    ) -> Iterator[gpd.GeoDataFrame]:
        """The objects of a step, a tile at a time, so that a country need not fit in memory."""
        from rsscale.object_files.read_objects import object_tiles

        return object_tiles(self.folder, step, span=span, columns=columns)

    def events(self) -> Iterator[dict[str, Any]]:
        """Events in order: the lines of ``events.jsonl``; the last may still be written."""
        return self.folder.read_events()

    def summary(self) -> str:
        """A few lines on the run, for people."""
        return summary(self.status(), str(self.path))

    def _repr_html_(self) -> str:
        return run_html(self.status(), str(self.path))

    def __repr__(self) -> str:
        state = self.state
        tiles = state["tiles"]
        remarks = [
            f", {line.partition(',')[0]}: see summary()"
            for line in remarks_on_constant(state.get("steps", {}))
        ]
        done = f"{tiles['done']}/{tiles['total']} tiles"
        return f"Run({str(self.path)!r}, {state['state']}, {done}{''.join(remarks)})"


def run(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    out: str | Path | None = None,
    client: Cluster = None,
    *,
    device: str = "auto",
    threads: int | None = None,
    precision: Precision = "float32",
    compile: bool = False,  # noqa: A002 -- torch's word
    overrides: Sequence[str] = (),
    trust: bool = False,
    search_at: Mapping[str, str] | None = None,
    update: bool = False,
    watch: RunOptions | None = None,
    model: GivenModel | Mapping[int, GivenModel] | None = None,
) -> Run:
    """Compute every step that a recipe asks for, over all its tiles.

    Parameters
    ----------
    recipe : path, mapping or Recipe
        See ``recipes/landcover.yaml``.
    out : path or address, optional
        The run folder; ``out/<name>`` when omitted, ``s3://bucket/prefix`` with the extra
        ``rsscale[buckets]``. If it holds a run of the same recipe, only what is missing or
        damaged is computed; where the recipe has more periods, area or steps, the run grows by
        them and what it had stays as it is.
    client : distributed.Client, str or mapping, optional
        A Dask client, ``"local:2"``, a scheduler's address, ``"array"`` for each of several
        processes that share the run, or another cluster of docs/clusters.md by its name or as a
        mapping; the recipe's ``cluster`` when omitted, and without one in this process.
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
    trust : bool
        Run models that are programs (``.pt2``), which may do anything; they are trusted as they
        lie now, by the digest of their files, which the recipe keeps as ``trust``.
    search_at : mapping of input name to str, optional
        Another address of an input's catalogue to search this time, such as a mirror; the
        run folder keeps the recipe's own.
    update : bool
        Where the folder was made from another recipe, model, algorithm or item list: search anew
        and compute just the tiles whose inputs changed. Refused without it.
    watch : RunOptions, optional
        Metrics, heartbeat, and the time that SIGTERM leaves.
    model : Model, ModelFolder, or mapping of period to those, optional
        In place of the recipe's ``model``: :meth:`rsscale.Model.of` makes one of any network or
        estimator. The run folder keeps it, saved as :func:`rsscale.save_model` does, so that
        ``resume`` and workers have it.

    Returns
    -------
    Run

    Raises
    ------
    RsscaleError
        When the recipe, model, catalogue or folder are wrong; nothing was written then.
    TilesFailedError
        When all the rest is done and some tiles failed; ``resume`` tries just those.
    MoreToDoError
        When the time of this process was over before the run was done.
    KeyboardInterrupt
        After Ctrl-C or SIGTERM, once the tiles in flight are finished; ``resume`` goes on.
    """
    posted = webhook_at_the_end(watch.webhook if watch else None)
    with posted as ending, reading(recipe, overrides, model) as given:
        read = recipe_of(given, (), trust=trust)
        out = out if out is not None else Path("out") / read.name
        ending.folder = RunFolder.at(out)
        return carry_out(
            read,
            out,
            chosen(read.cluster, client),
            lambda machine: NumericProfile.on(
                machine, device, threads, precision=precision, compile=compile
            ),
            search_at=search_at,
            update=update,
            watch=watch,
        )


def carry_out(
    recipe: Recipe,
    out: str | Path,
    client: Cluster,
    profile: Callable[[Machine], NumericProfile],
    *,
    search_at: Mapping[str, str] | None = None,
    update: bool = False,
    watch: RunOptions | None = None,
    by_value: ByValue | None = None,
) -> Run:
    """Plan a run, or what is new of it, and compute what is not done.

    Parameters
    ----------
    recipe : Recipe
    out : path or address
    client, search_at, update, watch
        As for :func:`run`.
    profile : callable
        Gives the numeric profile of a new plan for what the cluster has.
    by_value : ByValue, optional
        What one step lacks that the run folder can't hold.
    """
    from rsscale.runs.changes import Prepared, prepare

    folder, watch = RunFolder.at(out), watch or RunOptions()
    message = f"interrupted; run the same command again, or resume {folder.url}"
    with sigterm_interrupts(message), ExitStack() as stack:
        folder.check_usable()
        client = stack.enter_context(asked_first(client))
        if client is None or is_array(client):
            keep_memory()
        machine = machine_of(client)

        def prepared_now() -> Prepared:
            return prepare(
                recipe,
                folder,
                lambda: profile(machine),
                search_at,
                update=update,
                memory=machine.memory,
            )

        if is_array(client):
            refuse_by_value(by_value)
            share(folder, work_off, watch, recipe=recipe, plan=prepared_now, update=update)
            return Run(out)
        epoch = latest_epoch(folder.storage)
        prepared = prepared_now()
        to_come = prepared.changes() if update and folder.exists else None
        for line in to_come.lines() if to_come else ():
            announce(line)
        folder.make()
        with acquire(folder.storage) as lease:
            if lease.epoch != epoch + 1:  # another run was here while this one was checked
                prepared = prepared_now()
            prepared.write()
            if to_come:
                folder.write_state(folder.read_state() | {"changes": to_come.to_dict()})
            work_off(folder, client, lease, watch, by_value=by_value)
            return _with_warnings(Run(out))


def resume(folder: str | Path, client: Cluster = None, *, watch: RunOptions | None = None) -> Run:
    """Go on with a run: compute what is missing, failed or no longer what was written.

    Parameters
    ----------
    folder : path or address
        A run folder.
    client : distributed.Client, str or mapping, optional
        As for :func:`run`.
    watch : RunOptions, optional
        As for :func:`run`.

    Returns
    -------
    Run

    Raises
    ------
    RunFolderError
        When it is no run folder, another process works on it, or a file that it is made from is
        lost.
    TilesFailedError, MoreToDoError, KeyboardInterrupt
        As for :func:`run`.
    """
    target, watch = RunFolder.at(folder), watch or RunOptions()
    target.read_state()
    if client is None or is_array(client):
        keep_memory()
    message = f"interrupted; go on with: rsscale resume {target.url}"
    with webhook_at_the_end(watch.webhook, target), sigterm_interrupts(message):
        if is_array(client):
            share(target, work_off, watch)
            return Run(folder)
        with acquire(target.storage) as lease:
            work_off(target, client, lease, watch)
            return _with_warnings(Run(folder))


def _with_warnings(run: Run) -> Run:
    """The run, whose pixels that may be fill are logged: who calls from Python reads no summary."""
    for line in remarks_on_constant(run.state.get("steps", {})):
        _log.warning("%s", line)
    return run


__all__ = ["Run", "RunOptions", "carry_out", "resume", "run"]
