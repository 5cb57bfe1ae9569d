"""Nine tiles, an archive of scenes over them that are files of their own, a model, a recipe."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio
import torch
from affine import Affine
from network_inputs import channels
from odc.geo.geobox import GeoBox
from odc.geo.geom import box as corners

import rsscale as rs
from rsscale.geo.lattice import Lattice
from rsscale.learn.architectures import build
from rsscale.learn.models import Model, save_model
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import ModelInput
from rsscale.model.spec import ModelSpec

CRS, TILE = "EPSG:32631", 256
SETTINGS: dict[str, Any] = {"device": "cpu", "threads": 1}
WEST, NORTH = 499_200, 4_600_320  # a corner of tiles
# Windows of 320 px on a lattice of 192, which is on no tile line but every third.
HALO, STRIDE = 64, 192


def write_scene(folder: Path, name: str, rows: slice, cols: slice, seed: int = 0) -> None:
    """A scene over some pixels of the nine tiles, and its item."""
    shape = (rows.stop - rows.start, cols.stop - cols.start)
    place = Affine(10, 0, WEST + 10 * cols.start, 0, -10, NORTH - 10 * rows.start)
    extent = GeoBox(shape, place, CRS).extent.to_crs("EPSG:4326")
    item = pystac.Item(
        name, extent.json, list(extent.boundingbox.bbox), datetime(2023, 6, 1, tzinfo=UTC),
        {"proj:code": CRS, "proj:shape": list(shape), "proj:transform": list(place)[:6]},
    )  # fmt: skip
    path = folder / f"{name}-{seed}.tif"
    data = np.random.default_rng(seed).integers(1500, 4500, shape).astype("uint16")
    with rasterio.open(
        path, "w", driver="GTiff", height=shape[0], width=shape[1], count=1, dtype="uint16",
        crs=CRS, transform=place, nodata=0, tiled=True, blockxsize=256, blockysize=256,
    ) as dataset:  # fmt: skip
        dataset.write(data, 1)
    raster = {"data_type": "uint16", "nodata": 0}
    item.add_asset("red", pystac.Asset(str(path), extra_fields={"raster:bands": [raster]}))
    (folder / f"{name}.json").write_text(json.dumps(item.to_dict()))


def write_catalog(folder: Path) -> str:
    items = [json.loads(path.read_text()) for path in sorted(folder.glob("scene*.json"))]
    path = folder / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    return str(path)


def write_model(folder: Path, seed: int = 1) -> str:
    torch.manual_seed(seed)
    spec = ModelSpec(
        name="u",
        inputs=(ModelInput("s2", ("red",), ("year",), (0.3,), (0.1,)),),
        classes=(LandClass(1, "a", "#111111"), LandClass(2, "b", "#222222")),
        lattice=Lattice(STRIDE, HALO),
        architecture="unet",
        hyperparameters={"width": 4, "depth": 2},
        resolution=10.0,
    )
    network = build("unet", channels(1), 2, width=4, depth=2).eval()
    save_model(Model(spec, network, torch.device("cpu")), folder / "model")
    return str(folder / "model")


def recipe(folder: Path, **changes: Any) -> dict[str, Any]:
    size = 3 * TILE * 10 - 60
    area = corners(WEST + 60, NORTH - size, WEST + size, NORTH - 60, CRS).to_crs("EPSG:4326")
    return {
        "name": "changes",
        "area": area.json,
        "grid": {"crs": CRS, "resolution": 10, "tile": TILE},
        "periods": [2023],
        "inputs": {
            "s2": {"catalog": write_catalog(folder), "bands": ["red"], "composite": {"by": "year"}}
        },
        "model": str(folder / "model"),
        **changes,
    } | ({"area": None, "bbox": list(area.boundingbox.bbox)})


def shards(run: Path) -> dict[str, str]:
    files = [path for path in (run / "product.zarr").rglob("c/*/*/*") if path.is_file()]
    return {str(p.relative_to(run)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def computed(run: Path) -> list[str]:
    events = list(rs.Run(run).events())
    start = max(n for n, event in enumerate(events) if event["event"] == "started")
    return [event["tile"] for event in events[start:] if event["event"] == "tile"]
