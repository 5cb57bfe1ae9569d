"""Detectors trained on a part of an image and measured on the rest: trees, buildings, simulations.

``python -m benchmarks.detectors FOLDER`` trains on one core and draws the pictures of each case
into ``FOLDER``. Trees and buildings are read from the folder of ``--data``; without it the
simulated scenes alone are learnt. Places are squares; of those of the
test and the validation no pixel is seen by the training. Of simulated scenes panoptic quality is
that of another scene, which is as large as one of the training.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import odc.geo.xr
import rasterio
import shapely
import torch
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

import rsscale as rs
from benchmarks.aerial_scene import AerialScene, aerial_scene
from benchmarks.options import parser_of

_ON_GROUND = Affine(0.5, 0, 734_000, 0, -0.5, 4_985_000)
_SMALL = {"backbone": "small", "width": 64}


@dataclass(frozen=True)
class Case:
    """Images, their objects, how a detector learns them, and a scene that it never sees."""

    name: str
    images: Sequence[xr.DataArray]
    objects: Sequence[gpd.GeoDataFrame]
    options: dict[str, Any] = field(default_factory=dict)
    unseen: AerialScene | None = None


def simulated() -> Case:
    """Sheds and trees in two simulated scenes."""
    return _of_scenes(
        "simulated", architecture="fcos", hyperparameters={**_SMALL, "levels": 3}, steps=400
    )


def outlines() -> Case:
    """The same, with their outlines."""
    return _of_scenes(
        "outlines", architecture="maskrcnn",
        hyperparameters={**_SMALL, "representation": 128, "anchors": [12, 24, 48]}, steps=250,
    )  # fmt: skip


def oriented() -> Case:
    """The same, with turned boxes."""
    return _of_scenes(
        "oriented", architecture="fcos-oriented", hyperparameters={**_SMALL, "levels": 3},
        steps=400,
    )  # fmt: skip


def _of_scenes(name: str, **options: Any) -> Case:
    *scenes, unseen = (aerial_scene(640, seed) for seed in (1, 2, 3))
    return Case(
        name,
        [scene.image for scene in scenes],
        [scene.objects for scene in scenes],
        {"column": "kind", "crop": 192, "batch": 2, **options},
        unseen,
    )


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
        "PQ": "" if case.unseen is None else panoptic_quality(model, case.unseen),
        "seconds": round(time.perf_counter() - started),
    }


def panoptic_quality(model: rs.Model, scene: AerialScene) -> float | None:
    """Panoptic quality of what a model finds in a scene, as outlines of the right class."""
    box = GeoBox(scene.image.shape[1:], _ON_GROUND, "EPSG:32631")
    placed = odc.geo.xr.wrap_xr(scene.image.to_numpy(), box, nodata=0, axis=1)
    bands = list(scene.image["band"].values)
    placed = placed.rename({placed.dims[0]: "band"}).assign_coords(band=bands, window="image")
    truth = scene.objects.set_geometry(
        shapely.transform(
            scene.objects.geometry.to_numpy(),
            lambda xy: np.stack(_ON_GROUND @ (xy[:, 0], xy[:, 1]), axis=1),
        ),
        crs=box.crs,
    )
    scores = rs.score_objects(rs.detect(placed, model), truth, class_column="kind", resamples=0)
    print(scores, end="\n\n")
    quality = scores.overall.panoptic["PQ"].value
    return None if quality is None else round(quality, 3)


def main() -> None:
    parser = parser_of(__doc__ or "")
    parser.add_argument("folder", type=Path, help="models and pictures go here")
    parser.add_argument("--data", type=Path, help="folder of trees.tif and buildings.tif")
    parser.add_argument(
        "--only", default="", help="a case: simulated, outlines, oriented, trees, buildings"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    cases = {"simulated": simulated, "outlines": outlines, "oriented": oriented}
    if given.data:
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
