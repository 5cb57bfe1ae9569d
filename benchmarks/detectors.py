"""Detectors trained on a part of an image and measured on the rest: trees, buildings, a simulation.

``python -m benchmarks.detectors FOLDER`` trains on one core and draws the pictures of each case
into ``FOLDER``. Trees and buildings are read from ``../shared/data/objects``, or the folder of
``--data``; without them the simulated scenes alone are learnt. Places are squares; of those of the
test and the validation no pixel is seen by the training.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import odc.geo.xr
import rasterio
import torch
import xarray as xr
from odc.geo.geobox import GeoBox

import rsscale as rs
from benchmarks.aerial_scene import aerial_scene
from benchmarks.options import parser_of

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "objects"
_SMALL = {"backbone": "small", "width": 64}


@dataclass(frozen=True)
class Case:
    """Images, their objects, and how a detector learns them."""

    name: str
    images: Sequence[xr.DataArray]
    objects: Sequence[gpd.GeoDataFrame]
    options: dict[str, Any] = field(default_factory=dict)


def simulated() -> Case:
    """Sheds and trees in two simulated scenes."""
    scenes = [aerial_scene(640, seed) for seed in (1, 2)]
    return Case(
        "simulated",
        [scene.image for scene in scenes],
        [scene.objects for scene in scenes],
        {
            "column": "kind", "architecture": "fcos", "hyperparameters": {**_SMALL, "levels": 3},
            "crop": 192, "batch": 2, "steps": 400,
        },
    )  # fmt: skip


def trees(folder: Path) -> Case:
    """Crowns of single trees, 0.1 m."""
    return _of_file(
        "trees", folder, architecture="fcos", hyperparameters={**_SMALL, "levels": 3},
        crop=160, batch=3, steps=1000, block=80, halo=64, validation=0.15, test=0.25,
    )  # fmt: skip


def buildings(folder: Path) -> Case:
    """Footprints of buildings, 0.5 m, panchromatic."""
    return _of_file(
        "buildings", folder, architecture="maskrcnn",
        hyperparameters={**_SMALL, "representation": 128, "anchors": [16, 32, 64]},
        crop=192, batch=2, steps=300, block=150, halo=64, validation=0.2, test=0.3,
    )  # fmt: skip


def _of_file(name: str, folder: Path, **options: Any) -> Case:
    with rasterio.open(folder / f"{name}.tif") as file:
        geobox = GeoBox(file.shape, file.transform, file.crs)
        image = odc.geo.xr.wrap_xr(file.read(), geobox, nodata=file.nodata, axis=1)
    objects = gpd.read_parquet(folder / f"{name}.parquet")
    return Case(name, [image], [objects], {"column": "class", **options})


def measure(case: Case, folder: Path) -> dict[str, Any]:
    """Train on a case, draw its pictures, and give its figures."""
    started = time.perf_counter()
    model, report = rs.train_objects(
        case.images, case.objects, name=case.name, device="cpu", **case.options
    )
    rs.save_model(model, folder / case.name, report=report)
    print(report, end="\n\n")
    total = report.figures.total
    return {
        "case": case.name,
        "architecture": case.options["architecture"],
        "trained on": sum(report.trained.values()),
        "tested on": total.truth,
        "AP50": round(total.average_precision, 3),
        "precision": round(total.precision, 3),
        "recall": round(total.recall, 3),
        "F1": round(total.f1, 3),
        "seconds": round(time.perf_counter() - started),
    }


def main() -> None:
    parser = parser_of(__doc__ or "")
    parser.add_argument("folder", type=Path, help="models and pictures go here")
    parser.add_argument("--data", type=Path, default=DATA, help="of trees.tif and buildings.tif")
    parser.add_argument("--only", default="", help="a case: simulated, trees, buildings")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cases = {"simulated": simulated}
    if given.data.exists():
        cases |= {"trees": lambda: trees(given.data), "buildings": lambda: buildings(given.data)}
    rows = [
        measure(make(), given.folder) for name, make in cases.items() if given.only in ("", name)
    ]
    print(" | ".join(rows[0]))
    for row in rows:
        print(" | ".join(map(str, row.values())))
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
