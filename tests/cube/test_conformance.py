"""What `load` promises, for each loader alike, with rasterio as the oracle, to the pixel."""

import pickle
from pathlib import Path

import dask
import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from cube_scenes import (
    EAST,
    RASTER,
    SIZE,
    WEST,
    field_on,
    geobox,
    item,
    scene,
    texture,
    warped,
    with_overviews,
    write,
)  # fmt: skip
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.warp import reproject

from rsscale.cube.load import load as load_with
from rsscale.errors import ReadError, RecipeError
from rsscale.read.reader import Reader

BANDS = ["red", "nir", "scl"]
LOADERS = ["dask", "stackstac", "odc-stac"]
ALBERS = "+proj=aea +lat_1=-1 +lat_2=-29 +lon_0=-54 +ellps=GRS80 +units=m"


def loading(name):
    def loader(*arguments, **options):
        return load_with(*arguments, loader=name, **options)

    return loader


@pytest.fixture
def load():
    """The loader that runs use: it stands for all where only the reader is at work."""
    return loading("dask")


@pytest.fixture(params=LOADERS)
def any_load(request):
    """Each loader: for what its own graph could get wrong."""
    return loading(request.param)


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    """Three scenes in two zones, out of order; two of them of the same moment."""
    folder = tmp_path_factory.mktemp("items")
    return [
        scene(folder, "c_west", "2023-07-10", WEST, "EPSG:32631", 30, gap=300),
        scene(folder, "b_east", "2023-05-01", EAST, "EPSG:32632", 20, gap=100),
        scene(folder, "a_west", "2023-05-01", WEST, "EPSG:32631", 10),
    ]


@pytest.fixture(scope="module")
def whole(items):
    return load_with(items, geobox(0, 0, 1300, 1300), BANDS).compute()


def path_of(items, name, band):
    return next(i for i in items if i.id == name).assets[band].href


def one(load, path, box, **options):
    """A cube of one file, as an array of two dimensions; the item says nothing about it."""
    cube = load([item("scene", "2023-01-01", {"red": path})], box, ["red"], **options)
    return cube.values[0, 0]


# Form


def test_coordinates_type_nodata_and_order(any_load, items):
    boxes = [
        geobox(100, 200, 70, 65),
        GeoBox((30, 20), Affine(1 / 9000, 0, 5.9, 0, -1 / 7000, 45.05), "EPSG:4326"),
    ]
    for box in boxes:
        cube = any_load(items, box, BANDS)
        assert cube.dims == ("time", "band", "y", "x")
        assert (cube.dtype, cube.attrs["nodata"]) == (np.dtype("uint16"), 0)
        assert cube.attrs["categorical"] == ["scl"]
        assert cube.id.values.tolist() == ["a_west", "b_east", "c_west"]
        assert cube.band.values.tolist() == BANDS
        assert cube.odc.geobox == box
        ys, xs = (c.values for c in box.coordinates.values())
        np.testing.assert_array_equal(cube.x, xs)
        np.testing.assert_array_equal(cube.y, ys)
        computed = cube.compute()
        assert computed.dtype == "uint16"
        assert computed.shape == cube.shape


@pytest.mark.parametrize("chunk", [200, 512, 1024])
@pytest.mark.parametrize(
    "window", [(0, 0, 1024, 1024), (-64, -64, 1300, 1500), (300, 77, 41, 1100)]
)
def test_loaders_give_identical_cubes(items, window, chunk):
    cubes = [load_with(items, geobox(*window), BANDS, chunk=chunk, loader=name) for name in LOADERS]
    one = cubes[0].compute()
    for other in cubes[1:]:
        assert other.chunks == cubes[0].chunks
        xr.testing.assert_identical(one, other.compute())


def test_codes_are_read_without_measurements(any_load, items, monkeypatch):
    seen = []
    read = Reader.read_into
    monkeypatch.setattr(
        Reader, "read_into", lambda s, box, out: seen.append(s.source.asset) or read(s, box, out)
    )
    any_load(items, geobox(0, 0, 100, 100), BANDS).sel(band="scl").compute()
    assert set(seen) == {"scl"}


def test_names_are_of_the_content_and_graphs_travel(any_load, items):
    box = geobox(0, 0, 300, 300)
    cube = any_load(items, box, BANDS)
    assert any_load(items, box, BANDS).data.name == cube.data.name
    assert any_load(items, geobox(0, 10, 300, 300), BANDS).data.name != cube.data.name
    assert any_load(items, box, BANDS, resampling={"red": "cubic"}).data.name != cube.data.name
    again = pickle.loads(pickle.dumps(cube))
    with dask.config.set(scheduler="threads", num_workers=4):
        np.testing.assert_array_equal(again.values, cube.values)


def test_the_day_by_the_sun_is_the_items_own(any_load, tmp_path):
    path = write(tmp_path / "a.tif", texture((40, 40), 1), WEST, "EPSG:32631")
    made = []
    for name, when, lon in [
        ("fiji", "2023-05-01T22:15:00", 178),
        ("alaska", "2023-05-02T01:00:00", -165),
        ("gulf", "2023-05-01T10:00:00", 0),
    ]:
        made.append(item(name, when, {"red": path}, fields=RASTER))
        made[-1].bbox = [lon - 1, 10, lon + 1, 12]
    cube = any_load(made, geobox(0, 0, 10, 10), ["red"])
    days = cube.solar_day.values.astype("datetime64[D]")
    assert dict(zip(cube.id.values.tolist(), days, strict=True)) == {
        "fiji": np.datetime64("2023-05-02"),
        "alaska": np.datetime64("2023-05-01"),
        "gulf": np.datetime64("2023-05-01"),
    }
    assert (cube.solar_day.values == days).all()
    assert any_load([], geobox(0, 0, 10, 10), ["red"]).solar_day.shape == (0,)


def test_no_items_and_items_elsewhere(any_load, items):
    empty = any_load([], geobox(0, 0, 100, 90), BANDS)
    assert empty.compute().shape == (0, 3, 100, 90)
    far = any_load(items, geobox(50_000, 50_000, 64, 64), BANDS)
    assert far.shape == (3, 3, 64, 64)
    assert (far.values == 0).all()


def test_unknown_loader(items):
    with pytest.raises(
        RecipeError, match=r"'odc-stack'; expected one of stackstac, odc-stac, dask; did you"
    ):
        load_with(items, geobox(0, 0, 10, 10), BANDS, loader="odc-stack")


# Pixels


@pytest.mark.parametrize(("row", "col"), [(150, 200), (-100, -77), (1250, 1300)])
def test_aligned_is_what_rasterio_reads(load, items, row, col):
    cube = load(items, geobox(row, col, 300, 200), BANDS).compute()
    for at, name in ((0, "a_west"), (2, "c_west")):
        for number, band in enumerate(BANDS):
            with rasterio.open(path_of(items, name, band)) as dataset:
                window = rasterio.windows.Window(col, row, 200, 300)
                expected = dataset.read(1, window=window, boundless=True, fill_value=0)
            np.testing.assert_array_equal(cube.values[at, number], expected)


@pytest.mark.parametrize("method", ["nearest", "bilinear", "cubic"])
def test_warped_is_what_gdal_warps_in_the_same_blocks(any_load, items, method):
    box = geobox(150, 200, 600, 500)
    cube = any_load(items, box, BANDS, resampling=dict.fromkeys(BANDS, method))
    for band in BANDS:
        expected = warped(path_of(items, "b_east", band), box, method)
        assert 0.1 < (expected != 0).mean() < 1
        np.testing.assert_array_equal(cube.isel(time=1).sel(band=band), expected)


def test_a_warp_is_within_gdals_tolerance_of_the_exact_one(load, items):
    box = geobox(150, 200, 600, 500)
    exact = np.zeros(box.shape, "uint16")
    with rasterio.open(path_of(items, "b_east", "red")) as dataset:
        reproject(
            rasterio.band(dataset, 1), exact, src_nodata=0, dst_nodata=0, tolerance=0,
            dst_transform=box.affine, dst_crs="EPSG:32631",
            resampling=rasterio.enums.Resampling.bilinear,
        )  # fmt: skip
    got = load(items, box, ["red"]).values[1, 0].astype(float)
    valid = (exact != 0) & (got != 0)
    assert valid.mean() > 0.5
    off = np.abs(got - exact)[valid]
    assert off.max() < _step(exact[:, -300:].astype(float)) / 8
    assert off.mean() < np.abs(np.diff(exact.astype(float)))[valid[:, 1:]].mean() / 8


@pytest.mark.parametrize("loader", LOADERS)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    row=st.integers(0, 1200), col=st.integers(0, 1200), height=st.integers(1, 700),
    width=st.integers(1, 700), chunk=st.sampled_from([64, 256, 512, 700, 1024]),
)  # fmt: skip
def test_any_cut_and_any_chunks_give_the_same_pixels(
    items, whole, loader, row, col, height, width, chunk
):
    height, width = min(height, 1300 - row), min(width, 1300 - col)
    part = load_with(items, geobox(row, col, height, width), BANDS, chunk=chunk, loader=loader)
    expected = whole[:, :, row : row + height, col : col + width]
    np.testing.assert_array_equal(part, expected)


# Sources of all kinds, against a function of longitude and latitude

KM = {
    "rotated": (Affine(940, 342, 195_400, 342, -940, 4_860_000), "EPSG:32631"),
    "south-up on the grid": (Affine(1000, 0, 400_000, 0, 1000, 4_400_000), "EPSG:32631"),
    "south-up off the grid": (Affine(1000, 0, 400_333, 0, 1000, 4_400_444), "EPSG:32631"),
    "rows from east to west": (Affine(-1000, 0, 1_000_000, 0, -1000, 5_000_000), "EPSG:32631"),
    "half a pixel off": (Affine(1000, 0, 400_500, 0, -1000, 5_000_500), "EPSG:32631"),
    "degrees": (Affine(0.01, 0, 1.5, 0, -0.01, 46), "EPSG:4326"),
    "degrees, not square": (Affine(0.013, 0, 1.5, 0, -0.009, 45), "EPSG:4326"),
    "another zone": (Affine(1000, 0, -50_000, 0, -1000, 5_050_000), "EPSG:32632"),
    "Lambert": (Affine(1000, 0, 3_600_000, 0, -1000, 2_500_000), "EPSG:3035"),
    "Mercator": (Affine(1500, 0, 160_000, 0, -1500, 5_800_000), "EPSG:3857"),
}


def _field_read(load, tmp_path, transform, crs, box, shape=(600, 600), **options):
    path = write(
        tmp_path / "f.tif", field_on(transform, shape, crs), transform, crs, nodata=None, **options
    )
    got = one(load, path, box)
    return got, field_on(box.affine, box.shape, box.crs), ~np.isnan(got)


def _step(values):
    """By how much a value changes from one pixel to the next, at most."""
    return max(np.abs(np.diff(values, axis=axis)).max() for axis in (0, 1))


@pytest.mark.parametrize("kind", KM)
def test_a_source_of_any_kind_lies_where_it_should(load, tmp_path, kind):
    box = GeoBox((200, 240), Affine(1000, 0, 460_000, 0, -1000, 4_780_000), "EPSG:32631")
    got, expected, valid = _field_read(load, tmp_path, *KM[kind], box)
    assert valid.mean() > 0.9
    # GDAL approximates to an eighth of a pixel; half a pixel would show.
    assert np.abs(got - expected)[valid].max() < 0.7 * _step(expected)
    assert np.abs(got - expected)[valid].mean() < 0.1 * _step(expected)
    if kind in {"south-up on the grid", "rows from east to west"}:
        np.testing.assert_allclose(got, expected, atol=1e-2)


UTM60 = Affine(1000, 0, 600_000, 0, -1000, 5_000_000)
WORLD = {
    "UTM to degrees, up to 180": (
        UTM60, (400, 400), "EPSG:32660", (200, 160), (0.01, 178.4, 44.9), "EPSG:4326", 1,
    ),
    "UTM to degrees, from -180": (
        UTM60, (400, 400), "EPSG:32660", (200, 160), (0.01, -180, 44.9), "EPSG:4326", 1,
    ),
    "UTM to degrees, across 180": (
        UTM60, (400, 400), "EPSG:32660", (200, 200), (0.01, 179, 44.9), "EPSG:4326", 1,
    ),
    "UTM to degrees, beyond 180": (
        Affine(1000, 0, 300_000, 0, -1000, 5_000_000), (400, 400), "EPSG:32601",
        (200, 200), (0.01, 181, 44.5), "EPSG:4326", 0.9,
    ),
    "a zone to the next across 180": (
        UTM60, (400, 400), "EPSG:32660", (200, 200), (1000, 200_000, 4_950_000), "EPSG:32601", 1,
    ),
    "degrees beyond 180 to UTM": (
        Affine(0.01, 0, 179, 0, -0.01, 46), (400, 400), "EPSG:4326",
        (200, 200), (1000, 250_000, 5_000_000), "EPSG:32601", 1,
    ),
    "degrees beyond -180 to UTM": (
        Affine(0.01, 0, -182, 0, -0.01, 46), (400, 400), "EPSG:4326",
        (200, 200), (1000, 650_000, 5_000_000), "EPSG:32660", 0.9,
    ),
    "degrees beyond 180 to degrees": (
        Affine(0.01, 0, 179, 0, -0.01, 46), (400, 400), "EPSG:4326",
        (200, 200), (0.01, -180, 45), "EPSG:4326", 1,
    ),
    "degrees beyond 180 to degrees off the grid": (
        Affine(0.01, 0, 179.003, 0, -0.01, 46.002), (400, 400), "EPSG:4326",
        (200, 200), (0.01, -180, 45), "EPSG:4326", 1,
    ),
    "degrees from 0 to 360 to degrees": (
        Affine(0.5, 0, 0, 0, -0.5, 90), (360, 720), "EPSG:4326",
        (40, 80), (0.5, -20, 60), "EPSG:4326", 1,
    ),
    "the world to UTM": (
        Affine(0.1, 0, -180, 0, -0.1, 90), (1800, 3600), "EPSG:4326",
        (40, 80), (10_000, 0, 5_000_000), "EPSG:32660", 1,
    ),
    "the pole to degrees": (
        Affine(1000, 0, -200_000, 0, -1000, 200_000), (400, 400), "EPSG:3413",
        (100, 900), (0.4, 0.01, -180, 90), "EPSG:4326", 1,
    ),
    "degrees to the pole": (
        Affine(0.1, 0, -180, 0, -0.02, 90), (250, 3600), "EPSG:4326",
        (200, 200), (1000, -100_000, 120_000), "EPSG:3413", 1,
    ),
    "a pole to another projection": (
        Affine(1000, 0, -200_000, 0, -1000, 200_000), (400, 400), "EPSG:3413",
        (200, 200), (1000, -100_000, 100_000), "EPSG:3995", 1,
    ),
    "UTM to polar": (
        Affine(1000, 0, 150_000, 0, -1000, 8_700_000), (700, 700), "EPSG:32631",
        (200, 200), (1000, 950_000, -950_000), "EPSG:3413", 0.9,
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.extended] if kind == "the world to UTM" else [])
        for kind in WORLD
    ],
)
def test_antimeridian_and_poles(load, tmp_path, kind):
    transform, shape, crs, size, (*res, left, top), target, least = WORLD[kind]
    box = GeoBox(size, Affine(res[0], 0, left, 0, -res[-1], top), target)
    got, expected, valid = _field_read(load, tmp_path, transform, crs, box, shape)
    assert valid.mean() >= least
    assert np.abs(got - expected)[valid].mean() < 0.15 * _step(expected)
    assert np.quantile(np.abs(got - expected)[valid], 0.99) < 0.5 * _step(expected)


def test_an_output_without_epsg_code(any_load, tmp_path):
    data = texture((300, 300), 4)
    transform = Affine(63.998, 0, 6400, 0, -63.999, 128)
    path = write(tmp_path / "a.tif", data, transform, ALBERS)
    box = GeoBox((40, 50), Affine(63.998, 0, 6400 + 639.98, 0, -63.999, 128 - 63.999), ALBERS)
    np.testing.assert_array_equal(one(any_load, path, box), data[1:41, 10:60])
    utm = write(tmp_path / "u.tif", data, Affine(60, 0, 500_000, 0, -60, 9_990_000), "EPSG:32721")
    here = GeoBox((80, 90), Affine(60, 0, -334_000 - 2, 0, -60, -10_000 - 1), ALBERS)
    expected = warped(utm, here, "bilinear")
    assert (expected != 0).any()
    np.testing.assert_array_equal(one(any_load, utm, here), expected)


def test_metadata_that_lies_is_not_believed(load, tmp_path):
    path = write(tmp_path / "a.tif", texture((300, 300), 4), WEST, "EPSG:32631")
    lying = item(
        "scene", "2023-01-01", {"red": path}, epsg=32633, transform=EAST, shape=(7, 7),
        fields=RASTER, **{"proj:bbox": [0, 0, 1, 1]},
    )  # fmt: skip
    lying.bbox = [5.89, 44.99, 5.94, 45.03]  # here the file lies
    cube = load([lying], geobox(10, 20, 100, 90), ["red"])
    np.testing.assert_array_equal(cube.values[0, 0], texture((300, 300), 4)[10:110, 20:110])
    lying.bbox = [100.0, -80.0, 100.0, -80.0]
    with pytest.raises(ReadError, match=r"'scene', asset 'red'.*lies at .* footprint is \[100\.0"):
        load([lying], geobox(10, 20, 100, 90), ["red"]).compute()


# Overviews


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory):
    """10 m with averaged overviews of 20, 40 and 80 m; 900 divides by all of them but 8."""
    path = tmp_path_factory.mktemp("pyramid") / "p.tif"
    return with_overviews(write(path, texture((900, 900), 7), WEST, "EPSG:32631"))


def _coarse(factor, shape, row=0, col=0):
    transform = Affine(10 * factor, 0, WEST.c, 0, -10 * factor, WEST.f)
    return geobox(row, col, *shape, transform=transform)


@pytest.mark.parametrize("level", [0, 1])
def test_an_overview_with_the_grids_pixels_is_read_directly(load, pyramid, level):
    box = _coarse(2 ** (level + 1), (100, 90), 20, 30)
    with rasterio.open(pyramid, overview_level=level) as dataset:
        expected = dataset.read(1)[20:120, 30:120]
    np.testing.assert_array_equal(one(load, pyramid, box), expected)


@pytest.mark.parametrize(
    ("factor", "level", "scale"),
    [(1.9, None, 0.53), (3, 0, 0.67), (3.97, 1, 1), (6, 1, 0.67), (7.99, 2, 1), (16, 2, 0.5)],
)
def test_the_coarsest_overview_that_is_not_coarser_is_warped(load, pyramid, factor, level, scale):
    box = _coarse(factor, (50, 60), -3, 5)
    expected = warped(pyramid, box, "bilinear", level=level, scale=scale)
    assert (expected != 0).mean() > 0.5
    others = {None, 0, 1, 2} - {level}
    assert all((warped(pyramid, box, "bilinear", level=k) != expected).any() for k in others)
    np.testing.assert_array_equal(one(load, pyramid, box), expected)


def test_overviews_across_zones_do_not_depend_on_the_cut(load, pyramid):
    box = GeoBox((130, 140), Affine(60, 0, 256_500, 0, -60, 4_993_020), "EPSG:32632")
    got = one(load, pyramid, box)
    np.testing.assert_array_equal(got, warped(pyramid, box, "bilinear", level=1, scale=0.67))
    assert (got != 0).mean() > 0.3
    for rows, cols in ((slice(0, 37), slice(0, 140)), (slice(41, 130), slice(77, 93))):
        np.testing.assert_array_equal(one(load, pyramid, box[rows, cols]), got[rows, cols])


def test_codes_come_from_the_full_resolution(load, tmp_path):
    codes = np.random.default_rng(0).choice([1, 200], (900, 900)).astype("uint8")
    path = with_overviews(write(tmp_path / "scl.tif", codes, WEST, "EPSG:32631"))
    for factor in (2, 5):
        box = _coarse(factor, (100, 100))
        got = one(load, path, box, resampling={"red": "nearest"})
        assert set(np.unique(got)) == {1, 200}
        np.testing.assert_array_equal(got, warped(path, box, "nearest"))
        # The pixel at the centre; of four that meet there, the south-eastern.
        np.testing.assert_array_equal(
            got, codes[factor // 2 :: factor, factor // 2 :: factor][:100, :100]
        )


def test_overviews_that_do_not_know_nodata_are_not_read(load, tmp_path):
    data = texture((900, 900), 3)
    data[:, ::7] = 0
    path = with_overviews(write(tmp_path / "a.tif", data, WEST, "EPSG:32631", nodata=None))
    known = item("scene", "2023-01-01", {"red": path}, fields=RASTER)
    box = _coarse(4, (100, 100))
    cube = load([known], box, ["red"])
    expected = warped(path, box, "bilinear", scale=0.25)
    np.testing.assert_array_equal(cube.values[0, 0], expected)
    assert cube.values[cube.values != 0].min() >= 1000


# Nodata


def _shifted(factor=1):
    return _coarse(factor, (200, 200), 20.3, 10.4)


@pytest.mark.parametrize("method", ["bilinear", "cubic"])
@pytest.mark.parametrize("box", [geobox(20, 10, 200, 200), _shifted(), _shifted(2)])
def test_a_mask_and_nodata_both_count(load, tmp_path, box, method):
    data = texture((600, 600), 3)
    data[:, ::7] = 0
    mask = np.ones(data.shape, bool)
    mask[50:60] = mask[100:103, 30:90] = False
    plain = write(tmp_path / "plain.tif", np.where(mask, data, 0), WEST, "EPSG:32631", nodata=0)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = write(tmp_path / "masked.tif", data, WEST, "EPSG:32631", nodata=None)
        with rasterio.open(path, "r+") as dataset:
            dataset.write_mask(mask)
    known = item("scene", "2023-01-01", {"red": path}, fields=RASTER)
    got = load([known], box, ["red"], resampling={"red": method}).values[0, 0]
    np.testing.assert_array_equal(got, one(load, plain, box, resampling={"red": method}))
    assert 0.01 < (got == 0).mean() < 0.5


@pytest.mark.parametrize("method", ["bilinear", "cubic"])
def test_nan_is_not_mixed_in_and_does_not_spread(load, tmp_path, method):
    data = texture((600, 600), 3).astype("float32")
    data[100:140] = np.nan
    path = write(tmp_path / "nan.tif", data, WEST, "EPSG:32631", nodata=None)
    got = one(load, path, _shifted(), resampling={"red": method})
    as_number = np.nan_to_num(data, nan=-9999)
    other = write(tmp_path / "number.tif", as_number, WEST, "EPSG:32631", nodata=-9999)
    np.testing.assert_array_equal(got, one(load, other, _shifted(), resampling={"red": method}))
    assert np.isnan(got).sum(axis=0).max() <= 41


def test_saturation_is_a_value_and_minus_9999_is_not(load, tmp_path):
    data = np.full((600, 600), 16_000, "int16")
    data[:, 100:120] = -9999
    path = write(tmp_path / "a.tif", data, WEST, "EPSG:32631", nodata=-9999)
    for box in (geobox(20, 10, 200, 200), _shifted()):
        assert set(np.unique(one(load, path, box))) == {-9999, 16_000}


def test_a_value_that_is_the_cubes_nodata_is_refused(load, tmp_path):
    # Nodata is asked of the first file only; the second has zeros that are no nodata.
    data = texture((300, 300), 3)
    first = write(tmp_path / "a.tif", data, WEST, "EPSG:32631", nodata=0)
    data[5, 5] = 0
    other = write(tmp_path / "b.tif", data, WEST, "EPSG:32631", nodata=65535)
    files = (("a", first), ("b", other))
    fields = {"raster:bands": [{"data_type": "uint16"}]}
    cube = load(
        [item(n, "2023-01-01", {"red": path}, fields=fields) for n, path in files],
        geobox(0, 0, 100, 100), ["red"],
    )  # fmt: skip
    assert (cube.dtype, cube.attrs["nodata"]) == (np.dtype("uint16"), 0)
    with pytest.raises(ReadError, match=r"'b'.*valid pixels of 0.*nodata is 65535"):
        cube.compute()
    # Where nobody says the type, all files are asked, and the cube has room for all numbers.
    both = load(
        [item(n, "2023-01-01", {"red": path}) for n, path in files],
        geobox(0, 0, 100, 100), ["red"],
    )  # fmt: skip
    assert (both.dtype, both.attrs["nodata"]) == (np.dtype("int32"), -1)
    assert both.values[1, 0, 5, 5] == 0


def test_an_items_nodata_that_cannot_be_is_the_files(load, tmp_path):
    data = texture((300, 300), 3)
    data[:, :50] = 0
    path = write(tmp_path / "a.tif", data, WEST, "EPSG:32631")
    fields = {"raster:bands": [{"data_type": "uint16", "nodata": -9999}]}
    cube = load([item("a", "2023-01-01", {"red": path}, fields=fields)], _shifted(), ["red"])
    got = cube.values[0, 0]
    assert got[got != cube.attrs["nodata"]].min() >= 1000
    assert (got == cube.attrs["nodata"]).any()


# Mixed cubes


def test_resolutions_types_and_nodata_side_by_side(any_load, tmp_path):
    fine, float_ = texture((400, 400), 1), texture((400, 400), 2).astype("float32") / 7
    coarse = np.random.default_rng(3).integers(1, 12, (200, 200), dtype="uint8")
    fine[:, :30], float_[:40], coarse[50:60] = 0, -1, 255
    twice = Affine(20, 0, WEST.c, 0, -20, WEST.f)
    made = item(
        "mixed", "2023-01-01",
        {"red": write(tmp_path / "r.tif", fine, WEST, "EPSG:32631"),
         "height": write(tmp_path / "h.tif", float_, WEST, "EPSG:32631", nodata=-1),
         "scl": write(tmp_path / "s.tif", coarse, twice, "EPSG:32631", nodata=255)},
    )  # fmt: skip
    cube = any_load([made], geobox(11, 7, 300, 300), ["scl", "red", "height"])
    assert cube.dtype == "float32"
    assert np.isnan(cube.attrs["nodata"])
    got = cube.compute().isel(time=0)
    codes = coarse.repeat(2, 0).repeat(2, 1)
    for band, data, nodata in (("red", fine, 0), ("height", float_, -1), ("scl", codes, 255)):
        cut = data[11:311, 7:307].astype("float32")
        np.testing.assert_array_equal(got.sel(band=band), np.where(cut == nodata, np.nan, cut))


def test_items_of_several_projections(load, tmp_path):
    kinds = [KM["degrees"], KM["another zone"], KM["Lambert"], KM["half a pixel off"]]
    made = [
        item(f"i{n}", "2023-01-01", {"red": write(
            tmp_path / f"{n}.tif", field_on(transform, (600, 600), crs), transform, crs, None)})
        for n, (transform, crs) in enumerate(kinds)
    ]  # fmt: skip
    box = GeoBox((150, 160), Affine(1000, 0, 500_000, 0, -1000, 4_760_000), "EPSG:32631")
    cube = load(made, box, ["red"])
    expected = field_on(box.affine, box.shape, box.crs)
    assert np.abs(cube.values - expected).max() < 0.5 * _step(expected)


# Errors


def test_what_is_skipped_is_nodata_and_told(any_load, items):
    lost = items[0].clone()
    lost.assets["red"].href = "/nowhere/lost.tif"
    told = []
    box = geobox(0, 400, 300, 300)
    cube = any_load([lost, *items[1:]], box, BANDS, on_error=told.append).compute()
    expected = any_load(items, box, BANDS).compute().copy()
    assert (expected.values[2, 0] != 0).any()
    expected.values[2, 0] = 0
    xr.testing.assert_identical(cube, expected)
    assert {error.asset for error in told} == {"item 'c_west', asset 'red': /nowhere/lost.tif"}


def test_failures_name_item_asset_and_file_and_are_never_nodata(any_load, items, tmp_path):
    lost = items[0].clone()
    lost.assets["red"].href = "/nowhere/lost.tif?token=SECRET"
    with pytest.raises(ReadError, match=r"c_west.*red.*lost\.tif") as caught:
        any_load([lost, *items[1:]], geobox(0, 0, 10, 10), BANDS).compute()
    assert "SECRET" not in str(caught.value)
    cut = Path(write(tmp_path / "cut.tif", texture((1100, 1100), 6), WEST, "EPSG:32631"))
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    with pytest.raises(ReadError, match=r"'scene'.*'red'.*cut\.tif"):
        one(any_load, str(cut), geobox(0, 0, 1100, 1100))


def test_control_points_alone_are_refused(load, tmp_path):
    path = str(tmp_path / "gcp.tif")
    points = [
        rasterio.control.GroundControlPoint(r, c, WEST.c + 10 * c, WEST.f - 10 * r)
        for r in (0, 99) for c in (0, 99)
    ]  # fmt: skip
    with rasterio.open(
        path, "w", driver="GTiff", width=100, height=100, count=1, dtype="uint16",
        gcps=points, crs="EPSG:32631",
    ) as dataset:  # fmt: skip
        dataset.write(texture((100, 100), 1), 1)
    with pytest.raises(ReadError, match=r"'scene'.*control points.*gdalwarp"):
        one(load, path, geobox(0, 0, 10, 10))


def test_scenes_are_as_large_as_they_say(items):
    with rasterio.open(path_of(items, "a_west", "red")) as dataset:
        assert dataset.shape == (SIZE, SIZE)
