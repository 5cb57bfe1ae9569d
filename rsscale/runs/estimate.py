"""What a run will take, told before it starts: tiles, bytes, memory, time, money."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import stdtrit

from rsscale.cluster.connection import TILES_AT_ONCE, connect
from rsscale.cluster.engine import describe, execute
from rsscale.cluster.machine import machine_of
from rsscale.cluster.profile import NumericProfile
from rsscale.errors import TilesFailedError
from rsscale.passes.inputs import bands_to_read, span
from rsscale.passes.memory import Memory, check_memory, network_bytes
from rsscale.progress import progress
from rsscale.recipe import Recipe, read_recipe
from rsscale.runs.folder import RunFolder
from rsscale.runs.planning import Prepared, RunPlan, TileTask, plan_run, prepare_plan
from rsscale.runs.worker import run_tile
from rsscale.store.lease import hold

if TYPE_CHECKING:
    from distributed import Client

# Tiles that bytes are counted for; evenly spread over the run.
_SAMPLE = 200
_BYTES = 2  # of a pixel: imagery is uint16 nearly always


@dataclass(frozen=True)
class Prices:
    """What things cost, in any currency.

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
        """What a run of so many seconds costs."""
        read = plan.tile_bytes[0] * plan.tiles / 1e9 * self.gigabyte
        middle, low, high = (read + one * workers * self.worker_hour / 3600 for one in seconds)
        return middle, low, high


@dataclass(frozen=True)
class Plan:
    """What a run will take; its ``repr`` is a table.

    Attributes
    ----------
    name : str
    tiles : int
        (period, tile) pairs: tasks.
    tile : int
        Width in pixels.
    items : mapping of input name to int
    looks : (float, int)
        Items of a tile, on average and at most.
    tile_bytes : (float, float)
        Decoded bytes of a tile, on average and at most.
    redundancy : float
        Pixels that the model computes over pixels of the map.
    memory : Memory
        Of one process.
    output_bytes : int
        Of the map before compression.
    seconds : (float, float, float), optional
        Estimate and 95 % interval, from a pilot.
    money : (float, float, float), optional
        Likewise.
    pilot : mapping, optional
        ``tiles``, ``peak_rss_bytes`` and seconds of each stage.
    """

    name: str
    tiles: int
    tile: int
    items: Mapping[str, int]
    looks: tuple[float, int]
    tile_bytes: tuple[float, float]
    redundancy: float
    memory: Memory
    output_bytes: int
    seconds: tuple[float, float, float] | None = None
    money: tuple[float, float, float] | None = None
    pilot: Mapping[str, Any] = field(default_factory=dict)

    def rows(self) -> list[tuple[str, str]]:
        """The table."""
        found = ", ".join(f"{count} of {name}" for name, count in self.items.items())
        mean, most = self.tile_bytes
        total = mean * self.tiles
        rows = [
            ("tiles", f"{self.tiles} of {self.tile} px"),
            ("items", f"{found}; {self.looks[0]:.1f} a tile, at most {self.looks[1]}"),
            ("to read", f"{_bytes(total)} decoded; {_bytes(mean)} a tile, at most {_bytes(most)}"),
            ("model", f"{self.redundancy:.2f} pixels computed for each of the map"),
            ("memory", f"{_bytes(self.memory.total)} a process, about"),
            ("map", f"{_bytes(self.output_bytes)} before compression"),
        ]  # fmt: skip
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
    """Tell what a run will take, and refuse what can't work; nothing stays on the disk.

    Parameters
    ----------
    recipe : path, mapping or Recipe
    client, device, threads
        As for :func:`rsscale.run`. A pilot on a cluster of several machines needs a temporary
        folder that all of them see.
    overrides : sequence of "key.sub=value"
    pilot : int
        Map so many tiles, evenly spread, and estimate the time from them.
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
    prepared = prepare_plan(recipe, profile)
    grid = recipe.grid.build()
    looks, sizes = _sampled(prepared)
    needed = _fitting(prepared, profile, max(looks), memory or machine.memory)
    model = prepared.models[recipe.periods[0]]
    channels = len(recipe.output.layers)
    if "probability" in recipe.output.layers:
        channels += len(model.spec.classes) - 1
    found = Plan(
        name=recipe.name,
        tiles=prepared.tiles,
        tile=grid.tile,
        items={name: len(items) for name, items in prepared.items.items()},
        looks=(statistics.fmean(looks), max(looks)),
        tile_bytes=(statistics.fmean(sizes), max(sizes)),
        redundancy=model.spec.lattice.redundancy(grid.tile),
        memory=needed,
        output_bytes=prepared.tiles * grid.tile**2 * channels,
    )
    if not pilot:
        return found
    results, wall, slots, workers = _pilot(prepared, profile, client, pilot)
    return _timed(found, results, wall * slots, slots, workers=workers, prices=prices)


def must_fit(prepared: Prepared, profile: NumericProfile, limit: int) -> Memory:
    """Refuse tiles that don't fit into ``limit`` bytes; see :func:`check_memory`."""
    looks, _ = _sampled(prepared)
    return _fitting(prepared, profile, max(looks), limit)


def _fitting(prepared: Prepared, profile: NumericProfile, looks: int, limit: int) -> Memory:
    recipe = prepared.recipe
    model = max(prepared.models.values(), key=network_bytes)
    return check_memory(recipe, model, recipe.grid.tile, profile.threads, looks, limit=limit)


def _sampled(prepared: Prepared) -> tuple[list[int], list[float]]:
    """Items and decoded bytes of some tiles, evenly spread."""
    recipe, grid = prepared.recipe, prepared.recipe.grid.build()
    looks, sizes = [], []
    for task in _spread(prepared, _SAMPLE):
        geobox = grid.geobox_of(grid.tile_at(task.ix, task.iy).box)
        count, size = 0, 0.0
        for name, one in recipe.inputs.items():
            extents = prepared.indexes[name].extents
            rows = extents.touching(geobox, *span(one, task.period))
            left, bottom, right, top = geobox.boundingbox.bbox
            bounds = np.clip(extents.bounds[rows], [left, bottom] * 2, [right, top] * 2)
            covered = (bounds[:, 2] - bounds[:, 0]) * (bounds[:, 3] - bounds[:, 1])
            pixels = covered.sum() / grid.resolution**2
            count += len(rows)
            size += float(pixels) * len(bands_to_read(one)) * _BYTES
        looks.append(count)
        sizes.append(size)
    return looks, sizes


def _spread(prepared: Prepared, count: int) -> list[TileTask]:
    """At most ``count`` tasks, evenly spread over periods and area."""
    recipe = prepared.recipe
    grid, tiles = recipe.grid.build(), prepared.tiles // len(recipe.periods)
    step = max(prepared.tiles // count, 1)
    tasks = []
    for number, period in enumerate(recipe.periods):
        start = (step // 2 - number * tiles) % step  # as if all periods were one list
        found = grid.tiles(prepared.area, start, step)
        tasks += [TileTask(period, tile.ix, tile.iy) for tile in found]
    return tasks[:count]


def _pilot(
    prepared: Prepared, profile: NumericProfile, client: Client | str | None, count: int
) -> tuple[list[dict[str, Any]], float, int, int]:
    """Map some tiles for real, by the run's own engine, into a folder that goes.

    Returns what each tile told, wall seconds, tiles at once, and processes. The first tile opens
    the model and warms up: it does not count.
    """
    results = []
    with (
        tempfile.TemporaryDirectory(prefix="rsscale-pilot-") as scratch,
        connect(client) as dask_client,
        progress("pilot", count, "tiles") as bar,
    ):
        folder = RunFolder.at(scratch)
        plan_run(prepared, folder, profile)
        tasks = [RunPlan.read(folder).with_fingerprint(t) for t in _spread(prepared, count)]
        slots, workers = _size(dask_client)
        with hold(folder.place) as lease:
            work = partial(run_tile, folder.url, folder.read_state()["plan"], lease.epoch)
            for outcome in execute(tasks[:1], work, client=dask_client, slots=1):
                _told(outcome)
                bar.advance()
            started = time.perf_counter()
            for outcome in execute(tasks[1:] or tasks, work, client=dask_client, slots=slots):
                results.append(_told(outcome))
                bar.advance()
            wall = time.perf_counter() - started
    return results, wall, min(slots, len(results)), workers


def _size(client: Client | None) -> tuple[int, int]:
    """Tiles at once, and processes."""
    if client is None:
        return TILES_AT_ONCE, 1
    threads = client.nthreads()
    return sum(threads.values()), len(threads)


def _timed(
    found: Plan,
    results: Sequence[Mapping[str, Any]],
    offered: float,
    slots: int,
    *,
    workers: int,
    prices: Prices | None,
) -> Plan:
    """A plan with time and money, from the tiles of a pilot.

    ``offered`` are the seconds of all slots together. Tiles run side by side and hinder each
    other, so what the clock saw is set against what each tile took.
    """
    seconds = [sum(result["seconds"].values()) for result in results]
    mean = statistics.fmean(seconds)
    spread = statistics.stdev(seconds) if len(seconds) > 1 else mean
    freedom = max(len(seconds) - 1, 1)
    margin = float(stdtrit(freedom, 0.975)) * spread / len(seconds) ** 0.5
    scale = found.tiles * offered / max(sum(seconds), 1e-9) / slots
    interval = (mean * scale, max(mean - margin, min(seconds)) * scale, (mean + margin) * scale)
    stages = Counter[str]()
    for result in results:
        stages.update(result["seconds"])
    told = {
        "tiles": len(results),
        "peak_rss_bytes": max(result["peak_rss_bytes"] for result in results),
        "stages": dict(stages),
    }
    money = None if prices is None else prices.of(interval, workers, found)
    return replace(found, seconds=interval, money=money, pilot=told)


def _told(outcome: Any) -> dict[str, Any]:
    if outcome.error is not None:
        raise TilesFailedError(f"a tile of the pilot failed: {describe(outcome.error)}")
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
