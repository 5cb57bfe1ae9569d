"""Layers of another run: finished, on the same grid, read where they lie."""

from __future__ import annotations

import numpy as np

from rsscale.errors import RecipeError, RunFolderError, nearest
from rsscale.geo.area import read_area
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.layers import Layer
from rsscale.steps.sources import StoredLayers
from rsscale.store.ledger import LedgerReader
from rsscale.store.run_folder import RunFolder
from rsscale.store.run_state import run_grid
from rsscale.store.zarr_store import ZarrStore


def stored_in(path: str, step: str, grid: Grid) -> StoredLayers:
    """The layers of a step of a finished run.

    Parameters
    ----------
    path : str
        The run folder, or its address.
    step : str
    grid : Grid
        Of the run that reads: the other's pixels must be the same; its tiles need not.

    Raises
    ------
    RunFolderError
        When there is no run, or it is not finished.
    RecipeError
        When it has no such step, or lies on another grid.
    """
    folder = RunFolder.at(path)
    state = folder.read_state()
    if state["state"] != "done":
        raise RunFolderError(
            f"the run {path} is {state['state']}, and only a finished one can be read; go on with: "
            f"rsscale resume {path}"
        )
    known = state["steps"]
    if step not in known or not known[step].get("layers"):
        names = [name for name, content in known.items() if content.get("layers")]
        raise RecipeError(
            f"the run {path} has no step {step!r} with layers; it has {', '.join(names)}"
            f"{nearest(step, names)}"
        )
    other = run_grid(state)
    if (other.crs, other.resolution, other.origin) != (grid.crs, grid.resolution, grid.origin):
        raise RecipeError(f"the run {path} lies on the grid {other}, this one on {grid}")
    described = known[step]
    area = read_area(folder.storage.local(state["area"]))
    return StoredLayers(
        step,
        ZarrStore(
            storage=folder.store(described["store"]),
            grid=other,
            extent=PixelBox(*state["extent"]),
            spans=tuple(described["spans"]),
            times=tuple(np.datetime64(time) for time in described["times"]),
            layers=tuple(map(Layer.parse, described["layers"])),
        ),
        LedgerReader(folder.ledger),
        other.project(area).geom,
    )
