"""TempCNN: convolutions along a year, pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from rsscale.networks.inputs import NetworkInput, only
from rsscale.networks.pixels import PixelNetwork, PixelSeries

YEAR = 366.0
"""Days of the circle on which days of the year lie."""


class TempCNN(PixelNetwork):
    """Temporal convolutions (Pelletier, Webb & Petitjean 2019, https://doi.org/10.3390/rs11050523).

    The paper's network for series on a regular axis. Here dates may be irregular, and pixels may
    lack some: observations are put on a regular axis of the year first; see :func:`on_year`.

    Parameters
    ----------
    inputs : sequence of NetworkInput
        One.
    outputs : int
    width : int
        Channels of each of the three convolutions; the paper has 64.
    kernel : int
        Places that each sees, odd.
    places : int
        Of the regular axis: 24 are a fortnight apart.
    dropout : float
    """

    def __init__(
        self,
        inputs: Sequence[NetworkInput],
        outputs: int,
        *,
        width: int = 64,
        kernel: int = 5,
        places: int = 24,
        dropout: float = 0.3,
    ) -> None:
        super().__init__(inputs, 4 * width, outputs)
        bands = len(only(inputs, "tempcnn").bands)
        self.encoder = TemporalConvolutions(bands, width, kernel, places, dropout)

    def features(self, inputs: Sequence[PixelSeries]) -> torch.Tensor:
        """Features ``(P, 4·width)``."""
        features: torch.Tensor = self.encoder(inputs[0])
        return features


class TemporalConvolutions(nn.Module):
    """The part of TempCNN before its last layer: series of pixels to features ``(P, 4·width)``."""

    def __init__(self, bands: int, width: int, kernel: int, places: int, dropout: float) -> None:
        super().__init__()
        if width < 1 or kernel < 1 or kernel % 2 == 0 or places < kernel or not 0 <= dropout < 1:
            raise ValueError(
                f"width {width}, kernel {kernel}, places {places}, dropout {dropout}; width is at "
                "least 1, kernel odd and at most the places, dropout from 0 to below 1"
            )
        self.places = places
        self.convolutions = nn.Sequential(
            *(
                layer
                for before in (bands, width, width)
                for layer in (
                    # The year is a circle: December is beside January.
                    nn.Conv1d(
                        before, width, kernel, padding=kernel // 2, padding_mode="circular",
                        bias=False,
                    ),
                    nn.BatchNorm1d(width),
                    nn.ReLU(inplace=True),
                    nn.Dropout(dropout),
                )
            )
        )  # fmt: skip
        self.dense = nn.Sequential(
            nn.Linear(width * places, 4 * width, bias=False),
            nn.BatchNorm1d(4 * width),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
        )

    def forward(self, series: PixelSeries) -> torch.Tensor:
        """Features of pixels; those of zeros where nothing was observed."""
        year = on_year(series, self.places)  # (P, S, B)
        activations = self.convolutions(year.transpose(1, 2))  # (P, width, S)
        features: torch.Tensor = self.dense(activations.flatten(1))  # (P, 4·width)
        return features


def on_year(series: PixelSeries, places: int) -> torch.Tensor:
    """Values ``(P, S, B)`` at regular places of the year, linearly between valid observations.

    A place lies between the last valid observation before it and the next after it, in day of the
    year, around its end: what lies between the last of December and the first of January is
    interpolated too. So neither the year of an observation nor its number in the series counts.
    Pixels that were never seen get zeros.

    Parameters
    ----------
    series : PixelSeries
    places : int
        S, at the middles of as many equal parts of a year.
    """
    order = series.days.argsort(dim=1, stable=True)  # (P, T)
    days, valid = series.days.gather(1, order), series.valid.gather(1, order)
    count, times = days.shape
    number = torch.arange(times, device=days.device)
    last = number.where(valid, -1).cummax(dim=1).values  # (P, T): valid, at or before
    first = number.where(valid, times).flip(1).cummin(dim=1).values.flip(1)  # at or after
    place = YEAR * (torch.arange(places, device=days.device) + 0.5) / places
    place = place.to(days.dtype).expand(count, places)  # (P, S)
    at = torch.searchsorted(days.contiguous(), place.contiguous())  # days before each place
    before = functional.pad(last, (1, 0), value=-1).gather(1, at)  # (P, S)
    after = functional.pad(first, (0, 1), value=times).gather(1, at)
    before = before.where(before >= 0, last[:, -1:]).clamp(min=0)  # around the end of the year
    after = after.where(after < times, first[:, :1]).clamp(max=times - 1)
    since = (place - days.gather(1, before)) % YEAR
    until = (days.gather(1, after) - place) % YEAR
    weight = (since / (since + until).clamp(min=1.0))[..., None]  # (P, S, 1)
    lower, upper = (_values_at(series.values, order.gather(1, index)) for index in (before, after))
    return (lower + weight.to(lower.dtype) * (upper - lower)).masked_fill(
        ~series.seen[:, None, None], 0.0
    )


def _values_at(values: torch.Tensor, number: torch.Tensor) -> torch.Tensor:
    """Values ``(P, S, B)`` of the observations with these numbers ``(P, S)``."""
    index = number[..., None].expand(*number.shape, values.shape[-1])
    return values.gather(1, index)
