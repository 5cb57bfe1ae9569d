"""Units that can't be of the map: outside of it, or on one pixel twice."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.errors import RecipeError
from rsscale.estimation.sample_table import SampleTable
from rsscale.plans.plan import RunPlan
from rsscale.survey_estimators.units import Ints
from rsscale.text.wording import counted

_TOLD = 5
# Share of the map by which it may be off, as of a systematic sample.
_COVERED = 0.05


def check_units(row: Ints, col: Ints, plan: RunPlan, ids: npt.NDArray[np.generic]) -> None:
    """Refuse units outside of a run's area, and pixels that are there twice.

    Parameters
    ----------
    row, col : int64 arrays (n,)
        Global pixels.
    plan : RunPlan
    ids : array (n,)

    Raises
    ------
    RecipeError
        With some of them.
    """
    extent, grid = plan.extent, plan.grid
    outside = (row < extent.row0) | (row >= extent.row1)
    outside |= (col < extent.col0) | (col >= extent.col1)
    x = grid.origin[0] + (col + 0.5) * grid.resolution
    y = grid.origin[1] - (row + 0.5) * grid.resolution
    area = grid.project(plan.area).geom.buffer(grid.resolution / 2)  # a centre on the border
    shapely.prepare(area)
    outside |= ~np.asarray(shapely.contains_xy(area, x, y), bool)
    if outside.any():
        raise RecipeError(
            f"{int(outside.sum())} of {len(row)} units lie outside of the map, such as "
            f"{_some(ids[outside])}: the sample is of another area or has another CRS; use the "
            "sample that was drawn from this map"
        )
    _, first, count = np.unique(np.stack([row, col]), axis=1, return_index=True, return_counts=True)
    twice = first[count > 1]
    if len(twice):
        raise RecipeError(
            f"{counted(len(twice), 'pixel is', 'pixels are')} there more than once, such as that "
            f"of unit {ids[twice[0]]}: each unit counts once; remove the copies"
        )


def check_covered(table: SampleTable, mapped: float) -> None:
    """Refuse a sample without a design record whose units do not stand for the whole map.

    Parameters
    ----------
    table : SampleTable
        With probabilities and sizes.
    mapped : float
        Hectares that have a class.

    Raises
    ------
    RecipeError
        When 1 / probability, in hectares, adds up to something else. Where primary units were
        drawn it is chance by how much.
    """
    if table.probability is None or table.size is None or table.design.kind == "two-stage":
        return
    covered = float((table.size / table.probability).sum())
    if abs(covered - mapped) > _COVERED * mapped:
        raise RecipeError(
            f"by their inclusion probabilities the units stand for {covered:,.0f} ha, and the map "
            f"has {mapped:,.0f} ha: the strata do not cover the map, or units are missing; use the "
            "whole sample as it was drawn, with its design record"
        )


def _some(ids: npt.NDArray[np.generic]) -> str:
    more = ", …" if len(ids) > _TOLD else ""
    return ", ".join(str(unit_id) for unit_id in ids[:_TOLD]) + more
