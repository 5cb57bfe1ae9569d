"""Composites of each reducer on the device against the CPU."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

import rsscale as rs
from benchmarks.gpu.rows import Row, compared_arrays, timed

REDUCERS = ("median", "mean", "min", "max", "p10", "best-pixel", "medoid", "geomedian")
# Sums in another order round otherwise; reflectances are up to 1.
_ROUNDING = {"mean": 1e-5, "geomedian": 1e-3, "best-pixel": 0.0}
DATES, BANDS = 12, 6


def composite_rows(device: str, quick: bool) -> Iterator[Row]:
    """A row for each reducer, of uint16 and with gaps."""
    cube = series(64 if quick else 1024)
    for reducer in REDUCERS:
        theirs, cpu_s = timed(lambda r=reducer: _composite(cube, r, "cpu"), "cpu")
        ours, device_s = timed(lambda r=reducer: _composite(cube, r, device), device, 2)
        agreement, largest = compared_arrays(ours.values, theirs.values)
        rounding = _ROUNDING.get(reducer, 0.0)
        # What picks a value by a rounded distance may pick another one where two are as near.
        allowed = (0.0, rounding) if rounding else (0.9999 if reducer == "medoid" else 1.0, 1.0)
        pixels = cube.sizes["y"] * cube.sizes["x"]
        note = f"{pixels / device_s / 1e6:.1f} million px/s"
        yield Row(f"composite {reducer}", agreement, largest, "", allowed, cpu_s, device_s, note)


def _composite(cube: xr.DataArray, reducer: str, device: str) -> xr.DataArray:
    return rs.composite(cube, by="year", reducer=reducer, device=device).compute(
        scheduler="synchronous"
    )


def series(size: int) -> xr.DataArray:
    """A cube ``(time, band, y, x)`` of digital numbers, uint16, 40 % of them nodata, in memory."""
    import dask.array as da

    random = np.random.default_rng(0)
    data = random.integers(1, 10_000, (DATES, BANDS, size, size), dtype="uint16")
    data *= (random.random((DATES, 1, size, size)) > 0.4).astype("uint16")
    shape = (DATES, BANDS)
    days = np.arange(DATES) * np.timedelta64(30, "D")
    return xr.DataArray(
        da.from_array(data, chunks=data.shape),
        dims=("time", "band", "y", "x"),
        coords={
            "time": np.datetime64("2023-01-01", "ns") + days,
            "band": [f"b{k}" for k in range(BANDS)],
            "y": np.arange(size) * -10.0,
            "x": np.arange(size) * 10.0,
            "scale": (("time", "band"), np.full(shape, 1e-4, np.float32)),
            "offset": (("time", "band"), np.zeros(shape, np.float32)),
        },
        attrs={"nodata": 0},
    )
