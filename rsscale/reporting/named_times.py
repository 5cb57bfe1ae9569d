"""The layers of a run with the names of their times, and the step that another is made of."""

from __future__ import annotations

import xarray as xr

from rsscale.recipe.yaml_text import parse_yaml
from rsscale.runs.run import Run


def open_named(run: Run, step: str = "map") -> xr.Dataset:
    """The layers of a step, as :meth:`rsscale.Run.open`, with the coordinate ``span (time)``.

    The time of a change is the year after it; its span, ``"2023-2024"``, says which years it is
    between, and is what pictures write above it.
    """
    ds = run.open(step)
    spans = run.state["steps"][step].get("spans") or []
    return ds.assign_coords(span=("time", spans)) if len(spans) == ds.sizes.get("time") else ds


def source_step(run: Run, step: str) -> str | None:
    """The name of the step whose classes a step is made of.

    None where that is no step of this run, or has no classes.
    """
    recipe = parse_yaml(run.folder.storage.read("recipe.yaml").decode(), "recipe.yaml")
    steps = recipe.get("steps") or {}
    source = steps[step].get("of") if step in steps else "map"  # the short form of a recipe
    known = run.state["steps"].get(source) if isinstance(source, str) else None
    layers = [layer["name"] for layer in (known or {}).get("layers") or ()]
    return source if "classification" in layers else None
