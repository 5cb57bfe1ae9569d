"""Archives of two dates: textures shifted by a known amount, hidden, of other units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy.ndimage import fourier_shift, gaussian_filter

BANDS = ("red", "nir")
YEARS = (2000, 2003)
CRS = "EPSG:32651"
NODATA = -9999.0


@dataclass(frozen=True)
class TwoDates:
    """Images ``(band, y, x)`` of both dates, NaN where not seen, and where they lie."""

    before: np.ndarray
    after: np.ndarray
    bands: tuple[str, ...] = BANDS
    corner: tuple[float, float] = (203_340.0, 3_604_920.0)
    pixel: float = 30.0

    def write(self, folder: Path) -> Path:
        """A static catalogue of both, as float32 GeoTIFFs."""
        folder.mkdir(parents=True, exist_ok=True)
        catalog = pystac.Catalog("two-dates", "an image of each of two years")
        for year, image in zip(YEARS, (self.before, self.after), strict=True):
            catalog.add_item(self._item(folder, year, image))
        catalog.normalize_and_save(str(folder), pystac.CatalogType.SELF_CONTAINED)
        return folder / "catalog.json"

    def recipe(self, folder: Path, *, tile: int = 256, **step: Any) -> dict[str, Any]:
        """A recipe with one step ``pair`` over the middle of the images; writes what is not there.

        Its area lies 20 px from the images' borders, off all tile lines.
        """
        import geopandas as gpd
        import shapely

        catalog = folder / "catalog.json"
        if not catalog.exists():
            self.write(folder)
        height, width = self.before.shape[-2:]
        inner = 20 * self.pixel
        x, y = self.corner
        box = (x + inner, y - height * self.pixel + inner, x + width * self.pixel - inner,
               y - inner)  # fmt: skip
        area = folder / "area.gpkg"
        if not area.exists():
            gpd.GeoDataFrame(geometry=[shapely.box(*box)], crs=CRS).to_file(area)
        given = {"kind": "pair_pass:PairPass", "of": "image", "from": YEARS[0], "to": YEARS[1]}
        return {
            "name": "two-dates",
            "area": str(area),
            "grid": {"crs": CRS, "resolution": self.pixel, "tile": tile},
            "periods": list(YEARS),
            "inputs": {
                "image": {
                    "catalog": str(catalog),
                    "bands": list(self.bands),
                    "composite": {"by": "year"},
                }
            },
            "steps": {"pair": {k: v for k, v in (given | step).items() if v is not None}},
        }

    def _item(self, folder: Path, year: int, image: np.ndarray) -> pystac.Item:
        height, width = image.shape[-2:]
        transform = Affine(self.pixel, 0, self.corner[0], 0, -self.pixel, self.corner[1])
        footprint = GeoBox((height, width), transform, CRS).extent.to_crs("EPSG:4326")
        item = pystac.Item(
            id=f"image-{year}",
            geometry=footprint.json,
            bbox=list(footprint.boundingbox.bbox),
            datetime=datetime(year, 3, 17, tzinfo=UTC),
            properties={
                "proj:code": CRS,
                "proj:shape": [height, width],
                "proj:transform": list(transform)[:6],
            },
        )
        for band, values in zip(self.bands, image, strict=True):
            path = folder / f"{item.id}-{band}.tif"
            with rasterio.open(
                path, "w", driver="GTiff", width=width, height=height, count=1, dtype="float32",
                crs=CRS, transform=transform, nodata=NODATA, tiled=True,
            ) as file:  # fmt: skip
                file.write(np.where(np.isnan(values), NODATA, values).astype("float32"), 1)
            raster = {"data_type": "float32", "nodata": NODATA}
            extra: Mapping[str, Any] = {"raster:bands": [raster]}
            item.add_asset(
                band, pystac.Asset(str(path), media_type="image/tiff", extra_fields=dict(extra))
            )
        return item


def texture(seed: int, shape: tuple[int, int], sigma: float = 1.2, bands: int = 2) -> np.ndarray:
    """Images ``(band, y, x)`` of land as far as edges go: band-limited, so that a shift by part of
    a pixel is exact; bands are related."""
    rng = np.random.default_rng(seed)
    common, *own = (
        gaussian_filter(rng.normal(size=shape), sigma, mode="wrap") for _ in range(bands + 1)
    )
    return np.stack([100 + 20 * (common + 0.5 * one) / common.std() for one in own])


def shifted(image: np.ndarray, dx: float, dy: float) -> np.ndarray:
    """The image with its content ``dx`` px further east and ``dy`` down, around the edge."""
    moved = [np.fft.ifft2(fourier_shift(np.fft.fft2(band), (dy, dx))).real for band in image]
    return np.stack(moved)


def clouds(seed: int, shape: tuple[int, int], share: float) -> np.ndarray:
    """Where clouds are ``(y, x)``: patches that cover a share of the image."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 8)
    return field > np.quantile(field, 1 - share)


def hidden(image: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The image with nothing seen there."""
    return np.where(where, np.nan, image)


def pair_of(seed: int, dx: float, dy: float, size: int = 400, **kwargs: Any) -> TwoDates:
    """Two dates of one place, the second shifted, with noise of each date."""
    rng = np.random.default_rng(seed + 1)
    one = texture(seed, (size, size))
    other = shifted(one, dx, dy)
    noisy = [image + rng.normal(0, 1, image.shape) for image in (one, other)]
    return replace(TwoDates(*noisy), **kwargs)
