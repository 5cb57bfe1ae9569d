import dask.array as da
import numpy as np
import pystac
import pytest
import xarray as xr
from cube_scenes import item

from rsscale.items.radiometry import (
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
        (
            "Earth Search v0: the baseline stands in the product's name",
            s2(key="B04", **{"sentinel:product_id": "S2A_MSIL2A_20220302_N0400_R010_T20HNG_2022"}),
            (1e-4, -0.1),
        ),
        (
            "Earth Search v0, applied",
            s2(key="B04", **{"sentinel:processing_baseline": "04.00",
                             "sentinel:boa_offset_applied": True}),
            (1e-4, 0.0),
        ),
        (
            "the property stands before the name",
            s2(name="S2A_MSIL2A_20220101T0_N0301_R051_T31TCH_20220101T1", **baseline("05.10")),
            (1e-4, -0.1),
        ),
        (
            "the datatake's name",
            s2(**{"s2:datatake_id": "GS2B_20190629T212529_012081_N05.00"}),
            (1e-4, -0.1),
        ),
        (
            "applied, and the asset says zero",
            s2({"raster:bands": [{"scale": 1e-4, "offset": 0}]}, **baseline("05.09"),
               **{"earthsearch:boa_offset_applied": True}),
            (1e-4, 0.0),
        ),
        (
            "not applied, and the asset says zero, and the baseline is new",
            s2({"raster:bands": [{"scale": 1e-4, "offset": 0}]}, **baseline("05.09"),
               **{"earthsearch:boa_offset_applied": False}),
            (1e-4, 0.0),
        ),
        (
            "STAC 1.1 on the asset against an old baseline",
            s2({"raster:scale": 1e-4, "raster:offset": -0.1}, **baseline("02.12")),
            (1e-4, -0.1),
        ),
        (
            "STAC 1.1 on the asset against a band object: the band",
            s2({"raster:offset": 0.5, "bands": [{"name": "B04", "raster:offset": -0.1}]}),
            (1e-4, -0.1),
        ),
        (
            "the specification's offset belongs to its scale",
            s2({"raster:bands": [{"scale": 2e-4}]}, **baseline("05.00")),
            (2e-4, 0.0),
        ),
        (
            "reflectance in floats",
            s2({"raster:bands": [{"data_type": "float32"}]}, **baseline("05.00")),
            (1.0, 0.0),
        ),
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


def test_others_need_metadata():
    other = item("X", "2024-01-01", {"red": "a.tif"}, constellation="spot")
    assert scale_offset(other, "red") == (1.0, 0.0)
    assert known_type(other, "red") is None
    assert known_nodata(other, "red") is None
    written = {"raster:bands": [{"scale": 0.5, "offset": -0.25}]}
    other = item("X", "2024-01-01", {"red": "a.tif"}, fields=written)
    assert scale_offset(other, "red") == (0.5, -0.25)


LANDSAT = "LC08_L2SP_028030_20200114_20200824_02_T1"
SR, ST, RAW = (0.0000275, -0.2), (0.00341802, 149.0), (1.0, 0.0)
LEVEL_2 = {"landsat:collection_number": "02", "landsat:correction": "L2SP"}


def landsat(key="red", href="a.tif", name=LANDSAT, fields=None, **properties):
    return item(name, "2020-01-14", {key: href}, fields=fields, **properties)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (landsat(), SR),
        (landsat("SR_B4"), SR),
        (landsat("SR_B4.TIF"), SR),
        (landsat("nir08"), SR),
        (landsat("lwir11"), ST),
        (landsat("lwir"), ST),
        (landsat("ST_B10"), ST),
        (landsat("ST_B6.TIF"), ST),
        (landsat(name="LC08_L2SP_028030_20200114_02_T1"), SR),  # Planetary Computer's ids
        (landsat(name="LE07_L2SR_044033_20210329_20210424_02_T2_SR"), SR),
        (landsat(name="x", **LEVEL_2), SR),
        (landsat(name="x", **LEVEL_2 | {"landsat:collection_number": 2}), SR),
        (landsat(name="x", **{"landsat:product_id": LANDSAT}), SR),
        # The file tells what the key does not: B6 is thermal before Landsat 8.
        (landsat("B6", f"/vsis3/b/{LANDSAT}_ST_B6.TIF"), ST),
        (landsat("B6", f"https://h/{LANDSAT}_SR_B6.TIF?sig=x"), SR),
        (landsat("blue", f"s3://b/{LANDSAT}_SR_B2_small.TIF"), SR),
        # Quality and auxiliary layers, and what is not of Level 2 or not of Collection 2.
        (landsat("qa_pixel", f"s3://b/{LANDSAT}_QA_PIXEL.TIF"), RAW),
        (landsat("qa_aerosol", f"s3://b/{LANDSAT}_SR_QA_AEROSOL.TIF"), RAW),
        (landsat("SR_QA_AEROSOL"), RAW),
        (landsat("atmos_opacity", f"s3://b/{LANDSAT}_SR_ATMOS_OPACITY.TIF"), RAW),
        (landsat("emis"), RAW),
        (landsat("pan"), RAW),
        (landsat(name="LC08_L1TP_028030_20200114_20200824_02_T1"), RAW),
        (landsat(name="LC08_L1TP_028030_20200114_20200824_02_T1",
                 **LEVEL_2 | {"landsat:correction": "L1TP"}), RAW),
        (landsat(name="LC08_L2SP_028030_20200114_20200824_01_T1"), RAW),
        (landsat(name="x", **LEVEL_2 | {"landsat:collection_number": "01"}), RAW),
        # What is written counts; the offset of the specification only with its scale.
        (landsat(fields={"raster:bands": [{"scale": 0.0000275, "offset": -0.2}]}), SR),
        (landsat(fields={"raster:bands": [{"scale": 0.0000275}]}), SR),
        (landsat(fields={"raster:bands": [{"scale": 0.0001}]}), (0.0001, 0.0)),
        (landsat(fields={"raster:bands": [{"offset": -0.1}]}), (0.0000275, -0.1)),
        (landsat(fields={"raster:bands": [{"data_type": "float32"}]}), RAW),
    ],
)  # fmt: skip
def test_landsat(made, expected):
    key = next(iter(made.assets))
    assert scale_offset(made, key) == expected
    assert not is_sentinel2(made)
    known = expected in (SR, ST)
    if "raster:bands" not in made.assets[key].extra_fields:
        assert known_type(made, key) == (np.dtype("uint16") if known else None)
        assert known_nodata(made, key) == (0 if known else None)


@pytest.mark.parametrize("collection", ["landsat-c2-l2", "landsat-c2l2-sr", "landsat-c2ard-sr"])
def test_landsat_by_its_collection(collection):
    made = landsat(name="x")
    assert scale_offset(made, "red") == RAW
    made.collection_id = collection
    assert scale_offset(made, "red") == SR
    made.collection_id = "landsat-c2-l1"
    assert scale_offset(made, "red") == RAW


@pytest.mark.parametrize(
    ("product", "key", "expected"),
    [
        ("ga_ls8c_ard_3", "nbart_red", (0.0001, 0.0, "int16", -999)),
        ("ga_ls5t_ard_3", "nbar_swir_1", (0.0001, 0.0, "int16", -999)),
        ("ga_s2am_ard_3", "nbart_nir_1", (0.0001, 0.0, "int16", -999)),
        ("ga_ls8c_ard_3", "oa_fmask", None),
        ("ga_ls8c_ard_3", "oa_nbart_contiguity", None),
        ("ga_ls8c_ard_3", "oa_solar_zenith", None),
        ("ga_ls8c_fc_3", "nbart_red", None),
    ],
)
def test_digital_earth_australia(product, key, expected):
    # Sentinel-2's platform does not make it ESA's product.
    made = item("uuid", "2024-01-01", {key: "a.tif"}, platform="sentinel-2a", **{
        "odc:product": product, "s2:processing_baseline": "05.00"})  # fmt: skip
    if expected is None:
        assert scale_offset(made, key) == RAW
        assert known_nodata(made, key) is None
    else:
        assert (
            *scale_offset(made, key),
            known_type(made, key),
            known_nodata(made, key),
        ) == expected
    by_collection = item("uuid", "2024-01-01", {key: "a.tif"})
    by_collection.collection_id = product
    assert scale_offset(by_collection, key) == scale_offset(made, key)


def test_hls_is_no_sentinel2():
    for name, key, scale in (
        ("HLS.S30.T13TGF.2020191T172901.v2.0", "B04", 0.0001),
        ("HLS.S30.T13TGF.2020191T172901.v2.0", "B8A", 0.0001),
        ("HLS.L30.T13TGF.2020191T172901.v2.0", "B05", 0.0001),
        ("HLS.L30.T13TGF.2020191T172901.v2.0", "B10", 1.0),  # brightness temperature
        ("HLS.S30.T13TGF.2020191T172901.v2.0", "Fmask", 1.0),
    ):
        made = item(name, "2024-01-01", {key: "a.tif"}, platform="sentinel-2a")
        assert not is_sentinel2(made)
        assert scale_offset(made, key) == (scale, 0.0)
        assert known_nodata(made, key) == (-9999 if scale < 1 else None)


def test_sentinel2_types_are_known():
    made = s2()
    made.add_asset("scl", pystac.Asset("b.tif"))
    assert known_type(made, "red") == np.dtype("uint16")
    assert known_type(made, "scl") == np.dtype("uint8")
    assert known_nodata(made, "scl") == 0


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
