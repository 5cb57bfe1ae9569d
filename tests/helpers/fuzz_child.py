"""Feed inputs to a target, in a process of its own that says which one it is at."""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import traceback
import warnings
from pathlib import Path


def main(name: str, count: int, shared: str) -> None:
    """Run a target over ``count`` inputs; a line of JSON for each and for each failure."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    from fuzz_targets import TARGETS
    from hypothesis import HealthCheck, Phase, given, settings

    import rsscale as rs
    from rsscale.progress import show_progress

    show_progress(False)
    cls, strategies = TARGETS[name]
    os.chdir(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    made = cls(Path(shared) if name in ("recipes", "models", "runs") else Path.cwd())
    number, seen = 0, set()

    @settings(
        derandomize=True, max_examples=count, database=None, deadline=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(**strategies)
    def feed(**drawn):
        nonlocal number
        number += 1
        shown = repr(drawn)[:600]
        channel.write(json.dumps({"input": number, "shown": shown}) + "\n")
        try:
            made.run(**drawn)
        except rs.RsscaleError:
            return
        except BaseException as error:  # noqa: BLE001 -- each is a finding
            trace = traceback.extract_tb(error.__traceback__)
            ours = [
                f"{Path(f.filename).name}:{f.lineno}" for f in trace if "rsscale/" in f.filename
            ]
            where = (ours or [f"{Path(trace[-1].filename).name}:{trace[-1].lineno}"])[-1]
            key = (type(error).__name__, where)
            if key not in seen:
                seen.add(key)
                told = {"error": f"{type(error).__name__}: {error}"[:300], "where": where}
                channel.write(json.dumps({"failed": {**told, "shown": shown}}) + "\n")

    feed()
    channel.write(json.dumps({"done": number}) + "\n")
    channel.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
