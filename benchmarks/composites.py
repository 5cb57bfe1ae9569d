"""Speed of composites by reducer, and their memory by number of dates.

    python -m benchmarks.composites [--quick] [--json FILE]

Speed: 12 dates of 4 bands of 1024 x 1024 px (uint16, 40 % gaps in whole scenes), in memory. The
median against xarray's ``where(...).median("time")``, outputs compared first; repeats take turns,
and the ratio is the median of the repeats' ratios. Then each reducer by itself, against the median.
Memory: a lazy cube of ``load`` over COGs, 12 and 48 dates of the same output, each in a process of
its own; counted is what the process needs beyond its libraries.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import xarray as xr

import rsscale as rs
from benchmarks.options import parser_of

REDUCERS = ("median", "mean", "min", "max", "p10", "p90", "best-pixel", "medoid", "geomedian")
DATES, BANDS = 12, 4


def main() -> None:
    parser = parser_of(__doc__, quick="a sixteenth of the pixels")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    size = 256 if options.quick else 1024
    cube = series(size)
    result = {
        "size": size,
        "median": against_xarray(cube, options.repeats),
        "reducers": each_reducer(cube, options.repeats),
        "memory": memory(512 if options.quick else 3072),
    }
    report(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))


def report(result: dict[str, Any]) -> None:
    row = result["median"]
    print(
        f"median       ours {row['ours_s']:.2f} s  xarray {row['theirs_s']:.2f} s  "
        f"ratio {row['ratio']:.1f} ({row['least']:.1f} to {row['most']:.1f})"
    )
    for name, row in result["reducers"].items():
        print(f"{name:<12} {row['seconds']:6.2f} s  {row['of_median']:5.1f} x the median")
    for dates, row in result["memory"]["dates"].items():
        print(f"{dates} dates: {row['peak_mib']:.0f} MiB at most, blocks of {row['block_mib']} MiB")
    print(f"48 dates against 12: {result['memory']['ratio']:.2f} x the memory")


def series(size: int) -> xr.DataArray:
    """A cube in one block, in memory: the reducing alone is measured."""
    import dask.array as da

    rng = np.random.default_rng(0)
    data = rng.integers(1, 10_000, (DATES, BANDS, size, size), dtype="uint16")
    data *= (rng.random((DATES, 1, size, size)) > 0.4).astype("uint16")
    return xr.DataArray(
        da.from_array(data, chunks=data.shape),
        dims=("time", "band", "y", "x"),
        coords={
            "time": np.datetime64("2023-01-01", "ns") + np.arange(DATES) * np.timedelta64(30, "D"),
            "band": ["blue", "green", "red", "nir"],
        },
        attrs={"nodata": 0},
    )


def ours(cube: xr.DataArray, reducer: str = "median") -> Any:
    return rs.composite(cube, "year", reducer).data.compute(scheduler="synchronous")[0]


def theirs(numbers: npt.NDArray[np.uint16]) -> Any:
    plain = xr.DataArray(numbers, dims=("time", "band", "y", "x"))
    return plain.where(plain != 0).median("time").values


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def against_xarray(cube: xr.DataArray, repeats: int) -> dict[str, float]:
    numbers = cube.values
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's, of pixels without a scene
        np.testing.assert_array_equal(ours(cube), theirs(numbers))
        pairs = [
            (seconds(partial(ours, cube)), seconds(partial(theirs, numbers)))
            for _ in range(repeats)
        ]
    ratios = [their / our for our, their in pairs]
    return {
        "ours_s": statistics.median(our for our, _ in pairs),
        "theirs_s": statistics.median(their for _, their in pairs),
        "ratio": statistics.median(ratios),
        "least": min(ratios),
        "most": max(ratios),
    }


def each_reducer(cube: xr.DataArray, repeats: int) -> dict[str, Any]:
    times: dict[str, list[float]] = {name: [] for name in REDUCERS}
    for _ in range(repeats):
        for name in REDUCERS:
            times[name].append(seconds(partial(ours, cube, name)))
    middle = {name: statistics.median(t) for name, t in times.items()}
    return {n: {"seconds": s, "of_median": s / middle["median"]} for n, s in middle.items()}


def memory(size: int) -> dict[str, Any]:
    """Peak memory of the composite of 12 and of 48 dates; files repeat, reads do not."""
    with tempfile.TemporaryDirectory() as folder:
        files = _scenes(Path(folder), size)
        rows = {}
        for dates in (12, 48):
            context = multiprocessing.get_context("spawn")
            with context.Pool(1) as pool:
                rows[dates] = pool.apply(_peak, (files, size, dates))
    return {"dates": rows, "ratio": rows[48]["peak_mib"] / rows[12]["peak_mib"]}


def _scenes(folder: Path, size: int) -> list[dict[str, str]]:
    import rasterio
    from affine import Affine

    rng, files = np.random.default_rng(1), []
    for scene in range(4):
        files.append({band: str(folder / f"{scene}-{band}.tif") for band in ("red", "nir")})
        for path in files[-1].values():
            with rasterio.open(
                path, "w", driver="GTiff", width=size, height=size, count=1, dtype="uint16",
                crs="EPSG:32631", transform=Affine(10, 0, 500_000, 0, -10, 5_000_000), nodata=0,
                tiled=True, blockxsize=512, blockysize=512, compress="deflate",
            ) as dataset:  # fmt: skip
                dataset.write(rng.integers(0, 400, (1, size, size), dtype="uint16"))
    return files


def _peak(files: list[dict[str, str]], size: int, dates: int) -> dict[str, float]:
    _lazy(files[:1], 512, 1)[1].compute(scheduler="threads", num_workers=2)  # brings libraries
    before = psutil.Process().memory_info().rss
    block, lazy = _lazy(files, size, dates)
    lazy.compute(scheduler="threads", num_workers=2)
    # Linux's own mark: getrusage would hand the parent's down to the child.
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    return {"peak_mib": (peak - before) / 2**20, "block_mib": round(block / 2**20, 1)}


def _lazy(files: list[dict[str, str]], size: int, dates: int) -> tuple[float, Any]:
    """Bytes of a block of the cube, and its composite."""
    import pystac
    from affine import Affine
    from odc.geo.geobox import GeoBox

    transform = Affine(10, 0, 500_000, 0, -10, 5_000_000)
    items = []
    for number in range(dates):
        when = datetime(2023, 1, 1, tzinfo=UTC) + timedelta(days=7 * number)
        item = pystac.Item(f"scene-{number:02}", None, None, when, {"proj:code": "EPSG:32631"})
        for band, path in files[number % len(files)].items():
            fields = {"raster:bands": [{"data_type": "uint16", "nodata": 0}]}
            item.add_asset(band, pystac.Asset(path, extra_fields=fields))
        items.append(item)
    cube = rs.load(items, GeoBox((size, size), transform, "EPSG:32631"), ["red", "nir"])
    block = float(np.prod([c[0] for c in cube.data.chunks]) * cube.dtype.itemsize)
    return block, rs.composite(cube, "year", years=[2023]).data


if __name__ == "__main__":
    main()
