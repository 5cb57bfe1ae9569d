"""Bands by every name that catalogues give them."""

import pystac
import pytest
from cube_scenes import item

from rsscale.errors import BandError, RecipeError
from rsscale.items import assets
from rsscale.items.bands import (
    band_requests,
    described,
    find_bands,
    is_code,
    names,
    natural_colours,
    natural_colours_of,
)  # fmt: skip


def find_assets(one, asked):
    """Keys of the assets of one band that are meant."""
    found = find_bands(one, band_requests(asked))
    assert all(place is None or place.index is None for place in found)
    return [place and place.key for place in found]


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


# Several bands in one file

RGBN = ["red", "green", "blue", "nir"]
EO_FOUR = {"eo:bands": [{"name": n.title(), "common_name": n} for n in RGBN]}
STAC_FOUR = {"bands": [{"name": f"b{k}", "eo:common_name": n} for k, n in enumerate(RGBN, 1)]}
RASTER_FOUR = {"raster:bands": [{"name": n, "nodata": k} for k, n in enumerate(RGBN)]}


def places(one, asked):
    """Key, number and listed bands of each; None where there is none."""
    found = find_bands(one, band_requests(asked))
    return [place and (place.key, place.index, place.count) for place in found]


@pytest.mark.parametrize("fields", [EO_FOUR, STAC_FOUR, RASTER_FOUR])
def test_bands_of_one_file_by_name_and_by_number(fields):
    one = made({"image": (TIFF, {**fields, "roles": ["data"]}), "thumbnail": (JPEG, {})})
    asked = ["nir", "red", "image.2", "image.blue", "NIR"]
    expected = [("image", k, 4) for k in (4, 1, 2, 3, 4)]
    assert places(one, asked) == expected
    with pytest.raises(BandError, match=r"holds 4 bands in one file: red, green, blue, nir; name"):
        places(one, ["image"])
    with pytest.raises(BandError, match=r"band 5 of asset 'image' .* the item lists 4: red"):
        places(one, ["image.5"])
    assert places(one, ["image.0", "swir", "image.swir", "other.1"]) == [None] * 4


def test_a_file_whose_item_lists_no_bands_is_asked_by_number():
    one = made({"image": (TIFF, {}), "QA.TIF": (TIFF, {})})
    assert places(one, ["image.4", "QA.TIF", "QA.TIF.2"]) == [
        ("image", 4, None),
        ("QA.TIF", None, None),
        ("QA.TIF", 2, None),
    ]


def test_a_picture_of_the_data_is_read_only_where_it_is_named():
    visual = {"eo:bands": [{"name": n, "common_name": n} for n in RGBN[:3]]}
    one = made({"visual": (TIFF, visual), "nir": (TIFF, STAC_1_1)})
    assert places(one, ["red", "visual.red", "visual.3", "nir"]) == [
        None,
        ("visual", 1, 3),
        ("visual", 3, 3),
        ("nir", None, None),
    ]
    shown = {**visual, "roles": ["overview"]}
    assert places(made({"tci": (TIFF, shown), "nir": (TIFF, STAC_1_1)}), ["red"]) == [None]
    # Where there is nothing else it is the data, as in archives of drone imagery.
    assert places(made({"visual": (TIFF, visual)}), ["red"]) == [("visual", 1, 3)]


def test_a_file_of_its_own_stands_before_a_band_of_a_file():
    one = made({"stack": (TIFF, EO_FOUR), "B04": (TIFF, EO)})
    assert places(one, ["red", "nir"]) == [("B04", None, None), ("stack", 4, 4)]


def test_names_that_fit_several_bands_are_no_answer():
    many = {"bands": [{"name": f"{wave} nm", "eo:common_name": "nir"} for wave in range(760, 900)]}
    one = made({"cube": (TIFF, many)})
    with pytest.raises(BandError, match=r"'nir' fits several bands of item 'i': cube\.1, cube\.2"):
        places(one, ["nir"])
    assert places(one, ["800 nm", "cube.140"]) == [("cube", 41, 140), ("cube", 140, 140)]
    two = made({"a": (TIFF, EO_FOUR), "b": (TIFF, EO_FOUR)})
    with pytest.raises(BandError, match=r"several bands of item 'i': a\.4, b\.4"):
        places(two, ["nir"])


def test_a_name_is_never_taken_from_a_picture_for_some_of_the_items():
    visual = {"eo:bands": [{"name": n, "common_name": n} for n in RGBN[:3]]}
    whole, only = made({"B04": (TIFF, EO)}), made({"visual": (TIFF, visual)})
    with pytest.raises(BandError, match="a file of its own in item 'i' and one of several"):
        assets.choose_assets([whole, only], ["red"])


def test_fields_are_those_of_the_band():
    bands = [
        {"name": "a", "data_type": "uint8", "nodata": 0, "raster:scale": 2},
        {"name": "clear", "data_type": "uint16", "nodata": 9, "classification:classes": []},
    ]
    one = made({"x": (TIFF, {"bands": bands})})
    asset = one.assets["x"]
    assert [assets.nodata(one, "x", k) for k in (1, 2)] == [0, 9]
    assert [assets.data_type(one, asset, k) for k in (1, 2)] == ["uint8", "uint16"]
    assert [assets.is_categorical("x", asset, k) for k in (1, 2)] == [False, True]
    assert [assets.field(one, asset, "scale", k) for k in (1, 2, 3)] == [2, None, None]


# Names that differ from collection to collection


def of_collection(name, *keys):
    one = made({key: (TIFF, {}) for key in keys})
    one.collection_id = name
    return one


LANDSAT = of_collection("HLSL30_2.0", "B04", "B05", "Fmask")
SENTINEL = of_collection("HLSS30_2.0", "B04", "B05", "B8A", "Fmask")
NIR = {"nir": {"HLSL30_2.0": "B05", "HLSS30_2.0": "B8A"}}


@pytest.mark.parametrize("bands", [["B04", NIR], {"B04": "B04", **NIR}])
def test_names_by_collection(bands):
    chosen = assets.choose_assets([LANDSAT, SENTINEL], bands)
    assert chosen.bands == ("B04", "nir")
    pair = chosen.items, chosen.places
    keys = {i.collection_id: [p.key for p in row] for i, row in zip(*pair, strict=True)}
    assert keys == {"HLSL30_2.0": ["B04", "B05"], "HLSS30_2.0": ["B04", "B8A"]}


def test_a_band_of_another_name_says_how_it_is_named():
    for other, keys in (("…", ["B05"]), ("SR5", ["SR5"]), ("…", ["SR5", "SR6"])):
        landsat = of_collection("HLSL30_2.0", "B04", *keys)
        with pytest.raises(BandError) as caught:
            assets.choose_assets([landsat, SENTINEL], ["B04", "B8A"])
        pair = f"names: {{B8A: {{HLSL30_2.0: {other}, HLSS30_2.0: B8A}}}}"
        assert pair in str(caught.value)
    assert "of their own they have SR5, SR6" in str(caught.value)
    named = [{"B8A": {"HLSL30_2.0": "B05", "HLSS30_2.0": "B8A"}}]
    assert assets.choose_assets([LANDSAT, SENTINEL], named).bands == ("B8A",)
    whole, part = made({"B04": (TIFF, {}), "nir": (TIFF, {})}), made({"B04": (TIFF, {})})
    with pytest.raises(BandError, match=r"\(names: \{nir: \[nir, …\]\}\)"):
        assets.choose_assets([whole, part], ["nir"])


def test_one_of_several_names_must_be_the_only_one():
    """Band 5 of Sentinel-2 is red edge, of Landsat near infrared."""
    with pytest.raises(BandError, match=r"has 'B05' and 'B8A'.*say which by collection"):
        assets.choose_assets([LANDSAT, SENTINEL], [{"nir": ["B05", "B8A"]}])
    chosen = assets.choose_assets([LANDSAT, SENTINEL], [{"quality": ["Fmask", "QA"]}])
    assert {p.key for row in chosen.places for p in row} == {"Fmask"}


@pytest.mark.parametrize(
    "bands", ["red", 3, [3], [{"nir": 3}], [{"nir": {}}], [{"nir": {"c": ["a"]}}], [{"nir": []}]]
)
def test_bands_in_no_known_form(bands):
    with pytest.raises(RecipeError, match="expected a"):
        band_requests(bands)


def test_items_that_lack_a_band_can_be_left_out():
    whole, part = made({"B04": (TIFF, {}), "SCL": (TIFF, {})}), made({"B04": (TIFF, {})})
    kept, lacking = assets.with_all_bands([part, whole, part], ["B04", "scl"])
    assert (kept, lacking) == ([whole], [part, part])
    with pytest.raises(BandError, match="no item has band 'nir'"):
        assets.with_all_bands([part, whole], ["B04", "nir"])
    other = made({"SCL": (TIFF, {})})
    with pytest.raises(BandError, match="no item has all of the bands B04, scl"):
        assets.with_all_bands([part, other], ["B04", "scl"])


@pytest.mark.parametrize(
    ("bands", "natural"),
    [
        (("blue", "green", "red", "nir"), ("red", "green", "blue")),
        (("B02", "B03", "B04", "B08"), ("B04", "B03", "B02")),
        (("b", "g", "r"), ("r", "g", "b")),
        (("B1", "B2", "B3", "B4"), None),  # of Landsat 7 and 8 these are other colours
        (("nir", "red", "green"), None),
    ],
)
def test_natural_colours_are_known_by_name_or_not_at_all(bands, natural):
    assert natural_colours(bands) == natural


@pytest.mark.parametrize(
    ("colours", "natural"),
    [
        (("blue", "green", "red"), ("SR_B3", "SR_B2", "SR_B1")),  # Landsat 7
        (("coastal", "blue", "green", "red"), ("SR_B4", "SR_B3", "SR_B2")),  # Landsat 8
        (("blue", "green", "nir"), None),
    ],
)
def test_natural_colours_as_an_item_describes_its_bands(colours, natural):
    files = {f"sr{n}": (TIFF, {"bands": [{"eo:common_name": c}]}) for n, c in enumerate(colours, 1)}
    bands = [{f"SR_B{n}": f"sr{n}"} for n in range(1, len(colours) + 1)]
    assert natural_colours_of(made(files), bands) == natural
    assert natural_colours_of(made({"SR_B1": (TIFF, {})}), ["SR_B1", "SR_B2", "SR_B3"]) is None
