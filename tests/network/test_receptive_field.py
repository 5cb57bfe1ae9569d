"""How far networks look: measured where it is not known, and said where a halo is too small."""

import logging

import pytest
import torch
from box_model import BOX, BoxModel, composite
from network_inputs import channels
from torch import nn

from rsscale.geo.lattice import Lattice
from rsscale.learn.architectures import build
from rsscale.legend.classes import LandClass
from rsscale.model.model_input import ModelInput
from rsscale.model.spec import ModelSpec
from rsscale.network.receptive_field import Reach, halo_advice, measured_reach, reach_of
from rsscale.prediction.predict import predict


class Own:
    """Any network, with some windows."""

    device = torch.device("cpu")

    def __init__(self, module: nn.Module, stride: int, halo: int, channels: int = 1) -> None:
        self.module = module.eval()
        self.spec = ModelSpec(
            "own",
            (ModelInput("s2", tuple(map(str, range(channels))), ("a",), (0.0,) * channels,
                        (1.0,) * channels),),
            (LandClass(0, "a", "#000000"), LandClass(1, "b", "#ffffff")),
            Lattice(stride, halo),
            "own",
        )  # fmt: skip

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return self.module(batch)


class Whole(nn.Module):
    """Looks at the whole window, as attention and global pooling do."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, -x], 1) + x.mean((2, 3), keepdim=True)


class Fixed(nn.Module):
    """Takes one size alone, as many exported programs do."""

    def __init__(self, module: nn.Module, size: int) -> None:
        super().__init__()
        self.module, self.size = module, size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] != self.size:
            raise RuntimeError(f"expected {self.size}")
        return self.module(x)


def convolutions(count: int, dilation: int = 1) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 1, 3, padding=dilation, dilation=dilation) for _ in range(count)]
    return nn.Sequential(*layers, nn.Conv2d(1, 2, 1))


@pytest.mark.parametrize(
    ("module", "reach"),
    [(convolutions(1), 1), (convolutions(7), 7), (convolutions(3, dilation=4), 12),
     (nn.Conv2d(1, 2, 1), 0)],
)  # fmt: skip
def test_what_fits_the_halo_is_measured_to_the_pixel(module: nn.Module, reach: int) -> None:
    assert measured_reach(Own(module, 64, 16)) == Reach(reach)
    assert measured_reach(Own(module, 64, reach), batch=3).pixels == reach


def test_what_does_not_fit_is_advised_in_steps() -> None:
    assert measured_reach(Own(convolutions(7), 64, 4)) == Reach(16)
    assert measured_reach(Own(convolutions(10, dilation=2), 64, 16)) == Reach(32)


def test_networks_that_look_everywhere_have_no_number() -> None:
    assert measured_reach(Own(Whole(), 64, 16)) == Reach(17, at_least=True)
    fixed = Fixed(convolutions(9, dilation=4), 96)
    assert measured_reach(Own(fixed, 64, 16)) == Reach(17, at_least=True)
    assert measured_reach(Own(Fixed(convolutions(3), 96), 64, 16)) == Reach(3)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_formula_covers_what_is_measured(depth: int) -> None:
    torch.manual_seed(0)
    own = Own(build("unet", channels(1), 2, width=4, depth=depth), 64, 32)
    known = reach_of("unet", {"depth": depth})
    assert known is not None
    assert 0 < measured_reach(own).pixels <= known
    assert reach_of("pixel", {}) == 0
    assert reach_of("resnet", {}) is reach_of("unet", {"depth": "3"}) is None


def test_advice_names_the_halo_that_is_needed() -> None:
    line = halo_advice("it", Lattice(256, 32), Reach(107))
    assert line is not None
    assert "looks 107 px" in line
    assert "halo of 32 px" in line
    assert "use halo: 107" in line
    assert halo_advice("it", Lattice(256, 107), Reach(107)) is None
    assert "a larger halo" in str(halo_advice("it", Lattice(256, 32), Reach(33, at_least=True)))


def told(caplog: pytest.LogCaptureFixture, model: BoxModel, lazy: bool = False) -> list[str]:
    caplog.clear()
    comp = composite(BOX)
    with caplog.at_level(logging.WARNING, "rsscale"):
        if lazy:
            predict(comp.chunk(y=40, x=40), model).compute(scheduler="synchronous")
        else:
            predict(comp, model)
    return [line for line in caplog.messages if "around a pixel" in line]


def test_predict_says_it_once_for_a_model(caplog: pytest.LogCaptureFixture) -> None:
    small, wide = BoxModel(stride=32, halo=1), BoxModel(stride=32, halo=3)
    (line,) = told(caplog, small)
    assert "looks 16 px around a pixel" in line
    assert "halo of 1 px" in line
    assert told(caplog, small) == []
    assert told(caplog, wide) == []
    assert len(told(caplog, BoxModel(stride=32, halo=1), lazy=True)) == 1
