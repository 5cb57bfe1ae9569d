"""The grid of a run, without its recipe: what pages and points are placed by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rsscale.geo.grid import Grid


def grid_of(state: Mapping[str, Any]) -> Grid:
    """The grid of a run, from its ``run.json``."""
    grid = state["grid"]
    west, north = grid["origin"]
    return Grid(
        crs=grid["crs"], resolution=grid["resolution"], tile=grid["tile"], origin=(west, north)
    )
