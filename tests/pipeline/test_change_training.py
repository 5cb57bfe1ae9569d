"""Training a network of two dates on labels of change with gaps, and mapping with it."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
import two_years
from once import Once

import rsscale as rs
from rsscale.errors import CatalogError, ModelError, RecipeError
from rsscale.layers import YearPair
from rsscale.pipeline.training import Reading, make_chips, read_recipe_labels, train_recipe
from rsscale.recipe import Recipe, read_recipe
from rsscale.sampling.label_chips import recipe_of_inputs
from rsscale.sampling.work_folder import WorkFolder

SETTINGS = {
    "chip": 64, "stride": 64, "halo": 16, "steps": 40, "batch": 4, "learning_rate": 0.01,
    "split": {"blocks": 640, "validation": 0.2, "test": 0.2},
    "hyperparameters": {"width": 4, "depth": 2},
    "classes": [
        {"value": 0, "name": "unchanged", "color": "#e4e4e0"},
        {"value": 1, "name": "changed", "color": "#d7301f"},
    ],
}  # fmt: skip
YEARS = {"change": {"from": 2023, "to": 2024}}


@pytest.fixture(scope="module")
def archive(once: Once) -> Path:
    return once("two years", two_years.write_archive)


def gaps(folder: Path) -> Path:
    """Labels of every third strip of 32 px."""
    labels = two_years.truth()
    labels[:, np.arange(two_years.SIZE) // 32 % 3 == 2] = 255
    two_years.write_raster(folder / "labels.tif", labels, nodata=255)
    return folder / "labels.tif"


def polygons(folder: Path, **columns: Any) -> Path:
    """Squares of change and of none, with the years that they are between."""
    rows = []
    for part in two_years.CHANGED:
        ys, xs = part
        for name, shift in (("changed", 0), ("unchanged", 60)):
            west, north = two_years.WEST + 10 * xs.start, two_years.NORTH - 10 * (ys.start + shift)
            shape = shapely.box(west, north - 300, west + 300, north)
            rows.append({"kind": name, "geometry": shape})
    frame = gpd.GeoDataFrame(rows, crs=two_years.CRS)
    values = {"since": 2023, "until": 2024} | columns
    frame.assign(**values).to_file(folder / "labels.gpkg")
    return folder / "labels.gpkg"


def recipe_of(archive: Path, folder: Path, labels: Path, **train: Any) -> dict[str, Any]:
    recipe = two_years.recipe_of(archive, folder / "model")
    own = SETTINGS | {"labels": str(labels), "architecture": "fc-siam-diff"} | YEARS | train
    return {**recipe, "train": {k: v for k, v in own.items() if v is not None}}


def chips_of(recipe: Recipe, folder: Path) -> Any:
    folder.mkdir(exist_ok=True)
    labels = read_recipe_labels(recipe)
    return make_chips(Reading(recipe_of_inputs(recipe), labels, WorkFolder(folder)))


def test_chips_are_of_both_years_and_labelled_where_both_saw_something(
    archive: Path, tmp_path: Path
) -> None:
    recipe = read_recipe(recipe_of(archive, tmp_path, archive / "change.tif"))
    chips = chips_of(recipe, tmp_path / "work")
    assert chips.images.shape[1] == 4  # two bands of two dates
    labelled = int((chips.labels != 255).sum())
    area = np.zeros((two_years.SIZE,) * 2, bool)
    area[5:-3, 3:-5] = True
    assert abs(labelled - int((two_years.seen(*two_years.YEARS) & area).sum())) < 700  # its edges
    for number in range(len(chips)):
        known = chips.labels[number] != 255
        assert np.isfinite(chips.images[number][:, known]).all()
        changed = chips.labels[number] == 1
        before, after = chips.images[number][:2, changed], chips.images[number][2:, changed]
        if changed.any():
            assert ((after - before)[0] > 0).mean() > 0.99  # red is brighter where it changed
    assert any("masked, or without a clear observation" in line for line in chips.left_out)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["fc-siam-diff", pytest.param("fc-ef", marks=pytest.mark.extended)]
)
@pytest.mark.extended
def test_it_learns_change_of_labels_with_gaps(archive: Path, tmp_path: Path, kind: str) -> None:
    recipe = recipe_of(archive, tmp_path, gaps(tmp_path), architecture=kind)
    model, report = train_recipe(recipe, device="cpu")
    assert [one.name for one in model.spec.inputs] == ["before", "after"]
    assert model.spec.seen == "all"
    assert rs.open_model(tmp_path / "model", device="cpu").spec == model.spec
    assert report.background.provenance["periods"] == ["2023-2024"]
    assert list(report.background.provenance["inputs"]) == ["before", "after"]
    found = rs.preview(recipe, bbox=recipe["bbox"], step="change", device="cpu", threads=1).squeeze(
        "time"
    )
    x = two_years.WEST + 10 * np.arange(two_years.SIZE) + 5
    y = two_years.NORTH - 10 * np.arange(two_years.SIZE) - 5
    change = found["change"].reindex(x=x, y=y, fill_value=255).values
    known, truth = change != 255, two_years.truth()
    assert not known[~two_years.seen(*two_years.YEARS)].any()
    both = (change == 1) & (truth == 1) & known
    assert 2 * both.sum() / ((change == 1).sum() + (truth[known] == 1).sum()) > 0.9


@pytest.mark.slow
def test_the_years_are_those_of_the_labels(archive: Path, tmp_path: Path) -> None:
    labels = polygons(tmp_path, until=[2024] * 7 + [2026])
    change = {"columns": ["since", "until"]}
    recipe = read_recipe(recipe_of(archive, tmp_path, labels, change=change, **{"class": "kind"}))
    assert read_recipe_labels(recipe).pairs == (YearPair(2023, 2024), YearPair(2023, 2026))
    with pytest.raises(CatalogError, match="2026"):  # of which there is no imagery
        train_recipe(recipe, device="cpu")
    labels = polygons(tmp_path)
    train = {"class": "kind", "steps": 2, "split": {"by": "polygon"}}
    recipe = read_recipe(recipe_of(archive, tmp_path, labels, change=change, **train))
    _, report = train_recipe(recipe, device="cpu", fresh=True)
    assert sum(report.trained.values()) > 1000


@pytest.mark.extended
def test_estimators_of_single_pixels_learn_the_same_labels(archive: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    train = {"architecture": "random_forest", "hyperparameters": {"n_estimators": 5}}
    recipe = recipe_of(archive, tmp_path, archive / "change.tif", **train)
    model, _ = train_recipe(recipe, device="cpu")
    assert model.spec.seen == "all"
    found = rs.preview(recipe, bbox=recipe["bbox"], step="change", device="cpu", threads=1)
    assert {0, 1} <= set(np.unique(found["change"]))


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"change": {"from": 2024, "to": 2023}}, "is from 2024 to 2023; a change is from a year"),
        ({"change": {"from": 2023, "to": 2023}}, "is from 2023 to 2023"),
        ({"change": {"from": 2023}}, "needs the years 'from' and 'to', or 'columns"),
        ({"change": {"from": 2023, "to": 2024, "of": "s1"}}, r"is of 's1'; there are \['s2'\]"),
        ({"periods": [2023]}, "'periods' is for labels of one year"),
        ({"period_column": "year"}, "'period_column' is for labels of one year"),
        ({"change": {"columns": ["a", "b"]}}, "are a raster, and change.columns is for polygons"),
        ({"classes": SETTINGS["classes"][:1]}, r"1 .*class"),
        ({"change": None}, "takes two dates of the same bands"),
    ],
)
def test_mistakes_are_told_before_imagery_is_read(
    archive: Path, tmp_path: Path, train: dict[str, Any], message: str
) -> None:
    content = recipe_of(archive, tmp_path, archive / "change.tif", **train)
    with pytest.raises((RecipeError, ModelError), match=message):
        train_recipe(content, out=tmp_path / "out", device="cpu")


def test_labels_of_swapped_years_are_named(archive: Path, tmp_path: Path) -> None:
    labels = polygons(tmp_path, until=[2024, 2024, 2022, *[2024] * 5])
    train = {"class": "kind", "change": {"columns": ["since", "until"]}}
    with pytest.raises(RecipeError, match="row 2 is a change from 2023 to 2022; expected a year"):
        train_recipe(recipe_of(archive, tmp_path, labels, **train), device="cpu")


def test_labels_elsewhere_are_refused(archive: Path, tmp_path: Path) -> None:
    frame = gpd.read_file(polygons(tmp_path))
    frame.geometry = frame.translate(50_000)
    frame.to_file(tmp_path / "elsewhere.gpkg")
    train = {"class": "kind"}
    with pytest.raises(RecipeError, match="area"):
        train_recipe(recipe_of(archive, tmp_path, tmp_path / "elsewhere.gpkg", **train))


def test_the_step_says_where_the_model_goes(archive: Path, tmp_path: Path) -> None:
    content = recipe_of(archive, tmp_path, archive / "change.tif")
    content["steps"] = {"edges": {"kind": "zones", "of": "s2", "zones": "z.gpkg", "id": "a"}}
    with pytest.raises(RecipeError, match=r"0 steps of kind 'change-network'.*--out"):
        train_recipe(content, device="cpu")
