"""Bands, time windows and mask radius of a recipe's input."""

from __future__ import annotations

import math
from datetime import date

from rsscale.composites.time_windows import TimeWindow, time_windows
from rsscale.cube.mask_rules import mask_rule
from rsscale.errors import RecipeError
from rsscale.geo.grid import Grid
from rsscale.recipe import InputRecipe

STATIC = "static"
"""Name of the one time window of an input that does not change."""


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


def windows(one: InputRecipe, period: int) -> tuple[TimeWindow, ...]:
    """The time windows of an input; one over all time for a static one."""
    if one.static:
        return (TimeWindow(STATIC, date.min, date.max),)
    return time_windows(one.composite.rule, period)


def window_names(one: InputRecipe, period: int) -> tuple[str, ...]:
    """Names of the time windows of an input."""
    return tuple(window.name for window in windows(one, period))


def span(one: InputRecipe, period: int) -> tuple[date, date]:
    """First and last day that an input is read of."""
    spans = windows(one, period)
    return min(w.start for w in spans), max(w.end for w in spans)


def mask_margin(one: InputRecipe, grid: Grid) -> int:
    """Pixels beyond the box that its values depend on: how far a cloud's mask reaches."""
    return math.ceil(one.mask.dilate / grid.resolution) if one.mask else 0
