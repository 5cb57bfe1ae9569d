"""What a run of several steps costs its client: memory, and processor time a tile.

    python -m benchmarks.steps [--tiles 2048] [--json FILE]

A map of two years and the change between them, by passes that cost nothing, on two workers of a
local cluster; for so many tiles, and for an eighth of them. Neither the client's peak memory nor
its time a tile may grow with their number: what grows with the area must not happen in the client.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.options import parser_of

_TILE = 64
_GROWTH = 1.1


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--tiles", type=int, default=2048, help="of the change; the map has twice")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_child(options.child)
        return
    results = [measured(count) for count in (options.tiles // 8, options.tiles)]
    small, large = results
    print(f"{'':24}{'tiles':>8}{'peak MiB':>10}{'ms a tile':>11}{'wall s':>8}")
    for result in results:
        print(
            f"{'client, two steps':24}{result['tiles']:8}{result['peak_bytes'] / 2**20:10.0f}"
            f"{result['cpu_s'] / result['tiles'] * 1e3:11.2f}{result['wall_s']:8.1f}"
        )
    memory = large["peak_bytes"] / small["peak_bytes"]
    cpu = (large["cpu_s"] / large["tiles"]) / (small["cpu_s"] / small["tiles"])
    print(f"memory {memory:.2f} x, time a tile {cpu:.2f} x (goal: at most {_GROWTH} x)")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


def measured(tiles: int) -> dict[str, Any]:
    """Run in a process of its own, whose memory and time are the client's."""
    with tempfile.TemporaryDirectory() as folder:
        across = math.isqrt(tiles)
        width = across * _TILE * 10
        recipe = {
            "name": "steps",
            "area": f"{folder}/area.geojson",
            "grid": {"crs": "EPSG:32631", "resolution": 10, "tile": _TILE},
            "periods": [2023, 2024],
            "inputs": {"unread": {"catalog": f"{folder}/none.json", "bands": ["red"]}},
            "steps": {
                "map": {"kind": "benchmarks.formula:FormulaPass"},
                "change": {"kind": "post-classification", "of": "map", "from": 2023, "to": 2024},
            },
        }
        write_square(Path(folder) / "area.geojson", width, tiles // across * _TILE * 10)
        (Path(folder) / "recipe.json").write_text(json.dumps(recipe))
        env = {**os.environ, "RSSCALE_PASSES": "benchmarks.formula"}
        command = [sys.executable, "-m", "benchmarks.steps", "--child", folder]
        subprocess.run(command, env=env, check=True)  # noqa: S603 -- this module
        result: dict[str, Any] = json.loads((Path(folder) / "result.json").read_text())
        return result


def write_square(path: Path, width: int, height: int) -> None:
    """An area of whole tiles."""
    import geopandas as gpd
    import shapely

    left, bottom = 64 * 640 * 10, 64 * 6400 * 10
    box = shapely.box(left + 1, bottom + 1, left + width - 1, bottom + height - 1)
    gpd.GeoDataFrame(geometry=[box], crs="EPSG:32631").to_file(path)


def run_child(folder: Path) -> None:
    """The client."""
    import rsscale as rs
    from rsscale.memory import peak_rss
    from rsscale.progress.bars import show_progress

    show_progress(False)
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    run = rs.run(folder / "recipe.json", folder / "run", "local:2", threads=1, device="cpu")
    after = resource.getrusage(resource.RUSAGE_SELF)
    result = {
        "tiles": run.state["tiles"]["done"],
        "wall_s": time.perf_counter() - started,
        "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_bytes": peak_rss(),
    }
    (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
