"""Series at points that two classes tell apart by their season, with gaps and irregular dates."""

import numpy as np
import pandas as pd

BANDS = ("red", "nir")


def long_form(count: int = 120, seed: int = 0, gaps: float = 0.3) -> pd.DataFrame:
    """Rows of samples in a square of 10 by 10: early and late seasons, -9999 under clouds."""
    random = np.random.default_rng(seed)
    rows = []
    for sample in range(count):
        late = sample % 3 == 0
        x, y = random.uniform(0, 10, 2)
        days = np.sort(random.choice(np.arange(0, 360, 5), random.integers(18, 26), replace=False))
        peak = 230 if late else 130
        green = np.exp(-(((days - peak) / 40) ** 2))
        for day, level in zip(days, green, strict=True):
            red, nir = 0.2 - 0.1 * level, 0.2 + 0.3 * level
            noise = random.normal(0, 0.02, 2)
            cloudy = random.random() < gaps
            rows.append(
                {
                    "sample_id": f"p{sample}",
                    "date": pd.Timestamp("2021-01-01") + pd.Timedelta(days=int(day)),
                    "red": -9999.0 if cloudy else (red + noise[0]) * 10_000,
                    "nir": -9999.0 if cloudy else (nir + noise[1]) * 10_000,
                    "label": "late" if late else "early",
                    "height": 3.0 + 2.0 * late + 0.1 * x,
                    "x": x,
                    "y": y,
                }
            )
    return pd.DataFrame(rows)
