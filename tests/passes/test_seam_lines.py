"""What a run says of the seams of its map: numbers, what chance may do, and what to do."""

from typing import Any

import pytest

from rsscale.geo.lattice import Lattice
from rsscale.inference.seams import LineSums, Seams
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import ModelInput
from rsscale.model.spec import ModelSpec
from rsscale.passes.mapping import MapPass


def map_pass(architecture: str) -> MapPass:
    spec = ModelSpec(
        name="m",
        inputs=(ModelInput("s2", ("red",), ("year",), (0.0,), (1.0,)),),
        classes=(LandClass(1, "a", "#111111"), LandClass(2, "b", "#222222")),
        lattice=Lattice(64, 0),
        architecture=architecture,
    )
    nothing: Any = None
    return MapPass(
        step="map", sources={}, layers=(), models={}, specs={"2023": spec}, recipe=nothing
    )


ALIKE = LineSums(12, 1200, 120, 120_100, 12_010, 1_300)
FEW = LineSums(1, 100, 16, 10_000, 1_600, 256)
MANY = LineSums(12, 1200, 360, 120_100, 36_010, 10_900)


@pytest.mark.parametrize("architecture", ["pixel", "unet"])
@pytest.mark.parametrize("line", [FEW, ALIKE])
def test_what_chance_may_do_raises_no_alarm(architecture: str, line: LineSums) -> None:
    (told,) = map_pass(architecture).describe(Seams(line, ALIKE).to_dict())
    assert told.startswith("seams     neighbours differ at 1")
    assert "too few lines" in told or "which may be chance" in told
    assert "halo" not in told


def test_seams_name_the_remedy() -> None:
    (told,) = map_pass("unet").describe(Seams(MANY, ALIKE).to_dict())
    assert "more than chance" in told
    assert told.endswith("a model with a larger halo, or with blend: hann, hides them")


def test_a_network_of_single_pixels_is_not_blamed() -> None:
    (told,) = map_pass("pixel").describe(Seams(MANY, ALIKE).to_dict())
    assert "halo" not in told
    assert told.endswith("not by the model, which sees single pixels")


def test_a_map_without_lines_says_nothing() -> None:
    assert list(map_pass("unet").describe({"pixels": 1000})) == []
