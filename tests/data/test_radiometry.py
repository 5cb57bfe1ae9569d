import json
from pathlib import Path

import dask.array as da
import numpy as np
import pystac
import pytest
import xarray as xr
from cube_scenes import item

from rsscale.data.radiometry import (
    is_sentinel2,
    known_nodata,
    known_type,
    scale_offset,
    to_reflectance,
)

S2 = {"constellation": "sentinel-2"}
WRITTEN = {"raster:bands": [{"scale": 0.0001, "offset": -0.1, "nodata": 0}]}


def s2(fields=None, name="S2A_31TCH_20240101", key="red", **properties):
    return item(name, "2024-01-01", {key: "a.tif"}, fields=fields, **S2 | properties)


def baseline(number):
    return {"s2:processing_baseline": number}


@pytest.mark.parametrize(
    ("what", "made", "expected"),
    [
        ("raster:bands", s2(WRITTEN), (1e-4, -0.1)),
        ("raster:bands win over the baseline", s2(WRITTEN, **baseline("02.12")), (1e-4, -0.1)),
        (
            "a written offset of zero is a statement",
            s2({"raster:bands": [{"scale": 1e-4, "offset": 0}]}, **baseline("05.10")),
            (1e-4, 0.0),
        ),
        (
            "STAC 1.1 bands",
            s2({"bands": [{"raster:scale": 2e-4, "raster:offset": -0.2}]}),
            (2e-4, -0.2),
        ),
        ("asset level", s2({"raster:scale": 1e-4, "raster:offset": -0.1}), (1e-4, -0.1)),
        ("no metadata, new", s2(**baseline("04.00")), (1e-4, -0.1)),
        ("no metadata, reprocessed", s2(**baseline("05.00")), (1e-4, -0.1)),
        ("no metadata, old", s2(**baseline("03.01")), (1e-4, 0.0)),
        ("no metadata, no baseline", s2(), (1e-4, 0.0)),
        ("scale only", s2({"raster:bands": [{"scale": 1e-4}]}, **baseline("05.09")), (1e-4, -0.1)),
        ("processing:version", s2(**{"processing:version": "05.11"}), (1e-4, -0.1)),
        (
            "baseline in the product's name",
            s2(name="S2A_MSIL2A_20220101T0_N0400_R051_T31TCH_20220101T1"),
            (1e-4, -0.1),
        ),
        (
            "older product name",
            s2(name="S2A_MSIL2A_20220101T0_N0301_R051_T31TCH_20220101T1"),
            (1e-4, 0.0),
        ),
        (
            "Earth Search has applied it, whatever the asset says",
            s2(WRITTEN, **baseline("05.09"), **{"earthsearch:boa_offset_applied": True}),
            (1e-4, 0.0),
        ),
        (
            "applied and no metadata",
            s2(**baseline("04.00"), **{"earthsearch:boa_offset_applied": True}),
            (1e-4, 0.0),
        ),
        (
            "not applied: the asset decides",
            s2(WRITTEN, **baseline("04.00"), **{"earthsearch:boa_offset_applied": False}),
            (1e-4, -0.1),
        ),
        (
            "not applied and no metadata: the baseline decides",
            s2(**baseline("04.00"), **{"earthsearch:boa_offset_applied": False}),
            (1e-4, -0.1),
        ),
        ("ESA's band name", s2(key="B8A", **baseline("04.00")), (1e-4, -0.1)),
        ("band name with resolution", s2(key="B02_10m", **baseline("04.00")), (1e-4, -0.1)),
        (
            "a stretched copy",
            s2({"raster:bands": [{"data_type": "uint8"}]}, **baseline("05.00")),
            (1.0, 0.0),
        ),
        ("a quicklook", s2(key="visual", **baseline("05.00")), (1.0, 0.0)),
        ("aerosol", s2(key="AOT", **baseline("05.00")), (0.001, 0.0)),
        ("codes", s2(key="scl", **baseline("05.00")), (1.0, 0.0)),
        ("codes with metadata", s2(WRITTEN, key="scl", **baseline("05.00")), (1.0, 0.0)),
    ],
)  # fmt: skip
def test_sentinel2(what, made, expected):
    key = next(iter(made.assets))
    assert scale_offset(made, key) == pytest.approx(expected, abs=0), what


def test_never_by_date():
    for when in ("2016-06-01", "2026-06-01"):
        for number, offset in (("02.09", 0.0), ("05.00", -0.1)):
            made = item("S2A_x", when, {"red": "a.tif"}, **S2, **baseline(number))
            assert scale_offset(made, "red") == (1e-4, offset)


def test_other_sensors_need_metadata():
    landsat = item("LC08", "2024-01-01", {"red": "a.tif"}, constellation="landsat")
    assert scale_offset(landsat, "red") == (1.0, 0.0)
    written = {"raster:bands": [{"scale": 2.75e-05, "offset": -0.2}]}
    landsat = item("LC08", "2024-01-01", {"red": "a.tif"}, fields=written)
    assert scale_offset(landsat, "red") == (2.75e-05, -0.2)
    assert known_type(landsat, "red") is None
    assert known_nodata(landsat, "red") is None


def test_sentinel2_types_are_known():
    made = s2()
    made.add_asset("scl", pystac.Asset("b.tif"))
    assert known_type(made, "red") == np.dtype("uint16")
    assert known_type(made, "scl") == np.dtype("uint8")
    assert known_nodata(made, "scl") == 0


def test_real_items():
    folder = Path(__file__).resolve().parents[2] / "../shared/data/stac-items"
    if not folder.exists():
        pytest.skip("the real example data (shared/data beside the project) is not here")

    def read(name):
        return pystac.Item.from_dict(json.loads((folder / name).read_text()))

    earth_search = read("S2A_28QCH_20200714_0_L2A.json")
    assert is_sentinel2(earth_search)
    assert scale_offset(earth_search, "B04") == (1e-4, 0.0)
    planetary = read("S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531.json")
    assert scale_offset(planetary, "B04") == (1e-4, 0.0)  # baseline 02.12
    assert scale_offset(planetary, "SCL") == (1.0, 0.0)
    planetary.properties["s2:processing_baseline"] = "05.10"
    assert scale_offset(planetary, "B04") == (1e-4, -0.1)
    landsat = read("LC08_L2SP_028030_20200114_20200824_02_T1_SR.json")
    assert not is_sentinel2(landsat)
    assert scale_offset(landsat, "red") == (0.0000275, -0.2)


def test_to_reflectance_is_lazy_and_keeps_codes():
    numbers = np.array([[[[0, 1000, 11000]], [[4, 0, 9]]]], "uint16")  # (1, 2, 1, 3)
    cube = xr.DataArray(
        da.from_array(numbers),
        dims=("time", "band", "y", "x"),
        coords={
            "scale": (("time", "band"), np.float32([[1e-4, 1]])),
            "offset": (("time", "band"), np.float32([[-0.1, 0]])),
        },
        attrs={"nodata": 0},
    )
    values = to_reflectance(cube)
    assert values.chunks is not None
    assert values.dtype == "float32"
    expected = [[[[np.nan, 0.0, 1.0]], [[4, np.nan, 9]]]]
    np.testing.assert_allclose(values.values, expected, atol=1e-6)
    np.testing.assert_array_equal(to_reflectance(values).values, values.values)
