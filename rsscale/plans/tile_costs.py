"""What the tiles of each step read and hold in memory, from a sample of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rsscale.cluster.profile import NumericProfile
from rsscale.errors import RecipeError
from rsscale.layers import TileKey
from rsscale.passes.input_bytes import FILES, InputBytes
from rsscale.plans.plan import RunPlan
from rsscale.plans.planning import CheckedPlan
from rsscale.steps.base import Cost, Pass
from rsscale.steps.sources import imagery

# Tiles that bytes are counted for; evenly spread over the run.
_SAMPLE = 200
_LEAST_MEMORY = 2 * 2**30


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
        Decoded bytes of a tile and its halo, on average and at most.
    read_bytes : (float, float) or None
        Bytes of imagery that a tile takes off the network or the disk, as they are stored, on
        average and at most; None where no file was opened to see.
    header_bytes : float
        Of the headers of all files on servers.
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
    read_bytes: tuple[float, float] | None
    header_bytes: float
    overhead: float
    memory: int
    output_bytes: int


def must_fit(checked: CheckedPlan, profile: NumericProfile, limit: int) -> None:
    """Refuse tiles that don't fit into ``limit`` bytes, with the width of tiles that do.

    Raises
    ------
    RecipeError
        Which names the step.
    """
    for _ in estimate_steps(checked, profile, limit):
        pass


def worker_memory(plan: RunPlan) -> int:
    """Bytes to ask for each worker of a run: what its largest tiles take, and half as much again.

    A worker of Dask is paused at four fifths of what it may take.
    """
    checked = CheckedPlan(plan.setup, plan.steps, {}, {})
    most = max(
        (estimate.memory for estimate in estimate_steps(checked, plan.profile, 2**62)), default=0
    )
    return max(int(1.5 * most), _LEAST_MEMORY)


def estimate_steps(
    checked: CheckedPlan, profile: NumericProfile, limit: int, *, processes: int = 0
) -> Iterator[StepEstimate]:
    """Estimate each step from a sample of its tiles; the first that does not fit is refused.

    Parameters
    ----------
    checked : CheckedPlan
    profile : NumericProfile
    limit : int
        Bytes that one process may take.
    processes : int
        That read. Then the headers of some files, at most
        :data:`rsscale.passes.input_bytes.FILES`, are read to see how well they are compressed;
        none with 0.

    Raises
    ------
    RecipeError
        Which names the step.
    """
    plan, tile = checked.plan(), checked.setup.grid.tile
    known: dict[tuple[str, str], InputBytes | None] = {}
    for step in checked.passes:
        keys = spread_tiles(plan, step, _SAMPLE)
        costs = [_cost(plan, step, key) for key in keys]
        most = Cost(max(c.bytes for c in costs), max(c.observations for c in costs))
        count = plan.count(step)
        observations = statistics.fmean(c.observations for c in costs)
        read, headers = None, 0.0
        imagery = _imagery(checked, step, known) if processes else None
        if imagery is not None:
            taken = [_taken(plan, step, imagery, key, profile.threads) for key in keys]
            read = statistics.fmean(taken), max(taken)
            headers = sum(source.of_headers(count, observations, processes) for source in imagery)
        yield StepEstimate(
            name=step.step,
            tiles=count,
            observations=(observations, most.observations),
            tile_bytes=(statistics.fmean(c.bytes for c in costs), most.bytes),
            read_bytes=read,
            header_bytes=headers,
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


def _cost(plan: RunPlan, step: Pass, key: TileKey) -> Cost:
    """Cost of reading a tile and its halo."""
    around = step.around(plan.tile(key).box)
    return sum((source.cost(around, key) for source in step.sources.values()), Cost())


def _imagery(
    checked: CheckedPlan, step: Pass, known: dict[tuple[str, str], InputBytes | None]
) -> list[InputBytes] | None:
    """Bytes of each input that a step reads; None where files of one can't be opened."""
    inputs = [source for source, _ in imagery(step.sources.values())]
    for source in inputs:
        if (source.name, source.at) not in known:
            share = max(FILES // len(checked.indexes), 1)
            known[source.name, source.at] = InputBytes.sampled(source, share)
    costs = [known[source.name, source.at] for source in inputs]
    return None if None in costs else [estimate for estimate in costs if estimate is not None]


def _taken(
    plan: RunPlan, step: Pass, imagery: Iterable[InputBytes], key: TileKey, threads: int
) -> float:
    """Bytes of imagery of a tile and its halo, as they are stored."""
    around = step.around(plan.tile(key).box)
    return sum(source.of_tile(around, key, threads) for source in imagery)


def spread_tiles(plan: RunPlan, step: Pass, count: int) -> list[TileKey]:
    """At most ``count`` tiles of a step, evenly spread over its spans and the area."""
    level, spans = step.levels()[0], step.spans()
    grid = plan.grid.at_level(level)
    tiles = plan.setup.tile_count(level)
    every = max(tiles * len(spans) // count, 1)
    keys: list[TileKey] = []
    for number, span in enumerate(spans):
        start = (every // 2 - number * tiles) % every  # as if all spans were one list
        keys += [
            TileKey(step.step, span, tile.ix, tile.iy, level)
            for tile in grid.tiles(plan.area, start, every)
        ]
    return keys[:count]
