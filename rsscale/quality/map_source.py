"""The layers of a run as they lie, also where tiles are missing or damaged: for checks of them.

Other steps refuse to read a tile that is not done. A check reads what is there, and says what is
not.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
import xarray as xr

from rsscale.errors import RunFolderError
from rsscale.gate_rules.rows import APPLICABLE, CONFIDENCE, OBSERVATIONS, Condition
from rsscale.geo.area import read_area
from rsscale.geo.lattice import PixelBox
from rsscale.inference.constant_pixels import fold_constant
from rsscale.layers import Layer, TileKey
from rsscale.steps.base import Cost, Resources
from rsscale.store.ledger import Ledger, LedgerReader
from rsscale.store.run_folder import RunFolder
from rsscale.store.run_state import check_layers, run_grid
from rsscale.store.storage import Folder
from rsscale.store.zarr_store import ZarrStore


@dataclass(frozen=True)
class MapSource:
    """Some layers of a step of a run, of all its spans along ``time``.

    Attributes
    ----------
    step : str
    store : ZarrStore
        With all layers of the step.
    names : tuple of str
        Layers to read.
    ledger : LedgerReader
        Of the run, for fingerprints: it keeps what it has read.
    entries : Ledger
        The same, read anew each time: a worker keeps this source for longer than one check.
    shape : shapely geometry
        The area of the run in the grid's CRS.
    imagery : mapping of step to spans
        Steps of the run that read imagery.
    """

    step: str
    store: ZarrStore
    names: tuple[str, ...]
    ledger: LedgerReader
    entries: Ledger
    shape: shapely.Geometry
    imagery: Mapping[str, tuple[str, ...]]

    @property
    def spans(self) -> tuple[str, ...]:
        """Of the step, in order of time."""
        return self.store.spans

    def layer(self, name: str) -> Layer:
        """A layer by its name."""
        return next(layer for layer in self.store.layers if layer.name == name)

    def condition(self, key: TileKey, span: str) -> Condition:
        """Compare the stored objects of a tile with its ledger entry; reads their bytes."""
        own = TileKey(self.step, span, key.ix, key.iy)
        entry = self.entries.read(own)
        if entry is None:
            return Condition.NOT_DONE
        stored = self.store.stored(own)
        if not all(stored.values()):
            return Condition.LOST
        if all(entry.digests.get(name) == digest for name, digest in stored.items()):
            return Condition.SOUND
        box = self.store.grid.tile_at(key.ix, key.iy).box
        try:
            for name in self.names:
                self.store.read(name, span, box)
        except RunFolderError:
            return Condition.UNREADABLE
        return Condition.CHANGED

    def imagery_facts(self, key: TileKey, span: str) -> dict[str, float]:
        """What was counted when imagery of a tile was read, of the step or those before it.

        Of the span; of all spans where a step has others, such as years that are compared.
        """
        return self._imagery_facts(self.entries, key, span)

    def _imagery_facts(
        self, ledger: Ledger | LedgerReader, key: TileKey, span: str
    ) -> dict[str, float]:
        keys = [
            TileKey(step, own, key.ix, key.iy)
            for step, spans in self.imagery.items()
            for own in ([span] if span in spans else spans)
        ]
        entries = map(ledger.read, keys)
        return fold_constant(entry.facts for entry in entries if entry is not None)

    def read(self, box: PixelBox, key: TileKey, resources: Resources) -> xr.Dataset:
        """Stored values over a box, in memory; nodata where a tile is not done or can't be read."""
        del key
        done = [
            (number, tile & box)
            for number, span in enumerate(self.spans)
            for tile in self._tiles(box)
            if self.entries.read(self._key(span, tile)) is not None
        ]
        with resources.meter.working():
            arrays = {name: self._read(name, box, done, resources) for name in self.names}
        dims = ("time", "y", "x")
        return xr.Dataset({name: (dims, array) for name, array in arrays.items()})

    def _read(
        self, name: str, box: PixelBox, done: Sequence[tuple[int, PixelBox]], resources: Resources
    ) -> npt.NDArray[Any]:
        """A layer of all spans, of the parts that are done: number of the span, and box."""
        layer = self.layer(name)
        out = np.full((len(self.spans), *box.shape), layer.nodata, layer.numpy_dtype)
        for number, part in done:
            with resources.meter.reading(part.shape[0] * part.shape[1] * layer.pixel_bytes):
                try:
                    values = self.store.read(name, self.spans[number], part)
                except RunFolderError:  # damaged: `condition` of its own tile tells
                    continue
            out[(number, *part.slices(box))] = values
        return out

    def digest(self, box: PixelBox, key: TileKey) -> str:
        """Hash of what the ledger says of each tile that the box touches, and of its files.

        On a disk a file that was written anew behind the ledger's back is seen by its time.
        """
        total = hashlib.sha256(" ".join(self.names).encode())
        for span, tile in itertools.product(self.spans, self._tiles(box)):
            at = self._key(span, tile)
            entry = self.ledger.read(at)
            digests = {} if entry is None else entry.digests
            total.update(f"{at} {sorted(digests.items())} {self._files(at, key)}\n".encode())
        for span in self.spans:
            facts = self._imagery_facts(self.ledger, key, span)
            total.update(f"{sorted(facts.items())}\n".encode())
        return total.hexdigest()[:16]

    def inputs(self, box: PixelBox, key: TileKey) -> Sequence[str]:
        """Names of the step and its spans."""
        del box, key
        return [f"{self.step}/{span}" for span in self.spans]

    def cost(self, box: PixelBox, key: TileKey) -> Cost:
        """Bytes of the layers over the box."""
        del key
        pixels = box.shape[0] * box.shape[1] * len(self.spans)
        return Cost(pixels * sum(self.layer(n).pixel_bytes for n in self.names), len(self.spans))

    def _tiles(self, box: PixelBox) -> Iterator[PixelBox]:
        grid = self.store.grid
        for tile in (box & self.store.extent).blocks(grid.tile):
            if grid.overlaps(self.shape, tile):
                yield tile

    def _key(self, span: str, tile: PixelBox) -> TileKey:
        index = self.store.grid.tile_of(tile)
        return TileKey(self.step, span, index.ix, index.iy)

    def _files(self, at: TileKey, key: TileKey) -> str:
        """Sizes and times of the tile's own objects, where they are files."""
        if (at.ix, at.iy) != (key.ix, key.iy):
            return ""
        files = []
        for name in self.store.shards(at):
            path = _path(self.store, name)
            try:
                stat = path.stat() if path is not None else None
            except OSError:
                files.append("lost")
            else:
                files.append(f"{stat.st_size}-{stat.st_mtime_ns}" if stat else "")
        return " ".join(files)


def _path(store: ZarrStore, name: str) -> Path | None:
    return store.storage.path / name if isinstance(store.storage, Folder) else None


def class_layer_of(layers: Sequence[Layer]) -> Layer | None:
    """The layer of classes of a step: ``classification``, or the first whose values have names."""
    named = [layer for layer in layers if "flag_values" in layer.attributes and layer.axis is None]
    named = [layer for layer in named if layer.name != APPLICABLE and not layer.is_float]
    return min(named, key=lambda layer: layer.name != "classification", default=None)


def map_source(folder: RunFolder, step: str) -> MapSource:
    """Open the layers of a run's step that are checked.

    Raises
    ------
    RunFolderError
        When the run has no such step with layers.
    """
    state = folder.read_state()
    check_layers(state, step, folder.url)
    grid = run_grid(state)
    described = state["steps"][step]
    layers = tuple(map(Layer.parse, described["layers"]))
    classes = class_layer_of(layers)
    others = (CONFIDENCE, OBSERVATIONS, APPLICABLE)
    names = [] if classes is None else [classes.name]
    names += [layer.name for layer in layers if layer.name in others and layer.axis is None]
    area = read_area(folder.storage.local(state["area"]))
    store = ZarrStore(
        storage=folder.store(described["store"]),
        grid=grid,
        extent=PixelBox(*state["extent"]),
        spans=tuple(described["spans"]),
        times=tuple(np.datetime64(time) for time in described["times"]),
        layers=layers,
    )
    return MapSource(
        step,
        store,
        tuple(names),
        LedgerReader(folder.ledger),
        folder.ledger,
        grid.project(area).geom,
        {
            name: tuple(other.get("spans", ()))
            for name, other in state["steps"].items()
            if other.get("facts", {}).get("sampled_observations")
        },
    )
