"""Imagery in other units than a model was trained on is told, in memory and by a run."""

import logging

import numpy as np
import pytest
import torch
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from torch import nn

import rsscale as rs

CLASSES = [rs.LandClass(1, "a", "#000000"), rs.LandClass(2, "b", "#ffffff")]


def model(mean: float = 0.3, std: float = 0.1) -> rs.Model:
    torch.manual_seed(0)
    inputs = [rs.ModelInput("s2", ("red", "nir"), ("summer",), (mean,) * 2, (std,) * 2)]
    network = nn.Conv2d(2, 2, 1).eval()
    return rs.Model.of(network, inputs=inputs, classes=CLASSES, stride=32, halo=0)


def composite(scale: float, gaps: float = 0.2, size: int = 64) -> xr.DataArray:
    random = np.random.default_rng(0)
    values = random.normal(0.3, 0.1, (1, 2, size, size)).astype(np.float32) * scale
    values[:, :, random.random((size, size)) < gaps] = np.nan
    box = GeoBox.from_bbox((0, 0, size * 10, size * 10), "EPSG:32633", resolution=10)
    return xr.DataArray(
        values,
        dims=("time", "band", "y", "x"),
        coords={"time": ["summer"], "band": ["red", "nir"], **xr_coords(box)},
    )


@pytest.mark.parametrize(("scale", "told"), [(1.0, False), (10_000.0, True), (1.8, False)])
def test_values_far_from_the_training_are_told(
    scale: float, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "rsscale"):
        rs.predict(composite(scale), model())
    assert ("are the bands in the same units?" in caplog.text) is told


def test_values_that_are_shifted_as_a_whole_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """Of another season or sensor: each by itself is possible, all together are not."""
    with caplog.at_level(logging.WARNING, "rsscale"):
        rs.predict(composite(1.8, size=256), model())
    assert "the bands lie 2.3 standard deviations from the mean of the training" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "rsscale"):
        rs.predict(composite(1.3, size=256), model())
        rs.predict(composite(1.8, gaps=0.9, size=256), model())  # too few to tell
    assert "the mean of the training" not in caplog.text


def test_a_model_without_statistics_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "rsscale"):
        rs.predict(composite(10_000.0), model(0.0, 1.0))
    assert "units" not in caplog.text


def test_a_few_outliers_are_no_other_units(caplog: pytest.LogCaptureFixture) -> None:
    cube = composite(1.0)
    cube[..., :10] = 50.0
    with caplog.at_level(logging.WARNING, "rsscale"):
        rs.predict(cube, model())
    assert "standard deviations" not in caplog.text
