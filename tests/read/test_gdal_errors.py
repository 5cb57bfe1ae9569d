"""What GDAL does in threads and files of its own: a decoder that failed gives no pixels."""

import logging
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from fault_server import serve
from odc.geo.geobox import GeoBox

from rsscale.errors import ReadError
from rsscale.net import gdal_files as remote
from rsscale.read import file_pool as files
from rsscale.read.gdal_errors import reported_errors
from rsscale.read.placement import OutputGrid
from rsscale.read.reader import Reader
from rsscale.read.source import Source

SIZE = 600
PLACE = Affine(10, 0, 600_000, 0, -10, 5_200_000)
BOX = GeoBox((SIZE, SIZE), PLACE, "EPSG:32632")
HALF = GeoBox((SIZE // 4, SIZE // 4), Affine(40, 0, 600_000, 0, -40, 5_200_000), "EPSG:32632")
OTHER_ZONE = GeoBox((200, 200), Affine(10, 0, 146_000, 0, -10, 5_205_000), "EPSG:32633")
JP2 = {"QUALITY": "100", "REVERSIBLE": "YES", "BLOCKXSIZE": 128, "BLOCKYSIZE": 128}
ROW, COL = np.mgrid[0:SIZE, 0:SIZE]
DATA = ((np.sin(ROW / 9) + np.cos(COL / 7)) * 60 + 128).astype("uint8")


@pytest.fixture(autouse=True)
def fresh():
    files.POOL.close()
    files.WARPED.forget()
    remote.forget()


def write(path, driver="GTiff", data=DATA, **options):
    height, width = data.shape
    with rasterio.open(
        path, "w", driver=driver, width=width, height=height, count=1, dtype=data.dtype,
        crs="EPSG:32632", transform=PLACE, **options,
    ) as file:  # fmt: skip
        file.write(data, 1)
    return path


def virtual(path, source, data=DATA):
    """A virtual raster of a file beside it, which need not be there."""
    made = write(path.with_name("made.tif"), data=data)
    rasterio.shutil.copy(made, path, driver="VRT")
    path.write_text(path.read_text().replace("made.tif", source))
    made.unlink()
    return path


def cut(path, share):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    return path


def read(url, box=BOX, **source):
    grid, pixels = OutputGrid.of(box)
    source = Source("scene", "red", str(url), **{"resampling": "nearest", **source})
    made = Reader(url="", sources={"": source}, grid=grid, box=pixels, dtype="int16", fill_value=-1)
    out = np.empty(pixels.shape, "int16")
    made.read_into(pixels, out)
    return out


def refused(url, **options):
    with pytest.raises(ReadError, match="item 'scene', asset 'red'") as caught:
        read(url, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("threads", ["ALL_CPUS", "4", None])
def test_blocks_of_a_jp2_on_a_server_are_those_of_the_file(tmp_path, monkeypatch, threads):
    write(tmp_path / "b.jp2", "JP2OpenJPEG", **JP2)
    if threads:
        monkeypatch.setenv("GDAL_NUM_THREADS", threads)
    with serve(tmp_path) as server:
        np.testing.assert_array_equal(read(f"{server.url}/b.jp2"), DATA)


def test_overviews_of_a_jp2_on_a_server_are_those_of_the_file(tmp_path):
    path = write(tmp_path / "b.jp2", "JP2OpenJPEG", **JP2, RESOLUTIONS=4)
    local = read(path, HALF, resampling="bilinear")
    with serve(tmp_path) as server:
        far = read(f"{server.url}/b.jp2", HALF, resampling="bilinear")
    np.testing.assert_array_equal(far, local)
    assert abs(local[10:-10, 10:-10] - DATA[::4, ::4][10:-10, 10:-10]).max() < 60


@pytest.mark.parametrize("threads", ["ALL_CPUS", None])
@pytest.mark.parametrize(
    ("name", "driver", "options"),
    [("b.jp2", "JP2OpenJPEG", JP2), ("b.png", "PNG", {}), ("b.jpg", "JPEG", {}),
     ("b.tif", "GTiff", {"tiled": True, "blockxsize": 128, "blockysize": 128,
                         "compress": "jpeg"})],
)  # fmt: skip
def test_a_file_cut_short_gives_no_pixels(tmp_path, monkeypatch, name, driver, options, threads):
    monkeypatch.setenv("GDAL_PNG_WHOLE_IMAGE_OPTIM", "YES")
    if threads:
        monkeypatch.setenv("GDAL_NUM_THREADS", threads)
    path = write(tmp_path / name, driver, **options)
    far_off = {"crs": "EPSG:32632", "transform": tuple(PLACE)[:6]}
    assert read(path, **far_off).min() >= 0
    files.POOL.close()
    refused(cut(path, 0.6), **far_off)


@pytest.mark.parametrize("box", [BOX, OTHER_ZONE], ids=["aligned", "warped"])
@pytest.mark.parametrize("name", ["b.png", "b.tif", "b.jp2"])
def test_a_damaged_file_is_no_fault_of_the_next_one(tmp_path, name, box):
    driver = {"png": "PNG", "tif": "GTiff", "jp2": "JP2OpenJPEG"}[name[2:]]
    bad = cut(write(tmp_path / name, driver), 0.6)
    picture = tmp_path / "rgb.tif"
    with rasterio.open(
        picture, "w", driver="GTiff", width=SIZE, height=SIZE, count=3, dtype="uint8",
        crs="EPSG:32632", transform=PLACE, photometric="RGB",
    ) as file:  # fmt: skip
        file.write(np.stack([DATA] * 3))
    for _ in range(2):  # opened, and lent again
        refused(bad, crs="EPSG:32632", transform=tuple(PLACE)[:6])
        assert read(picture, box, index=2).max() == DATA.max()


@pytest.mark.parametrize("box", [BOX, OTHER_ZONE], ids=["aligned", "warped"])
def test_a_virtual_raster_without_its_source_is_never_blank(tmp_path, box):
    write(tmp_path / "a.tif")
    good = virtual(tmp_path / "good.vrt", "a.tif")
    bad = virtual(tmp_path / "bad.vrt", "gone.tif")
    nested = virtual(tmp_path / "nested.vrt", "bad.vrt")
    for _ in range(2):
        for path in (bad, nested):
            assert "gone.tif" in refused(path, box=box)
            assert read(good, box).max() > 0


@pytest.mark.parametrize("content", [b"", b"II*\0 no tiff"])
def test_a_source_that_gdal_cannot_open_is_never_blank(tmp_path, content):
    write(tmp_path / "a.tif")
    (tmp_path / "odd.tif").write_bytes(content)
    good, bad = virtual(tmp_path / "good.vrt", "a.tif"), virtual(tmp_path / "b.vrt", "odd.tif")
    nested = virtual(tmp_path / "nested.vrt", "b.vrt")
    for path in (bad, nested, bad, nested):
        assert "odd.tif" in refused(path)
        assert read(good).max() > 0


@pytest.mark.parametrize("is_absolute", [False, True])
@pytest.mark.parametrize("content", [b"", b"II*\0 no tiff"])
def test_a_source_that_was_mended_is_read(tmp_path, content, is_absolute):
    """GDAL remembers that it could not open a name as long as any virtual raster is open."""
    write(tmp_path / "a.tif")
    good, mended = virtual(tmp_path / "good.vrt", "a.tif"), virtual(tmp_path / "b.vrt", "odd.tif")
    if is_absolute:
        mended.write_text(
            mended.read_text()
            .replace("odd.tif", str(tmp_path / "odd.tif"))
            .replace('relativeToVRT="1"', 'relativeToVRT="0"')
        )
    with rasterio.open(good) as held:
        held.read(1)
        for _ in range(3):
            (tmp_path / "odd.tif").write_bytes(content)
            for _ in range(2):
                assert "odd.tif" in refused(mended)
            (tmp_path / "odd.tif").unlink()  # else it is opened to be written over
            write(tmp_path / "odd.tif", data=255 - DATA)
            for box in (BOX, HALF):
                assert (read(mended, box) != read(good, box)).any()
            np.testing.assert_array_equal(read(mended), 255 - DATA)
            np.testing.assert_array_equal(read(good), DATA)
            files.POOL.close()


def test_a_source_within_another_that_could_not_be_opened_stays_refused(tmp_path):
    """Its name cannot be written in another way from here, and GDAL would give nodata."""
    write(tmp_path / "a.tif")
    good, inner = virtual(tmp_path / "good.vrt", "a.tif"), virtual(tmp_path / "b.vrt", "odd.tif")
    nested = virtual(tmp_path / "nested.vrt", "b.vrt")
    (tmp_path / "odd.tif").write_bytes(b"no tiff")
    with rasterio.open(good) as held:
        held.read(1)
        assert "odd.tif" in refused(nested)
        (tmp_path / "odd.tif").unlink()
        write(tmp_path / "odd.tif")
        assert "odd.tif could not be opened before" in refused(nested)
        np.testing.assert_array_equal(read(inner), DATA)


def test_a_virtual_raster_by_a_relative_path(tmp_path, monkeypatch):
    write(tmp_path / "a.tif")
    virtual(tmp_path / "good.vrt", "a.tif")
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(read("good.vrt"), DATA)


def test_a_virtual_raster_of_a_damaged_source_is_never_blank(tmp_path):
    cut(write(tmp_path / "a.tif"), 0.5)
    path = virtual(tmp_path / "cut.vrt", "a.tif")
    for _ in range(2):
        refused(path)


def test_a_virtual_raster_on_a_server_finds_sources_beside_it(tmp_path):
    (tmp_path / "sub").mkdir()
    write(tmp_path / "a.tif")
    virtual(tmp_path / "sub" / "up.vrt", "../a.tif")
    virtual(tmp_path / "nested.vrt", "sub/up.vrt")
    virtual(tmp_path / "gone.vrt", "missing.tif")
    with serve(tmp_path) as server:
        for name in ("sub/up.vrt", "nested.vrt"):
            np.testing.assert_array_equal(read(f"{server.url}/{name}"), DATA)
        for _ in range(2):
            assert "missing.tif" in refused(f"{server.url}/gone.vrt")


def test_errors_are_heard_whatever_the_settings_of_logging(tmp_path):
    bad = virtual(tmp_path / "bad.vrt", "gone.tif")
    loggers = [logging.getLogger(f"rasterio.{name}") for name in ("_err", "_env")]
    logging.disable(logging.CRITICAL)
    for logger in loggers:
        logger.disabled = True
    try:
        for _ in range(3):
            refused(bad)
    finally:
        logging.disable(logging.NOTSET)
        for logger in loggers:
            logger.disabled = False


def test_what_gdal_says_is_logged_as_the_settings_say(tmp_path, caplog):
    bad = virtual(tmp_path / "bad.vrt", "gone.tif")
    refused(bad)
    refused(bad)
    heard = [record for record in caplog.records if record.name.startswith("rasterio")]
    assert all(record.levelno >= logging.WARNING for record in heard)
    with reported_errors() as errors:
        logging.getLogger("rasterio._env").info(
            "GDAL signalled an error: err_no=%r, msg=%r", 1, "PROJ: utm: Invalid latitude"
        )
        errors.check()  # a place without a position is nodata


SIDECARS = {
    "a.tif.msk": "mask",
    "a.tif.aux.xml": "nodata",
    "a.tif.ovr": "overview",
    "a.tfw": "world file",
}


@pytest.mark.parametrize("kind", SIDECARS.values())
def test_sidecar_files_of_a_local_raster_count(tmp_path, kind):
    data = DATA.copy()
    data[:, :300] = 255
    options = {}
    if kind == "mask":
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False):
            path = write(tmp_path / "a.tif", data=data)
            with rasterio.open(path, "r+") as file:
                file.write_mask(np.where(COL < 300, 0, 255).astype("uint8"))
        expected = np.where(COL < 300, -1, data.astype("int16"))
    elif kind == "nodata":
        path = write(tmp_path / "a.tif", data=data)
        Path(f"{path}.aux.xml").write_text(
            '<PAMDataset><PAMRasterBand band="1"><NoDataValue>255</NoDataValue></PAMRasterBand>'
            "</PAMDataset>"
        )
        expected = np.where(COL < 300, -1, data.astype("int16"))
    elif kind == "overview":
        path = write(tmp_path / "a.tif", data=data)
        with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(path, "r+") as file:
            file.build_overviews([4])
        with rasterio.open(path, overview_level=0) as file:
            expected = file.read(1)
        assert (tmp_path / "a.tif.ovr").exists()
        np.testing.assert_array_equal(read(path, HALF, resampling="bilinear"), expected)
        return
    else:
        path = tmp_path / "a.tif"
        write(path, data=data, TFW="YES", PROFILE="BASELINE")
        Path(f"{path}.aux.xml").unlink(missing_ok=True)
        (tmp_path / "a.tfw").write_text("10\n0\n0\n-10\n600005\n5199995\n")
        options = {"crs": "EPSG:32632"}
        expected = data
    np.testing.assert_array_equal(read(path, **options), expected)


def test_an_envi_raster_is_read_by_its_header_file(tmp_path):
    write(tmp_path / "scene.img", "ENVI")
    assert (tmp_path / "scene.hdr").exists()
    np.testing.assert_array_equal(read(tmp_path / "scene.img"), DATA)
    cut(tmp_path / "scene.img", 0.9)
    assert "cut short" in refused(tmp_path / "scene.img")
