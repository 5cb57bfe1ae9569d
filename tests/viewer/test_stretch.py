"""What becomes black and white in the imagery of the viewer: from the data, and once for all."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
import requests
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy.ndimage import gaussian_filter
from viewer_page import Page

import rsscale as rs
from rsscale.errors import RecipeError
from rsscale.plans.plan import read_frozen
from rsscale.viewer.imagery import imagery_folder

pytestmark = pytest.mark.slow
SIZE = 300
CRS, TRANSFORM = "EPSG:32631", Affine(10, 0, 734_000, 0, -10, 4_985_000)
BANDS = ("red", "green", "blue")
# Mean and spread of each band: digital numbers have haze in the blue.
NUMBERS = {"uint8": ((60, 12), (70, 9), (95, 7)), "uint16": ((900, 300), (800, 200), (500, 150))}


@dataclass(frozen=True)
class Pictured:
    """An image of three bands, and a run of it."""

    pixels: np.ndarray
    run: rs.Run


def pictured(folder: Path, dtype: str) -> Pictured:
    """An image of 8-bit digital numbers, or of reflectance in 16 bits by its scale."""
    random = np.random.default_rng(4)
    pattern = [gaussian_filter(random.normal(size=(SIZE, SIZE)), 3) for _ in BANDS]
    bands = zip(pattern, NUMBERS[dtype], strict=True)
    pixels = np.stack(
        [mean + spread * values / values.std() for values, (mean, spread) in bands]
    ).round().clip(1, np.iinfo(dtype).max).astype(dtype)  # fmt: skip
    outline = GeoBox((SIZE, SIZE), TRANSFORM, CRS).extent.to_crs("EPSG:4326")
    item = pystac.Item(
        "image", outline.json, list(outline.boundingbox.bbox), datetime(2023, 6, 15, tzinfo=UTC),
        {"proj:code": CRS, "proj:shape": [SIZE, SIZE], "proj:transform": list(TRANSFORM)[:6]},
    )  # fmt: skip
    scale = {"scale": 0.0001} if dtype == "uint16" else {}
    folder.mkdir(parents=True)
    for name, band in zip(BANDS, pixels, strict=True):
        path = folder / f"{name}.tif"
        profile = {"crs": CRS, "transform": TRANSFORM, "nodata": 0, "tiled": True}
        with rasterio.open(
            path, "w", driver="GTiff", width=SIZE, height=SIZE, count=1, dtype=dtype,
            blockxsize=128, blockysize=128, **profile,
        ) as file:  # fmt: skip
            file.write(band, 1)
        described = {"raster:bands": [{"data_type": dtype, "nodata": 0, **scale}]}
        item.add_asset(name, pystac.Asset(str(path), roles=["data"], extra_fields=described))
    catalog = pystac.Catalog("image", "one image")
    catalog.add_item(item)
    catalog.normalize_and_save(str(folder), pystac.CatalogType.SELF_CONTAINED)
    recipe = {
        "name": "pictured",
        "bbox": list(outline.boundingbox.bbox),
        "grid": {"crs": CRS, "resolution": 10, "tile": 256},
        "periods": [2023],
        "inputs": {
            "imagery": {  # as the viewer's own step is named, too
                "catalog": str(folder / "catalog.json"),
                "bands": list(BANDS),
                "composite": {"by": "year", "reducer": "median"},
            }
        },
        "steps": {"picture": {"kind": "imagery", "of": "imagery"}},
    }
    return Pictured(pixels, rs.run(recipe, folder / "run", threads=1, device="cpu"))


def kept(run: rs.Run) -> tuple[Any, Any]:
    """What the imagery of a run was stretched with."""
    folder = imagery_folder(run.folder)
    step = read_frozen(folder, folder.read_state())[0].steps["imagery"]
    return step.options["low"], step.options["high"]


def computed(run: rs.Run) -> int:
    """Tiles of the imagery that were computed, of all times that it was asked for."""
    events = rs.Run(imagery_folder(run.folder).url).events()
    return sum(event["event"] == "tile" for event in events)


@pytest.mark.extended
def test_digital_numbers_are_drawn_by_their_percentiles(chromium: Any, tmp_path: Path) -> None:
    image = pictured(tmp_path / "image", "uint8")
    with rs.view(image.run, imagery=True) as viewer:
        low, high = kept(image.run)
        expected = np.percentile(image.pixels.reshape(3, -1), (2, 98), axis=1)
        np.testing.assert_allclose((low, high), expected, atol=4)  # overviews vary less
        page = Page(chromium, viewer.url).open("layer=imagery/rgb&x=735500&y=4983500&r=10")
        height, width = (size // 2 for size in page.picture().shape[:2])
        shown = page.picture()[height - 60 : height + 60, width - 60 : width + 60]
        page.tab.close()
        assert page.problems == []
    # What is painted is what the store has, and spreads over each of the three colours.
    beside = rs.Run(imagery_folder(image.run.folder).url)
    stored = beside.open("imagery").rgb.isel(time=0)
    around = stored.sel(x=slice(734_900, 736_100), y=slice(4_984_100, 4_982_900)).values
    assert around.shape == (3, 120, 120)
    difference = np.abs(shown.astype(int) - np.moveaxis(around, 0, -1))
    assert difference.max() <= 1
    for band in range(3):
        assert 80 < shown[..., band].mean() < 190
        assert (shown[..., band] >= 254).mean() < 0.1


def test_it_is_found_out_once_and_given_by_hand(tmp_path: Path) -> None:
    image = pictured(tmp_path / "image", "uint8")
    with rs.view(image.run, imagery=True):
        found, tiles = kept(image.run), computed(image.run)
    with rs.view(image.run, imagery=True):  # nothing is sampled or computed again
        assert (kept(image.run), computed(image.run)) == (found, tiles)
    with rs.view(image.run, imagery=True, stretch=(0, 255)):
        assert kept(image.run) == (0.0, 255.0)
        assert computed(image.run) == 2 * tiles
    with rs.view(image.run, imagery=True):
        assert kept(image.run) == (0.0, 255.0)
    with pytest.raises(RecipeError, match="the stretch is 9 9; expected what becomes black and"):
        rs.view(image.run, imagery=True, stretch=(9, 9))
    with pytest.raises(RecipeError, match=r"a stretch is for the imagery.*--imagery"):
        rs.view(image.run, stretch=(0, 1))


def test_reflectance_is_drawn_as_it_ever_was(tmp_path: Path) -> None:
    image = pictured(tmp_path / "image", "uint16")
    with rs.view(image.run, imagery=True) as viewer:
        assert requests.get(viewer.url, timeout=30).ok
        assert kept(image.run) == (0.0, 0.3)
