import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from cube_scenes import EAST, SIZE, WEST, geobox, texture, warped, write
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.env import get_gdal_config
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from rsscale.errors import AreaError, ReadError
from rsscale.read import file_pool as files
from rsscale.read import reader
from rsscale.read.file_pool import CACHE_BYTES, gdal_env
from rsscale.read.placement import OutputGrid
from rsscale.read.reader import Reader
from rsscale.read.source import Source
from rsscale.read.warp import RegionWarp


def read(path, box, *, window=None, dtype="uint16", fill=0, **source):
    """All of a GeoBox, or a window of it."""
    grid, pixels = OutputGrid.of(box)
    sources = {"key": Source("scene", "red", str(path), **source)}
    made = Reader(url="key", sources=sources, grid=grid, box=pixels, dtype=dtype, fill_value=fill)
    return made.read(window or Window(0, 0, box.shape[1], box.shape[0]))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    west, east = texture((SIZE, SIZE), 1), texture((SIZE, SIZE), 2)
    east[:, :200] = 0
    return {
        "west": write(folder / "west.tif", west, WEST, "EPSG:32631"),
        "east": write(folder / "east.tif", east, EAST, "EPSG:32632"),
        "west data": west,
    }


# Aligned grids


@pytest.mark.parametrize(
    ("row", "col"), [(0, 0), (37, 501), (-100, -77), (1300, 1250), (-400, 30), (5000, 0)]
)
def test_aligned_window_is_the_file_and_fill_outside(scenes, row, col):
    with rasterio.open(scenes["west"]) as dataset:
        window = Window(col, row, 300, 200)
        expected = dataset.read(1, window=window, boundless=True, fill_value=0)
    got = read(scenes["west"], geobox(row, col, 200, 300))
    np.testing.assert_array_equal(got, expected)


def test_window_counts_from_the_corner_of_the_cube(scenes):
    got = read(scenes["west"], geobox(10, 20, 400, 400), window=Window(5, 7, 30, 40))
    np.testing.assert_array_equal(got, scenes["west data"][17:57, 25:55])


STRAIGHT = {
    "same type": {},
    "wider type": {"dtype": "int32"},
    "south-up": {"transform": Affine(10, 0, WEST.c, 0, 10, WEST.f - 10 * 400)},
    "coarser": {"transform": Affine(20, 0, WEST.c, 0, -20, WEST.f), "resampling": "nearest"},
    "half a pixel off": {"transform": Affine(10, 0, WEST.c + 5, 0, -10, WEST.f - 5)},
    "another nodata": {"fill": 9},
    "a mask": {"mask": True},
}


@pytest.mark.parametrize("kind", STRAIGHT)
@pytest.mark.parametrize(("row", "col"), [(0, 0), (20, 30), (-50, -60), (350, 380), (5000, 0)])
def test_pixels_go_straight_into_an_array_whatever_its_strides(tmp_path, kind, row, col):
    how = dict(STRAIGHT[kind])
    transform, masked = how.pop("transform", WEST), how.pop("mask", False)
    data = texture((400, 400), 3)
    data[100:140, 50:90] = 0
    path = write(tmp_path / "a.tif", data, transform, "EPSG:32631")
    if masked:
        with rasterio.open(path, "r+") as dataset:
            dataset.write_mask(texture((400, 400), 4) > 4000)
    box = geobox(row, col, 120, 110)
    expected = read(path, box, **how)
    grid, pixels = OutputGrid.of(box)
    made = Reader(
        url="", sources={"": Source("scene", "red", path, how.get("resampling", "bilinear"))},
        grid=grid, box=pixels, dtype=how.get("dtype", "uint16"), fill_value=how.get("fill", 0),
    )  # fmt: skip
    wide = np.full((2, 130, 3, 150), 77, expected.dtype)
    made.read_into(pixels, wide[1, 5:125, 2, 20:130])
    np.testing.assert_array_equal(wide[1, 5:125, 2, 20:130], expected)
    wide[1, 5:125, 2, 20:130] = 77
    assert (wide == 77).all()
    top, left = (max(0, start) for start in (row, col))
    if kind == "same type" and row < 400:
        part = data[top : row + 120, left : col + 110]
        inside = expected[top - row :, left - col :][: part.shape[0], : part.shape[1]]
        np.testing.assert_array_equal(inside, part)


@pytest.mark.parametrize("method", ["nearest", "bilinear", "cubic"])
def test_resampling_does_not_touch_an_aligned_grid(scenes, method):
    got = read(scenes["west"], geobox(100, 100, 50, 60), resampling=method)
    np.testing.assert_array_equal(got, scenes["west data"][100:150, 100:160])


def test_aligned_nodata_becomes_the_fill(tmp_path):
    data = np.arange(100, dtype="int16").reshape(10, 10)
    data[3, 4] = -9999
    path = write(tmp_path / "a.tif", data, WEST, "EPSG:32631", nodata=-9999)
    got = read(path, geobox(0, 0, 10, 11), dtype="int32", fill=-1)
    expected = np.pad(data, ((0, 0), (0, 1)), constant_values=-1).astype("int32")
    expected[3, 4] = -1
    np.testing.assert_array_equal(got, expected)


def test_coarser_nested_pixels_are_repeated_like_gdal_does(tmp_path):
    codes = np.random.default_rng(0).integers(1, 12, (300, 300), dtype="uint8")
    coarse = WEST @ Affine.scale(2) if hasattr(WEST, "__matmul__") else WEST * Affine.scale(2)
    path = write(tmp_path / "scl.tif", codes, coarse, "EPSG:32631")
    for row, col in [(0, 0), (1, 3), (-5, 17), (511, 300)]:
        box = geobox(row, col, 77, 133)
        got = read(path, box, dtype="uint8", resampling="nearest")
        every = np.pad(codes.repeat(2, 0).repeat(2, 1), 200)
        expected = every[row + 200 : row + 277, col + 200 : col + 333]
        np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(got, warped(path, box, "nearest"))


# Warps


@pytest.mark.parametrize("method", ["nearest", "bilinear", "cubic"])
def test_warp_equals_gdal_on_the_same_fixed_blocks(scenes, method):
    box = geobox(150, 200, 700, 800)
    got = read(scenes["east"], box, resampling=method)
    expected = warped(scenes["east"], box, method)
    assert 0.1 < (expected == 0).mean() < 0.9  # the swath's edge runs through the box
    np.testing.assert_array_equal(got, expected)


def _overlap_differences(path, method):
    """Pixels that differ between two boxes over the zone boundary, on what they share."""
    one = read(path, geobox(300, 400, 600, 500), resampling=method)
    two = read(path, geobox(417, 533, 600, 600), resampling=method)
    return (one[117:, 133:] != two[: 600 - 117, : 500 - 133]).sum(), (one != 0).mean()


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
def test_a_pixel_does_not_depend_on_the_window(scenes, method):
    different, valid = _overlap_differences(scenes["east"], method)
    assert valid > 0.5
    assert different == 0


def test_warps_anchored_to_the_window_would_differ(scenes, monkeypatch):
    # The test above has to be able to fail: this is what it guards against.
    monkeypatch.setattr(reader, "warp_regions", lambda box: iter([(box, [box])]))
    assert _overlap_differences(scenes["east"], "bilinear")[0] > 1000


def test_a_grid_off_by_part_of_a_pixel_is_warped_not_shifted(tmp_path):
    data = texture((400, 400), 5)
    shifted = Affine(10, 0, WEST.c + 5, 0, -10, WEST.f - 2.5)
    path = write(tmp_path / "half.tif", data, shifted, "EPSG:32631")
    box = geobox(20, 20, 300, 300)
    got = read(path, box)
    np.testing.assert_array_equal(got, warped(path, box, "bilinear"))
    # Half a pixel east and a quarter south: bilinear weights by hand.
    d = data.astype(float)
    top, bottom = d[19:-1, 19:][:300, :301], d[20:, 19:][:300, :301]
    rows = 0.25 * top + 0.75 * bottom
    by_hand = (rows[:, :-1] + rows[:, 1:]) / 2
    assert np.abs(got - by_hand).max() <= 1


@pytest.mark.parametrize(("resolution", "phase"), [(10, 0.0), (10, 0.25), (1e-4, 0.123456)])
@given(shift=st.tuples(st.integers(-5000, 5000), st.integers(-5000, 5000)))
@settings(max_examples=40, deadline=None)
def test_windows_of_one_grid_share_its_bits(resolution, phase, shift):
    row, col = shift
    x, y = (70_000 + phase) * resolution, (499_000 + phase) * resolution
    crs = "EPSG:32631" if resolution > 1 else "EPSG:4326"

    def of(row, col):
        corner = Affine(resolution, 0, x + col * resolution, 0, -resolution, y - row * resolution)
        return OutputGrid.of(GeoBox((10, 10), corner, crs))

    (grid, box), (other_grid, other) = of(0, 0), of(row, col)
    assert grid == other_grid
    assert (other.row0 - box.row0, other.col0 - box.col0) == (row, col)
    assert other_grid.transform(box) == grid.transform(box)
    assert grid.transform(box).c == pytest.approx(x, abs=1e-6 * resolution)
    assert grid.transform(box).f == pytest.approx(y, abs=1e-6 * resolution)


def test_part_blocks_are_warped_once_for_neighbouring_windows(scenes, monkeypatch):
    monkeypatch.setattr(reader, "WARPED", files.BlockCache(2**24))
    calls = []
    warp = RegionWarp.read
    monkeypatch.setattr(
        RegionWarp, "read", lambda self, block: calls.append(block) or warp(self, block)
    )
    box = geobox(300, 300, 500, 500)
    halves = [read(scenes["east"], box, window=Window(col, 0, 250, 500)) for col in (0, 250)]
    assert len(calls) == len(set(calls)) > 1
    np.testing.assert_array_equal(np.hstack(halves), warped(scenes["east"], box, "bilinear"))


@pytest.mark.parametrize("nodata", [0, None])
def test_a_warp_of_a_region_is_set_up_once(tmp_path, monkeypatch, nodata):
    path = write(tmp_path / "a.tif", texture((SIZE, SIZE), 2), EAST, "EPSG:32632", nodata=nodata)
    opened = []
    real = RegionWarp._open
    monkeypatch.setattr(RegionWarp, "_open", lambda self: opened.append(self._region) or real(self))
    box = geobox(150, 200, 700, 800)
    got = read(path, box, dtype="int32", fill=-1)
    assert len(opened) == len(set(opened)) < 12
    np.testing.assert_array_equal(got == -1, warped(path, box, "bilinear") == 0)
    again = read(path, box, dtype="int32", fill=-1, window=Window(256, 128, 256, 128))
    np.testing.assert_array_equal(again, got[128:256, 256:512])


# Nodata


def _edge(tmp_path, nodata):
    data = texture((600, 600), 3)
    data[:, ::7] = 0  # gaps everywhere
    return write(tmp_path / f"edge_{nodata}.tif", data, EAST, "EPSG:32632", nodata=nodata)


@pytest.mark.parametrize("method", ["bilinear", "cubic"])
def test_nodata_is_not_mixed_into_valid_pixels(tmp_path, method):
    box = geobox(200, 100, 500, 500)
    for path, declared in ((_edge(tmp_path, 0), None), (_edge(tmp_path, None), 0.0)):
        got = read(path, box, resampling=method, nodata=declared)
        valid = got[got != 0]
        # Cubic overshoots a little by design; a mix with 0 would come out far lower.
        assert valid.size > 1000
        assert valid.min() >= (1000 if method == "bilinear" else 700)


def test_zeros_are_mixed_when_nobody_says_they_are_nodata(tmp_path):
    got = read(_edge(tmp_path, None), geobox(200, 100, 500, 500), dtype="int32", fill=-1)
    assert ((got > 0) & (got < 1000)).any()


@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:32632"])
def test_without_nodata_every_value_is_valid_and_outside_is_fill(tmp_path, crs):
    # A field of zeros: valid ones, to be told from what lies outside the file.
    path = write(tmp_path / "z.tif", np.zeros((300, 300), "uint8"), WEST, crs, nodata=None)
    box = geobox(-60, -50, 200, 200, crs="EPSG:32631")
    got = read(path, box, dtype="int16", fill=-1)
    if crs == "EPSG:32631":
        assert (got[60:, 50:] == 0).all()
        assert (got[:60] == -1).all()
        assert (got[:, :50] == -1).all()
    else:
        assert set(np.unique(got)) <= {-1, 0}
        assert (got == -1).all()  # the same numbers in the other zone lie far away


def test_without_nodata_across_zones(tmp_path):
    path = write(tmp_path / "z.tif", np.zeros((500, 500), "uint8"), EAST, "EPSG:32632", nodata=None)
    got = read(path, geobox(0, 0, 1400, 1400), dtype="int16", fill=-1)
    ones = write(tmp_path / "o.tif", np.ones((500, 500), "uint8"), EAST, "EPSG:32632", nodata=0)
    inside = read(ones, geobox(0, 0, 1400, 1400), dtype="int16", fill=-1) == 1
    assert inside.sum() > 100_000
    np.testing.assert_array_equal(got == 0, inside)


@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:32632"])
def test_a_mask_inside_the_file_counts_as_nodata(tmp_path, crs):
    path = tmp_path / "masked.tif"
    transform = WEST if crs == "EPSG:32631" else EAST
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        write(path, np.full((600, 600), 7, "uint8"), transform, crs, nodata=None)
        with rasterio.open(path, "r+") as dataset:
            valid = np.zeros((600, 600), bool)
            valid[:300] = True
            dataset.write_mask(valid)
    got = read(path, geobox(-500, -500, 1500, 1500), dtype="int16", fill=-1)
    assert set(np.unique(got)) == {-1, 7}
    assert (got == 7).sum() == pytest.approx(300 * 600, rel=0.01)


def test_float_nan_becomes_fill(tmp_path):
    data = np.ones((20, 20), "float32")
    data[2, 3] = np.nan
    path = write(tmp_path / "f.tif", data, WEST, "EPSG:32631", nodata=None)
    got = read(path, geobox(0, 0, 20, 20), dtype="float32", fill=np.nan)
    np.testing.assert_array_equal(got, data)
    path = write(tmp_path / "g.tif", np.where(np.isnan(data), -5, data), WEST, "EPSG:32631", -5)
    np.testing.assert_array_equal(
        read(path, geobox(0, 0, 20, 20), dtype="float32", fill=np.nan), data
    )


# Georeferencing


def test_item_georeferences_a_file_without(tmp_path):
    data = texture((50, 50), 9)
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        path = write(tmp_path / "bare.tif", data, Affine.identity(), None)
    box = geobox(5, 5, 30, 30)
    got = read(path, box, crs="EPSG:32631", transform=tuple(WEST)[:6])
    np.testing.assert_array_equal(got, data[5:35, 5:35])
    with pytest.raises(ReadError, match=r"'scene'.*'red'.*no transform"):
        read(path, box, crs="EPSG:32631")
    with pytest.raises(ReadError, match=r"'scene'.*'red'.*no CRS"):
        read(path, box, transform=tuple(WEST)[:6])


def test_output_crs_without_epsg_code(tmp_path):
    albers = "+proj=aea +lat_1=-1 +lat_2=-29 +lon_0=-54 +ellps=GRS80 +units=m"
    data = texture((60, 60), 4)
    path = write(tmp_path / "albers.tif", data, Affine(64, 0, 6400, 0, -64, 128), albers)
    box = GeoBox((40, 40), Affine(64, 0, 6400 + 640, 0, -64, 128 - 64), albers)
    np.testing.assert_array_equal(read(path, box), data[1:41, 10:50])


@pytest.mark.parametrize(
    "affine",
    [Affine(10, 1, 0, 0, -10, 0), Affine(10, 0, 0, 0, 10, 0), Affine(-10, 0, 0, 0, -10, 0)],
)
def test_grids_that_are_not_north_up_are_refused(affine):
    with pytest.raises(AreaError, match="north-up"):
        OutputGrid.of(GeoBox((10, 10), affine, "EPSG:32631"))


# Errors


@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:32632"])
def test_a_truncated_file_is_an_error_not_nodata(tmp_path, crs):
    path = Path(write(tmp_path / "cut.tif", texture((1100, 1100), 6), WEST, crs))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    whole = geobox(0, 0, 1100, 1100, crs=crs)
    box = whole if crs == "EPSG:32631" else whole.to_crs("EPSG:32631", resolution=10)
    with pytest.raises(ReadError, match=r"'scene'.*'red'.*cut\.tif"):
        read(path, box)


def test_messages_name_item_asset_and_file_without_token(tmp_path):
    with pytest.raises(ReadError, match=r"item 'scene', asset 'red'.*gone\.tif") as caught:
        read(str(tmp_path / "gone.tif") + "?sig=SECRET", geobox(0, 0, 10, 10))
    assert "SECRET" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_of_several_bands_is_refused(tmp_path):
    path = write(tmp_path / "rgb.tif", np.zeros((3, 20, 20), "uint16"), WEST, "EPSG:32631")
    with pytest.raises(ReadError, match="3 bands"):
        read(path, geobox(0, 0, 10, 10))


def test_a_type_that_does_not_fit_is_refused(tmp_path):
    path = write(tmp_path / "f.tif", np.zeros((20, 20), "float32"), WEST, "EPSG:32631")
    with pytest.raises(ReadError, match=r"float32.*uint16"):
        read(path, geobox(0, 0, 10, 10))


# Files and threads


def test_a_file_written_anew_is_read_anew(tmp_path):
    path, box = tmp_path / "a.tif", geobox(0, 0, 20, 20)
    for value in (1000, 2000):
        write(path, np.full((20, 20), value, "uint16"), WEST, "EPSG:32631")
        assert (read(path, box) == value).all()


def test_reader_is_picklable(scenes):
    grid, pixels = OutputGrid.of(geobox(0, 0, 30, 30))
    made = Reader(
        url="k",
        sources={"k": Source("scene", "red", scenes["west"])},
        grid=grid,
        box=pixels,
        dtype="uint16",
        fill_value=np.uint16(0),
        spec=None,
    )
    window = Window(0, 0, 30, 30)
    again = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(made.read(window), again.read(window))


def test_threads_read_the_same_as_one(scenes):
    jobs = [
        (scenes[name], geobox(row, col, 300, 300))
        for name in ("west", "east")
        for row in (100, 350, 600)
        for col in (200, 500)
    ] * 3
    serial = [read(*job) for job in jobs]
    with ThreadPoolExecutor(8) as pool:
        parallel = list(pool.map(lambda job: read(*job), jobs))
    for one, other in zip(serial, parallel, strict=True):
        np.testing.assert_array_equal(one, other)


def test_pool_keeps_a_bounded_number_of_files_open(tmp_path):
    pool = files.FilePool(3)
    paths = [
        write(tmp_path / f"{n}.tif", np.zeros((20, 20), "uint8"), WEST, "EPSG:32631")
        for n in range(6)
    ]
    lent = []
    for path in paths:
        with pool.lend(path) as opened:
            lent.append(opened.dataset)
    assert [d.closed for d in lent] == [True, True, True, False, False, False]
    with pool.lend(paths[-1]) as opened:
        assert opened.dataset is lent[-1]


@pytest.mark.parametrize(("may", "held"), [(1024, 512), (20_000, 2048), (-1, 2048), (20, 16)])
def test_pool_holds_the_scenes_of_two_tiles_open(monkeypatch, may, held):
    """Of 280 files 256 were held, so that each was opened anew for each block of a tile."""
    monkeypatch.setattr("resource.getrlimit", lambda _limit: (may, may))
    assert files._open_limit() == held


def test_pool_closes_what_nobody_has_used_since(scenes, tmp_path):
    pool = files.FilePool(8)
    used = write(tmp_path / "used.tif", texture((32, 32), 0), WEST, "EPSG:32631")
    with pool.lend(scenes["west"]) as first, pool.lend(used) as second:
        pass
    moment = time.monotonic()
    with pool.lend(used), pool.lend(scenes["east"]) as lent:
        pool.close(since=moment)
        assert first.dataset.closed
        assert not second.dataset.closed
        assert not lent.dataset.closed
    pool.close(since=moment)
    with pool.lend(used) as again:
        assert again is second
    pool.close()
    assert second.dataset.closed
    assert lent.dataset.closed


def test_pool_lends_a_file_to_one_thread_at_a_time(scenes):
    pool = files.FilePool(4)
    both = threading.Barrier(2)

    def borrow(_):
        with pool.lend(scenes["west"]) as opened:
            both.wait(30)
            return id(opened.dataset)

    with ThreadPoolExecutor(2) as threads:
        assert len(set(threads.map(borrow, range(2)))) == 2


def test_block_cache_is_bounded():
    cache = files.BlockCache(1000)
    for n in range(5):
        cache.put(n, np.zeros(300, "uint8"))
    assert [cache.get(n) is not None for n in range(5)] == [False, False, True, True, True]


def test_metres_from_degrees_with_pixels_that_are_not_square():
    folder = Path(__file__).resolve().parents[2] / "../shared/data/rachel-carson-sentinel2"
    if not folder.exists():
        pytest.skip("the real example data (shared/data beside the project) is not here")
    path = folder / "images" / "B08.tif"
    box = GeoBox((900, 1100), Affine(10, 0, 348_000, 0, -10, 3_838_000), "EPSG:32618")
    got = read(path, box, dtype="uint8", nodata=0.0)
    np.testing.assert_array_equal(got, warped(path, box, "bilinear", scale=0.82))
    with (
        rasterio.open(path) as dataset,
        WarpedVRT(
            dataset, crs="EPSG:32618", transform=box.affine, width=1100, height=900,
            resampling=Resampling.bilinear, src_nodata=0, nodata=0,
        ) as vrt,
    ):  # fmt: skip
        free = vrt.read(1).astype(int)
    # The blocks change the approximation by an eighth of a pixel at most, not the place.
    assert (got != 0).mean() > 0.9
    assert np.abs(got - free).mean() < 0.5


def test_a_size_of_gdals_cache_that_threads_left_is_set_right(scenes):
    """rasterio puts back what it found: of two threads, one finds the other's."""
    one_is_in, both_are_in = threading.Event(), threading.Event()

    def first():
        with rasterio.Env(GDAL_CACHEMAX=128):  # bytes, whatever was meant
            one_is_in.set()
            both_are_in.wait(60)

    def second():
        one_is_in.wait(60)
        with rasterio.Env(GDAL_CACHEMAX=128):
            both_are_in.set()
            threads[0].join(60)

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    threads[1].join(60)
    assert get_gdal_config("GDAL_CACHEMAX") == 128
    with gdal_env(scenes["west"]):
        assert get_gdal_config("GDAL_CACHEMAX") == CACHE_BYTES


LEFT_ON = """
import sys
from rasterio.env import get_gdal_config, set_gdal_config
from rasterio.windows import Window
from rsscale.read.file_pool import POOL, gdal_env

set_gdal_config("VSI_CACHE", True)  # as stackstac's own reader leaves it
with gdal_env(sys.argv[1]), POOL.lend(sys.argv[1]):
    print(get_gdal_config("VSI_CACHE"))
"""


def test_gdal_does_not_keep_the_bytes_of_every_open_file(scenes):
    told = subprocess.run(
        [sys.executable, "-c", LEFT_ON, scenes["west"]], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "FALSE"
