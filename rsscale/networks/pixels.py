"""Series of pixels that a network sees one by one, cut from what it is given of a window."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from rsscale.networks.inputs import NetworkInput

# Pixels at once when a network is used: of 46 times and 128 features 48 MB an array, where all of
# a window would take gigabytes.
# Counted from the window's first pixel, so that one is always computed beside the same others.
_AT_ONCE = 2048


@dataclass(frozen=True)
class PixelSeries:
    """One input as series of pixels.

    Attributes
    ----------
    values : Tensor
        ``(P, T, B)``, 0 where not valid.
    days : Tensor
        ``(P, T)`` float32, day of the year.
    valid : Tensor
        ``(P, T)`` bool.
    """

    values: torch.Tensor
    days: torch.Tensor
    valid: torch.Tensor

    def part(self, pixels: slice) -> PixelSeries:
        """Some of the pixels."""
        return PixelSeries(self.values[pixels], self.days[pixels], self.valid[pixels])

    @property
    def seen(self) -> torch.Tensor:
        """Pixels ``(P,)`` with an observation at any time."""
        return self.valid.any(dim=1)


def pixel_series(given: Mapping[str, torch.Tensor], name: str) -> PixelSeries:
    """An input ``NAME``, ``NAME.days``, ``NAME.valid`` of a batch as series of its pixels.

    Times are spread over the year where there are no days, and valid where nothing says else.
    """
    values, days, valid = observations(given, name)
    count, times, bands, height, width = values.shape
    pixels = height * width
    # No copy where the batch lies in memory pixel by pixel, as windows of one input do.
    values = values.permute(0, 3, 4, 1, 2).reshape(-1, times, bands)  # (N·H·W, T, B)
    valid = valid.permute(0, 2, 3, 1).reshape(-1, times)  # (N·H·W, T)
    days = days[:, None].expand(count, pixels, times).reshape(-1, times)  # (N·H·W, T)
    return PixelSeries(values.masked_fill(~valid[..., None], 0.0), days, valid)


def observations(
    given: Mapping[str, torch.Tensor], name: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Values ``(N, T, B, H, W)``, days ``(N, T)`` and validity ``(N, T, H, W)`` of an input."""
    values = given[name]
    count, times, _, height, width = values.shape
    days, valid = given.get(f"{name}.days"), given.get(f"{name}.valid")
    if days is None:
        middle = 366 * (torch.arange(times, device=values.device) + 0.5) / times
        days = middle.expand(count, times)
    if valid is None:
        valid = torch.ones(1, dtype=torch.bool, device=values.device).expand(
            count, times, height, width
        )
    return values, days, valid


class PixelNetwork(nn.Module):
    """A network that looks at the series of each pixel alone: the same features everywhere.

    A kind of it is one method, :meth:`features`; what follows is a linear layer to the outputs.

    Parameters
    ----------
    inputs : sequence of NetworkInput
    width : int
        Features that the method returns.
    outputs : int
    """

    def __init__(self, inputs: Sequence[NetworkInput], width: int, outputs: int) -> None:
        super().__init__()
        self.names = [network_input.name for network_input in inputs]
        self.head = nn.Linear(width, outputs)

    @abstractmethod
    def features(self, inputs: Sequence[PixelSeries]) -> torch.Tensor:
        """Features ``(P, width)`` of pixels, given the series of each input."""

    def forward(self, given: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Numbers ``(N, K, H, W)`` for inputs ``NAME``, ``NAME.days`` and ``NAME.valid``."""
        count, _, _, height, width = given[self.names[0]].shape
        inputs = [pixel_series(given, name) for name in self.names]
        total = count * height * width
        step = total if self.training else _AT_ONCE
        parts = [
            self.head(self.features([series.part(slice(start, start + step)) for series in inputs]))
            for start in range(0, total, step)
        ]
        numbers = torch.cat(parts) if len(parts) > 1 else parts[0]  # (N·H·W, K)
        return numbers.view(count, height, width, -1).permute(0, 3, 1, 2)  # (N, K, H, W)
