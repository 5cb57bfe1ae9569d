"""Estimate what a run will take before it starts, by a pilot if asked for."""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scipy.special import stdtrit

from rsscale.cluster.connection import TILES_AT_ONCE, Cluster, connect
from rsscale.cluster.engine import execute, one_line
from rsscale.cluster.machine import machine_of
from rsscale.cluster.profile import NumericProfile
from rsscale.cluster.request import ARRAY, ClusterRequest, chosen, parse_request
from rsscale.errors import TilesFailedError
from rsscale.geo.area import as_geojson
from rsscale.inference.constant_pixels import constant_lines, fold_constant
from rsscale.model.map_layers import LAYERS_OF_TRAINING
from rsscale.monitoring.totals import in_order
from rsscale.pipeline.estimate_table import Plan, Prices
from rsscale.plans.plan import RunPlan
from rsscale.plans.planning import (
    CheckedPlan,
    check_plan,
    create_stores,
    write_plan,
)
from rsscale.plans.tile_costs import estimate_steps, spread_tiles
from rsscale.progress.bars import progress
from rsscale.recipe import Recipe
from rsscale.recipe.given_model import reading
from rsscale.runs.worker import run_tile
from rsscale.steps.kinds import check_recipe_steps, recipe_of
from rsscale.store.lease import acquire
from rsscale.store.ledger import write_json
from rsscale.store.run_folder import RunFolder

if TYPE_CHECKING:
    from distributed import Client

    from rsscale.recipe.given_model import GivenModel

# Share by which the same work takes longer or shorter at another time.
_DRIFT = 0.25
# What is thought of tiles before any is seen: their times spread by this share of their mean, which
# counts as much as so many tiles. One tile tells nothing of a spread, and two tell little.
_SPREAD, _SPREAD_TILES = 0.3, 3


def plan(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    client: Cluster = None,
    device: str = "auto",
    threads: int | None = None,
    overrides: Sequence[str] = (),
    trust: bool = False,
    pilot: int = 0,
    prices: Prices | None = None,
    memory: int | None = None,
    model: GivenModel | Mapping[int, GivenModel] | None = None,
) -> Plan:
    """Estimate what a run will take, and refuse what can't work; nothing stays on the disk.

    The headers of at most eight files are read, to see how their blocks are compressed. The model
    need not be trained yet: an untrained one stands for it, and a note says so.

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
    model : Model, ModelFolder, or mapping of period to those, optional
        In place of the recipe's ``model``; as for :func:`rsscale.run`.

    Returns
    -------
    Plan
        Tiles, bytes that are read and stored, memory of a process in bytes; with a pilot also
        seconds, and with prices the costs. Printed, a table.

    Raises
    ------
    RsscaleError
        When the run can't work: see :mod:`rsscale.errors`.
    TilesFailedError
        When a tile of the pilot fails.
    """
    started = time.perf_counter()
    with (
        reading(recipe, overrides, model) as given,
        tempfile.TemporaryDirectory(prefix="rsscale-pilot-") as scratch,
    ):
        planned, untrained = with_untrained(given, Path(scratch) / "untrained")
        recipe = recipe_of(planned, (), trust=trust)
        client = chosen(recipe.cluster, client)
        machine = machine_of(client)
        profile = NumericProfile.on(machine, device, threads)
        checked = check_plan(recipe, RunFolder.at(Path(scratch) / "run"), profile)
        untimed = Plan(
            name=recipe.name,
            tile=checked.setup.grid.tile,
            items={name: len(index) for name, index in checked.indexes.items()},
            steps=tuple(
                estimate_steps(
                    checked, profile, memory or machine.memory, processes=_processes(client)
                )
            ),
            left_out=checked.left_out,
            notes=(*untrained, *checked.notes),
        )
        if not pilot:
            return untimed
        checking = time.perf_counter() - started
        timing = _pilot(checked, profile, client, pilot)
    return _timed(untimed, replace(timing, opening=timing.opening + checking), prices=prices)


def with_untrained(recipe: Recipe, folder: Path) -> tuple[Recipe, tuple[str, ...]]:
    """A recipe that can be planned before its model is trained, and notes on what is not known.

    What training would refuse before it reads imagery is refused here: an architecture that is
    none, a hyperparameter, labels that are not there.

    Parameters
    ----------
    recipe : Recipe
    folder : Path
        Where the untrained model is written, if one is needed.
    """
    named = recipe.model.values() if isinstance(recipe.model, Mapping) else [recipe.model]
    lost = [path for path in named if path and not Path(recipe.path(path)).exists()]
    settings = recipe.train
    no_map = settings is not None and (settings.change or settings.objects)
    if not lost or no_map or (settings is None and any(i.series for i in recipe.inputs.values())):
        return recipe, ()
    from rsscale.learners.base import Task
    from rsscale.pipeline.training import (
        check_learner,
        read_recipe_labels,
        recipe_design,
        recipe_learner,
    )
    from rsscale.sampling.label_chips import input_bands
    from rsscale.sampling.untrained import save_untrained

    design, task = None, Task()
    if settings is not None:
        check_recipe_steps(recipe)
        labels = read_recipe_labels(recipe)
        design, task = recipe_design(recipe, labels, "cpu"), Task(classes=labels.classes)
        check_learner(recipe_learner(recipe, design, task), input_bands(recipe), settings)
    spec, description = save_untrained(folder, recipe, input_bands(recipe), design, task)
    there = {"observations", *(layer.name for layer in spec.output.layers(spec.classes))}
    wanted = recipe.output.layers or ()
    # Any other unknown name is a mistake, which is refused as it is for a trained model.
    missing = [
        name
        for name in wanted
        if name not in there and (settings is None or name in LAYERS_OF_TRAINING)
    ]
    kept = tuple(name for name in wanted if name not in missing)
    output = recipe.output.model_copy(update={"layers": kept or None})
    where = ", ".join(dict.fromkeys(lost))
    note = f"there is no model at {where} yet (rsscale train); this is counted for {description}"
    note += f", without the layers {', '.join(missing)}" if missing else ""
    return recipe.model_copy(update={"model": str(folder), "output": output}), (note,)


@dataclass(frozen=True)
class _Pilot:
    """Some tiles of the first step, computed.

    Attributes
    ----------
    results : list of mapping
        The tiles' summaries, without the first one's, which opens the model and warms up.
    offered : float
        Seconds that all slots had for them.
    used, slots, workers : int
        Tiles that it computed at a time, those that a run may, and processes.
    opening : float
        Seconds before the first tile.
    first : float
        Seconds of that one, which warms up.
    """

    results: list[dict[str, Any]]
    offered: float
    used: int
    slots: int
    workers: int
    opening: float
    first: float


def _processes(client: Cluster) -> int:
    """Processes that compute tiles."""
    if isinstance(client, str | Mapping | ClusterRequest):
        request = parse_request(client)
        if request.workers or request.kind == ARRAY:
            return max(request.workers, 1)
    with connect(client) as dask_client:
        return _size(dask_client)[1]


def _pilot(checked: CheckedPlan, profile: NumericProfile, client: Cluster, count: int) -> _Pilot:
    """Compute some tiles of the first step for real, by the run's own engine.

    The first tile opens the model and warms up: it is one more, and does not count.
    """
    results = []
    began = time.perf_counter()
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
        opening = time.perf_counter() - began
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
    used = min(slots, len(results))
    first = started - began - opening
    return _Pilot(results, wall * used, used, slots, workers, opening, first)


def _size(client: Client | None) -> tuple[int, int]:
    """Tiles at once, and processes."""
    if client is None:
        return TILES_AT_ONCE, 1
    threads = client.nthreads()
    return sum(threads.values()), len(threads)


def _timed(untimed: Plan, pilot: _Pilot, *, prices: Prices | None) -> Plan:
    """A plan with time and money, from the tiles of a pilot.

    The ratio offered / sum(tile seconds) corrects the per-tile mean for contention between
    concurrent tiles. The interval is that of the mean of so few tiles, and wider by
    :data:`_DRIFT`: a machine and its network are not as fast from one hour to the next. What
    comes before the first tiles is the run's too.
    """
    results = pilot.results
    seconds = [sum(result["seconds"].values()) for result in results]
    mean = statistics.fmean(seconds)
    scale = untimed.steps[0].tiles * pilot.offered / max(sum(seconds), 1e-9) / pilot.used
    margin = 1 + _relative_margin(seconds)
    low, high = mean / margin * scale, mean * margin * scale
    # More tiles at a time than the pilot had may be faster, up to their number.
    low *= pilot.used / min(pilot.slots, max(untimed.steps[0].tiles, pilot.used))
    opening = pilot.opening + max(pilot.first - mean, 0.0)
    interval = (
        opening + mean * scale,
        (opening + low) / (1 + _DRIFT),
        (opening + high) * (1 + _DRIFT),
    )
    stages = Counter[str]()
    for result in results:
        stages.update(result["seconds"])
    summary = {
        "tiles": len(results),
        "peak_rss_bytes": max(result["peak_rss_bytes"] for result in results),
        "stages": in_order(stages),
    }
    money = None if prices is None else prices.of(interval, pilot.workers, untimed)
    notes = (*untimed.notes, *constant_lines(fold_constant(r["facts"] for r in results)))
    return replace(untimed, seconds=interval, money=money, pilot=summary, notes=notes)


def _relative_margin(seconds: Sequence[float]) -> float:
    """Half the 95 % interval of the mean time of a tile, over that mean.

    The variance that is seen is joined with the one that is thought of before, as with a
    conjugate prior of a normal distribution.
    """
    count, mean = len(seconds), max(statistics.fmean(seconds), 1e-9)
    freedom = count - 1 + _SPREAD_TILES
    squares = sum((duration / mean - 1) ** 2 for duration in seconds) + _SPREAD_TILES * _SPREAD**2
    return float(stdtrit(freedom, 0.975)) * math.sqrt(squares / freedom / count)


def _result(outcome: Any) -> dict[str, Any]:
    if outcome.error is not None:
        raise TilesFailedError(f"a tile of the pilot failed: {one_line(outcome.error)}")
    result: dict[str, Any] = outcome.result
    return result
