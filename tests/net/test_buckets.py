"""Rasters in buckets on S3, which GDAL asks itself, from a server that stands in for S3."""

import numpy as np
import pytest
import rasterio
from cube_scenes import item, texture, write
from fault_server import serve
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin

from rsscale.cube.load import load
from rsscale.errors import ReadError
from rsscale.net.signing import PROPERTY
from rsscale.read import file_pool as files
from rsscale.read.stage_timer import StageTimer

TRANSFORM = from_origin(500_000, 5_000_000, 10, 10)
BOX = GeoBox((600, 600), TRANSFORM, "EPSG:32631")


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """``s3://bucket/red.tif``, with credentials in the environment and no pauses."""
    (tmp_path / "bucket").mkdir()
    write(tmp_path / "bucket" / "red.tif", texture((600, 600), 1), TRANSFORM, "EPSG:32631")
    with serve(tmp_path) as server:
        for key, value in {
            "AWS_S3_ENDPOINT": server.url.removeprefix("http://"),
            "AWS_HTTPS": "NO",
            "AWS_VIRTUAL_HOSTING": "FALSE",
            "AWS_ACCESS_KEY_ID": "me",
            "AWS_SECRET_ACCESS_KEY": "hunter2",
            "AWS_REGION": "eu-central-1",
            "GDAL_HTTP_RETRY_DELAY": "0.01",
            "CPL_VSIL_CURL_NON_CACHED": "/vsis3/",
        }.items():
            monkeypatch.setenv(key, value)
        files.POOL.close()
        yield server
        files.POOL.close()


def values(sign=None, **options):
    fields = {"raster:bands": [{"data_type": "uint16", "nodata": 0}]}
    one = item("scene", "2023-06-01", {"red": "s3://bucket/red.tif"}, fields=fields)
    if sign:
        one.properties[PROPERTY] = sign
    return load([one], BOX, ["red"], **options).compute(scheduler="synchronous").values[0, 0]


def test_requests_are_signed_with_the_environments_credentials(bucket):
    with rasterio.open(bucket.root / "bucket" / "red.tif") as dataset:
        np.testing.assert_array_equal(values(), dataset.read(1))
    assert all("me/" in headers["Authorization"] for headers in bucket.headers)
    assert not any("x-amz-request-payer" in headers for headers in bucket.headers)


def test_a_file_that_was_replaced_has_another_version(bucket):
    """By its header: as many pixels, of other values."""
    found = []
    for seed in (1, 1, 2):
        data = texture((600, 600), seed)
        write(bucket.root / "bucket" / "red.tif", data, TRANSFORM, "EPSG:32631")
        files.POOL.close()
        meter = StageTimer()
        values(meter=meter)
        ((version,),) = (assets.values() for assets in meter.files.by_item.values())
        found.append(version)
    assert found[0] == found[1] != found[2]


def test_the_version_of_a_file_costs_no_request(bucket, monkeypatch):
    values()
    with_version = len(bucket.requests)
    files.POOL.close()
    monkeypatch.setattr(files, "header_version", lambda _: "not asked")
    values()
    assert len(bucket.requests) == 2 * with_version


def test_the_reader_may_pay(bucket):
    values("aws-requester-pays")
    assert all(headers["x-amz-request-payer"] == "requester" for headers in bucket.headers)


def test_public_buckets_need_no_credentials(bucket):
    values("aws-anonymous")
    assert bucket.headers
    assert not any("Authorization" in headers for headers in bucket.headers)


def test_faults_that_pass_are_retried(bucket):
    expected = values()
    files.POOL.close()
    bucket.script = [503, 500, 429, None, 503]
    np.testing.assert_array_equal(values(), expected)
    assert bucket.script == []


def test_faults_that_stay_are_named_without_secrets(bucket):
    bucket.always = 403
    with pytest.raises(ReadError, match=r"item 'scene', asset 'red': s3://bucket/red\.tif") as told:
        values()
    assert "hunter2" not in str(told.value)
