"""What the temporal model costs by its pixels: time, CPU, and the peak memory of each process.

    python -m benchmarks.temporal_cost [--mpx 25 100] [--tile 2048] [--scratch DIR] [--json FILE]

Maps of two years of six classes with their probabilities are written by a formula; the temporal
model, as recipes/change.yaml has it, is then added to that run on two workers of a local cluster,
with one thread each, and is what is measured: the sample, the transitions, the change and the
maps of both years. Memory must not grow with the area.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.options import parser_of
from benchmarks.steps import write_square

_PERIODS = [2023, 2024]
_EVERY_S = 0.5
_GOAL = 1.1


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--mpx", type=float, nargs="+", default=[25.0, 100.0])
    parser.add_argument("--tile", type=int, default=2048)
    parser.add_argument("--scratch", type=Path, help="where runs are written")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_child(options.child)
        return
    head = f"{'Mpx':>8}{'tiles':>7}{'wall s':>9}{'CPU s':>9}{'px/s':>11}"
    print(f"{head}  peak MiB of client, of workers")
    rows = []
    for mpx in options.mpx:
        with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
            rows.append(measured(Path(folder), mpx, options.tile))
        print(_line(rows[-1]), flush=True)
    growth = max(rows[-1]["peak_bytes"]) / max(rows[0]["peak_bytes"])
    print(f"memory of the largest process {growth:.2f} x (goal: at most {_GOAL} x)")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def _line(row: dict[str, Any]) -> str:
    client, *workers = (f"{peak / 2**20:.0f}" for peak in row["peak_bytes"])
    return (
        f"{row['mpx']:8.1f}{row['tiles']:7}{row['seconds']:9.1f}{row['cpu_s']:9.1f}"
        f"{row['px_per_s']:11,.0f}"
        f"  {client}, {', '.join(workers)}"
    )


def measured(folder: Path, mpx: float, tile: int) -> dict[str, Any]:
    """Write the maps, then measure the temporal model over them."""
    across = max(math.isqrt(round(mpx * 1e6 / tile**2)), 1)
    down = math.ceil(mpx * 1e6 / tile**2 / across)
    write_square(folder / "area.geojson", across * tile * 10, down * tile * 10)
    maps = {"map": {"kind": "benchmarks.formula:ProbabilityPass"}}
    child(folder, recipe_of(folder, tile, maps))
    change = {"change": {"kind": "temporal-model", "of": "map"}}
    result = child(folder, recipe_of(folder, tile, maps | change))
    pixels = result.pop("pixels")
    return {
        "mpx": pixels / 1e6, "tiles": across * down, **result,
        "px_per_s": pixels / result["seconds"],
    }  # fmt: skip


def recipe_of(folder: Path, tile: int, steps: dict[str, Any]) -> dict[str, Any]:
    """A recipe of steps over the area of a folder."""
    return {
        "name": "temporal-cost",
        "area": str(folder / "area.geojson"),
        "grid": {"crs": "EPSG:32631", "resolution": 10, "tile": tile},
        "periods": _PERIODS,
        "inputs": {"unread": {"catalog": str(folder / "none.json"), "bands": ["red"]}},
        "steps": steps,
    }


def child(folder: Path, recipe: dict[str, Any]) -> dict[str, Any]:
    """Run a recipe in a process of its own, and watch the memory of all processes."""
    (folder / "recipe.json").write_text(json.dumps(recipe))
    environment = {**os.environ, "RSSCALE_PASSES": "benchmarks.formula"}
    command = [sys.executable, "-m", "benchmarks.temporal_cost", "--child", str(folder)]
    peaks: dict[int, int] = {}
    times: dict[int, float] = {}
    with subprocess.Popen(command, env=environment) as process:  # noqa: S603 -- this module
        while process.poll() is None:
            _watch(psutil.Process(process.pid), peaks, times)
            time.sleep(_EVERY_S)
    if process.returncode:
        raise SystemExit(process.returncode)
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    client = peaks.pop(process.pid)
    # Beside the workers there is the small process that Python starts others by.
    held = [client, *sorted(peaks.values())[-2:]]
    return result | {"peak_bytes": held, "cpu_s": sum(times.values())}


def _watch(process: psutil.Process, peaks: dict[int, int], times: dict[int, float]) -> None:
    """Keep the most that each process ever held, by Linux's own count, and its time of CPU."""
    for one in [process, *process.children(recursive=True)]:
        try:
            status = Path(f"/proc/{one.pid}/status").read_text("ascii")
            used = one.cpu_times()
        except (OSError, psutil.NoSuchProcess):
            continue  # it has just ended
        times[one.pid] = used.user + used.system
        held = status.partition("VmHWM:")[2].split()
        if held:
            peaks[one.pid] = max(peaks.get(one.pid, 0), int(held[0]) * 1024)


def run_child(folder: Path) -> None:
    """The client."""
    import rsscale as rs
    from rsscale.progress.bars import show_progress

    show_progress(False)
    started = time.perf_counter()
    run = rs.run(folder / "recipe.json", folder / "run", "local:2", threads=1, device="cpu")
    seconds = time.perf_counter() - started
    facts = run.state["steps"]["map"]["facts"]
    steps = {name: step["stages"] for name, step in run.state["steps"].items() if "stages" in step}
    result = {"seconds": seconds, "pixels": facts["pixels"] // len(_PERIODS), "stages": steps}
    (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
