"""Polygons of a class map of 100 million pixels, beside GDAL's polygonize of the whole image.

    python -m benchmarks.polygons [--size 10000] [--tiles 1024] [--workers 0 2]
                                  [--classes water built] [--json FILE]

A smooth random field in four classes, some 50,000 components. The contender is
``rasterio.features.shapes`` of the whole image in one process, its shapes written as GeoParquet.
Two of the classes have a polygon that reaches over the whole image; `--classes water built` leaves
them out. Each contender is a process of its own, and `peak` is the most that any of its processes
ever held (VmHWM). `core s` are seconds of the processor, of all its processes: other programs
change them less.
Polygons are compared before times: class and outline of each, without vertices on straight lines.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import psutil
import shapely

import rsscale as rs
from benchmarks.options import parser_of
from rsscale.layers import Layer
from rsscale.legend.classes import LandClass, class_attributes
from rsscale.steps.base import Block, Pass, Result, Source
from rsscale.steps.options import Options

CLASSES = tuple(
    LandClass(value, name, color)
    for value, name, color in (
        (1, "water", "#2b83ba"),
        (2, "forest", "#1b7837"),
        (3, "crops", "#f2cf5b"),
        (4, "built", "#d7191c"),
    )
)
ROW0, COL0, RESOLUTION = -500_000, 50_000, 10  # of the first pixel, in EPSG:32631
_SCALE = 9.0  # px, of the field


class FieldOptions(Options):
    """The file of the field."""

    path: str


@dataclass(repr=False, kw_only=True)
class FieldPass(Pass):
    """Classes from a file that every process can read."""

    kind: ClassVar[str] = "benchmarks.polygons:FieldPass"
    version: ClassVar[str] = "1"
    Options: ClassVar[type[Options]] = FieldOptions
    layers: tuple[Layer, ...] = (
        Layer("classification", overview="mode", attributes=class_attributes(CLASSES)),
    )

    step: str
    path: str
    periods: tuple[str, ...]
    sources: Mapping[str, Source] = field(default_factory=dict)

    @classmethod
    def open(cls, step: str, recipe: Any, options: Any, setup: Any) -> list[Pass]:
        """No sources."""
        del recipe
        return [cls(step=step, path=options.path, periods=setup.periods())]

    def spans(self) -> Sequence[str]:
        """The recipe's periods."""
        return self.periods

    def parameters(self) -> Mapping[str, Any]:
        """None that decides a value."""
        return {}

    def run(self, block: Block) -> Result:
        """The file's part of a tile."""
        classes = np.load(self.path, mmap_mode="r")
        out = np.full(block.core.shape, 255, np.uint8)
        row, col = block.core.row0 - ROW0, block.core.col0 - COL0
        top, left = max(row, 0), max(col, 0)
        part = classes[top : max(row + out.shape[0], 0), left : max(col + out.shape[1], 0)]
        out[top - row : top - row + part.shape[0], left - col : left - col + part.shape[1]] = part
        return Result(layers=block.dataset(self.layers, {"classification": out}))


def main() -> None:
    options = _options()
    if options.child:
        _CHILDREN[options.child](options)
        return
    report = []
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        options.folder = Path(folder)
        write_field(options.folder / "field.npy", options.size)
        whole = measured("whole", options, tile=0, workers=0)
        report.append(whole)
        print(
            f"{options.size**2 / 1e6:.0f} Mpx, {whole['polygons']:,} polygons, the largest has "
            f"{whole['largest']:,} vertices"
        )
        print(_line(whole, whole), flush=True)
        for workers in options.workers:
            for tile in options.tiles:
                row = measured("run", options, tile=tile, workers=workers)
                report.append(row)
                print(_line(row, whole), flush=True)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--size", type=int, default=10_000, help="pixels across")
    parser.add_argument("--tiles", type=int, nargs="+", default=[1024, 2048, 4096])
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], help="0: in process")
    parser.add_argument("--simplify", type=float, default=0.0, help="metres")
    parser.add_argument(
        "--classes", nargs="+", choices=[one.name for one in CLASSES],
        help="of which: water and built have no polygon that reaches over the whole image",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scratch", type=Path, help="where files are written")
    for name in ("child", "folder"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    for name in ("tile", "worker-count"):
        parser.add_argument(f"--{name}", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def _line(row: Mapping[str, Any], whole: Mapping[str, Any]) -> str:
    how = "whole image" if not row["tile"] else f"tile {row['tile']}"
    where = f"{row['workers']} workers" if row["workers"] else "in process"
    same = "same polygons" if row["digest"] == whole["digest"] else "OTHER POLYGONS"
    peaks = ", ".join(f"{peak / 2**30:.2f}" for peak in row["peaks"])
    return (
        f"{how:12} {where:11} {row['seconds']:7.1f} s  {row['seconds'] / whole['seconds']:5.2f} x  "
        f"{row['core_seconds']:7.1f} core s  peak {peaks} GiB  {same}"
    )


def write_field(path: Path, size: int) -> None:
    """Four classes of as many pixels each."""
    from scipy import ndimage

    random = np.random.default_rng(0)
    values = ndimage.gaussian_filter(random.standard_normal((size, size), np.float32), _SCALE)
    steps = np.quantile(values[::7, ::7], [0.25, 0.5, 0.75])
    np.save(path, (np.digitize(values, steps) + 1).astype(np.uint8))


def measured(child: str, options: argparse.Namespace, *, tile: int, workers: int) -> dict[str, Any]:
    """Seconds, peaks and digest of a contender in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.polygons", "--child", child, "--folder",
               str(options.folder), "--tile", str(tile), "--worker-count", str(workers),
               "--simplify", str(options.simplify), "--threads", str(options.threads),
               "--size", str(options.size),
               *(("--classes", *options.classes) if options.classes else ())]  # fmt: skip
    env = os.environ | {"RSSCALE_PASSES": "benchmarks.polygons"}
    done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)  # noqa: S603
    found = json.loads(done.stdout.splitlines()[-1])
    return {"tile": tile, "workers": workers, **found}


def whole_image(options: argparse.Namespace) -> None:
    """GDAL's polygonize of the whole image, as GeoParquet."""
    import geopandas as gpd
    from affine import Affine
    from rasterio import features

    started = time.perf_counter()
    classes = np.load(Path(options.folder) / "field.npy")
    x0, y0 = COL0 * RESOLUTION, -ROW0 * RESOLUTION
    place = Affine(RESOLUTION, 0, x0, 0, -RESOLUTION, y0)
    names = options.classes or [one.name for one in CLASSES]
    chosen = np.isin(classes, [one.value for one in CLASSES if one.name in names])
    values, shapes = [], []
    for shape, value in features.shapes(classes, chosen, connectivity=4, transform=place):
        shapes.append(shapely.Polygon(shape["coordinates"][0], shape["coordinates"][1:]))
        values.append(int(value))
    path = Path(options.folder) / "whole.parquet"
    gpd.GeoDataFrame({"class": values}, geometry=shapes, crs="EPSG:32631").to_parquet(path)
    seconds = time.perf_counter() - started
    usage = {os.getpid(): Usage(_peak(os.getpid()), time.process_time())}
    _tell(seconds, usage, values, np.array(shapes, object))


def tiled_run(options: argparse.Namespace) -> None:
    """The step of a run, after its map is there."""
    folder = Path(options.folder) / f"{options.tile}-{options.worker_count}"
    folder.mkdir()
    client = f"local:{options.worker_count}" if options.worker_count else None
    given = {"threads": options.threads, "device": "cpu"}
    rs.run(_recipe(options, folder, {}), folder / "run", None, **given)
    step = {"kind": "polygons", "of": "map", "simplify": options.simplify}
    if options.classes:
        step["classes"] = options.classes
    with usage_of_processes() as usage:
        started = time.perf_counter()
        run = rs.run(_recipe(options, folder, {"polygons": step}), folder / "run", client, **given)
        seconds = time.perf_counter() - started
    table = run.table("polygons")
    shapes = shapely.from_wkb(table["geometry"].to_numpy(zero_copy_only=False))
    _tell(seconds, usage, table["class"].to_pylist(), shapes)


_CHILDREN = {"whole": whole_image, "run": tiled_run}


def _recipe(options: argparse.Namespace, folder: Path, steps: Mapping[str, Any]) -> dict[str, Any]:
    import geopandas as gpd

    x0, y0 = COL0 * RESOLUTION, -ROW0 * RESOLUTION
    width = options.size * RESOLUTION
    area = shapely.box(x0, y0 - width, x0 + width, y0)
    gpd.GeoDataFrame(geometry=[area], crs="EPSG:32631").to_file(folder / "area.gpkg")
    return {
        "name": "polygons",
        "area": str(folder / "area.gpkg"),
        "grid": {"crs": "EPSG:32631", "resolution": RESOLUTION, "tile": options.tile},
        "periods": [2023],
        "inputs": {"none": {"catalog": "nowhere", "bands": ["red"], "composite": {"by": "year"}}},
        "steps": {
            "map": {"kind": FieldPass.kind, "path": str(Path(options.folder) / "field.npy")},
            **steps,
        },
    }


@dataclass(frozen=True)
class Usage:
    """The most memory that a process ever held, bytes, and seconds of the processor."""

    peak: int
    seconds: float


class usage_of_processes:  # noqa: N801 -- reads as a function
    """What this process and each of its children use meanwhile, by process id."""

    def __enter__(self) -> dict[int, Usage]:
        self.usage: dict[int, Usage] = {}
        self._before = time.process_time()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self.usage

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        own = psutil.Process()
        while not self._done.wait(0.2):
            for process in (own, *own.children(recursive=True)):
                before = self._before if process == own else 0.0
                try:
                    times = process.cpu_times()
                    seconds = times.user + times.system - before
                    self.usage[process.pid] = Usage(_peak(process.pid), seconds)
                except (psutil.Error, OSError, StopIteration):
                    continue  # it has ended


def _peak(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def _tell(seconds: float, usage: Mapping[int, Usage], values: list[int], shapes: Any) -> None:
    """One line of JSON; a digest of all classes and outlines in one order."""
    hashes = []
    for at in range(0, len(values), 10_000):
        part = shapely.to_wkb(shapely.normalize(shapely.simplify(shapes[at : at + 10_000], 0)))
        hashes += [
            hashlib.sha256(bytes([value]) + wkb).digest()
            for value, wkb in zip(values[at : at + 10_000], part, strict=True)
        ]
    digest = hashlib.sha256(b"".join(sorted(hashes))).hexdigest()
    found = {
        "seconds": seconds,
        "core_seconds": sum(one.seconds for one in usage.values()),
        "peaks": [one.peak for one in usage.values()],
        "polygons": len(values),
        "largest": int(shapely.get_num_coordinates(shapes).max()),
        "digest": digest,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
