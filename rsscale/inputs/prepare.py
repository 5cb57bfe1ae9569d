"""The model's inputs over a box, as a recipe describes them: read, mask, merge, reduce.

Each input has its own catalogue, mask and composite; they meet on the grid, by name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from rsscale.composites.composite import composite
from rsscale.composites.merge_days import merge_days
from rsscale.composites.series import series
from rsscale.composites.strips import in_memory
from rsscale.cube.build import build_cube
from rsscale.cube.masks import mask
from rsscale.cube.sar import to_decibel
from rsscale.errors import ReadError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.inference.constant_pixels import ConstantPixels, noted_constant
from rsscale.inputs.windows import STATIC, mask_margin, nodata, resampling, span, windows
from rsscale.items.item_store import Lookup
from rsscale.layers import Period, year_of
from rsscale.read.stage_timer import StageTimer
from rsscale.recipe import InputRecipe, Recipe

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TileInputs:
    """Inputs of a model over a box.

    Attributes
    ----------
    composites : mapping of input name to DataArray
        Lazy float32 ``(time, band, y, x)``, NaN where nothing was seen.
    missing : dict of asset to str
        Filled while the composites are computed: what could not be read and counts as not
        seen, where the recipe says ``on_error: skip``. The first reason of each asset.
    meter : StageTimer
        Filled likewise: how long threads worked and read, and how much was read.
    constant : ConstantPixels
        Counts likewise observations that are the same number in all bands.
    """

    composites: dict[str, xr.DataArray]
    missing: dict[str, str] = field(default_factory=dict)
    meter: StageTimer = field(default_factory=StageTimer)
    constant: ConstantPixels = field(default_factory=ConstantPixels)

    def compute(self, threads: int | None) -> dict[str, xr.DataArray]:
        """Composites in memory, computed on threads of this process."""
        arrays = in_memory(self.composites.values(), threads, self.meter)
        return dict(zip(self.composites, arrays, strict=True))


def prepare(
    recipe: Recipe,
    grid: Grid,
    sources: Mapping[str, Lookup],
    period: Period,
    box: PixelBox,
    *,
    device: str = "cpu",
    generation: int | None = None,
) -> TileInputs:
    """The model's inputs over a box, lazily.

    Parameters
    ----------
    recipe : Recipe
    grid : Grid
    sources : mapping of input name to Lookup
    period : int or YearPair
        The year; of a pair each input has that of its name.
    box : PixelBox
        Pixels that the model reads.
    device : str
        Where composites are computed.
    generation : int, optional
        Take only scenes that were there when the run had grown so often; all when omitted.
    """
    missing: dict[str, str] = {}
    meter, constant = StageTimer(), ConstantPixels()
    how: dict[str, Any] = {
        "device": device,
        "meter": meter,
        "unreadable": missing,
        "constant": constant,
        "generation": generation,
    }
    composites = {
        name: prepare_input(input_recipe, grid, sources[name], year_of(period, name), box, **how)
        for name, input_recipe in recipe.inputs.items()
    }
    return TileInputs(composites, missing, meter, constant)


def prepare_input(
    input_recipe: InputRecipe,
    grid: Grid,
    lookup: Lookup,
    period: int,
    box: PixelBox,
    *,
    device: str,
    meter: StageTimer,
    unreadable: dict[str, str],
    constant: ConstantPixels,
    generation: int | None = None,
) -> xr.DataArray:
    """The composites of one input over a box, lazily: ``(time, band, y, x)`` float32.

    Parameters
    ----------
    input_recipe : InputRecipe
    grid : Grid
    lookup : Lookup
        The items of the input.
    period : int
        The year.
    box : PixelBox
    device : str
        Where composites are computed.
    meter : StageTimer
        Counts what is read while they are.
    unreadable : dict of asset to str
        Filled likewise, where the recipe says ``on_error: skip``.
    constant : ConstantPixels
        Counts likewise observations that are the same number in all bands.
    generation : int, optional
        Take only scenes that were there when the run had grown so often; all when omitted.
    """
    margin = mask_margin(input_recipe, grid, box)
    around = grid.geobox_of(box.pad(margin))
    scenes = lookup.touching(around, *span(input_recipe, period), generation)
    cube = build_cube(
        scenes.reached_by(input_recipe.access),
        around,
        resampling=resampling(input_recipe),
        nodata=nodata(input_recipe),
        loader=input_recipe.loader,
        on_error="raise" if input_recipe.on_error == "fail" else _noted(unreadable),
        meter=meter,
    )
    reduced = _reduce(cube, input_recipe, period, device, constant)
    return reduced[..., margin:-margin, margin:-margin] if margin else reduced


def without_doubled_days(
    of_periods: Sequence[xr.DataArray], input_recipe: InputRecipe, periods: Sequence[int]
) -> list[xr.DataArray]:
    """Series of periods whose days overlap: of a day, the observations of the first one."""
    kept, until = [], np.datetime64("0001-01-01", "D")
    for period, of_period in zip(periods, of_periods, strict=True):
        days = of_period["time"].values.astype("datetime64[D]")
        kept.append(of_period.isel(time=np.nonzero(days > until)[0]))
        until = max(until, np.datetime64(span(input_recipe, period)[1], "D"))
    return kept


def _reduce(
    cube: xr.DataArray,
    input_recipe: InputRecipe,
    period: int,
    device: str,
    constant: ConstantPixels,
) -> xr.DataArray:
    """A cube's composite, or its series, as the recipe says."""
    if not input_recipe.harmonize:  # numbers of all processing baselines alike, as some tools do
        cube = cube.assign_coords(offset=xr.zeros_like(cube["offset"]))
    if input_recipe.mask:
        cube = mask(cube, input_recipe.mask.rule, dilate=input_recipe.mask.dilate)
    cube = noted_constant(cube.sel(band=list(input_recipe.bands)), constant)
    if input_recipe.merge_days:
        cube = merge_days(cube)
    rule = input_recipe.composite
    if input_recipe.series:
        (window,) = windows(input_recipe, period)
        reduced = series(cube, window.start, window.end)
    elif input_recipe.static:
        reduced = _static(cube, rule.reducer, device)
    else:
        reduced = composite(
            cube, rule.rule, rule.reducer, years=[period], missing=rule.missing, device=device
        )
    return to_decibel(reduced) if input_recipe.decibel else reduced


def _static(cube: xr.DataArray, reducer: str, device: str) -> xr.DataArray:
    """All items as one observation of something that does not change, whenever they are dated.

    It carries no ``observations``: to know the terrain of a pixel is not to have seen it.
    """
    any_day = np.full(cube.sizes["time"], np.datetime64("2000-01-01", "ns"))
    reduced = composite(
        cube.assign_coords(time=any_day), "year", reducer, years=[2000], device=device
    )
    return reduced.drop_vars("observations").assign_coords(window=("time", [STATIC]))


def _noted(missing: dict[str, str]) -> Callable[[ReadError], None]:
    def note(error: ReadError) -> None:
        if error.asset not in missing:  # one of many blocks
            missing[error.asset] = str(error)
            _log.warning("counted as not seen: %s", error)

    return note
