"""Seams: counted as a slow loop counts them, added, written and read."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.inference.seams import Seams, count_seams


def slowly(labels: np.ndarray, box: PixelBox, stride: int) -> Seams:
    counts = np.zeros((2, 2), int)  # across a line?, differ?
    for row, col in np.ndindex(labels.shape):
        for down, right in ((1, 0), (0, 1)):
            r, c = row + down, col + right
            if r == labels.shape[0] or c == labels.shape[1]:
                continue
            one, other = int(labels[row, col]), int(labels[r, c])
            if 255 in (one, other):
                continue
            line = (box.row0 + r) % stride == 0 if down else (box.col0 + c) % stride == 0
            counts[int(line), int(one != other)] += 1
    return Seams(int(counts[1].sum()), int(counts[1, 1]), int(counts[0].sum()), int(counts[0, 1]))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(-40, 40), st.integers(-40, 40), st.integers(1, 20), st.integers(1, 20),
    st.integers(1, 9), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_counts_are_those_of_a_loop(
    row: int, col: int, height: int, width: int, stride: int, seed: int
) -> None:
    labels = np.random.default_rng(seed).choice([1, 2, 3, 255], (height, width)).astype(np.uint8)
    box = PixelBox(row, col, row + height, col + width)
    assert count_seams(labels, box, Lattice(stride, 0)) == slowly(labels, box, stride)


def test_a_map_that_changes_at_window_lines_only() -> None:
    box = PixelBox(-5, 3, 27, 35)
    rows, cols = np.mgrid[box.row0 : box.row1, box.col0 : box.col1]
    labels = ((rows // 8 + cols // 8) % 2).astype(np.uint8)
    seams = count_seams(labels, box, Lattice(8, 2))
    assert (seams.line_share, seams.share) == (1.0, 0.0)
    assert seams.line_pairs == 2 * 4 * 32
    assert seams.line_pairs + seams.pairs == 2 * 31 * 32


def test_counts_add_up_and_come_back_from_json() -> None:
    one, other = Seams(1, 1, 10, 2), Seams(3, 0, 20, 4)
    assert one + other == Seams(4, 1, 30, 6)
    assert sum([one, other], Seams()) == one + other
    assert Seams.from_dict(one.to_dict()) == one
    assert list(one.to_dict()) == ["line_pairs", "line_differ", "pairs", "differ"]
    assert ((one + other).line_share, (one + other).share) == (0.25, 0.2)


def test_without_pairs_there_is_no_share() -> None:
    nothing = count_seams(np.full((4, 4), 255, np.uint8), PixelBox(0, 0, 4, 4), Lattice(2, 0))
    assert nothing == Seams()
    assert nothing.line_share is None
    assert nothing.share is None
    inside = count_seams(np.ones((4, 4), np.uint8), PixelBox(0, 0, 4, 4), Lattice(4, 0))
    assert (inside.line_pairs, inside.pairs) == (0, 24)
