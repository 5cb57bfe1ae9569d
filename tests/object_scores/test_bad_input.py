"""What can't be scored is refused in one line, or left out and named."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from scored_scenes import CRS, boxes

import rsscale as rs
from rsscale.errors import RecipeError
from rsscale.legend.classes import LandClass

TRUTH = boxes([(0, 0, 10, 10), (20, 0, 30, 10)], kind=["pond", "shed"])
FOUND = boxes([(0, 0, 10, 10)], score=[0.9], name=["pond"])


@pytest.mark.parametrize(
    ("predicted", "truth", "message"),
    [
        (FOUND, TRUTH.set_crs(None, allow_override=True), "the true objects have no CRS, and the"),
        (
            FOUND.set_crs(None, allow_override=True),
            TRUTH.set_crs(None, allow_override=True),
            "neither table has a CRS; set it with set_crs, or name with image",
        ),
        (FOUND.drop(columns="geometry"), TRUTH, "predicted objects are a DataFrame without geom"),
        (
            boxes([(5e5, 5e6, 5e5 + 9, 5e6 + 9)]),
            TRUTH,
            "x 500000 to 500009, y 5000000 to 5000009 and true ones in x 0 to 30, y 0 to 10",
        ),
        (FOUND.assign(score=np.nan).iloc[[0, 0]].assign(score=[np.nan, 1]), TRUTH,
         "1 predicted object of 2 without a finite score, row 0"),
        (FOUND.assign(score="high"), TRUTH, "column 'score' of the predicted objects is of type"),
        (gpd.GeoDataFrame(geometry=[shapely.LineString([(0, 0), (1, 1)])], crs=CRS), TRUTH,
         "row 0 of the predicted objects is a LineString; expected polygons or points"),
        (gpd.GeoDataFrame(geometry=[shapely.Point(1, 1), shapely.box(0, 0, 1, 1)], crs=CRS), TRUTH,
         "predicted objects are 1 point and 1 polygon; expected one kind"),
        (FOUND, boxes([(3, 3, 3, 9)]), "none of 1 true object has an area or is a point"),
    ],
)  # fmt: skip
def test_refused(predicted, truth, message):
    with pytest.raises(RecipeError) as error:
        rs.score_objects(predicted, truth)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iou": 0}, "iou is 0; expected thresholds above 0"),
        ({"iou": [0.5, 1.5]}, "expected thresholds above 0, up to 1"),
        ({"distance": 3}, "distance is for points, and both tables hold polygons"),
        ({"matching": "best"}, "matching is 'best'; expected 'score' or 'order'"),
        ({"block": 0}, "block is 0; expected metres above 0"),
        ({"sizes": [100, 10]}, "expected borders in m² that ascend"),
        ({"sizes": "coco"}, "say with resolution how many metres a pixel is"),
        ({"max_detections": 0}, "max_detections is 0; expected at least 1"),
        ({"resamples": -1}, "resamples is -1; expected 0 to 10,000"),
        ({"class_column": "kinds"}, "no column 'kinds'; they have ['kind']; did you mean 'kind'?"),
        ({"image": "tile"}, "predicted objects have no column 'tile' of images"),
        ({"score": "scores"}, "no column 'scores' of scores; they have"),
        ({"regions": TRUTH}, "say which column of the regions names them"),
        ({"regions": TRUTH, "region_id": "id"}, "the regions have no column 'id'"),
        ({"within": shapely.Polygon()}, "areas in which objects count are empty"),
    ],
)
def test_options(options, message):
    with pytest.raises(RecipeError) as error:
        rs.score_objects(FOUND, TRUTH, **options)
    assert message in str(error.value)


def test_what_has_no_area_is_left_out_and_named():
    bow = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    shapes = [shapely.box(0, 0, 10, 10), shapely.Polygon(), None, shapely.box(5, 5, 5, 9), bow]
    predicted = gpd.GeoDataFrame({"score": [0.9, 0.8, 0.7, 0.6, 0.5]}, geometry=shapes, crs=CRS)
    found = rs.score_objects(predicted, TRUTH)
    assert found.predicted == 2
    assert (
        "3 predicted objects without an area or a geometry, rows 1, 2, 3: left out" in found.notes
    )
    assert any("1 predicted object not valid, row 4 (Self-inters" in note for note in found.notes)
    # A box that is drawn the other way round is the same box.
    turned = gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 10, 10, ccw=False)], crs=CRS)
    assert rs.score_objects(turned, TRUTH).overall.thresholds[0.5].true == 1


def test_duplicates_of_the_truth_count_once():
    twice = TRUTH.iloc[[0, 1, 0]]
    found = rs.score_objects(FOUND, twice)
    assert found.overall.truth == 2
    assert found.notes == (
        "1 true object with the outline and class of another, rows 0, 2: each is counted once",
    )


def test_an_empty_table_is_not_a_missing_one():
    nothing = gpd.GeoDataFrame({"score": [], "name": []}, geometry=[], crs=CRS)
    found = rs.score_objects(nothing, TRUTH, class_column="kind").overall
    at = found.thresholds[0.5]
    assert (at.recall.value, at.f1.value, at.precision.value) == (0, 0, None)
    assert at.precision.why == "no predicted object"
    assert found.average_precision["AP"].value == 0
    assert found.panoptic["PQ"].value == 0
    assert found.panoptic["SQ"].value is None
    none = rs.score_objects(FOUND, TRUTH.iloc[:0], class_column="kind")
    at = none.overall.thresholds[0.5]
    assert (at.false, at.precision.value, at.recall.why) == (1, None, "no true object")
    both = rs.score_objects(nothing, TRUTH.iloc[:0])
    assert both.overall.thresholds[0.5].recall.value is None
    assert "IoU 0.5" in repr(both)
    # As pandas makes an empty table of objects, without a CRS.
    bare = gpd.GeoDataFrame({"geometry": []}, geometry="geometry")
    assert rs.score_objects(bare, TRUTH).overall.thresholds[0.5].missed == 2


def test_classes_that_differ():
    with pytest.raises(RecipeError) as error:
        rs.score_objects(FOUND, TRUTH.assign(kind=["Pond", "Shed"]), class_column="kind")
    assert "the truth has 'Pond' (1), 'Shed' (1), predictions have ['pond']" in str(error.value)
    found = rs.score_objects(FOUND, TRUTH, class_column="kind")
    assert found.notes == ("no object is predicted of the classes 'shed' (1): these are missed",)
    legend = [LandClass(1, "pond", "#0000ff"), LandClass(2, "silo", "#00ff00")]
    found = rs.score_objects(FOUND, TRUTH, class_column="kind", classes=legend)
    assert found.overall.truth == 1
    assert found.notes[0] == (
        "1 true object of no class of the predictions left out: 'shed' (1); the classes are "
        "['pond', 'silo']"
    )
    assert list(found.classes) == ["pond", "silo"]
    by_value = rs.score_objects(
        FOUND.assign(**{"class": 1}), TRUTH.assign(code=[1.0, 2.0]), class_column="code",
        classes=legend,
    )  # fmt: skip
    assert by_value.classes["pond"].thresholds[0.5].true == 1
    with pytest.raises(RecipeError, match="1 true object without a class in the column 'kind'"):
        rs.score_objects(FOUND, TRUTH.assign(kind=["pond", None]), class_column="kind")
    with pytest.raises(RecipeError, match="are none of the classes"):
        rs.score_objects(FOUND, TRUTH, class_column="kind", classes=["silo", "shed"])


def test_what_is_shown():
    found = rs.score_objects(FOUND, TRUTH, class_column="kind", iou=[0.5, 0.75])
    text = repr(found)
    assert text.splitlines()[0] == "1 predicted object, 2 true; matched highest score first"
    assert "IoU 0.75" in text
    html = found._repr_html_()
    assert html.count("<table") == 3
    assert "1 of at least 10 blocks" in html
    table = found.table()
    assert set(table.group) == {"all", "class"}
    recall = table[(table.name == "all") & (table.figure == "recall") & (table.threshold == 0.5)]
    assert recall.value.tolist() == [0.5]
    assert found.to_dict()["overall"]["thresholds"]["0.75"]["recall"]["value"] == 0.5
