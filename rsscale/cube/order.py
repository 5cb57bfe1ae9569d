"""Read from a cube's coordinates the canonical order of its slices and their scale and offset."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr


def canonical_order(cube: xr.DataArray) -> npt.NDArray[np.intp]:
    """Indices of the slices by (datetime, id), in which sums are made and ties decided."""
    times = cube["time"].values.astype("datetime64[ns]")
    if "id" not in cube.coords:
        return np.argsort(times, kind="stable")
    return np.lexsort((cube["id"].values.astype(str), times))


def per_scene(cube: xr.DataArray, name: str, default: float) -> npt.NDArray[np.float32]:
    """A coordinate ``(time, band)`` as float32, or a default in all places."""
    shape = cube.sizes["time"], cube.sizes["band"]
    if name not in cube.coords:
        return np.full(shape, default, "float32")
    values: npt.NDArray[np.float32] = cube[name].transpose("time", "band").values.astype("float32")
    return values
