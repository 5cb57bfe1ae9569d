"""The shift of two images: to a tenth of a pixel, through clouds, and not where there is none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from two_dates import clouds, hidden, shifted, texture

from rsscale.coregistration.common_shift import CommonShift, shift_of_block
from rsscale.coregistration.shift import NOT_SEEN, Shift, find_shift
from rsscale.errors import RsscaleError

SIZE = 192
PIXELS = st.floats(-7.9, 7.9)


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), dx=PIXELS, dy=PIXELS, clear=st.booleans())
def test_a_known_shift_is_found_to_a_tenth_of_a_pixel(
    seed: int, dx: float, dy: float, clear: bool
) -> None:
    """Of other brightness and noise at either date, and where 40 % of each are clouds."""
    rng = np.random.default_rng(seed)
    one = texture(seed, (SIZE, SIZE))
    other = 0.6 * shifted(one, dx, dy) + 12
    one, other = one + rng.normal(0, 2, one.shape), other + rng.normal(0, 1, one.shape)
    if not clear:
        one = hidden(one, clouds(seed + 1, (SIZE, SIZE), 0.4))
        other = hidden(other, clouds(seed + 2, (SIZE, SIZE), 0.4))
    found = find_shift(one, other, 12)
    assert found.is_found
    assert not found.other_place
    assert found.dx == pytest.approx(dx, abs=0.1)
    assert found.dy == pytest.approx(dy, abs=0.1)


def test_the_sign_is_where_the_second_image_has_what_the_first_has() -> None:
    """What lies at (row, col) of the first lies at (row + dy, col + dx) of the second."""
    field = texture(3, (120, 120))
    one, other = field[:, 10:110, 10:110], field[:, 7:107, 14:114]
    found = find_shift(one, other, 8)
    assert (found.dx, found.dy) == pytest.approx((-4, 3), abs=0.02)
    row, col = 50, 40
    np.testing.assert_array_equal(other[:, row + 3, col - 4], one[:, row, col])


def test_a_second_image_with_a_margin_overlaps_at_every_shift() -> None:
    field = texture(5, (240, 240))
    one, around = field[:, 40:200, 40:200], shifted(field, 20.4, -11.7)[:, 8:232, 8:232]
    found = find_shift(one, around, 32)
    assert (found.dx, found.dy) == pytest.approx((20.4, -11.7), abs=0.05)
    assert found.overlap == 1


@pytest.mark.parametrize("seed", range(5))
def test_other_places_have_no_peak(seed: int) -> None:
    one, other = texture(seed, (SIZE, SIZE)), texture(seed + 100, (SIZE, SIZE))
    found = find_shift(one, hidden(other, clouds(seed, (SIZE, SIZE), 0.3)), 32)
    assert found.other_place
    assert found.distinct < 6


def test_noise_alone_is_no_other_place() -> None:
    """Open water has no shift, and nothing is wrong with it."""
    rng = np.random.default_rng(0)
    one, other = np.rint(20 + rng.normal(size=(2, 2, SIZE, SIZE)))
    found = find_shift(one, other, 32)
    assert not found.is_found
    assert not found.other_place


def test_ground_without_edges_is_no_other_place() -> None:
    """It is alike at many shifts: none of them is told, and nothing is refused."""
    rng = np.random.default_rng(0)
    smooth = 100 * np.sin(np.add.outer(np.arange(SIZE) / 17, np.arange(SIZE) / 31))
    one, other = smooth + rng.normal(0, 10, (2, 2, SIZE, SIZE))
    found = find_shift(one, other, 32)
    assert not found.other_place


def test_what_was_dark_and_is_bright_lies_where_it_lay() -> None:
    field = texture(6, (SIZE, SIZE))
    found = find_shift(field, 200 - shifted(field, 2.3, -1.1), 8)
    assert found.is_found
    assert found.peak < -0.9
    assert (found.dx, found.dy) == pytest.approx((2.3, -1.1), abs=0.05)


def test_a_shift_beyond_what_is_looked_for_is_not_made_up() -> None:
    field = texture(9, (300, 300))
    found = find_shift(field[:, :200, :200], field[:, 60:260, 70:270], 16)
    assert not found.is_found


def test_what_is_not_seen_twice_has_no_shift() -> None:
    one = texture(1, (SIZE, SIZE))
    left = np.arange(SIZE) < SIZE // 2
    assert find_shift(one, np.full_like(one, np.nan), 8) == NOT_SEEN
    assert find_shift(hidden(one, left), hidden(one, ~left), 8) == NOT_SEEN
    flat = np.full_like(one, 7.0)
    assert find_shift(one, flat, 8) == NOT_SEEN
    assert not np.isfinite(find_shift(one[:, :2, :2], one[:, :2, :2], 1).dx)


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        ((2, 64, 64), (3, 64, 64), "same bands"),
        ((2, 64, 64), (2, 64, 65), "cut both to the same box"),
        ((2, 64, 64), (2, 72, 72), "cut both to the same box"),
        ((64, 64), (64, 64), r"\(band, y, x\)"),
    ],
)
def test_images_that_do_not_fit_are_refused(one: tuple, other: tuple, message: str) -> None:
    with pytest.raises(RsscaleError, match=message):
        find_shift(np.zeros(one), np.zeros(other), 8)


def test_of_several_windows_of_time_the_one_that_tells_most_counts() -> None:
    field = texture(4, (SIZE, SIZE))
    moved = shifted(field, 1.25, -0.5)
    lost = texture(77, (SIZE, SIZE))
    found = shift_of_block(np.stack([field, field]), np.stack([lost, moved]), 8)
    assert (found.dx, found.dy) == pytest.approx((1.25, -0.5), abs=0.05)
    nothing = np.full((1, 2, 64, 64), np.nan)
    assert shift_of_block(nothing, nothing, 8) == NOT_SEEN


def block(dx: float, dy: float, **changes: float) -> Shift:
    return Shift(
        dx, dy, **({"peak": 0.5, "distinct": 50.0, "overlap": 1.0, "texture": 0.3} | changes)
    )


def test_one_shift_is_the_median_of_the_blocks_that_found_one() -> None:
    good = [block(0.6, 0.1), block(0.7, 0.1), block(0.8, -0.1)]
    lost, water = (block(30, -30, distinct=3.0, peak=0.02, texture=t) for t in (0.3, 0.01))
    shifts = [*good, NOT_SEEN, lost, water]
    common = CommonShift.of(shifts)
    assert (common.dx, common.dy) == (0.7, 0.1)
    assert (common.blocks, common.found, common.other_place, common.unclear) == (5, 3, 1, 1)
    common.refuse(1, within=32, remedy="…")
    told = common.warnings(corrected=False)
    assert "(0.70 east, 0.10 down) px" in told[0]
    assert "1 of 5 blocks show different places" in told[1]
    assert not any("half" in line for line in common.warnings(corrected=True))


def test_blocks_that_do_not_agree_are_told() -> None:
    common = CommonShift.of([block(x, 0) for x in (-2, -1, 0, 1, 2)])
    assert "one shift does not fit them all" in common.warnings(corrected=True)[0]


def test_nothing_seen_is_no_shift_and_is_not_refused() -> None:
    common = CommonShift.of([NOT_SEEN, NOT_SEEN])
    assert (common.dx, common.dy, common.blocks) == (0, 0, 0)
    common.refuse(8, within=32, remedy="…")
    assert common.warnings(corrected=False) == []


def test_other_places_and_large_shifts_are_refused() -> None:
    lost = [block(3, 3, distinct=3.0, peak=0.02)] * 3
    with pytest.raises(
        RsscaleError, match="different places: 3 of 4 blocks of 256 px are alike at"
    ):
        CommonShift.of([*lost, block(0, 0)]).refuse(8, within=32, remedy="say so")
    with pytest.raises(RsscaleError, match=r"\(20.00 east, 0.00 down\).*at most 8 px.*or say so"):
        CommonShift.of([block(20, 0)]).refuse(8, within=32, remedy="say so")
