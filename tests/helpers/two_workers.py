"""A local cluster of two worker processes, in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The passes and functions of all tests that share a cluster.
ALLOWED = {
    "RSSCALE_PASSES": "formula_pass, index_pass, pair_pass, scene_objects",
    "RSSCALE_FUNCTIONS": "tile_functions",
    "RSSCALE_ARCHITECTURES": "imagery_detector",
}

# Until its input ends: also when the process of the tests is killed.
PROGRAM = """
import sys
from rsscale.cluster.connection import connect

if __name__ == "__main__":
    with connect("local:2") as client:
        print(client.scheduler.address, flush=True)
        sys.stdin.read()
"""


@contextmanager
def cluster_of_two(folder: Path) -> Iterator[str]:
    """Start it, yield the scheduler's address, end it.

    Not in the process of the tests: a cluster leaves settings in the environment as long as it
    is there, and its client becomes Dask's scheduler for all that is computed.
    """
    folder.mkdir()
    (folder / "main.py").write_text(PROGRAM)
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            [sys.executable, folder / "main.py"],
            env={**os.environ, **ALLOWED, "PYTHONPATH": ":".join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        assert process.stdin
        assert process.stdout
        address = process.stdout.readline().strip()
        assert address, (folder / "log").read_text()
        try:
            yield address
        finally:
            process.stdin.close()
            process.wait(60)
