"""Rasters of class values: nodata however it is said, and nothing else taken for a class."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from rsscale.errors import ModelError, ReadError, RecipeError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.read import file_pool
from rsscale.reference.class_raster import RasterOnGrid

GRID = Grid("EPSG:32631", 10.0)
BOX = PixelBox(-500_000, 50_000, -499_960, 50_050)


def write(path: Path, values: np.ndarray, nodata: float | None, *, scale: float = 1.0) -> Path:
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=values.shape[0],
        width=values.shape[1],
        count=1,
        dtype=values.dtype,
        crs=GRID.crs,
        transform=GRID.geobox_of(BOX).affine,
        nodata=nodata,
    ) as file:
        file.write(values, 1)
        if scale != 1.0:
            file.scales = (scale,)
    return path


def classes() -> np.ndarray:
    return np.broadcast_to(np.array([0, 1, 7, 254])[np.arange(50) % 4], BOX.shape).copy()


@pytest.mark.parametrize(
    ("dtype", "hole", "nodata"),
    [
        ("float32", np.nan, np.nan),
        ("float64", np.nan, None),
        ("float32", -9999, -9999),
        ("int16", -1, -1),
        ("int32", 255, None),
        ("uint8", 255, 255),
        ("uint8", 33, 33),
        ("uint16", 65535, 65535),
        ("float32", np.nan, -9999),
    ],
)
def test_nodata_of_every_type_is_255(
    tmp_path: Path, dtype: str, hole: float, nodata: float | None
) -> None:
    values = classes().astype(dtype)
    values[10:20] = hole
    found = RasterOnGrid(write(tmp_path / "r.tif", values, nodata), GRID).read(BOX.pad(3))
    expected = np.full(BOX.pad(3).shape, 255)
    expected[3:-3, 3:-3] = classes()
    expected[13:23] = 255
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.uint8


@pytest.mark.parametrize(
    ("dtype", "value", "message"),
    [
        ("float32", 1.5, "the value 1.5 (2 pixels)"),
        ("int16", -9999, "the value -9999 (2 pixels)"),
        ("uint16", 311, "the value 311 (2 pixels)"),
        ("float32", np.inf, "the value inf (2 pixels)"),
    ],
)
def test_what_is_no_class_value_is_named(
    tmp_path: Path, dtype: str, value: float, message: str
) -> None:
    values = classes().astype(dtype)
    values[3, 4:6] = value
    raster = RasterOnGrid(write(tmp_path / "r.tif", values, None), GRID)
    with pytest.raises(ModelError) as caught:
        raster.read(BOX)
    assert message in str(caught.value)
    assert str(tmp_path / "r.tif") in str(caught.value)


def test_scaled_values_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "r.tif", classes().astype("uint8"), 255, scale=0.1)
    with pytest.raises(RecipeError, match=r"has the scale 0.1 and offset 0.0; expected class valu"):
        RasterOnGrid(path, GRID)


@pytest.fixture
def _no_open_files() -> Iterator[None]:
    file_pool.POOL.close()
    yield
    file_pool.POOL.close()


def stored_as(path: Path, driver: str, **options: Any) -> Path:
    """The classes in a file of some format, of several blocks."""
    data = np.tile(classes().astype("uint8"), (12, 10))
    with rasterio.open(
        path, "w", driver=driver, height=data.shape[0], width=data.shape[1], count=1,
        dtype="uint8", crs=GRID.crs, transform=GRID.geobox_of(BOX).affine, **options,
    ) as file:  # fmt: skip
        file.write(data, 1)
    return path


def virtual(path: Path, source: Path) -> Path:
    """A virtual raster of a file that may be gone by then."""
    rasterio.shutil.copy(source, path, driver="VRT")
    return path


FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "r.jp2": ("JP2OpenJPEG", {"QUALITY": "100", "REVERSIBLE": "YES", "BLOCKXSIZE": 128,
                              "BLOCKYSIZE": 128}),
    "r.tif": ("GTiff", {"tiled": True, "blockxsize": 128, "blockysize": 128,
                        "compress": "deflate"}),
    "r.png": ("PNG", {"WORLDFILE": "YES"}),
}  # fmt: skip


@pytest.mark.usefixtures("_no_open_files")
@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_is_cut_short_holds_no_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("GDAL_NUM_THREADS", "4")
    driver, options = FORMATS[name]
    path = stored_as(tmp_path / name, driver, **options)
    box = PixelBox(BOX.row0, BOX.col0, BOX.row0 + 480, BOX.col0 + 500)
    whole = RasterOnGrid(path, GRID).read(box)
    np.testing.assert_array_equal(whole, np.tile(classes(), (12, 10))[:480, :500])
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * 0.6)])
    with pytest.raises((ReadError, RecipeError), match=name):
        RasterOnGrid(path, GRID).read(box)


@pytest.mark.usefixtures("_no_open_files")
def test_a_virtual_raster_without_its_source_holds_no_classes(tmp_path: Path) -> None:
    source = stored_as(tmp_path / "a.tif", "GTiff")
    good, bad = virtual(tmp_path / "good.vrt", source), virtual(tmp_path / "bad.vrt", source)
    bad.write_text(bad.read_text().replace("a.tif", "b.tif"))
    for content in (None, b"no raster"):  # it is not there, or it is none
        if content is not None:
            (tmp_path / "b.tif").write_bytes(content)
        for _ in range(2):
            with pytest.raises((ReadError, RecipeError), match=r"bad\.vrt .*b\.tif"):
                RasterOnGrid(bad, GRID).read(BOX)
            assert (RasterOnGrid(good, GRID).read(BOX) != 255).all()


@pytest.mark.usefixtures("_no_open_files")
def test_a_raster_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    raster = RasterOnGrid(write(tmp_path / "r.tif", np.full(BOX.shape, 3, "uint8"), 255), GRID)
    assert (raster.read(BOX) == 3).all()
    write(tmp_path / "r.tif", np.full(BOX.shape, 4, "uint8"), 255)
    assert (raster.read(BOX) == 4).all()
