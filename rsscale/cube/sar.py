"""Radar backscatter."""

from __future__ import annotations

from typing import cast

import numpy as np
import xarray as xr

from rsscale.decorators.first_argument import COMPOSITE, first_is


@first_is(xr.DataArray, expected=COMPOSITE)
def to_decibel(power: xr.DataArray) -> xr.DataArray:
    """Convert linear backscatter to decibel, ``10 log10(power)``, lazily.

    Of composites, not of observations: a mean of decibels is not the mean backscatter (a median
    or a percentile does not care).

    Parameters
    ----------
    power : xr.DataArray
        Linear power such as gamma nought, dimensionless, any shape. Sentinel-1 RTC products
        hold it as float32.

    Returns
    -------
    xr.DataArray
        float32, dB. NaN where the power is NaN, zero or negative: nodata and noise-corrected
        shadows have no logarithm, and must not become minus infinity.
    """
    values = power.astype("float32")
    decibel = cast("xr.DataArray", 10 * np.log10(values.where(values > 0)))
    out = decibel.astype("float32").assign_attrs(power.attrs | {"units": "dB"})
    return out.rename(power.name)
