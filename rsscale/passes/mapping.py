"""The tile function: what a pixel of the map is, wherever and whenever it is computed.

A person previews it on a small box, training takes its composites, a run evaluates it for
every tile of a country. It depends on nothing but the recipe, the frozen items, the model
and the box; and the value of a pixel does not depend on the box.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import shapely
import xarray as xr

from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.geo.rasterize import area_mask
from rsscale.inference.predict import first_windows, predict
from rsscale.inference.seams import Seams, count_seams
from rsscale.items.item_index import Lookup
from rsscale.layers import NODATA
from rsscale.learn.accelerate import agreement
from rsscale.learn.models import Model
from rsscale.model.spec import Predictor
from rsscale.passes.inputs import prepare
from rsscale.passes.strips import composite_strips, strips
from rsscale.read.stage_timer import Meter
from rsscale.recipe import Recipe

# Tiles of one worker read and write at the same time, but torch wants all cores for itself.
_ONE_MODEL_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class MappedTile:
    """One tile's map and what it took.

    Attributes
    ----------
    layers : Dataset
        ``(y, x)`` uint8, the layers that the recipe asks for.
    items : tuple of str
        Ids of the items that were read.
    pixels, unseen, non_finite : int
        Pixels inside the area; of them, never seen clearly; of them, without a finite score.
    missing : tuple of str
        What could not be read and counts as not seen (``on_error: skip``), a line an asset.
    seconds : mapping
        Of ``read``, ``prepare`` (mask and composite) and ``infer``, without waiting for a thread or
        for the model; what threads do side by side counts by its share of them.
    decoded_bytes : int
        Of pixels that were read.
    seams : Seams
        How labels disagree along window lines.
    batch : int
        Windows at once, in the end: halved as often as memory asked for.
    agreement : float, optional
        Share of labels of the first windows that are those of the plain model.
    """

    layers: xr.Dataset
    items: tuple[str, ...]
    pixels: int
    unseen: int
    non_finite: int
    missing: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    decoded_bytes: int = 0
    seams: Seams = field(default_factory=Seams)
    batch: int = 1
    agreement: float | None = None


def map_tile(
    recipe: Recipe,
    grid: Grid,
    sources: Mapping[str, Lookup],
    model: Predictor,
    *,
    period: int,
    box: PixelBox,
    area: shapely.Geometry,
    batch: int = 1,
    threads: int | None = None,
    device: str = "cpu",
    plain: Model | None = None,
) -> MappedTile:
    """Map one box of pixels for one period.

    Parameters
    ----------
    recipe : Recipe
        What to read and how to composite it.
    grid : Grid
        The recipe's grid.
    sources : mapping of input name to Lookup
        The frozen items of each input.
    model : Predictor
        The period's model.
    period : int
        The year.
    box : PixelBox
        Any box of the grid; a run passes tiles, a preview passes what was asked for.
    area : shapely geometry in the grid's CRS
        Pixels whose centre lies outside are nodata in every layer.
    batch, threads : int
        Windows that the model sees at once; threads that read and composite.
    device : str
        Where composites are computed: the model's.
    plain : Model, optional
        The model as it was opened; its labels are compared with those of ``model``, which
        computes faster.

    Raises
    ------
    ReadError
        When an asset can't be read, unless its input says ``on_error: skip``: a tile is
        never silently blank.
    """
    where = area_mask(area, grid, box)
    lattice = model.spec.lattice
    around = lattice.read_box(box)
    inputs = prepare(recipe, grid, sources, period, around, device=device)
    cores = strips(box, lattice, sum(one.channels for one in model.spec.inputs))
    reads = [lattice.read_box(core) for core in cores]
    composites = composite_strips(inputs.composites, around, reads, threads, inputs.meter)
    seconds = {"infer": 0.0}
    parts = []
    same = None
    with closing(composites):
        for core in cores:
            seen = next(composites)
            if plain is not None and same is None:
                same = _agreement(plain, model, seen, grid.origin, batch)
            with _ONE_MODEL_AT_A_TIME, _timed(seconds, "infer"):
                parts.append(
                    predict(
                        seen,
                        model,
                        core=grid.geobox_of(core),
                        origin=grid.origin,
                        where=where[core.slices(box)],
                        probability="probability" in recipe.output.layers,
                        batch=batch,
                    )
                )
            del seen  # not to stay with this frame, see composite_strips
            batch = parts[-1].attrs["batch"]
    layers = parts[0] if len(parts) == 1 else _stacked(parts)
    unseen = where & (layers["classification"].values == NODATA)
    non_finite = sum(int(part.attrs["non_finite"]) for part in parts)
    return MappedTile(
        layers=layers[list(recipe.output.layers)],
        items=inputs.items,
        pixels=int(where.sum()),
        unseen=int(unseen.sum()) - non_finite,
        non_finite=non_finite,
        missing=tuple(sorted(inputs.missing.values())),
        seconds=seconds | _shares(inputs.meter, threads),
        decoded_bytes=inputs.meter.decoded_bytes,
        seams=count_seams(layers["classification"].values, box, lattice),
        batch=batch,
        agreement=same,
    )


def _agreement(
    plain: Model,
    fast: Predictor,
    seen: Mapping[str, xr.DataArray],
    origin: tuple[float, float],
    batch: int,
) -> float | None:
    """Share of equal labels on the first windows; None where nothing was seen."""
    windows = first_windows(seen, plain.spec, origin=origin, count=batch)
    if len(windows) < batch:
        return None
    with _ONE_MODEL_AT_A_TIME:
        return agreement(plain, cast("Model", fast), windows)


def _shares(meter: Meter, threads: int | None) -> dict[str, float]:
    """Seconds of the stages that threads share, as if all of them had worked all the time."""
    count = threads or 1
    return {
        "read": meter.reading_s / count,
        "prepare": (meter.working_s - meter.reading_s) / count,
    }


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[stage] += time.perf_counter() - started


def _stacked(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Strips of a tile below each other."""
    return xr.concat(
        parts, "y", data_vars="minimal", coords="minimal", compat="override", join="override",
        combine_attrs="override",
    )  # fmt: skip


def stack_periods(tiles: Mapping[int, xr.Dataset]) -> xr.Dataset:
    """Maps of several periods along ``time``, as the product has them."""
    return xr.concat(
        list(tiles.values()),
        dim=xr.DataArray([period_start(p) for p in tiles], dims="time", name="time"),
        coords="minimal",
        compat="override",
        join="override",
    ).assign_coords(dict(next(iter(tiles.values())).coords.items()))


def period_start(period: int) -> np.datetime64:
    """The time coordinate of a period."""
    return np.datetime64(f"{period:04d}-01-01", "ns")
