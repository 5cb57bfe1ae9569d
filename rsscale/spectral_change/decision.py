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
        ``change``: 1 beyond the threshold, 0, 255 without a value; ``change_probability`` in
        percent, 255 without one: by the measure, else by the groups, else there is none.
    """
    seen = np.isfinite(stored)
    clear = np.where(seen, stored, np.float32(0))
    heights = measure.heights(clear)
    beyond = heights > np.float32(cut.threshold) if isinstance(cut, Groups) else clear > cut
    found = {"change": np.where(seen, beyond, NODATA).astype(np.uint8)}
    probability = measure.probability(clear)
    if probability is None and isinstance(cut, Groups):
        probability = cut.probability(heights)
    if probability is not None:
        percent = np.rint(100 * probability)
        found["change_probability"] = np.where(seen, percent, NODATA).astype(np.uint8)
    return found
