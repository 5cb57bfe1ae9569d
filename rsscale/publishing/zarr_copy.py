"""Copy the store of a step, shard by shard against the ledger, and give it overviews."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from rsscale.documents import read_json
from rsscale.errors import RunFolderError
from rsscale.finished_runs.finished_run import FinishedRun
from rsscale.geo.lattice import PixelBox
from rsscale.layers import TileKey
from rsscale.passes.overviews import reduce
from rsscale.publishing.target import Target
from rsscale.store.ledger import Entry, Ledger
from rsscale.store.storage import Folder, Storage
from rsscale.store.zarr_store import ZarrStore, consolidate, describe_levels

_AT_ONCE = 8
_SMALL = 1024  # pixels across the coarsest level, or one tile
_METADATA = "zarr.json"


def store_name(step: str) -> str:
    """Name of a step's store, as in the run folder."""
    return "product.zarr" if step == "map" else f"{step}.zarr"


def shard_count(finished: FinishedRun, step: str) -> int:
    """Tiles of all levels that a copy of a step's store has, for a progress bar."""
    count = sum(int(finished.state["steps"][n]["tiles"]["done"]) for n in finished.parts(step))
    if not _has_overviews(finished, step):
        spans = len(finished.spans(step))
        count += spans * sum(1 for _ in _level_keys(finished, step, spans=("",)))
    return count


def copy_store(
    finished: FinishedRun, step: str, target: Target, on_tile: Callable[[], None]
) -> None:
    """Copy the layers of a step into a publication, with overviews.

    What is copied is what the ledger knows, and it is compared with it: a shard that is lost or
    damaged is refused, one of a tile that is not done is left out. Overviews are the run's, by its
    step ``overviews``; without one they are made here, by the same rules, tile by tile.

    Parameters
    ----------
    finished : FinishedRun
    step : str
    target : Target
    on_tile : callable
        Called after each tile.

    Raises
    ------
    RunFolderError
        When stored objects are lost or damaged.
    """
    name = store_name(step)
    levels = _copy_metadata(finished, step, target)
    for part in finished.parts(step):
        stores: dict[int, ZarrStore] = {}
        entries = Ledger(finished.folder.storage).entries(part)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            # A few at a time: a country has a hundred thousand.
            while batch := list(islice(entries, _AT_ONCE * 4)):
                for level in {entry.key.level for entry in batch} - stores.keys():
                    stores[level] = _store(finished, part, finished.folder.store(step), level)
                copies = [
                    pool.submit(_copy_tile, entry, stores[entry.key.level], target, name)
                    for entry in batch
                ]
                for copy in copies:
                    copy.result()
                    on_tile()
    _make_overviews(finished, step, levels, target, on_tile)


def remove_stale(finished: FinishedRun, target: Target) -> int:
    """Remove shards of an older version: of steps, periods or tiles that are not there any more.

    An extent that grew north or west gives shards other indices, so that an old one would lie where
    now another tile is. Returns how many objects went.
    """
    stale = []
    for step in finished.steps:
        known = _Known(finished, step)
        name = store_name(step)
        stale += [
            f"{name}/{path}" for path in target.storage.child(name).names() if not known.holds(path)
        ]
    kept = {store_name(step) for step in finished.steps}
    for path in target.storage.names():
        top = path.partition("/")[0]
        if top.endswith(".zarr") and top not in kept:
            stale.append(path)
    for path in stale:
        target.storage.delete(path)
    return len(stale)


class _Known:
    """Tells shards that a copy of a step's store has from others, by their names."""

    def __init__(self, finished: FinishedRun, step: str) -> None:
        self._finished, self._step = finished, step
        self._layers = {
            layer.name for part in finished.parts(step) for layer in finished.layers(part)
        }
        self._area = finished.grid.project(finished.area).geom
        self._tiles: dict[str, set[str]] = {}

    def holds(self, name: str) -> bool:
        """Whether an object is metadata, a coordinate, or a shard of a tile that is done."""
        path, is_shard, place = name.partition("/c/")
        group, _, layer = path.rpartition("/")
        if not is_shard or layer not in self._layers:
            return True
        time, *_, row, col = map(int, place.split("/"))
        level, spans = int(group or 0), self._finished.spans(self._step)
        if time >= len(spans):
            return False
        grid = self._finished.grid.at_level(level)
        extent = self._finished.extent if not level else grid.extent(self._finished.area)[0]
        at = (extent.row0 + row * grid.tile, extent.col0 + col * grid.tile)
        tile = grid.tile_of(PixelBox(*at, at[0] + grid.tile, at[1] + grid.tile))
        if level and not _has_overviews(self._finished, self._step):
            return level <= _count_levels(self._finished) and grid.overlaps(self._area, tile.box)
        key = TileKey("", spans[time], tile.ix, tile.iy, level)
        return key.tile in self._done(key.span)

    def _done(self, span: str) -> set[str]:
        """Names of the tiles of all levels that the ledger has of a span."""
        if span not in self._tiles:
            self._tiles[span] = {
                name.rpartition("/")[2].removesuffix(".json")
                for part in self._finished.parts(self._step)
                for name in self._finished.folder.storage.names(f"ledger/{part}/{span}")
            }
        return self._tiles[span]


def _store(finished: FinishedRun, part: str, storage: Storage, level: int) -> ZarrStore:
    state = finished.state["steps"][part]
    grid = finished.grid.at_level(level)
    return ZarrStore(
        storage=storage,
        grid=grid,
        extent=finished.extent if not level else grid.extent(finished.area)[0],
        spans=finished.spans(part),
        times=tuple(np.datetime64(time) for time in state["times"]),
        layers=finished.layers(part),
        group=str(level) if level else "",
    )


def _copy_tile(entry: Entry, store: ZarrStore, target: Target, folder: str) -> None:
    for layer, names in store.shards_by_layer(entry.key).items():
        total = hashlib.sha256()
        contents = []
        for name in names:
            try:
                contents.append(store.storage.read(name))
            except FileNotFoundError:
                raise _damaged(store, entry, layer, "lost") from None
            total.update(contents[-1])
        if total.hexdigest() != entry.digests.get(layer):
            raise _damaged(store, entry, layer, "not what was written")
        for name, content in zip(names, contents, strict=True):
            target.put(f"{folder}/{name}", content)


def _damaged(store: ZarrStore, entry: Entry, layer: str, subject: str) -> RunFolderError:
    return RunFolderError(
        f"{store.storage.url} is damaged: layer {layer!r} of tile {entry.key.tile} of "
        f"{entry.key.span} is {subject}; compute it again with rsscale resume, and publish again"
    )


def _copy_metadata(finished: FinishedRun, step: str, target: Target) -> list[ZarrStore]:
    """Write all but the shards of layers; returns the stores of overviews that are to be made."""
    source, name = finished.folder.store(step), store_name(step)
    layers = {layer.name for part in finished.parts(step) for layer in finished.layers(part)}
    arrays = _consolidated(source)
    with tempfile.TemporaryDirectory(prefix="rsscale-") as scratch:
        made = Folder(Path(scratch))
        for path in ("", *arrays):
            is_layer = path.rpartition("/")[2] in layers
            is_group = not path or arrays[path].get("node_type") == "group"
            for file in [_METADATA] if is_layer or is_group else source.names(path):
                full = f"{path}/{file}" if path and file == _METADATA else file
                made.write(full, source.read(full))
        levels = [] if _has_overviews(finished, step) else _new_levels(finished, step, made)
        if levels:
            for store in levels:
                store.create()
            describe_levels(made, levels, [layer.overview for layer in levels[0].layers])
            consolidate(made)
        for file in made.names():
            target.put(f"{name}/{file}", made.read(file))
    copied = target.storage.child(name)
    return [replace(store, storage=copied) for store in levels]


def _new_levels(finished: FinishedRun, step: str, storage: Storage) -> list[ZarrStore]:
    layers = tuple(layer for layer in finished.layers(step) if layer.overview != "none")
    return [
        replace(_store(finished, step, storage, level), layers=layers)
        for level in range(1, _count_levels(finished) + 1)
        if layers
    ]


def _consolidated(source: Storage) -> dict[str, dict[str, object]]:
    """Metadata of all groups and arrays below the root, by their paths."""
    root = read_json(source.read(_METADATA))
    return dict((root.get("consolidated_metadata") or {}).get("metadata") or {})


def _has_overviews(finished: FinishedRun, step: str) -> bool:
    return any(part != step for part in finished.parts(step))


def _count_levels(finished: FinishedRun) -> int:
    width = max(finished.extent.shape) / max(_SMALL, finished.grid.tile)
    return max(math.ceil(math.log2(width)), 1)


def _level_keys(finished: FinishedRun, step: str, spans: tuple[str, ...]) -> Iterator[TileKey]:
    """Keys of all tiles of all overviews, from fine to coarse."""
    for level in range(1, _count_levels(finished) + 1):
        for span in spans:
            for tile in finished.grid.at_level(level).tiles(finished.area):
                yield TileKey(step, span, tile.ix, tile.iy, level)


def _make_overviews(
    finished: FinishedRun,
    step: str,
    levels: list[ZarrStore],
    target: Target,
    on_tile: Callable[[], None],
) -> None:
    """Make overviews in the copy, each level of the level below."""
    if not levels:
        return
    base = _store(finished, step, levels[0].storage, 0)
    below = [replace(base, layers=levels[0].layers), *levels]
    put: Any = _PutTo(target, store_name(step))
    for key in _level_keys(finished, step, finished.spans(step)):
        store = levels[key.level - 1]
        box = store.grid.tile_at(key.ix, key.iy).box
        finer = PixelBox(box.row0 * 2, box.col0 * 2, box.row1 * 2, box.col1 * 2)
        made = {}
        for layer in store.layers:
            values = below[key.level - 1].read(layer.name, key.span, finer)
            made[layer.name] = (layer.dims(), reduce(layer, values))
        replace(store, storage=put).write(key, xr.Dataset(made))
        on_tile()


class _PutTo:
    """The storage that a store writes shards to: a target, which leaves what is there."""

    def __init__(self, target: Target, folder: str) -> None:
        self._target, self._folder = target, folder

    def write(self, name: str, content: bytes, *, point: str = "") -> None:
        """Put a shard."""
        del point
        self._target.put(f"{self._folder}/{name}", content)
