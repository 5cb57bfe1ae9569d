"""What becomes of cut objects, and that boxes turn exactly as their image does."""

import numpy as np
import pytest
import shapely

from rsscale.object_scenes.cuts import cut_objects, turned, turned_image


def shapes(*boxes: tuple[float, float, float, float]) -> np.ndarray:
    return np.array([shapely.box(*box) for box in boxes], object)


def test_an_object_of_which_half_is_seen_is_kept_cut_and_less_is_masked() -> None:
    seen = np.ones((20, 20), bool)
    cut = cut_objects(shapes((-4, 2, 4, 6), (17, 10, 27, 14), (8, 8, 12, 12)), seen, 0.5)
    assert cut.boxes.tolist() == [[0, 2, 4, 6], [8, 8, 12, 12]]
    assert cut.which.tolist() == [0, 2]
    assert cut.ignored.tolist() == [1]
    masked = np.zeros((20, 20), bool)
    masked[10:14, 17:20] = True
    np.testing.assert_array_equal(~cut.seen, masked)


def test_pixels_of_a_kept_object_are_not_masked_with_an_ignored_one() -> None:
    seen = np.ones((20, 20), bool)
    cut = cut_objects(shapes((12, 4, 20, 12), (18, 6, 40, 10)), seen, 0.5)
    assert cut.ignored.tolist() == [1]
    assert cut.seen.all()


def test_what_other_places_hide_counts_as_cut() -> None:
    seen = np.ones((20, 20), bool)
    seen[:, 10:] = False  # of the test
    cut = cut_objects(shapes((4, 4, 14, 8), (8, 12, 18, 16), (12, 0, 16, 3)), seen, 0.5)
    assert cut.boxes.tolist() == [[4, 4, 10, 8]]
    assert cut.ignored.tolist() == [1]  # the third is not seen at all: nothing to mask
    assert not cut.seen[12:16, 8:10].any()
    assert not cut.seen[:, 10:].any()


def test_a_part_deeper_than_the_halo_of_each_cut_is_kept_whatever_its_share() -> None:
    seen = np.ones((20, 20), bool)
    objects = shapes((-60, -60, 9, 9), (12, -30, 40, 6), (12, 12, 60, 24), (4, 14, 6, 90))
    cut = cut_objects(objects, seen, 0.5, 8)
    # The first is 9 px deep in both directions; the second 8 px and 6 px; the third, cut on two
    # sides, 8 px and 8 px; the fourth is cut along y alone, and 6 px deep there.
    assert cut.which.tolist() == [0, 2]
    assert cut.boxes.tolist() == [[0, 0, 9, 9], [12, 12, 20, 20]]
    assert cut.ignored.tolist() == [1, 3]
    assert cut_objects(objects, seen, 0.5).which.tolist() == []
    seen[:, 4:9] = False  # more than half of the first's part is another place's
    assert 0 not in cut_objects(objects, seen, 0.5, 8).which


def test_what_spans_a_window_is_kept_as_the_window() -> None:
    cut = cut_objects(shapes((-100, -50, 200, 70)), np.ones((20, 20), bool), 0.5, 8)
    assert cut.boxes.tolist() == [[0, 0, 20, 20]]


def test_outlines_are_cut_with_their_boxes() -> None:
    triangle = np.array([shapely.Polygon([(-2, 0), (6, 0), (6, 8)])], object)
    cut = cut_objects(triangle, np.ones((20, 20), bool), 0.5)
    assert shapely.area(cut.outlines[0]) == pytest.approx(32 - 2)
    assert cut.boxes.tolist() == [[0, 0, 6, 8]]


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("flip", [False, True])
def test_boxes_and_outlines_turn_exactly_as_the_image(turns: int, flip: bool) -> None:
    size = 24
    boxes = np.array([[2.0, 3.5, 9.0, 5.5], [12.0, 1.0, 23.0, 20.0]])
    outlines = shapes(*map(tuple, boxes))
    finer = np.zeros((2 * size, 2 * size), np.float32)  # half pixels
    for number, (x0, y0, x1, y1) in enumerate((boxes * 2).astype(int), 1):
        finer[y0:y1, x0:x1] = number
    image = turned_image(finer, turns, flip=flip)
    moved, polygons = turned(boxes, outlines, size, turns, flip=flip)
    for number, (x0, y0, x1, y1) in enumerate((moved * 2).astype(int), 1):
        part = image == number
        rows, cols = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
        assert [cols[0], rows[0], cols[-1] + 1, rows[-1] + 1] == [x0, y0, x1, y1]
        assert shapely.bounds(polygons[number - 1]).tolist() == moved[number - 1].tolist()
        assert shapely.area(polygons[number - 1]) == shapely.area(outlines[number - 1])
    np.testing.assert_array_equal(moved * 2, np.round(moved * 2))  # no rounding
