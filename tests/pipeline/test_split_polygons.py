"""Groups that are polygons: a chip for each of a block, with its own labels."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from landscape import Landscape

import rsscale as rs
from rsscale.errors import RecipeError
from rsscale.learners.chips import Chips
from rsscale.pipeline.training import Reading, labelled_pixels, make_chips, read_recipe_labels
from rsscale.recipe import read_recipe
from rsscale.sampling.work_folder import open_work_folder

pytestmark = pytest.mark.slow
pytest.importorskip("skops", reason="the extra 'classical' is not installed")
X, Y = 736_000, 4_985_000


def recipe_of(landscape: Landscape, folder: Path, **train: Any) -> dict[str, Any]:
    """Six squares of 60 m, three in one chip, of two classes; the last is of two chips."""
    places = [(X + 80 * k, Y) for k in range(3)] + [(X + 2000 + 100 * k, Y) for k in range(2)]
    squares = [shapely.box(x, y, x + 60, y + 60) for x, y in places]
    squares.append(shapely.box(X + 3_160, Y, X + 3_240, Y + 60))
    frame = gpd.GeoDataFrame({"kind": ["crop", "wood"] * 3}, geometry=squares, crs="EPSG:32631")
    frame.to_file(folder / "labels.gpkg")
    recipe = landscape.recipe(model=str(folder / "trained"))
    recipe["train"] = {
        "labels": str(folder / "labels.gpkg"), "class": "kind", "chip": 32,
        "split": {"by": "polygon", "folds": 3}, "architecture": "random_forest",
        "hyperparameters": {"n_estimators": 5}, **train,
    }  # fmt: skip
    return recipe


def reading(content: dict[str, Any], folder: Path) -> tuple[Chips, rs.SeriesTable]:
    recipe = read_recipe(content)
    labels = read_recipe_labels(recipe)
    with (
        open_work_folder(folder / "a.training") as one,
        open_work_folder(folder / "b.training") as other,
    ):
        chips = make_chips(Reading(recipe, labels, one))
        images = np.stack([chips.images[k] for k in range(len(chips))])
        table = labelled_pixels(Reading(recipe, labels, other))
    return Chips(images, chips.labels, chips.groups, places=chips.places), table


def test_each_polygon_is_a_group_with_its_own_labels(landscape: Landscape, tmp_path: Path) -> None:
    content = recipe_of(landscape, tmp_path)
    chips, table = reading(content, tmp_path)
    content["train"]["split"] = {"folds": 3}
    by_block, all_pixels = reading(content, tmp_path)
    assert set(chips.groups) == set(table.groups) == set(range(6))
    assert len(by_block) < len(chips)
    # The same pixels, each in one group.
    assert (chips.labels != 255).sum() == (by_block.labels != 255).sum() == len(table)
    assert len(all_pixels) == len(table)
    for group, name in enumerate(["crop", "wood"] * 3):
        own = chips.labels[chips.groups == group]
        assert set(np.unique(own)) == {255, 1 if name == "crop" else 2}
        assert (own != 255).sum() == (48 if group == 5 else 36)
    frame = gpd.read_file(tmp_path / "labels.gpkg")
    assert chips.places is not None
    assert chips.places.kind == "polygons of the labels"
    for group, shape in chips.places.shapes.items():
        assert shape.equals_exact(frame.geometry[group], 1e-6)


@pytest.mark.extended
def test_no_polygon_is_in_training_and_test(landscape: Landscape, tmp_path: Path) -> None:
    content = recipe_of(landscape, tmp_path)
    _, report = rs.train(content, device="cpu")
    assert len(report.folds) == 3
    assert sum(fold.scores.count for fold in report.folds) == 36 * 5 + 48
    # Only the recipe's own learner has the recipe's steps.
    content["train"] |= {"architecture": "unet", "hyperparameters": {"width": 4}, "steps": 20}
    compared = rs.compare(
        content, {"random_forest": {"n_estimators": 5}, "unet": {"width": 4}}, device="cpu"
    )
    assert compared.margin is not None
    assert compared.margin.places == 6
    assert {trial.scores.count for trial in compared.trials} == {36 * 5 + 48}


def test_a_raster_has_no_polygons(landscape: Landscape, tmp_path: Path) -> None:
    import rasterio

    content = recipe_of(landscape, tmp_path)
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "crs": "EPSG:32631", "nodata": 0,
               "transform": rasterio.Affine(10, 0, X, 0, -10, Y + 100)}  # fmt: skip
    with rasterio.open(tmp_path / "labels.tif", "w", width=9, height=9, **profile) as file:
        file.write((np.arange(81, dtype=np.uint8).reshape(9, 9) % 2) + 1, 1)
    content["train"] |= {
        "labels": str(tmp_path / "labels.tif"), "class": None,
        "merge": {"crop": [1], "wood": [2]},
        "classes": [{"value": 1, "name": "crop", "color": "#ffff00"},
                    {"value": 2, "name": "wood", "color": "#006600"}],
    }  # fmt: skip
    refused = r"a raster, which has no polygons; leave train\.split\.by out"
    with pytest.raises(RecipeError, match=refused):
        reading(content, tmp_path)
