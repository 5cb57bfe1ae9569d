"""A run without imagery that is published: two periods, change, zones."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import shapely
from formula_pass import allowed, formula_recipe

import rsscale as rs

CHANGE = {"kind": "post-classification", "of": "map", "from": 2022, "to": 2023}


def zones() -> gpd.GeoDataFrame:
    """Two neighbours, one of which lies half outside of the area, and one far away."""
    boxes = [
        shapely.box(730_003, 4_981_004, 735_000, 4_986_000),
        shapely.box(735_000, 4_981_004, 744_000, 4_986_000),
        shapely.box(100_000, 4_000_000, 101_000, 4_001_000),
    ]
    frame = {"code": ["A/1", "Ängsö ö", "far"], "people": [5, 7, 9]}
    return gpd.GeoDataFrame(frame, geometry=boxes, crs="EPSG:32631")


def make_run(folder: Path, **changes: Any) -> Path:
    """A run of two periods, change and zones, without imagery."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "zones.gpkg").exists():  # the same again would have other bytes
        zones().to_file(folder / "zones.gpkg")
    counted = {"kind": "zones", "of": "map", "zones": str(folder / "zones.gpkg"), "id": "code"}
    steps = {"change": CHANGE, "communes": counted, **changes.pop("steps", {})}
    recipe = formula_recipe(folder, tile=512, periods=[2022, 2023], steps=steps, **changes)
    with allowed():
        rs.run(recipe, folder / "run", threads=2, device="cpu")
    return folder / "run"
