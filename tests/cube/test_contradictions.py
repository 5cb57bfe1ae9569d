"""What an item says, against its footprint and against its file."""

import logging
import re

import numpy as np
import pytest
from affine import Affine
from cube_scenes import item, write
from odc.geo.geobox import GeoBox
from rasterio.crs import CRS

from rsscale.composites.composite import composite
from rsscale.cube.load import load
from rsscale.cube.masks import mask
from rsscale.errors import ItemError, ReadError, RecipeError
from rsscale.items.item_index import ItemIndex

HEIGHT, WIDTH = 100, 140
PLACE = Affine(10, 0, 600_000, 0, -10, 5_200_000)
BOX = GeoBox((HEIGHT, WIDTH), PLACE, "EPSG:32632")
FOOTPRINT = BOX.extent.to_crs("EPSG:4326")
RAMP = (np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 5000 + 1000).astype("uint16")
TRUE = {
    "proj:code": "EPSG:32632",
    "proj:transform": list(PLACE)[:6],
    "proj:shape": [HEIGHT, WIDTH],
}


def scene(path, key="red", name="i", when="2023-06-15", fields=None, **properties):
    """An item of one file, with a true footprint."""
    made = item(name, when, {key: path}, fields=fields, **properties)
    made.geometry, made.bbox = FOOTPRINT.json, list(FOOTPRINT.boundingbox.bbox)
    return made


def raster(tmp_path, data=RAMP, name="a.tif", crs="EPSG:32632", nodata=None, transform=PLACE):
    return write(tmp_path / name, data, transform, crs, nodata=nodata, tiled=False)


def tiles_of(*items, columns=4):
    """Which quarters of the scene, from west to east, an index finds items for."""
    index = ItemIndex(items, "EPSG:32632", ["red"])
    step = WIDTH // columns
    boxes = [BOX[:, n * step : (n + 1) * step] for n in range(columns)]
    days = np.datetime64("2023-01-01").item(), np.datetime64("2023-12-31").item()
    return [len(index.touching(box, *days)) for box in boxes], index.notes


GDAL_ORDER = [PLACE.c, PLACE.a, PLACE.b, PLACE.f, PLACE.d, PLACE.e]
DEGREES = list(FOOTPRINT.boundingbox.bbox)
LYING = {
    "the other hemisphere": {"proj:code": "EPSG:32732"},
    "the next zone": {"proj:code": "EPSG:32633"},
    "a bbox in degrees": {"proj:transform": None, "proj:bbox": DEGREES},
    "a geometry in degrees": {"proj:transform": None, "proj:geometry": FOOTPRINT.json},
    "a transform in GDAL's order": {"proj:transform": GDAL_ORDER},
    "a transform in another unit": {"proj:transform": [0.01, 0, 600, 0, -0.01, 5200]},
    "another place": {"proj:transform": [10, 0, 300_000, 0, -10, 5_200_000]},
}
SMALL = {
    "a shape too small": {"proj:shape": [10, 10]},
    "a flipped shape": {"proj:shape": [WIDTH, HEIGHT]},
    "pixels too small": {"proj:transform": [1, 0, 600_000, 0, -1, 5_200_000]},
}


@pytest.mark.parametrize("name", LYING)
def test_an_item_that_contradicts_its_footprint_is_found_and_named(tmp_path, name, caplog):
    lying = scene(raster(tmp_path), **(TRUE | LYING[name]))
    found, notes = tiles_of(lying)
    assert found == [1, 1, 1, 1]
    assert len(notes) == 1
    assert "1 of 1 items" in notes[0]
    assert "'i': asset 'red' lies" in notes[0]
    assert "footprint is [10.3" in notes[0]
    with caplog.at_level(logging.WARNING):
        cube = load([lying], BOX, ["red"])
    assert notes[0] in caplog.text
    np.testing.assert_array_equal(cube.values[0, 0], RAMP)


@pytest.mark.parametrize("name", SMALL)
def test_a_file_that_reaches_beyond_what_its_item_says_is_refused(tmp_path, name):
    lying = scene(raster(tmp_path), **(TRUE | SMALL[name]))
    assert tiles_of(lying) == ([1, 1, 1, 1], ())
    with pytest.raises(ReadError, match=r"'i', asset 'red'.*100 x 140 px in EPSG:32632.*beyond"):
        load([lying], BOX, ["red"]).compute()


@pytest.mark.parametrize(
    "wide", [(-0.002, -0.002, 0.002, 0.002), (0.003, 0.003, -0.003, -0.003), (-0.0005,) * 4]
)
def test_a_coarse_footprint_is_no_contradiction(tmp_path, wide):
    fine = scene(raster(tmp_path), **TRUE)
    fine.geometry = None
    fine.bbox = [edge + more for edge, more in zip(DEGREES, wide, strict=True)]
    found, notes = tiles_of(fine)
    assert (found, notes) == ([1, 1, 1, 1], ())
    np.testing.assert_array_equal(load([fine], BOX, ["red"]).values[0, 0], RAMP)


def test_an_asset_of_larger_pixels_than_its_items_is_none(tmp_path):
    coarse = Affine(20, 0, PLACE.c, 0, -20, PLACE.f)
    path = raster(tmp_path, RAMP[::2, ::2], transform=coarse)
    assert load([scene(path, **TRUE)], BOX, ["red"], resampling={"red": "nearest"}).values.max() > 0


CODES = {
    "EPSG:None": {"proj:code": "EPSG:None"},
    "an empty string": {"proj:code": "", "proj:epsg": None},
    "zero": {"proj:code": None, "proj:epsg": 0},
    "a list": {"proj:code": ["EPSG", 32632]},
    "true": {"proj:epsg": True, "proj:code": "EPSG:?"},
    "no WKT": {"proj:code": None, "proj:wkt2": "PROJCRS[nothing"},
    "no PROJJSON": {"proj:code": "x", "proj:projjson": {"type": "nothing"}},
}


@pytest.mark.parametrize("name", CODES)
def test_a_code_that_is_none_is_passed_over(tmp_path, name):
    wkt = CRS.from_epsg(32632).to_wkt()
    odd = TRUE | CODES[name]
    cube = load([scene(raster(tmp_path), **odd)], BOX, ["red"])
    np.testing.assert_array_equal(cube.values[0, 0], RAMP)
    without = raster(tmp_path, name="b.tif", crs=None)
    with pytest.raises(ReadError, match="no CRS in the file, and the item no proj:code"):
        load([scene(without, **odd)], BOX, ["red"]).compute()
    if "proj:wkt2" not in odd:
        known = load([scene(without, **odd, **{"proj:wkt2": wkt})], BOX, ["red"])
        np.testing.assert_array_equal(known.values[0, 0], RAMP)


@pytest.mark.parametrize("code", [32632, "32632", 32632.0, " EPSG:32632 "])
def test_a_bare_number_is_an_epsg_code(tmp_path, code):
    without = raster(tmp_path, crs=None)
    cube = load([scene(without, **(TRUE | {"proj:code": code}))], BOX, ["red"])
    np.testing.assert_array_equal(cube.values[0, 0], RAMP)


@pytest.mark.parametrize("unit", ["metre", "US survey foot", "unknown"])
def test_a_local_crs_of_a_file_says_nothing(tmp_path, unit):
    local = raster(tmp_path, crs=f'LOCAL_CS["somewhere",UNIT["{unit}",1]]')
    np.testing.assert_array_equal(load([scene(local, **TRUE)], BOX, ["red"]).values[0, 0], RAMP)
    with pytest.raises(ReadError, match="a local CRS in the file, and the item no proj:code"):
        load([scene(local)], BOX, ["red"]).compute()


# Nodata


def band(nodata=None, dtype="uint8", **more):
    fields = {"data_type": dtype} | ({} if nodata is None else {"nodata": nodata}) | more
    return {"raster:bands": [fields]}


@pytest.mark.parametrize(("said", "own"), [(0, 255), (255, 0), (7, 9)])
def test_two_nodata_values_are_refused_or_chosen(tmp_path, said, own):
    data = np.full((HEIGHT, WIDTH), 100, "uint8")
    data[:, :50], data[:, 90:] = said, own
    items = [scene(raster(tmp_path, data, nodata=own), fields=band(said))]
    with pytest.raises(ReadError, match=rf"'red'.*has nodata {own}, and the item says {said}"):
        load(items, BOX, ["red"]).compute()
    for chosen in (said, own):
        cube = load(items, BOX, ["red"], nodata={"red": chosen})
        valid = cube.values[0, 0] != cube.attrs["nodata"]
        np.testing.assert_array_equal(valid, data != chosen)
    cube = load(items, BOX, ["red"], nodata={"red": None})
    assert (cube.values[0, 0] != cube.attrs["nodata"]).all()


@pytest.mark.parametrize(
    ("asked", "name"),
    [("red", "red"), ("B04", "B04"), ({"ground": "B04"}, "ground"), ("b04.1", "b04.1")],
)
def test_what_is_said_of_two_nodata_values_can_be_done(tmp_path, asked, name):
    """The message names the band as the cube does, whatever its asset is called."""
    data = np.full((HEIGHT, WIDTH), 100, "uint8")
    found = scene(raster(tmp_path, data, nodata=9), fields=band(7))
    asset = found.assets.pop("red")
    asset.extra_fields["eo:bands"] = [{"name": "B04", "common_name": "red"}]
    found.assets["b04" if name == "b04.1" else "B04"] = asset
    with pytest.raises(ReadError, match="has nodata 9, and the item says 7") as refused:
        load([found], BOX, [asked]).compute()
    said = re.search(r"nodata: \{(.+): (\d+)\}$", str(refused.value))
    assert said is not None
    assert said.groups() == (name, "9")
    load([found], BOX, [asked], nodata={said[1]: float(said[2])}).compute()


def test_nan_and_what_the_type_cannot_hold_contradict_nothing(tmp_path):
    data = np.full((HEIGHT, WIDTH), 1.5, "float32")
    data[:, :50], data[:, 90:] = -9999, np.nan
    for said, own in (("nan", -9999), (-9999, np.nan)):
        path = raster(tmp_path, data, nodata=own)
        cube = load([scene(path, fields=band(said, "float32"))], BOX, ["red"])
        np.testing.assert_array_equal(np.isfinite(cube.values[0, 0]), data == 1.5)
    path = raster(tmp_path, np.ones((HEIGHT, WIDTH), "uint8"), nodata=0)
    assert load([scene(path, fields=band(-9999))], BOX, ["red"]).values.min() == 1


@pytest.mark.parametrize("said", [{}, {"raster:bands": [{"data_type": "complex64"}]}])
def test_complex_numbers_are_refused_by_name(tmp_path, said):
    path = raster(tmp_path, RAMP.astype("complex64"))
    with pytest.raises(ReadError, match=r"item 'i', asset 'red': .*complex64.*intensities"):
        load([scene(path, fields=said)], BOX, ["red"])


@pytest.mark.parametrize("when", ["0001-01-01", "9999-12-31"])
def test_a_date_that_no_cube_can_hold_is_named(tmp_path, when):
    with pytest.raises(ItemError, match=f"item 'i' is dated {when}"):
        load([scene(raster(tmp_path), when=when)], BOX, ["red"])


def test_a_scale_of_zero_is_named(tmp_path):
    said = {"raster:bands": [{"scale": 0, "offset": 3}]}
    with pytest.raises(ItemError, match="item 'i', asset 'red': scale is 0"):
        load([scene(raster(tmp_path), fields=said)], BOX, ["red"])


def test_nodata_of_a_specification_gives_way_to_the_files(tmp_path):
    data = np.full((HEIGHT, WIDTH), 3000, "int16")
    data[:, :50] = -9999
    path = raster(tmp_path, data, nodata=-9999)
    cube = load([scene(path, "B04", platform="sentinel-2a")], BOX, ["B04"])
    valid = cube.values[0, 0] != cube.attrs["nodata"]
    np.testing.assert_array_equal(valid, data == 3000)


@pytest.mark.parametrize("value", [True, "0", [0]])
def test_nodata_is_a_number_or_none(tmp_path, value):
    with pytest.raises(RecipeError, match="nodata of 'red' is"):
        load([scene(raster(tmp_path))], BOX, ["red"], nodata={"red": value})
    with pytest.raises(RecipeError, match="nodata names band 'green'"):
        load([scene(raster(tmp_path))], BOX, ["red"], nodata={"green": 0})


@pytest.mark.parametrize("said", [{}, {"raster:bands": [{"data_type": "uint16"}]}])
@pytest.mark.parametrize("value", [-9999, 65536, 0.5])
def test_nodata_that_the_band_cannot_hold_is_refused(tmp_path, said, value):
    items = [scene(raster(tmp_path), fields=said)]
    with pytest.raises(RecipeError, match=rf"nodata of 'red' is {value}, and the band is uint16"):
        load(items, BOX, ["red"], nodata={"red": value})
    load(items, BOX, ["red"], nodata={"red": np.nan})
    # Where files of another type hold it, it is nodata of those.
    other = scene(raster(tmp_path, RAMP.astype("int32"), "b.tif"), name="j", when="2023-07-15")
    assert load([*items, other], BOX, ["red"], nodata={"red": -9999}).dtype == "int32"


# Types


@pytest.mark.parametrize("order", [("int16", "float32", "uint8"), ("uint8", "int16", "float32")])
def test_a_type_that_nobody_says_holds_all_files(tmp_path, order):
    items = []
    for number, kind in enumerate(order):
        data = np.full((HEIGHT, WIDTH), 7.5 if kind == "float32" else 7, kind)
        path = raster(tmp_path, data, f"{number}.tif")
        items.append(scene(path, name=f"i{number}", when=f"2023-0{number + 1}-01"))
    cube = load(items, BOX, ["red"])
    assert cube.dtype == "float32"
    assert cube.values.max(axis=(1, 2, 3)).tolist() == [7.5 if k == "float32" else 7 for k in order]


def test_whole_numbers_of_another_type_are_read_where_they_fit(tmp_path):
    fits, other = np.full((HEIGHT, WIDTH), 300, "int16"), np.full((HEIGHT, WIDTH), 300, "int16")
    other[50, 70] = -5
    assert (
        load([scene(raster(tmp_path, fits), fields=band(0, "uint16"))], BOX, ["red"]).max() == 300
    )
    with pytest.raises(ReadError, match=r"int16 numbers such as -5.*the cube's uint16"):
        load([scene(raster(tmp_path, other), fields=band(0, "uint16"))], BOX, ["red"]).compute()


def test_floats_are_no_product_of_whole_numbers(tmp_path):
    path = raster(tmp_path, np.full((HEIGHT, WIDTH), 0.3, "float32"))
    with pytest.raises(ReadError, match=r"holds float32, and the item declares no type.*uint16"):
        load([scene(path, "B04", platform="sentinel-2a")], BOX, ["B04"]).compute()


# Masks

SEEN = {"drop": list(range(50, 101))}


def masked(tmp_path, codes, rule, *, key="cloud", nodata=0, resampling="nearest"):
    files = {
        "red": raster(tmp_path, RAMP, "red.tif", nodata=0),
        key: raster(tmp_path, codes.astype("uint8"), "codes.tif"),
    }
    made = item("i", "2023-06-15", files)
    made.assets["red"].extra_fields = band(0, "uint16")
    made.assets[key].extra_fields = band(nodata)
    cube = load([made], BOX, ["red", key], resampling={key: resampling})
    return composite(mask(cube, {"band": key, **rule}), by="year").observations.values[0]


def codes_of(*values):
    return np.repeat(np.repeat([values], HEIGHT, 0), WIDTH // len(values), 1)


@pytest.mark.parametrize("key", ["cloud", "MSK_CLDPRB_20m", "snw", "cloud_probability"])
def test_no_probability_of_clouds_is_clear(tmp_path, key):
    seen = masked(tmp_path, codes_of(0, 5, 90, 100), SEEN, key=key)
    np.testing.assert_array_equal(seen, codes_of(1, 1, 0, 0))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"bits": [1], "unseen": []}, (1, 1, 0, 0)),
        ({"drop": [2, 3], "unseen": []}, (1, 1, 0, 0)),
        ({"keep": [0, 1], "unseen": [3]}, (1, 1, 0, 0)),
        ({"bits": [1]}, (0, 1, 0, 0)),
    ],
)
def test_a_rule_says_what_of_its_band_is_nodata(tmp_path, rule, expected):
    seen = masked(tmp_path, codes_of(0, 1, 2, 3), rule, key="burn")
    np.testing.assert_array_equal(seen, codes_of(*expected))


def test_a_mask_that_is_nodata_nearly_everywhere_is_named(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        masked(tmp_path, codes_of(0, 0, 0, 1), {"bits": [1]}, key="aerosol_flags")
    assert "'aerosol_flags' is nodata for most pixels" in caplog.text
    assert "unseen: []" in caplog.text


@pytest.mark.parametrize("declared", [True, False])
def test_a_bit_above_those_of_its_files_is_refused(tmp_path, declared):
    """The cube's type is a wider one, by its other band."""
    files = {
        "red": raster(tmp_path),
        "qa": raster(tmp_path, codes_of(0, 4).astype("uint8"), "q.tif"),
    }
    made = item("i", "2023-06-15", files)
    if declared:
        made.assets["qa"].extra_fields = band(dtype="uint8")
    cube = load([made], BOX, ["red", "qa"], resampling={"qa": "nearest"})
    assert cube.dtype == "int32"
    with pytest.raises(RecipeError, match="'qa': bits name bit 12, and the band is uint8"):
        mask(cube, {"band": "qa", "bits": [2, 12]})


def two_masks(tmp_path, first, second, rules):
    """Looks where two mask bands, of which 0 is declared nodata, each have a rule."""
    files = {
        "red": raster(tmp_path, RAMP, "red.tif", nodata=0),
        "shade": raster(tmp_path, first.astype("uint8"), "first.tif"),
        "smoke": raster(tmp_path, second.astype("uint8"), "second.tif"),
    }
    made = item("i", "2023-06-15", files)
    made.assets["red"].extra_fields = band(0, "uint16")
    for key in ("shade", "smoke"):
        made.assets[key].extra_fields = band(0)
    how = {"shade": "nearest", "smoke": "nearest"}
    cube = load([made], BOX, ["red", "shade", "smoke"], resampling=how)
    by = [{"band": key, **rule} for key, rule in zip(how, rules, strict=True)]
    return composite(mask(cube, by), by="year").observations.values[0]


@pytest.mark.parametrize(
    ("unseen", "expected"),
    [
        (([], []), (1, 1, 1, 0)),
        (([0], []), (0, 1, 1, 0)),
        (([], [0]), (1, 1, 0, 0)),
        (([0], [0]), (0, 1, 0, 0)),
    ],
)
def test_each_of_several_rules_says_what_of_its_own_band_is_nodata(tmp_path, unseen, expected):
    rules = [{"drop": [9], "unseen": values} for values in unseen]
    seen = two_masks(tmp_path, codes_of(0, 1, 1, 9), codes_of(1, 1, 0, 0), rules)
    np.testing.assert_array_equal(seen, codes_of(*expected))


def test_of_several_masks_the_one_that_is_nodata_nearly_everywhere_is_named(tmp_path, caplog):
    rules = [{"bits": [1], "unseen": [0]}, {"bits": [1]}]
    with caplog.at_level(logging.WARNING):
        two_masks(tmp_path, codes_of(0, 0, 0, 1), codes_of(0, 0, 0, 1), rules)
    assert "'smoke' is nodata for most pixels" in caplog.text
    assert "'shade'" not in caplog.text


def test_a_mask_that_was_interpolated_is_named(tmp_path):
    with pytest.warns(UserWarning, match="'flags' was read bilinear"):
        masked(tmp_path, codes_of(8, 16, 8, 16), {"bits": [1]}, key="flags", resampling="bilinear")
