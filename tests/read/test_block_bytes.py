"""Bytes of whole blocks, by the header of a file."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.shutil import copy

from rsscale.read.block_bytes import BlockBytes, block_bytes
from rsscale.read.levels import Source
from rsscale.read.placement import OutputGrid

CRS, SIZE, BLOCK = "EPSG:32631", 1024, 256


def grid(resolution: float) -> tuple[OutputGrid, int, int]:
    """A grid, and where the file's corner lies on it."""
    box = GeoBox((8, 8), Affine(resolution, 0, 512_000, 0, -resolution, 5_120_000), CRS)
    found, covered = OutputGrid.of(box)
    return found, covered.row0, covered.col0


def written(folder: Path, resolution: float = 10.0, driver: str = "COG", **options: object) -> str:
    """A file whose left half is noise and whose right half is nodata."""
    values = np.zeros((SIZE, SIZE), "uint16")
    values[:, : SIZE // 2] = np.random.default_rng(0).integers(1, 4000, (SIZE, SIZE // 2))
    plain, path = folder / "plain.tif", folder / f"file.{driver.lower()}"
    profile = {
        "driver": "GTiff", "dtype": "uint16", "count": 1, "width": SIZE, "height": SIZE,
        "crs": CRS, "transform": Affine(resolution, 0, 512_000, 0, -resolution, 5_120_000),
        "nodata": 0,
    }  # fmt: skip
    with rasterio.open(plain, "w", **profile) as file:
        file.write(values, 1)
    copy(plain, path, driver=driver, **options)
    return str(path)


def of(url: str, resolution: float, method: str = "bilinear") -> BlockBytes:
    found, _ = block_bytes(Source("item", "red", url, method, 0.0), grid(resolution)[0])
    return found


def test_whole_blocks_count_as_long_as_they_are(tmp_path: Path) -> None:
    url = written(tmp_path, blocksize=BLOCK, compress="deflate", overviews="NONE")
    found, (_, row, col) = of(url, 10), grid(10)
    assert (found.origin, found.block) == ((row, col), (BLOCK, BLOCK))
    assert found.stored.shape == (4, 4)
    noise, blank = found.stored[:, :2], found.stored[:, 2:]
    assert noise.min() > 0.7 * 2 * BLOCK**2
    assert blank.max() < 0.02 * noise.min()
    everything = found.of_chunks([row, row + SIZE], [col, col + SIZE])
    assert everything == found.stored.sum() == pytest.approx(Path(url).stat().st_size, rel=0.01)
    # One pixel of a block is all of it, and each chunk takes it again.
    assert found.of_chunks([row, row + 1], [col + 5, col + 6]) == found.stored[0, 0]
    halves = [row, row + BLOCK // 2, row + BLOCK]
    assert found.of_chunks(halves, [col, col + BLOCK]) == 2 * found.stored[0, 0]
    # A halo of a pixel on each side takes the eight blocks around.
    assert found.of_chunks(
        [row + BLOCK - 1, row + 2 * BLOCK + 1], [col + BLOCK - 1, col + 2 * BLOCK + 1]
    ) == pytest.approx(found.stored[:3, :3].sum())
    assert found.of_chunks([row - 50, row], [col, col + SIZE]) == 0


def test_a_file_of_coarser_pixels_has_larger_blocks(tmp_path: Path) -> None:
    url = written(tmp_path, 20.0, blocksize=BLOCK, compress="deflate", overviews="NONE")
    found, (_, row, col) = of(url, 10, "nearest"), grid(10)
    assert found.block == (2 * BLOCK, 2 * BLOCK)
    assert found.pixel_bytes == 2 / 4
    assert found.of_chunks([row, row + 2 * BLOCK], [col, col + 2 * BLOCK]) == found.stored[0, 0]


def test_an_overview_has_blocks_of_its_own(tmp_path: Path) -> None:
    url = written(tmp_path, blocksize=BLOCK, compress="deflate", overview_count=2)
    full, half, quarter = of(url, 10), of(url, 20), of(url, 40)
    assert full.stored.shape == (4, 4)
    assert half.stored.shape == (2, 2)
    assert quarter.stored.shape == (1, 1)
    assert quarter.stored.sum() < half.stored.sum() / 2 < full.stored.sum() / 4
    assert half.block == (BLOCK, BLOCK)


def test_blocks_that_are_left_out_take_nothing(tmp_path: Path) -> None:
    url = written(
        tmp_path, driver="GTiff", tiled=True, blockxsize=BLOCK, blockysize=BLOCK, sparse_ok=True
    )
    found = of(url, 10)
    assert (found.stored[:, :2] == 2 * BLOCK**2).all()
    assert (found.stored[:, 2:] == 0).all()


def test_a_file_on_another_grid_is_read_with_a_margin(tmp_path: Path) -> None:
    url = written(tmp_path, blocksize=BLOCK, compress="deflate", overviews="NONE")
    shifted = GeoBox((8, 8), Affine(10, 0, 512_003, 0, -10, 5_120_004), CRS)
    lattice, covered = OutputGrid.of(shifted)
    found, _ = block_bytes(Source("item", "red", url, "bilinear", 0.0), lattice)
    assert found.margin > 0
    rows = [covered.row0 + BLOCK, covered.row0 + 2 * BLOCK]
    cols = [covered.col0 + BLOCK, covered.col0 + 2 * BLOCK]
    assert found.of_chunks(rows, cols) == pytest.approx(found.stored[:3, :3].sum())


def test_a_format_that_does_not_say_counts_as_decoded(tmp_path: Path) -> None:
    found = of(written(tmp_path, driver="HFA"), 10)
    assert found.stored.sum() == 2 * SIZE**2
