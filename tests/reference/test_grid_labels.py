"""Which labels give a pixel, which give none, and why."""

from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest
import shapely

from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.reference.grid_features import GridFeatures, without_edge
from rsscale.reference.grid_labels import THIN_BLOCK
from rsscale.reference.unused_labels import Reason, Unit

GRID = Grid("EPSG:32631", 10.0)
NAMES = {1: "field", 2: "pond", 3: "shed"}
BOX = PixelBox(-10, -10, 60, 60)


def square(row: float, col: float, size: float = 20) -> shapely.Polygon:
    return shapely.box(col * 10, -(row + size) * 10, (col + size) * 10, -row * 10)


TINY = square(30.1, 30.1, 0.3)
CASES = {
    "all give pixels": ([(square(0, 0), 1), (square(30, 30), 3)], []),
    "too small": (
        [(square(0, 0), 1), (TINY, 3), (square(40.6, 8.6, 0.8), 3)],
        ["2 features of 'shed': too small"],
    ),
    "inside another class": (
        [(square(0, 0), 1), (square(5, 5, 5), 2)],
        ["1 feature of 'pond': overlapped by another class everywhere"],
    ),
    "inside its own class": ([(square(0, 0), 1), (square(5, 5, 5), 1)], []),
    "the same twice": ([(square(0, 0), 1), (square(0, 0), 1)], []),
    "the same as two classes": (
        [(square(0, 0), 1), (square(0, 0), 2)],
        ["1 feature of 'field': overlapped", "1 feature of 'pond': overlapped"],
    ),
    "a point in a polygon of another class": (
        [(square(0, 0), 1), (shapely.Point(55, -55), 2)],
        ["1 feature of 'pond': overlapped"],
    ),
    "two points in a pixel": ([(shapely.Point(51, -51), 2), (shapely.Point(58, -58), 2)], []),
    "partly overlapped": ([(square(0, 0), 1), (square(10, 10), 2)], []),
}


@pytest.mark.parametrize("name", CASES)
def test_features_without_a_pixel_are_counted_with_the_reason(name: str) -> None:
    shapes, expected = CASES[name]
    found = GridFeatures(GRID, shapes=tuple(shapes)).left_out(NAMES)
    found = [line for line in found if "labelled pixel" not in line]
    assert len(found) == len(expected)
    assert all(line.startswith(start) for line, start in zip(found, expected, strict=True))


def test_what_is_touched_is_labelled_when_asked() -> None:
    shapes = ((square(0, 0), 1), (TINY, 3), (square(0.6, 40.6, 2), 2))
    labels = GridFeatures(GRID, shapes=shapes, all_touched=True)
    assert labels.left_out(NAMES) == []
    burnt = labels.rasterize(BOX)
    assert (burnt == 3).sum() == 1
    assert (burnt == 2).sum() == 9
    part = PixelBox(3, 3, 41, 43)
    np.testing.assert_array_equal(labels.rasterize(part), burnt[part.slices(BOX)])
    assert labels.blocks(32) == [b for b in BOX.blocks(32) if (labels.rasterize(b) != 255).any()]


@pytest.mark.parametrize(
    ("priority", "winner"), [((2,), 2), ((1,), 1), ((2, 1), 2), ((1, 2), 1), ((3, 2), 2)]
)
def test_classes_with_priority_win(priority: tuple[int, ...], winner: int) -> None:
    shapes = ((square(0, 0), 1), (square(10, 10), 2), (square(40, 40, 5), 3))
    burnt = GridFeatures(GRID, shapes=shapes, priority=priority).rasterize(BOX)
    assert (burnt[20:30, 20:30] == winner).all()
    assert (burnt[10:20, 10:20] == 1).all()
    assert (burnt[30:40, 30:40] == 2).all()
    assert (burnt[50:55, 50:55] == 3).all()


def test_without_a_priority_among_them_there_is_no_label() -> None:
    shapes = ((square(0, 0), 1), (square(10, 10), 2), (square(12, 12, 4), 3))
    burnt = GridFeatures(GRID, shapes=shapes, priority=(3,)).rasterize(BOX)
    assert (burnt[22:26, 22:26] == 3).all()
    assert (burnt[20:22, 20:30] == 255).all()


def test_pixels_that_two_classes_claim_are_counted_for_both() -> None:
    labels = GridFeatures(GRID, shapes=((square(0, 0), 1), (square(10, 10), 2)))
    key = (Reason.AMBIGUOUS, Unit.PIXELS)
    assert labels.unused(NAMES).counts == {("field", *key): 100, ("pond", *key): 100}


def test_majority_gives_a_pixel_to_the_class_that_covers_most_of_it() -> None:
    """Neighbours whose border runs through pixels: with all_touched both claim these."""
    shapes = ((square(0, 0.3, 20), 1), (square(0, 20.3, 20), 2))  # the border at column 20.3
    dropped = GridFeatures(GRID, shapes=shapes, all_touched=True)
    assert (dropped.rasterize(BOX)[10:30, 30] == 255).all()
    labels = replace(dropped, overlap="majority")
    assert (labels.rasterize(BOX)[10:30, 30] == 2).all()
    assert (labels.rasterize(BOX)[10:30, 10] == 1).all()  # touched by one alone
    part = PixelBox(7, 19, 13, 22)
    assert np.array_equal(labels.rasterize(part), labels.rasterize(BOX)[part.slices(BOX)])
    assert labels.unused(NAMES).counts == {}


def test_majority_leaves_a_tie_without_a_label() -> None:
    shapes = ((square(0, 0), 1), (square(10, 10), 2))
    labels = GridFeatures(GRID, shapes=shapes, overlap="majority")
    assert (labels.rasterize(BOX)[20:30, 20:30] == 255).all()
    points = [shapely.Point(52, -52), shapely.Point(57, -57), shapely.Point(55, -53)]
    shapes = tuple(zip(points, (3, 3, 1), strict=True))
    labels = GridFeatures(GRID, shapes=shapes, overlap="majority")
    assert labels.rasterize(PixelBox(5, 5, 6, 6)) == 3  # two points to one
    assert GridFeatures(GRID, shapes=shapes).rasterize(PixelBox(5, 5, 6, 6)) == 255


@pytest.mark.parametrize(
    ("crs", "row", "scale"),
    [
        ("EPSG:32631", -498_300, 1.0),
        ("EPSG:3857", -839_972, 0.5),  # at 60 degrees north a unit is half a metre
    ],
)
def test_the_edge_is_left_out_in_metres_on_the_ground(crs: str, row: int, scale: float) -> None:
    grid = Grid(crs, 10.0)
    col = 50_000
    shapes = ((square(row, col, 40), 1), (shapely.Point(col * 10 + 605, -row * 10 - 5), 2))
    burnt = GridFeatures(grid, shapes=shapes, edge=20.0).rasterize(
        PixelBox(row - 5, col - 5, row + 45, col + 75)
    )
    pixels = round(20 / (10 * scale))
    assert (burnt == 1).sum() == (40 - 2 * pixels) ** 2
    assert (burnt == 2).sum() == 1  # a point has no edge


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:3035", "EPSG:2263", "EPSG:32631"])
@pytest.mark.parametrize("latitude", [10.0, 50.0, 69.0])
def test_the_edge_is_as_wide_as_in_a_local_projection(crs: str, latitude: float) -> None:
    longitude = 10.0
    local = f"+proj=aeqd +lat_0={latitude} +lon_0={longitude} +datum=WGS84"
    ring = [(0, 0), (400, 50), (350, 420), (200, 300), (-60, 380)]
    field = gpd.GeoSeries([shapely.segmentize(shapely.Polygon(ring), 20)], crs=local)
    shrunk = without_edge(field.to_crs(crs).to_numpy(), crs, 25.0)
    back = gpd.GeoSeries(shrunk, crs=crs).to_crs(local)[0]
    expected = field[0].buffer(-25.0)
    assert back.symmetric_difference(expected).area < 0.01 * expected.area


def test_polygons_that_are_all_edge_are_counted() -> None:
    shapes = ((square(-498_300, 50_000, 3), 1), (square(-498_299.8, 50_010.2, 0.2), 3))
    labels = GridFeatures(GRID, shapes=shapes, edge=20.0)
    assert labels.lost() == {0: Reason.EDGE, 1: Reason.TOO_SMALL}
    assert labels.blocks(64) == []
    assert GridFeatures(GRID, shapes=shapes).lost() == {1: Reason.TOO_SMALL}


def test_what_is_outside_the_area_is_no_label() -> None:
    shapes = ((square(0, 0), 1), (square(5, 40), 2), (square(10, 5, 30), 2))
    area = square(-10, -10, 30)  # to row and column 20
    labels = GridFeatures(GRID, area, shapes=shapes)
    burnt, whole = labels.rasterize(BOX), GridFeatures(GRID, shapes=shapes).rasterize(BOX)
    inside = np.zeros(burnt.shape, bool)
    inside[:30, :30] = True
    assert np.array_equal(burnt, np.where(inside, whole, 255))
    counts = labels.unused(NAMES).counts
    assert counts["pond", Reason.OUTSIDE_AREA, Unit.FEATURES] == 1
    assert (
        counts["pond", Reason.OUTSIDE_AREA, Unit.PIXELS]
        == (whole == 2)[:, :45].sum() - (burnt == 2).sum()
    )


@pytest.mark.parametrize("most", [1, 7, 100])
def test_thinned_pixels_depend_on_their_place_alone(most: int) -> None:
    shapes = [(square(0, 0), 1), (square(500, 500, 40), 2), (square(30, 30, 5), 1)]
    labels = GridFeatures(GRID, most_pixels=most, shapes=tuple(shapes))
    around = PixelBox(-10, -10, 560, 560)
    burnt = labels.rasterize(around)
    again = replace(labels, shapes=tuple(shapes[::-1])).rasterize(around)
    assert np.array_equal(burnt, again)
    part = PixelBox(3, 5, 530, 517)
    assert np.array_equal(labels.rasterize(part), burnt[part.slices(around)])
    for block in around.blocks(THIN_BLOCK):
        inside = labels.rasterize(block)
        all_of_them = labels.inside(block)
        for value in (1, 2):
            expected = min(most, int((all_of_them == value).sum()))
            assert (inside == value).sum() == expected
            assert (all_of_them[inside == value] == value).all()
    whole = replace(labels, most_pixels=None).rasterize(around)
    unused = labels.unused(NAMES).counts["field", Reason.THINNED, Unit.PIXELS]
    assert unused == (whole == 1).sum() - (burnt == 1).sum()


def test_thinned_pixels_are_spread() -> None:
    """As a random draw would be: each quarter has its share, and rows are no pattern."""
    labels = GridFeatures(GRID, most_pixels=4000, shapes=((square(0, 0, 400), 1),))
    kept = labels.rasterize(PixelBox(0, 0, 400, 400)) == 1
    quarters = kept.reshape(2, 200, 2, 200).sum(axis=(1, 3))
    assert kept.sum() == 4000
    assert np.abs(quarters - 1000).max() < 110  # four standard deviations
    assert kept.any(axis=0).all()
    assert kept.any(axis=1).all()
