"""What a worker does for one tile: map it, make its shards durable, then say so in the ledger."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rsscale.cluster.allocator import trim
from rsscale.cluster.profile import NumericProfile
from rsscale.errors import RunFolderError, SupersededError
from rsscale.learn.models import Model, open_frozen
from rsscale.passes.job import Job, open_job
from rsscale.passes.mapping import MappedTile
from rsscale.read.file_pool import POOL
from rsscale.runs.folder import RunFolder
from rsscale.runs.planning import RunPlan, TileTask
from rsscale.store import lease
from rsscale.store import zarr_store as store
from rsscale.store.failpoints import failpoint
from rsscale.store.ledger import Entry

_opened: dict[tuple[str, str], tuple[RunPlan, Job, NumericProfile]] = {}
_opening = threading.Lock()
_compared: set[tuple[str, int]] = set()


def run_tile(url: str, plan_hash: str, epoch: int, task: TileTask) -> dict[str, Any]:
    """Map one tile of a run. Safe to run twice: the second run writes the same bytes.

    Parameters
    ----------
    url : str
        The run folder.
    plan_hash : str
        The plan that the task belongs to.
    epoch : int
        Of the run that asks; once a newer one works on the folder, nothing is written.
    task : TileTask

    Returns
    -------
    dict
        Small: what was done, how long each stage took, and the process's peak memory.

    Raises
    ------
    ReadError
        When an asset can't be read.
    SupersededError
        When a newer run works on the folder.
    StorageError
        When the folder can't be written.
    """
    plan, job, profile = _open(url, plan_hash)
    profile.apply()
    tile = plan.tile(task)
    failpoint("tile-start", tile.id)
    known = plan.folder.ledger.read(task.period, tile.id)
    if known is not None and (known.epoch, known.fingerprint) == (epoch, task.fingerprint):
        # Done a moment ago by a worker that died before it could say so.
        return summary(known) | {"peak_rss_bytes": peak_rss()}
    with _let_go():
        plain = _plain_once(plan, profile, task.period)
        mapped = job.map(task.period, tile.box, profile, plain=plain)
    started = time.perf_counter()

    def still_wanted() -> None:
        if lease.is_superseded(plan.folder.place, epoch):
            raise SupersededError(
                f"a newer run works on {url}; what this one made of tile {tile.id} is dropped"
            )

    digests = store.write_tile(
        plan.folder.product,
        plan.time_index(task),
        tile.box,
        plan.extent,
        mapped.layers,
        before_write=still_wanted,
    )
    seconds = {**mapped.seconds, "write": time.perf_counter() - started}
    entry = _entry(task, tile.id, mapped, digests, seconds=seconds, epoch=epoch)
    failpoint("after-shards", tile.id)
    still_wanted()
    plan.folder.ledger.commit(entry)
    failpoint("after-ledger", tile.id)
    return summary(entry) | {"peak_rss_bytes": peak_rss()}


@contextmanager
def _let_go() -> Iterator[None]:
    """Afterwards, give back what was held for earlier tiles.

    An open file holds a block or two, and a country has tens of thousands of files.
    """
    began = time.monotonic()
    try:
        yield
    except BaseException as error:
        _empty_frames(error)
        raise
    finally:
        POOL.close(since=began)
        trim()


def _empty_frames(error: BaseException | None) -> None:
    """Let go of what the functions held that an error came through: composites, decoded looks.

    Dask leaves a cycle of an error and its frames, which stays until Python looks for cycles.
    """
    emptied: set[int] = set()
    while error is not None and id(error) not in emptied:  # causes may go round
        traceback.clear_frames(error.__traceback__)
        emptied.add(id(error))
        error = error.__cause__ or error.__context__


def _entry(
    task: TileTask,
    tile: str,
    mapped: MappedTile,
    digests: Mapping[str, str],
    *,
    seconds: Mapping[str, float],
    epoch: int,
) -> Entry:
    return Entry(
        period=task.period,
        tile=tile,
        fingerprint=task.fingerprint,
        digests=digests,
        items=mapped.items,
        pixels=mapped.pixels,
        unseen=mapped.unseen,
        non_finite=mapped.non_finite,
        missing=mapped.missing,
        seams=asdict(mapped.seams),
        seconds={stage: round(value, 4) for stage, value in seconds.items()},
        decoded_bytes=mapped.decoded_bytes,
        batch=mapped.batch,
        agreement=mapped.agreement,
        epoch=epoch,
    )


def _plain_once(plan: RunPlan, profile: NumericProfile, period: int) -> Model | None:
    """The model as it lies on disk, for the first tile of a process whose own computes faster."""
    key = plan.hash, period
    if profile.is_plain or key in _compared:
        return None
    _compared.add(key)
    return open_frozen(plan.folder.model_path(plan.models[period]), device=profile.device)


def summary(entry: Entry) -> dict[str, Any]:
    """An entry without what is long."""
    told = asdict(entry)
    for long in ("digests", "fingerprint"):
        del told[long]
    return told | {"items": len(entry.items)}


def _open(url: str, plan_hash: str) -> tuple[RunPlan, Job, NumericProfile]:
    """The plan and all that it names, opened once in a process; an older plan is let go."""
    with _opening:
        key = url, plan_hash
        if key not in _opened:
            folder = RunFolder.at(url)
            plan = RunPlan.read(folder)
            if plan.hash != plan_hash:
                raise RunFolderError(
                    f"{url} was planned anew while this task waited; its result is not wanted"
                )
            profile = folder.profile()
            paths = {period: folder.model_path(digest) for period, digest in plan.models.items()}
            job = open_job(plan.recipe, plan.area, plan.sources, profile, paths)
            _opened.clear()
            _opened[key] = plan, job, profile
        return _opened[key]


def peak_rss() -> int:
    """Peak resident memory of this process so far, in bytes."""
    # getrusage would begin with what the process that started this one had.
    try:
        status = Path("/proc/self/status").read_text("ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
