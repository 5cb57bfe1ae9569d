"""The engine's targets, measured: one table a model, then what grows with the area.

    python -m benchmarks [--quick] [--json FILE]

Simulated scenes (uint16, DEFLATE, predictor 2, 512 px blocks) are served by nginx on loopback.
Every contender makes the same map of them with the same model, halo and cores, each time in a
process of its own, interleaved, after it was tuned over chunk size and threads. Outputs are
compared before speeds: one whose map is another is marked, not ranked. Tell ratios, not times.
torchgeo takes part where it is installed, or where TORCHGEO_PYTHON names a Python that has it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import scaling
from benchmarks.engine.case import SCENE, Case
from benchmarks.engine.models import MODELS, write_models
from benchmarks.engine.outputs import make_reference
from benchmarks.engine.scenes import write_catalog, write_scenes
from benchmarks.engine.table import goal_line, show
from benchmarks.engine.tournament import compete
from benchmarks.engine.variants import CONTENDERS
from benchmarks.options import parser_of
from benchmarks.serving import serve


def main() -> None:
    options = _options()
    threads = len(os.sched_getaffinity(0))
    size = options.size or (SCENE // 2 if options.quick else SCENE)
    repeats = options.repeats or (2 if options.quick else 5)
    report: dict[str, Any] = {"size": size, "threads": threads, "repeats": repeats, "models": []}
    with _scratch(options.scratch) as folder:
        case = Case(str(folder / "table"), 1, 1, size, options.models[0], threads)
        write_scenes(case)
        write_models(case.path)
        with serve(case.path / "scenes") as root:
            write_catalog(case, root)
            for model in options.models:
                model_case = Case(**{**asdict(case), "model": model})
                make_reference(model_case)
                standings = compete(model_case, options.contenders, repeats)
                report["models"].append(show(model_case, standings))
        if options.growth:
            print("\nWhat grows with the area")
            report["growth"] = scaling.measure(folder, quick=options.quick, threads=threads)
            for goal in report["growth"]:
                print("  " + goal_line(goal), flush=True)
    print("\ntarget 3: python -m benchmarks.reading")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__, quick="a quarter of the pixels, 2 rounds")
    parser.add_argument("--scratch", type=Path, help="keep scenes here for another time")
    parser.add_argument("--size", type=int, help="pixels across, a multiple of 1024")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument(
        "--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS)
    )
    parser.add_argument("--no-growth", dest="growth", action="store_false")
    return parser.parse_args()


@contextmanager
def _scratch(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.absolute()
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


if __name__ == "__main__":
    main()
