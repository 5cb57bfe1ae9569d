"""A training keeps how often each time window was observed, and tells what was next to never."""

from dataclasses import replace

import numpy as np
import pytest

import rsscale as rs
from rsscale.geo.lattice import Lattice
from rsscale.layers import NODATA
from rsscale.learners.chips import Chips, InputBands
from rsscale.training.background import Background
from rsscale.training.story import story_of
from rsscale.training.train_images import train_images

INPUTS = (
    InputBands("s2", ("red", "nir"), ("spring", "summer")),
    InputBands("s1", ("vv",), (), series=3),
    InputBands("dem", ("height",), ("static",)),
)
BARE = rs.SeriesTable.of_arrays(
    np.ones((60, 2, 1)), [100, 200], np.tile([1, 2], 30), bands=["b"], groups=np.arange(60) // 6,
    times=["spring", "summer"],
)  # fmt: skip


def test_shares_are_of_labelled_pixels_with_all_bands() -> None:
    rng = np.random.default_rng(1)
    images = np.where(rng.random((3, 8, 32, 32)) < 0.3, np.nan, 1.0).astype(np.float32)
    labels = np.where(rng.random((3, 32, 32)) < 0.2, 1, NODATA).astype(np.uint8)
    labels[2] = NODATA
    shares = Chips(images, labels, np.arange(3)).observed(INPUTS)
    seen = np.isfinite(images).transpose(0, 2, 3, 1)[labels != NODATA]
    spring, summer, height = seen[:, :2].all(1), seen[:, 2:4].all(1), seen[:, 7]
    assert shares == {
        "s2": {"spring": round(spring.mean(), 4), "summer": round(summer.mean(), 4)},
        "dem": {"static": round(height.mean(), 4)},
    }


def test_a_window_that_was_next_to_never_observed_is_told() -> None:
    assert BARE.observed == {"series": {"spring": 1.0, "summer": 1.0}}
    _, report = rs.train_table(BARE, architecture="random_forest", device="cpu")
    assert report.background.observed == BARE.observed
    shares = {"s2": {"spring": 0.004, "summer": 0.93}, "dem": {"static": 0.0}}

    def told(observed: dict) -> list[str]:
        background = replace(report.background, observed=observed)
        return [line for line in replace(report, background=background).remarks if "input" in line]

    (line,) = told(shares)
    assert line.startswith(
        "input 's2': next to no labelled pixel was observed in spring (0.4%), where the best "
        "window has 93%: nothing was learnt of that"
    )
    assert told({"s2": {"spring": 0.03, "summer": 0.93}}) == []
    many = {f"d{day}": 0.0 for day in range(8)} | {"d9": 1.0}
    assert "d5 (0.0%) and 2 more, where" in told({"s2": many})[0]
    kept = replace(report, background=replace(report.background, observed=shares))
    assert story_of(kept)["observed"] == shares
    assert Background().observed == {}


def test_a_network_of_images_keeps_it_too() -> None:
    rng = np.random.default_rng(2)
    labels = rng.integers(1, 3, (6, 32, 32)).astype(np.uint8)
    images = np.stack([labels, labels], axis=1).astype(np.float32)
    images[:, 1, :16] = np.nan
    _, report = train_images(
        Chips(images, labels, np.arange(6)),
        name="two",
        inputs=[InputBands("s2", ("red",), ("spring", "summer"))],
        classes=[rs.LandClass(1, "one", "#111111"), rs.LandClass(2, "two", "#222222")],
        lattice=Lattice(32, 0),
        architecture="pixel",
        steps=2,
        device="cpu",
    )
    assert story_of(report)["observed"] == {"s2": {"spring": 1.0, "summer": 0.5}}


def test_a_class_that_is_mostly_held_back_is_told() -> None:
    _, report = rs.train_table(BARE, architecture="random_forest", device="cpu")
    labels: dict[str, int] = {}
    for of_place in report.background.labels.values():
        for name, count in of_place.items():
            labels[name] = labels.get(name, 0) + count
    name, other = report.trained
    starved = replace(report, trained={name: labels[name] // 4, other: labels[other] // 2})
    (line,) = [remark for remark in starved.remarks if "learnt from" in remark]
    assert line.startswith(
        f"class {name!r}: the model learnt from {labels[name] // 4} of {labels[name]} labelled"
    )
    assert not [remark for remark in report.remarks if "learnt from" in remark]


@pytest.mark.extended
def test_the_accuracy_has_an_interval_over_places_that_were_tested() -> None:
    _, report = rs.train_table(BARE, architecture="random_forest", device="cpu", folds=5)
    assert report.predictions is not None
    tested = report.predictions
    right = np.arange(len(tested.truth)) % 3 > 0  # two of three, alike in all ten places
    wrong_of = np.where(right, tested.truth, 1 - tested.truth)
    predictions = replace(tested, numbers=np.eye(2)[wrong_of])
    known = replace(report, predictions=predictions).accuracy_interval
    assert known is not None
    low, high = known
    assert 0 <= low <= report.accuracy <= high <= 1
    assert "95 % interval of the accuracy" in str(report)
    few = replace(tested, groups=tested.groups % 4)
    assert replace(report, predictions=few).accuracy_interval is None
    assert replace(report, basis="validation").accuracy_interval is None
