"""Bands, time windows and mask radius of a recipe's input."""

from __future__ import annotations

from datetime import date
from typing import Any

from rsscale.composites.time_windows import TimeWindow, time_windows
from rsscale.cube.mask_rules import mask_rules, nodata_rule
from rsscale.errors import AreaError, RecipeError
from rsscale.geo.grid import Grid
from rsscale.geo.ground import largest_radius
from rsscale.geo.lattice import PixelBox
from rsscale.recipe import InputRecipe

STATIC = "static"
"""Name of the one time window of an input that does not change."""


def bands_to_read(input_recipe: InputRecipe) -> list[str | dict[str, Any]]:
    """The recipe's bands and those that its mask reads, with their names in the items."""
    for band in mask_bands(input_recipe):
        if band in input_recipe.bands:
            raise RecipeError(
                f"{band!r} is the mask's band and also among the input's bands "
                f"{list(input_recipe.bands)}; "
                "a mask is not for the model to see: leave it out of 'bands'"
            )
    return input_recipe.requests


def mask_bands(input_recipe: InputRecipe) -> tuple[str, ...]:
    """The bands that the mask reads, whose numbers are codes or bits."""
    return input_recipe.mask.bands if input_recipe.mask else ()


def resampling(input_recipe: InputRecipe) -> dict[str, str]:
    """How bands are resampled: a mask's by nearest, a mean of two codes being a third."""
    return {**input_recipe.resampling, **dict.fromkeys(mask_bands(input_recipe), "nearest")}


def nodata(input_recipe: InputRecipe) -> dict[str, tuple[float, ...]]:
    """What may be nodata of a band: by the recipe, and of a mask's what its rule calls unseen."""
    among = nodata_rule(input_recipe.nodata or {})
    for rule in mask_rules(input_recipe.mask.rule) if input_recipe.mask else ():
        if rule.unseen is not None:
            among.setdefault(rule.band, rule.unseen)
    return among


def windows(input_recipe: InputRecipe, period: int) -> tuple[TimeWindow, ...]:
    """The time windows of an input; one over all time for a static one, or of a whole series."""
    if input_recipe.static:
        return (TimeWindow(STATIC, date.min, date.max),)
    if input_recipe.series:
        return time_windows(input_recipe.series_rule, period)
    return time_windows(input_recipe.composite.rule, period)


def times_of(input_recipe: InputRecipe, period: int) -> tuple[str, ...] | None:
    """Names of the time windows of an input; None for a series."""
    return None if input_recipe.series else window_names(input_recipe, period)


def window_names(input_recipe: InputRecipe, period: int) -> tuple[str, ...]:
    """Names of the time windows of an input."""
    return tuple(window.name for window in windows(input_recipe, period))


def span(input_recipe: InputRecipe, period: int) -> tuple[date, date]:
    """First and last day that an input is read of."""
    spans = windows(input_recipe, period)
    return min(w.start for w in spans), max(w.end for w in spans)


def mask_margin(input_recipe: InputRecipe, grid: Grid, box: PixelBox) -> int:
    """Pixels beyond a box that its values depend on: how far a cloud's mask reaches there."""
    if not input_recipe.mask or input_recipe.mask.dilate == 0 or box.empty:
        return 0
    try:
        return largest_radius(grid.geobox_of(box), input_recipe.mask.dilate)
    except AreaError as error:
        dilate = input_recipe.mask.dilate
        raise RecipeError(f"mask.dilate is {dilate:g} metres, but {error}") from None
