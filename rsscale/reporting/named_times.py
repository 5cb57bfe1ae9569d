"""The layers of a run with what it calls each of their times: a year, or a pair of years."""

from __future__ import annotations

import xarray as xr

from rsscale.runs.run import Run


def open_named(run: Run, step: str = "map") -> xr.Dataset:
    """The layers of a step, as :meth:`rsscale.Run.open`, with the coordinate ``span (time)``.

    The time of a change is the year after it; its span, ``"2023-2024"``, says which years it is
    between, and is what pictures write above it.
    """
    ds = run.open(step)
    spans = run.state["steps"][step].get("spans") or []
    return ds.assign_coords(span=("time", spans)) if len(spans) == ds.sizes.get("time") else ds
