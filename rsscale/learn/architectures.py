"""Networks that rsscale knows by name.

Every one maps ``(N, C, H, W)`` to class scores ``(N, K, H, W)``, and the score of a pixel
depends on a bounded neighbourhood only: no statistic is taken over a window when the network
is used, so that windows can be trimmed without a seam.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from rsscale.errors import ModelError, nearest
from rsscale.network.receptive_field import reach_of

MAX_DEPTH = 6
"""Scales of the deepest U-Net: images whose size is a multiple of 32 fit every network."""


class UNet(nn.Module):
    """A small U-Net (Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597).

    Parameters
    ----------
    channels : int
        Input channels.
    classes : int
        Output channels.
    width : int
        Channels of the first scale; doubled at each coarser one.
    depth : int
        Number of scales. Height and width of the input must be multiples of
        ``2 ** (depth - 1)``.
    """

    def __init__(self, channels: int, classes: int, width: int = 16, depth: int = 3) -> None:
        super().__init__()
        if not 1 <= depth <= MAX_DEPTH or width < 1:
            raise ValueError(f"width {width}, depth {depth}; depth is 1 to {MAX_DEPTH}, width >= 1")
        widths = [width * 2**scale for scale in range(depth)]
        self.down = nn.ModuleList(
            _block(before, after)
            for before, after in zip([channels, *widths[:-1]], widths, strict=True)
        )
        self.up = nn.ModuleList(
            _block(coarse + fine, fine)
            for coarse, fine in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(width, classes, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class scores before softmax."""
        skips: list[torch.Tensor] = []
        for scale, block in enumerate(self.down):
            if scale:
                x = functional.max_pool2d(x, 2)  # (N, w·2^(s-1), H/2^s, W/2^s)
            x = block(x)  # (N, w·2^s, H/2^s, W/2^s)
            skips.append(x)
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = block(torch.cat([x, skip], dim=1))  # back to the skip's width and size
        scores: torch.Tensor = self.head(x)  # (N, K, H, W)
        return scores


class PixelNet(nn.Module):
    """Two layers on each pixel alone: the cheapest network that is not linear.

    Parameters
    ----------
    channels, classes : int
        Input and output channels.
    width : int
        Hidden channels.
    """

    def __init__(self, channels: int, classes: int, width: int = 32) -> None:
        super().__init__()
        self.hidden = nn.Conv2d(channels, width, kernel_size=1)
        self.head = nn.Conv2d(width, classes, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class scores before softmax."""
        scores: torch.Tensor = self.head(torch.relu(self.hidden(x)))  # (N, K, H, W)
        return scores


_MOST_BYTES = 8 << 30
_ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {"unet": UNet, "pixel": PixelNet}


def build(architecture: str, channels: int, classes: int, **hyperparameters: Any) -> nn.Module:
    """Make a network by name, with random weights.

    Raises
    ------
    ModelError
        When the name or a hyperparameter is unknown.
    """
    if architecture not in _ARCHITECTURES:
        raise ModelError(
            f"architecture {architecture!r} is not known; there are {sorted(_ARCHITECTURES)}, and "
            "any other network is exported as a .pt2 program (docs/models.md)"
            f"{nearest(architecture, _ARCHITECTURES)}"
        )
    known = complete(architecture, {})
    unknown = [name for name in hyperparameters if name not in known]
    if unknown:
        raise ModelError(
            f"architecture {architecture!r} has no hyperparameter {unknown[0]!r}; it has "
            f"{', '.join(known)}{nearest(unknown[0], known)}"
        )
    _check_size(architecture, channels, classes, hyperparameters)
    try:
        return _ARCHITECTURES[architecture](channels, classes, **hyperparameters)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"architecture {architecture!r}: {error}") from None


def _check_size(
    architecture: str, channels: int, classes: int, hyperparameters: Mapping[str, Any]
) -> None:
    """Refuse a network that no memory holds, before any is taken."""
    try:
        with torch.device("meta"):
            network = _ARCHITECTURES[architecture](channels, classes, **hyperparameters)
        size = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    except Exception as error:  # noqa: BLE001 -- torch raises anything for numbers of any size
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"architecture {architecture!r}: {reason}") from None
    if size > _MOST_BYTES:
        raise ModelError(
            f"architecture {architecture!r} with {dict(hyperparameters)} has "
            f"{size / 2**30:.1f} GiB of weights; at most {_MOST_BYTES / 2**30:.0f} GiB are built"
        )


def complete(architecture: str, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters with the defaults of today written out, so that they stay what they were."""
    if architecture not in _ARCHITECTURES:
        return dict(hyperparameters)  # build() says what is wrong
    parameters = inspect.signature(_ARCHITECTURES[architecture]).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    return defaults | dict(hyperparameters)


def small_size(size: int) -> int:
    """A small width that every network here takes if, and only if, it takes ``size``.

    None halves its input more often than :data:`MAX_DEPTH` has scales, so that only the remainder
    by that power of two decides.
    """
    step: int = 2**MAX_DEPTH
    return min(size, step + size % step)


def reach(architecture: str, **hyperparameters: Any) -> int:
    """Receptive field radius in pixels: a halo of this width leaves no seams."""
    return reach_of(architecture, complete(architecture, hyperparameters)) or 0


def _block(before: int, after: int) -> nn.Sequential:
    """Two convolutions; batch normalisation is folded statistics when the network is used."""
    return nn.Sequential(
        nn.Conv2d(before, after, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
        nn.Conv2d(after, after, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )
