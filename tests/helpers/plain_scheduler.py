"""A scheduler that can import neither rsscale nor torch, with a worker that can."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SITE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("rsscale", "torch", "rasterio"):
            raise ImportError(f"there is no {name} on this machine")

sys.meta_path.insert(0, Absent())
"""


@contextmanager
def plain_scheduler(folder: Path) -> Iterator[str]:
    """Start both as a user would, yield the scheduler's address, end them."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SITE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    scheduler = ["dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-show"]
    worker = ["dask_worker", address, "--nthreads", "2", "--no-nanny"]
    started = []
    try:
        for program, path in ((scheduler, str(folder)), (worker, ":".join(sys.path))):
            name, *options = program
            command = [sys.executable, "-m", f"distributed.cli.{name}", *options, "--no-dashboard"]
            with (folder / f"{name}.log").open("w") as log:
                started.append(
                    subprocess.Popen(
                        command, env={**os.environ, "PYTHONPATH": path}, cwd=folder, stderr=log
                    )
                )
        yield address
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(60)
