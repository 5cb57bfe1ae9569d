"""An archive of one aerial image at 0.5 m with sheds and trees, and a recipe to train on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pystac
import rasterio
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from benchmarks.aerial_scene import BANDS, aerial_scene

WEST, NORTH, PIXEL = 734_000.0, 4_985_000.0, 0.5
CRS = "EPSG:32631"
BLANK = 40  # columns at the east that nothing saw
TINY = {"backbone": "small", "width": 32, "levels": 2}


@dataclass(frozen=True)
class AerialArchive:
    """Where things lie."""

    folder: Path
    size: int

    def recipe(self, out: Path, **train: Any) -> dict[str, Any]:
        """A recipe that trains a small FCOS; keys of ``train`` can be replaced."""
        extent = GeoBox((self.size, self.size), _transform(), CRS).extent.to_crs("EPSG:4326")
        settings = {
            "labels": str(self.folder / "objects.gpkg"),
            "class": "kind",
            "architecture": "fcos",
            "hyperparameters": TINY,
            "within": str(self.folder / "within.gpkg"),
            "chip": 64,
            "crop": 64,
            "stride": 64,
            "halo": 32,
            "steps": 4,
            "batch": 2,
            "split": {"blocks": 32},
        }
        return {
            "name": "objects",
            "bbox": list(extent.boundingbox.bbox),
            "grid": {"crs": CRS, "resolution": PIXEL, "tile": 256},
            "periods": [2023],
            "inputs": {
                "air": {
                    "catalog": str(self.folder / "catalog.json"),
                    "bands": list(BANDS),
                    "composite": {"by": "year", "reducer": "median"},
                }
            },
            "model": str(out / "model"),
            "train": {k: v for k, v in {**settings, **train}.items() if v is not None},
        }


def _transform() -> Affine:
    return Affine(PIXEL, 0, WEST, 0, -PIXEL, NORTH)


def make(folder: Path, size: int = 320) -> AerialArchive:
    """Write the image, its catalogue, the objects and where all of them are labelled."""
    folder.mkdir(parents=True)
    scene = aerial_scene(size, 3)
    pixels = scene.image.to_numpy().copy()
    pixels[:, :, size - BLANK :] = 0
    footprint = GeoBox((size, size), _transform(), CRS).extent.to_crs("EPSG:4326")
    item = _item(footprint, size)
    for number, band in enumerate(BANDS):
        path = folder / f"{band}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", width=size, height=size, count=1, dtype="uint16",
            crs=CRS, transform=_transform(), nodata=0, tiled=True, blockxsize=256, blockysize=256,
        ) as file:  # fmt: skip
            file.write(pixels[number], 1)
        asset = pystac.Asset(
            str(path), media_type=pystac.MediaType.GEOTIFF, roles=["data"],
            extra_fields={"raster:bands": [{"data_type": "uint16", "nodata": 0}]},
        )  # fmt: skip
        item.add_asset(band, asset)
    catalog = pystac.Catalog("air", "an aerial image")
    catalog.add_item(item)
    catalog.normalize_and_save(str(folder), pystac.CatalogType.SELF_CONTAINED)
    to_crs = _transform()
    frame = scene.objects.set_geometry(
        shapely.transform(
            scene.objects.geometry.to_numpy(),
            lambda xy: np.stack(to_crs @ (xy[:, 0], xy[:, 1]), axis=1),
        ),
        crs=CRS,
    )
    frame.to_file(folder / "objects.gpkg")
    whole = shapely.box(WEST, NORTH - size * PIXEL, WEST + size * PIXEL, NORTH)
    gpd.GeoDataFrame(geometry=[whole], crs=CRS).to_file(folder / "within.gpkg")
    return AerialArchive(folder, size)


def _item(footprint: Any, size: int) -> pystac.Item:
    return pystac.Item(
        id="air",
        geometry=footprint.json,
        bbox=list(footprint.boundingbox.bbox),
        datetime=datetime(2023, 6, 15, 10, 30, tzinfo=UTC),
        properties={
            "proj:code": CRS,
            "proj:shape": [size, size],
            "proj:transform": list(_transform())[:6],
        },
    )
