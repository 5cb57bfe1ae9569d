"""A country of 400 million pixels: mapped, killed half-way, resumed, compared.

    python -m benchmarks.country [--mpx 400] [--scratch DIR] [--json FILE]

Switzerland at 10 m, about: scenes of 4096 px on 3 dates with 4 bands, each band a file, are
mapped by the two-layer model through the command line on one local worker. When half of the
tiles are done, the client and everything it started are killed with SIGKILL; `rsscale resume`
goes on. A few tiles, among them those around the kill, are then mapped by a run that nobody
disturbs, and must be the same to the last pixel.

Memory is the peak of the whole process tree, over both parts. What was computed twice is counted
from events.jsonl. Scenes stay in the scratch folder for another time.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import yaml

from benchmarks.engine import processes
from benchmarks.engine.case import BANDS, DATES, RESOLUTION, SCENE, Case
from benchmarks.engine.models import write_models
from benchmarks.engine.scenes import write_catalog, write_scenes
from benchmarks.options import parser_of

_TIMEOUT_S = 7200.0
_RSSCALE = [sys.executable, "-m", "rsscale", "--quiet"]


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--mpx", type=float, default=400.0, help="million pixels, at least")
    parser.add_argument("--scene", type=int, default=SCENE, help="pixels across a scene")
    parser.add_argument("--tile", type=int, default=2048)
    parser.add_argument("--cluster", default="local:1")
    parser.add_argument("--scratch", type=Path, help="keep scenes here for another time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.scratch or Path(temporary)).absolute()
        report = measure(folder, options)
    for name, value in report.items():
        print(f"{name.replace('_', ' '):<28}{value}")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))
    if not report["same_as_undisturbed"]:
        raise SystemExit("the resumed map differs from the undisturbed one")


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Everything, in order."""
    case = make_country(folder, options.mpx, options.scene)
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(case.recipe(options.tile)))
    total = math.prod(n // options.tile for n in case.shape)
    out = folder / "run"
    shutil.rmtree(out, ignore_errors=True)

    start = [*_RSSCALE, "run", str(recipe), "--out", str(out), "--cluster", options.cluster]
    killed = processes.run(
        start, folder / "run.log", timeout=_TIMEOUT_S,
        until=lambda: len(tile_events(out)) >= total // 2,
    )  # fmt: skip
    before = tile_events(out)
    if killed.code != -9:
        raise SystemExit(f"ended before it was killed, code {killed.code}: {killed.output[-500:]}")
    in_ledger = len(list((out / "ledger").glob("*/*/*.json")))
    go_on = [*_RSSCALE, "resume", str(out), "--cluster", options.cluster]
    resumed = processes.run(go_on, folder / "resume.log", timeout=_TIMEOUT_S)
    if resumed.code != 0:
        raise SystemExit(f"resume ended with {resumed.code}: {resumed.output[-500:]}")

    events = tile_events(out)
    seconds = killed.seconds + resumed.seconds
    around = [events[0], before[-1], events[len(before)], events[-1]]
    differing, compared = compare_undisturbed(case, recipe, out, around, options)
    state = json.loads((out / "run.json").read_text())
    return {
        "million_pixels": case.pixels / 1e6,
        "files": case.rows * case.cols * DATES * len(BANDS),
        "tiles": total,
        "tiles_done_at_kill": in_ledger,
        "tiles_reported_at_kill": len(before),
        "tiles_after_resume": state["tiles"],
        "tiles_computed_twice": sum(n - 1 for n in Counter(map(tuple, events)).values()),
        "seconds_until_killed": round(killed.seconds, 1),
        "seconds_to_resume": round(resumed.seconds, 1),
        "mpx_per_second": round(case.pixels / 1e6 / seconds, 2),
        "peak_bytes_of_all_processes": max(killed.peak_bytes, resumed.peak_bytes),
        "stage_seconds": state.get("stages"),
        "cores": len(os.sched_getaffinity(0)),
        "pixels_compared": compared,
        "pixels_differing": differing,
        "same_as_undisturbed": compared > 0 and differing == 0,
    }


def make_country(folder: Path, mpx: float, scene: int) -> Case:
    """Scenes, models and a catalogue of local files."""
    count = mpx * 1e6 / scene**2
    rows = max(math.isqrt(math.floor(count)), 1)
    cols, cores = math.ceil(count / rows), len(os.sched_getaffinity(0))
    case = Case(str(folder), rows, cols, scene, "two-layer", cores)
    started = perf_counter()
    write_scenes(case)
    write_models(folder)
    write_catalog(case, str(folder / "scenes"))
    print(f"scenes in {perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    return case


def tile_events(out: Path) -> list[list[Any]]:
    """(period, tile) of each tile that a run said to be done, in order."""
    from rsscale.runs.run import Run

    return [[e["span"], e["tile"]] for e in Run(out).events() if e["event"] == "tile"]


def compare_undisturbed(
    case: Case, recipe: Path, out: Path, tiles: list[list[Any]], options: argparse.Namespace
) -> tuple[int, int]:
    """Map some tiles by another run; pixels that differ, and how many were compared."""
    import geopandas as gpd
    import shapely

    import rsscale as rs
    from rsscale.runs.run import Run

    content = case.recipe(options.tile)
    grid = rs.Grid(content["grid"]["crs"], RESOLUTION, options.tile)
    boxes = []
    for name in sorted({tile for _, tile in tiles}):
        ix, iy = (int(part[1:]) for part in name.split("_"))
        boxes.append(grid.tile_at(ix, iy).box)
    # Inside the outer pixels, beyond their centres: exactly these tiles.
    shapes = [
        shapely.box(*grid.geobox_of(box).boundingbox.bbox).buffer(
            -RESOLUTION / 5, join_style="mitre"
        )
        for box in boxes
    ]
    area, again = recipe.with_name("sample.gpkg"), out.with_name("sample")
    gpd.GeoDataFrame(geometry=shapes, crs=grid.crs).to_file(area)
    shutil.rmtree(again, ignore_errors=True)
    command = [
        *_RSSCALE, "run", str(recipe), "--out", str(again),
        "--cluster", options.cluster, "--set", f"area={area}",
    ]  # fmt: skip
    ended = processes.run(command, recipe.with_name("sample.log"), timeout=_TIMEOUT_S)
    if ended.code != 0:
        raise SystemExit(f"the undisturbed run ended with {ended.code}: {ended.output[-500:]}")
    whole, sample = Run(out).open(), Run(again).open()
    differing = compared = 0
    for box in boxes:
        x, y = (grid.geobox_of(box).coords[axis].values for axis in ("x", "y"))
        classes, other = (ds.classification.sel(x=x, y=y).values for ds in (whole, sample))
        differing += int(np.count_nonzero(classes != other))
        compared += int(np.count_nonzero(other != 255))
    return differing, compared


if __name__ == "__main__":
    main()
