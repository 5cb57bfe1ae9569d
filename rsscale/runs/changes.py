"""Change between two periods of a finished run, tile by tile, into ``change.zarr``."""

from __future__ import annotations

import numpy as np
import xarray as xr

from rsscale.change.post_classification import detect_change
from rsscale.passes.mapping import period_start
from rsscale.progress import progress
from rsscale.runs.planning import RunPlan
from rsscale.store import zarr_store as store


def write_change(plan: RunPlan) -> None:
    """Compare two periods and write the layers of :func:`rsscale.detect_change`.

    Made anew whenever the run is finished: it costs little, and its inputs are complete then.
    """
    recipe, folder = plan.recipe, plan.folder
    if recipe.change is None:
        return
    product = store.open_product(folder.product)
    before = _period(product, recipe.change.from_)
    after = _period(product, recipe.change.to)
    change = detect_change(before, after)
    store.create(
        folder.change,
        plan.grid,
        plan.extent,
        times=[period_start(recipe.change.to)],
        layers=[store.Layer(str(n), _attributes(v)) for n, v in change.data_vars.items()],
        attributes={
            "title": f"{recipe.name}: change {recipe.change.from_} to {recipe.change.to}",
            "method": recipe.change.method,
        },
    )
    boxes = list(plan.extent.blocks(plan.grid.tile))
    with progress("change", len(boxes), "tiles") as bar:
        for box in boxes:
            rows, cols = box.slices(plan.extent)
            part = change.isel(y=rows, x=cols).compute(scheduler="threads")
            store.write_tile(folder.change, 0, box, plan.extent, part)
            bar.advance()


def _period(product: xr.Dataset, period: int) -> xr.Dataset:
    return product.sel(time=np.datetime64(period_start(period))).drop_vars("time")


def _attributes(layer: xr.DataArray) -> dict[str, object]:
    plain = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in layer.attrs.items()}
    return {k: v for k, v in plain.items() if k not in ("grid_mapping", "coordinates", "nodata")}
