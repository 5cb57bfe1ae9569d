"""A training keeps how often each time window was observed, and tells what was next to never."""

from dataclasses import replace

import numpy as np

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
