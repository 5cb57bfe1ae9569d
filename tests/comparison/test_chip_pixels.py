"""Chips and their pixels: networks of images and learners of pixels are tested on the same ones."""

import numpy as np
import pytest

from rsscale.comparison.chip_pixels import ChipPixels, OnChips, OnPixels
from rsscale.learners.base import Design, Loop, Task
from rsscale.learners.chips import Chips, InputBands
from rsscale.learners.image_network import ImageNetwork
from rsscale.learners.point_network import PointNetwork
from rsscale.legend.classes import LandClass

TASK = Task(classes=(LandClass(3, "a", "#000000"), LandClass(1, "b", "#ffffff")))
INPUTS = (InputBands("s2", ("red", "nir"), ("early", "late")), InputBands("s1", ("vv",), ("all",)))


def chips(count: int = 4, size: int = 32) -> Chips:
    random = np.random.default_rng(0)
    images = random.normal(0, 1, (count, 5, size, size)).astype(np.float32)
    labels = random.choice(np.array([1, 3, 255], np.uint8), (count, size, size))
    images[0, :, :4] = np.nan  # unseen: without labels, as the reader leaves them
    labels[0, :4] = 255
    images[1, 0, 5] = images[1, 2, 5] = images[1, 4, 5] = np.nan  # a band seen, never all of one
    return Chips(images, labels, np.array([7, 7, 9, 4]), is_seen=True)


def test_pixels_are_those_of_the_chips() -> None:
    whole = chips()
    both, notes = ChipPixels.of(whole, INPUTS, TASK, most=100)
    assert (both.tested != 255).sum() == len(both.pixels)
    for chip in range(4):
        rows, cols = np.nonzero(both.tested[chip] != 255)
        values = whole.images[chip][:, rows, cols].T
        own = both.pixels.subset(both.chip == chip)
        s2, s1 = own.table.inputs
        np.testing.assert_array_equal(s2.values.reshape(-1, 4), values[:, :4])
        np.testing.assert_array_equal(s1.values[:, 0], values[:, 4:])
        labels = np.array([3, 1], np.uint8)[own.targets]
        np.testing.assert_array_equal(labels, whole.labels[chip][rows, cols])
        assert set(own.groups) == {whole.groups[chip]}
        assert np.bincount(own.targets).max() <= 100
    assert (both.tested[1, 5] == 255).all()  # no time with all bands
    assert any("beyond 100 of a class in a chip" in line for line in notes)
    assert any("without all bands at any time" in line for line in notes)


def test_a_part_holds_its_own_chips_and_pixels() -> None:
    both, _ = ChipPixels.of(chips(), INPUTS, TASK, most=50)
    part = both.subset(both.groups != 7)
    again = part.subset(part.groups == 4)
    assert len(again) == 1
    np.testing.assert_array_equal(again.tested[0], both.tested[3])
    np.testing.assert_array_equal(again.pixels.targets, both.pixels.targets[both.chip == 3])
    assert set(again.chip) == {0}
    assert again.counts(TASK).tolist() == [np.bincount(again.pixels.targets).tolist()]


def test_networks_of_images_and_of_pixels_are_tested_on_the_same_pixels() -> None:
    both, _ = ChipPixels.of(chips(), INPUTS, TASK, most=60)
    training, test = both.subset(both.groups == 7), both.subset(both.groups != 7)
    design = Design("m", "pixel", {"width": 4})
    images = OnChips(ImageNetwork(design, TASK, INPUTS, Loop(2, 2)))
    pixels = OnPixels(PointNetwork(design, TASK, Loop(2, 8)))
    none = both.subset(np.zeros(4, bool))
    found = [
        learner.predict(learner.fit(training, none).model, test) for learner in (images, pixels)
    ]
    np.testing.assert_array_equal(found[0].truth, found[1].truth)
    np.testing.assert_array_equal(found[0].groups, found[1].groups)
    assert len(found[0].truth) == (test.tested != 255).sum()
    # The same network on the same pixels: what it is given does not depend on how it is asked.
    model = images.fit(training, none).model
    one, other = (learner.predict(model, test).numbers for learner in (images, pixels))
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_networks_of_images_learn_from_all_labels() -> None:
    both, _ = ChipPixels.of(chips(), INPUTS, TASK, most=10)
    given: list = []

    class Listens:
        name = "listens"

        def fit(self, training, validation) -> None:
            given.append((training, validation))

    OnChips(Listens()).fit(both, both.subset(both.groups == 7))
    assert (given[0][0].labels == both.chips.labels).all()
    assert len(given[0][1]) == 2
    OnPixels(Listens()).fit(both, both)
    assert len(given[1][0]) == (both.tested != 255).sum()


@pytest.mark.parametrize("days", [None, "windows", "chips"])
def test_days_reach_the_pixels(days: str | None) -> None:
    whole = chips()
    each = np.arange(8, dtype=np.float32).reshape(4, 2) + 100
    known = {"windows": {"s2": np.array([120, 240], np.float32)}, "chips": {"s2": each}}
    with_days = Chips(whole.images, whole.labels, whole.groups, days=known.get(days or "", {}))
    both, _ = ChipPixels.of(with_days, INPUTS, TASK, most=5)
    found = both.pixels.table.inputs[0].days
    expected = {
        None: np.tile([92.0, 274.0], (len(found), 1)),
        "windows": np.tile([120.0, 240.0], (len(found), 1)),
        "chips": each[both.chip],
    }[days]
    np.testing.assert_allclose(found, expected, atol=1)
