"""Feature pyramids that detectors look at: a backbone and, level by level, what it sees.

Each level has half the resolution of the one before. Values are normalised by group
(Wu & He 2018, https://arxiv.org/abs/1803.08494): statistics of a batch are worth nothing for the
one or two windows that a detector is trained on at once, and frozen ones
(``torchvision``'s default) only with weights that somebody else trained. He et al. 2019
(https://arxiv.org/abs/1811.08883) train detectors from scratch so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn

from rsscale.errors import ModelError, missing_extra, nearest

BACKBONES = ("small", "resnet18", "resnet34", "resnet50", "resnet101")
FINEST = 4
"""Pixels of the window for one of the finest level."""
_GROUP = 8  # channels that are normalised together, at least
_MOST_GROUPS = 32
NORMS = ("group", "batch", "frozen")


def torchvision() -> Any:
    """The library, where it is installed.

    Raises
    ------
    MissingExtraError
    """
    try:
        import torchvision
        import torchvision.models.detection
    except ImportError as error:
        raise missing_extra("a detector of torchvision", "detection") from error
    return torchvision


def pyramid(
    backbone: str, channels: int, levels: int, *, width: int, norm: str = "group"
) -> Pyramid:
    """A pyramid with random weights; nothing is downloaded.

    Parameters
    ----------
    backbone : str
        ``"small"``, which a CPU trains in minutes, or a residual network: ``"resnet18"``, …
    channels : int
        Of a window.
    levels : int
        Of which the first has a quarter of the window's resolution.
    width : int
        Channels of each level.
    norm : str
        ``"group"``; ``"batch"``; or ``"frozen"``, for weights trained by torchvision.

    Raises
    ------
    ModelError
        When a name is unknown, or the backbone has fewer levels.
    MissingExtraError
        When torchvision is not installed.
    """
    for key, name, known in (("backbone", backbone, BACKBONES), ("norm", norm, NORMS)):
        if name not in known:
            raise ModelError(
                f"a detector has the {key} {name!r}; expected one of {', '.join(known)}"
                f"{nearest(str(name), known)}"
            )
    vision = torchvision()
    normalized: Callable[[int], nn.Module] = {
        "group": _group_norm,
        "batch": nn.BatchNorm2d,
        "frozen": vision.ops.FrozenBatchNorm2d,
    }[norm]
    body: nn.Module
    if backbone == "small":
        body, widths = Stages(channels, width, normalized), Stages.widths(width)
    else:
        body, widths = _residual(vision, backbone, channels, normalized)
    if not 1 <= levels <= len(widths) + 1:
        raise ModelError(
            f"a detector has {levels} levels; backbone {backbone!r} has 1 to {len(widths) + 1}, "
            f"of {FINEST} px and twice as many each: give one anchor size for each"
        )
    return Pyramid(body, widths[:levels], width, levels)


class Pyramid(nn.Module):
    """A backbone, and its levels brought to one width (Lin et al. 2017, arXiv 1612.03144).

    Parameters
    ----------
    body : torch.nn.Module
        Returns the features of its stages, finest first.
    widths : sequence of int
        Channels of the stages that are used.
    width : int
        Channels of each level.
    levels : int
        One more than there are stages for a last one that is only subsampled.
    """

    def __init__(self, body: nn.Module, widths: Sequence[int], width: int, levels: int) -> None:
        super().__init__()
        vision = torchvision()
        more = levels > len(widths)
        self.body = body
        self.fpn = vision.ops.FeaturePyramidNetwork(
            list(widths),
            width,
            extra_blocks=vision.ops.feature_pyramid_network.LastLevelMaxPool() if more else None,
        )
        self.stages = len(widths)
        self.out_channels = width  # which torchvision asks for

    @property
    def names(self) -> list[str]:
        """Names of the levels that objects are looked at in."""
        return [str(number) for number in range(self.stages)]

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Levels by name ``(N, width, H / 4, W / 4)``, each half as wide as the one before."""
        stages = self.body(images)[: self.stages]
        levels: dict[str, torch.Tensor] = self.fpn(dict(zip(self.names, stages, strict=True)))
        return levels


def pooled_objects(network: Pyramid, *, output_size: int) -> nn.Module:
    """What cuts objects out of the levels, whose scales are known.

    Left to itself, torchvision guesses them from the first window that it sees and keeps them: from
    one of 33 px, which is padded to 64, the wrong ones.

    Parameters
    ----------
    network : Pyramid
    output_size : int
        Width of what is cut out.
    """
    vision = torchvision()
    pooler = vision.ops.MultiScaleRoIAlign(network.names, output_size, sampling_ratio=2)
    pooler.scales = [1 / (FINEST * 2**number) for number in range(len(network.names))]
    first, last = (-int(math.log2(scale)) for scale in (pooler.scales[0], pooler.scales[-1]))
    pooler.map_levels = vision.ops.poolers.initLevelMapper(
        first, last, pooler.canonical_scale, pooler.canonical_level
    )
    module: nn.Module = pooler
    return module


class StagedNetwork(nn.Module):
    """A stem, and stages that each see what the one before it gives.

    Parameters
    ----------
    stem : torch.nn.Module
    stages : iterable of torch.nn.Module
    """

    def __init__(self, stem: nn.Module, stages: Iterable[nn.Module]) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.ModuleList(stages)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Features of each stage, finest first."""
        features = self.stem(images)
        stages = []
        for stage in self.stages:
            features = stage(features)
            stages.append(features)
        return stages


class Stages(StagedNetwork):
    """A small residual network: four stages, of 4 to 32 px.

    Parameters
    ----------
    channels : int
        Of a window.
    width : int
        Channels of a level; the first stage has half of it.
    normalized : callable
        Makes the normalisation of a number of channels.
    """

    def __init__(self, channels: int, width: int, normalized: Callable[[int], nn.Module]) -> None:
        widths = self.widths(width)
        befores = [widths[0], *widths[:-1]]
        super().__init__(
            _step(channels, widths[0], normalized),
            (
                nn.Sequential(_step(before, after, normalized), _Block(after, normalized))
                for before, after in zip(befores, widths, strict=True)
            ),
        )

    @staticmethod
    def widths(width: int) -> list[int]:
        """Channels of each stage."""
        return [max(width // 2, _GROUP), width, width, width]


class _Block(nn.Module):
    """Two convolutions beside the values that they change."""

    def __init__(self, width: int, normalized: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.inside = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            normalized(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            normalized(width),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        return torch.relu(features + self.inside(features))


def _step(before: int, after: int, normalized: Callable[[int], nn.Module]) -> nn.Sequential:
    """Half the resolution."""
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
        normalized(after),
        nn.ReLU(inplace=True),
    )


class _ResidualStages(StagedNetwork):
    """The stages of one of torchvision's residual networks."""

    def __init__(self, network: Any) -> None:
        super().__init__(
            nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool),
            (getattr(network, f"layer{n}") for n in (1, 2, 3, 4)),
        )


def _residual(
    vision: Any, backbone: str, channels: int, normalized: Callable[[int], nn.Module]
) -> tuple[nn.Module, list[int]]:
    """A residual network of any number of channels, and the width of its stages."""
    # Without weights=None torchvision would download those of ImageNet.
    network = getattr(vision.models, backbone)(weights=None, norm_layer=normalized)
    first = network.conv1
    network.conv1 = nn.Conv2d(
        channels, first.out_channels, first.kernel_size, first.stride, first.padding, bias=False
    )
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    last: int = network.fc.in_features
    return _ResidualStages(network), [last // 8, last // 4, last // 2, last]


def _group_norm(width: int) -> nn.Module:
    return nn.GroupNorm(min(_MOST_GROUPS, max(width // _GROUP, 1)), width)
