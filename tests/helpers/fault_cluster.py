"""A Dask scheduler and workers as their own commands, which tests stop, kill and start again."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
PATIENCE = 480.0
"""Seconds after which something that must happen is taken not to happen, on a quiet machine: many
times what it takes there."""

# Counts how often each point is passed, by all processes, and never kills.
COUNT_ONLY = "kill/1000000000000"
_POLL = 0.01


def environment(**changes: str) -> dict[str, str]:
    """Of every child: this checkout, one thread each."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RSSCALE_", "DASK_"))}
    return kept | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "helpers")]),
        "RSSCALE_PASSES": "formula_pass",
        "RSSCALE_FUNCTIONS": "tile_functions",
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        **changes,
    }


class Patience:
    """What is left of a time that passes slower the more processes wait for a core."""

    def __init__(self, seconds: float) -> None:
        self._left, self._looked = seconds, time.monotonic()

    def ends(self) -> bool:
        """Whether all of it has passed."""
        now = time.monotonic()
        crowd = max(os.getloadavg()[0] / (os.cpu_count() or 1), 1.0)
        self._left -= (now - self._looked) / crowd
        self._looked = now
        return self._left < 0


def until(
    happened: Callable[[], object], what: str, within: float = PATIENCE, poll: float = _POLL
) -> None:
    """Wait for something; AssertionError when it does not happen."""
    patience = Patience(within)
    while not happened():
        assert not patience.ends(), f"after {within:.0f} s still waiting for {what}"
        time.sleep(poll)


@dataclass
class Command:
    """One child in a process group of its own, its output in files."""

    process: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(
        cls,
        words: list[str],
        log: Path,
        env: Mapping[str, str],
        largest: int = 0,
        before: Sequence[str] = (),
    ) -> Command:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as out, log.with_suffix(".err").open("wb") as err:
            process = subprocess.Popen(
                [*before, sys.executable, *words],
                cwd=ROOT,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        if largest:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (largest, largest))
        return cls(process, log)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def out(self) -> str:
        return self.log.read_text("utf-8", "replace")

    @property
    def err(self) -> str:
        return self.log.with_suffix(".err").read_text("utf-8", "replace")

    def signal(self, number: int) -> None:
        """To the whole group."""
        if self.alive:
            os.killpg(self.process.pid, number)

    def end(self) -> None:
        """Kill the group, also when its first process is dead already, and reap."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def scheduler_words(port: int) -> list[str]:
    return ["-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port),
            "--no-dashboard", "--idle-timeout", "900s"]  # fmt: skip


@dataclass
class Worker:
    """A worker's command, and how to start the next one like it."""

    words: list[str]
    log: Path
    env: dict[str, str]
    nanny: bool
    largest: int = 0
    starts: int = 0
    command: Command = field(init=False)

    def start(self) -> None:
        self.starts += 1
        log = self.log.with_name(f"{self.log.name}-{self.starts}.log")
        self.command = Command.start(self.words, log, self.env, self.largest)

    @property
    def ready(self) -> bool:
        return self.command.alive and "Registered to:" in self.command.err

    @property
    def pid(self) -> int | None:
        """Of the process that does the work: with a nanny, the nanny's child."""
        if not self.nanny:
            return self.command.process.pid if self.command.alive else None
        try:
            children = psutil.Process(self.command.process.pid).children(recursive=True)
            found = [c.pid for c in children if "spawn_main" in " ".join(c.cmdline())]
        except psutil.Error:
            return None
        return found[0] if found else None

    def signal(self, number: int) -> None:
        """To the process that does the work, alone."""
        until(lambda: self.pid is not None, "a worker process under its nanny", 30)
        os.kill(self.pid, number)


class Cluster:
    """Started lazily by :meth:`ensure`; what died is started again by :meth:`heal`.

    ``counts`` and ``once`` are where failpoints of all workers keep their marks.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self.scheduler: Command | None = None
        self.workers: list[Worker] = []
        self.once = folder / "once"
        self.counts = folder / "counts"
        self._made = 0
        self._shape: object = None

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def ensure(
        self,
        points: str = "",
        *,
        workers: int = 2,
        nanny: bool = False,
        ttl: str = "",
        always: bool = False,
    ) -> None:
        """Have a scheduler and these workers, all idle and registered, and no marks.

        ``points`` act once in all workers together, or ``always``.
        """
        shape = (points, workers, nanny, always)
        if ttl or self.scheduler is None or not self.scheduler.alive:
            self.stop()
            self.start_scheduler(ttl)
        if shape != self._shape:
            self.stop_workers()
            rules = ",".join(filter(None, [points, f"tile-start={COUNT_ONLY}"]))
            for _ in range(workers):
                once = "" if always else str(self.once)
                self.add_worker(nanny=nanny, RSSCALE_FAILPOINTS=rules, RSSCALE_FAILPOINT_ONCE=once)
            self._shape = shape
        self.await_workers()
        self.once.unlink(missing_ok=True)
        shutil.rmtree(self.counts, ignore_errors=True)

    def start_scheduler(self, ttl: str = "") -> None:
        self._made += 1
        changes = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": ttl} if ttl else {}
        log = self.folder / f"scheduler-{self._made}.log"
        started = Command.start(scheduler_words(self.port), log, environment(**changes))
        self.scheduler = started
        until(lambda: "Scheduler at:" in started.err or not started.alive, "the scheduler")
        assert started.alive, started.err

    def add_worker(
        self,
        *,
        nanny: bool = False,
        memory: str = "0",
        largest: int = 0,
        **changes: str,
    ) -> Worker:
        self._made += 1
        name = f"worker-{self._made}"
        words = ["-m", "distributed.cli.dask_worker", self.address, "--nthreads", "1",
                 "--no-dashboard", "--host", "127.0.0.1", "--memory-limit", memory,
                 "--nanny" if nanny else "--no-nanny", "--death-timeout", "60s",
                 "--local-directory", str(self.folder / name)]  # fmt: skip
        marks = {"RSSCALE_FAILPOINT_ONCE": str(self.once),
                 "RSSCALE_FAILPOINT_COUNTS": str(self.counts)}  # fmt: skip
        env = environment(**(marks | changes))
        worker = Worker(words, self.folder / name, env, nanny, largest)
        worker.start()
        self.workers.append(worker)
        return worker

    def heal(self) -> None:
        """Start again, once, every worker whose command has ended."""
        for worker in self.workers:
            if not worker.command.alive:
                worker.command.end()
                worker.start()

    def kill_scheduler(self) -> None:
        """Kill it; another on the same port, and workers anew once the old ones have given up."""
        assert self.scheduler is not None
        self.scheduler.end()
        self.start_scheduler()
        end = time.monotonic() + 15  # a nanny takes five seconds to believe it
        while any(w.command.alive for w in self.workers) and time.monotonic() < end:
            time.sleep(_POLL)
        for worker in self.workers:
            worker.command.end()
        self.heal()

    def await_workers(self) -> None:
        """Heal until every worker is registered."""
        until(lambda: self.heal() or all(w.ready for w in self.workers), "workers to register")

    def passes(self, point: str, tile: str = "") -> int:
        """How often a counted point was passed, for one tile or for all."""
        pattern = f"{point}@{tile or '*'}"
        return sum(file.stat().st_size for file in self.counts.glob(pattern))

    def stop_workers(self) -> None:
        for worker in self.workers:
            worker.command.end()
        self.workers.clear()
        self._shape = None

    def stop(self) -> None:
        self.stop_workers()
        if self.scheduler is not None:
            self.scheduler.end()
            self.scheduler = None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
