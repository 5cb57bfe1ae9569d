"""Scenes of one place over years: a season with noise, a place that changes, clouds."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.geom import box as corners

CRS = "EPSG:32631"
WEST, NORTH = 500_000, 4_600_000
HEIGHT, WIDTH = 120, 150
SETTINGS: dict[str, Any] = {"device": "cpu", "threads": 1}

BROKEN = (slice(10, 50), slice(20, 60))
"""Rows and columns that change on :data:`BREAK`."""
BREAK = date(2023, 4, 20)
CLOUDED = (slice(70, 90), slice(5, 30))
"""Never seen."""
LATE = (slice(95, 110), slice(100, 130))
"""Seen as of 2023 only."""
SATURATED = (slice(60, 64), slice(120, 140))
"""Always the greatest value."""


def dates(first: date, last: date, step: int = 16) -> list[date]:
    """Days at equal distances."""
    return [first + timedelta(n) for n in range(0, (last - first).days + 1, step)]


def nir(day: date) -> np.ndarray:
    """What a scene of a day shows, ten-thousandths, 0 where nothing is seen."""
    rng = np.random.default_rng(day.toordinal())
    phase = 2 * np.pi * day.toordinal() / 365.25
    values = 3000 + 900 * np.cos(phase) + 120 * rng.standard_normal((HEIGHT, WIDTH))
    if day >= BREAK:
        values[BROKEN] -= 1200
    values[rng.random((HEIGHT, WIDTH)) < 0.15] = 0
    values[CLOUDED] = 0
    if day.year < 2023:
        values[LATE] = 0
    values[SATURATED] = 10_000
    return np.rint(values).clip(0, 65535).astype(np.uint16)


def write_dated(
    folder: Path, day: date, *, rows: slice = slice(0, HEIGHT), cols: slice = slice(0, WIDTH),
    name: str = "",
) -> None:  # fmt: skip
    """Write the part of a day's scene that rows and columns say, and its item."""
    name = name or f"scene-{day}"
    stored = nir(day)[rows, cols]
    place = Affine(10, 0, WEST + 10 * cols.start, 0, -10, NORTH - 10 * rows.start)
    extent = GeoBox(stored.shape, place, CRS).extent.to_crs("EPSG:4326")
    when = datetime.combine(day, time(10, 30), UTC)
    item = pystac.Item(
        name, extent.json, list(extent.boundingbox.bbox), when,
        {"proj:code": CRS, "proj:shape": list(stored.shape), "proj:transform": list(place)[:6]},
    )  # fmt: skip
    for band, data in (("nir", stored), ("red", np.where(stored, 800, 0).astype(np.uint16))):
        path = folder / f"{name}-{band}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", height=stored.shape[0], width=stored.shape[1], count=1,
            dtype="uint16", crs=CRS, transform=place, nodata=0,
        ) as dataset:  # fmt: skip
            dataset.write(data, 1)
        raster = {"data_type": "uint16", "nodata": 0, "scale": 0.0001, "offset": 0}
        item.add_asset(band, pystac.Asset(str(path), extra_fields={"raster:bands": [raster]}))
    (folder / f"{name}.json").write_text(json.dumps(item.to_dict()))


def catalog(folder: Path) -> str:
    """The catalogue of all scenes that were written so far."""
    items = [json.loads(path.read_text()) for path in sorted(folder.glob("scene*.json"))]
    path = folder / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    return str(path)


def alerts_recipe(folder: Path, *, tile: int = 64, **changes: Any) -> dict[str, Any]:
    """Alerts of the scenes in a folder; ``step`` and ``s2`` are keys of the step and the input."""
    area = corners(
        WEST + 35, NORTH - 10 * HEIGHT + 45, WEST + 10 * WIDTH - 55, NORTH - 25, CRS
    ).to_crs("EPSG:4326")  # fmt: skip
    step = {"kind": "series-breaks", "of": "s2", "monitor": 2023, "harmonics": 1, "trend": False}
    series = {"catalog": catalog(folder), "bands": ["nir"], "series": True, "merge_days": True}
    return {
        "name": "alerts",
        "bbox": list(area.boundingbox.bbox),
        "grid": {"crs": CRS, "resolution": 10, "tile": tile},
        "periods": [2021, 2022, 2023],
        "inputs": {"s2": _known(series | changes.pop("s2", {}))},
        "steps": {"alerts": _known(step | changes.pop("step", {}))},
        **changes,
    }


def _known(keys: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if value is not None}
