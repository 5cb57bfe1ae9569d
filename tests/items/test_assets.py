"""When an item was taken, by the sun over it."""

import datetime as dt

import numpy as np
import pystac
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from rsscale.errors import ItemError
from rsscale.items import assets

FIJI = shapely.MultiPolygon([shapely.box(177, -20, 180, -12), shapely.box(-180, -20, -178, -12)])


def made(when, geometry=None, bbox=None, **properties):
    shape = None if geometry is None else shapely.geometry.mapping(geometry)
    return pystac.Item("i", shape, bbox, dt.datetime.fromisoformat(when), properties)


def at(lon):
    return shapely.box(lon - 0.5, 10, lon + 0.5, 11)


@pytest.mark.parametrize(
    ("when", "lon", "day"),
    [
        ("2024-03-01T10:30:00+00:00", 0, "2024-03-01"),
        ("2024-03-01T00:30:00+00:00", 150, "2024-03-01"),  # 10:30
        ("2024-02-29T23:50:00+00:00", 160, "2024-03-01"),  # 10:30 of the next day
        ("2024-03-01T00:10:00+00:00", -150, "2024-02-29"),  # 14:10 of the day before
        ("2024-03-01T23:59:59+00:00", -120, "2024-03-01"),
        ("2024-03-01T12:00:00+00:00", 179.4, "2024-03-01"),  # 23:57:36
        ("2024-03-01T12:03:00+00:00", 179.4, "2024-03-02"),  # 00:00:36
        ("2024-03-01T14:30:00+02:00", 0, "2024-03-01"),
        ("2024-02-29T23:30:00-02:00", 0, "2024-03-01"),  # 01:30 UTC
        ("1969-12-31T23:50:00+00:00", 0, "1969-12-31"),
        ("1969-12-31T23:50:00+00:00", 15, "1970-01-01"),
    ],
)
def test_solar_day(when, lon, day):
    found = assets.solar_day(made(when, at(lon)))
    assert found == np.datetime64(day)
    assert found.dtype == np.dtype("datetime64[D]")


def test_both_halves_of_a_pass_over_the_antimeridian_share_a_day():
    """Fiji at 10:15 local time, which is 22:20 UTC of the day before."""
    when = "2024-02-29T22:20:00+00:00"
    west, east = at(178.5), at(-179.4)
    # To the east the date line has turned: the sun's day is that of UTC.
    assert assets.solar_day(made(when, west)) == np.datetime64("2024-03-01")
    assert assets.solar_day(made(when, east)) == np.datetime64("2024-02-29")
    for form in (
        made(when, FIJI),
        made(when, shapely.box(177, -20, 182, -12)),
        made(when, shapely.Polygon([(177, -20), (-178, -20), (-178, -12), (177, -12)])),
        made(when, bbox=[177, -20, -178, -12]),
    ):
        assert assets.solar_day(form) == np.datetime64("2024-03-01")  # its middle is 179.5 E


def test_from_the_rasters_where_there_is_no_footprint():
    projected = {
        "proj:code": "EPSG:32756", "proj:shape": [1000, 1000],
        "proj:transform": [10, 0, 500_000, 0, -10, 7_000_000],
    }  # fmt: skip
    item = made("2024-02-29T23:50:00+00:00", **projected)
    assert assets.solar_day(item) == np.datetime64("2024-02-29")  # no asset, so no raster
    item.add_asset("red", pystac.Asset("a.tif"))
    assert assets.solar_day(item) == np.datetime64("2024-03-01")  # 153 degrees
    item.properties.pop("proj:code")
    assert assets.solar_day(item) == np.datetime64("2024-02-29")


def test_a_range_counts_from_its_start():
    span = {"start_datetime": "2024-02-29T23:00:00Z", "end_datetime": "2024-03-31T00:00:00Z"}
    item = pystac.Item("i", None, [150, 0, 151, 1], None, span)
    assert assets.solar_day(item) == np.datetime64("2024-03-01")
    item.properties["start_datetime"] = None
    with pytest.raises(ItemError, match="neither datetime nor start_datetime"):
        assets.solar_day(item)


@given(
    lon=st.floats(-179, 179),
    when=st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2040, 1, 1)),  # noqa: DTZ001 -- UTC
)
def test_noon_by_the_sun_is_in_the_middle_of_its_day(lon, when):
    noon = when.replace(hour=12, minute=0, second=0, microsecond=0)
    utc = noon - dt.timedelta(hours=lon / 15)
    item = made(utc.isoformat() + "+00:00", at(lon) if abs(lon) < 179 else None, [lon, 0, lon, 1])
    assert assets.solar_day(item) == np.datetime64(noon.date())


def test_own_crs_in_any_form_stands_before_the_items():
    item = made("2024-01-01T00:00:00+00:00", **{"proj:code": "EPSG:4326"})
    asset = pystac.Asset("a.tif", extra_fields={"proj:epsg": 32631})
    item.add_asset("red", asset)
    assert assets.crs(item, asset) == "EPSG:32631"
    assert assets.crs(item, pystac.Asset("b.tif")) == "EPSG:4326"


def test_a_preview_has_not_the_items_transform():
    item = made("2024-01-01T00:00:00+00:00", **{
        "proj:code": "EPSG:32631", "proj:shape": [100, 100],
        "proj:transform": [10, 0, 0, 0, -10, 0]})  # fmt: skip
    preview = pystac.Asset("p.tif", extra_fields={"proj:shape": [10, 10]})
    band = pystac.Asset("b.tif", extra_fields={"proj:shape": [100, 100]})
    assert assets.projection(item, preview, "transform") is None
    assert assets.projection(item, preview, "shape") == [10, 10]
    assert assets.projection(item, band, "transform") == [10, 0, 0, 0, -10, 0]
    assert assets.projection(item, pystac.Asset("c.tif"), "shape") == [100, 100]
