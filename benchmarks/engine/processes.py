"""Children whose memory is watched: the sum over the process and all that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_EVERY_S = 0.05


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes
    ----------
    code : int
        Its exit code; negative for a signal.
    seconds : float
        From its start.
    peak_bytes : int
        The most that it and its descendants held at a time, without what is shared with files.
    output : str
        What it printed, both streams.
    """

    code: int
    seconds: float
    peak_bytes: int
    output: str


def run(
    command: Sequence[str],
    log: Path,
    *,
    timeout: float,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    until: Callable[[], bool] = lambda: False,
) -> Ended:
    """Run a command to its end, or kill it and its process group once ``until()`` is true.

    ``folder`` is where it runs, by default where this process does.
    """
    started = time.monotonic()
    with log.open("w") as file:
        process = subprocess.Popen(  # noqa: S603 -- the benchmark's own commands
            command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, **(environment or {})}, cwd=folder,
        )  # fmt: skip
    peak = _Peak(process.pid)
    try:
        while process.poll() is None:
            late = time.monotonic() - started > timeout
            if late or until():
                peak.measure()  # once more: what there was at the end counts
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                break
            time.sleep(_EVERY_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        bytes_held = peak.stop()
    seconds = time.monotonic() - started
    return Ended(process.returncode, seconds, bytes_held, log.read_text(errors="replace"))


class _Peak:
    """Watches a process tree on a thread of its own."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._most, self._end = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._end.set()
        self._thread.join()
        return self._most

    def _watch(self) -> None:
        while not self._end.wait(_EVERY_S):
            self.measure()

    def measure(self) -> None:
        try:
            family = [self._root, *self._root.children(recursive=True)]
        except psutil.Error:
            return
        self._most = max(self._most, sum(_held(process) for process in family))


def _held(process: psutil.Process) -> int:
    """Resident memory without what is shared with files, such as libraries mapped by all."""
    try:
        memory = process.memory_info()
    except psutil.Error:  # it ended meanwhile
        return 0
    return int(memory.rss - getattr(memory, "shared", 0))
