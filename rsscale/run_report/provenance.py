"""What each tile was made from: a table of all of them, and the part that a report shows."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rsscale.errors import ItemError
from rsscale.items.item_store import INDEX, RECORDS, FrozenItems
from rsscale.runs.run import Run

MOST_TILES = 150
"""Tiles that a page lists; of more those that the fewest scenes made."""
MOST_SCENES = 300
_BATCH = 50_000

SCHEMA = pa.schema(
    [
        ("step", pa.string()),
        ("span", pa.string()),
        ("tile", pa.string()),
        ("scene", pa.string()),
        ("date", pa.date32()),
        ("unreadable", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class TileScenes:
    """The scenes, and the earlier steps, that one tile of one span was made from."""

    step: str
    span: str
    tile: str
    scenes: tuple[str, ...]
    unreadable: tuple[str, ...]
    steps: tuple[str, ...]


@dataclass(frozen=True)
class SceneUse:
    """A scene, and how many tiles read it."""

    id: str
    date: str
    tiles: int


@dataclass(frozen=True)
class Provenance:
    """What tiles were made from.

    Attributes
    ----------
    total : int
        Tiles that read scenes, each span counted.
    tiles : tuple of TileScenes
        All of them, or the ``MOST_TILES`` with the fewest scenes.
    scenes : tuple of SceneUse
        By date; the ``MOST_SCENES`` that most tiles read.
    used : int
        Scenes that any tile read.
    fewest, most : int
        Scenes of a tile.
    derived : mapping of str to tuple of str
        What steps read of earlier ones: ``{"change": ("map/2023", "map/2024")}``.
    """

    total: int
    tiles: tuple[TileScenes, ...]
    scenes: tuple[SceneUse, ...]
    used: int
    fewest: int
    most: int
    derived: Mapping[str, tuple[str, ...]]


def collect_provenance(run: Run, state: Mapping[str, Any], path: Path) -> Provenance:
    """Write the scenes of every tile as Parquet, a row for each pair, and keep what a page shows.

    One small entry of the ledger is read for each tile, one after another; memory grows with the
    number of scenes and not with that of tiles.

    Parameters
    ----------
    run : Run
    state : mapping
        The content of ``run.json``.
    path : Path
        The Parquet file: ``step``, ``span``, ``tile``, ``scene``, ``date`` (UTC, null where the
        run's items don't have it), ``unreadable`` (whether an asset of it could not be read).
    """
    dates = _dates(run, state)
    kept = _Kept()
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        rows: list[tuple[Any, ...]] = []
        for tile in _tiles(run, state):
            kept.add(tile)
            rows += _rows(tile, dates)
            if len(rows) >= _BATCH:
                _write(writer, rows)
                rows = []
        _write(writer, rows)
    return kept.result(dates)


class _Kept:
    """What is kept of all tiles: counts, and the tiles that the fewest scenes made."""

    def __init__(self) -> None:
        self._used: Counter[str] = Counter()
        self._tiles: Counter[str] = Counter()  # of each step
        self._least: dict[str, list[tuple[int, int, TileScenes]]] = {}
        self._numbers: dict[str, tuple[int, int]] = {}
        self._derived: dict[str, set[str]] = {}

    def add(self, tile: TileScenes) -> None:
        """Count a tile."""
        step, count = tile.step, len(tile.scenes)
        self._tiles[step] += 1
        self._used.update(tile.scenes)
        if tile.steps:
            self._derived.setdefault(step, set()).update(tile.steps)
        fewest, most = self._numbers.get(step, (count, count))
        self._numbers[step] = (min(fewest, count), max(most, count))
        # The heap gives up its smallest first: scenes are counted below zero.
        heap, item = self._least.setdefault(step, []), (-count, -self._tiles[step], tile)
        (heapq.heappush if len(heap) < MOST_TILES else heapq.heappushpop)(heap, item)

    def result(self, dates: Mapping[str, np.datetime64]) -> Provenance:
        """Of the steps that read scenes: a tile of theirs without any is one that saw nothing."""
        steps = [step for step, (_, most) in self._numbers.items() if most]
        least = [item for step in steps for item in self._least[step]]
        least.sort(key=lambda item: item[:2], reverse=True)
        tiles = [tile for _, _, tile in least[:MOST_TILES]]
        scenes = [
            SceneUse(name, str(_date(name, dates) or ""), count)
            for name, count in self._used.most_common(MOST_SCENES)
        ]
        return Provenance(
            sum(self._tiles[step] for step in steps),
            tuple(sorted(tiles, key=lambda tile: (tile.step, tile.span, tile.tile))),
            tuple(sorted(scenes, key=lambda scene: (scene.date, scene.id))),
            len(self._used),
            min((self._numbers[step][0] for step in steps), default=0),
            max((self._numbers[step][1] for step in steps), default=0),
            {step: tuple(sorted(names)) for step, names in self._derived.items()},
        )


def _tiles(run: Run, state: Mapping[str, Any]) -> Iterator[TileScenes]:
    """All tiles; what they read of earlier steps, ``"map/2023"``, is no scene."""
    for entry in run.folder.ledger.entries():
        made = {name: name.partition("/")[0] in state["steps"] for name in entry.inputs}
        yield TileScenes(
            entry.key.step, entry.key.span, entry.key.tile,
            tuple(name for name, is_step in made.items() if not is_step),
            entry.unreadable,
            tuple(name for name, is_step in made.items() if is_step),
        )  # fmt: skip


def _rows(tile: TileScenes, dates: Mapping[str, np.datetime64]) -> Iterator[tuple[Any, ...]]:
    for scene in tile.scenes:
        date = _date(scene, dates)
        day = None if date is None else date.astype(object)
        failed = any(scene in line for line in tile.unreadable)
        yield tile.step, tile.span, tile.tile, scene, day, failed


def _date(scene: str, dates: Mapping[str, np.datetime64]) -> np.datetime64 | None:
    """Of an id; of those that two collections have, the collection stands before it."""
    return dates.get(scene, dates.get(scene.partition("/")[2]))


def _write(writer: pq.ParquetWriter, rows: list[tuple[Any, ...]]) -> None:
    columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
    arrays = [pa.array(c, field.type) for c, field in zip(columns, SCHEMA, strict=True)]
    writer.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA))


def _dates(run: Run, state: Mapping[str, Any]) -> dict[str, np.datetime64]:
    """The day of each scene, UTC, from the run's frozen items; those that can't be read lack."""
    days: dict[str, np.datetime64] = {}
    storage = run.folder.storage
    for name in state.get("items", {}):
        try:
            frozen = FrozenItems(
                *(storage.local(f"items/{name}.{end}") for end in (INDEX, RECORDS))
            )
            days |= {scene.id: scene.moment.astype("datetime64[D]") for scene in frozen.scenes}
        except (ItemError, OSError):
            continue
    return days
