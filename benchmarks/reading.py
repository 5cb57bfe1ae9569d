"""How fast `load` reads, against plain GDAL with as many threads.

    python -m benchmarks.reading [--size 4096] [--threads N] [--json FILE]

Simulated COGs (uint16, DEFLATE, predictor 2, 512 px blocks, averaged overviews) are read in
tiles of 2048 px with a halo of 32, by each loader to ``.values``, and as a run reads them, each
chunk into its place (by the loader of Dask alone). On the same grid the contender is rasterio's
windowed read into one array; across a UTM zone it is GDAL's own warp of the same window (a
WarpedVRT of the tile at its default tolerance), each file in a thread of a pool. At 60 m, which
only `load` takes from overviews, GDAL warps the full resolution. Outputs are compared before
speeds: equal on the same grid, across the zone equal but for GDAL's approximation, which is a
different one for every window. Processor time tells more than the clock where others work on the
same machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import dask
import numpy as np
import numpy.typing as npt
import pystac
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.shutil import copy
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from benchmarks.options import parser_of
from rsscale.composites.strips import in_memory
from rsscale.cube.load import load
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.read.file_pool import POOL, WARPED
from rsscale.read.stage_timer import StageTimer

REPEATS = 5
LOADERS = ("dask", "stackstac", "odc-stac")
BANDS = ("blue", "green", "red", "nir")
TILE, HALO, DATES = 2048, 32, 3
# A scene whose west lies in the neighbouring zone 31, so that both grids cover it.
CORNER = (300_000, 5_000_000)
NATIVE, NEIGHBOUR = "EPSG:32632", "EPSG:32631"

Array = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Case:
    """One way to ask for the same scenes."""

    name: str
    crs: str
    resolution: int
    target: float


CASES = (
    Case("same grid", NATIVE, 10, 0.8),
    Case("across a zone", NEIGHBOUR, 10, 0.7),
    Case("60 m across a zone", NEIGHBOUR, 60, 0.7),
)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--size", type=int, default=4096, help="width of a scene, px")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        items = scenes(Path(scratch), options.size)
        rows = [row for case in CASES for row in measure(case, items, options)]
    if options.json:
        options.json.write_text(
            json.dumps({"size": options.size, "threads": options.threads, "rows": rows}, indent=1)
        )


def measure(
    case: Case, items: list[pystac.Item], options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Ratios of each loader to GDAL, interleaved."""
    tiles = list(boxes(case, options.size))
    paths = [[item.assets[band].href for band in BANDS] for item in items]
    ways: dict[str, Callable[[], list[Array]]] = {
        "GDAL": lambda: by_gdal(case, paths, tiles, options.threads),
        "in a run": _in_place(items, tiles, options.threads),
        **{name: _loads(items, tiles, name, options.threads) for name in LOADERS},
    }
    outputs = {name: way() for name, way in ways.items()}
    agreement = compare(case, outputs)
    times: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, way in ways.items():
            # A run must not find what the last one warped or left open.
            WARPED.forget()
            POOL.forget()
            start, start_cpu = perf_counter(), process_time()
            way()
            times[name].append(perf_counter() - start)
            cpu[name].append(process_time() - start_cpu)
    megapixels = sum(len(BANDS) * DATES * np.prod(box.shape) for box in tiles) / 1e6
    for name in list(ways)[1:]:
        ratios = [g / own for g, own in zip(times["GDAL"], times[name], strict=True)]
        cpu_ratios = [g / own for g, own in zip(cpu["GDAL"], cpu[name], strict=True)]
        row = {
            "case": case.name,
            "loader": name,
            "ratio": statistics.median(ratios),
            "lowest": min(ratios),
            "highest": max(ratios),
            "cpu_ratio": statistics.median(cpu_ratios),
            "target": case.target,
            "megapixels_a_second": megapixels / statistics.median(times[name]),
            "gdal_seconds": statistics.median(times["GDAL"]),
            **agreement,
        }
        print(
            f"{case.name:<20}{name:<11} {row['ratio']:.2f} x GDAL"
            f" ({row['lowest']:.2f} to {row['highest']:.2f}), target {case.target}"
            f"  by processor time {row['cpu_ratio']:.2f}"
            f"  {row['megapixels_a_second']:.0f} Mpx/s"
            f"  values apart {agreement['differing']:.1%}, mean {agreement['mean_difference']:.2f}",
            flush=True,
        )
        yield row


def compare(case: Case, outputs: dict[str, list[Array]]) -> dict[str, float]:
    """Stops when the loaders differ, or differ from GDAL by more than an approximation."""
    gdal, run = outputs["GDAL"], outputs["in a run"]
    for other in outputs.values():
        if other is not gdal:
            for a, b in zip(run, other, strict=True):
                np.testing.assert_array_equal(a, b)
    apart = total = differing = 0.0
    for a, b in zip(gdal, run, strict=True):
        both = (a != 0) & (b != 0)
        off = np.abs(a.astype("int32") - b)[both]
        apart, differing, total = apart + off.sum(), differing + (off > 0).sum(), total + off.size
    limit = {"same grid": 0.0, "across a zone": 20.0}.get(case.name, 200.0)
    if total == 0 or apart / total > limit:
        raise SystemExit(f"{case.name}: values are {apart / max(total, 1):.1f} apart on average")
    return {"differing": differing / total, "mean_difference": apart / total}


def boxes(case: Case, size: int) -> Iterator[GeoBox]:
    """Tiles inside the scene, each with its halo; their edges lie on blocks, as a grid's do."""
    left, top = CORNER
    grid, inner = Grid(NATIVE, 10, TILE, CORNER), PixelBox(0, 0, size, size)
    if case.crs != NATIVE:
        grid = Grid(case.crs, case.resolution, TILE)
        right, bottom = left + 10 * size, top - 10 * size
        project = Transformer.from_crs(NATIVE, case.crs, always_xy=True).transform
        corners = project([left, right, left, right], [top, top, bottom, bottom])
        xs, ys = (sorted(float(v) / case.resolution for v in values) for values in corners)
        inner = PixelBox(*map(int, (-ys[2], xs[1], -ys[1], xs[2]))).pad(-256).snap(256)
    for row in range(inner.row0, inner.row1, TILE):
        for col in range(inner.col0, inner.col1, TILE):
            tile = PixelBox(row, col, row + TILE, col + TILE) & inner
            yield grid.geobox_of(tile.pad(HALO))


def _loads(
    items: list[pystac.Item], tiles: list[GeoBox], loader: str, threads: int
) -> Callable[[], list[Array]]:
    def way() -> list[Array]:
        with dask.config.set(scheduler="threads", num_workers=threads):
            return [load(items, box, BANDS, loader=loader).values for box in tiles]

    return way


def _in_place(
    items: list[pystac.Item], tiles: list[GeoBox], threads: int
) -> Callable[[], list[Array]]:
    """As a run does: each chunk goes to its place in the array as soon as it is read."""

    def way() -> list[Array]:
        cubes = (load(items, box, BANDS, loader="dask") for box in tiles)
        return [in_memory([cube], threads, StageTimer())[0].values for cube in cubes]

    return way


def by_gdal(case: Case, paths: list[list[str]], tiles: list[GeoBox], threads: int) -> list[Array]:
    """The same arrays by rasterio alone: a task a file, which keeps every thread busy."""
    out = []
    with ThreadPoolExecutor(threads) as pool:
        for box in tiles:
            cube = np.zeros((len(paths), len(BANDS), *box.shape), "uint16")
            jobs = [
                pool.submit(_read, case, path, box, cube[scene, band])
                for scene, row in enumerate(paths)
                for band, path in enumerate(row)
            ]
            for job in jobs:
                job.result()
            out.append(cube)
    return out


def _read(case: Case, path: str, box: GeoBox, into: Array) -> None:
    with rasterio.open(path) as dataset:
        if case.crs == NATIVE:
            left, top = CORNER
            row, col = round((top - box.affine.f) / 10), round((box.affine.c - left) / 10)
            rows, cols = (
                slice(max(0, -start), min(n, size - start))
                for start, n, size in zip((row, col), box.shape, dataset.shape, strict=True)
            )
            window = Window(
                col + cols.start, row + rows.start, cols.stop - cols.start, rows.stop - rows.start
            )
            into[rows, cols] = dataset.read(1, window=window)
            return
        height, width = box.shape
        with WarpedVRT(
            dataset, crs=case.crs, transform=box.affine, width=width, height=height,
            resampling=Resampling.bilinear, src_nodata=0, nodata=0,
        ) as vrt:  # fmt: skip
            into[...] = vrt.read(1)


def scenes(folder: Path, size: int) -> list[pystac.Item]:
    """Items of COGs with fields, textures and noise, which compress as imagery does."""
    from scipy.ndimage import gaussian_filter

    generator = np.random.default_rng(0)
    base = gaussian_filter(generator.normal(size=(size, size)).astype("float32"), 12)
    fine = gaussian_filter(generator.normal(size=(size, size)).astype("float32"), 1.5)
    land = np.sign(base) * 700 + 40_000 * base + 900 * fine + 2500
    items = []
    for date in range(DATES):
        when = datetime(2023, 5, 1, tzinfo=UTC) + timedelta(days=10 * date)
        item = pystac.Item(f"scene{date}", None, None, when, {"proj:code": NATIVE})
        left, top = CORNER
        item.properties["proj:transform"] = [10, 0, left, 0, -10, top]
        item.properties["proj:shape"] = [size, size]
        for number, band in enumerate(BANDS):
            noise = generator.normal(scale=25, size=land.shape)
            values = np.clip(land * (1 + 0.1 * number) + 60 * date + noise, 1, 12_000)
            path = folder / f"{item.id}_{band}.tif"
            write_cog(path, values.astype("uint16"))
            fields = {"raster:bands": [{"data_type": "uint16", "nodata": 0}]}
            item.add_asset(band, pystac.Asset(str(path), extra_fields=fields))
        items.append(item)
    return items


def write_cog(path: Path, values: Array) -> None:
    left, top = CORNER
    with rasterio.MemoryFile() as memory:
        with memory.open(
            driver="GTiff", width=values.shape[1], height=values.shape[0], count=1,
            dtype="uint16", nodata=0, crs=NATIVE, transform=Affine(10, 0, left, 0, -10, top),
        ) as dataset:  # fmt: skip
            dataset.write(values, 1)
        with memory.open() as dataset:
            copy(
                dataset, path, driver="COG", compress="DEFLATE", predictor="YES", blocksize=512,
                overview_resampling="average", num_threads="ALL_CPUS",
            )  # fmt: skip


if __name__ == "__main__":
    main()
