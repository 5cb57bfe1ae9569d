"""Seams: counted as a slow loop counts them, judged by lines, added, written and read."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rsscale.geo.lattice import Lattice, PixelBox
from rsscale.inference.seams import SEAM_FACTS, LineSums, Seams, count_seams


def slowly(labels: np.ndarray, box: PixelBox, stride: int) -> Seams:
    """Line by line; of both kinds as many as there are of the rarer."""
    found = Seams()
    for axis, (first, length) in enumerate(
        ((box.row0, labels.shape[0]), (box.col0, labels.shape[1]))
    ):
        turned = labels if axis == 0 else labels.T
        places = [first + k + 1 for k in range(length - 1)]
        lines = [p for p in places if p % stride == 0]
        middle = [p for p in places if p % stride == stride // 2] if stride > 1 else []
        number = min(len(lines), len(middle))
        for window, p in [(True, p) for p in lines[:number]] + [
            (False, p) for p in middle[:number]
        ]:
            rows = zip(turned[p - first - 1], turned[p - first], strict=True)
            valid = [(int(a), int(b)) for a, b in rows if 255 not in (a, b)]
            m, d = len(valid), sum(a != b for a, b in valid)
            sums = LineSums(int(m > 0), m, d, m * m, m * d, d * d)
            found += Seams(sums, LineSums()) if window else Seams(LineSums(), sums)
    return found


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


def chessboard(box: PixelBox, side: int) -> np.ndarray:
    rows, cols = np.mgrid[box.row0 : box.row1, box.col0 : box.col1]
    return ((rows // side + cols // side) % 2).astype(np.uint8)


def test_labels_that_change_at_every_window_line_and_nowhere_else() -> None:
    box = PixelBox(-5, 3, 27, 35)
    seams = count_seams(chessboard(box, 8), box, Lattice(8, 2))
    assert (seams.line.share, seams.between.share, seams.excess) == (1.0, 0.0, 1.0)
    assert (seams.line.count, seams.line.pairs) == (8, 8 * 32)
    assert (seams.between.count, seams.between.pairs) == (8, 8 * 32)
    assert seams.is_visible
    assert "+100.00 to +100.00 points (95 %), more than chance" in str(seams)


def patches(rng: np.random.Generator, size: int) -> np.ndarray:
    """Fields of a land, whose borders are long: pixels along a line are far from independent."""
    from scipy.spatial import cKDTree

    seeds = rng.uniform(0, size, (size * size // 900, 2))
    place = np.stack(np.mgrid[:size, :size], axis=-1).reshape(-1, 2)
    return (cKDTree(seeds).query(place)[1] % 4).reshape(size, size).astype(np.uint8)


def test_a_land_without_seams_seldom_raises_an_alarm_and_seams_do() -> None:
    """What chance may do is told by the lines: counted by pixels, half of all lands would alarm."""
    alarms = seen = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        labels = patches(rng, 256)
        box = PixelBox(0, 0, 256, 256)
        alarms += count_seams(labels, box, Lattice(32, 0)).is_visible
        rows = np.arange(32, 256, 32)
        cut = labels.copy()
        cut[rows] = np.where(rng.random((len(rows), 256)) < 0.3, (cut[rows] + 1) % 4, cut[rows])
        seen += count_seams(cut, box, Lattice(32, 0)).is_visible
    assert alarms <= 4  # 2.5 % of 60, and what chance adds
    assert seen >= 57


def test_one_line_tells_nothing() -> None:
    labels = np.ones((32, 32), np.uint8)
    labels[16:, :5] = 2
    seams = count_seams(labels, PixelBox(0, 0, 32, 32), Lattice(16, 0))
    # One row line and one column line; within one of them labels change at five pixels.
    assert seams.line.count == 2
    assert not seams.is_visible
    clear = Seams(LineSums(3, 90, 60, 2700, 1800, 1200), LineSums(3, 90, 0, 2700, 0, 0))
    assert "more than chance" in str(clear)  # however few lines there are
    unclear = Seams(LineSums(3, 90, 6, 2700, 180, 36), LineSums(3, 90, 9, 2700, 270, 81))
    assert "too few lines to tell them apart" in str(unclear)
    lone = Seams(LineSums(1, 32, 5, 32**2, 5 * 32, 25), LineSums(1, 32, 0, 32**2, 0, 0))
    assert lone.interval is None
    assert not lone.is_visible
    assert str(lone) == (
        "neighbours differ at 15.62% along 1 window line, 0.00% along 1 between: too few lines "
        "to tell them apart"
    )


def test_counts_add_up_and_come_back_from_json() -> None:
    one = Seams(LineSums(1, 10, 2, 100, 20, 4), LineSums(1, 8, 0, 64, 0, 0))
    other = Seams(LineSums(2, 30, 4, 500, 64, 10), LineSums(2, 32, 8, 512, 128, 32))
    both = one + other
    assert both.line == LineSums(3, 40, 6, 600, 84, 14)
    assert sum([one, other], Seams()) == both
    assert Seams.from_dict(both.to_dict()) == both
    assert tuple(both.to_dict()) == SEAM_FACTS
    assert (both.line.share, both.between.share) == (0.15, 0.2)
    # Of a run that an older rsscale began.
    assert Seams.from_dict({"line_pairs": 4}).interval is None


def test_the_variance_is_that_of_a_ratio_over_lines() -> None:
    rng = np.random.default_rng(0)
    pairs = rng.integers(50, 100, 40)
    differ = rng.binomial(pairs, 0.2)
    sums = LineSums(40, *(int(v) for v in (pairs.sum(), differ.sum(), (pairs**2).sum(),
                          (pairs * differ).sum(), (differ**2).sum())))  # fmt: skip
    chosen = rng.integers(0, 40, (4000, 40))  # bootstrap over lines
    shares = differ[chosen].sum(axis=1) / pairs[chosen].sum(axis=1)
    assert sums.variance is not None
    assert abs(np.sqrt(sums.variance) / shares.std() - 1) < 0.06


def test_without_pairs_there_is_no_share() -> None:
    nothing = count_seams(np.full((4, 4), 255, np.uint8), PixelBox(0, 0, 4, 4), Lattice(2, 0))
    assert nothing == Seams()
    assert (nothing.line.share, nothing.excess, nothing.interval) == (None, None, None)
    inside = count_seams(np.ones((4, 4), np.uint8), PixelBox(0, 0, 4, 4), Lattice(4, 0))
    assert inside.line.pairs == 0
    assert count_seams(np.ones((9, 9), np.uint8), PixelBox(0, 0, 9, 9), Lattice(1, 0)) == Seams()
