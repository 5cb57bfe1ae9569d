"""Labelled objects are checked, counted, and refused by row."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from rsscale.errors import RecipeError
from rsscale.legend.classes import LandClass
from rsscale.object_scenes.object_file import read_objects
from rsscale.object_scenes.object_table import object_table
from rsscale.reference.label_rules import LabelRules


def frame(kinds: list, shapes: list | None = None) -> gpd.GeoDataFrame:
    boxes = [shapely.box(10 * k, 0, 10 * k + 4, 3) for k in range(len(kinds))]
    return gpd.GeoDataFrame({"kind": kinds}, geometry=boxes if shapes is None else shapes)


def test_objects_without_area_class_or_twice_are_left_out_and_counted() -> None:
    shapes = [
        shapely.box(0, 0, 4, 3),
        shapely.box(5, 0, 5, 3),  # no width
        None,
        shapely.box(10, 0, 14, 3),
        shapely.Polygon([(0, 3), (0, 0), (4, 0), (4, 3)]),  # the first again
        shapely.box(20, 0, 24, 3),
        shapely.box(30, 0, 34, 3),
    ]
    kinds = ["pond", "pond", "shed", float("nan"), "pond", "cloud", "shed"]
    table = object_table(
        frame(kinds, shapes), "kind", "labels x.gpkg", rules=LabelRules(ignore=("cloud",))
    )
    assert table.rows.tolist() == [0, 6]
    assert table.names() == ["pond", "shed"]
    assert table.unused.lines() == [
        "1 feature without a class: the cell of the class is empty",
        "1 feature of 'cloud': listed in train.ignore",
        "1 feature of 'pond': without a geometry, or with one that has no area",
        "1 feature of 'pond': there twice, with the same outline",
        "1 feature of 'shed': without a geometry, or with one that has no area",
    ]


def test_an_object_of_two_years_is_not_there_twice() -> None:
    boxes = [shapely.box(0, 0, 4, 3), shapely.box(0, 0, 4, 3), shapely.box(0, 0, 4, 3)]
    years = np.array([2023, 2024, 2024])
    table = object_table(frame(["pond"] * 3, boxes), "kind", "labels x", years=years)
    assert table.rows.tolist() == [0, 1]
    assert table.unused.lines() == ["1 feature of 'pond': there twice, with the same outline"]


@pytest.mark.parametrize(
    ("shapes", "told"),
    [
        (
            [shapely.box(0, 0, 1, 1), shapely.Point(3, 3), shapely.Point(4, 4)],
            r"labels x: 2 rows \(1, 2\) of 3 are of type Point; a detector learns from boxes",
        ),
        (
            [shapely.box(0, 0, 1, 1), shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 1)])] * 1,
            "labels x: row 1 is not valid: Self-intersection",
        ),
        (
            [shapely.box(0, 0, 1, 1), shapely.Polygon([(0, 0), (np.inf, 0), (1, 1)])],
            "labels x: row 1 with coordinates that are no finite numbers",
        ),
    ],
)
def test_what_is_no_box_or_polygon_is_refused_by_row(shapes: list, told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        object_table(frame(["a"] * len(shapes), shapes), "kind", "labels x")


def test_classes_are_those_of_the_legend() -> None:
    legend = [LandClass(7, "pond", "#0000ff"), LandClass(9, "shed", "#ff0000")]
    table = object_table(frame(["shed", "7"]), "kind", "labels x", legend=legend)
    assert table.classes.tolist() == [1, 0]
    with pytest.raises(RecipeError, match="class 'barn'"):
        object_table(frame(["shed", "barn"]), "kind", "labels x", legend=legend)
    with pytest.raises(RecipeError, match=r"have no column 'kin'; there are .*did you mean"):
        object_table(frame(["shed"]), "kin", "labels x")
    with pytest.raises(RecipeError, match="all 2 features have no class"):
        object_table(frame([None, ""]), "kind", "labels x")
    flat = frame(["shed"], [shapely.box(0, 0, 0, 3)])
    with pytest.raises(RecipeError, match="hold no object to learn from: 1 feature of 'shed'"):
        object_table(flat, "kind", "labels x")


def test_a_table_of_boxes(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text("XMin,ymin,xmax,ymax,kind\n1,2,5,4,pond\n3,3,3,9,shed\n")
    boxes = read_objects(path, crs="pixels")
    assert boxes.crs is None
    assert boxes.bounds.to_numpy().tolist() == [[1, 2, 5, 4], [3, 3, 3, 9]]
    assert read_objects(path, crs="EPSG:32631").crs.to_epsg() == 32631
    with pytest.raises(RecipeError, match=r"don't say what XMin, ymin, xmax, ymax count"):
        read_objects(path)
    path.write_text("xmin,ymin,xmax,ymax\n1,2,5,4\n30,3,3,9\n")
    told = "the box of row 1 is inverted: xmin 30, ymin 3, xmax 3, ymax 9; expected xmin below xmax"
    with pytest.raises(RecipeError, match=told):
        read_objects(path, crs="pixels")
    path.write_text("xmin,ymin,xmax,ymax\n1,2,5,\n")
    with pytest.raises(RecipeError, match="row 0 has no value in the column of coordinates 'ymax'"):
        read_objects(path, crs="pixels")
    path.write_text("x,y\n1,2\n")
    with pytest.raises(RecipeError, match=r"a table without boxes, with the columns \['x', 'y'\]"):
        read_objects(path, crs="pixels")
