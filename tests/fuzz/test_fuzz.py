"""Documents that nobody meant to write end in one line or in success: never hang, never eat memory.

Inputs are the same in every run. ``.ci/fuzz`` feeds ten thousand; here it is five hundred.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import psutil
import pytest

HELPERS = Path(__file__).resolve().parents[1] / "helpers"
ROOT = HELPERS.parents[1]
INPUTS = int(os.environ.get("RSSCALE_FUZZ_INPUTS", "500"))
HANG_S, START_S = 10.0, 240.0
MEMORY = 2 * 2**30
# Shares of the inputs; recipes and items have the most fields.
SHARES = {
    "recipes": 4, "items": 4, "collections": 2, "catalogues": 2, "geoparquet": 2, "answers": 2,
    "cogs": 3, "vectors": 2, "models": 2, "runs": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the archive and the run are made once."""
    return tmp_path_factory.mktemp("fuzz")


class Child:
    """A process that feeds a target, watched from here."""

    def __init__(self, name: str, count: int, shared: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{HELPERS}"}
        words = [sys.executable, str(HELPERS / "fuzz_child.py"), name, str(count), str(shared)]
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        self.inputs, self.shown, self.failures, self.done = 0, "", [], False
        self.moved, self.peak = time.monotonic(), 0
        self.listener = Thread(target=self._listen, daemon=True)
        self.listener.start()

    def _listen(self) -> None:
        for line in self.process.stdout or ():
            told = json.loads(line)
            self.moved = time.monotonic()
            if "input" in told:
                self.inputs, self.shown = told["input"], told["shown"]
            elif "failed" in told:
                self.failures.append(told["failed"])
            else:
                self.done = True

    def watch(self) -> list[object]:
        """Wait for the end; what went wrong."""
        with self.process:  # closes its pipes
            return self._watch()

    def _watch(self) -> list[object]:
        process = psutil.Process(self.process.pid)
        while self.process.poll() is None:
            time.sleep(0.05)
            try:
                self.peak = max(self.peak, process.memory_info().rss)
            except psutil.NoSuchProcess:
                break
            silent = time.monotonic() - self.moved
            if self.peak > MEMORY or silent > (HANG_S if self.inputs else START_S):
                self.process.kill()
                self.listener.join()
                what = "memory" if self.peak > MEMORY else f"no end within {HANG_S:g} s"
                return [*self.failures, {"error": what, "shown": self.shown}]
        self.listener.join()  # until the last lines are read
        if not self.done:
            said = (self.process.stderr.read() if self.process.stderr else "")[-800:]
            self.failures.append({"error": f"died: {said}", "shown": self.shown})
        return self.failures


@pytest.mark.slow
@pytest.mark.parametrize("name", SHARES)
@pytest.mark.timeout(3600)
def test_a_document_ends_in_one_line_or_in_success(name: str, shared: Path) -> None:
    count = max(INPUTS * SHARES[name] // sum(SHARES.values()), 1)
    child = Child(name, count, shared)
    failures = child.watch()
    sys.stderr.write(f"{name}: {child.inputs} inputs, peak {child.peak / 2**20:.0f} MiB\n")
    assert failures == []
    assert child.inputs >= min(count, 20)
