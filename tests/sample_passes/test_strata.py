"""Strata of what was counted."""

import numpy as np

from rsscale.layers import Layer
from rsscale.sample_passes.population import Population
from rsscale.sample_passes.sample_options import SampleOptions
from rsscale.sample_passes.strata import strata_of


def test_small_strata_are_merged_beside_a_class_that_is_named_other() -> None:
    """Sizes go by name: two strata of one name would get the sizes of one."""
    names = {1: "other", 2: "ice", 3: "rock"}
    population = Population(
        places=(("map", "classification"),),
        layer=Layer("classification", "uint8", 255),
        names=names,
        raster_names={},
    )
    rows = {
        "code": np.array([1, 2, 3]),
        "pixels": np.array([900, 4, 6]),
        "hectares": np.array([9.0, 0.04, 0.06]),
    }
    strata = strata_of(rows, population, SampleOptions(least_hectares=1.0))
    assert [(one.name, one.pixels) for one in strata.all] == [("other", 900), ("other, merged", 10)]
    assert strata.by_name({"other": 5}, "sizes") == {0: 5}
