from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pyproj
import pytest
import rasterio
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from scipy.ndimage import binary_dilation

from rsscale.cube.masks import PRESETS, MaskRule, dilated, mask, mask_rule
from rsscale.errors import RecipeError
from rsscale.geo.grid import Grid
from rsscale.geo.ground import ground_scale, pixel_radii
from rsscale.geo.lattice import PixelBox


def cube_of(codes, chunks=None, resolution=10.0, crs="EPSG:32631", fill=0, name="scl"):
    """A cube with two bands of ones and twos, and the codes ``(time, y, x)`` in the middle."""
    scenes, height, width = codes.shape
    data = np.empty((scenes, 3, height, width), codes.dtype)
    data[:, 0], data[:, 1], data[:, 2] = 1, codes, 2
    box = GeoBox.from_bbox(
        (0, 0, width * resolution, height * resolution), crs, resolution=resolution
    )
    return xr.DataArray(
        da.from_array(data, chunks=chunks or data.shape),
        dims=("time", "band", "y", "x"),
        coords={"band": ["red", name, "nir"], **xr_coords(box, always_yx=True)},
        attrs={"nodata": fill, "categorical": [name]},
    )


def disk(ry, rx):
    dy, dx = np.mgrid[-ry : ry + 1, -rx : rx + 1]
    return (dy / max(ry, 1)) ** 2 + (dx / max(rx, 1)) ** 2 <= 1 + 1e-9


def test_preset_keeps_clear_classes():
    codes = np.arange(13, dtype="uint16").reshape(1, 1, 13)
    out = mask(cube_of(codes), "sentinel2-scl")
    assert out.dtype == "uint16"
    assert list(out.band.values) == ["red", "nir"]
    assert out.attrs["categorical"] == []
    kept = np.flatnonzero(out.sel(band="red").values[0, 0])
    assert kept.tolist() == [4, 5, 6, 7, 11]
    np.testing.assert_array_equal(out.values[0, 1] == 2, out.values[0, 0] == 1)


@pytest.mark.parametrize(
    ("rule", "usable"),
    [
        ({"keep": [4, 5]}, [4, 5]),
        ({"drop": [3, 8]}, [1, 2, 4, 5, 6, 7, 9]),
        ({"bits": [1, 3]}, [1, 4, 5]),
        ({"drop": []}, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_rules(rule, usable, dtype):
    codes = np.arange(10).astype(dtype).reshape(1, 2, 5)
    out = mask(cube_of(codes), {"band": "scl", **rule}).sel(band="red").values
    assert np.flatnonzero(out).tolist() == usable  # 0 is nodata and never usable


# Values and their meaning from the tables of the specifications that PRESETS cites.
LANDSAT = {  # OLI/TIRS and TM/ETM+ Collection 2 QA_PIXEL
    21824: True,  # clear
    21826: False,  # dilated cloud over land
    21888: True,  # water
    21952: True,  # clear water
    22280: False,  # cloud of high confidence
    23888: False,  # cloud shadow
    30048: True,  # snow or ice
    54596: False,  # cirrus of high confidence
    54852: False,  # the same and cloud of medium confidence
    5440: True,  # clear, Landsat 4 to 7
    5696: True,  # cloud of medium confidence, which is no cloud
    1: False,  # fill
}


def kept(codes, by, name, dtype="uint16", **how):
    """Which of some codes are usable; the cube's nodata is none of them."""
    limits = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(dtype)
    cube = cube_of(np.array([[codes]], dtype), name=name, fill=limits.max)
    return (mask(cube, by, **how).values[0, 0, 0] == 1).tolist()


def test_landsat_qa_pixel():
    assert kept(list(LANDSAT), "landsat-qa-pixel", "qa_pixel") == list(LANDSAT.values())


@pytest.mark.parametrize(
    ("preset", "band", "usable", "dropped"),
    [
        ("sentinel2-scl", "scl", [4, 5, 6, 7, 11], [0, 1, 2, 3, 8, 9, 10, 12, 200]),
        ("fmask", "fmask", [0, 1, 3], [2, 4, 5, 100, 255]),
        ("dea-fmask", "oa_fmask", [1, 4, 5], [0, 2, 3, 6, 255]),
        ("hls-fmask", "fmask", [0, 1, 16, 32, 64, 128, 192, 240], [2, 4, 8, 14, 194, 255]),
    ],
)
@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32"])
def test_presets(preset, band, usable, dropped, dtype):
    assert kept(usable, preset, band, dtype) == [True] * len(usable)
    assert kept(dropped, preset, band, dtype) == [False] * len(dropped)


def test_codes_that_no_specification_knows():
    assert kept([12, 200], {"band": "scl", "keep": [4]}, "scl") == [False, False]
    assert kept([12, 200], {"band": "scl", "drop": [8]}, "scl") == [True, True]


def test_fields_of_several_bits():
    aerosol = {"band": "fmask", "bits": [1], "fields": {"6-7": [3]}}
    codes = [0, 64, 128, 192, 2, 194]
    assert kept(codes, aerosol, "fmask") == [True, True, True, False, False, False]
    cloud = {"band": "qa_pixel", "fields": {"8-9": [2, 3]}}
    codes = [21824, 22080, 22280]  # of low, medium, high confidence
    assert kept(codes, cloud, "qa_pixel") == [True, False, False]
    assert kept(codes, {"band": "qa_pixel", "bits": [9]}, "qa_pixel") == [True, False, False]
    medium = {"band": "qa_pixel", "fields": {"8-9": [2]}}
    assert kept(codes, medium, "qa_pixel") == [True, False, True]


@pytest.mark.parametrize(
    ("dtype", "rule", "message"),
    [
        ("uint8", {"bits": [1, 12]}, "bits name bit 12, and the band is uint8.*bits 0 to 7"),
        ("int16", {"bits": [16]}, "bits name bit 16, and the band is int16"),
        ("uint8", {"bits": [1], "fields": {"7-8": [1]}}, 'fields name "7-8".*is uint8'),
        ("uint16", {"fields": {"20-21": [3]}}, 'fields name "20-21", and the band is uint16'),
        ("uint8", {"keep": [4, 300]}, "keep names 300, and the band is uint8.*0 to 255"),
        ("int8", {"drop": [200]}, "drop names 200, and the band is int8, which holds -128 to 127"),
        ("uint16", {"drop": [1], "unseen": [-9999]}, "unseen names -9999, and the band is uint16"),
    ],
)  # fmt: skip
def test_bits_and_codes_that_the_band_has_not_are_refused(dtype, rule, message):
    cube = cube_of(np.ones((1, 2, 2), dtype), name="qa")
    with pytest.raises(RecipeError, match=f"the mask by band 'qa': {message}"):
        mask(cube, {"band": "qa", **rule})
    # What the files have counts, not the type that the cube took from other bands.
    wider = cube.astype("int64").assign_coords(file_dtype=("band", ["uint16", dtype, "int64"]))
    with pytest.raises(RecipeError, match=message):
        mask(wider, {"band": "qa", **rule})
    mask(wider.assign_coords(file_dtype=("band", [""] * 3)), {"band": "qa", **rule})


@pytest.mark.parametrize(
    ("dtype", "rule", "codes", "expected"),
    [
        ("uint8", {"bits": [7]}, [1, 128], [True, False]),
        ("int16", {"bits": [15]}, [1, -32768], [True, False]),
        ("float32", {"bits": [30]}, [1, 2**30], [True, False]),
        ("uint8", {"fields": {"6-7": [3]}}, [1, 192], [True, False]),
        ("int8", {"keep": [-128, 127]}, [1, -128], [False, True]),
    ],
)
def test_the_highest_bit_and_code_are_of_the_band(dtype, rule, codes, expected):
    assert kept(codes, {"band": "qa", **rule}, "qa", dtype) == expected


def test_unseen_values_do_not_grow():
    codes = np.full((1, 1, 30), 21824, "uint16")
    codes[..., :5], codes[..., 20] = 1, 22280
    cube = cube_of(codes, name="qa_pixel", fill=0)
    out = mask(cube, "landsat-qa-pixel", dilate=20).sel(band="red").values[0, 0]
    assert np.flatnonzero(out == 0).tolist() == [0, 1, 2, 3, 4, 18, 19, 20, 21, 22]
    own = {"band": "qa_pixel", "keep": [21824], "unseen": [1]}
    np.testing.assert_array_equal(mask(cube, own, dilate=20).sel(band="red")[0, 0], out)


@pytest.mark.parametrize("rule", [{"keep": [4, 5]}, {"bits": [1, 3]}, {"drop": [8]}])
@pytest.mark.parametrize("fill", [np.nan, -9999.0])
def test_nan_in_a_float_band_is_unseen(rule, fill):
    codes = np.full((1, 1, 12), 4, "float32")
    codes[..., :4] = np.nan, np.inf, -np.inf, fill
    codes[..., 9] = 8  # dropped by all three
    out = mask(cube_of(codes, fill=fill), {"band": "scl", **rule}, dilate=10)
    usable = (out.sel(band="red").values[0, 0] == 1).tolist()
    assert usable == [False] * 4 + [True] * 4 + [False] * 3 + [True]


def test_fmask_of_a_real_scene():
    folder = Path(__file__).resolve().parents[3] / "shared/data/landsat7-two-dates/images"
    files = sorted(folder.glob("*[Ff]mask*.tif"))
    if not files:
        pytest.skip(f"no Landsat scenes in {folder}")
    for file in files:
        with rasterio.open(file) as dataset:
            codes = dataset.read(1)[None].astype("int16")
        out = mask(cube_of(codes, name="fmask", fill=-9999), "fmask").sel(band="red").values
        assert set(np.unique(codes)) <= {0, 1, 2, 3, 4, 255}
        np.testing.assert_array_equal(out == 1, (codes == 0) | (codes == 1) | (codes == 3))


def test_nan_and_negative_fill():
    codes = np.array([[[-9999, 0, 1]]], "int16")
    out = mask(cube_of(codes, fill=-9999), {"band": "scl", "keep": [0]}).values
    np.testing.assert_array_equal(out[0, :, 0], [[-9999, 1, -9999], [-9999, 2, -9999]])
    codes = np.array([[[np.nan, 0, 1]]], "float32")
    out = mask(cube_of(codes, fill=np.nan), {"band": "scl", "keep": [0]}).values
    np.testing.assert_array_equal(out[0, 0, 0], [np.nan, 1, np.nan])


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 25), st.integers(1, 25)),
    radius=st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
@settings(max_examples=150, deadline=None)
def test_dilation_is_that_of_scipy(seed, shape, radius):
    flags = np.random.default_rng(seed).random(shape) < 0.05
    expected = binary_dilation(flags, disk(*radius))
    np.testing.assert_array_equal(dilated(flags, radius), expected)


@given(seed=st.integers(0, 2**32 - 1), data=st.data())
@settings(max_examples=25, deadline=None)
def test_values_do_not_depend_on_chunks(seed, data):
    rng = np.random.default_rng(seed)
    height, width = data.draw(st.integers(5, 60)), data.draw(st.integers(5, 60))
    codes = rng.choice([0, 4, 8], (2, height, width), p=[0.1, 0.87, 0.03]).astype("uint16")

    def cuts(n):
        edges = sorted({0, n, *data.draw(st.lists(st.integers(1, n - 1), max_size=4))})
        return tuple(np.diff(edges).tolist())

    dilate = data.draw(st.sampled_from([10.0, 35.0, 80.0]))
    radius = int(np.ceil(dilate / 10))
    chunks = (2, data.draw(st.sampled_from([(3,), (1, 1, 1)])), cuts(height), cuts(width))
    with dask.config.set(scheduler="synchronous"):
        got = mask(cube_of(codes, chunks), "sentinel2-scl", dilate=dilate).compute()
    for scene, values in zip(codes, got.sel(band="nir").values, strict=True):
        invalid = binary_dilation(scene == 8, disk(radius, radius)) | (scene != 4)
        np.testing.assert_array_equal(values, np.where(invalid, 0, 2))


def test_the_edge_of_a_swath_does_not_grow():
    codes = np.full((1, 20, 20), 4, "uint16")
    codes[0, :, :10] = 0  # no data there
    out = mask(cube_of(codes), "sentinel2-scl", dilate=30).sel(band="red").values[0]
    assert (out[:, :10] == 0).all()
    assert (out[:, 10:] == 1).all()
    codes[0, 5, 12] = 9
    out = mask(cube_of(codes), "sentinel2-scl", dilate=30).sel(band="red").values[0]
    assert (out[5, 10:16] == 0).all()
    assert (out[5, 16:] == 1).all()


@pytest.mark.parametrize(("metres", "pixels"), [(0, 0), (1, 1), (10, 1), (10.1, 2), (60, 6)])
def test_radius_is_rounded_up_to_pixels(metres, pixels):
    codes = np.full((1, 1, 31), 4, "uint16")
    codes[0, 0, 15] = 8
    out = mask(cube_of(codes), "sentinel2-scl", dilate=metres).sel(band="red").values
    assert (out == 0).sum() == 2 * pixels + 1


def test_feet_are_not_metres():
    codes = np.full((1, 1, 31), 4, "uint16")
    codes[0, 0, 15] = 8
    cube = cube_of(codes, crs="EPSG:2263")  # New York, US survey feet
    out = mask(cube, "sentinel2-scl", dilate=10).sel(band="red").values
    assert (out == 0).sum() == 2 * 4 + 1  # 10 m are 32.8 ft, 4 px of 10 ft


def test_only_blocks_of_the_mask_band_are_overlapped():
    codes = np.full((3, 64, 64), 4, "uint16")
    cube = cube_of(codes, (3, (1, 1, 1), 32, 32))
    plain = mask(cube, "sentinel2-scl")
    assert len(dask.optimize(plain.data)[0].__dask_graph__()) <= 4 * 2 * 3 + 4 * 3
    assert plain.chunks[2:] == cube.chunks[2:]
    assert mask(cube, "sentinel2-scl", dilate=30).chunks[2:] == cube.chunks[2:]


@pytest.mark.parametrize(
    ("by", "dilate", "message"),
    [
        ("sentinel2-slc", 0, "did you mean 'sentinel2-scl'"),
        ({"band": "slc", "keep": [4]}, 0, "did you mean 'scl'"),
        ({"band": "scl"}, 0, "exactly one of keep, drop, bits"),
        ({"band": "scl", "keep": [4], "drop": [3]}, 0, "keep and drop"),
        ({"band": "scl", "kepe": [4]}, 0, "did you mean 'keep'"),
        ({"band": "scl", "keep": "4"}, 0, "list of whole numbers"),
        ({"band": "scl", "keep": [4.5]}, 0, "list of whole numbers"),
        ({"band": "scl", "keep": []}, 0, "keeps nothing"),
        ({"band": "scl", "bits": [64]}, 0, "0 to 63"),
        ({"band": "scl", "keep": [4], "fields": {"6-7": [3]}}, 0, "keep and bits"),
        ({"band": "scl", "fields": {"6-7": [4]}}, 0, "it holds 0 to 3"),
        ({"band": "scl", "fields": {"7-6": [1]}}, 0, "bit numbers go up"),
        ({"band": "scl", "fields": {"6": [1]}}, 0, "first-last"),
        ({"band": "scl", "fields": [6, 7]}, 0, "expected"),
        ({"band": "scl", "fields": {"6-7": 3}}, 0, "field 6-7 is 3"),
        ({"band": "scl", "unseen": [0]}, 0, "no rule"),
        ({"keep": [4]}, 0, "needs band"),
        ("sentinel2-scl", -1, "0 or more"),
        ("sentinel2-scl", float("nan"), "0 or more"),
    ],
)
def test_errors(by, dilate, message):
    with pytest.raises(RecipeError, match=message):
        mask(cube_of(np.zeros((1, 2, 2), "uint16")), by, dilate=dilate)


@pytest.mark.parametrize(
    ("crs", "resolution", "row", "col"),
    [
        ("EPSG:4326", 0.0001, -600_000, 90_000),  # 60 degrees north: 11 by 5.6 m
        ("EPSG:3857", 10, -840_000, 100_000),  # 5 m
        ("EPSG:3857", 30, -280_700, 33_000),  # over an edge between two radii
        ("EPSG:6933", 10, -600_000, 50_000),
    ],
)
def test_metres_are_those_of_the_ground(crs, resolution, row, col):
    height = width = 90
    grid, box = Grid(crs, resolution), PixelBox(row, col, row + height, col + width)
    codes = np.full((1, height, width), 4, "uint16")
    codes[0, 45, 45] = 8
    cube = cube_of(codes, (1, 3, 40, 33), crs=crs, resolution=resolution)
    coords = {str(k): v for k, v in xr_coords(grid.geobox_of(box), always_yx=True).items()}
    out = mask(cube.assign_coords(coords), "sentinel2-scl", dilate=117).sel(band="red").values[0]
    x, y = (cube.assign_coords(coords)[axis].values for axis in ("x", "y"))
    to_degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(*np.meshgrid(x, y))
    geod = pyproj.Geod(ellps="WGS84")
    here = np.full_like(lon, lon[45, 45]), np.full_like(lat, lat[45, 45])
    metres = geod.inv(*here, lon, lat)[2]
    pixel = max(geod.inv(lon[0, 0], lat[0, 0], lon[1, 1], lat[1, 1])[2], 0)
    assert (out[metres <= 116] == 0).all()
    assert (out[metres >= 118 + pixel] != 0).all()


def test_metres_do_not_depend_on_the_window_in_web_mercator():
    """Two radii in one window, and windows of one: the same pixels are dropped."""
    grid, rng = Grid("EPSG:3857", 10), np.random.default_rng(4)
    whole = PixelBox(-840_960, 99_900, -839_800, 100_100)
    codes = np.where(rng.random((1, *whole.shape)) < 0.0005, 8, 4).astype("uint16")
    ends = [ground_scale(grid.crs, 1e6, -10 * row).y for row in (whole.row0, whole.row1)]
    metres = 40 * 10 * sum(ends) / 2  # 40 pixels in the one half, 41 in the other

    def masked(box):
        rows, cols = box.slices(whole)
        cube = cube_of(codes[:, rows, cols], crs="EPSG:3857")
        coords = {str(k): v for k, v in xr_coords(grid.geobox_of(box), always_yx=True).items()}
        return mask(cube.assign_coords(coords), "sentinel2-scl", dilate=metres).values[0, 0]

    assert len(pixel_radii(grid.geobox_of(whole), metres).radii) > 1
    expected = masked(whole)
    for row in range(whole.row0 + 60, whole.row1 - 160, 97):
        part = PixelBox(row, whole.col0 + 60, row + 100, whole.col1 - 60)
        inner = part.slices(part.pad(50))
        np.testing.assert_array_equal(masked(part.pad(50))[inner], expected[part.slices(whole)])


def test_metres_where_axes_are_skewed_are_refused():
    cube = cube_of(np.zeros((1, 2, 2), "uint16"), crs="+proj=sinu +R=6371007.181", resolution=500)
    there = cube.assign_coords(x=cube.x + 5e6, y=cube.y + 6e6)
    with pytest.raises(RecipeError, match=r"dilate is 30 metres, but the axes of .* right angle"):
        mask(there, "sentinel2-scl", dilate=30)
    assert mask(there, "sentinel2-scl").shape == (1, 2, 2, 2)


def test_a_cube_that_does_not_say_its_nodata():
    cube = cube_of(np.zeros((1, 2, 2), "uint16"))
    del cube.attrs["nodata"]
    with pytest.raises(RecipeError, match="nodata is None and its type uint16"):
        mask(cube, "sentinel2-scl")


def test_no_scenes():
    out = mask(cube_of(np.zeros((0, 4, 4), "uint16")), "sentinel2-scl", dilate=20)
    assert out.shape == (0, 2, 4, 4)
    assert out.compute().shape == (0, 2, 4, 4)


def test_a_rule_is_its_own_name():
    rule = MaskRule("fmask", drop=(2, 4))
    assert mask_rule(rule) is rule
    assert mask_rule({"band": "fmask", "drop": [2, 4]}) == rule
    assert mask_rule("sentinel2-scl") == PRESETS["sentinel2-scl"]
    by = {"band": "qa", "bits": [1], "fields": {"6-7": [2, 3]}, "unseen": [255]}
    assert mask_rule(by) == MaskRule("qa", bits=(1,), fields=((6, 7, (2, 3)),), unseen=(255,))
