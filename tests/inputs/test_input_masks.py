"""A recipe's mask band, its nodata, and items that reach no tile."""

import json

import numpy as np
import pytest
from affine import Affine
from cube_scenes import write
from odc.geo.geobox import GeoBox

from rsscale.errors import CatalogError, RecipeError
from rsscale.inputs.prepare import prepare
from rsscale.plans.find_items import check_reach, find_items, index_items, recipe_area
from rsscale.recipe import read_recipe

SIZE = 100
# Half a pixel off the grid, so that bilinear would average.
PLACE = Affine(500, 0, 600_250, 0, -500, 5_200_250)
BOX = GeoBox((SIZE, SIZE), PLACE, "EPSG:32632")
FOOTPRINT = BOX.extent.to_crs("EPSG:4326")


def catalog(tmp_path, codes, key, nodata=None, kind=None, **properties):
    red = np.full((SIZE, SIZE), 900, "int16")
    files = {
        "b01": write(tmp_path / "b.tif", red, PLACE, "EPSG:32632", nodata=-1),
        key: write(tmp_path / "codes.tif", codes, PLACE, "EPSG:32632", nodata=None),
    }
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "modis",
        "geometry": FOOTPRINT.json,
        "bbox": list(FOOTPRINT.boundingbox.bbox),
        "links": [],
        "properties": {"datetime": "2023-06-15T10:00:00Z", **properties},
        "assets": {name: {"href": path} for name, path in files.items()},
    }
    said = {"nodata": nodata, "data_type": kind}
    said = {name: value for name, value in said.items() if value is not None}
    if said:
        item["assets"][key]["raster:bands"] = [said]
    path = tmp_path / "catalog.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [item]}))
    return str(path)


def recipe_of(address, mask, **more):
    return read_recipe(
        {
            "name": "modis",
            "bbox": list(FOOTPRINT.boundingbox.bbox),
            "grid": {"crs": "EPSG:32632", "resolution": 500},
            "periods": [2023],
            "model": "m",
            "inputs": {
                "m": {
                    "catalog": address, "bands": ["b01"], "composite": {"by": "year"},
                    "mask": mask, **more,
                }
            },
        }
    )  # fmt: skip


def found(recipe):
    area = recipe_area(recipe)
    return index_items(recipe, recipe.grid.build(), find_items(recipe, area, 0)), area


def observations(recipe):
    """Looks of the pixels well inside the scene."""
    grid = recipe.grid.build()
    indexes, area = found(recipe)
    seen = prepare(recipe, grid, indexes, 2023, grid.box(area)).compute(2)["m"].observations
    rows, cols = (size // 2 for size in seen.shape[1:])
    return seen.values[0, rows - 30 : rows + 30, cols - 30 : cols + 30]


@pytest.mark.parametrize("key", ["state_500m", "flags", "QC", "my_own_bits"])
def test_codes_of_a_recipes_mask_are_never_averaged(tmp_path, key):
    codes = np.full((SIZE, SIZE), 8, "uint16")
    codes[:, 50:] = 1024  # their mean has bit 9
    recipe = recipe_of(catalog(tmp_path, codes, key), {"band": key, "bits": [9]})
    assert (observations(recipe) == 1).all()
    (scene,) = found(recipe)[0]["m"].scenes
    assert scene.bands[1].categorical


def test_bands_of_several_rules_are_codes_by_whatever_name(tmp_path):
    codes = np.full((2, SIZE, SIZE), 8, "uint16")
    codes[:, :, 50:] = 1024  # their mean has bit 9
    rules = [{"band": "first", "bits": [9]}, {"band": "second", "bits": [9]}]
    names = {"first": "anything.1", "second": "anything.2"}
    recipe = recipe_of(catalog(tmp_path, codes, "anything"), rules, names=names)
    assert (observations(recipe) == 1).all()
    (scene,) = found(recipe)[0]["m"].scenes
    assert [(band.index, band.categorical) for band in scene.bands[1:]] == [(1, True), (2, True)]
    with pytest.raises(RecipeError, match="resampling of 'second' is 'bilinear'"):
        recipe_of("c", rules, names=names, resampling={"second": "bilinear"})


def test_a_mask_that_is_to_be_averaged_is_refused(tmp_path):
    address = catalog(tmp_path, np.zeros((SIZE, SIZE), "uint16"), "flags")
    with pytest.raises(RecipeError, match="resampling of 'flags' is 'cubic'"):
        recipe_of(address, {"band": "flags", "bits": [1]}, resampling={"flags": "cubic"})
    recipe_of(address, {"band": "flags", "bits": [1]}, resampling={"flags": "nearest"})


@pytest.mark.parametrize(
    ("mask", "more", "message"),
    [
        ({"bits": [1, 12]}, {}, "'flags': bits name bit 12, and the band is uint8"),
        ({"bits": [1], "fields": {"8-9": [1]}}, {}, "'flags': fields name \"8-9\""),
        ({"keep": [1], "unseen": [256]}, {}, "'flags': unseen names 256"),
        (
            {"bits": [1]},
            {"nodata": {"flags": -1}},
            "nodata of 'flags' is -1, and the band is uint8",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["uint8", None])
def test_what_the_bands_type_does_not_have_is_refused(tmp_path, mask, more, message, kind):
    """By the items before anything is read; by the files where items say no type."""
    address = catalog(tmp_path, np.zeros((SIZE, SIZE), "uint8"), "flags", kind=kind)
    recipe = recipe_of(address, {"band": "flags", **mask}, **more)
    if kind:
        with pytest.raises(RecipeError, match=message):
            found(recipe)
        return
    with pytest.raises(
        RecipeError, match=message.replace("'flags': unseen names", "nodata of 'flags' is")
    ):
        observations(recipe)


@pytest.mark.parametrize("key", ["nodata", "resampling"])
def test_bands_that_are_not_read_are_refused_by_name(key):
    value = {"nodata": 0, "resampling": "nearest"}[key]
    with pytest.raises(RecipeError, match=rf"{key} has band 'flag'.*did you mean 'flags'"):
        recipe_of("c", {"band": "flags", "bits": [1]}, **{key: {"flag": value}})


@pytest.mark.parametrize(
    ("mask", "more", "looks"),
    [
        ({"unseen": []}, {}, 1),
        ({"unseen": [7]}, {}, 1),
        ({}, {"nodata": {"flags": "none"}}, 1),
        ({}, {"nodata": {"flags": 7}}, 1),
        ({}, {"nodata": {"flags": 0}}, 0),
        ({"unseen": [0]}, {}, 0),
    ],
)
def test_a_recipe_says_what_is_nodata_of_its_mask(tmp_path, mask, more, looks):
    address = catalog(tmp_path, np.zeros((SIZE, SIZE), "uint8"), "flags", nodata=0)
    recipe = recipe_of(address, {"band": "flags", "bits": [1], **mask}, **more)
    np.testing.assert_array_equal(np.unique(observations(recipe)), [looks])


@pytest.mark.parametrize(
    "place",
    [{"proj:code": "EPSG:32633"}, {"proj:transform": [500, 0, 100_000, 0, -500, 5_200_250]}],
)
def test_items_that_reach_no_tile_are_refused(tmp_path, place):
    lying = {
        "proj:code": "EPSG:32632",
        "proj:transform": list(PLACE)[:6],
        "proj:shape": [SIZE, SIZE],
    } | place
    codes = np.zeros((SIZE, SIZE), "uint8")
    recipe = recipe_of(catalog(tmp_path, codes, "flags", **lying), {"band": "flags", "bits": [1]})
    grid = recipe.grid.build()
    indexes, area = found(recipe)
    notes = check_reach(recipe, grid, indexes, [grid.box(area)], (2023,))
    assert "1 of 1 items contradict themselves" in notes[0]
    assert (observations(recipe) == 1).all()
    far = grid.box(area).pad(10)
    away = type(far)(far.row0 + 5000, far.col0, far.row1 + 5000, far.col1)
    with pytest.raises(CatalogError, match=r"'m' has 1 item for 2023.*none of them.*'modis'"):
        check_reach(recipe, grid, indexes, [away], (2023,))
