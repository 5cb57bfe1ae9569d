"""How soon the viewer's page shows a large product, and by how many requests.

    python -m benchmarks.viewer [--quick] [--folder DIR] [--json FILE]

A map of 400 million pixels with overviews, in fields of some hectares, is made once in a folder and
served on loopback to Chromium without a window, which draws by the processor: a graphics card is
faster. Goals: the first picture within 2 seconds and 40 requests. Then it zooms in, to see that a
view costs the same at every level.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.options import parser_of
from rsscale.layers import Layer
from rsscale.legend.classes import LandClass, class_attributes
from rsscale.steps.base import Block, Pass, Result, Setup, Source

_TILE, _RESOLUTION = 2048, 10
_SECONDS, _REQUESTS, _REPEATS = 2.0, 40, 5
_COLORS = ("#4a90c2", "#6fa052", "#2f5d3a", "#c3d98b", "#f0d27a", "#d9954a", "#b5484b")
_CLASSES = [LandClass(k + 1, f"class {k + 1}", color) for k, color in enumerate(_COLORS)]


@dataclass(repr=False, kw_only=True)
class FieldsPass(Pass):
    """``{kind: "benchmarks.viewer:FieldsPass"}``: fields with crooked edges, and some noise."""

    kind: ClassVar[str] = "benchmarks.viewer:FieldsPass"
    version: ClassVar[str] = "1"

    step: str
    periods: tuple[str, ...]
    sources: Mapping[str, Source] = field(default_factory=dict)
    layers: tuple[Layer, ...] = (
        Layer("classification", overview="mode", attributes=class_attributes(_CLASSES)),
    )

    @classmethod
    def open(cls, step: str, recipe: Any, options: Any, setup: Setup) -> list[Pass]:
        """Of every period of the recipe."""
        del recipe, options
        return [cls(step=step, periods=setup.periods())]

    def spans(self) -> Sequence[str]:
        """The periods."""
        return self.periods

    def parameters(self) -> Mapping[str, Any]:
        """None that decides a value."""
        return {}

    def run(self, block: Block) -> Result:
        """A class for each field, and another one for one pixel in a hundred."""
        core = block.core
        row = np.arange(core.row0, core.row1, dtype=np.int64)[:, None]
        col = np.arange(core.col0, core.col1, dtype=np.int64)[None, :]
        down = (row + np.rint(9 * np.sin(col / 37)).astype(np.int64)) // 29
        right = (col + np.rint(9 * np.sin(row / 41)).astype(np.int64)) // 43
        classes = _hash(down, right) % len(_COLORS) + 1
        noise = _hash(row, col)
        classes = np.where(noise % 100 == 0, noise // 100 % len(_COLORS) + 1, classes)
        values = {"classification": classes.astype(np.uint8)}
        return Result(layers=block.dataset(self.layers, values))


def _hash(row: np.ndarray, col: np.ndarray) -> np.ndarray:
    mixed = (row * 73856093 ^ col * 19349663) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 15)) * 0x85EBCA6B) & 0xFFFFFFFF
    return (mixed ^ (mixed >> 13)) & 0xFFFFFF


def main() -> None:
    parser = parser_of(__doc__ or "", quick="a sixteenth of the pixels")
    parser.add_argument("--folder", type=Path, help="keep the product here for another time")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp()) if options.folder is None else options.folder.absolute()
    try:
        across = 5_000 if options.quick else 20_000
        run = product(scratch / str(across), across)
        results = measure_views(run)
    finally:
        if options.folder is None:
            shutil.rmtree(scratch, ignore_errors=True)
    print(f"{across:,} x {across:,} px, {_REPEATS} visits, median and range")
    print(f"{'':16}{'seconds':>22}{'requests':>10}{'kB':>8}")
    for name, visits in results.items():
        seconds = [visit["seconds"] for visit in visits]
        span = f"{statistics.median(seconds):.2f} ({min(seconds):.2f}-{max(seconds):.2f})"
        requests = max(visit["requests"] for visit in visits)
        kilobytes = max(visit["bytes"] for visit in visits) / 1e3
        print(f"{name:16}{span:>22}{requests:10}{kilobytes:8.0f}")
    first = results["first picture"]
    met = (
        statistics.median(v["seconds"] for v in first) <= _SECONDS
        and max(v["requests"] for v in first) <= _REQUESTS
    )
    print(f"goal: {_SECONDS:g} s and {_REQUESTS} requests, {'met' if met else 'missed'}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


def product(folder: Path, across: int) -> Path:
    """The run folder of a map so many pixels wide and high; made once."""
    import geopandas as gpd
    import shapely

    import rsscale as rs

    run = folder / "run"
    if (run / "run.json").exists() and rs.Run(run).state["state"] == "done":
        return run
    folder.mkdir(parents=True, exist_ok=True)
    west, south, width = 300_000, 4_000_000, across * _RESOLUTION
    area = shapely.Point(west + width / 2, south + width / 2).buffer(width / 2, cap_style="square")
    gpd.GeoDataFrame(geometry=[area], crs="EPSG:32631").to_file(folder / "area.gpkg")
    recipe = {
        "name": "fields",
        "area": str(folder / "area.gpkg"),
        "grid": {"crs": "EPSG:32631", "resolution": _RESOLUTION, "tile": _TILE},
        "periods": [2024],
        "inputs": {"unread": {"catalog": str(folder / "none.json"), "bands": ["red"]}},
        "steps": {
            "map": {"kind": FieldsPass.kind},
            "overviews": {"kind": "overviews", "of": "map"},
        },
    }
    os.environ["RSSCALE_PASSES"] = "benchmarks.viewer"
    started = time.perf_counter()
    rs.run(recipe, run, device="cpu")
    print(f"made in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return run


def measure_views(run: Path) -> dict[str, list[dict[str, float]]]:
    """Seconds, requests and bytes of the first picture, and of zooming to full resolution."""
    from playwright.sync_api import sync_playwright

    import rsscale as rs

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise SystemExit("needs Chromium (apt-get install chromium)")
    seconds: dict[str, list[dict[str, float]]] = {"first picture": [], "full resolution": []}
    with rs.view(run) as viewer, sync_playwright() as playwright:
        options = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        browser = playwright.chromium.launch(executable_path=path, args=options)
        for _ in range(_REPEATS):
            for name, fragment in (("first picture", ""), ("full resolution", _closer(run))):
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                seconds[name].append(_visit(page, f"{viewer.url}#{fragment}"))
                page.close()
        browser.close()
    return seconds


def _closer(run: Path) -> str:
    """A place in the middle, at the resolution of the map."""
    import rsscale as rs

    ds = rs.Run(run).open()
    x, y = (float(ds[name][ds.sizes[name] // 2]) for name in ("x", "y"))
    return f"x={x}&y={y}&r={_RESOLUTION}"


def _visit(page: Any, url: str) -> dict[str, float]:
    """Open a page with an empty cache; the browser's own clock."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    page.wait_for_selector("body.painted", timeout=60_000)
    seconds = page.evaluate("performance.getEntriesByName('painted')[0].startTime") / 1e3
    sizes = page.evaluate(
        "performance.getEntriesByType('resource').reduce((sum, e) => sum + e.transferSize, 0)"
    )
    return {"seconds": seconds, "requests": len(asked), "bytes": sizes}


if __name__ == "__main__":
    main()
