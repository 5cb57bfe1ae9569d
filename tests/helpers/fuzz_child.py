"""Feed inputs to targets, each in a process of its own that says which input it is at.

All are forks of one process, so that torch and the others are imported once.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any, TextIO


def serve() -> None:
    """Fork for each line of JSON that is read; a last line when its process has ended."""
    import stackstac  # noqa: F401 -- imported where a cube is built, by every fork anew

    from rsscale.progress.bars import show_progress

    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    show_progress(False)
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    for line in sys.stdin:
        if child := os.fork():
            channel.write(json.dumps({"pid": child}) + "\n")
            _, status = os.waitpid(child, 0)
            channel.write(json.dumps({"ended": os.waitstatus_to_exitcode(status)}) + "\n")
        else:
            os._exit(_fed(channel, **json.loads(line)))


def _fed(channel: TextIO, **request: Any) -> int:
    """The exit code of a fork; nothing but JSON is printed."""
    with Path(os.devnull).open("r+") as nowhere:
        for stream in range(3):
            os.dup2(nowhere.fileno(), stream)
    try:
        _feed(channel, **request)
    except BaseException:  # noqa: BLE001 -- told by whoever waits for it
        channel.write(json.dumps({"died": traceback.format_exc()[-800:]}) + "\n")
        return 1
    return 0


def _feed(channel: TextIO, name: str, count: int, folder: str, shared: str) -> None:
    """Run a target over ``count`` inputs; a line of JSON for each and for each failure."""
    from fuzz_targets import TARGETS
    from hypothesis import HealthCheck, Phase, given, settings

    import rsscale as rs

    cls, strategies = TARGETS[name]
    os.chdir(folder)
    made = cls(Path(shared) if name in ("recipes", "models", "runs") else Path(folder))
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


if __name__ == "__main__":
    serve()
