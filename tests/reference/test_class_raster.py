"""Rasters of class values: nodata however it is said, and nothing else taken for a class."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

from rsscale.errors import ModelError, RecipeError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
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
