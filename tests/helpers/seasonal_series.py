"""Series of a season and noise, with or without a break, as arrays of many pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from rsscale.breaks.alerts import Monitoring
from rsscale.breaks.harmonic import DAYS_A_YEAR, Season
from rsscale.breaks.monitor import Boundary

FIRST = 17_897
"""2019-01-01, in days since 1970-01-01."""
NOISE = 0.03


def days_of(years: float, per_year: int) -> np.ndarray:
    """Dates at equal distances from the first day on."""
    days = FIRST + np.arange(0, years * DAYS_A_YEAR, DAYS_A_YEAR / per_year)
    return np.round(days).astype(np.int64)


def season(days: np.ndarray) -> np.ndarray:
    """What is seen of a pixel without noise ``(T, 1)``."""
    years = days[:, None] / DAYS_A_YEAR
    waves = 0.2 * np.cos(2 * np.pi * years) + 0.05 * np.sin(4 * np.pi * years)
    return 0.5 + 0.02 * (years - FIRST / DAYS_A_YEAR) + waves


def series(
    days: np.ndarray, pixels: int, seed: int, *, seen: float = 0.7, step: float = 0.0, at: int = 0
) -> np.ndarray:
    """Noisy series ``(T, P)``, NaN where nothing is seen, moved ``step`` deviations since a day."""
    rng = np.random.default_rng(seed)
    values = season(days) + NOISE * rng.standard_normal((len(days), pixels))
    if step:
        values[days >= at] += step * NOISE
    values[rng.random(values.shape) >= seen] = np.nan
    return values


def monitoring(history: float = 3, years: float = 4, **changes: Any) -> Monitoring:
    """Of a history of some years, watched until ``years`` after the first day."""
    boundary = {key: changes.pop(key) for key in ("level", "window", "period") if key in changes}
    boundary.setdefault("period", years / history)
    start = int(FIRST + history * DAYS_A_YEAR)
    model = Season(changes.pop("harmonics", 2), changes.pop("trend", True), (FIRST + start) / 2)
    return Monitoring(model, (FIRST, start - 1), start, Boundary(**boundary), **changes)
