"""A very small archive and a recipe of some fifty quick tiles: two years, one scene a date."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pystac
import rasterio
import torch
import yaml
from affine import Affine
from odc.geo.geobox import GeoBox

from rsscale.geo.lattice import Lattice
from rsscale.learn.architectures import build
from rsscale.learn.models import Model, save_model
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import ModelInput
from rsscale.model.spec import ModelSpec

CRS = "EPSG:32631"
TRANSFORM = Affine(10, 0, 500_003 // 10 * 10, 0, -10, 4_600_000)
SHAPE = (1100, 1600)
TILE = 256
DATES = ("2022-05-01", "2022-08-03", "2023-05-06", "2023-08-08")
BANDS = ("red", "nir")
# Off all tile lines, and no rectangle: some tiles are cut, some are outside.
AREA = ((500_300, 4_589_500), (502_000, 4_599_700), (515_500, 4_599_000), (513_000, 4_589_300))


def make(folder: Path) -> Path:
    """Write scenes, catalogue, area, model and recipe; returns the recipe's path."""
    import geopandas as gpd
    import shapely

    folder.mkdir(parents=True)
    catalog = pystac.Catalog("faults", "one zone, two years")
    for number, date in enumerate(DATES):
        catalog.add_item(_scene(folder, number, date))
    catalog.normalize_and_save(str(folder), pystac.CatalogType.SELF_CONTAINED)
    gpd.GeoDataFrame(geometry=[shapely.Polygon(AREA)], crs=CRS).to_file(folder / "area.gpkg")
    _model(folder / "model")
    recipe = {
        "name": "faults",
        "area": "area.gpkg",
        "grid": {"crs": CRS, "resolution": 10, "tile": TILE},
        "periods": [2022, 2023],
        "inputs": {
            "s2": {
                "catalog": "catalog.json",
                "bands": list(BANDS),
                "mask": {"band": "scl", "drop": [9]},
                "composite": {"windows": {"summer": ["04-01", "09-30"]}},
            }
        },
        "model": "model",
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def _model(folder: Path) -> None:
    """Two untrained layers, balanced so that every class occurs."""
    torch.manual_seed(3)
    spec = ModelSpec(
        name="untrained",
        inputs=(ModelInput("s2", BANDS, ("summer",), (0.3, 0.3), (0.1, 0.1)),),
        classes=tuple(
            LandClass(k + 1, f"class {k}", c)
            for k, c in enumerate(("#1b7837", "#f2cf5b", "#2b83ba"))
        ),
        lattice=Lattice(stride=128, halo=0),
        architecture="pixel",
        hyperparameters={"width": 8},
        resolution=10.0,
    )
    module = build("pixel", spec.inputs, 3, width=8).eval()
    with torch.no_grad():
        scores = module(torch.randn(1, spec.channels, 64, 64))
        module.head.weight *= 2 / scores.std(dim=(0, 2, 3)).view(-1, 1, 1, 1)
        scores = module(torch.randn(1, spec.channels, 64, 64))
        module.head.bias -= scores.mean(dim=(0, 2, 3))
    save_model(Model(spec, module, torch.device("cpu")), folder)


def _scene(folder: Path, number: int, date: str) -> pystac.Item:
    footprint = GeoBox(SHAPE, TRANSFORM, CRS).extent.to_crs("EPSG:4326")
    item = pystac.Item(
        id=f"scene_{date}",
        geometry=footprint.json,
        bbox=list(footprint.boundingbox.bbox),
        datetime=datetime.fromisoformat(date).replace(tzinfo=UTC),
        properties={
            "proj:code": CRS,
            "proj:shape": list(SHAPE),
            "proj:transform": list(TRANSFORM)[:6],
            "s2:processing_baseline": "02.14",
        },
    )
    random = np.random.default_rng(number)
    layers = {b: random.integers(1500, 4500, SHAPE).astype("uint16") for b in BANDS}
    blocks = random.random((SHAPE[0] // 50, SHAPE[1] // 50)) < 0.3
    layers["scl"] = np.where(np.kron(blocks, np.ones((50, 50), bool)), 9, 4).astype("uint8")
    for name, data in layers.items():
        path = folder / f"{item.id}_{name}.tif"
        _write(path, data)
        raster = {"data_type": str(data.dtype), "nodata": 0}
        item.add_asset(
            name, pystac.Asset(str(path), media_type="image/tiff",
                               extra_fields={"raster:bands": [raster]}),
        )  # fmt: skip
    return item


def _write(path: Path, data: np.ndarray) -> None:
    with rasterio.open(
        path, "w", driver="GTiff", height=data.shape[0], width=data.shape[1], count=1,
        dtype=data.dtype, crs=CRS, transform=TRANSFORM, nodata=0,
        tiled=True, blockxsize=256, blockysize=256, compress="deflate",
    ) as dataset:  # fmt: skip
        dataset.write(data, 1)
