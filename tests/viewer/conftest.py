"""A run of a formula with two years, overviews, regions and a sample, to look at in the browser."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyproj
import pytest
import shapely
from formula_pass import CLASSES, allowed, formula_recipe
from once import Once

import rsscale as rs

ZONES = {
    "Étang": shapely.box(730_000, 4_981_000, 735_000, 4_985_000),
    "Ölberg": shapely.box(735_000, 4_981_000, 741_000, 4_988_000),
}
# Units of a sample: place in EPSG:32631, class of the map and of the reference.
SAMPLE = ((733_005, 4_982_005, 2, 2), (736_505, 4_984_505, 4, 1), (738_005, 4_985_005, 1, 1))


@pytest.fixture(scope="session")
def viewed_run(once: Once) -> Path:
    """The run's folder. Read-only."""

    def make(folder: Path) -> Path:
        frame = gpd.GeoDataFrame(
            {"code": list(ZONES)}, geometry=list(ZONES.values()), crs="EPSG:32631"
        )
        folder.mkdir(parents=True)
        frame.to_file(folder / "zones.gpkg")
        recipe = formula_recipe(
            folder,
            tile=256,
            periods=[2023, 2024],
            steps={
                "overviews": {"kind": "overviews", "of": "map", "levels": 3},
                "communes": {
                    "kind": "zones",
                    "of": "map",
                    "zones": str(folder / "zones.gpkg"),
                    "id": "code",
                },
            },
        )
        with allowed():
            rs.run(recipe, folder / "run", threads=2, device="cpu")
        (folder / "run/sample.geojson").write_text(json.dumps(_sample()))
        (folder / "run/areas.json").write_text(json.dumps(_areas()))
        return folder / "run"

    found: Path = once("viewed-run", make)
    return found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser without a window; tests of it are skipped where there is none.

    Of one module: while it is open, its event loop runs in this thread, and no other can.
    """
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("there is no chromium on this machine: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        # WebGL by the processor: test machines have no graphics card.
        options = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        browser = playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()


def _sample() -> dict[str, Any]:
    to_degrees = pyproj.Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True)
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": list(to_degrees.transform(x, y))},
            "properties": {
                "id": number,
                "map": mapped,
                "reference": reference,
                "agrees": mapped == reference,
                "stratum": mapped,
                "period": "2024",
            },
        }
        for number, (x, y, mapped, reference) in enumerate(SAMPLE, 1)
    ]
    return {"type": "FeatureCollection", "features": features}


def _areas() -> dict[str, Any]:
    classes = [
        {
            "value": one.value,
            "mapped_hectares": 1000.0,
            "hectares": {"value": 900.0, "se": 20.0, "low": 860.0, "high": 940.0}
            if one.value != 9
            else {"value": None, "why": "no unit of the sample"},
        }
        for one in CLASSES
    ]
    # An interval that is wider above, as where all units of the class agree.
    classes[1]["hectares"] = {"value": 900.0, "se": None, "low": 880.0, "high": 1400.0}
    sample = {"not_sampled": ["12 of the area's 4,012 ha (0.3%) had no class"]}
    return {"format": 1, "sample": sample, "periods": {"2024": {"classes": classes}}}
