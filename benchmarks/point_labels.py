"""Peak memory and seconds of a training on many labelled points of a simulated archive.

    python -m benchmarks.point_labels FOLDER [--points 10000] [--size 2048] [--cluster local:2]
                                      [--json FILE]

FOLDER gets the archive (``rs.simulate``), which is kept for the next time. Points lie at random,
with the class of the truth there; two inputs of composites make 46 channels, of which a network of
single pixels learns. Peak memory is that of the process that trains (VmHWM), which does nothing
else; of a cluster's workers it is not counted. Bytes are those of the pixels that were decoded.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import rasterio.features
import shapely
from rasterio.transform import xy

import rsscale as rs
from benchmarks.options import parser_of
from rsscale.memory import peak_rss
from rsscale.sampling.label_chips import ChipReader
from rsscale.sampling.work_folder import WorkFolder

YEAR = 2024
BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
LIMIT_BYTES = 2 * 10**9
"""What the process may take."""


def main() -> None:
    options = _options()
    if options.child:
        print(json.dumps(measure(options)))
        return
    archive = options.folder / "archive"
    if not archive.exists():
        rs.simulate(archive, size=options.size, years=(YEAR,))
    recipe = write_recipe(options.folder, archive, options.points)
    (options.folder / "recipe.json").write_text(json.dumps(recipe))
    child = [sys.executable, "-m", "benchmarks.point_labels", *sys.argv[1:], "--child"]
    done = subprocess.run(  # noqa: S603 -- this module
        child, stdout=subprocess.PIPE, text=True, check=True, env=os.environ
    )
    result = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{result['points']:,} points, {result['channels']} channels: peak "
        f"{result['peak'] / 2**30:.2f} GiB, {result['before'] / 2**30:.2f} before it began; read "
        f"{result['reading']:.0f} s ({result['decoded'] / 2**30:.2f} GiB decoded), all in "
        f"{result['seconds']:.0f} s; {result['verdict']}"
    )
    for line in result["left_out"]:
        print(f"left out: {line}")
    print("below 2 GB" if result["peak"] < LIMIT_BYTES else "NOT below 2 GB")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=2048, help="width of a scene, px")
    parser.add_argument("--cluster", help="as rsscale train --cluster")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def write_recipe(folder: Path, archive: Path, points: int) -> dict[str, Any]:
    """Points with the truth's classes, and a recipe of seven seasons and a year."""
    with rasterio.open(archive / "truth" / f"landcover_{YEAR}.tif") as file:
        truth, transform, crs = file.read(1), file.transform, file.crs
    # In the recipe's area alone: labels outside of it are not used.
    area = gpd.read_file(archive / "area.geojson").to_crs(crs).geometry
    inside = rasterio.features.geometry_mask(area, truth.shape, transform, invert=True)
    known = np.flatnonzero((truth != 255) & inside)
    chosen = np.random.default_rng(0).choice(known, points, replace=False)
    rows, cols = np.unravel_index(chosen, truth.shape)
    places = shapely.points(*xy(transform, rows, cols))
    frame = gpd.GeoDataFrame({"class": truth.ravel()[chosen]}, geometry=places, crs=crs)
    frame.to_file(folder / "points.gpkg")
    edges = ["01-01", "03-01", "04-15", "06-01", "07-15", "09-01", "10-15", "12-31"]
    seasons = {f"s{k}": list(pair) for k, pair in enumerate(pairwise(edges))}
    catalog = str(archive / "catalog.json")
    mask = {"preset": "sentinel2-scl"}
    return {
        "name": "points",
        "area": str(archive / "area.geojson"),
        "grid": {"crs": "EPSG:32631", "resolution": 10},
        "periods": [YEAR],
        "model": str(folder / "model"),
        "inputs": {
            "seasons": {
                "catalog": catalog, "bands": list(BANDS), "mask": mask,
                "composite": {"windows": seasons},
            },
            "year": {
                "catalog": catalog, "bands": list(BANDS[:4]), "mask": mask,
                "composite": {"by": "year"},
            },
        },
        "train": {
            "labels": str(folder / "points.gpkg"), "class": "class", "architecture": "pixel",
            "split": {"blocks": 2000},
        },
    }  # fmt: skip


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Train in this process."""
    recipe = json.loads((options.folder / "recipe.json").read_text())
    before, began, reading = peak_rss(), time.perf_counter(), {}
    read = ChipReader.read

    def timed(self: ChipReader, work: WorkFolder, cluster: Any = None) -> Any:
        started = time.perf_counter()
        chips = read(self, work, cluster)
        reading.update(seconds=time.perf_counter() - started, decoded=chips[2].decoded)
        return chips

    ChipReader.read = timed  # type: ignore[method-assign]
    model, report = rs.train(recipe, cluster=options.cluster, device="cpu", fresh=True)
    return {
        "points": options.points,
        "channels": model.spec.channels,
        "before": before,
        "peak": peak_rss(),
        "reading": reading["seconds"],
        "decoded": reading["decoded"],
        "seconds": time.perf_counter() - began,
        "left_out": list(report.left_out),
        "verdict": report.verdict,
    }


if __name__ == "__main__":
    main()
