"""What a worker does for one tile: map it, make its shards durable, then say so in the ledger."""

from __future__ import annotations

import resource
import time
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from rsscale.errors import RunFolderError
from rsscale.pipeline.folder import RunFolder
from rsscale.pipeline.job import Job, Profile, open_job
from rsscale.pipeline.planning import RunPlan, TileTask
from rsscale.scale import store
from rsscale.scale.failpoints import failpoint
from rsscale.scale.ledger import Entry


def run_tile(path: str, plan_hash: str, task: TileTask) -> dict[str, Any]:
    """Map one tile of a run. Safe to run twice: the second run writes the same bytes.

    Parameters
    ----------
    path : str
        The run folder.
    plan_hash : str
        The plan that the task belongs to.
    task : TileTask

    Returns
    -------
    dict
        Small: what was done, how long each stage took, and the process's peak memory.

    Raises
    ------
    ReadError
        When an asset can't be read.
    RunFolderError
        When the run was planned anew, or the folder can't be written.
    """
    plan, job, profile = _open(path, plan_hash)
    profile.apply()
    tile = plan.tile(task)
    failpoint("tile-start", tile.id)
    mapped = job.map(task.period, tile.box, profile)
    started = time.perf_counter()
    digests = store.write_tile(
        plan.folder.product,
        plan.time_index(task),
        tile.box,
        plan.extent,
        mapped.layers,
        tile=tile.id,
    )
    failpoint("after-shards", tile.id)
    seconds = {**mapped.seconds, "write": time.perf_counter() - started}
    entry = Entry(
        period=task.period,
        tile=tile.id,
        plan=plan_hash,
        digests=digests,
        items=mapped.items,
        pixels=mapped.pixels,
        unseen=mapped.unseen,
        non_finite=mapped.non_finite,
        missing=mapped.missing,
        seconds={stage: round(value, 4) for stage, value in seconds.items()},
    )
    plan.folder.ledger.commit(entry)
    failpoint("after-ledger", tile.id)
    summary = asdict(entry)
    for large in ("items", "digests", "plan"):
        del summary[large]
    return summary | {"items": len(entry.items), "peak_rss_bytes": peak_rss()}


@lru_cache(maxsize=2)
def _open(path: str, plan_hash: str) -> tuple[RunPlan, Job, Profile]:
    """The plan and all that it names, opened once in a process."""
    folder = RunFolder(Path(path))
    plan = RunPlan.read(folder)
    if plan.hash != plan_hash:
        raise RunFolderError(
            f"{path} was planned anew while this task waited; its result is not wanted any more"
        )
    profile = folder.profile()
    job = open_job(plan.recipe, plan.area, folder.read_items(plan.recipe), profile)
    return plan, job, profile


def peak_rss() -> int:
    """Peak resident memory of this process in bytes; Linux counts it in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
