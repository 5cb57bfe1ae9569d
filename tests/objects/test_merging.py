"""Pieces of windows: what is one, what touches, and what becomes of them."""

import numpy as np
import shapely

from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.objects.candidates import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    Candidates,
    together,
    window_candidates,
)
from rsscale.objects.deciding import Rules, decide_all
from rsscale.objects.detections import Detections
from rsscale.objects.merging import covered_pieces, merge_pieces

LATTICE = Lattice(100, 20)


def seen_by(
    row: int,
    col: int,
    *boxes: tuple[float, float, float, float],
    value: int = 1,
    score: float = 0.8,
) -> Candidates:
    """What the window at a place of the lattice detects, in global pixels."""
    core = PixelBox(row * 100, col * 100, row * 100 + 100, col * 100 + 100)
    count = len(boxes)
    found = Detections(
        np.array(boxes, float).reshape(count, 4),
        np.full(count, score, np.float32),
        np.full(count, value, np.int32),
    )
    return window_candidates(found, core, LATTICE)


def test_a_detection_at_the_edge_of_its_window_is_a_piece() -> None:
    found = seen_by(0, 0, (10, 10, 30, 30), (90, 10, 120, 30), (-20, -20, 118, 50), (5, 90, 9, 117))
    assert found.sides.tolist() == [0, RIGHT, LEFT | TOP | RIGHT, 0]
    assert found.keys.tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 0, 3]]


def test_a_large_object_is_one_although_its_boxes_end_short_of_their_windows() -> None:
    """Networks place the edges of large boxes to some hundredths of their width."""
    views = [
        seen_by(0, 0, (30, 40, 117.5, 80)),  # of windows that end at 120,
        seen_by(0, 1, (83, 40, 217, 80)),  # begin at 80 and end at 220,
        seen_by(0, 2, (183, 40, 317, 80)),
        seen_by(0, 3, (282.5, 40, 370, 80)),
    ]
    assert [view.sides.tolist() for view in views] == [
        [RIGHT], [LEFT | RIGHT], [LEFT | RIGHT], [LEFT]
    ]  # fmt: skip
    found = decide_all(together(views), 100, Rules())
    assert [shape.bounds for shape in found.shapes] == [(30, 40, 370, 80)]
    assert found.parts.tolist() == [4]
    assert found.cut.tolist() == [False]
    small = seen_by(0, 0, (90, 40, 117.5, 60), (119, 10, 119, 30))  # the second has no area
    assert small.sides.tolist() == [0]


def test_of_pieces_of_one_window_that_overlap_the_best_one_stays() -> None:
    """A network without suppression of its own finds an object at the edge several times."""
    core = PixelBox(0, 0, 100, 100)
    found = Detections(
        np.array(
            [[80, 10, 120, 30], [79, 10, 120, 31], [80, 60, 119, 80], [40, 40, 60, 60]], float
        ),
        np.array([0.6, 0.8, 0.7, 0.5], np.float32),
        np.array([1, 1, 1, 1], np.int32),
    )
    candidates = window_candidates(found, core, LATTICE, iou=0.5)
    assert candidates.keys[:, 2].tolist() == [1, 2, 3], "numbers are those of the window"
    assert candidates.sides.tolist() == [RIGHT, RIGHT, 0]
    every = decide_all(candidates, 100, Rules(0.5))
    assert every.keys[:, 2].tolist() == [1, 2, 3]
    of_classes = Detections(found.boxes, found.scores, np.array([1, 2, 1, 1], np.int32))
    assert len(window_candidates(of_classes, core, LATTICE, iou=0.5)) == 4
    assert len(window_candidates(of_classes, core, LATTICE, iou=0.5, agnostic=True)) == 3


def test_what_is_another_window_s_is_left_out() -> None:
    # centre beyond half the halo; a piece beside the core; none of it in the window; no area
    found = seen_by(
        0, 0, (105, 10, 117, 30), (101, 10, 120, 30), (130, 10, 150, 30), (40, 40, 40, 50)
    )
    assert len(found) == 0
    assert len(seen_by(0, 0, (101, 10, 117, 30))) == 1, "its centre lies within half a halo"


def test_an_object_wider_than_a_window_is_put_together() -> None:
    left = seen_by(0, 0, (30, 40, 120, 70), score=0.9)
    middle = seen_by(0, 1, (80, 41, 220, 71), score=0.6)
    right = seen_by(0, 2, (180, 39, 260, 69), score=0.6)
    merged = merge_pieces(together([right, left, middle]), 100)
    assert len(merged.shapes) == 1
    assert merged.parts.tolist() == [3]
    assert merged.cut.tolist() == [False]
    assert merged.keys.tolist() == [[0, 0, 0]]
    wanted = shapely.union_all(
        [shapely.box(30, 40, 100, 70), shapely.box(100, 41, 200, 71), shapely.box(200, 39, 260, 69)]
    )
    assert merged.shapes[0].equals(wanted)
    areas = np.array([70, 100, 60]) * 30
    np.testing.assert_allclose(
        merged.scores[0], np.average([0.9, 0.6, 0.6], weights=areas), rtol=1e-6
    )


def test_four_windows_around_a_corner() -> None:
    box = (60.0, 70.0, 150.0, 140.0)
    parts = [
        seen_by(row, col, (max(box[0], 100 * col - 20), max(box[1], 100 * row - 20),
                           min(box[2], 100 * col + 120), min(box[3], 100 * row + 120)))
        for row in (0, 1) for col in (0, 1)
    ]  # fmt: skip
    merged = merge_pieces(together(parts), 100)
    assert merged.parts.tolist() == [4]
    assert merged.shapes[0].equals(shapely.box(*box))
    assert merged.cut.tolist() == [False]


def test_a_piece_that_nothing_goes_on_from_is_cut() -> None:
    merged = merge_pieces(seen_by(0, 0, (30, 40, 120, 70)), 100)
    assert merged.shapes[0].equals(shapely.box(30, 40, 100, 70))
    assert merged.cut.tolist() == [True]
    assert merged.parts.tolist() == [1]
    assert seen_by(1, 0, (30, 80, 40, 220)).sides.tolist() == [TOP | BOTTOM]


def test_pieces_of_other_classes_or_that_hardly_touch_stay_apart() -> None:
    left = seen_by(0, 0, (30, 40, 120, 70))
    for other in (
        seen_by(0, 1, (80, 40, 160, 70), value=2),
        seen_by(0, 1, (80, 56, 160, 90)),  # 14 of 30 px of the line
        seen_by(0, 1, (80, 70, 160, 90)),  # at a corner
        seen_by(1, 1, (80, 80, 160, 110)),
    ):
        assert len(merge_pieces(together([left, other]), 100).shapes) == 2
    half = seen_by(0, 1, (80, 55, 160, 90))
    assert len(merge_pieces(together([left, half]), 100).shapes) == 1


def test_a_piece_of_what_another_window_sees_whole_is_dropped() -> None:
    whole = seen_by(0, 1, (90, 40, 190, 70))
    piece = seen_by(0, 0, (90, 40, 120, 70))
    assert covered_pieces(piece, whole).tolist() == [True]
    assert covered_pieces(seen_by(0, 0, (90, 40, 120, 70), value=2), whole).tolist() == [False]
    assert covered_pieces(
        seen_by(0, 0, (90, 40, 120, 70), value=2), whole, agnostic=True
    ).tolist() == [True]
    found = decide_all(together([piece, whole]), 100, Rules())
    assert [shape.bounds for shape in found.shapes] == [(90, 40, 190, 70)]
    assert found.dropped == 1


def test_outlines_are_clipped_and_joined_by_what_they_share_of_a_line() -> None:
    disc = shapely.Point(100, 50).buffer(45)
    parts = []
    for col in (0, 1):
        core = PixelBox(0, 100 * col, 100, 100 * col + 100)
        shape = disc.intersection(shapely.box(core.col0 - 20, -20, core.col1 + 20, 120))
        found = Detections(
            np.array([shape.bounds]), np.ones(1, np.float32), np.ones(1, np.int32), (shape,)
        )
        parts.append(window_candidates(found, core, LATTICE))
    merged = merge_pieces(together(parts), 100)
    assert merged.parts.tolist() == [2]
    assert merged.shapes[0].symmetric_difference(disc).area < 1e-9
    assert merged.shapes[0].geom_type == "Polygon"


def test_a_hole_in_what_was_seen_is_told_where_it_touches_the_edge() -> None:
    seen = np.ones((140, 140), bool)
    seen[60:66, 60:66] = False  # of the window, whose first pixel is -20, -20
    core = PixelBox(0, 0, 100, 100)
    boxes = np.array([[30, 30, 60, 60], [46, 40, 70, 60], [5, 5, 15, 15]], float)
    found = Detections(boxes, np.ones(3, np.float32), np.ones(3, np.int32))
    assert window_candidates(found, core, LATTICE, seen).cut.tolist() == [False, True, False]


def test_nothing() -> None:
    assert len(merge_pieces(Candidates.none(), 100).shapes) == 0
    assert len(decide_all(Candidates.none(outlined=True), 100, Rules())) == 0
    assert len(window_candidates(Detections.none(), PixelBox(0, 0, 100, 100), LATTICE)) == 0
