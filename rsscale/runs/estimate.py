"""Estimate what a run will take before it starts: tiles, bytes, memory, time, money."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scipy.special import stdtrit

from rsscale.cluster.connection import TILES_AT_ONCE, connect
from rsscale.cluster.engine import execute, one_line
from rsscale.cluster.machine import machine_of
from rsscale.cluster.profile import NumericProfile
from rsscale.errors import RecipeError, TilesFailedError
from rsscale.layers import TileKey
from rsscale.monitoring.totals import in_order
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
from rsscale.runs.worker import run_tile
from rsscale.steps.base import Cost, Pass
from rsscale.store.lease import acquire
from rsscale.store.ledger import write_json
from rsscale.store.run_folder import RunFolder

if TYPE_CHECKING:
    from distributed import Client

# Tiles that bytes are counted for; evenly spread over the run.
_SAMPLE = 200


@dataclass(frozen=True)
class Prices:
    """Prices in any currency.

    Attributes
    ----------
    worker_hour : float
        An hour of one worker process, with its GPU if it has one.
    gigabyte : float
        A GB read.
    """

    worker_hour: float = 0.0
    gigabyte: float = 0.0

    def of(
        self, seconds: tuple[float, float, float], workers: int, plan: Plan
    ) -> tuple[float, float, float]:
        """The cost of a run of so many seconds."""
        read = plan.read_bytes / 1e9 * self.gigabyte
        middle, low, high = (read + one * workers * self.worker_hour / 3600 for one in seconds)
        return middle, low, high


@dataclass(frozen=True)
class StepEstimate:
    """Estimate of one step.

    Attributes
    ----------
    name : str
    tiles : int
        Of all spans and levels.
    observations : (float, int)
        Items, or dates, that a tile reads, on average and at most.
    tile_bytes : (float, float)
        Decoded bytes of a tile, on average and at most.
    overhead : float
        Pixels that are read for each one that is written.
    memory : int
        Bytes of one process, about.
    output_bytes : int
        Of its layers before compression.
    """

    name: str
    tiles: int
    observations: tuple[float, int]
    tile_bytes: tuple[float, float]
    overhead: float
    memory: int
    output_bytes: int


@dataclass(frozen=True)
class Plan:
    """Estimate of a run; its ``repr`` is a table.

    Attributes
    ----------
    name : str
    tile : int
        Width in pixels.
    items : mapping of input name to int
    steps : tuple of StepEstimate
    seconds : (float, float, float), optional
        Estimate and 95 % interval, from a pilot of the first step.
    money : (float, float, float), optional
        Likewise.
    pilot : mapping, optional
        ``tiles``, ``peak_rss_bytes`` and seconds of each stage.
    notes : tuple of str
        What is to be said of the items: those that contradict themselves, or lie outside.
    """

    name: str
    tile: int
    items: Mapping[str, int]
    steps: tuple[StepEstimate, ...]
    seconds: tuple[float, float, float] | None = None
    money: tuple[float, float, float] | None = None
    pilot: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def tiles(self) -> int:
        """Tasks of all steps."""
        return sum(step.tiles for step in self.steps)

    @property
    def read_bytes(self) -> float:
        """Decoded bytes that all steps read."""
        return sum(step.tiles * step.tile_bytes[0] for step in self.steps)

    @property
    def memory(self) -> int:
        """Bytes of one process: of the step that needs most."""
        return max(step.memory for step in self.steps)

    @property
    def output_bytes(self) -> int:
        """Bytes of all layers before compression."""
        return sum(step.output_bytes for step in self.steps)

    def rows(self) -> list[tuple[str, str]]:
        """The table."""
        found = ", ".join(f"{count} of {name}" for name, count in self.items.items()) or "none"
        first = self.steps[0]
        of_a_tile = ", at most ".join(map(_bytes, first.tile_bytes))
        per_tile = f"{first.observations[0]:.1f}, at most {first.observations[1]},"
        rows = [
            ("tiles", f"{self.tiles} of {self.tile} px" + self._by_step()),
            ("items", f"{found}; {per_tile} a tile"),
            *(("note", note) for note in self.notes),
            ("to read", f"{_bytes(self.read_bytes)} decoded; {of_a_tile} a tile of {first.name}"),
            ("overhead", f"{first.overhead:.2f} pixels computed for each of {first.name}"),
            ("memory", f"{_bytes(self.memory)} a process, about"),
            ("output", f"{_bytes(self.output_bytes)} before compression"),
        ]
        if self.pilot:
            peak, stages = self.pilot["peak_rss_bytes"], self.pilot["stages"]
            whole = sum(stages.values()) or 1.0
            shares = ", ".join(f"{name} {value / whole:.0%}" for name, value in stages.items())
            rows.append(("pilot", f"{self.pilot['tiles']} tiles, peak {_bytes(peak)}; {shares}"))
        if self.seconds:
            middle, low, high = map(_duration, self.seconds)
            rows.append(("time", f"{middle} ({low} to {high})"))
        else:
            rows.append(("time", "not known without a pilot: --pilot 8"))
        if self.money:
            middle, low, high = (f"{value:,.2f}" for value in self.money)
            rows.append(("money", f"{middle} ({low} to {high})"))
        return rows

    def _by_step(self) -> str:
        if len(self.steps) == 1:
            return ""
        return ": " + ", ".join(f"{step.tiles} of {step.name}" for step in self.steps)

    def __repr__(self) -> str:
        return "\n".join(f"{name:<9} {text}" for name, text in self.rows())


def plan(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    client: Client | str | None = None,
    device: str = "auto",
    threads: int | None = None,
    overrides: Sequence[str] = (),
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
    pilot : int
        Compute so many tiles of the first step, evenly spread, and estimate the time from them.
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
    machine = machine_of(client)
    profile = NumericProfile.on(machine, device, threads)
    with tempfile.TemporaryDirectory(prefix="rsscale-pilot-") as scratch:
        checked = check_plan(recipe, RunFolder.at(Path(scratch) / "run"), profile)
        found = Plan(
            name=recipe.name,
            tile=checked.setup.grid.tile,
            items={name: len(index) for name, index in checked.indexes.items()},
            steps=tuple(_estimated(checked, profile, memory or machine.memory)),
            notes=checked.notes,
        )
        if not pilot:
            return found
        pilot_of = _pilot(checked, profile, client, pilot)
    return _timed(found, *pilot_of, prices=prices)


def must_fit(checked: CheckedPlan, profile: NumericProfile, limit: int) -> None:
    """Refuse tiles that don't fit into ``limit`` bytes, with the width of tiles that do.

    Raises
    ------
    RecipeError
        Which names the step.
    """
    for _ in _estimated(checked, profile, limit):
        pass


def _estimated(checked: CheckedPlan, profile: NumericProfile, limit: int) -> Iterator[StepEstimate]:
    """Estimates of the steps; refuses one that does not fit."""
    plan, tile = checked.plan(), checked.setup.grid.tile
    for step in checked.passes:
        costs = list(_sampled(plan, step))
        most = Cost(max(c.bytes for c in costs), max(c.observations for c in costs))
        count = plan.count(step)
        yield StepEstimate(
            name=step.step,
            tiles=count,
            observations=(statistics.fmean(c.observations for c in costs), most.observations),
            tile_bytes=(statistics.fmean(c.bytes for c in costs), most.bytes),
            overhead=step.overhead(tile),
            memory=_fitting(step, tile, most, profile, limit),
            output_bytes=count * tile**2 * sum(layer.pixel_bytes for layer in step.layers),
        )


def _fitting(step: Pass, tile: int, cost: Cost, profile: NumericProfile, limit: int) -> int:
    needed = step.memory(tile, cost, profile)
    if needed <= limit:
        return needed
    width, fitting = tile, None
    while width > 128 and fitting is None:
        width //= 2
        smaller = Cost(cost.bytes * (width / tile) ** 2, cost.observations)
        fitting = width if step.memory(width, smaller, profile) <= limit else None
    advice = (
        f"set grid.tile to {fitting}"
        if fitting
        else "even small tiles don't: use fewer threads, a smaller model window, or more memory"
    )
    raise RecipeError(
        f"a tile of {tile} px of step {step.step!r} needs about {needed / 2**30:.1f} GiB in each "
        f"process, and it may take {limit / 2**30:.1f} GiB; {advice}"
    )


def _sampled(plan: RunPlan, step: Pass) -> Iterator[Cost]:
    """Reading costs of a sample of tiles, evenly spread over the run."""
    for key in _spread(plan, step, _SAMPLE):
        core = plan.tile(key).box
        costs = [source.cost(core, key) for source in step.sources.values()]
        yield sum(costs, Cost())


def _spread(plan: RunPlan, step: Pass, count: int) -> list[TileKey]:
    """At most ``count`` tiles of a step, evenly spread over its spans and the area."""
    level, spans = step.levels()[0], step.spans()
    grid = plan.grid.at_level(level)
    tiles = grid.extent(plan.area)[1]
    every = max(tiles * len(spans) // count, 1)
    keys: list[TileKey] = []
    for number, span in enumerate(spans):
        start = (every // 2 - number * tiles) % every  # as if all spans were one list
        found = grid.tiles(plan.area, start, every)
        keys += [TileKey(step.step, span, tile.ix, tile.iy, level) for tile in found]
    return keys[:count]


def _pilot(
    checked: CheckedPlan, profile: NumericProfile, client: Client | str | None, count: int
) -> tuple[list[dict[str, Any]], float, int, int]:
    """Compute some tiles of the first step for real, by the run's own engine.

    Returns the tiles' summaries, the seconds that all slots had, how many slots, and processes. The
    first tile opens the model and warms up: it does not count.
    """
    results = []
    with connect(client) as dask_client, progress("pilot", count, "tiles") as bar:
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
        tasks = [plan.task(key) for key in _spread(plan, checked.passes[0], count)]
        slots, workers = _size(dask_client)
        with acquire(folder.storage) as lease:
            work = partial(run_tile, folder.url, plan.hash, lease.epoch)
            for outcome in execute(tasks[:1], work, client=dask_client, slots=1):
                _result(outcome)
                bar.advance()
            started = time.perf_counter()
            for outcome in execute(tasks[1:] or tasks, work, client=dask_client, slots=slots):
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


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit in ("B", "KiB") else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
