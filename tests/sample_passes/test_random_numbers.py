"""Permanent random numbers: by place alone, and as good as random."""

import numpy as np
import pytest
from scipy import stats

from rsscale.geo.lattice import PixelBox
from rsscale.sample_passes.random_numbers import pixel_numbers, place_numbers, uniform

BOX = PixelBox(-527_360, 71_680, -527_360 + 256, 71_680 + 300)


def test_a_pixels_number_does_not_depend_on_the_box() -> None:
    whole = pixel_numbers(5, BOX)
    part = PixelBox(BOX.row0 + 17, BOX.col0 + 3, BOX.row0 + 90, BOX.col0 + 200)
    np.testing.assert_array_equal(pixel_numbers(5, part), whole[part.slices(BOX)])


def test_they_are_the_same_for_ever() -> None:
    """A change of the numbers would make other samples of the same seed."""
    found = pixel_numbers(0, PixelBox(-1, 0, 1, 2)).tolist()
    assert found == NUMBERS
    assert place_numbers(0, "order", [5], [-7]).tolist() == [PLACE]


NUMBERS = [[3166913465834896133, 11947078532064887856], [8124223171789035747, 8124853715048401290]]
PLACE = 8018320777455129690


@pytest.mark.parametrize("seed", [0, 1, 2**62])
def test_they_are_uniform_and_unlike_their_neighbours(seed: int) -> None:
    numbers = pixel_numbers(seed, BOX) / 2.0**64
    assert len(np.unique(numbers)) == numbers.size
    assert stats.kstest(numbers.ravel(), "uniform").pvalue > 0.001
    for one, other in (
        (numbers[1:], numbers[:-1]), (numbers[:, 1:], numbers[:, :-1]),
        (numbers[8:, 8:], numbers[:-8, :-8]), (numbers, pixel_numbers(seed + 1, BOX) / 2.0**64),
    ):  # fmt: skip
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.015
    # Sums along four corners, which an additive scheme would give away.
    corners = numbers[:-5, :-9] - numbers[5:, :-9] - numbers[:-5, 9:] + numbers[5:, 9:]
    assert corners.std() == pytest.approx(np.sqrt(4 / 12), rel=0.02)


def test_a_longer_sequence_begins_with_the_shorter() -> None:
    np.testing.assert_array_equal(uniform(3, "hits", 50)[:20], uniform(3, "hits", 20))
    assert not np.array_equal(uniform(3, "hits", 20), uniform(3, "starts", 20))
