"""Bands by every name that catalogues give them."""

import pystac
import pytest
from cube_scenes import item

from rsscale.errors import BandError
from rsscale.items import assets
from rsscale.items.bands import described, find_assets, is_code, names


def made(files, **fields):
    """An item of ``{key: (media type, fields)}``."""
    one = item("i", "2024-01-01", {}, **fields)
    for key, (kind, extra) in files.items():
        one.add_asset(key, pystac.Asset(f"{key}.tif", media_type=kind, extra_fields=extra))
    return one


TIFF, JP2, JPEG = "image/tiff; application=geotiff", "image/jp2", "image/jpeg"
EO = {"eo:bands": [{"name": "B04", "common_name": "red"}]}
STAC_1_1 = {"bands": [{"name": "B08", "eo:common_name": "nir"}]}
THREE = {"eo:bands": [{"name": "B04"}, {"name": "B03"}, {"name": "B02"}]}


@pytest.mark.parametrize(
    ("asked", "key"),
    [
        ("B04", "B04"), ("red", "B04"), ("RED", "B04"), ("b04", "B04"),
        ("nir", "near"), ("B08", "near"), ("NIR", "near"), ("blue", "b2"),
        ("scl", "SCL"), ("Scl", "SCL"), ("qa_pixel", "QA_PIXEL.TIF"), ("fmask", "oa_fmask"),
        ("preview", None), ("visual2", None),
    ],
)  # fmt: skip
def test_by_name(asked, key):
    one = made(
        {
            "B04": (TIFF, EO),
            "near": (TIFF, STAC_1_1),
            "b2": (TIFF, {"eo:common_name": "blue", "bands": [{"name": "b2"}]}),
            "SCL": (TIFF, {}),
            "QA_PIXEL.TIF": (TIFF, {}),
            "oa_fmask": (TIFF, {}),
            "Preview": (JPEG, {}),
            "visual": (TIFF, THREE),
        }
    )
    assert find_assets(one, [asked, "B04"]) == [key, "B04"]


def test_exact_names_stand_before_others():
    one = made({"scl": (TIFF, {}), "SCL": (TIFF, {}), "Red": (TIFF, {}), "r": (TIFF, EO)})
    assert find_assets(one, ["scl", "SCL", "Red", "red"]) == ["scl", "SCL", "Red", "r"]


def test_two_that_differ_only_in_case_are_no_answer():
    one = made({"SCL": (TIFF, {}), "Scl": (TIFF, {})})
    with pytest.raises(BandError, match=r"'scl' fits several assets of item 'i': SCL, Scl; use"):
        find_assets(one, ["scl"])


def test_copies_are_one_band():
    one = made({"red": (TIFF, EO), "red-jp2": (JP2, EO), "SCL-jp2": (JP2, {}), "SCL": (TIFF, {})})
    assert find_assets(one, ["B04", "scl"]) == ["red", "SCL"]


def test_the_finest_resolution_is_meant():
    red = {"bands": [{"name": "B04", "eo:common_name": "red"}]}
    files = {f"B04_{m}m": (JP2, red) for m in (60, 10, 20)}
    files |= {f"SCL_{m}m": (JP2, {}) for m in (60, 20)}
    one = made(files)
    assert find_assets(one, ["red", "scl", "B04_60m"]) == ["B04_10m", "SCL_20m", "B04_60m"]


def test_a_file_of_several_bands_is_refused():
    one = made({"visual": (TIFF, THREE)})
    with pytest.raises(BandError, match=r"'visual' of item 'i' holds 3 bands"):
        find_assets(one, ["visual"])


def test_bands_by_index_before_stac_1():
    listed = [{"name": "SR_B1"}, {"name": "SR_B4", "common_name": "red"}]
    one = made({"SR_B4.TIF": (TIFF, {"eo:bands": [1]})}, **{"eo:bands": listed})
    assert names("SR_B4.TIF", one) == {"SR_B4.TIF", "SR_B4", "red"}
    for broken in ([7], [None], ["x"]):
        one.assets["SR_B4.TIF"].extra_fields["eo:bands"] = broken
        assert names("SR_B4.TIF", one) == {"SR_B4.TIF"}


def test_dialects_are_merged_by_position():
    extra = {"eo:bands": [{"name": "a"}, {"name": "b"}], "raster:bands": [{"nodata": 0}]}
    one = made({"x": (TIFF, extra)})
    assert described(one.assets["x"]) == [{"name": "a", "nodata": 0}, {"name": "b"}]


@pytest.mark.parametrize(
    ("name", "codes"),
    [("SCL", True), ("SCL_20m", True), ("QA_PIXEL.TIF", True), ("oa_fmask", True),
     ("scl-jp2", True), ("B04", False), ("oa_solar_zenith", False)],
)  # fmt: skip
def test_codes_by_any_spelling(name, codes):
    assert is_code(name) is codes
    assert assets.is_categorical(name, pystac.Asset("a.tif")) is codes


def test_a_band_that_some_items_lack_is_named():
    one, other = made({"SCL": (TIFF, {})}), made({"B04": (TIFF, EO)})
    with pytest.raises(BandError, match="has no asset 'scl', but other items do"):
        assets.choose_assets([one, other], ["scl"])
    with pytest.raises(BandError, match="there are B04, red, SCL; did you mean 'red'"):
        assets.choose_assets([other, one], ["redd"])
