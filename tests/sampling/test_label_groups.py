"""Polygons as groups: whose pixel each one is, whatever overlaps, in every period."""

import geopandas as gpd
import numpy as np
import shapely

from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.legend.classes import LandClass
from rsscale.reference.label_rules import LabelRules
from rsscale.reference.labels import Labels
from rsscale.sampling.label_groups import ByPolygon

GRID = Grid("EPSG:32631", 10)
BOX = PixelBox(-20, 0, 0, 20)
CLASSES = (LandClass(1, "a", "#000000"), LandClass(2, "b", "#ffffff"))


def labels(shapes: list, values: list[int], periods: list[int], **rules: object) -> Labels:
    frame = gpd.GeoDataFrame({"value": values, "period": periods}, geometry=shapes, crs=GRID.crs)
    return Labels(frame, CLASSES, "here", LabelRules(**rules))


def groups_of(some: Labels, periods: tuple[int, ...] = (2023,)) -> ByPolygon:
    return ByPolygon(some, {period: some.on(GRID, period) for period in periods})


def test_each_labelled_pixel_is_of_one_feature() -> None:
    """A small one on a large one of its class, and one of another class that has priority."""
    shapes = [
        shapely.box(0, 0, 150, 150), shapely.box(20, 20, 50, 50), shapely.box(100, 100, 200, 200),
    ]  # fmt: skip
    groups = groups_of(labels(shapes, [1, 1, 2], [-1, -1, -1], priority=("a",)))
    assert groups.groups_in(2023, BOX) == [0, 1, 2]
    values = groups.by_period[2023].rasterize(BOX)
    parts = [groups.labels(2023, BOX, group) for group in range(3)]
    np.testing.assert_array_equal(np.minimum.reduce(parts), values)
    assert [int((part != 255).sum()) for part in parts] == [225 - 9, 9, 100 - 25]
    assert sum((part != 255).astype(int) for part in parts).max() == 1


def test_pixels_that_no_class_has_are_of_no_feature() -> None:
    shapes = [shapely.box(0, 0, 100, 100), shapely.box(50, 50, 150, 150)]
    groups = groups_of(labels(shapes, [1, 2], [-1, -1]))
    assert int((groups.labels(2023, BOX, 0) != 255).sum()) == 75
    assert groups.groups_in(2023, PixelBox(-10, 5, -5, 10)) == []


def test_a_feature_is_the_same_group_in_every_year() -> None:
    shapes = [shapely.box(x, 0, x + 40, 40) for x in (0, 50, 100)]
    some = labels(shapes, [1, 2, 1], [2022, -1, 2023])
    groups = groups_of(some, (2022, 2023))
    assert groups.groups_in(2022, BOX) == [0, 1]
    assert groups.groups_in(2023, BOX) == [1, 2]
    found = groups.shapes_of([2, 1, 0, 2])
    assert [found[k].equals(shapes[k]) for k in (0, 1, 2)] == [True, True, True]
