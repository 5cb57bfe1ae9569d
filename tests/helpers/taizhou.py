"""The pair of Landsat images of Taizhou with its reference of change, where it lies beside us."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio

DATA = Path(__file__).resolve().parents[2] / "../shared/data/taizhou-change"
BANDS = ("blue", "green", "red", "nir08", "swir16", "swir22")


def recipe(tile: int = 512, periods: tuple[int, ...] = (2000, 2003), **step: Any) -> dict[str, Any]:
    """A recipe of the two dates, with the step ``change``."""
    return {
        "name": "taizhou",
        "bbox": [119.84104, 32.43407, 119.97229, 32.54531],
        "grid": {"crs": "EPSG:32651", "resolution": 30, "tile": tile, "origin": [15, 15]},
        "periods": list(periods),
        "inputs": {
            "etm": {
                "catalog": str(DATA.resolve() / "catalog.json"), "bands": list(BANDS),
                "composite": {"by": "year"},
            }
        },
        "steps": {
            "change": {"kind": "spectral-change", "of": "etm", "from": 2000, "to": 2003, **step}
        },
    }  # fmt: skip


def image(year: int) -> np.ndarray:
    """Digital numbers ``(band, y, x)`` float32."""
    files = [DATA / "images" / f"{year}TM_{band}.tif" for band in BANDS]
    stacked = []
    for file in files:
        with rasterio.open(file) as source:
            stacked.append(source.read(1).astype(np.float32))
    return np.stack(stacked)


def reference() -> np.ndarray:
    """1 changed, 0 unchanged, 255 not known, ``(y, x)``."""
    with rasterio.open(DATA / "reference.tif") as source:
        return source.read(1)
