"""The map of a small box, without a run: the same values that a run writes there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from rsscale.cluster.machine import Machine
from rsscale.cluster.profile import NumericProfile
from rsscale.errors import AreaError
from rsscale.geo.area import read_area
from rsscale.learn.models import open_model
from rsscale.passes.job import (
    find_items,
    index_items,
    open_job,
    read_margin,
    recipe_area,
)
from rsscale.passes.mapping import stack_periods
from rsscale.recipe import Recipe, read_recipe


def preview(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    bbox: Any,
    *,
    device: str = "auto",
    threads: int | None = None,
    overrides: Sequence[str] = (),
) -> xr.Dataset:
    """Map a small box for all periods of a recipe, in memory.

    Parameters
    ----------
    recipe : path, mapping or Recipe
    bbox : (west, south, east, north) in degrees, or anything that is an area
        Mapped are the grid's pixels around it.
    device, threads
        As for :func:`rsscale.run`; the same give the same values as a run.
    overrides : sequence of "key.sub=value"

    Returns
    -------
    xarray.Dataset
        ``(time, y, x)`` uint8 as the product has it; pixels outside the recipe's area are
        nodata (255) here too.

    Raises
    ------
    AreaError
        When the box does not touch the recipe's area.
    """
    if not isinstance(recipe, Recipe):
        recipe = read_recipe(recipe, overrides)
    profile = NumericProfile.on(Machine.here(), device, threads)
    profile.apply()
    area, asked = recipe_area(recipe), read_area(bbox)
    if not area.intersects(asked):
        raise AreaError(
            f"the box {list(asked.boundingbox.bbox)} lies outside the recipe's area "
            f"{[round(v, 4) for v in area.boundingbox.bbox]}; choose a box inside it"
        )
    models = {p: open_model(recipe.model_path(p), device="cpu") for p in recipe.periods}
    items = find_items(recipe, asked, read_margin(recipe, models))
    job = open_job(recipe, area, index_items(recipe, recipe.grid.build(), items), profile)
    box = job.grid.box(asked)
    return stack_periods(
        {period: job.map(period, box, profile).layers for period in recipe.periods}
    )
