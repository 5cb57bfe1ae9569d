"""Whether a model became slower: an earlier version beside the present one, interleaved.

    git worktree add ../earlier COMMIT
    python -m benchmarks.versions ../earlier [--quick] [--json FILE]

Both map the scenes of `python -m benchmarks`, served by nginx on loopback, with the Python and
the libraries of this environment, each time in a process of its own. The models are written by
each version from the same seed; the two maps are compared before speeds are told.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engine import processes
from benchmarks.engine.case import SCENE, Case
from benchmarks.engine.models import MODELS
from benchmarks.engine.outputs import Classes, read_classes
from benchmarks.engine.scenes import write_catalog, write_scenes
from benchmarks.options import parser_of
from benchmarks.serving import serve

HERE = Path(__file__).resolve().parents[1]
_CONTENDERS = ("rsscale", "rsscale local:1")
_TIMEOUT_S = 1800.0


def main() -> None:
    parser = parser_of(__doc__, quick="a quarter of the pixels, 3 rounds")
    parser.add_argument("earlier", type=Path, help="a checkout of the earlier version")
    parser.add_argument("--size", type=int, help="pixels across, a multiple of 1024")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--tile", type=int, default=2048)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    options = parser.parse_args()
    size = options.size or (SCENE // 2 if options.quick else SCENE)
    repeats = options.repeats or (3 if options.quick else 5)
    versions = {"earlier": options.earlier.resolve(), "now": HERE}
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        threads = len(os.sched_getaffinity(0))
        case = Case(f"{scratch}/scenes", 1, 1, size, options.models[0], threads)
        write_scenes(case)
        with serve(case.path / "scenes") as root:
            write_catalog(case, root)
            cases = {name: _copy(case, name, checkout) for name, checkout in versions.items()}
            for model, contender in product(options.models, _CONTENDERS):
                asked = {name: replace(own, model=model) for name, own in cases.items()}
                row = measure(versions, asked, contender, tile=options.tile, repeats=repeats)
                print(_line(row), flush=True)
                rows.append(row)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def measure(
    versions: dict[str, Path],
    cases: dict[str, Case],
    contender: str,
    *,
    tile: int,
    repeats: int,
) -> dict[str, Any]:
    """Seconds of each version, round by round; stops where the two maps differ."""
    model = cases["now"].model
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    peaks: dict[str, list[int]] = {name: [] for name in cases}
    for number in range(repeats):
        # The first of a round finds other caches than the second: they take turns.
        order = list(cases) if number % 2 == 0 else list(cases)[::-1]
        maps: dict[str, Classes] = {}
        for name in order:
            result, maps[name] = _once(cases[name], versions[name], contender, tile)
            seconds[name].append(result["seconds"])
            peaks[name].append(result["peak_bytes"])
        differing = int((maps["earlier"] != maps["now"]).sum())
        if differing:
            raise SystemExit(f"{model}, {contender}: {differing} pixels differ between versions")
    ratios = [now / earlier for earlier, now in zip(*seconds.values(), strict=True)]
    return {
        "model": model,
        "contender": contender,
        "seconds": seconds,
        "peak_bytes": {name: max(values) for name, values in peaks.items()},
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
    }


def _copy(case: Case, name: str, checkout: Path) -> Case:
    """The case with models that a version wrote, as it reads them."""
    own = replace(case, folder=f"{case.folder}-{name}")
    own.path.mkdir()
    for file in (case.catalog, case.path / "area.gpkg"):
        shutil.copy(file, own.path)
    script = (
        "import sys, pathlib; from benchmarks.engine.models import write_models; "
        "write_models(pathlib.Path(sys.argv[1]))"
    )
    subprocess.run(  # noqa: S603
        [sys.executable, "-c", script, str(own.path)],
        check=True, cwd=checkout, env={**os.environ, "PYTHONPATH": str(checkout)},
    )  # fmt: skip
    return own


def _once(case: Case, checkout: Path, contender: str, tile: int) -> tuple[dict[str, Any], Classes]:
    out = case.path / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    case_file = case.path / "case.json"
    case_file.write_text(json.dumps(asdict(case)))
    choice = {"tile": tile, "cluster": contender.partition(" ")[2] or None}
    name = "rsscale" if choice["cluster"] is None else contender
    command = [
        sys.executable, "-m", "benchmarks.engine.child", str(case_file), name,
        json.dumps(choice), str(out),
    ]  # fmt: skip
    # Both, so that the process imports that version of rsscale and of the benchmarks.
    ended = processes.run(
        command, case.path / "log.txt", timeout=_TIMEOUT_S,
        folder=checkout, environment={"PYTHONPATH": str(checkout)},
    )  # fmt: skip
    if ended.code != 0:
        raise SystemExit(f"{checkout}: exit code {ended.code}: {ended.output[-500:]}")
    result = json.loads((out / "result.json").read_text())
    return result | {"peak_bytes": ended.peak_bytes}, np.asarray(read_classes(out))


def _line(row: dict[str, Any]) -> str:
    medians = {name: statistics.median(values) for name, values in row["seconds"].items()}
    memory = {name: value / 2**30 for name, value in row["peak_bytes"].items()}
    return (
        f"{row['model']:<11}{row['contender']:<17}now / earlier {row['ratio']:.2f}"
        f" ({row['lowest']:.2f} to {row['highest']:.2f}), same map;"
        f" {medians['earlier']:.1f} -> {medians['now']:.1f} s,"
        f" {memory['earlier']:.2f} -> {memory['now']:.2f} GiB"
    )


if __name__ == "__main__":
    main()
