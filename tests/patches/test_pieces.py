"""Pieces of an image against scipy's labels; borders pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from whole_sieve import CROSS, SQUARE

from rsscale.geo.lattice import PixelBox, position_hash
from rsscale.patches.pieces import EDGE, find_pieces, lots, places_of

SETTINGS = settings(deadline=None, derandomize=True, max_examples=60)


@SETTINGS
@given(
    seed=st.integers(0, 2**20),
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    count=st.integers(1, 5),
    gone=st.sampled_from([0, 0.2, 1]),
    connectivity=st.sampled_from([4, 8]),
)
def test_pieces_are_the_connected_pixels_of_each_class(
    seed: int, shape: tuple[int, int], count: int, gone: float, connectivity: int
) -> None:
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, count, shape).astype(np.uint8)
    valid = rng.random(shape) >= gone
    units = rng.integers(1, 9, (shape[0], 1))
    box = PixelBox(-3, 7, shape[0] - 3, shape[1] + 7)
    found = find_pieces(classes, valid, units, box, connectivity)
    assert ((found.of_pixel >= 0) == valid).all()
    number = 0
    structure = SQUARE if connectivity == 8 else CROSS
    for value in range(count):
        labels, pieces = ndimage.label(valid & (classes == value), structure)
        for label in range(1, pieces + 1):
            here = labels == label
            (one,) = np.unique(found.of_pixel[here])
            row, col = np.argwhere(here)[0]
            assert found.classes[one] == value
            assert found.pixels[one] == here.sum()
            assert found.units[one] == np.broadcast_to(units, shape)[here].sum()
            assert found.places[one] == places_of(np.array([row - 3]), np.array([col + 7]))[0]
            at_edge = here[[0, -1]].any() or here[:, [0, -1]].any()
            assert found.on_edge[one] == at_edge
            number += 1
    assert len(found.places) == number
    assert (np.diff(found.places) > 0).all()


@SETTINGS
@given(seed=st.integers(0, 2**20), connectivity=st.sampled_from([4, 8]))
def test_borders_count_each_edge_and_corner(seed: int, connectivity: int) -> None:
    rng = np.random.default_rng(seed)
    classes, valid = rng.integers(0, 3, (7, 9)), rng.random((7, 9)) > 0.1
    found = find_pieces(classes, valid, np.ones((7, 1), int), PixelBox(0, 0, 7, 9), connectivity)
    wanted: dict[tuple[int, int], int] = {}
    for (row, col), one in np.ndenumerate(found.of_pixel):
        for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
            is_corner = abs(down) + abs(right) == 2
            if not (row + down < 7 and 0 <= col + right < 9) or (is_corner and connectivity == 4):
                continue
            other = found.of_pixel[row + down, col + right]
            if min(one, other) >= 0 and one != other:
                pair = (min(one, other), max(one, other))
                wanted[pair] = wanted.get(pair, 0) + (1 if is_corner else EDGE)
    borders = found.borders
    pairs = zip(borders.first.tolist(), borders.second.tolist(), strict=True)
    assert dict(zip(pairs, borders.weight.tolist(), strict=True)) == wanted


def test_places_are_in_order_and_give_their_lots() -> None:
    rows, cols = np.array([-2, -2, 0, 5, 5]), np.array([-1, 4, -7, -1, 0])
    places = places_of(rows, cols)
    assert (np.diff(places) > 0).all()
    np.testing.assert_array_equal(lots(places), position_hash(rows, cols))


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)])
def test_images_of_one_row_or_column(shape: tuple[int, int]) -> None:
    box = PixelBox(0, 0, *shape)
    found = find_pieces(np.zeros(shape, int), np.ones(shape, bool), np.ones((1, 1), int), box, 8)
    assert found.pixels.tolist() == [shape[0] * shape[1]]
    assert found.on_edge.all()
