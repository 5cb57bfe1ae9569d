"""U-TAE: a U-Net over each date, and attention over dates where it is coarsest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional

from rsscale.networks.channels import MAX_DEPTH, two_convolutions
from rsscale.networks.inputs import NetworkInput, only
from rsscale.networks.ltae import MasterQueries
from rsscale.networks.pixels import observations


class UTAE(nn.Module):
    """U-Net with temporal attention (Garnot & Landrieu 2021, https://arxiv.org/abs/2107.07933).

    All dates go through the same convolutions; attention at the coarsest scale says how dates are
    weighted at each scale. What differs from the paper: batch normalisation instead of group
    normalisation, and weights of cells that are repeated instead of interpolated, so that it looks
    no further than a U-Net of its depth; and a date has no weight at a pixel where it is not
    valid.

    Parameters
    ----------
    inputs : sequence of NetworkInput
        One.
    outputs : int
    width : int
        Channels of the first scale; doubled at each coarser one; a multiple of ``heads``.
    depth : int
        Number of scales. Height and width of the input must be multiples of ``2 ** (depth - 1)``.
    heads, keys : int
        Of the attention.
    """

    def __init__(
        self,
        inputs: Sequence[NetworkInput],
        outputs: int,
        *,
        width: int = 16,
        depth: int = 3,
        heads: int = 8,
        keys: int = 8,
    ) -> None:
        super().__init__()
        if not 1 <= depth <= MAX_DEPTH or width < 1 or heads < 1 or width % heads:
            raise ValueError(
                f"width {width}, depth {depth}, heads {heads}; depth is 1 to {MAX_DEPTH}, width a "
                "multiple of heads"
            )
        model_input = only(inputs, "utae")
        self.name = model_input.name
        widths = [width * 2**scale for scale in range(depth)]
        before_each = [len(model_input.bands) + 1, *widths[:-1]]  # bands, and where they are valid
        self.down = nn.ModuleList(
            two_convolutions(before, after)
            for before, after in zip(before_each, widths, strict=True)
        )
        self.attention = MasterQueries(widths[-1], heads, keys)
        self.up = nn.ModuleList(
            two_convolutions(coarse + fine, fine)
            for coarse, fine in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(width, outputs, kernel_size=1)

    def forward(self, given: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Numbers ``(N, K, H, W)`` for inputs ``NAME``, ``NAME.days`` and ``NAME.valid``."""
        values, days, valid = observations(given, self.name)
        scales = self._down(values, valid)
        weights = self._weights(*scales[-1], days)  # (N, T, heads, h, w)
        x = _mix(*scales[-1], weights)
        for block, (features, known) in zip(self.up, scales[-2::-1], strict=True):
            weights = weights.repeat_interleave(2, dim=3).repeat_interleave(2, dim=4)
            x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = block(torch.cat([x, _mix(features, known, weights)], dim=1))
        numbers: torch.Tensor = self.head(x)  # (N, K, H, W)
        return numbers

    def _down(
        self, values: torch.Tensor, valid: torch.Tensor
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Features ``(N, T, C, h, w)`` of each scale, and where a date has any valid pixel."""
        count, times = values.shape[:2]
        known = valid.flatten(0, 1)[:, None].to(values.dtype)  # (N·T, 1, H, W)
        x = values.flatten(0, 1).masked_fill(known == 0, 0.0)  # (N·T, B, H, W)
        x = torch.cat([x, known], dim=1)
        scales = []
        for scale, block in enumerate(self.down):
            if scale:
                x, known = functional.max_pool2d(x, 2), functional.max_pool2d(known, 2)
            x = block(x)  # (N·T, w·2^s, H/2^s, W/2^s)
            each = (count, times)
            scales.append((x.view(*each, *x.shape[1:]), known.view(*each, *known.shape[1:])))
        return scales

    def _weights(
        self, features: torch.Tensor, known: torch.Tensor, days: torch.Tensor
    ) -> torch.Tensor:
        """Weights ``(N, T, heads, h, w)`` of the dates in each cell of the coarsest scale."""
        count, times, _, height, width = features.shape
        cells = features.permute(0, 3, 4, 1, 2).flatten(0, 2)  # (N·h·w, T, C)
        valid = known.permute(0, 3, 4, 1, 2).flatten(0, 2)[..., 0] > 0  # (N·h·w, T)
        each = days[:, None].expand(count, height * width, times).flatten(0, 1)
        weights: torch.Tensor = self.attention(cells, each, valid)  # (N·h·w, T, heads)
        return weights.view(count, height, width, times, -1).permute(0, 3, 4, 1, 2)


def _mix(features: torch.Tensor, known: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Features ``(N, C, h, w)``: of each head its share, averaged over the dates that are known."""
    weights = weights * known  # (N, T, heads, h, w)
    # Zeros, not 0 / 0, where no date is known.
    weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-12)
    count, times, heads, height, width = weights.shape
    shares = features.reshape(count, times, heads, -1, height, width)
    return torch.einsum("nthij,nthcij->nhcij", weights.to(shares.dtype), shares).flatten(1, 2)
