"""Networks that take all inputs as channels: ``(N, C, H, W)`` to ``(N, K, H, W)``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from rsscale.networks.inputs import NetworkInput, channels_of

MAX_DEPTH = 6
"""Scales of the deepest U-Net: images whose size is a multiple of 32 fit every network."""


class UNet(nn.Module):
    """A small U-Net (Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597).

    Parameters
    ----------
    inputs : sequence of NetworkInput
        All times and bands become its channels.
    outputs : int
        Output channels, such as classes.
    width : int
        Channels of the first scale; doubled at each coarser one.
    depth : int
        Number of scales. Height and width of the input must be multiples of
        ``2 ** (depth - 1)``.
    """

    def __init__(
        self, inputs: Sequence[NetworkInput], outputs: int, width: int = 16, depth: int = 3
    ) -> None:
        super().__init__()
        if not 1 <= depth <= MAX_DEPTH or width < 1:
            raise ValueError(f"width {width}, depth {depth}; depth is 1 to {MAX_DEPTH}, width >= 1")
        widths = [width * 2**scale for scale in range(depth)]
        before_each = [channels_of(inputs), *widths[:-1]]
        self.down = nn.ModuleList(
            two_convolutions(before, after)
            for before, after in zip(before_each, widths, strict=True)
        )
        self.up = nn.ModuleList(
            two_convolutions(coarse + fine, fine)
            for coarse, fine in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(width, outputs, kernel_size=1)

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
    inputs : sequence of NetworkInput
        All times and bands become its channels.
    outputs : int
        Output channels.
    width : int
        Hidden channels.
    """

    def __init__(self, inputs: Sequence[NetworkInput], outputs: int, width: int = 32) -> None:
        super().__init__()
        self.hidden = nn.Conv2d(channels_of(inputs), width, kernel_size=1)
        self.head = nn.Conv2d(width, outputs, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class scores before softmax."""
        scores: torch.Tensor = self.head(torch.relu(self.hidden(x)))  # (N, K, H, W)
        return scores


def two_convolutions(before: int, after: int) -> nn.Sequential:
    """Two convolutions; batch normalisation is folded statistics when the network is used."""
    return nn.Sequential(
        nn.Conv2d(before, after, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
        nn.Conv2d(after, after, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )
