"""Three catalogues of real imagery, to the pixel as rasterio reads them, with both loaders."""

from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
from affine import Affine
from cube_scenes import warped
from odc.geo.geobox import GeoBox

from rsscale.cube.load import load as load_with
from rsscale.geo.grid import Grid

DATA = Path(__file__).resolve().parents[2] / "../shared/data"


@pytest.fixture(params=["stackstac", "odc-stac"])
def load(request):
    def loader(*arguments, **options):
        return load_with(*arguments, loader=request.param, **options)

    return loader


def catalogue(name):
    if not (DATA / name).exists():
        pytest.skip(f"the example imagery is not at {DATA / name}; it is not part of the project")
    return list(pystac.Catalog.from_file(DATA / name / "catalog.json").get_items(recursive=True))


def files_of(items, cube, band):
    """The files of a band in the order of the cube's scenes."""
    by_id = {one.id: one.assets[band].get_absolute_href() for one in items}
    return [by_id[name] for name in cube.id.values.tolist()]


def own_grid(path):
    with rasterio.open(path) as dataset:
        return GeoBox(dataset.shape, dataset.transform, dataset.crs.to_wkt())


def test_cbers_on_its_own_grid_which_has_no_epsg_code(load):
    items = catalogue("cbers-bahia")
    box = own_grid(items[0].assets["NDVI"].get_absolute_href())
    assert box.crs.epsg is None
    cube = load(items, box, ["NDVI", "EVI"])
    assert (cube.shape, cube.dtype) == ((23, 2, 1000, 400), np.dtype("int16"))
    assert cube.attrs["nodata"] == -9999
    assert cube.odc.geobox == box
    got = cube.compute()
    for number, band in enumerate(["NDVI", "EVI"]):
        for scene, path in enumerate(files_of(items, got, band)):
            with rasterio.open(path) as dataset:
                np.testing.assert_array_equal(got.values[scene, number], dataset.read(1))
    assert (got.sel(band="EVI") > 10_000).any()  # outliers stay what they are
    cut = load(items, box[311:640, 17:205], ["EVI"])
    np.testing.assert_array_equal(cut, got[:, 1:, 311:640, 17:205])


@pytest.mark.parametrize("method", ["nearest", "bilinear", "cubic"])
def test_cbers_in_utm(load, method):
    items = catalogue("cbers-bahia")[:3]
    area = own_grid(items[0].assets["EVI"].get_absolute_href()).extent
    box = Grid("EPSG:32723", 60).geobox(area)
    cube = load(items, box, ["EVI"], resampling={"EVI": method}).compute()
    for scene, path in enumerate(files_of(items, cube, "EVI")):
        expected = warped(path, box, method, nodata=-9999)
        assert 0.3 < (expected != -9999).mean() < 1
        np.testing.assert_array_equal(cube.values[scene, 0], expected)


def test_landsat_whose_pixels_start_at_half(load):
    items = catalogue("landsat7-two-dates")
    bands = ["blue", "nir08", "lwir", "fmask"]
    own = own_grid(items[0].assets["blue"].get_absolute_href())
    # The grid that has these pixels; one that starts at 0 would be half a pixel off.
    box = Grid("EPSG:32615", 30, origin=(15, 15)).geobox(own.extent)
    assert box.affine == own.affine
    assert box.shape == own.shape
    cube = load(items, box.pad(3), bands)
    assert (cube.dtype, cube.attrs["nodata"]) == (np.dtype("int16"), -9999)
    assert cube.attrs["categorical"] == ["fmask"]
    got = cube.compute()
    for number, band in enumerate(bands):
        for scene, path in enumerate(files_of(items, got, band)):
            with rasterio.open(path) as dataset:
                expected = np.pad(dataset.read(1), 3, constant_values=-9999)
            np.testing.assert_array_equal(got.values[scene, number], expected)
    assert (got.sel(band="blue") == 16_000).any()  # saturated: a value, not nodata


def test_landsat_on_a_grid_that_starts_at_zero(load):
    items = catalogue("landsat7-two-dates")
    own = own_grid(items[0].assets["blue"].get_absolute_href())
    box = Grid("EPSG:32615", 30).geobox(own.extent)
    got = load(items, box, ["nir08", "fmask"]).compute()
    for number, (band, method) in enumerate([("nir08", "bilinear"), ("fmask", "nearest")]):
        for scene, path in enumerate(files_of(items, got, band)):
            expected = warped(path, box, method, nodata=-9999)
            np.testing.assert_array_equal(got.values[scene, number], expected)
    assert set(np.unique(got.sel(band="fmask"))) <= {-9999, 0, 1, 2, 3, 4, 255}


def test_landsat_at_60_m_comes_from_its_overview(load):
    items = catalogue("landsat7-two-dates")[:1]
    path = items[0].assets["nir08"].get_absolute_href()
    own = own_grid(path)
    with rasterio.open(path, overview_level=0) as dataset:
        expected = dataset.read(1)
    box = Grid("EPSG:32615", 60, origin=(own.affine.c, own.affine.f)).geobox(own.extent)
    assert box.shape == expected.shape
    np.testing.assert_array_equal(load(items, box, ["nir08"]).values[0, 0], expected)


def test_sentinel2_in_degrees_on_its_own_grid(load):
    items = catalogue("rachel-carson-sentinel2")
    path = items[0].assets["B04"].get_absolute_href()
    box = own_grid(path)
    assert box.affine.a != -box.affine.e
    cube = load(items, box, ["B04", "B08"])
    assert (cube.dtype, cube.attrs["nodata"]) == (np.dtype("uint8"), 0)
    got = cube.compute()
    for number, band in enumerate(["B04", "B08"]):
        with rasterio.open(files_of(items, got, band)[0]) as dataset:
            np.testing.assert_array_equal(got.values[0, number], dataset.read(1))


@pytest.mark.parametrize(("resolution", "level"), [(10, None), (40, 1)])
def test_sentinel2_in_degrees_on_a_metric_grid(load, resolution, level):
    items = catalogue("rachel-carson-sentinel2")
    # Its pixels are of 8.2 m: the overview of a quarter has 33 m.
    corner = Affine(resolution, 0, 348_000, 0, -resolution, 3_838_000)
    box = GeoBox((9000 // resolution, 11_000 // resolution), corner, "EPSG:32618")
    got = load(items, box, ["B02", "B08"]).compute()
    for number, band in enumerate(["B02", "B08"]):
        expected = warped(files_of(items, got, band)[0], box, "bilinear", level=level, scale=0.82)
        assert (expected != 0).mean() > 0.5
        np.testing.assert_array_equal(got.values[0, number], expected)
