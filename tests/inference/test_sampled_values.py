"""Facts on the bands of a map are those that its pass declares, of however many bands."""

import numpy as np
from torch import nn

import rsscale as rs
from rsscale.inference.sampled_values import SampledValues, band_facts

CLASSES = [rs.LandClass(1, "a", "#000000"), rs.LandClass(2, "b", "#ffffff")]


def test_facts_of_many_bands_are_declared_and_come_back() -> None:
    bands = tuple(f"b{number}" for number in range(64))
    inputs = [rs.ModelInput("cube", bands, ("year",), (1.0,) * 64, (2.0,) * 64)]
    spec = rs.Model.of(
        nn.Conv2d(64, 2, 1).eval(), inputs=inputs, classes=CLASSES, stride=32, halo=0
    ).spec
    sampled = SampledValues()
    for band in bands:
        sampled += SampledValues.of_band(f"cube.{band}", np.full(200, 5.0), 1.0, 2.0)
    facts = sampled.to_facts("2023", spec)
    declared = {"sampled_values", "far_values", *band_facts({"2023": spec})}
    assert set(facts) == declared
    assert len(declared) == 2 + 2 * 32
    again = SampledValues.from_facts(facts, "2023", spec)
    assert again.shift == sampled.shift
    assert again.shift is not None
    assert again.shift.startswith("the bands lie 2.0 standard deviations")
