"""What the GPU computes against what the CPU does, and how busy it is kept.

    python -m benchmarks.gpu [--device cuda] [--quick] [--json FILE]

A table: composites by reducer, each network and each head, windows blended, bfloat16,
compilation, a batch that does not fit, one training; the outputs on the device are compared with
those on the CPU. Then the speed of maps out of memory, and of a whole run of a simulated archive
with its files. It takes some three minutes on a card; ``--device cpu --quick`` tries the script.
Ends with 1 when a row differs by more than it may.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable, Iterable

import torch

from benchmarks.gpu.composites import composite_rows
from benchmarks.gpu.models import accelerated_rows, head_rows, memory_row, network_rows
from benchmarks.gpu.rows import Row, header
from benchmarks.gpu.speed import speed_rows
from benchmarks.gpu.training import training_rows
from benchmarks.options import parser_of
from rsscale.progress.bars import show_progress

PARTS: dict[str, Callable[[str, bool], Iterable[Row]]] = {
    "composites": composite_rows,
    "networks": network_rows,
    "heads": head_rows,
    "bfloat16 and compilation": accelerated_rows,
    "a batch that does not fit": memory_row,
    "speed": speed_rows,
    "training and a run": training_rows,
}


def main() -> None:
    parser = parser_of(__doc__, quick="small arrays, to try the script")
    parser.add_argument("--device", default="cuda", help="what is compared with the CPU")
    parser.add_argument("--only", choices=PARTS, help="one part")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("error: torch finds no GPU here; expected one, or --device cpu to try the script")
    show_progress(False)
    card = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor()
    print(f"{card}, torch {torch.__version__}\n{header()}", flush=True)
    rows: list[Row] = []
    for name, measure in PARTS.items():
        if options.only in (None, name):
            started = time.perf_counter()
            for row in measure(options.device, options.quick):
                print(row, flush=True)
                rows.append(row)
            print(f"-- {name}: {time.perf_counter() - started:.0f} s", flush=True)
    if options.json:
        report = {"card": card, "torch": torch.__version__, "rows": [row.values() for row in rows]}
        options.json.write_text(json.dumps(report, indent=1))
    wrong = [row.name for row in rows if not row.is_right]
    if wrong:
        sys.exit(f"error: {len(wrong)} rows differ by more than they may: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
