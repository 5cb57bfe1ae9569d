"""Pixels that are taken of a chip depend on where they lie, and on nothing else."""

import numpy as np

from rsscale.sampling.pixel_choice import chosen_pixels


def test_pixels_are_the_same_however_a_chip_is_cut_out() -> None:
    random = np.random.default_rng(0)
    labels = np.full((40, 50), 255, np.uint8)
    labels[8:32, 8:42] = random.choice(np.array([1, 3, 255], np.uint8), (24, 34), p=[0.7, 0.1, 0.2])
    whole, thinned = chosen_pixels(labels, (100, -200), 90)
    values = labels.ravel()[whole]
    ones, threes = (int((labels == value).sum()) for value in (1, 3))
    assert np.bincount(values, minlength=4)[[1, 3]].tolist() == [90, min(threes, 90)]
    assert thinned == {1: ones - 90}
    assert (np.diff(whole) > 0).all()
    part, _ = chosen_pixels(labels[8:32, 8:42], (108, -192), 90)
    rows, cols = np.unravel_index(part, (24, 34))
    assert np.array_equal(np.ravel_multi_index((rows + 8, cols + 8), labels.shape), whole)
    elsewhere, _ = chosen_pixels(labels, (101, -200), 90)
    assert not np.array_equal(elsewhere, whole)


def test_a_chip_without_labels_has_none() -> None:
    chosen, thinned = chosen_pixels(np.full((4, 4), 255, np.uint8), (0, 0), 3)
    assert (len(chosen), thinned) == (0, {})
