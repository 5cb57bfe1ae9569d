"""A small archive on disk: two UTM zones that overlap at 6°E, four dates, clouds, two baselines."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pystac
import rasterio
import torch
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy.ndimage import gaussian_filter, zoom

from rsscale.geo.lattice import Lattice
from rsscale.learn.architectures import build
from rsscale.learn.models import Model, save_model
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import ModelInput
from rsscale.model.spec import ModelSpec

# Both cover the zone boundary at 45°N; the corners are no multiples of 512 px.
ZONES = {
    "w": ("EPSG:32631", Affine(10, 0, 728_000, 0, -10, 4_990_000)),
    "e": ("EPSG:32632", Affine(10, 0, 256_510, 0, -10, 4_993_130)),
}
SIZE = 1100
DATES = ("2023-04-01", "2023-05-03", "2023-07-05", "2023-08-20")
BANDS = ("red", "nir")
# In EPSG:32631 metres: off all tile lines, across both scenes and where they overlap.
PART = [6.015, 44.97, 6.05, 45.0]  # degrees, across the eastern edge of the western scenes
AREA = ((729_005, 4_981_007), (736_003, 4_980_000), (744_901, 4_985_000), (738_007, 4_989_500))


@dataclass(frozen=True)
class Landscape:
    """Where things lie."""

    folder: Path

    def recipe(self, **changes: object) -> dict:
        """A recipe over both zones; keys can be replaced."""
        return {
            "name": "test",
            "area": str(self.folder / "area.gpkg"),
            "grid": {"crs": "EPSG:32631", "resolution": 10, "tile": 512},
            "periods": [2023],
            "inputs": {
                "s2": {
                    "catalog": str(self.folder / "catalog.json"),
                    "bands": list(BANDS),
                    "mask": {"preset": "sentinel2-scl", "dilate": 20},
                    "composite": {
                        "windows": {"spring": ["03-01", "05-31"], "summer": ["06-01", "09-30"]}
                    },
                }
            },
            "model": str(self.folder / "model"),
            **changes,
        }

    def part(self, **changes: object) -> dict:
        """A recipe over six tiles, some with scenes of both zones: a third of the time."""
        recipe = self.recipe(bbox=PART, grid={"crs": "EPSG:32631", "resolution": 10, "tile": 256})
        del recipe["area"]
        return {**recipe, **changes}

    def copy(self, folder: Path) -> Landscape:
        """The same archive again, for a test that damages its files."""
        shutil.copytree(self.folder, folder)
        for path in folder.rglob("*.json"):
            text = path.read_text()
            path.write_text(text.replace(str(self.folder), str(folder)))
        return Landscape(folder)


def make(folder: Path) -> Landscape:
    """Write scenes, catalogue, area and an untrained U-Net."""
    import geopandas as gpd
    import shapely

    folder.mkdir(parents=True)
    catalog = pystac.Catalog("test", "two zones")
    for zone, (crs, transform) in ZONES.items():
        for number, date in enumerate(DATES):
            catalog.add_item(_scene(folder, zone, crs, transform, number, date))
    catalog.normalize_and_save(str(folder), pystac.CatalogType.SELF_CONTAINED)
    gpd.GeoDataFrame(geometry=[shapely.Polygon(AREA)], crs="EPSG:32631").to_file(
        folder / "area.gpkg"
    )
    make_model(folder / "model")
    return Landscape(folder)


def make_model(
    folder: Path,
    seed: int = 0,
    bands: tuple[str, ...] = BANDS,
    times: tuple[str, ...] = ("spring", "summer"),
) -> Model:
    """An untrained U-Net whose windows do not divide the tiles."""
    torch.manual_seed(seed)
    spec = ModelSpec(
        name="untrained",
        inputs=(ModelInput("s2", bands, times, (0.35,) * len(bands), (0.1,) * len(bands)),),
        classes=tuple(
            LandClass(k + 1, f"class {k}", c)
            for k, c in enumerate(("#1b7837", "#f2cf5b", "#2b83ba"))
        ),
        # A halo below the network's reach (9 px): which window a pixel lies in shows.
        lattice=Lattice(stride=224, halo=4),
        architecture="unet",
        hyperparameters={"width": 4, "depth": 2},
        resolution=10.0,
    )
    module = build("unet", spec.inputs, 3, width=4, depth=2).eval()
    _spread(module, spec.channels)
    return save_model(Model(spec, module, torch.device("cpu")), folder)


def _spread(module: torch.nn.Module, channels: int) -> None:
    """Make all classes occur: random weights alone would always choose the same one."""
    with torch.no_grad():
        scores = module(torch.randn(1, channels, 256, 256))
        module.head.weight *= 2 / scores.std(dim=(0, 2, 3)).view(-1, 1, 1, 1)
        scores = module(torch.randn(1, channels, 256, 256))
        module.head.bias -= scores.mean(dim=(0, 2, 3))


def _scene(
    folder: Path, zone: str, crs: str, transform: Affine, number: int, date: str
) -> pystac.Item:
    late = number % 2 == 1
    footprint = GeoBox((SIZE, SIZE), transform, crs).extent.to_crs("EPSG:4326")
    item = pystac.Item(
        id=f"S2_{zone}_{date}",
        geometry=footprint.json,
        bbox=list(footprint.boundingbox.bbox),
        datetime=datetime.fromisoformat(date).replace(tzinfo=UTC),
        properties={
            "proj:code": crs,
            "proj:shape": [SIZE, SIZE],
            "proj:transform": list(transform)[:6],
            "s2:processing_baseline": "05.09" if late else "02.14",
        },
    )
    seed = number + 10 * (zone == "e")
    for band, data in _bands(seed, late).items():
        path = folder / f"{item.id}_{band}.tif"
        _write(path, data, crs, transform)
        raster = {"data_type": str(data.dtype), "nodata": 0}
        item.add_asset(
            band,
            pystac.Asset(
                str(path), media_type="image/tiff", extra_fields={"raster:bands": [raster]}
            ),
        )
    return item


def _bands(seed: int, late: bool) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    bands = {
        band: np.clip(_smooth(random, 2) * 1000 + 3500 + 1000 * late, 1, None).astype("uint16")
        for band in BANDS
    }
    clouds = _smooth(random, 16)
    bands["scl"] = np.where(clouds > 1, 9, np.where(clouds < -1.3, 3, 4)).astype("uint8")
    for data in bands.values():  # a slanted swath edge
        data[np.add.outer(np.arange(SIZE), 2 * np.arange(SIZE)) < 300 * (seed % 4)] = 0
    return bands


def _smooth(random: np.random.Generator, sigma: float) -> np.ndarray:
    coarse = random.normal(size=(SIZE // 4 + 1, SIZE // 4 + 1))
    noise = zoom(gaussian_filter(coarse, sigma / 2), 4, order=1)[:SIZE, :SIZE]
    return noise / noise.std() + random.normal(0, 0.2, (SIZE, SIZE))


def _write(path: Path, data: np.ndarray, crs: str, transform: Affine) -> None:
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=SIZE,
        height=SIZE,
        count=1,
        dtype=data.dtype,
        crs=crs,
        transform=transform,
        nodata=0,
        tiled=True,
        blockxsize=512,
        blockysize=512,
        compress="deflate",
    ) as dataset:
        dataset.write(data, 1)
