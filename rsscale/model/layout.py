"""Stack composites as the channels of a network, in one order for training and mapping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import xarray as xr


class NamedBands(Protocol):
    """An input by name and the bands that are wanted of it."""

    @property
    def name(self) -> str:
        """Name of the input."""

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands in channel order."""


def stack_channels(
    composites: Mapping[str, xr.DataArray], inputs: Sequence[NamedBands]
) -> npt.NDArray[np.float32]:
    """Stack inputs as ``(channel, row, col)``: input by input, time by time, band by band.

    Parameters
    ----------
    composites : mapping of input name to DataArray
        ``(time, band, y, x)`` float32 in memory, NaN where missing, all of one shape.
    inputs : sequence of NamedBands
        Their order, and the order of bands within each.
    """
    arrays = [composites[i.name].sel(band=list(i.bands)).values for i in inputs]
    flat = [a.reshape(-1, *a.shape[-2:]) for a in arrays]
    return np.concatenate(flat).astype(np.float32, copy=False)
