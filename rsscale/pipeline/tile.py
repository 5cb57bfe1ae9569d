"""The tile function: what a pixel of the map is, wherever and whenever it is computed.

A person previews it on a small box, training takes its composites, a run evaluates it for
every tile of a country. It depends on nothing but the recipe, the frozen items, the model
and the box; and the value of a pixel does not depend on the box.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import shapely
import xarray as xr

from rsscale.data.composite import composite, time_windows
from rsscale.data.load import load
from rsscale.data.masks import mask, mask_rule
from rsscale.data.rasterize import area_mask
from rsscale.data.select import ItemIndex
from rsscale.errors import RecipeError
from rsscale.grid import Grid, PixelBox
from rsscale.maps.predict import predict
from rsscale.modelspec import NODATA, Predictor
from rsscale.recipe import InputRecipe, Recipe

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
    seconds : mapping
        Wall time of ``prepare`` and ``infer``.
    """

    layers: xr.Dataset
    items: tuple[str, ...]
    pixels: int
    unseen: int
    non_finite: int
    seconds: Mapping[str, float] = field(default_factory=dict)


def map_tile(
    recipe: Recipe,
    grid: Grid,
    sources: Mapping[str, ItemIndex],
    model: Predictor,
    *,
    period: int,
    box: PixelBox,
    area: shapely.Geometry,
    batch: int = 1,
    threads: int | None = None,
) -> MappedTile:
    """Map one box of pixels for one period.

    Parameters
    ----------
    recipe : Recipe
        What to read and how to composite it.
    grid : Grid
        The recipe's grid.
    sources : mapping of input name to ItemIndex
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

    Raises
    ------
    ReadError
        When an asset can't be read: a tile is never silently blank.
    """
    started = time.perf_counter()
    where = area_mask(area, grid, box)
    read = model.spec.lattice.read_box(box)
    composites, items = prepare(recipe, grid, sources, period, read)
    composites = compute(composites, threads)
    prepared = time.perf_counter()
    with _ONE_MODEL_AT_A_TIME:
        layers = predict(
            composites,
            model,
            core=grid.geobox_of(box),
            origin=grid.origin,
            where=where,
            probability="probability" in recipe.output.layers,
            batch=batch,
        )
    unseen = where & (layers["classification"].values == NODATA)
    non_finite = int(layers.attrs["non_finite"])
    return MappedTile(
        layers=layers[list(recipe.output.layers)],
        items=items,
        pixels=int(where.sum()),
        unseen=int(unseen.sum()) - non_finite,
        non_finite=non_finite,
        seconds={
            "prepare": prepared - started,
            "infer": time.perf_counter() - prepared,
        },
    )


def prepare(
    recipe: Recipe,
    grid: Grid,
    sources: Mapping[str, ItemIndex],
    period: int,
    box: PixelBox,
) -> tuple[dict[str, xr.DataArray], tuple[str, ...]]:
    """The model's inputs over a box: lazy composites by name, and the ids of the items used."""
    composites, used = {}, []
    for name, one in recipe.inputs.items():
        margin = _margin(one, grid)
        geobox = grid.geobox_of(box.pad(margin))
        windows = time_windows(one.composite.rule, period)
        first, last = min(w.start for w in windows), max(w.end for w in windows)
        items = sources[name].touching(geobox, first, last)
        cube = load(items, geobox, bands_to_read(one), resampling=one.resampling)
        if not one.harmonize:  # numbers of all processing baselines alike, as some tools do
            cube = cube.assign_coords(offset=xr.zeros_like(cube["offset"]))
        if one.mask:
            cube = mask(cube, one.mask.rule, dilate=one.mask.dilate)
        cube = cube.sel(band=list(one.bands))
        reduced = composite(cube, one.composite.rule, one.composite.reducer, years=[period])
        if margin:
            reduced = reduced[..., margin:-margin, margin:-margin]
        composites[name] = reduced
        used += [item.id for item in items]
    return composites, tuple(used)


def compute(composites: Mapping[str, xr.DataArray], threads: int | None) -> dict[str, xr.DataArray]:
    """Composites in memory: values and looks from one graph, on threads of this process."""
    import dask

    # Named explicitly: inside a Dask worker the default would submit to the cluster again.
    arrays = dask.compute(*composites.values(), scheduler="threads", num_workers=threads)
    return dict(zip(composites, arrays, strict=True))


def bands_to_read(one: InputRecipe) -> list[str]:
    """The recipe's bands, and the band that its mask reads."""
    if one.mask is None:
        return list(one.bands)
    band = mask_rule(one.mask.rule).band
    if band in one.bands:
        raise RecipeError(
            f"{band!r} is the mask's band and also among the input's bands {list(one.bands)}; "
            "a mask is not for the model to see: leave it out of 'bands'"
        )
    return [*one.bands, band]


def window_names(one: InputRecipe, period: int) -> tuple[str, ...]:
    """Names of the time windows of an input."""
    return tuple(window.name for window in time_windows(one.composite.rule, period))


def _margin(one: InputRecipe, grid: Grid) -> int:
    """Pixels beyond the box that its values depend on: how far a cloud's mask reaches."""
    return math.ceil(one.mask.dilate / grid.resolution) if one.mask else 0


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
