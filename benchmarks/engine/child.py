"""One contender, once, in a process of its own: ``python -m benchmarks.engine.child``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.engine import counting
from benchmarks.engine.case import Case
from benchmarks.engine.variants import CONTENDERS


def main(case_file: str, name: str, options: str, out: str) -> None:
    """Make the map and write ``result.json``."""
    folder = Path(out)
    make = CONTENDERS[name].make
    if make is None:
        raise SystemExit(f"{name} runs as a script of another environment")
    seconds = make(Case.read(Path(case_file)), json.loads(options), folder)
    result = {"seconds": seconds, **counting.LAST.to_dict()}
    for kept in (folder / "stages.json", folder / "run" / "run.json"):
        if kept.exists():
            record = json.loads(kept.read_text())
            result["stages"] = record.get("stages", record)
    (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
