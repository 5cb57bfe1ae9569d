"""Processes that need not import anything: forks of one that has, and has done nothing else.

For programs that are killed, or that change what all of a process shares. What a program imports,
and how its process is started, can't be tested in one.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

COMMAND = "from rsscale.cli import main; main()"
_FORKS = multiprocessing.get_context("forkserver")
# What trainings and runs import, seven seconds of a core; an optimiser wants torch._dynamo.
_FORKS.set_forkserver_preload(
    ["torch", "torch._dynamo", "rsscale.cli", "rsscale.pipeline.training", "rsscale.passes.mapping",
     "dask.array", "rsscale.prediction.model_source", "stackstac", "geopandas", "matplotlib.figure"]
)  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """How a process ended: below zero by a signal, and what it has said."""

    returncode: int
    stdout: str
    stderr: str


def run_forked(
    program: str, *words: str, env: Mapping[str, str] | None = None, timeout: float = 300
) -> Ended:
    """Do what ``python -c program words`` does, in the environment of now and ``env``."""
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder) / name for name in ("stdout", "stderr")]
        environment = {**os.environ, **(env or {})}
        process = _FORKS.Process(target=_run, args=(program, words, environment, said))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutError(f"no end within {timeout:g} s: {said[1].read_text()}")
        return Ended(process.exitcode, *(path.read_text() for path in said))


def run_command(*words: str, env: Mapping[str, str] | None = None) -> Ended:
    """Do what ``rsscale words`` does on the command line."""
    return run_forked(COMMAND, *words, env=env)


def _run(
    program: str, words: tuple[str, ...], environment: dict[str, str], said: list[Path]
) -> None:
    for stream, path in enumerate(said, start=1):
        with path.open("w") as file:
            os.dup2(file.fileno(), stream)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["-c", *words]
    exec(program, {"__name__": "__main__"})  # noqa: S102 -- what a test says
