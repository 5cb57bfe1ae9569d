"""What grows with the area, and what must not: tasks, graph, first tile, memory.

    python -m benchmarks.scaling [--quick] [--json FILE]

Target 4: scheduler tasks for each tile, bytes of a graph, tasks in flight. Target 5: time to the
first tile, and the client's memory then, for 1,000 and for 100,000 tiles of a synthetic catalogue
with a tile function that does nothing. Target 6: peak memory of all processes of a run, for an
area and for one 16 times as large of the same archive.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, NoReturn

from benchmarks.engine import processes
from benchmarks.engine.case import BANDS, EPSG, PERIOD, RESOLUTION, Case
from benchmarks.engine.models import write_models
from benchmarks.engine.scenes import write_area, write_catalog, write_scenes
from benchmarks.engine.table import goal_line
from benchmarks.engine.tournament import once
from benchmarks.options import parser_of

_TILE = 256  # of the run that does nothing
_TIMEOUT_S = 1800.0
# What a worker calls for a tile; `stop_at_first_tiles` knows its arguments and what it returns.
_TILE_FUNCTION = ("rsscale.runs.loop", "run_tile")

Goal = dict[str, Any]


def main() -> None:
    parser = parser_of(__doc__, quick="a tenth of the tiles, smaller areas")
    parser.add_argument("--first-tiles", type=Path, help=argparse.SUPPRESS)  # in a child
    options = parser.parse_args()
    if options.first_tiles:
        stop_at_first_tiles(options.first_tiles)
    with tempfile.TemporaryDirectory() as folder:
        goals = measure(Path(folder), quick=options.quick, threads=len(os.sched_getaffinity(0)))
    for goal in goals:
        print(goal_line(goal))
    if options.json:
        options.json.write_text(json.dumps(goals, indent=1))


def measure(folder: Path, *, quick: bool, threads: int) -> list[Goal]:
    """Targets 4, 5 and 6."""
    return [
        *first_tile(folder / "first", tiles=100 if quick else 1000, repeats=3),
        *area_and_tasks(folder, scene=1024 if quick else 4096, threads=threads),
    ]


# --- tasks and memory of real runs


def area_and_tasks(folder: Path, *, scene: int, threads: int) -> list[Goal]:
    """The two-layer model over 16 scenes, and over a sixteenth of them, on one local worker."""
    tile = scene // 2
    options = {"tile": tile, "cluster": "local:1"}
    whole = Case(str(folder / "whole"), 4, 4, scene, "two-layer", threads)
    write_scenes(whole)
    write_models(whole.path)
    write_catalog(whole, str(whole.path / "scenes"))
    small, large = (
        once(case, "rsscale local:1", options)[0] for case in (write_middle(whole), whole)
    )
    tiles = 16 * (scene // tile) ** 2
    tasks = large["tasks"] / tiles
    memory = large["peak_bytes"] / small["peak_bytes"]
    slots = max(large["slots"], 1)
    return [
        _goal(4, "scheduler tasks for each (period, tile)", tasks, "<= 1", tasks <= 1),
        _goal(
            4, "largest submitted graph, kB", large["graph_bytes"] / 1000, "< 100",
            0 < large["graph_bytes"] < 100_000,
        ),
        _goal(
            4, "tasks in flight for each slot", large["in_flight"] / slots, "<= 3",
            0 < large["in_flight"] <= 3 * slots,
        ),
        _goal(6, "peak memory of all processes at 16 x the area, x", memory, "<= 1.1",
              memory <= 1.1)
        | {"bytes": [small["peak_bytes"], large["peak_bytes"]]},
    ]  # fmt: skip


def write_middle(whole: Case) -> Case:
    """The middle of a case, as large as one of its scenes.

    Four scenes meet there, as in the densest tiles of the whole: what a tile needs is the same
    in both, and what is left to differ is how many there are.
    """
    folder = whole.path.with_name(f"{whole.path.name}-middle")
    middle = Case(str(folder), 1, 1, whole.scene, whole.model, whole.threads)
    folder.mkdir(parents=True, exist_ok=True)
    write_models(folder)
    shutil.copy(whole.catalog, middle.catalog)
    top, left = ((size - whole.scene) // 2 for size in whole.shape)
    write_area(whole.geobox[top : top + whole.scene, left : left + whole.scene], folder)
    return middle


# --- the first tile of a country


def first_tile(folder: Path, *, tiles: int, repeats: int, times: int = 100) -> list[Goal]:
    """Runs that end at their hundredth tile, for ``tiles`` tiles and for ``times`` as many."""
    write_models(folder_of_models := _made(folder))
    results: dict[int, list[dict[str, float]]] = {tiles: [], times * tiles: []}
    for count in results:
        write_country(folder / str(count), count, folder_of_models / "model-two-layer")
    for _ in range(repeats):
        for count, measured in results.items():
            where = folder / str(count)
            shutil.rmtree(where / "run", ignore_errors=True)
            command = [sys.executable, "-m", "benchmarks.scaling", "--first-tiles", str(where)]
            ended = processes.run(command, where / "log.txt", timeout=_TIMEOUT_S)
            if ended.code != 0:
                raise SystemExit(f"no tile of {count}: {ended.output[-500:]}")
            measured.append(json.loads((where / "first.json").read_text()))
    goals = []
    for quantity, key in (
        ("seconds to the first tile, imports done", "seconds"),
        ("seconds to the first tile from the start of the process", "process_seconds"),
        ("client's peak memory at the first tiles", "peak_bytes"),
    ):
        single, hundred = (median(r[key] for r in measured) for measured in results.values())
        goals.append(
            _goal(
                5,
                f"{quantity}, {times} x the area, x",
                hundred / single,
                "<= 1.1",
                hundred / single <= 1.1,
            )
            | {"values": [single, hundred], "tiles": list(results)}
        )
    return goals


def stop_at_first_tiles(folder: Path) -> NoReturn:
    """Map the synthetic country with a tile function that does nothing, a hundred times."""
    import importlib

    import rsscale as rs
    from rsscale.store.ledger import Entry

    seen: list[float] = []
    lock = threading.Lock()  # tiles run in threads, and only one of them may tell

    def nothing(url: str, plan: str, epoch: int, task: Any, **_: Any) -> dict[str, Any]:
        del url, plan
        with lock:
            seen.append(time.perf_counter())
            if len(seen) == 100:
                _tell(folder, seen[0] - started)
        entry = Entry(task.key, task.fingerprint, digests={}, epoch=epoch)
        return entry.summary() | {"files": entry.files, "peak_rss_bytes": 0}

    name, function = _TILE_FUNCTION
    # What is imported where it is first used is imported before the clock starts, as in the table.
    for module in ("runs.changes", "passes.mapping", "passes.map_memory", "learn.models"):
        importlib.import_module(f"rsscale.{module}")
    setattr(importlib.import_module(name), function, nothing)
    started = time.perf_counter()
    rs.run(folder / "recipe.json", folder / "run")
    raise SystemExit("the run ended before its hundredth tile")


def _tell(folder: Path, seconds: float) -> NoReturn:
    import psutil

    from rsscale.memory import peak_rss

    measured = {
        "seconds": seconds,
        "process_seconds": time.time() - psutil.Process().create_time(),
        "peak_bytes": peak_rss(),
    }
    (folder / "first.json").write_text(json.dumps(measured))
    os._exit(0)


def write_country(folder: Path, tiles: int, model: Path) -> None:
    """A square of tiles, and items that cover it: scenes of 110 km on 3 dates, never read."""
    import geopandas as gpd
    import pystac
    import shapely
    from affine import Affine
    from odc.geo.geobox import GeoBox

    from rsscale.items.freeze import freeze

    folder.mkdir(parents=True, exist_ok=True)
    across = math.isqrt(tiles)
    width = across * _TILE * RESOLUTION
    left, top = 200 * _TILE * RESOLUTION - width // 2, 2000 * _TILE * RESOLUTION
    scene, half = 110_000, RESOLUTION / 2
    items = []
    for row in range(-1, math.ceil(width / scene) + 1):
        for col in range(-1, math.ceil(width / scene) + 1):
            corner = Affine(RESOLUTION, 0, left + col * scene, 0, -RESOLUTION, top - row * scene)
            size = scene // RESOLUTION
            around = GeoBox((size, size), corner, EPSG).extent.to_crs("EPSG:4326")
            for date in range(3):
                when = datetime(PERIOD, 5, 1, tzinfo=UTC) + timedelta(days=10 * date)
                item = pystac.Item(
                    f"s{row}_{col}_{date}", around.json, list(around.boundingbox.bbox), when,
                    {
                        "proj:code": f"EPSG:{EPSG}",
                        "proj:shape": [size, size],
                        "proj:transform": list(corner)[:6],
                    },
                )  # fmt: skip
                for band in BANDS:
                    item.add_asset(
                        band,
                        pystac.Asset(
                            f"https://example.invalid/{item.id}_{band}.tif",
                            extra_fields={"raster:bands": [{"data_type": "uint16", "nodata": 0}]},
                        ),
                    )
                items.append(item)
    freeze(items, folder / "items.parquet")
    outline = shapely.box(left + half, top - width + half, left + width - half, top - half)
    gpd.GeoDataFrame(geometry=[outline], crs=EPSG).to_file(folder / "area.gpkg")
    case = Case(str(folder), 1, 1, _TILE, "two-layer", 1)
    recipe = case.recipe(_TILE) | {"model": str(model), "area": str(folder / "area.gpkg")}
    recipe["inputs"]["s2"]["catalog"] = str(folder / "items.parquet")
    (folder / "recipe.json").write_text(json.dumps(recipe))  # JSON is YAML


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _goal(target: int, quantity: str, value: float, goal: str, met: bool) -> Goal:
    return {
        "target": target, "what": quantity, "found": f"{value:.3g}", "value": value, "goal": goal,
        "met": met,
    }  # fmt: skip


if __name__ == "__main__":
    main()
