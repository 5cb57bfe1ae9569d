"""Late fusion: a branch for each sensor, each with dates of its own; one may be missing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from rsscale.networks.inputs import NetworkInput
from rsscale.networks.ltae import LightweightAttention
from rsscale.networks.pixels import PixelNetwork, PixelSeries
from rsscale.networks.tempcnn import TemporalConvolutions

_PLACES, _KERNEL = 24, 5


class LateFusion(PixelNetwork):
    """Features of each input, averaged over the inputs that saw the pixel.

    After FuseNet (Hazirbas et al. 2016, https://doi.org/10.1007/978-3-319-54181-5_14), and late
    fusion of remote sensing data (Audebert, Le Saux & Lefèvre 2018,
    https://doi.org/10.1016/j.isprsjprs.2017.11.011). A branch is the encoder of L-TAE or TempCNN.

    Parameters
    ----------
    inputs : sequence of NetworkInput
        One or more.
    outputs : int
    branch : str
        ``"ltae"`` or ``"tempcnn"``.
    width : int
        Features of a branch; a multiple of 16.
    drop : float
        How often a pixel's input is taken away in training, while another saw it.
    dropout : float
        Of features.
    """

    def __init__(
        self,
        inputs: Sequence[NetworkInput],
        outputs: int,
        *,
        branch: str = "ltae",
        width: int = 128,
        drop: float = 0.1,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(inputs, width, outputs)
        if not 0 <= drop < 1 or width % 16 or width < 16:
            raise ValueError(
                f"drop {drop}, width {width}; drop is from 0 to below 1, width a multiple of 16"
            )
        self.drop = drop
        self.branches = nn.ModuleList(
            _branch(branch, len(network_input.bands), width, dropout) for network_input in inputs
        )

    def features(self, inputs: Sequence[PixelSeries]) -> torch.Tensor:
        """Features ``(P, width)``; zeros where no input saw anything."""
        seen = torch.stack([series.seen for series in inputs])  # (inputs, P)
        if self.training and self.drop:
            seen = self._dropped(seen)
        branches = [branch(series) for branch, series in zip(self.branches, inputs, strict=True)]
        features = torch.stack(branches)  # (inputs, P, width)
        share = seen / seen.sum(dim=0).clamp(min=1)
        return (features * share[..., None].to(features.dtype)).sum(dim=0)

    def _dropped(self, seen: torch.Tensor) -> torch.Tensor:
        """What is seen after some inputs are taken away; where none is left, none are."""
        kept = seen & (torch.rand(seen.shape, device=seen.device) >= self.drop)
        return kept.where(kept.any(dim=0), seen)


def _branch(kind: str, bands: int, width: int, dropout: float) -> nn.Module:
    if kind == "ltae":
        return LightweightAttention(bands, width, 16, 8, dropout)
    if kind == "tempcnn":
        return TemporalConvolutions(bands, width // 4, _KERNEL, _PLACES, dropout)
    raise ValueError(f"branch {kind!r}; 'ltae' or 'tempcnn'")
