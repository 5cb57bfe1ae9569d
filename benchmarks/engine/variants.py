"""Who takes part, and what each is tuned over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.engine.case import Case
from benchmarks.engine.contenders import Options, bare, odc_way, rsscale_way, stackstac_way
from benchmarks.engine.limit import limit

TORCHGEO = "torchgeo, tuned"
CHUNKS = (1024, 2048, 4096)


@dataclass(frozen=True)
class Contender:
    """One way to make the map.

    Attributes
    ----------
    name : str
    make : callable
        ``make(case, options, folder)`` returns seconds; None for a script of another environment.
    variants : sequence of mappings
        Options to be tuned over; the fastest that made the right map stands in the table.
    """

    name: str
    make: Callable[[Case, Options, Path], float] | None
    variants: Sequence[Options]

    def fitting(self, size: int) -> list[Options]:
        """Variants whose chunks are no larger than the area."""
        return [v for v in self.variants if step_of(v) <= size]


def step_of(options: Options) -> int:
    """Pixels between lines where the work was cut."""
    return int(options.get("tile", options.get("chunk", CHUNKS[0])))


def _grid(**options: Sequence[Any]) -> list[Options]:
    """All combinations."""
    combinations: list[dict[str, Any]] = [{}]
    for name, values in options.items():
        combinations = [
            {**combination, name: value} for combination in combinations for value in values
        ]
    return list(combinations)


_ALL = (
    Contender("bare torch", bare, [{}]),
    Contender(
        "stackstac, defaults",
        stackstac_way,
        [{"chunk": 1024, "dtype": "float64", "dask_threads": 2}],
    ),
    Contender(
        "stackstac, tuned",
        stackstac_way,
        _grid(chunk=CHUNKS[:2], dtype=["float32"], dask_threads=(2, 1)),
    ),
    Contender("odc-stac, tuned", odc_way, _grid(chunk=CHUNKS[:2], dask_threads=(2, 1))),
    Contender(TORCHGEO, None, _grid(workers=(0, 2))),
    Contender("rsscale", rsscale_way, _grid(tile=CHUNKS, cluster=[None])),
    Contender("rsscale local:1", rsscale_way, _grid(tile=CHUNKS, cluster=["local:1"])),
    Contender(
        "rsscale compiled", rsscale_way, _grid(tile=CHUNKS[1:], cluster=["local:1"], compile=[True])
    ),
    Contender("limit", limit, [{}]),
)
CONTENDERS = {contender.name: contender for contender in _ALL}
