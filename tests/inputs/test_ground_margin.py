"""Clouds dilated by metres, on grids that do not count metres: the same however the work is cut."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.inputs.prepare import prepare
from rsscale.inputs.windows import mask_margin
from rsscale.plans.find_items import find_items, index_items, recipe_area
from rsscale.recipe import Recipe, read_recipe

SIZE = 200
PLACES = [
    ("EPSG:2263", 30.0, -7000, 33000, 6.56),  # New York, US survey feet
    ("EPSG:2222", 40.0, -24000, 16000, 4.92),  # Arizona, international feet
    ("EPSG:3857", 10.0, -840_000, 100_000, 11.98),  # 60 degrees north
    ("EPSG:4326", 0.0001, -600_000, 90_000, 10.76),  # there, in degrees: along a parallel
    ("EPSG:32632", 10.0, -664_000, 50_000, 6.0),
]


def recipe_on(folder: Path, crs: str, resolution: float, row: int, col: int) -> Recipe:
    """A scene on the grid's pixels with a cloud of one column, the 100th."""
    geobox = Grid(crs, resolution).geobox_of(PixelBox(row, col, row + SIZE, col + SIZE))
    clouds = np.full((SIZE, SIZE), 4, "uint8")
    clouds[:, 100] = 9
    assets = {}
    for name, data in (("red", np.full((SIZE, SIZE), 3000, "uint16")), ("scl", clouds)):
        path = folder / f"{name}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", width=SIZE, height=SIZE, count=1, dtype=data.dtype,
            crs=crs, transform=geobox.affine, nodata=0,
        ) as file:  # fmt: skip
            file.write(data, 1)
        assets[name] = {"href": str(path)}
    shape = geobox.extent.to_crs("EPSG:4326")
    bbox = list(shape.boundingbox.bbox)
    item = {
        "type": "Feature", "stac_version": "1.0.0", "id": "i", "geometry": shape.json,
        "bbox": bbox, "links": [], "properties": {"datetime": "2023-06-15T10:00:00Z"},
        "assets": assets,
    }  # fmt: skip
    catalog = folder / "c.json"
    catalog.write_text(json.dumps({"type": "FeatureCollection", "features": [item]}))
    mask = {"preset": "sentinel2-scl", "dilate": 60}
    source = {"catalog": str(catalog), "bands": ["red"], "composite": {"by": "year"}, "mask": mask}
    return read_recipe(
        {
            "name": "ground",
            "bbox": bbox,
            "grid": {"crs": crs, "resolution": resolution},
            "periods": [2023],
            "model": "m",
            "inputs": {"s2": source},
        }
    )


@pytest.mark.parametrize(("crs", "resolution", "row", "col", "pixels"), PLACES)
def test_a_mask_is_dilated_alike_however_the_work_is_cut(
    tmp_path: Path, crs: str, resolution: float, row: int, col: int, pixels: float
) -> None:
    recipe = recipe_on(tmp_path, crs, resolution, row, col)
    grid = recipe.grid.build()
    sources = index_items(recipe, grid, find_items(recipe, recipe_area(recipe), 0))

    def dropped(first: int, last: int) -> list[int]:
        box = PixelBox(row + 90, col + first, row + 110, col + last)
        assert mask_margin(recipe.inputs["s2"], grid, box) >= pixels
        inputs = prepare(recipe, grid, sources, 2023, box).compute(2)
        seen = inputs["s2"].observations.values[0, 10]
        return [first + int(c) for c in np.flatnonzero(seen == 0)]

    reach = int(np.ceil(pixels))
    expected = list(range(100 - reach, 101 + reach))
    assert dropped(70, 130) == expected
    for cut in (93, 96, 100, 101, 104):
        assert dropped(70, cut) + dropped(cut, 130) == expected
