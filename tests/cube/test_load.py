import json
import pickle
from pathlib import Path

import dask
import numpy as np
import pyproj
import pystac
import pytest
import rasterio
import rioxarray  # noqa: F401 -- registers .rio
from affine import Affine
from cube_scenes import EAST, RASTER, SIZE, WEST, geobox, item, scene, texture, warped, write
from hypothesis import example, given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from rsscale.composites.composite import composite
from rsscale.cube import chunks as chunking
from rsscale.cube.dtypes import common_type
from rsscale.cube.load import load
from rsscale.cube.masks import mask
from rsscale.errors import BandError, ItemError, ReadError, RecipeError
from rsscale.geo.lattice import PixelBox

BANDS = ["red", "nir", "scl"]
SHARED = Path(__file__).resolve().parents[2] / "../shared/data"


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    """Four scenes in two zones, out of order; two of them of the same moment."""
    folder = tmp_path_factory.mktemp("items")
    new = {"s2:processing_baseline": "05.10", "constellation": "sentinel-2"}
    old = {"s2:processing_baseline": "03.01", "constellation": "sentinel-2"}
    return [
        scene(folder, "c_west", "2023-07-10", WEST, "EPSG:32631", 30, gap=300, **new),
        scene(folder, "b_east", "2023-05-01", EAST, "EPSG:32632", 20, gap=100, **old),
        scene(folder, "a_west", "2023-05-01", WEST, "EPSG:32631", 10, **new),
        scene(folder, "d_east", "2022-12-24", EAST, "EPSG:32632", 40, **old),
    ]


def path_of(items, name, band):
    return next(i for i in items if i.id == name).assets[band].href


def real_items(name):
    if not (SHARED / name).exists():
        pytest.skip("the real example data (shared/data beside the project) is not here")
    return list(pystac.Catalog.from_file(SHARED / name / "catalog.json").get_items(recursive=True))


# Form


def test_one_slice_an_item_sorted_and_lazy(items):
    box = geobox(100, 200, 700, 650)
    cube = load(items, box, BANDS)
    assert cube.dims == ("time", "band", "y", "x")
    assert cube.shape == (4, 3, 700, 650)
    assert cube.dtype == "uint16"
    assert cube.chunks is not None
    assert cube.id.values.tolist() == ["d_east", "a_west", "b_east", "c_west"]
    assert cube.band.values.tolist() == BANDS
    assert cube.time.dtype == "datetime64[ns]"
    assert cube.time.values[0] == np.datetime64("2022-12-24")
    assert cube.attrs == {"nodata": 0, "categorical": ["scl"]}
    names = {"time", "band", "id", "solar_day", "scale", "offset", "y", "x", "spatial_ref"}
    assert set(cube.coords) == names | {"resampling", "file_nodata", "file_dtype"}
    assert cube.file_dtype.values.tolist() == ["uint16", "uint16", "uint8"]
    assert cube.resampling.values.tolist() == ["bilinear", "bilinear", "nearest"]


def test_geobox_comes_back_exactly(items):
    boxes = [
        geobox(100, 200, 700, 650),
        GeoBox((300, 200), Affine(1 / 9000, 0, 5.9, 0, -1 / 7000, 45.05), "EPSG:4326"),
    ]
    for box in boxes:
        cube = load(items, box, ["red"])
        assert cube.odc.geobox == box
        assert cube.rio.crs.to_epsg() == box.crs.epsg
        ys, xs = (c.values for c in box.coordinates.values())
        np.testing.assert_array_equal(cube.x, xs)
        np.testing.assert_array_equal(cube.y, ys)
        assert composite(cube, "year").odc.geobox == box
        part = cube[:, :, 10:, 20:]
        assert composite(part, "year").odc.geobox == part.odc.geobox


def test_scale_and_offset_are_of_the_item_and_not_applied(items):
    cube = load(items, geobox(0, 0, 100, 100), ["scl", "red"])
    assert cube.scale.dtype == cube.offset.dtype == "float32"
    np.testing.assert_array_equal(cube.scale, np.float32([[1, 1e-4]] * 4))
    np.testing.assert_array_equal(cube.offset, np.float32([[0, 0], [0, -0.1], [0, 0], [0, -0.1]]))
    assert cube.sel(band="red").isel(time=1).values.min() >= 1000


def test_bands_in_the_order_asked(items):
    box = geobox(0, 0, 60, 60)
    cube = load(items, box, ["scl", "nir", "red"]).compute()
    again = load(items, box, ["red", "scl"]).compute()
    assert cube.band.values.tolist() == ["scl", "nir", "red"]
    np.testing.assert_array_equal(cube.sel(band="red"), again.sel(band="red"))
    np.testing.assert_array_equal(cube.sel(band="scl"), again.sel(band="scl"))


# Values


def test_values_are_gdals(items):
    box = geobox(150, 200, 800, 900)
    cube = load(items, box, BANDS).compute()
    for name in ("a_west", "c_west"):
        image = cube.isel(time=cube.id.values.tolist().index(name))
        for band in BANDS:
            with rasterio.open(path_of(items, name, band)) as dataset:
                np.testing.assert_array_equal(
                    image.sel(band=band), dataset.read(1)[150:950, 200:1100]
                )
    for name in ("b_east", "d_east"):
        image = cube.isel(time=cube.id.values.tolist().index(name))
        for band in BANDS:
            method = "nearest" if band == "scl" else "bilinear"
            expected = warped(path_of(items, name, band), box, method)
            assert (expected != 0).mean() > 0.3
            np.testing.assert_array_equal(image.sel(band=band), expected)


def test_any_box_and_any_chunks_give_the_same_pixels(items):
    whole = load(items, geobox(0, 0, 1300, 1300), BANDS).compute()
    for row, col, height, width, chunk in [(333, 414, 600, 500, 1024), (11, 700, 300, 555, 100)]:
        part = load(items, geobox(row, col, height, width), BANDS, chunk=chunk)
        expected = whole[:, :, row : row + height, col : col + width]
        np.testing.assert_array_equal(part, expected)


def test_the_map_of_two_tiles_meets_at_the_zone_boundary(items):
    def tile(col, width):
        cube = load(items, geobox(200, col, 400, width), BANDS)
        return composite(mask(cube, {"band": "scl", "drop": [3, 8, 9]}), "season", years=[2023])

    whole = tile(300, 700).compute()
    parts = [tile(300, 333).compute(), tile(633, 367).compute()]
    assert (whole.observations > 0).any()
    np.testing.assert_array_equal(np.concatenate(parts, axis=-1), whole)


def test_resampling_per_band(items):
    box = geobox(200, 300, 300, 300)
    cube = load(items, box, BANDS, resampling={"red": "nearest", "nir": "cubic"}).isel(time=0)
    for band, method in (("red", "nearest"), ("nir", "cubic"), ("scl", "nearest")):
        expected = warped(path_of(items, "d_east", band), box, method)
        np.testing.assert_array_equal(cube.sel(band=band), expected)


def test_an_item_elsewhere_is_a_slice_of_nodata(items):
    far = geobox(50_000, 50_000, 64, 64)
    cube = load(items, far, BANDS)
    assert cube.shape == (4, 3, 64, 64)
    assert (cube.values == 0).all()


def test_no_items_is_an_empty_cube():
    box = geobox(0, 0, 100, 90)
    cube = load([], box, BANDS)
    assert cube.shape == (0, 3, 100, 90)
    assert cube.compute().shape == (0, 3, 100, 90)
    assert cube.odc.geobox == box
    assert cube.attrs["categorical"] == ["scl"]
    out = composite(mask(cube, "sentinel2-scl", dilate=30), "season", years=[2024]).compute()
    assert out.shape == (4, 2, 100, 90)
    assert out.odc.geobox == box
    assert not out.observations.any()


def test_threads_processes_and_pickles(items):
    cube = load(items, geobox(100, 100, 600, 600), BANDS, chunk=256)
    with dask.config.set(scheduler="synchronous"):
        expected = cube.values
    with dask.config.set(scheduler="threads", num_workers=8):
        np.testing.assert_array_equal(cube.values, expected)
    again = pickle.loads(pickle.dumps(cube))
    np.testing.assert_array_equal(again.values, expected)


# Bands and items in all dialects


def test_band_by_common_name(tmp_path):
    path = write(tmp_path / "a.tif", texture((40, 40), 1), WEST, "EPSG:32631")
    dialects = [
        {"eo:bands": [{"name": "B04", "common_name": "red"}]},
        {"bands": [{"name": "B04", "eo:common_name": "red"}]},
        {"bands": [{"name": "red"}]},
        {"eo:common_name": "red", "bands": [{"name": "B04"}]},
    ]
    made = [
        item(f"i{n}", "2023-01-01", {"B4": path}, epsg=32631, fields=fields | RASTER)
        for n, fields in enumerate(dialects)
    ]
    cube = load(made, geobox(0, 0, 40, 40), ["red"])
    assert cube.band.values.tolist() == ["red"]
    assert (cube.values == texture((40, 40), 1)).all()


def test_jpeg_twin_and_three_band_picture_are_passed_over(tmp_path):
    path = write(tmp_path / "a.tif", texture((40, 40), 1), WEST, "EPSG:32631")
    named = {"eo:bands": [{"name": "B04", "common_name": "red"}]}
    made = item("i", "2023-01-01", {"B04": path}, epsg=32631, fields=named | RASTER)
    made.add_asset("B04-jp2", pystac.Asset("b.jp2", media_type="image/jp2", extra_fields=named))
    rgb = {"eo:bands": [{"common_name": c} for c in ("red", "green", "blue")]}
    made.add_asset("visual", pystac.Asset("v.tif", media_type="image/tiff", extra_fields=rgb))
    assert load([made], geobox(0, 0, 40, 40), ["red"]).values.any()
    with pytest.raises(BandError, match="3 bands in one file"):
        load([made], geobox(0, 0, 40, 40), ["visual"])
    made.add_asset("B04-20m", pystac.Asset("c.tif", media_type="image/tiff", extra_fields=named))
    with pytest.raises(BandError, match=r"several assets.*B04"):
        load([made], geobox(0, 0, 40, 40), ["red"])


@pytest.mark.parametrize("level", ["item", "asset"])
@pytest.mark.parametrize(
    "projection",
    [
        {},
        {"proj:epsg": 32632},
        {"proj:code": "EPSG:32632"},
        {"proj:code": None, "proj:wkt2": rasterio.crs.CRS.from_epsg(32632).to_wkt()},
        {"proj:projjson": json.loads(pyproj.CRS(32632).to_json())},
    ],
    ids=["nothing", "epsg", "code", "wkt2", "projjson"],
)
def test_projection_in_every_dialect(tmp_path, level, projection):
    path = write(tmp_path / "a.tif", texture((900, 900), 1), EAST, "EPSG:32632")
    fields = RASTER | (projection if level == "asset" else {})
    properties = projection if level == "item" else {}
    made = item("i", "2023-01-01", {"red": path}, fields=fields, **properties)
    box = geobox(100, 100, 300, 300)
    cube = load([made], box, ["red"])
    np.testing.assert_array_equal(cube.values[0, 0], warped(path, box, "bilinear"))
    assert cube.values.any()


def test_plain_dicts_are_items_too(items):
    box = geobox(0, 0, 50, 50)
    plain = [i.to_dict(include_self_link=False, transform_hrefs=False) for i in items]
    np.testing.assert_array_equal(load(plain, box, BANDS), load(items, box, BANDS))


def test_start_datetime_serves_as_date(tmp_path):
    path = write(tmp_path / "a.tif", texture((40, 40), 1), WEST, "EPSG:32631")
    made = pystac.Item(
        "composite", None, None, None,
        {"start_datetime": "2023-03-01T00:00:00Z", "end_datetime": "2023-03-31T00:00:00Z"},
    )  # fmt: skip
    made.add_asset("red", pystac.Asset(path, extra_fields=RASTER))
    cube = load([made], geobox(0, 0, 40, 40), ["red"])
    assert cube.time.values[0] == np.datetime64("2023-03-01")
    del made.properties["start_datetime"]
    with pytest.raises(ItemError, match="composite"):
        load([made], geobox(0, 0, 40, 40), ["red"])


def test_sentinel2_without_band_metadata_opens_nothing_to_plan():
    made = item("S2A_x", "2023-01-01", {"red": "gone.tif", "scl": "gone2.tif"}, epsg=32631)
    cube = load([made], geobox(0, 0, 40, 40), ["red", "scl"])
    assert (cube.dtype, cube.attrs["nodata"]) == (np.dtype("uint16"), 0)
    with pytest.raises(ReadError, match=r"S2A_x.*gone2?\.tif"):
        cube.compute()


def test_type_and_nodata_come_from_the_file_when_metadata_is_silent(tmp_path):
    data = np.full((40, 40), -7, "int16")
    path = write(tmp_path / "a.tif", data, WEST, "EPSG:32631", nodata=-999)
    cube = load([item("i", "2023-01-01", {"x": path})], geobox(0, 0, 50, 40), ["x"])
    assert (cube.dtype, cube.attrs["nodata"]) == (np.dtype("int16"), -999)
    assert (cube.values[0, 0, :40] == -7).all()
    assert (cube.values[0, 0, 40:] == -999).all()


# Type and nodata of a cube


@pytest.mark.parametrize(
    ("kinds", "dtype", "fill"),
    [
        ([("uint16", 0), ("uint8", 0)], "uint16", 0),
        ([("int16", -9999), ("uint8", 255)], "int16", -9999),
        ([("uint8", 255), ("int16", -9999)], "int16", -9999),  # 255 is a value of the second
        ([("uint8", None)], "int16", -1),
        ([("uint8", None), ("uint16", 0)], "int32", -1),
        ([("uint16", 0), ("uint8", 255)], "int32", -1),
        ([("uint16", 65535), ("uint8", 255)], "uint16", 65535),
        ([("int16", None)], "int32", -32769),
        ([("uint8", -9999)], "int16", -1),  # a nodata that the type cannot hold is none
        ([("float32", -9999), ("uint8", 0)], "float32", np.nan),
        ([("float32", np.nan)], "float32", np.nan),
        ([("uint16", 0), ("int16", 0)], "int32", 0),
    ],
)
def test_common_type(kinds, dtype, fill):
    got, value = common_type([(np.dtype(k), n) for k, n in kinds])
    assert got == dtype
    assert value.dtype == got
    np.testing.assert_equal(value.item(), fill)


def test_bands_keep_their_values_under_one_nodata(tmp_path):
    # Zero is a value of the second band and nodata of the first.
    a, b = texture((40, 40), 1), np.zeros((40, 40), "uint8")
    a[:5], b[5:8] = 0, 255
    made = item(
        "i", "2023-01-01",
        {"a": write(tmp_path / "a.tif", a, WEST, "EPSG:32631"),
         "b": write(tmp_path / "b.tif", b, WEST, "EPSG:32631", nodata=255)},
    )  # fmt: skip
    cube = load([made], geobox(0, 0, 40, 40), ["a", "b"])
    assert (cube.dtype, cube.attrs["nodata"]) == (np.dtype("int32"), -1)
    np.testing.assert_array_equal(cube.values[0, 0], np.where(a == 0, -1, a.astype(int)))
    np.testing.assert_array_equal(cube.values[0, 1], np.where(b == 255, -1, b.astype(int)))
    out = composite(cube, "year").compute()
    assert np.isnan(out.values[0, :, :8]).all()
    assert (out.values[0, 1, 8:] == 0).all()


# Chunks


def _inner_edges(widths, start):
    return [start + int(edge) for edge in np.cumsum(widths)[:-1]]


def test_chunks_end_on_the_files_blocks(items):
    west = [i for i in items if "west" in i.id]
    cube = load(west, geobox(-40, 448, 1240, 900), BANDS, chunk=512)
    scenes, bands, rows, cols = cube.chunks
    assert (scenes, bands) == ((2,), (2, 1))
    assert _inner_edges(rows, -40) == [512, 1024]  # the sliver of 40 px is joined
    assert _inner_edges(cols, 448) == [1024]  # and that of 64 px before 512
    big = load(west, geobox(-64, -64, 2048 + 128, 2048 + 128), BANDS)
    assert big.chunks[2:] == ((576, 512, 512, 576), (2176,))  # as wide as may be


def test_chunks_end_on_the_grids_blocks_where_files_are_warped(items):
    east = [i for i in items if "east" in i.id]
    box = geobox(0, 0, 1300, 1300)
    col0, row0 = round(box.affine.c / 10), round(-box.affine.f / 10)
    cube = load(east, box, BANDS, chunk=512)
    assert all(edge % 512 == 0 for edge in _inner_edges(cube.chunks[2], row0))
    assert all(edge % 512 == 0 for edge in _inner_edges(cube.chunks[3], col0))


@given(
    start=st.integers(-(10**6), 10**6),
    length=st.integers(1, 5000),
    origin=st.integers(0, 511),
    step=st.sampled_from([100, 256, 512, 1024]),
)
@example(start=-128, length=641, origin=0, step=512)
def test_chunk_edges(start, length, origin, step):
    widths = chunking._edges(start, start + length, origin, step)
    assert sum(widths) == length
    assert min(widths) > 0
    assert max(widths) <= 1.5 * step
    assert all((edge - origin) % min(step, 512) == 0 for edge in _inner_edges(widths, start))
    if len(widths) > 1:
        assert min(widths) >= step // 4


def test_many_scenes_make_small_blocks():
    box, codes = PixelBox(0, 0, 4096, 4096), [False] * 6 + [True]
    for scenes in (1, 10, 40, 150):
        runs, rows, cols = chunking.cube_chunks(box, (0, 0), 1024, codes, scenes * 2)
        assert runs == (6, 1)
        assert max(rows) * max(cols) * sum(runs) * scenes * 2 <= 150 * 2**20
        assert max(rows) <= 512


def test_few_tasks_a_block(items):
    cube = load(items, geobox(0, 0, 1300, 1300), BANDS, chunk=512)
    blocks = len(cube.chunks[2]) * len(cube.chunks[3])
    assert blocks >= 4
    out = composite(mask(cube, "sentinel2-scl"), "season")
    tasks = len(dask.optimize(out.data)[0].__dask_graph__())
    assert tasks <= 8 * blocks + 8
    assert load(items, geobox(0, 0, 1300, 1300), BANDS, chunk=512).data.name == cube.data.name


def test_codes_are_read_without_measurements(items, monkeypatch):
    from rsscale.read.reader import Reader

    seen = []
    read = Reader.read
    monkeypatch.setattr(Reader, "read", lambda s, w: seen.append(s.source.asset) or read(s, w))
    load(items, geobox(0, 0, 100, 100), BANDS).sel(band="scl").compute()
    assert set(seen) == {"scl"}


# Errors


@pytest.mark.parametrize(
    ("bands", "options", "error", "message"),
    [
        (["rde"], {}, BandError, r"no item has band 'rde'; there are red, nir, scl.*'red'"),
        (["red", "red"], {}, RecipeError, "twice"),
        ([], {}, RecipeError, "at least one band"),
        ("red", {}, RecipeError, "list"),
        (["red"], {"resampling": {"nri": "cubic"}}, RecipeError, "not loaded"),
        (["red"], {"resampling": {"red": "cubik"}}, RecipeError, "did you mean 'cubic'"),
        (["red"], {"chunk": 0}, RecipeError, "at least 1"),
    ],
)
def test_errors(items, bands, options, error, message):
    with pytest.raises(error, match=message):
        load(items, geobox(0, 0, 10, 10), bands, **options)


def test_one_item_without_the_asset_is_named(items):
    bare = items[0].clone()
    del bare.assets["nir"]
    with pytest.raises(BandError, match=r"'c_west' has no asset 'nir'.*1 of 4"):
        load([bare, *items[1:]], geobox(0, 0, 10, 10), BANDS)


def test_a_missing_file_fails_in_compute_and_says_which(items):
    lost = items[0].clone()
    lost.assets["red"].href = "/nowhere/lost.tif?token=SECRET"
    cube = load([lost, *items[1:]], geobox(0, 0, 10, 10), BANDS)
    with pytest.raises(ReadError, match=r"c_west.*red.*lost\.tif") as caught:
        cube.compute()
    assert "SECRET" not in str(caught.value)


# Real data


def test_landsat_pixels_start_at_half():
    found = real_items("landsat7-two-dates")
    bands = ["blue", "nir08", "fmask"]
    with rasterio.open(found[0].assets["blue"].get_absolute_href()) as dataset:
        box = GeoBox(dataset.shape, dataset.transform, str(dataset.crs)).pad(3)
    cube = load(found, box, bands)
    assert cube.dtype == "int16"
    assert cube.attrs == {"nodata": -9999, "categorical": ["fmask"]}
    for image in cube.compute():
        of_id = next(i for i in found if i.id == image.id.item())
        for band in bands:
            with rasterio.open(of_id.assets[band].get_absolute_href()) as dataset:
                expected = np.pad(dataset.read(1), 3, constant_values=-9999)
            np.testing.assert_array_equal(image.sel(band=band), expected)


def test_rachel_carson_across_projections():
    found = real_items("rachel-carson-sentinel2")
    box = GeoBox((700, 800), Affine(10, 0, 350_000, 0, -10, 3_838_000), "EPSG:32618")
    cube = load(found, box, ["B02", "B08"])
    assert (cube.dtype, cube.attrs["nodata"]) == (np.dtype("uint8"), 0)
    for band in ("B02", "B08"):
        expected = warped(found[0].assets[band].get_absolute_href(), box, "bilinear", scale=0.82)
        np.testing.assert_array_equal(cube.sel(band=band).values[0], expected)


def test_a_grid_without_epsg_code():
    found = real_items("cbers-bahia")[:3]
    with rasterio.open(found[0].assets["NDVI"].get_absolute_href()) as dataset:
        box = GeoBox(dataset.shape, dataset.transform, dataset.crs.to_wkt())
    cube = load(found, box, ["EVI"])
    assert cube.odc.geobox == box
    for image in cube.compute():
        of_id = next(i for i in found if i.id == image.id.item())
        with rasterio.open(of_id.assets["EVI"].get_absolute_href()) as dataset:
            np.testing.assert_array_equal(image.values[0], dataset.read(1))


def test_real_items_of_many_catalogues_resolve():
    if not (SHARED / "stac-items").exists():
        pytest.skip("the real example data (shared/data beside the project) is not here")
    for name, bands in {
        "S2A_28QCH_20200714_0_L2A.json": ["B04", "SCL"],
        "S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531.json": ["red", "SCL"],
    }.items():
        found = pystac.Item.from_dict(json.loads((SHARED / "stac-items" / name).read_text()))
        box = GeoBox((100, 100), Affine(10, 0, 400_000, 0, -10, 6_790_000), "EPSG:32606")
        cube = load([found], box, bands)
        assert cube.dtype == "uint16"
        assert cube.attrs["categorical"] == ["SCL"]


def test_scenes_are_as_large_as_they_say(items):
    # The tests above cut from the scenes by hand; a wrong size would hide in nodata.
    with rasterio.open(path_of(items, "a_west", "red")) as dataset:
        assert dataset.shape == (SIZE, SIZE)
        assert dataset.block_shapes == [(512, 512)]


def test_a_local_file_of_an_item_from_a_server_is_local():
    from rsscale.items.features import location

    asset = pystac.Asset("/data/red.tif")
    made = item("a", "2023-01-01", {})
    made.add_asset("red", asset)
    made.set_self_href("http://127.0.0.1:8000/collections/c/items/a")
    assert location(made, "red") == "/data/red.tif"
    asset.href = "./red.tif"
    beside = "http://127.0.0.1:8000/collections/c/items"
    assert location(made, "red") == f"{beside}/red.tif"
    asset.extra_fields["alternate"] = {"other": {"href": "../other.tif"}}
    assert location(made, "red", ["other"]) == f"{beside.rpartition('/')[0]}/other.tif"
