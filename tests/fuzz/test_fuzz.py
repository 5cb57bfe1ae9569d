"""Documents that nobody meant to write end in one line or in success: never hang, never eat memory.

Inputs are the same in every run. ``.ci/fuzz`` feeds ten thousand; here it is 250, the extended
suite feeds five hundred.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import IO, Any

import psutil
import pytest
from once import Once

HELPERS = Path(__file__).resolve().parents[1] / "helpers"
ROOT = HELPERS.parents[1]
INPUTS = int(os.environ.get("RSSCALE_FUZZ_INPUTS", "250"))
HANG_S, START_S = 10.0, 240.0
MEMORY = 2 * 2**30
# Shares of the inputs; recipes and items have the most fields.
SHARES = {
    "recipes": 4, "items": 4, "collections": 2, "catalogues": 2, "geoparquet": 2, "answers": 2,
    "cogs": 3, "vectors": 2, "labelfiles": 2, "models": 2, "runs": 2,
}  # fmt: skip


class Feeder:
    """A process that feeds targets, each in a fork of its own, watched from here."""

    def __init__(self, log: IO[str]) -> None:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{HELPERS}"}
        self.process = subprocess.Popen(
            [sys.executable, str(HELPERS / "fuzz_child.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment,
        )  # fmt: skip
        self.lines: Queue[dict[str, Any]] = Queue()
        self.listener = Thread(target=self._listen, daemon=True)
        self.listener.start()

    def _listen(self) -> None:
        for line in self.process.stdout or ():
            self.lines.put(json.loads(line))
        self.lines.put({"ended": "the process that forks is gone"})

    def feed(self, **request: object) -> Fed:
        """Feed a target, and wait for the end."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        fed = Fed()
        while fed.ended is None:
            try:
                fed.hear(self.lines.get(timeout=0.05))
            except Empty:
                fed.end_if_too_long()
            fed.end_if_too_large()
        return fed

    def close(self) -> None:
        with self.process:  # ends with its input, and its pipes are closed
            assert self.process.stdin
            self.process.stdin.close()
            self.listener.join()


def waited_for_cores(process: psutil.Process | None) -> float:
    """Seconds for which threads of a process could have computed, and others had the cores."""
    waited = 0
    for path in Path(f"/proc/{process.pid if process else 0}/task").glob("*/schedstat"):
        with suppress(OSError):  # a thread that has ended
            waited += int(path.read_text().split()[1])
    return waited / 1e9


class Fed:
    """What a target's process told, and how large it became."""

    def __init__(self) -> None:
        self.inputs, self.shown, self.failures = 0, "", []
        self.process: psutil.Process | None = None
        self.peak = 0
        self._move()
        self.killed, self.ended = False, None

    def _move(self) -> None:
        self.moved, self.waited = time.monotonic(), waited_for_cores(self.process)

    def hear(self, told: dict[str, Any]) -> None:
        self._move()
        if "pid" in told:
            self.process = psutil.Process(told["pid"])
        elif "input" in told:
            self.inputs, self.shown = told["input"], told["shown"]
        elif "failed" in told:
            self.failures.append(told["failed"])
        elif "died" in told:
            self._failed(f"died: {told['died']}")
        else:
            self.ended = told["ended"]
            if self.ended and not self.failures:  # by a signal: it could not tell
                self._failed(f"died: {self.ended}")

    def _failed(self, error: str) -> None:
        self.failures.append({"error": error, "shown": self.shown})

    def end_if_too_long(self) -> None:
        longest = HANG_S if self.inputs else START_S
        since = time.monotonic() - self.moved
        if since <= longest:
            return
        # Where other processes have the cores, a process that only has to wait does not hang.
        waited = waited_for_cores(self.process) - self.waited
        if max(since - waited, since / 10) > longest:
            self._kill(f"no end within {longest:g} s")

    def end_if_too_large(self) -> None:
        with suppress(psutil.NoSuchProcess):
            self.peak = max(self.peak, self.process.memory_info().rss if self.process else 0)
        if self.peak > MEMORY:
            self._kill("memory")

    def _kill(self, error: str) -> None:
        if not self.killed:
            self.killed = True
            self._failed(error)
            assert self.process, error
            self.process.kill()


@pytest.fixture(scope="module")
def feeder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Feeder]:
    """Started once for all targets."""
    with (tmp_path_factory.mktemp("fuzz") / "log").open("w") as log:
        feeder = Feeder(log)
        yield feeder
        feeder.close()


@pytest.fixture(scope="session")
def shared(once: Once) -> Path:
    """The archive and the run that documents are taken from; read-only."""
    from fuzz_targets import make_shared

    return once("fuzz", make_shared)


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.extended)])
@pytest.mark.parametrize("name", SHARES)
@pytest.mark.timeout(3600)
def test_a_document_ends_in_one_line_or_in_success(
    feeder: Feeder, shared: Path, tmp_path: Path, name: str, times: int
) -> None:
    count = max(times * INPUTS * SHARES[name] // sum(SHARES.values()), 1)
    fed = feeder.feed(name=name, count=count, folder=str(tmp_path), shared=str(shared))
    sys.stderr.write(f"{name}: {fed.inputs} inputs, peak {fed.peak / 2**20:.0f} MiB\n")
    assert fed.failures == []
    assert fed.inputs >= min(count, 20)
