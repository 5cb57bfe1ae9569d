"""Transitions of the temporal model that are counted from labels of several years."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from formula_pass import CLASSES, allowed, formula_recipe

import rsscale as rs
from rsscale.change.transitions import staying
from rsscale.change_passes.temporal_labels import LabelledTransitions
from rsscale.errors import RecipeError, RsscaleError

YEARS = [2019, 2020, 2022]
NAMES = [one.name for one in CLASSES]
# Fields side by side within the area, off the lines of pixels and of tiles: classes of three years.
WEST, NORTH, SIDE = 733_503, 4_984_507, 800
FIELDS = [
    ("water", "water", "water"), ("crops", "built", "built"), ("crops", "crops", "crops"),
    ("open forest", "open forest", "crops"), ("crops", None, "built"), ("built", None, None),
    ("built", "built", "water"),
]  # fmt: skip
FAR = shapely.box(300_000, 4_900_000, 301_000, 4_901_000)


def field(number: int) -> shapely.Polygon:
    return shapely.box(WEST + number * SIDE, NORTH - SIDE, WEST + (number + 1) * SIDE, NORTH)


def write_labels(path: Path, fields: list[tuple[str | None, ...]] = FIELDS) -> Path:
    """Fields and years as polygons, and one far from the area whose class changed, too."""
    rows = [
        (field(number), name, year)
        for number, names in enumerate(fields)
        for name, year in zip(names, YEARS, strict=True)
        if name
    ]
    rows += [(FAR, "water", 2019), (FAR, "crops", 2020)]
    shapes, names, years = zip(*rows, strict=True)
    frame = gpd.GeoDataFrame(
        {"cover": names, "year": years}, geometry=list(shapes), crs="EPSG:32631"
    )
    frame.to_file(path)
    return path


def labels_of(path: Path, **changes: Any) -> dict[str, Any]:
    return {"file": str(path), "class": "cover", "period_column": "year", **changes}


def recipe_of(folder: Path, tile: int = 128, **step: Any) -> dict[str, Any]:
    """Of a strip of land around the fields."""
    folder.mkdir(parents=True, exist_ok=True)
    strip = shapely.box(WEST - 200, NORTH - SIDE - 300, WEST + 7 * SIDE + 200, NORTH + 200)
    gpd.GeoDataFrame(geometry=[strip], crs="EPSG:32631").to_file(folder / "area.gpkg")
    given = {"kind": "temporal-model", "of": "map", "transitions": "labels", "years": False}
    return formula_recipe(
        folder,
        tile=tile,
        periods=YEARS,
        options={"layers": ["classification", "probability"]},
        steps={"change": given | step},
    )


def mapped(folder: Path, tile: int = 128, **step: Any) -> rs.Run:
    with allowed():
        return rs.run(recipe_of(folder, tile, **step), folder / f"run-{tile}", threads=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> rs.Run:
    folder = tmp_path_factory.mktemp("labels")
    labels = write_labels(folder / "labels.gpkg")
    return mapped(folder, labels=labels_of(labels), pseudocount=50, stay=0.9)


@pytest.mark.extended
def test_labels_of_the_same_pixels_are_counted(run: rs.Run) -> None:
    rows = run.table("change-labels").to_pandas()
    value = {one.name: one.value for one in CLASSES}
    wanted: dict[tuple[int, int, int], int] = {}
    for names in FIELDS:
        there = [(y, value[n]) for y, n in zip(YEARS, names, strict=True) if n]
        for (y0, before), (y1, after) in pairwise(there):
            key = (y1 - y0, before, after)
            wanted[key] = wanted.get(key, 0) + (SIDE // 10) ** 2
    found = rows.groupby(["years", "from", "to"])["pixels"].sum().to_dict()
    assert found == wanted
    assert {gap for gap, *_ in wanted} == {1, 2, 3}
    facts = run.state["steps"]["change-labels"]["facts"]
    assert facts["pairs"] == sum(wanted.values())
    assert facts["differing"] == sum(n for (_, a, b), n in wanted.items() if a != b)


def test_the_matrix_is_that_of_the_labels_and_the_prior(run: rs.Run) -> None:
    table = run.table("change-transitions")
    found = table["probability"].to_numpy().reshape(4, 4)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    # Each field's years between its first and its last label; with a class in each of them.
    field_years = sum((3, 3, 3, 3, 3, 0, 3))
    counts = table["count"].to_numpy().reshape(4, 4)
    assert counts.sum() == pytest.approx(field_years * (SIDE // 10) ** 2)
    water, _, crops, built = found
    assert water[0] > 0.98
    assert crops[3] > 0.25 > 0.01 > crops[0]
    assert built[0] > built[1]
    made = counts + 50 * staying(4, 0.9)
    np.testing.assert_allclose(found, made / made.sum(axis=1, keepdims=True), atol=1e-5)


@pytest.mark.extended
def test_the_same_whatever_the_tiles_and_where_train_says_it(tmp_path: Path, run: rs.Run) -> None:
    """By the labels of the training, which read them by its own keys."""
    labels = write_labels(tmp_path / "labels.gpkg")
    train = {"labels": str(labels), "class": "cover", "period_column": "year", "most_pixels": 3,
             "periods": YEARS}  # fmt: skip
    recipe = recipe_of(tmp_path, 1024, pseudocount=50, stay=0.9) | {"train": train}
    with allowed():
        other = rs.run(recipe, tmp_path / "run", threads=1)
    assert other.table("change-transitions").equals(run.table("change-transitions"))
    first, second = (one.open("change").squeeze("time").load() for one in (run, other))
    x = slice(WEST - 200, WEST + 7 * SIDE + 200)
    y = slice(NORTH + 200, NORTH - SIDE - 300)
    for name in first.data_vars:
        one, another = (layers[name].sel(x=x, y=y).values for layers in (first, second))
        assert one.shape == (130, 600)
        np.testing.assert_array_equal(one, another, name)
    (line,) = other.state["steps"]["change-labels"]["lines"]
    assert line.startswith(
        "labels    transitions are counted from 70,400 pixels with labels of two"
    )


@pytest.mark.extended
def test_few_labels_are_told_and_the_prior_decides(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One field that did not change, and one of a class to which nothing may change."""
    labels = write_labels(tmp_path / "l.gpkg", [("water",) * 3, ("crops", "built", None)])
    given = {"labels": labels_of(labels), "forbidden": [["crops", "built"]], "stay": 0.9}
    done = mapped(tmp_path, 1024, **given, pseudocount=1e9)
    (line,) = done.state["steps"]["change-labels"]["lines"]
    assert line.startswith("labels    transitions are counted from 19,200 pixels")
    table = done.table("change-transitions")
    np.testing.assert_allclose(
        table["probability"].to_numpy().reshape(4, 4), staying(4, 0.9, [(2, 3)]), atol=1e-4
    )
    assert "6,400 labelled pixels became 'built' of 'crops', which 'forbidden' says" in caplog.text
    none = LabelledTransitions(
        step="t", of="l", schema=table.schema, classes=CLASSES, matrix=staying(4, 0.9),
        pseudocount=500,
    )  # fmt: skip
    caplog.clear()
    kept = none.fold([])["probability"].to_numpy().reshape(4, 4)
    np.testing.assert_allclose(kept, staying(4, 0.9))
    assert "0 pixels with labels of two years, 0 of them with another class, and 100" in caplog.text


@pytest.mark.parametrize(
    ("step", "train", "said"),
    [
        ({}, None, "'transitions: labels' needs .*, and there is no 'train'; give the step"),
        ({}, {"class": "cover"}, "train.labels are not of years, without 'period_column'; give"),
        ({}, {"class": "cover", "change": {"from": 2019, "to": 2020}}, "train.labels are of chang"),
        ({}, {"class": "cover", "period_column": "year", "periods": [2019]},
         (r"have the years \[2019\] in the area among train.periods \[2019\]; transitions are co")),
        ({"labels": {"period_column": "cover"}}, None, "row 0 has the period 'water'"),
        ({"labels": {"class": "kind"}}, None, "no column 'kind'"),
        ({"labels": {"file": "none.gpkg"}}, None, "there are no labels at .*none.gpkg"),
        ({"labels": {"file": "truth.tif"}}, None, "are a raster, which is of one time; 'trans"),
        ({"labels": {"ignore": ["built"], "merge": {"crops": ["water"]}}}, None, None),
        ({"labels": {"merge": {"crop": ["crops"]}}}, None, "crop"),
        ({"labels": {"perod_column": 1}}, None, "labels.perod_column: unknown key"),
        ({"labels": {}, "transitions": "stay"}, None, "'labels', which is for 'transitions: label"),
        ({"pseudocount": 3, "transitions": "estimate"}, None, "'pseudocount', which is for 'trans"),
        ({"pseudocount": 0, "labels": {}}, None, "pseudocount: input should be greater than 0"),
        ({"transitions": "label"}, None, "found 'label'; did you mean 'labels'"),
    ],
)  # fmt: skip
def test_labels_that_tell_nothing(
    tmp_path: Path, step: dict[str, Any], train: dict[str, Any] | None, said: str | None
) -> None:
    labels = write_labels(tmp_path / "labels.gpkg")
    (tmp_path / "truth.tif").touch()
    if "labels" in step:
        step = step | {"labels": labels_of(labels) | step["labels"]}
        step["labels"]["file"] = str(tmp_path / step["labels"]["file"])
    recipe = recipe_of(tmp_path, **step)
    if train is not None:
        recipe["train"] = {"labels": str(labels)} | train
    with allowed():
        if said is None:
            rs.plan(recipe, threads=1, device="cpu")
            return
        with pytest.raises(RecipeError, match=said) as caught:
            rs.plan(recipe, threads=1, device="cpu")
    assert "\n" not in str(caught.value)
    assert "steps.change" in str(caught.value) or "label" in step.get("transitions", "label")


def test_labels_of_other_classes_or_of_one_year(tmp_path: Path) -> None:
    strange = write_labels(tmp_path / "strange.gpkg", [("water", "watr", None)])
    with allowed(), pytest.raises(RecipeError, match=r"'watr' .* not among the classes .*'water'"):
        rs.plan(recipe_of(tmp_path, labels=labels_of(strange)))
    single = write_labels(tmp_path / "single.gpkg", [("water", None, None), ("crops", None, None)])
    with allowed(), pytest.raises(RecipeError, match=r"have the years \[2019\] in the area; trans"):
        rs.plan(recipe_of(tmp_path, labels=labels_of(single)))


def test_labels_that_changed_make_another_product(tmp_path: Path, run: rs.Run) -> None:
    """The run keeps the file; one of the same name with other labels is no plain resume."""
    folder, (kept,) = Path(str(run.path)).parent, run.folder.storage.names("files")
    assert kept.endswith("labels.gpkg")
    labels = write_labels(tmp_path / "labels.gpkg", FIELDS[:3])
    again = recipe_of(folder, labels=labels_of(labels), pseudocount=50, stay=0.9)
    with allowed(), pytest.raises(RsscaleError, match=r"steps.change \(its files\) differ"):
        rs.run(again, run.path, threads=1)
