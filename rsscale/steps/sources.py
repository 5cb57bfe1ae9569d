"""Sources that passes read by boxes: composites of an input's imagery, layers of earlier steps."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
import xarray as xr

from rsscale.errors import RecipeError, nearest
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.layers import Layer, TileKey
from rsscale.recipe import Recipe
from rsscale.steps.base import ALL, Cost, NotReadyError, Resources, Source, over_box
from rsscale.store.ledger import LedgerReader
from rsscale.store.zarr_store import ZarrStore

if TYPE_CHECKING:
    from rsscale.items.item_store import Lookup

Lookups = Callable[[str], "Lookup"]
"""Gives the items of an input by its name."""

Generations = Callable[[TileKey], "int | None"]
"""Gives the newest generation of items that a tile sees; None: all of them."""


def no_generation(key: TileKey) -> int | None:
    """All items, for a run that has not grown."""
    del key
    return None


# How far beyond its box a value may depend on a file's pixels: the support of a resampling kernel.
_KERNEL = 4


@dataclass(frozen=True)
class InputSource:
    """The composites of one input of the recipe: read, masked, merged, reduced.

    Reads as a Dataset with the variable ``composite`` ``(time, band, y, x)`` float32, lazy, NaN
    where nothing was seen; its coordinate ``observations`` counts what was seen clearly.

    Attributes
    ----------
    name : str
        Of the input.
    recipe : Recipe
    grid : Grid
    lookups : callable
    generation : callable
        Which items a tile sees, in a run that has grown.
    at : str
        A fixed period, ``"all"`` for all periods one after the other along ``time``, or the key's
        own when empty.
    """

    name: str
    recipe: Recipe
    grid: Grid
    lookups: Lookups
    generation: Generations = no_generation
    at: str = ""

    def __post_init__(self) -> None:
        periods = list(map(str, self.recipe.periods))
        if self.at not in ("", ALL, *periods):
            raise RecipeError(f"input {self.name!r} is not of {self.at}; it is of {periods}")
        if self.at == ALL and self.recipe.inputs[self.name].static:
            raise RecipeError(f"input {self.name!r} is static, and has no series of all periods")

    def periods(self, key: TileKey) -> tuple[int, ...]:
        """The periods that a tile reads."""
        if self.at == ALL:
            return self.recipe.periods
        return (int(self.at or key.span),)

    def margin(self, box: PixelBox) -> int:
        """Pixels beyond a box that its values depend on, and within which items count."""
        from rsscale.inputs.windows import mask_margin

        return mask_margin(self.recipe.inputs[self.name], self.grid, box) + _KERNEL

    def read(self, box: PixelBox, key: TileKey, resources: Resources) -> xr.Dataset:
        """The composites of the tile's periods over a box, lazily."""
        from rsscale.inputs.prepare import prepare_input, without_doubled_days

        of_periods = [
            prepare_input(
                self.recipe.inputs[self.name],
                self.grid,
                self.lookups(self.name),
                period,
                box,
                device=resources.profile.device,
                meter=resources.meter,
                unreadable=resources.unreadable,
                constant=resources.constant,
                generation=self.generation(key),
            )
            for period in self.periods(key)
        ]
        if self.recipe.inputs[self.name].series:
            input_recipe = self.recipe.inputs[self.name]
            of_periods = without_doubled_days(of_periods, input_recipe, self.periods(key))
        composite = of_periods[0] if len(of_periods) == 1 else xr.concat(of_periods, "time")
        return composite.to_dataset(name="composite")

    def digest(self, box: PixelBox, key: TileKey) -> str:
        """Hash of the items that may have pixels in the box, and of how they are processed."""
        parts = [repr(sorted(self.recipe.inputs[self.name].processing().items()))]
        digest = self.lookups(self.name).digest(
            self._around(box), *self.days(key), self.generation(key)
        )
        parts.append(digest)
        if self.at not in ("", key.span):
            parts.append(" ".join(map(str, self.periods(key))))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def inputs(self, box: PixelBox, key: TileKey) -> Sequence[str]:
        """Ids of the items that may have pixels in the box; with collection where one is twice."""
        scenes = self.lookups(self.name).touching(
            self._around(box), *self.days(key), self.generation(key)
        )
        times = Counter(record.id for record in scenes)
        return [r.id if times[r.id] == 1 else f"{r.collection}/{r.id}" for r in scenes]

    def cost(self, box: PixelBox, key: TileKey) -> Cost:
        """Decoded bytes of the box and what its mask looks at around it, and items."""
        from rsscale.inputs.windows import mask_margin

        around = box.pad(mask_margin(self.recipe.inputs[self.name], self.grid, box))
        count, nbytes = self.lookups(self.name).cost(self.grid.geobox_of(around), *self.days(key))
        return Cost(nbytes, count)

    def _around(self, box: PixelBox) -> Any:
        return self.grid.geobox_of(box.pad(self.margin(box)))

    def days(self, key: TileKey) -> tuple[date, date]:
        """First and last day that a tile's periods read."""
        from rsscale.inputs.windows import span

        spans = [span(self.recipe.inputs[self.name], period) for period in self.periods(key)]
        return min(first for first, _ in spans), max(last for _, last in spans)


def imagery(sources: Iterable[Source]) -> Iterator[tuple[InputSource, int]]:
    """The inputs that sources read, and how many pixels beyond a box: also those made of others.

    A source that is made of another one has it as ``of``, and says by ``reach`` how many pixels
    beyond a box it reads of it.
    """
    for source in sources:
        beyond, inner = 0, source
        while not isinstance(inner, InputSource) and hasattr(inner, "of"):
            beyond += int(inner.reach)  # type: ignore[attr-defined]
            inner = inner.of
        if isinstance(inner, InputSource):
            yield inner, beyond


@dataclass(frozen=True)
class StoredLayers:
    """Layers of a step where they lie, with the ledger that says which tiles are done.

    Attributes
    ----------
    step : str
    store : ZarrStore
    ledger : LedgerReader
    shape : shapely geometry
        The area of the run in the grid's CRS: tiles outside are never computed.
    """

    step: str
    store: ZarrStore
    ledger: LedgerReader
    shape: shapely.Geometry

    def digests(self, span: str, box: PixelBox, names: Sequence[str], level: int) -> Iterator[str]:
        """Digests in the ledger of each tile that a box touches.

        Raises
        ------
        NotReadyError
            When a tile is not done.
        """
        grid = self.store.grid
        for tile in (box & self.store.extent).blocks(grid.tile):
            if not grid.overlaps(self.shape, tile):
                continue
            index = grid.tile_of(tile)
            key = TileKey(self.step, span, index.ix, index.iy, level)
            entry = self.ledger.read(key)
            if entry is None:
                raise NotReadyError(f"it reads the tile {key}, which is not done")
            yield f"{key.tile} " + " ".join(entry.digests.get(name, "") for name in names)


@dataclass(frozen=True)
class LayersSource:
    """Layers of an earlier step, across the borders of its tiles, as they are stored.

    Reads as a Dataset ``(y, x)`` in memory; nodata beyond the area. With ``at="all"`` it has all
    spans along ``time``.

    Attributes
    ----------
    stored : mapping of level to StoredLayers
    names : tuple of str
        Layers to read; all when empty.
    at : str
        A fixed span, ``"all"``, or the key's own when empty.
    below : int
        How many levels finer than the key's it reads.
    """

    stored: Mapping[int, StoredLayers]
    names: tuple[str, ...] = ()
    at: str = ""
    below: int = 0

    def __post_init__(self) -> None:
        store = self.stored[min(self.stored)].store
        known = [layer.name for layer in store.layers]
        for name in self.names:
            if name not in known:
                step = self.stored[min(self.stored)].step
                raise RecipeError(
                    f"step {step!r} has no layer {name!r}; it has {', '.join(known)}"
                    f"{nearest(name, known)}"
                )
        if self.at not in ("", ALL, *store.spans):
            step = self.stored[min(self.stored)].step
            raise RecipeError(f"step {step!r} is not of {self.at}; it is of {list(store.spans)}")

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that it reads."""
        every = self.stored[min(self.stored)].store.layers
        return tuple(layer for layer in every if layer.name in self.names) if self.names else every

    def read(self, box: PixelBox, key: TileKey, resources: Resources) -> xr.Dataset:
        """Stored values over a box, in memory."""
        stored, box = self._at_level(key, box)
        spans = self._spans(key, stored)
        with resources.meter.working():
            arrays = {}
            for layer in self.layers:
                nbytes = len(spans) * layer.pixel_bytes * box.shape[0] * box.shape[1]
                with resources.meter.reading(nbytes):
                    by_span = [stored.store.read(layer.name, span, box) for span in spans]
                arrays[layer.name] = np.stack(by_span) if self.at == ALL else by_span[0]
        grid = stored.store.grid
        if self.at != ALL:
            return over_box(self.layers, arrays, grid, box)
        times = dict(zip(stored.store.spans, stored.store.times, strict=True))
        by_time = [
            over_box(self.layers, {n: a[i] for n, a in arrays.items()}, grid, box)
            for i in range(len(spans))
        ]
        axis = xr.DataArray([times[s] for s in spans], dims="time", name="time")
        return xr.concat(by_time, axis, coords="minimal", compat="override", join="override")

    def digest(self, box: PixelBox, key: TileKey) -> str:
        """Hash of what the ledger says of each tile that the box touches."""
        stored, box = self._at_level(key, box)
        names = [layer.name for layer in self.layers]
        total = hashlib.sha256("\n".join(names).encode())
        for span in self._spans(key, stored):
            for line in stored.digests(span, box, names, key.level - self.below):
                total.update(f"{span} {line}\n".encode())
        return total.hexdigest()[:16]

    def inputs(self, box: PixelBox, key: TileKey) -> Sequence[str]:
        """Names of the steps and spans that are read."""
        stored, _ = self._at_level(key, box)
        return [f"{stored.step}/{span}" for span in self._spans(key, stored)]

    def cost(self, box: PixelBox, key: TileKey) -> Cost:
        """Bytes of the layers over the box."""
        stored, box = self._at_level(key, box)
        spans = len(self._spans(key, stored))
        pixels = box.shape[0] * box.shape[1]
        return Cost(spans * pixels * sum(layer.pixel_bytes for layer in self.layers), spans)

    def _at_level(self, key: TileKey, box: PixelBox) -> tuple[StoredLayers, PixelBox]:
        factor = 2**self.below
        finer = PixelBox(box.row0 * factor, box.col0 * factor, box.row1 * factor, box.col1 * factor)
        return self.stored[key.level - self.below], finer

    def _spans(self, key: TileKey, stored: StoredLayers) -> tuple[str, ...]:
        if self.at == ALL:
            return stored.store.spans
        return (self.at or key.span,)
