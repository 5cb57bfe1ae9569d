"""Layers of breaks in series, and their values as they are stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.breaks.alerts import CONFIRMED, NONE, PROVISIONAL, REJECTED, Breaks
from rsscale.layers import NODATA, Layer

STATES = {NONE: "none", PROVISIONAL: "provisional", CONFIRMED: "confirmed", REJECTED: "rejected"}
"""Names of the states of an alert."""

_COLORS = ("#e8e8e8", "#f2a33c", "#c0182a", "#7fa6c9")
_LONGEST_MAGNITUDE = np.finfo(np.float32).max


def break_layers(unit: str) -> tuple[Layer, ...]:
    """``alert``, ``change_date``, ``magnitude``, ``confidence`` and ``observations``.

    Parameters
    ----------
    unit : str
        What the magnitude is a difference of, such as ``"NDVI"``.
    """
    return (
        Layer(
            "alert",
            overview="mode",
            attributes={
                "long_name": "state of the latest alert",
                "flag_values": list(STATES),
                "flag_meanings": " ".join(STATES.values()),
                "flag_colors": " ".join(_COLORS),
            },
        ),
        Layer(
            "change_date",
            "uint16",
            0,
            overview="mode",
            attributes={
                "long_name": "first observation after the break",
                "units": "days since 1970-01-01",
                "calendar": "proleptic_gregorian",
                # A date is read as one, and no date as none.
                "_FillValue": 0,
            },
        ),
        Layer(
            "magnitude",
            "float32",
            overview="mean",
            attributes={"long_name": f"median of {unit} against the model since the break"},
        ),
        Layer(
            "confidence",
            overview="mean",
            attributes={
                "long_name": "share of stable series that do not go as far from their model",
                "units": "percent",
            },
        ),
        Layer(
            "observations",
            "uint16",
            65535,
            overview="mean",
            attributes={"long_name": "observations of history and monitoring"},
        ),
    )


def break_values(breaks: Breaks) -> dict[str, npt.NDArray[Any]]:
    """Values of :func:`break_layers` of pixels, nodata where they are not monitored.

    ``observations`` has a value everywhere: it says why there is none elsewhere.
    """
    dated = breaks.monitored & (breaks.alert != NONE)
    magnitude = breaks.magnitude.clip(-_LONGEST_MAGNITUDE, _LONGEST_MAGNITUDE).astype(np.float32)
    percent = np.floor(100 * breaks.confidence).astype(np.uint8)
    return {
        "alert": np.where(breaks.monitored, breaks.alert, np.uint8(NODATA)),
        "change_date": np.where(dated, breaks.day, 0).astype(np.uint16),
        "magnitude": np.where(dated, magnitude, np.float32(np.nan)),
        "confidence": np.where(breaks.monitored, percent, np.uint8(NODATA)),
        "observations": np.minimum(breaks.observations, 65534).astype(np.uint16),
    }
