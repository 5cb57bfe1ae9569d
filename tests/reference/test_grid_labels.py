"""Which labels give a pixel, which give none, and why."""

import numpy as np
import pytest
import shapely

from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.reference.grid_labels import GridLabels

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
    found = GridLabels(tuple(shapes), GRID).left_out(NAMES)
    assert len(found) == len(expected)
    assert all(line.startswith(start) for line, start in zip(found, expected, strict=True))


def test_what_is_touched_is_labelled_when_asked() -> None:
    shapes = ((square(0, 0), 1), (TINY, 3), (square(0.6, 40.6, 2), 2))
    labels = GridLabels(shapes, GRID, all_touched=True)
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
    burnt = GridLabels(shapes, GRID, priority=priority).rasterize(BOX)
    assert (burnt[20:30, 20:30] == winner).all()
    assert (burnt[10:20, 10:20] == 1).all()
    assert (burnt[30:40, 30:40] == 2).all()
    assert (burnt[50:55, 50:55] == 3).all()


def test_without_a_priority_among_them_there_is_no_label() -> None:
    shapes = ((square(0, 0), 1), (square(10, 10), 2), (square(12, 12, 4), 3))
    burnt = GridLabels(shapes, GRID, priority=(3,)).rasterize(BOX)
    assert (burnt[22:26, 22:26] == 3).all()
    assert (burnt[20:22, 20:30] == 255).all()
