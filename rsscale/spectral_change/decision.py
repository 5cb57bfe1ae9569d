"""Which pixels changed, by how much each did and a threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.change.comparison import CHANGE
from rsscale.layers import NODATA, Layer
from rsscale.legend.classes import class_attributes
from rsscale.spectral_change.measures import Measure
from rsscale.spectral_change.thresholds import Groups


def change_layers(*, probable: bool) -> tuple[Layer, ...]:
    """``change``, and ``change_probability`` where there is one."""
    change = Layer(
        "change",
        overview="mode",
        attributes={"long_name": "change between two dates", **class_attributes(CHANGE)},
    )
    probability = Layer(
        "change_probability",
        overview="mean",
        attributes={"long_name": "probability of change", "units": "percent"},
    )
    return (change, probability) if probable else (change,)


def decide(
    measure: Measure, stored: npt.NDArray[np.float32], cut: Groups | float
) -> dict[str, npt.NDArray[Any]]:
    """What changed.

    Parameters
    ----------
    measure : Measure
    stored : float32 array (…)
        What it says of each pixel, NaN for none.
    cut : Groups or float
        Groups of its heights; or a threshold of what is stored.

    Returns
    -------
    dict of str to uint8 array (…)
        ``change``: 1 beyond the threshold, 0, 255 without a value; with groups,
        ``change_probability``: their posterior in percent, 255 without a value.
    """
    seen = np.isfinite(stored)
    clear = np.where(seen, stored, np.float32(0))
    heights = measure.heights(clear)
    if not isinstance(cut, Groups):
        return {"change": np.where(seen, clear > np.float32(cut), NODATA).astype(np.uint8)}
    percent = np.rint(100 * cut.probability(heights))
    return {
        "change": np.where(seen, heights > np.float32(cut.threshold), NODATA).astype(np.uint8),
        "change_probability": np.where(seen, percent, NODATA).astype(np.uint8),
    }
