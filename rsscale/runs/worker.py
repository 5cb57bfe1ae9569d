"""Compute one tile on a worker: evaluate, store durably, then enter it in the ledger."""

from __future__ import annotations

import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from rsscale.cluster.allocator import trim
from rsscale.cluster.machine import Machine
from rsscale.cluster.versions import refuse_other_versions
from rsscale.errors import ModelError, RsscaleError, RunFolderError, SupersededError
from rsscale.memory import peak_rss
from rsscale.plans.plan import RunPlan, TileTask
from rsscale.steps.base import ByValue, Gather, Pass, Resources
from rsscale.steps.evaluate import MISTAKES, evaluate, failure_of
from rsscale.store import lease
from rsscale.store.failpoints import failpoint
from rsscale.store.ledger import Entry
from rsscale.store.run_folder import RunFolder

_opened: dict[tuple[str, str], RunPlan] = {}
_opening = threading.Lock()


def run_tile(
    url: str,
    plan_hash: str,
    epoch: int,
    task: TileTask,
    *,
    by_value: ByValue | None = None,
    versions: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Compute one tile of a run. Safe to run twice: the second run writes the same bytes.

    Parameters
    ----------
    url : str
        The run folder.
    plan_hash : str
        The plan that the task belongs to.
    epoch : int
        Of the run that asks; once a newer one works on the folder, nothing is written.
    task : TileTask
    by_value : ByValue, optional
        What the step lacks that the run folder can't hold.
    versions : mapping of package to version, optional
        Of the process that asks; this one must have the same.

    Returns
    -------
    dict
        The summary of the ledger entry, the versions of the files that were read, and the
        process's peak memory.

    Raises
    ------
    ReadError
        When an asset can't be read.
    SupersededError
        When a newer run works on the folder.
    RunFolderError
        When this process has other versions of the packages that decide values.
    StorageError
        When the folder can't be written.
    """
    if versions is not None:
        refuse_other_versions(versions)
    plan = _open(url, plan_hash)
    plan.profile.apply()
    key = task.key
    failpoint("tile-start", key.tile)
    known = plan.folder.ledger.read(key)
    if known is not None and (known.epoch, known.fingerprint) == (epoch, task.fingerprint):
        # Done a moment ago by a worker that died before it could say so.
        return _entry_summary(known)

    def still_wanted() -> None:
        if lease.is_superseded(plan.folder.storage, epoch):
            raise SupersededError(
                f"a newer run works on {url}; what this one made of tile {key} is dropped"
            )

    step = plan.step(key.step)
    if by_value is not None:
        step = by_value.complete(step)
    if isinstance(step, Gather):
        entry = _gather(plan, step, task, still_wanted)
    else:
        entry = _compute(plan, step, task, still_wanted)
    entry = replace(entry, epoch=epoch)
    failpoint("after-shards", key.tile)
    still_wanted()
    plan.folder.ledger.commit(entry)
    failpoint("after-ledger", key.tile)
    return _entry_summary(entry)


def check_here(url: str, plan_hash: str, versions: Mapping[str, str], by_value: str = "") -> None:
    """Refuse what could only fail on the tiles of a run that this process is given.

    Parameters
    ----------
    url : str
        The run folder, as this process sees it.
    plan_hash : str
        Of the plan that lies there.
    versions : mapping of package to version
        Of the process that asks; this one must have the same.
    by_value : str
        Name of a step that is completed by value.

    Raises
    ------
    RsscaleError
        When packages differ, the folder is not that of the run or can't be written, the device is
        not there, or a model can't be opened.
    """
    refuse_other_versions(versions)
    plan = _open(url, plan_hash)
    plan.refuse_lost_files()
    mark = f"lease/check-{uuid.uuid4().hex}"
    plan.folder.storage.write(mark, b"")
    plan.folder.storage.delete(mark)
    device = plan.profile.device
    if device not in Machine.here().devices:
        raise ModelError(f"the run computes on {device!r}, and torch sees none on this machine")
    for step in plan.steps:
        if isinstance(step, Pass) and step.step != by_value:
            step.ready()
            step.check(plan.profile)


def _entry_summary(entry: Entry) -> dict[str, Any]:
    return entry.summary() | {"files": entry.files, "peak_rss_bytes": peak_rss()}


def _compute(plan: RunPlan, step: Pass, task: TileTask, still_wanted: Callable[[], None]) -> Entry:
    """Evaluate a pass for one tile and store its result."""
    key = task.key
    resources = Resources(plan.profile)
    grid = plan.grid.at_level(key.level)
    with released_afterwards():
        evaluated = evaluate(
            step,
            key,
            plan.tile(key).box,
            grid=grid,
            shape=plan.setup.shape,
            resources=resources,
        )
    result = evaluated.result
    started = time.perf_counter()
    digests: dict[str, str] = {}
    layers, rows = plan.layers_of(step, key.level), plan.rows_of(step)
    if layers and result.layers is not None:
        digests |= layers.write(key, result.layers, before_write=still_wanted)
    if rows and result.table is not None:
        digests |= rows.write(key, result.table, before_write=still_wanted)
    seconds = {**evaluated.seconds, "write": time.perf_counter() - started}
    inputs = (n for source in step.sources.values() for n in source.inputs(evaluated.around, key))
    return Entry(
        key=key,
        fingerprint=task.fingerprint,
        digests=digests,
        inputs=tuple(dict.fromkeys(inputs)),
        unreadable=tuple(sorted(resources.unreadable.values())),
        facts={
            "pixels": evaluated.pixels,
            "decoded_bytes": resources.meter.decoded_bytes,
            "unreadable": len(resources.unreadable),
            **resources.constant.facts(),
            **{name: value for name, value in result.facts.items() if value is not None},
        },
        seconds={stage: round(value, 4) for stage, value in seconds.items()},
        files=resources.meter.files.by_item,
    )


def _gather(plan: RunPlan, step: Gather, task: TileTask, still_wanted: Callable[[], None]) -> Entry:
    """Fold the tables of all tiles of a pass."""
    source = plan.step(step.of)
    parts = plan.rows_of(source)
    rows = plan.rows_of(step)
    if parts is None or rows is None or isinstance(source, Gather):
        raise RsscaleError(f"{step.step} folds the rows of {step.of!r}, which writes none")
    started = time.perf_counter()
    keys = [key for level in source.levels() for key in plan.keys(source, level)]
    try:
        table = step.fold((key, parts.read(key)) for key in keys)
    except MISTAKES as error:
        raise failure_of(step, error) from error
    folding = time.perf_counter() - started
    digests = rows.write(task.key, table, before_write=still_wanted)
    return Entry(
        key=task.key,
        fingerprint=task.fingerprint,
        digests=digests,
        inputs=(step.of,),
        facts={"rows": table.num_rows},
        seconds={"fold": round(folding, 4)},
    )


@contextmanager
def released_afterwards() -> Iterator[None]:
    """On exit, close files that this tile did not use and return freed heap memory.

    An open file holds a block or two, and a country has tens of thousands of files.
    """
    began = time.monotonic()
    try:
        yield
    except BaseException as error:
        _empty_frames(error)
        raise
    finally:
        _close_files(began)
        trim()


def _close_files(since: float) -> None:
    import sys

    pool = sys.modules.get("rsscale.read.file_pool")  # not there where no raster was read
    if pool is not None:
        pool.POOL.close(since=since)


def _empty_frames(error: BaseException | None) -> None:
    """Clear the frames of an error's traceback, which hold composites and decoded pixels.

    Dask leaves a cycle of an error and its frames, which stays until Python looks for cycles.
    """
    emptied: set[int] = set()
    while error is not None and id(error) not in emptied:  # causes may go round
        traceback.clear_frames(error.__traceback__)
        emptied.add(id(error))
        error = error.__cause__ or error.__context__


def _open(url: str, plan_hash: str) -> RunPlan:
    """The plan, opened once in a process; an older one is dropped."""
    with _opening:
        key = url, plan_hash
        if key not in _opened:
            plan = RunPlan.read(RunFolder.at(url))
            if plan.hash != plan_hash:
                raise RunFolderError(
                    f"{url} was planned anew while this task waited; its result is not wanted"
                )
            _opened.clear()
            _opened[key] = plan
        return _opened[key]
