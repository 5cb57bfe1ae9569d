"""The two dates of a pass over any part of a tile, for what guards a comparison of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from rsscale.composites.strips import in_memory
from rsscale.geo.lattice import PixelBox
from rsscale.layers import AFTER, BEFORE
from rsscale.steps.base import Block


@dataclass(frozen=True)
class Dates:
    """What is read of two dates: bands of composites, or layers of a step.

    Attributes
    ----------
    bands : tuple of str
        Of the input; or layers of the step, those of quantities.
    """

    bands: tuple[str, ...]

    def read(self, block: Block, box: PixelBox) -> tuple[Any, Any]:
        """Both dates over a box inside ``block.around``: float arrays (time, band, y, x).

        NaN where there is nothing; layers of a step are one time.
        """
        rows, cols = box.slices(block.around)
        lazy = [self._channels(block.inputs[key])[..., rows, cols] for key in (BEFORE, AFTER)]
        profile, meter = block.resources.profile, block.resources.meter
        before, after = in_memory(lazy, profile.threads or None, meter)
        return before.values, after.values

    def _channels(self, dataset: xr.Dataset) -> xr.DataArray:
        if "composite" in dataset:
            composite = dataset["composite"].sel(band=list(self.bands))
            return composite.reset_coords(drop=True)
        layers = [_known(dataset[name]) for name in self.bands]
        return xr.DataArray(np.concatenate(layers)[None], dims=("time", "band", "y", "x"))


def _known(layer: xr.DataArray) -> npt.NDArray[np.float32]:
    """Stored values ``(band, y, x)`` as float32, NaN for nodata; their scale matters not."""
    values = layer.values.astype(np.float32)
    nodata = layer.attrs.get("nodata")
    if nodata is not None:
        values[layer.values == nodata] = np.nan
    return values if values.ndim == 3 else values[None]
