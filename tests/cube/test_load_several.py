"""Several bands in one file, names by collection, alternates, items in any form."""

import copy
import json
import warnings
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
from affine import Affine
from cube_scenes import WEST, geobox, item, texture, warped, with_overviews, write
from fault_server import serve
from odc.geo.geobox import GeoBox

import rsscale as rs
from rsscale.errors import BandError, ItemError, ReadError, RecipeError
from rsscale.items.freeze import freeze

LOADERS = ["stackstac", "odc-stac", "dask"]
NAMES = ["red", "green", "blue", "nir"]
SHAPE = (700, 800)
BOX = geobox(0, 0, *SHAPE)


def bands_of(names, **fields):
    return {"bands": [{"name": n, "data_type": "uint16", "nodata": 0, **fields} for n in names]}


def several(folder, count=4, name="four", **options):
    data = np.stack([texture(SHAPE, seed) for seed in range(count)])
    data[0, 100:200, 100:300] = 0  # nodata in the first band alone
    return write(folder / f"{name}.tif", data, WEST, "EPSG:32631", **options)


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    return with_overviews(several(tmp_path_factory.mktemp("four")))


def naip(path, name="naip", when="2023-06-15", **fields):
    return item(name, when, {"image": path}, fields=fields or bands_of(NAMES))


@pytest.mark.parametrize("loader", LOADERS)
def test_each_band_is_what_rasterio_reads_of_it(four, loader):
    cube = rs.load([naip(four)], BOX, ["nir", "red", "image.2"], loader=loader)
    assert cube.band.values.tolist() == ["nir", "red", "image.2"]
    with rasterio.open(four) as file:
        for number, index in enumerate((4, 1, 2)):
            np.testing.assert_array_equal(cube.values[0, number], file.read(index))


@pytest.mark.parametrize("loader", LOADERS)
def test_over_http_too(four, loader, tmp_path):
    (tmp_path / "four.tif").write_bytes(Path(four).read_bytes())
    with serve(tmp_path) as faults:
        cube = rs.load([naip(f"{faults.url}/four.tif")], BOX, ["nir"], loader=loader)
        with rasterio.open(four) as file:
            np.testing.assert_array_equal(cube.values[0, 0], file.read(4))


@pytest.mark.parametrize("index", [1, 4])
def test_a_warped_band_is_as_if_it_were_alone(four, tmp_path, index):
    """GDAL takes a pixel for nodata by all bands of a file."""
    with rasterio.open(four) as file:
        alone = write(tmp_path / "alone.tif", file.read(index), WEST, "EPSG:32631")
    box = GeoBox((300, 256), Affine(10, 0, 727_000, 0, -10, 4_989_000), "EPSG:32631")
    turned = GeoBox((300, 256), Affine(10, 0, 728_003, 0, -10, 4_989_504), "EPSG:32631")
    other = GeoBox((300, 300), Affine(0.0001, 0, 5.93, 0, -0.0001, 45.03), "EPSG:4326")
    for place in (box, turned, other):
        cube = rs.load([naip(four)], place, [f"image.{index}"], loader="dask")
        single = item("single", "2023-06-15", {"red": alone}, fields=bands_of(["red"]))
        expected = rs.load([single], place, ["red"], loader="dask")
        np.testing.assert_array_equal(cube.values, expected.values)
    expected = warped(alone, turned, "bilinear")
    cube = rs.load([naip(four)], turned, [f"image.{index}"], loader="dask")
    np.testing.assert_array_equal(cube.values[0, 0], expected)


def test_overviews_of_the_band_are_read(four):
    coarse = GeoBox((170, 190), Affine(40, 0, WEST.c, 0, -40, WEST.f), "EPSG:32631")
    cube = rs.load([naip(four)], coarse, ["nir"], loader="dask")
    with rasterio.open(four, overview_level=1) as file:
        np.testing.assert_array_equal(cube.values[0, 0, :170, :190], file.read(4)[:170, :190])


@pytest.mark.parametrize("alpha", [True, False])
def test_alpha_and_masks_count_for_every_band(tmp_path, alpha):
    """RGB and alpha, as orthophotos have it; and a mask inside the file, with no nodata."""
    data = np.stack([texture(SHAPE, seed) // 40 for seed in range(3)]).astype("uint8")
    clear = np.full(SHAPE, 255, "uint8")
    clear[:, :300] = 0
    path = tmp_path / "visual.tif"
    options = {"nodata": None, "photometric": "RGB"} | ({"alpha": "YES"} if alpha else {})
    layers = np.concatenate([data, clear[None]]) if alpha else data
    write(path, layers, WEST, "EPSG:32631", **options)
    if not alpha:
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
            file.write_mask(clear)
    fields = {"bands": [{"name": n, "data_type": "uint8"} for n in NAMES[:3]]}
    made = item("v", "2023-06-15", {"visual": str(path)}, fields=fields)
    cube = rs.load([made], BOX, ["red", "visual.3"], loader="dask")
    fill = cube.attrs["nodata"]
    for band, number in ((0, 0), (1, 2)):
        values = cube.values[0, band]
        assert (values[:, :300] == fill).all()
        np.testing.assert_array_equal(values[:, 300:], data[number][:, 300:])
    shifted = GeoBox((200, 300), Affine(10, 0, WEST.c + 2003, 0, -10, WEST.f - 1002), "EPSG:32631")
    values = rs.load([made], shifted, ["red"], loader="dask").values[0, 0]
    assert (values[:, :99] == fill).all()
    assert (values[:, 101:] != fill).all()


def test_types_and_scales_differ_from_band_to_band(tmp_path):
    path = several(tmp_path)
    bands = [
        {"name": "a", "data_type": "uint16", "nodata": 0, "scale": 0.5},
        {"name": "b", "data_type": "uint16", "nodata": 0, "offset": 7},
        *bands_of(["c", "d"])["bands"],
    ]
    cube = rs.load([naip(path, bands=bands)], BOX, ["b", "a"], loader="dask")
    assert cube.scale.values.tolist() == [[1.0, 0.5]]
    assert cube.offset.values.tolist() == [[7.0, 0.0]]


def test_two_mask_bands_of_one_file(tmp_path):
    """PlanetScope's usable data mask: clear in its first band, cloud in its sixth."""
    image = several(tmp_path)
    udm = np.zeros((8, *SHAPE), "uint8")
    udm[0] = 1
    udm[0, :50], udm[5, 300:310] = 0, 1
    mask = write(tmp_path / "udm2.tif", udm, WEST, "EPSG:32631", nodata=None)
    made = item("ps", "2023-06-15", {"image": image, "udm2": mask})
    made.assets["image"].extra_fields.update(bands_of(NAMES))
    names = [
        "clear",
        "snow",
        "shadow",
        "light_haze",
        "heavy_haze",
        "cloud",
        "confidence",
        "unusable",
    ]
    made.assets["udm2"].extra_fields.update({"bands": [{"name": n} for n in names]})
    cube = rs.load([made], BOX, ["nir", "clear", "cloud"], loader="dask")
    assert cube.attrs["categorical"] == ["clear", "cloud"]
    rules = [{"band": "clear", "keep": [1]}, {"band": "cloud", "drop": [1]}]
    clear = rs.mask(cube, rules)
    assert clear.band.values.tolist() == ["nir"]
    with rasterio.open(image) as file:
        expected = file.read(4).astype(cube.dtype)
    fill = cube.attrs["nodata"]  # not 0, which the mask holds as a value
    expected[:50], expected[300:310] = fill, fill
    np.testing.assert_array_equal(clear.values[0, 0], expected)
    # The order of the rules does not count, not even where clouds grow.
    wide = [rs.mask(cube, some, dilate=30).values for some in (rules, rules[::-1])]
    np.testing.assert_array_equal(*wide)
    assert (wide[0][0, 0, 50:53] == fill).all()
    assert (wide[0][0, 0, 297:313] == fill).all()


def test_a_file_that_contradicts_its_item(four):
    plain = item("plain", "2023-06-15", {"image": four})
    with pytest.raises(ReadError, match=r"has 4 bands in one file.*as in 'image\.1'"):
        rs.load([plain], BOX, ["image"], loader="dask").compute()
    assert rs.load([plain], BOX, ["image.4"], loader="dask").values.any()
    with pytest.raises(ReadError, match=r"band 7: .* is not there: the file has 4 bands"):
        rs.load([plain], BOX, ["image.7"], loader="dask").compute()
    wrong = naip(four, **bands_of(NAMES[:2]))
    with pytest.raises(ReadError, match="the item lists 2 bands, and the file has 4"):
        rs.load([wrong], BOX, ["green"], loader="dask").compute()


@pytest.mark.parametrize("loader", LOADERS)
def test_two_collections_with_other_names_are_one_cube(tmp_path, loader):
    made = []
    for collection, nir in (("HLSL30", "B05"), ("HLSS30", "B8A")):
        files = {"B04": several(tmp_path, 1, f"{collection}4")}
        files[nir] = several(tmp_path, 1, f"{collection}n")
        if collection == "HLSS30":
            files["B05"] = write(
                tmp_path / "edge.tif", np.full(SHAPE, 9, "uint16"), WEST, "EPSG:32631"
            )
        one = item("same", "2023-06-15", files)
        one.collection_id = collection
        made.append(one)
    nir = {"nir": {"HLSL30": "B05", "HLSS30": "B8A"}}
    cube = rs.load(made[::-1], BOX, ["B04", nir], loader=loader)
    assert cube.shape[:2] == (2, 2)
    assert cube.band.values.tolist() == ["B04", "nir"]
    assert cube.values[:, 1].min(axis=(1, 2)).tolist() == [0, 0]
    assert (cube.values[:, 1] != 9).all()


# Alternates


@pytest.fixture
def landsat(four):
    made = naip("http://127.0.0.1:9/behind/four.tif")
    fields = made.assets["image"].extra_fields
    fields["alternate"] = {"s3": {"href": four}, "other": {"href": "http://127.0.0.1:9/x.tif"}}
    fields["alternate:name"] = "https"
    return made


@pytest.mark.parametrize("alternate", ["s3", ["nas", "s3"], ("s3", "main")])
def test_an_alternate_is_read_by_its_key(landsat, alternate, four):
    cube = rs.load([landsat], BOX, ["nir"], alternate=alternate, loader="dask")
    with rasterio.open(four) as file:
        np.testing.assert_array_equal(cube.values[0, 0], file.read(4))
    plain = rs.load([landsat.to_dict()], BOX, ["nir"], alternate=alternate, loader="dask")
    np.testing.assert_array_equal(cube.values, plain.values)


def test_the_own_href_has_a_name_too(landsat, four):
    landsat.assets["image"].href = four
    for name in ("main", "https"):
        cube = rs.load([landsat], BOX, ["nir"], alternate=[name, "other"], loader="dask")
        assert cube.values.any()


def without_href(item, value=None):
    """The item's JSON; its asset has alternates alone, or something broken in place of a href."""
    plain = item.to_dict()
    del plain["assets"]["image"]["href"]
    if value is not None:
        plain["assets"]["image"]["href"] = value
    return plain


@pytest.mark.parametrize("href", [None, "", 7])
@pytest.mark.parametrize("missing_asset", ["raise", "skip"])
def test_an_alternate_stands_for_an_address_that_is_not_there(
    landsat, four, tmp_path, href, missing_asset
):
    path = tmp_path / "items.json"
    features = [without_href(landsat, href)]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    found = rs.search(path)
    freeze(found, tmp_path / "items.parquet")
    for items in (found, rs.search(tmp_path / "items.parquet"), features):
        for alternate in ("s3", ["main", "s3"], ["nas", "s3"]):
            cube = rs.load(
                items, BOX, ["nir"], alternate=alternate, loader="dask", missing_asset=missing_asset
            )
            with rasterio.open(four) as file:
                np.testing.assert_array_equal(cube.values[0, 0], file.read(4))


@pytest.mark.parametrize(("href", "told"), [(None, "nothing"), (7, "the number 7")])
def test_an_asset_of_alternates_alone_says_which_there_are(landsat, tmp_path, href, told):
    path = tmp_path / "items.json"
    features = [without_href(landsat, href)]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    for alternate in ((), "main"):
        with pytest.raises(ItemError, match=f"asset 'image': its href is {told}; .*'s3', 'other'"):
            rs.load(rs.search(path), BOX, ["nir"], alternate=alternate)
    with pytest.raises(ItemError, match="no alternate 's4'; there are 's3', 'other'"):
        rs.load(rs.search(path), BOX, ["nir"], alternate="s4")


def test_an_alternate_that_is_not_there_names_those_that_are(landsat):
    with pytest.raises(ItemError, match="'naip', asset 'image' has no alternate 's4'; there are "
                       "'s3', 'other'; with 'main'"):  # fmt: skip
        rs.load([landsat], BOX, ["nir"], alternate="s4")
    landsat.assets["image"].extra_fields["alternate"] = "none"
    with pytest.raises(ItemError, match="there are none"):
        rs.load([landsat], BOX, ["nir"], alternate="s3")


# Items in any form


def test_items_in_any_form(four):
    one, other = naip(four), naip(four, "second", "2023-06-16")
    plain = one.to_dict()
    collection = {"type": "FeatureCollection", "features": [plain, other.to_dict()]}
    for form, count in (
        (one, 1), (plain, 1), ([plain], 1), ((i for i in [one, other]), 2), (collection, 2),
        (pystac.ItemCollection([one, other]), 2), ([one, other.to_dict()], 2),
        ({"type": "FeatureCollection", "features": []}, 0),
    ):  # fmt: skip
        before = copy.deepcopy(plain)
        assert rs.load(form, BOX, ["nir"]).sizes["time"] == count
        assert plain == before


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("items.json", "given as str"),
        (3, "given as int"),
        ({"type": "Catalog"}, "JSON of type 'Catalog'"),
        ([3], "among the items is int"),
        ({"type": "FeatureCollection"}, "given as dict"),
        ({"type": "Feature", "id": "x", "assets": {}}, "item 'x' is not valid STAC"),
    ],
)
def test_what_is_no_item_is_refused_in_one_line(form, message):
    with pytest.raises(ItemError, match=message):
        rs.load(form, BOX, ["nir"])


def test_an_item_without_a_band_is_left_out_by_rule(four, caplog):
    lacking = item("lacking", "2023-06-17", {"other": four})
    items = [naip(four), lacking, naip(four, "second", "2023-06-16")]
    with pytest.raises(
        BandError, match=r"'lacking' has no asset 'nir'.*1 of 3.*missing_asset: skip"
    ):
        rs.load(items, BOX, ["nir"])
    cube = rs.load(items, BOX, ["nir"], missing_asset="skip")
    assert cube.id.values.tolist() == ["naip", "second"]
    assert cube.attrs["left_out"] == ["lacking"]
    assert "left out 1 of 3 items, which lack a band, such as lacking" in caplog.text
    with pytest.raises(RecipeError, match="missing_asset is 'drop'"):
        rs.load(items, BOX, ["nir"], missing_asset="drop")
    with pytest.raises(BandError, match="no item has band 'swir'"):
        rs.load(items, BOX, ["swir"], missing_asset="skip")


# Odd metadata counts where it is read, and nowhere else

ODD = [
    ("scale", float("nan"), "scale is the number nan; expected a finite number"),
    ("offset", "-inf", "offset is the text '-inf'; expected a finite number"),
    ("scale", "wide", "scale is the text 'wide'; expected a finite number"),
    ("nodata", {"value": 0}, "nodata is an object; expected a number"),
    ("nodata", True, "nodata is true; expected a number"),
]


@pytest.mark.parametrize(("name", "value", "message"), ODD)
def test_odd_metadata_is_named_where_it_is_read(four, name, value, message):
    made = naip(four)
    odd = {"raster:bands": [{name: value}]}
    made.add_asset("odd", pystac.Asset(four, extra_fields=odd))
    with warnings.catch_warnings(action="error"):
        assert rs.load([made], BOX, ["nir"], loader="dask").values.any()
    with pytest.raises(ItemError, match=f"item 'naip', asset 'odd': {message}"):
        rs.load([made], BOX, ["odd"])
