"""Estimate what a run will take before it starts, by a pilot if asked for."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scipy.special import stdtrit

from rsscale.cluster.connection import TILES_AT_ONCE, connect
from rsscale.cluster.engine import execute, one_line
from rsscale.cluster.machine import machine_of
from rsscale.cluster.profile import NumericProfile
from rsscale.errors import TilesFailedError
from rsscale.monitoring.totals import in_order
from rsscale.pipeline.estimate_table import Plan, Prices
from rsscale.progress import progress
from rsscale.recipe import Recipe, read_recipe
from rsscale.runs.plan import RunPlan
from rsscale.runs.planning import (
    CheckedPlan,
    as_geojson,
    check_plan,
    create_stores,
    write_plan,
)
from rsscale.runs.tile_costs import estimate_steps, spread_tiles
from rsscale.runs.worker import run_tile
from rsscale.steps.kinds import with_trust
from rsscale.store.lease import acquire
from rsscale.store.ledger import write_json
from rsscale.store.run_folder import RunFolder

if TYPE_CHECKING:
    from distributed import Client


def plan(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    client: Client | str | None = None,
    device: str = "auto",
    threads: int | None = None,
    overrides: Sequence[str] = (),
    trust: bool = False,
    pilot: int = 0,
    prices: Prices | None = None,
    memory: int | None = None,
) -> Plan:
    """Estimate what a run will take, and refuse what can't work; nothing stays on the disk.

    Parameters
    ----------
    recipe : path, mapping or Recipe
    client, device, threads
        As for :func:`rsscale.run`. A pilot on a cluster of several machines needs a temporary
        folder that all of them see.
    overrides : sequence of "key.sub=value"
    trust : bool
        Run models that are programs (``.pt2``), which may do anything; they are trusted as they
        lie now, by the digest of their files, which the recipe keeps as ``trust``.
    pilot : int
        Compute so many tiles of the first step, evenly spread, and estimate the time from them;
        one more is computed before, to warm up.
    prices : Prices, optional
    memory : int, optional
        Bytes that one process may take; this machine's, shared, when omitted.

    Raises
    ------
    RsscaleError
        When the run can't work: see :mod:`rsscale.errors`.
    TilesFailedError
        When a tile of the pilot fails.
    """
    if not isinstance(recipe, Recipe):
        recipe = read_recipe(recipe, overrides)
    if trust:
        recipe = with_trust(recipe)
    machine = machine_of(client)
    profile = NumericProfile.on(machine, device, threads)
    with tempfile.TemporaryDirectory(prefix="rsscale-pilot-") as scratch:
        checked = check_plan(recipe, RunFolder.at(Path(scratch) / "run"), profile)
        untimed = Plan(
            name=recipe.name,
            tile=checked.setup.grid.tile,
            items={name: len(index) for name, index in checked.indexes.items()},
            steps=tuple(estimate_steps(checked, profile, memory or machine.memory)),
            left_out=checked.left_out,
        )
        if not pilot:
            return untimed
        pilot_of = _pilot(checked, profile, client, pilot)
    return _timed(untimed, *pilot_of, prices=prices)


def _pilot(
    checked: CheckedPlan, profile: NumericProfile, client: Client | str | None, count: int
) -> tuple[list[dict[str, Any]], float, int, int]:
    """Compute some tiles of the first step for real, by the run's own engine.

    Returns the tiles' summaries, the seconds that all slots had, how many slots, and processes. The
    first tile opens the model and warms up: it is one more, and does not count.
    """
    results = []
    with connect(client) as dask_client, progress("pilot", count + 1, "tiles") as bar:
        folder = checked.setup.run
        folder.make()
        create_stores(checked)
        write_json(folder.storage, "areas/0.geojson", as_geojson(checked.setup.area))
        write_plan(
            checked,
            profile,
            [{"periods": list(checked.setup.periods()), "area": "areas/0.geojson"}],
        )
        plan = RunPlan.read(folder)
        tasks = [plan.task(key) for key in spread_tiles(plan, checked.passes[0], count + 1)]
        slots, workers = _size(dask_client)
        with acquire(folder.storage) as lease:
            work = partial(run_tile, folder.url, plan.hash, lease.epoch)
            started = time.perf_counter()
            for outcome in execute(tasks[:1], work, client=dask_client, slots=1):
                results.append(_result(outcome))
                bar.advance()
            if tasks[1:]:  # else there is this one only
                results.clear()
                started = time.perf_counter()
            for outcome in execute(tasks[1:], work, client=dask_client, slots=slots):
                results.append(_result(outcome))
                bar.advance()
            wall = time.perf_counter() - started
    return results, wall * min(slots, len(results)), min(slots, len(results)), workers


def _size(client: Client | None) -> tuple[int, int]:
    """Tiles at once, and processes."""
    if client is None:
        return TILES_AT_ONCE, 1
    threads = client.nthreads()
    return sum(threads.values()), len(threads)


def _timed(
    untimed: Plan,
    results: Sequence[Mapping[str, Any]],
    offered: float,
    slots: int,
    workers: int,
    *,
    prices: Prices | None,
) -> Plan:
    """A plan with time and money, from the tiles of a pilot.

    ``offered`` = wall time x slots. The ratio offered / sum(tile seconds) corrects the per-tile
    mean for contention between concurrent tiles.
    """
    seconds = [sum(result["seconds"].values()) for result in results]
    mean = statistics.fmean(seconds)
    spread = statistics.stdev(seconds) if len(seconds) > 1 else mean
    freedom = max(len(seconds) - 1, 1)
    margin = float(stdtrit(freedom, 0.975)) * spread / len(seconds) ** 0.5
    scale = untimed.steps[0].tiles * offered / max(sum(seconds), 1e-9) / slots
    interval = (mean * scale, max(mean - margin, min(seconds)) * scale, (mean + margin) * scale)
    stages = Counter[str]()
    for result in results:
        stages.update(result["seconds"])
    summary = {
        "tiles": len(results),
        "peak_rss_bytes": max(result["peak_rss_bytes"] for result in results),
        "stages": in_order(stages),
    }
    money = None if prices is None else prices.of(interval, workers, untimed)
    return replace(untimed, seconds=interval, money=money, pilot=summary)


def _result(outcome: Any) -> dict[str, Any]:
    if outcome.error is not None:
        raise TilesFailedError(f"a tile of the pilot failed: {one_line(outcome.error)}")
    result: dict[str, Any] = outcome.result
    return result
