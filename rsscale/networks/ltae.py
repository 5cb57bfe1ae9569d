"""L-TAE: lightweight attention over the dates of a series, pixel by pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from rsscale.networks.inputs import NetworkInput, only
from rsscale.networks.pixels import PixelNetwork, PixelSeries


class LTAE(PixelNetwork):
    """Temporal attention (Garnot & Landrieu 2020, https://doi.org/10.1007/978-3-030-65742-0_12).

    Irregular dates and gaps need no filling: attention goes to valid observations alone.

    Parameters
    ----------
    inputs : sequence of NetworkInput
        One.
    outputs : int
    width : int
        Features of an observation; a multiple of ``heads``.
    heads : int
        Each attends in its own way, to its own share of the features.
    keys : int
        Numbers that a head compares.
    dropout : float
    """

    def __init__(
        self,
        inputs: Sequence[NetworkInput],
        outputs: int,
        *,
        width: int = 128,
        heads: int = 16,
        keys: int = 8,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(inputs, width, outputs)
        self.encoder = LightweightAttention(
            len(only(inputs, "ltae").bands), width, heads, keys, dropout
        )

    def features(self, inputs: Sequence[PixelSeries]) -> torch.Tensor:
        """Features ``(P, width)``."""
        features: torch.Tensor = self.encoder(inputs[0])
        return features


class LightweightAttention(nn.Module):
    """The part of L-TAE before its last layer: series of pixels to features ``(P, width)``."""

    def __init__(self, bands: int, width: int, heads: int, keys: int, dropout: float) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout {dropout}; from 0 to below 1")
        self.embed = nn.Sequential(nn.Linear(bands, width), nn.LayerNorm(width))
        self.attention = MasterQueries(width, heads, keys)
        self.dense = nn.Sequential(
            nn.Linear(width, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.LayerNorm(width),
        )

    def forward(self, series: PixelSeries) -> torch.Tensor:
        """Features of pixels; those of zeros where nothing was observed."""
        embedded = self.embed(series.values)  # (P, T, width)
        weights = self.attention(embedded, series.days, series.valid)  # (P, T, heads)
        count, times, heads = weights.shape
        shares = self.attention.with_days(embedded, series.days).view(count, times, heads, -1)
        mixed = torch.einsum("pth,pthf->phf", weights.to(shares.dtype), shares)
        features: torch.Tensor = self.dense(mixed.reshape(count, -1))  # (P, width)
        return features


class MasterQueries(nn.Module):
    """Attention with one learnt query a head, so that a series gives one vector.

    Parameters
    ----------
    width : int
        Features of an observation.
    heads, keys : int
    """

    def __init__(self, width: int, heads: int, keys: int) -> None:
        super().__init__()
        if heads < 1 or keys < 1 or width < heads or width % heads or width % 2:
            raise ValueError(
                f"width {width}, heads {heads}, keys {keys}; width is an even multiple of heads"
            )
        self.heads = heads
        self.key = nn.Linear(width, heads * keys)
        self.query = nn.Parameter(torch.randn(heads, keys) * math.sqrt(2.0 / keys))

    def forward(
        self, embedded: torch.Tensor, days: torch.Tensor, valid: torch.Tensor
    ) -> torch.Tensor:
        """Weights ``(P, T, heads)`` of observations ``(P, T, width)``: sums of 1, or 0 of none."""
        key = self.key(self.with_days(embedded, days))  # (P, T, heads·keys)
        key = key.view(*key.shape[:2], self.heads, -1)  # (P, T, heads, keys)
        score = torch.einsum("pthk,hk->pth", key, self.query.to(key.dtype)).float()
        score = score / math.sqrt(key.shape[-1])
        blank = ~valid[..., None]  # (P, T, 1)
        # Not minus infinity: a pixel that was never seen would get 0 / 0.
        weights = score.masked_fill(blank, torch.finfo(score.dtype).min).softmax(dim=1)
        return weights.masked_fill(blank, 0.0)

    @staticmethod
    def with_days(embedded: torch.Tensor, days: torch.Tensor) -> torch.Tensor:
        """Observations with their day of the year, as sines and cosines of the paper."""
        width = embedded.shape[-1]
        power = torch.arange(0, width, 2, device=days.device) / width
        angle = days[..., None] / 1000.0**power  # (P, T, width / 2)
        return embedded + torch.cat([angle.sin(), angle.cos()], dim=-1).to(embedded.dtype)
