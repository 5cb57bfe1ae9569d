"""A small archive of two years, some of it changed, some of it seen in one year alone; networks."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio
import torch
from affine import Affine
from odc.geo.geobox import GeoBox
from torch import nn

import rsscale as rs
from rsscale.geo.lattice import Lattice
from rsscale.learn.architectures import build
from rsscale.learn.models import Model, save_model
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import ModelInput
from rsscale.model.spec import ModelSpec

CRS, SIZE, YEARS = "EPSG:32631", 320, (2023, 2024)
WEST, NORTH = 499_230, 4_600_290  # on no line of tiles
BANDS = ("red", "nir")
CLASSES = (LandClass(0, "unchanged", "#e4e4e0"), LandClass(1, "changed", "#d7301f"))
CHANGED = (
    np.s_[20:60, 30:90],
    np.s_[150:200, 60:100],
    np.s_[60:110, 200:260],
    np.s_[240:290, 150:220],
)
UNSEEN = {2023: np.s_[140:240, 200:320], 2024: np.s_[200:320, 20:140]}
PLACE = Affine(10, 0, WEST, 0, -10, NORTH)


def truth() -> np.ndarray:
    """1 where the land changed."""
    changed = np.zeros((SIZE, SIZE), np.uint8)
    for part in CHANGED:
        changed[part] = 1
    return changed


def seen(*years: int) -> np.ndarray:
    """Where all of some years saw something."""
    known = np.ones((SIZE, SIZE), bool)
    for year in years:
        known[UNSEEN[year]] = False
    return known


def images() -> dict[int, np.ndarray]:
    """Reflectance times 10,000 ``(band, y, x)`` of each year; 0 where nothing was seen."""
    random = np.random.default_rng(5)
    ground = 2000 + 600 * np.sin(np.add.outer(np.arange(SIZE) / 17, np.arange(SIZE) / 31))
    found = {}
    for year in YEARS:
        image = np.stack([ground, ground + 1500])
        if year == YEARS[1]:
            image[:, truth() == 1] += np.array([900.0, -1200.0])[:, None]
        image += random.normal(0, 60, image.shape)
        image[:, ~seen(year)] = 0
        found[year] = image.astype(np.uint16)
    return found


def write_archive(folder: Path) -> Path:
    """Scenes, items, the change as a raster; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    extent = GeoBox((SIZE, SIZE), PLACE, CRS).extent.to_crs("EPSG:4326")
    for year, image in images().items():
        item = pystac.Item(
            f"scene-{year}", extent.json, list(extent.boundingbox.bbox),
            datetime(year, 6, 1, tzinfo=UTC),
            {"proj:code": CRS, "proj:shape": [SIZE, SIZE], "proj:transform": list(PLACE)[:6]},
        )  # fmt: skip
        for band, values in zip(BANDS, image, strict=True):
            path = folder / f"{year}-{band}.tif"
            write_raster(path, values, nodata=0)
            raster = {"data_type": "uint16", "nodata": 0}
            item.add_asset(band, pystac.Asset(str(path), extra_fields={"raster:bands": [raster]}))
        items.append(item.to_dict())
    (folder / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    write_raster(folder / "change.tif", truth(), nodata=255)
    return folder


def write_raster(path: Path, values: np.ndarray, nodata: float) -> None:
    """One band on the archive's pixels."""
    with rasterio.open(
        path, "w", driver="GTiff", height=SIZE, width=SIZE, count=1, dtype=values.dtype, crs=CRS,
        transform=PLACE, nodata=nodata, tiled=True, blockxsize=64, blockysize=64,
    ) as dataset:  # fmt: skip
        dataset.write(values, 1)


def recipe_of(archive: Path, model: Path | str, tile: int = 128, **step: Any) -> dict[str, Any]:
    """A recipe of the change between the years; ``step`` has keys of its step, None for none."""
    change = {"kind": "change-network", "model": str(model), "of": "s2", "from": 2023, "to": 2024}
    extent = GeoBox((SIZE - 8, SIZE - 8), PLACE @ Affine.translation(3, 5), CRS).extent
    return {
        "name": "two-dates",
        "bbox": list(extent.to_crs("EPSG:4326").boundingbox.bbox),
        "grid": {"crs": CRS, "resolution": 10, "tile": tile},
        "periods": list(YEARS),
        "inputs": {
            "s2": {
                "catalog": str(archive / "items.json"),
                "bands": list(BANDS),
                "composite": {"by": "year"},
                "harmonize": False,
            }
        },
        "steps": {"change": {k: v for k, v in (change | step).items() if v is not None}},
    }


def inputs(
    bands: tuple[str, ...] = BANDS, names: tuple[str, str] = ("before", "after")
) -> list[ModelInput]:
    """Both dates, scaled alike."""
    count = len(bands)
    return [ModelInput(n, bands, ("year",), (2500.0,) * count, (900.0,) * count) for n in names]


class Differences(nn.Module):
    """A network of somebody: how far both dates differ, averaged over 3 x 3 pixels."""

    def __init__(self, channels: int, outputs: int, threshold: float = 0.7) -> None:
        super().__init__()
        self.outputs, self.threshold = outputs, threshold
        self.scale = nn.Parameter(torch.tensor(6.0))
        self.channels = channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores ``(N, K, H, W)``: of no change 0, of all others how far."""
        before, after = x.chunk(2, dim=1)
        far = (after - before).abs().mean(dim=1, keepdim=True)
        far = nn.functional.avg_pool2d(far, 3, stride=1, padding=1)
        scores = self.scale * (far - self.threshold)
        return torch.cat(
            [torch.zeros_like(scores), *[scores - k for k in range(self.outputs - 1)]], 1
        )


class ByName(nn.Module):
    """The same for a mapping of inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = Differences(4, 2)

    def forward(self, given: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Scores ``(N, 2, H, W)`` of inputs ``(N, 1, 2, H, W)``."""
        both = [given[name][:, 0] for name in ("before", "after")]
        scores: torch.Tensor = self.inside(torch.cat(both, dim=1))
        return scores


def own_model(**changes: Any) -> Model:
    """The network of somebody as a model."""
    said: dict[str, Any] = {
        "inputs": inputs(), "classes": CLASSES, "stride": 96, "halo": 4, "name": "own",
        "architecture": "two_years:Differences", "hyperparameters": {},
    }  # fmt: skip
    said |= changes
    return rs.Model.of(Differences(4, len(said["classes"])), **said)


def untrained(folder: Path, architecture: str) -> Model:
    """A network by name whose random weights make change and no change occur."""
    torch.manual_seed(3)
    options = {"width": 4, "depth": 2}
    spec = ModelSpec(
        name="untrained",
        inputs=tuple(inputs()),
        classes=CLASSES,
        lattice=Lattice(stride=72, halo=4),  # a halo below its reach: where windows lie shows
        architecture=architecture,
        hyperparameters=options,
        resolution=10.0,
        seen="all",
    )
    module = build(architecture, spec.inputs, 2, **options).eval()
    with torch.no_grad():
        scores = module(torch.randn(1, 4, 128, 128))
        module.head.weight *= 2 / scores.std(dim=(0, 2, 3)).view(-1, 1, 1, 1)
        module.head.bias -= module(torch.randn(1, 4, 128, 128)).mean(dim=(0, 2, 3))
    return save_model(Model(spec, module, torch.device("cpu")), folder)
