"""Fully convolutional networks of two dates: early fusion, and two siamese forms.

Caye Daudt, Le Saux & Boulch 2018, "Fully convolutional siamese networks for change detection",
https://doi.org/10.1109/ICIP.2018.8451652. The channels are those of the date before, then those of
the date after, alike in number and order.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from rsscale.errors import missing_extra
from rsscale.networks.channels import MAX_DEPTH, UNet, two_convolutions
from rsscale.networks.inputs import NetworkInput, channels_of

_LEAST_WIDTH = 16


class EarlyFusion(UNet):
    """FC-EF: both dates are the channels of one U-Net.

    What differs from the paper: the U-Net is ours (:class:`UNet`), without dropout, and upsamples
    by repeating pixels; ``width`` and ``depth`` are free.

    Parameters
    ----------
    inputs : sequence of NetworkInput
        Two: the dates before and after, of the same times and bands.
    outputs : int
    width, depth : int
        As of :class:`UNet`.
    """

    def __init__(
        self, inputs: Sequence[NetworkInput], outputs: int, width: int = 16, depth: int = 3
    ) -> None:
        _channels_of_a_date(inputs, "fc-ef")
        super().__init__(inputs, outputs, width, depth)


class Siamese(nn.Module):
    """A U-Net whose encoder sees each date by itself, with the same weights.

    Base of both siamese forms: they differ in what the decoder gets of the two dates at each scale.
    Both dates go through the encoder as one batch, so that batch normalisation has one statistic
    for both.

    Parameters
    ----------
    inputs : sequence of NetworkInput
        Two: the dates before and after, of the same times and bands.
    outputs : int
    width : int
        Channels of the first scale; doubled at each coarser one. Of an encoder by name those of
        the finest scale of the decoder at least.
    depth : int
        Number of scales. Height and width of the input must be multiples of ``2 ** (depth - 1)``;
        of an encoder by name of ``2 ** depth``.
    encoder : str, optional
        An encoder of segmentation-models-pytorch by name, such as ``"resnet18"``, in place of the
        U-Net's; its weights begin random.
    """

    name: str

    def __init__(
        self,
        inputs: Sequence[NetworkInput],
        outputs: int,
        width: int = 16,
        depth: int = 3,
        encoder: str | None = None,
    ) -> None:
        super().__init__()
        if not 1 <= depth <= MAX_DEPTH or width < 1:
            raise ValueError(f"width {width}, depth {depth}; depth is 1 to {MAX_DEPTH}, width >= 1")
        channels = _channels_of_a_date(inputs, self.name)
        if encoder is None:
            self.encoder: nn.Module = Encoder(channels, width, depth)
            widths = [width * 2**scale for scale in range(depth)]
            finest = width
        else:
            self.encoder, widths = library_encoder(encoder, channels, depth)
            finest = max(width, _LEAST_WIDTH)
        fused = [self.fused_width(each) for each in widths]
        blocks, coarse = [], fused[-1]
        for fine, after in zip(fused[-2::-1], [*widths[-2:0:-1], finest], strict=False):
            blocks.append(two_convolutions(coarse + fine, after))
            coarse = after
        self.up = nn.ModuleList(blocks)
        self.head = nn.Conv2d(coarse, outputs, kernel_size=1)

    def fused_width(self, width: int) -> int:
        """Channels that the decoder gets of a scale of the encoder."""
        raise NotImplementedError

    def fuse(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """What the decoder gets of the features ``(N, width, h, w)`` of both dates."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class scores ``(N, K, H, W)`` before softmax, of ``(N, 2 C, H, W)``."""
        dates = torch.cat(x.chunk(2, dim=1))  # (2 N, C, H, W): all before, then all after
        scales = [self.fuse(*features.chunk(2)) for features in self.encoder(dates)]
        y = scales[-1]
        for block, skip in zip(self.up, scales[-2::-1], strict=True):
            y = functional.interpolate(y, scale_factor=2.0, mode="nearest")
            y = block(torch.cat([y, skip], dim=1))
        scores: torch.Tensor = self.head(y)  # (N, K, H, W)
        return scores


class SiameseConcatenation(Siamese):
    """FC-Siam-conc: the decoder gets the features of both dates, one after the other.

    What differs from the paper: its decoder gets the coarsest features of the date after alone.
    """

    name = "fc-siam-conc"

    def fused_width(self, width: int) -> int:
        """Twice the encoder's."""
        return 2 * width

    def fuse(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """Both."""
        return torch.cat([before, after], dim=1)


class SiameseDifference(Siamese):
    """FC-Siam-diff: the decoder gets the absolute difference of the features of both dates.

    Dates that are equal, and dates that are exchanged, give the same. What differs from the paper:
    its decoder gets the coarsest features of the date after themselves.
    """

    name = "fc-siam-diff"

    def fused_width(self, width: int) -> int:
        """The encoder's."""
        return width

    def fuse(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """Their absolute difference."""
        return (before - after).abs()


class Encoder(nn.Module):
    """The encoder of our U-Net: features of each scale, the finest first.

    Parameters
    ----------
    channels, width, depth : int
    """

    def __init__(self, channels: int, width: int, depth: int) -> None:
        super().__init__()
        widths = [channels, *(width * 2**scale for scale in range(depth))]
        self.down = nn.ModuleList(
            two_convolutions(before, after) for before, after in pairwise(widths)
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Features ``(N, w·2^s, H/2^s, W/2^s)`` of each scale."""
        scales: list[torch.Tensor] = []
        for scale, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if scale else x)
            scales.append(x)
        return scales


def library_encoder(name: str, channels: int, depth: int) -> tuple[nn.Module, list[int]]:
    """An encoder of segmentation-models-pytorch, with random weights, and the widths of its scales.

    The finest scale is the image itself.

    Raises
    ------
    ValueError
        When there is none of the name, or of that depth.
    MissingExtraError
        When the library is not installed.
    """
    try:
        from segmentation_models_pytorch.encoders import get_encoder
    except ImportError as error:
        raise missing_extra("an encoder of segmentation-models-pytorch", "smp") from error
    try:
        encoder = get_encoder(name, in_channels=channels, depth=depth, weights=None)
    except Exception as error:  # noqa: BLE001 -- of the library, which raises its own
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"encoder {name!r} of depth {depth} can't be made: {reason}") from None
    return encoder, list(encoder.out_channels)


def _channels_of_a_date(inputs: Sequence[NetworkInput], network: str) -> int:
    """Channels of each of the two dates.

    Raises
    ------
    ValueError
        When there are no two inputs of the same times and bands.
    """
    shapes = [(network_input.length, tuple(network_input.bands)) for network_input in inputs]
    if len(shapes) != 2 or shapes[0] != shapes[1]:
        dates = ", ".join(
            f"{image.name} ({image.length} times of {', '.join(image.bands)})" for image in inputs
        )
        raise ValueError(
            f"{network} takes two dates of the same bands and time windows, found {dates}; train "
            "it with train.change, which reads one input at two periods"
        )
    return channels_of(inputs) // 2
