"""Series of scenes as small cubes in memory."""

import dask.array as da
import numpy as np
import xarray as xr


def cube_of(data, times, *, chunks=None, fill=0, scale=1.0, offset=0.0):
    scenes, bands, height, width = data.shape
    shape = (scenes, bands)
    coords = {
        "time": np.array(times, "datetime64[ns]"),
        "band": [f"b{n}" for n in range(bands)],
        "y": np.arange(height) * -10.0,
        "x": np.arange(width) * 10.0,
        "scale": (
            ("time", "band"),
            np.broadcast_to(np.float32(scale), shape),
        ),
        "offset": (("time", "band"), np.broadcast_to(np.float32(offset), shape)),
    }
    return xr.DataArray(
        da.from_array(data, chunks=chunks or (scenes, bands, -1, -1)),
        dims=("time", "band", "y", "x"),
        coords=coords,
        attrs={"nodata": fill},
    )


def days(count, start="2023-01-01", step=7):
    return np.datetime64(start) + np.arange(count) * step


def gaps(shape, seed, share=0.4, dtype="uint16"):
    """Random scenes in which a band here and there is nodata."""
    rng = np.random.default_rng(seed)
    data = rng.integers(1, 10_000, shape).astype(dtype)
    data[rng.random(shape) < share] = 0
    return data
