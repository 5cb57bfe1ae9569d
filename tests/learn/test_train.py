"""Training: it learns, it repeats itself, and it measures on what it has not seen."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from rsscale.errors import RecipeError
from rsscale.grid import Lattice
from rsscale.learn.train import Chips, InputBands, train
from rsscale.modelspec import LandClass

CLASSES = (LandClass(1, "low", "#000000"), LandClass(5, "high", "#ffffff"))
INPUTS = [InputBands("s2", ("red", "nir"), ("spring", "summer"))]


def make_chips(count: int = 12, size: int = 48, shift: int = 0) -> Chips:
    """Blobs that differ in the difference of two channels, not in any one of them."""
    random = np.random.default_rng(3)
    coarse = random.integers(0, 2, (count, size // 8, size // 8))
    truth = coarse.repeat(8, axis=1).repeat(8, axis=2).astype(bool)
    base = random.normal(0.3, 0.1, (count, 4, size, size))
    base[:, 3] = base[:, 0] + np.where(truth, 0.1, -0.1)
    base += random.normal(0, 0.03, base.shape)
    base[:, :, :4, :4] = np.nan
    labels = np.where(np.roll(truth, shift, axis=2), 5, 1).astype(np.uint8)
    labels[:, -4:] = 255
    return Chips(base.astype(np.float32), labels, np.arange(count) // 2)


def run(chips: Chips, **options: object) -> tuple:
    defaults: dict = {"steps": 60, "batch": 4, "seed": 1, "device": "cpu"}
    return train(
        chips,
        name="test",
        inputs=INPUTS,
        classes=CLASSES,
        lattice=Lattice(32, 16),
        hyperparameters={"width": 8, "depth": 2},
        **{**defaults, **options},
    )


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny images: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained() -> tuple:
    return run(make_chips())


def test_it_learns_what_no_single_channel_tells(trained: tuple) -> None:
    _, report = trained
    assert report.accuracy > 0.9
    assert min(report.f1.values()) > 0.9


def test_shifted_labels_are_worse(trained: tuple) -> None:
    _, shifted = run(make_chips(shift=4))
    assert shifted.accuracy < trained[1].accuracy - 0.1


def test_the_same_seed_gives_the_same_weights(trained: tuple) -> None:
    again, _ = run(make_chips())
    other, _ = run(make_chips(), seed=2)
    first = trained[0].module.state_dict()
    assert all(torch.equal(v, again.module.state_dict()[k]) for k, v in first.items())
    assert not all(torch.equal(v, other.module.state_dict()[k]) for k, v in first.items())


def test_validation_pixels_are_not_trained_on(trained: tuple) -> None:
    chips = make_chips()
    counted = sum(trained[1].pixels.values())
    labelled = [(chips.labels[chips.groups == g] != 255).sum() for g in range(6)]
    assert counted == sum(labelled) - labelled[0]  # all groups are alike in size here


def test_statistics_are_those_of_the_training_pixels(trained: tuple) -> None:
    one = trained[0].spec.inputs[0]
    assert one.mean == pytest.approx((0.3, 0.3), abs=0.02)
    assert one.std[0] == pytest.approx(0.1, abs=0.02)


def test_the_contract_says_what_was_asked(trained: tuple) -> None:
    spec = trained[0].spec
    assert spec.lattice == Lattice(32, 16)
    assert spec.classes == CLASSES
    assert spec.inputs[0].times == ("spring", "summer")


def test_bad_chips_are_refused() -> None:
    chips = make_chips()
    with pytest.raises(RecipeError, match="'high' has no labelled pixel"):
        run(dataclasses.replace(chips, labels=np.where(chips.labels == 5, 255, chips.labels)))
    with pytest.raises(RecipeError, match="imagery under the labels is missing"):
        run(dataclasses.replace(chips, images=np.full_like(chips.images, np.nan)))
    with pytest.raises(RecipeError, match="class value 7"):
        run(dataclasses.replace(chips, labels=np.where(chips.labels == 5, 7, 1).astype(np.uint8)))
    with pytest.raises(RecipeError, match="3 channels"):
        run(dataclasses.replace(chips, images=chips.images[:, :3]))
