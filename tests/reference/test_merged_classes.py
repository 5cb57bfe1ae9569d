"""Classes merged and ignored, blank ones counted, and labels outside the area."""

import logging
from pathlib import Path

import geopandas as gpd
import pytest
import shapely
from odc.geo.geom import Geometry

from rsscale.errors import RecipeError
from rsscale.geo.grid import Grid
from rsscale.legend.classes import LandClass
from rsscale.reference.label_rules import LabelRules
from rsscale.reference.labels import Labels, read_labels
from rsscale.reference.unused_labels import BLANK, Reason, Unit

CLASSES = (LandClass(3, "forest", "#006600"), LandClass(8, "water", "#0000ff"))
FEATURES = Unit.FEATURES
NAMES = ["broadleaf", "conifer ", "water", "cloud", None, "", "conifer", "water"]


def labels_of(
    folder: Path, names: list[object], rules: LabelRules | None = None, **options: object
) -> Labels:
    """Points on a line from 3 degrees east, a hundredth of a degree apart."""
    points = [shapely.Point(3 + k / 100, 45) for k in range(len(names))]
    frame = gpd.GeoDataFrame({"cover": names}, geometry=points, crs="EPSG:4326")
    frame.to_parquet(folder / "a.parquet")
    return read_labels(folder / "a.parquet", "cover", rules=rules, **options)


def test_classes_are_merged_and_ignored_and_counted(tmp_path: Path) -> None:
    rules = LabelRules(merge={"forest": ("broadleaf", "conifer")}, ignore=("cloud",))
    labels = labels_of(tmp_path, NAMES, rules, classes=CLASSES)
    assert labels.frame["value"].tolist() == [3, 3, 8, 3, 8]
    assert labels.frame.index.tolist() == [0, 1, 2, 6, 7]
    assert labels.unused.counts == {
        (BLANK, Reason.BLANK, FEATURES): 2,
        ("cloud", Reason.IGNORED, FEATURES): 1,
    }
    own = labels_of(tmp_path, NAMES, rules)
    assert [(c.value, c.name) for c in own.classes] == [(1, "forest"), (2, "water")]


@pytest.mark.parametrize("zero", [0, "0", "00"])
def test_codes_are_merged_and_ignored_however_they_are_written(
    tmp_path: Path, zero: int | str
) -> None:
    rules = LabelRules(merge={"forest": (1, "02")}, ignore=(zero,))
    for names in ([1.0, 2.0, 0.0, 8.0, float("nan")], ["1", "02", "0", "8", None]):
        labels = labels_of(tmp_path, names, rules, classes=CLASSES)
        assert labels.frame["value"].tolist() == [3, 3, 8]
        assert sum(labels.unused.counts.values()) == 2


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            LabelRules(ignore=("clouds",)),
            r"train.ignore lists 'clouds', which no label has.*'cloud'",
        ),
        (LabelRules(merge={"forest": ("conifers",)}), "train.merge lists 'conifers'"),
        (LabelRules(merge={"wood": ("conifer",)}), "makes 'wood', which is not among the classes"),
        (
            LabelRules(merge={"forest": ("conifer",), "water": ("conifer",)}),
            "'conifer' is listed in train.merge.forest and in train.merge.water",
        ),
        (
            LabelRules(merge={"forest": ("cloud",)}, ignore=("cloud",)),
            "'cloud' is listed in train.ignore and in train.merge.forest",
        ),
        (LabelRules(merge={"forest": ()}), "train.merge.forest lists no class"),
        (LabelRules(ignore=(" ",)), "lists an empty name"),
        (
            LabelRules(merge={"forest": ("broadleaf",)}, ignore=("cloud",)),
            r"class 'conifer' \(2 features\) is not among the classes",
        ),
    ],
    ids=str,
)
def test_rules_that_do_not_fit_are_refused(tmp_path: Path, rules: LabelRules, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        labels_of(tmp_path, NAMES, rules, classes=CLASSES)


def test_labels_of_which_none_is_a_class_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="all 2 features have no class"):
        labels_of(tmp_path, [None, " "])
    with pytest.raises(RecipeError, match=r"all 2 features .*train.ignore"):
        labels_of(tmp_path, ["a", None], LabelRules(ignore=("a",)))


def test_a_single_feature_of_a_class_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        labels_of(tmp_path, ["forest", "water", "water"])
    (record,) = caplog.records
    assert "a single feature of 'forest'" in record.getMessage()


@pytest.mark.parametrize("key", ["edge", "overlap", "most_pixels"])
def test_rules_check_themselves(key: str) -> None:
    wrong = {"edge": -1.0, "overlap": "mean", "most_pixels": 0}[key]
    with pytest.raises(RecipeError, match=f"{key} is"):
        LabelRules(**{key: wrong})
    with pytest.raises(RecipeError, match="leave out one of them"):
        LabelRules(all_touched=True, edge=5.0)


def test_labels_outside_the_area_are_counted_by_class(tmp_path: Path) -> None:
    area = Geometry(shapely.box(2.995, 44.9, 3.025, 45.1), "EPSG:4326")
    rules = LabelRules(merge={"forest": ("broadleaf", "conifer")}, ignore=("cloud",))
    labels = labels_of(tmp_path, NAMES, rules, classes=CLASSES, area=area)
    assert labels.frame["value"].tolist() == [3, 3, 8]
    outside = {
        name: n for (name, r, _), n in labels.unused.counts.items() if r is Reason.OUTSIDE_AREA
    }
    assert outside == {"forest": 1, "water": 1}
    grid = Grid("EPSG:32631", 10.0)
    total = labels.unused_in({2023: labels.on(grid, 2023)})
    assert total == labels.unused


def test_features_of_other_years_are_counted_and_used_ones_are_not(tmp_path: Path) -> None:
    points = [shapely.Point(3, 45), shapely.Point(3, 45), shapely.Point(3.1, 45)]
    frame = gpd.GeoDataFrame(
        {"cover": ["forest", "water", "water"], "year": [2022, 2023, 2020]},
        geometry=points, crs="EPSG:4326",
    )  # fmt: skip
    frame.to_file(tmp_path / "a.gpkg")
    labels = read_labels(tmp_path / "a.gpkg", "cover", period_column="year", classes=CLASSES)
    grid = Grid("EPSG:32631", 10.0)
    by_period = {year: labels.on(grid, year) for year in (2022, 2023)}
    assert labels.unused_in(by_period).counts == {("water", Reason.OTHER_PERIOD, FEATURES): 1}
    always = read_labels(tmp_path / "a.gpkg", "cover", classes=CLASSES)
    counts = always.unused_in({year: always.on(grid, year) for year in (2022, 2023)}).counts
    assert counts["forest", Reason.OVERLAPPED, FEATURES] == 1  # once, and not once a year
    assert counts["water", Reason.OVERLAPPED, FEATURES] == 1
