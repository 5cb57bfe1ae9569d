"""Training: it learns, it repeats itself, and it measures on what it has not seen."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from rsscale.errors import ModelError, RecipeError
from rsscale.geo.lattice import Lattice
from rsscale.learn.architectures import build
from rsscale.learn.models import open_model, save_model
from rsscale.learners.base import Task
from rsscale.learners.chips import Chips, InputBands, with_statistics
from rsscale.learners.crops import Crops
from rsscale.legend.classes import LandClass
from rsscale.model.spec import ModelSpec
from rsscale.network.normalize import normalize, window_batch
from rsscale.training.split import SplitPlan, hold_out
from rsscale.training.train_images import train_images

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
    return train_images(
        chips,
        name="test",
        inputs=INPUTS,
        classes=CLASSES,
        hyperparameters={"width": 8, "depth": 2},
        **{"lattice": Lattice(32, 16), **defaults, **options},
    )


def groups_tested(chips: Chips, **options: float) -> np.ndarray:
    """The blocks that a training with the seed 1 is measured on."""
    counts = chips.seen.counts(Task(classes=CLASSES))
    return hold_out(chips.groups, counts, SplitPlan(seed=1, **options)).test


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


def test_it_says_how_much_was_tested(trained: tuple) -> None:
    _, report = trained
    assert report.basis == "test"
    assert min(report.tested.values()) > 0
    total = sum(report.tested.values())
    assert f"on {total:,} labelled pixels of 2 of 2 classes, places that were not" in str(report)
    facts = report.properties()["rsscale:training"]
    assert facts["tested"] == report.tested
    assert facts["left_out"] == []


@pytest.mark.parametrize("kept", [1, 5])
def test_what_the_test_did_not_have_is_not_estimable(kept: int) -> None:
    """One of two classes in the blocks kept back, which any map of that class would have right."""
    chips = make_chips()
    (back,) = groups_tested(chips, test=0.1)
    labels = chips.labels.copy()
    other = (chips.groups == back)[:, None, None] & (labels != kept)
    labels[other] = 255
    chips = dataclasses.replace(chips, labels=labels, left_out=("3 features of 'low': x",))
    assert groups_tested(chips, test=0.1).tolist() == [back]
    _, report = run(chips, test=0.1)
    name = {1: "low", 5: "high"}[kept]
    assert np.isnan(report.accuracy)
    assert min(report.tested.values()) == 0 < report.tested[name]
    lines = str(report).splitlines()
    assert lines[1].startswith("accuracy not estimable: there are")
    assert "of 1 of 2 classes" in lines[1]
    assert sum("not estimable" in line for line in lines[3:]) == 1
    assert lines[-1] == "left out: 3 features of 'low': x"
    assert report.properties()["rsscale:training"]["accuracy"] is None


def test_without_places_kept_back_nothing_is_estimable() -> None:
    _, report = run(make_chips(count=4), validation=0.0, test=0.0, steps=3)
    assert report.basis == "none"
    assert "not estimable: all places were trained on" in str(report)
    assert report.properties()["rsscale:training"]["accuracy"] is None


def test_where_there_is_no_test_the_validation_says_so() -> None:
    _, report = run(make_chips(), test=0.0)
    assert report.basis == "validation"
    assert report.calibration is None
    assert "places that were not trained on, but chose the weights" in str(report)
    assert report.accuracy > 0.9


def test_the_best_weights_of_all_validations_are_kept(trained: tuple) -> None:
    _, report = trained
    steps, scores = zip(*report.fit.scores, strict=True)
    assert steps == tuple(range(6, 61, 6))
    assert report.fit.kept == steps[scores.index(max(scores))]


def test_cross_validation_tests_every_pixel_once() -> None:
    chips = make_chips()
    _, report = run(chips, folds=3, steps=30)
    assert report.basis == "folds"
    seen = (chips.seen.labels != 255).sum()
    assert sum(report.tested.values()) == seen == sum(f.scores.count for f in report.folds)
    assert report.accuracy > 0.85
    assert not len(report.split.test)
    assert report.calibration.blocks == 6
    assert "3 folds of places" in str(report)


def test_shifted_labels_are_worse(trained: tuple) -> None:
    _, shifted = run(make_chips(shift=4))
    assert shifted.accuracy < trained[1].accuracy - 0.1


def test_the_same_seed_gives_the_same_weights(trained: tuple) -> None:
    again, _ = run(make_chips())
    other, _ = run(make_chips(), seed=2)
    first = trained[0].module.state_dict()
    assert all(torch.equal(v, again.module.state_dict()[k]) for k, v in first.items())
    assert not all(torch.equal(v, other.module.state_dict()[k]) for k, v in first.items())


def test_test_pixels_are_not_trained_on(trained: tuple) -> None:
    """Other labels and images in the blocks that were kept back: the same weights."""
    chips = make_chips()
    (kept,) = groups_tested(chips)
    back = chips.groups == kept
    labels, images = chips.labels.copy(), chips.images.copy()
    labels[back] = np.select([labels[back] == 5, labels[back] == 1], [1, 5], 255)
    images[back] += 1
    changed = Chips(images, labels, chips.groups)
    assert groups_tested(changed).tolist() == [kept]
    again, report = run(changed)
    first = trained[0].module.state_dict()
    assert all(torch.equal(v, again.module.state_dict()[k]) for k, v in first.items())
    assert again.spec == trained[0].spec
    assert report.accuracy < 0.6 < trained[1].accuracy
    split = report.split
    seen = np.isfinite(chips.images).any(axis=1) & (chips.labels != 255)
    training = np.isin(chips.groups, split.training)
    assert sum(report.trained.values()) == seen[training].sum()
    assert not set(split.training) & {*split.validation, *split.test}


def test_accuracy_is_that_of_the_blocks_kept_back(trained: tuple) -> None:
    from sklearn.metrics import accuracy_score, f1_score

    model, report = trained
    chips = make_chips().seen
    back = np.isin(chips.groups, groups_tested(chips))
    padded = np.pad(chips.images[back], ((0, 0), (0, 0), (0, 16), (0, 16)), constant_values=np.nan)
    with torch.inference_mode():
        scores = model(normalize(torch.from_numpy(padded), model.spec))[..., :48, :48]
    found = np.array([1, 5])[scores.argmax(dim=1).numpy()]
    known = chips.labels[back] != 255
    truth, found = chips.labels[back][known], found[known]
    assert report.accuracy == pytest.approx(accuracy_score(truth, found))
    by_class = f1_score(truth, found, average=None, labels=[1, 5])
    assert list(report.f1.values()) == pytest.approx(list(by_class))


def test_where_nothing_was_seen_there_is_no_label() -> None:
    chips = make_chips()
    assert (chips.labels[:, :4, :4] != 255).all()
    assert (chips.seen.labels[:, :4, :4] == 255).all()
    partly = chips.images.copy()
    partly[:, 0] = np.nan  # one season missing is not blindness
    seen = dataclasses.replace(chips, images=partly).seen
    assert np.array_equal(seen.labels[:, 4:], chips.labels[:, 4:])


def spec_of(chips: Chips) -> ModelSpec:
    return ModelSpec(
        "test", tuple(with_statistics(chips, INPUTS)), CLASSES, Lattice(32, 16), "unet"
    )


def test_crops_keep_image_and_label_together() -> None:
    """Channels are a function of the label, or of the column: no turn or flip may part them."""
    random = np.random.default_rng(0)
    labels = np.where(random.random((3, 80, 112)) < 0.05, 5, 1).astype(np.uint8)
    images = np.repeat(labels[:, None], 4, axis=1).astype(np.float32)
    images[:, 1] = np.arange(112)
    crops = Crops(Chips(images, labels, np.arange(3)), spec_of(make_chips()), seed=0)
    assert crops.size == 64
    lost, directions = 0, set()
    for _ in range(60):
        image, target = (t[0].numpy() for t in crops.draw(1)[:2])
        lost += np.isnan(image).any()
        values = np.array([1, 5])[target]
        for channel in (0, 2, 3):
            valid = np.isfinite(image[channel])
            assert valid.all() or not valid.any()
            assert np.array_equal(image[channel][valid], values[valid])
        if np.isfinite(image[1]).all():
            down, right = image[1, 1, 0] - image[1, 0, 0], image[1, 0, 1] - image[1, 0, 0]
            directions.add((int(down), int(right)))
    assert directions == {(0, 1), (0, -1), (1, 0), (-1, 0)}
    assert 0 < lost < 20  # a time window goes now and then


def test_rare_classes_are_drawn_more_often_than_they_occur() -> None:
    chips = make_chips()
    rare = np.full_like(chips.labels, 1)
    rare[:, 20:22, 20:22] = 5
    crops = Crops(dataclasses.replace(chips, labels=rare), spec_of(chips), seed=0)
    assert crops.chance[1] == pytest.approx(1 / (1 + np.sqrt((48 * 48 - 4) / 4)))
    assert crops.chance[1] > 10 * 4 / 48**2


def test_the_callers_random_numbers_go_on() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(make_chips(count=4), steps=1)
    assert torch.equal(torch.rand(3), expected)


def test_a_trained_model_is_opened_as_it_was(trained: tuple, tmp_path: Path) -> None:
    model, report = trained
    saved = save_model(model, tmp_path / "m", **report.properties())
    opened = open_model(tmp_path / "m", device="cpu")
    assert opened.spec == model.spec == saved.spec
    image = torch.randn(1, 4, 64, 64)
    with torch.inference_mode():
        assert torch.equal(opened(image), model(image))
    facts = json.loads((tmp_path / "m/item.json").read_text())["properties"]["rsscale:training"]
    assert facts["trained"] == report.trained
    assert facts["accuracy"] == round(report.accuracy, 4)


def test_statistics_are_those_of_the_training_pixels(trained: tuple) -> None:
    one = trained[0].spec.inputs[0]
    assert one.mean == pytest.approx((0.3, 0.3), abs=0.02)
    assert one.std[0] == pytest.approx(0.1, abs=0.02)


def test_the_contract_says_what_was_asked(trained: tuple) -> None:
    spec = trained[0].spec
    assert spec.lattice == Lattice(32, 16)
    assert spec.classes == CLASSES
    assert spec.inputs[0].times == ("spring", "summer")


@pytest.mark.parametrize("architecture", ["ltae", "utae"])
def test_networks_of_series_learn_from_composites(architecture: str, tmp_path: Path) -> None:
    """They get the days of the windows and where each was seen, in training as in use."""
    chips = dataclasses.replace(
        make_chips(), days={"s2": np.array([120, 240], np.float32)}, left_out=()
    )
    options = {"ltae": {"width": 32, "heads": 4}, "utae": {"width": 8, "depth": 2, "heads": 4}}
    model, report = train_images(
        chips,
        name="test",
        inputs=INPUTS,
        classes=CLASSES,
        lattice=Lattice(32, 16),
        architecture=architecture,
        hyperparameters=options[architecture],
        steps=60,
        batch=4,
        seed=1,
        device="cpu",
    )
    assert report.accuracy > 0.85
    assert model.spec.layout == "mapping"
    assert model.spec.inputs[0].takes == ("days", "valid")
    save_model(model, tmp_path / "m")
    opened = open_model(tmp_path / "m", device="cpu")
    images = torch.from_numpy(chips.images[:2, :, :32, :32])
    batch = window_batch(images, chips.days, model.spec)
    assert batch["s2.days"].tolist() == [[120, 240]] * 2
    assert not batch["s2.valid"][:, :, :4, :4].any()
    assert batch["s2.valid"][:, :, 4:].all()
    with torch.inference_mode():
        assert torch.equal(opened(batch), model(batch))


def test_a_network_of_smp_begins_with_its_encoder(tmp_path: Path) -> None:
    small = {"encoder_name": "resnet18", "encoder_depth": 3, "decoder_channels": [16, 8, 4]}
    of_three = InputBands("x", ("r", "g", "b"), ("t",))
    encoder = build("smp:Unet", [of_three], 2, **small).encoder
    save_file(encoder.state_dict(), tmp_path / "encoder.safetensors")
    weights = {"encoder_weights": str(tmp_path / "encoder.safetensors")}
    model, _ = train_images(
        make_chips(4), name="smp", inputs=INPUTS, classes=CLASSES, architecture="smp:Unet",
        hyperparameters=small | weights, lattice=Lattice(32, 8), steps=1, batch=2, seed=1,
        device="cpu", learning_rate=1e-9,
    )  # fmt: skip
    first = model.module.encoder.conv1.weight
    torch.testing.assert_close(first[:, 3], encoder.conv1.weight[:, 0] * 0.75, atol=1e-5, rtol=0)
    save_model(model, tmp_path / "model")
    item = json.loads((tmp_path / "model/item.json").read_text())["properties"]
    assert item["mlm:hyperparameters"]["encoder_weights"] == "encoder.safetensors"
    assert "repeated and scaled" in item["mlm:pretrained_source"]
    assert open_model(tmp_path / "model").spec.architecture == "smp:Unet"


def test_bad_chips_are_refused() -> None:
    chips = make_chips()
    with pytest.raises(RecipeError, match="'high' has no labelled pixel"):
        run(dataclasses.replace(chips, labels=np.where(chips.labels == 5, 255, chips.labels)))
    with pytest.raises(RecipeError, match="no labelled pixel"):
        run(dataclasses.replace(chips, labels=np.full_like(chips.labels, 255)))
    with pytest.raises(RecipeError, match="imagery under the labels is missing"):
        run(dataclasses.replace(chips, images=np.full_like(chips.images, np.nan)))
    with pytest.raises(RecipeError, match="class value 7"):
        run(dataclasses.replace(chips, labels=np.where(chips.labels == 5, 7, 1).astype(np.uint8)))
    with pytest.raises(RecipeError, match="3 channels"):
        run(dataclasses.replace(chips, images=chips.images[:, :3]))
    no_red = chips.images.copy()
    no_red[:, ::2] = np.nan
    with pytest.raises(RecipeError, match="band 'red' of input 's2' has no value"):
        run(dataclasses.replace(chips, images=no_red))
    with pytest.raises(RecipeError, match=r"expected \(N, C, H, W\)"):
        dataclasses.replace(chips, labels=chips.labels[:, :-1])
    with pytest.raises(RecipeError, match="at least 32"):
        run(make_chips(size=24))


def test_bad_settings_are_refused() -> None:
    chips = make_chips(count=4)
    for options in ({"steps": 0}, {"batch": 0}, {"validation": 1.0}):
        with pytest.raises(RecipeError, match=next(iter(options))):
            run(chips, **options)
    with pytest.raises(ModelError, match="did you mean 'unet'"):
        run(chips, architecture="unit")
    with pytest.raises(ModelError, match="can't predict a window of 4 channels and 65 px"):
        run(chips, lattice=Lattice(33, 16))
    with pytest.raises(ModelError, match="can't be moved to 'nowhere'"):
        run(chips, device="nowhere")
    with pytest.raises(RecipeError, match="diverged"):
        run(chips, learning_rate=1e30, steps=5)
