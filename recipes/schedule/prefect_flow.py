"""A Prefect flow that keeps a map up to date with ``rsscale run --update``.

``python prefect_flow.py recipe.yaml /data/out`` serves it, each night at two; needs ``prefect`` and
``rsscale`` in one environment. Other frameworks can call :func:`update_until_done` the same way.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from prefect import flow, get_run_logger, task

DONE, TILES_FAILED, WRONG, MORE_TO_DO = 0, 1, 2, 75
LogLine = Callable[[int, str], None]


class UpdateError(RuntimeError):
    """The run has ended with something else than a finished map.

    Attributes
    ----------
    code : int
        The exit code; negative for a signal.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"rsscale ended with exit code {code}: {message}")
        self.code = code

    @property
    def needs_a_person(self) -> bool:
        """Whether starting it again would end the same way."""
        return self.code in (TILES_FAILED, WRONG)


def update_until_done(recipe: str, out: str, options: Sequence[str], log: LogLine) -> None:
    """Run the update, again as long as its own time (``--walltime``) was over before it was done.

    Raises
    ------
    UpdateError
        For any other end.
    """
    command = ["rsscale", "run", recipe, "--out", out, "--update", "--log-format", "json", *options]
    code = MORE_TO_DO
    while code == MORE_TO_DO:
        code, last = _run(command, log)
    if code != DONE:
        raise UpdateError(code, last)


def _run(command: Sequence[str], log: LogLine) -> tuple[int, str]:
    """The exit code, and the last line of the log."""
    last = ""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr or ():
            level, last = _parse(line)
            log(level, last)
    return process.returncode, last


def _parse(line: str) -> tuple[int, str]:
    """Level and message of one line of the log."""
    try:
        entry: dict[str, Any] = json.loads(line)
    except ValueError:  # of a library, before the log was set up
        return logging.WARNING, line.strip()
    level = logging.getLevelNamesMapping().get(str(entry["level"]).upper(), logging.INFO)
    return level, str(entry["message"])


def _may_start_again(_task: Any, _run: Any, state: Any) -> bool:
    """Whether a failed task is tried again: after a kill, not after a mistake."""
    error = state.result(raise_on_failure=False)
    return not (isinstance(error, UpdateError) and error.needs_a_person)


@task(retries=3, retry_delay_seconds=300, retry_condition_fn=_may_start_again)
def update(recipe: str, out: str, options: Sequence[str] = ()) -> None:
    """One update of one map."""
    update_until_done(recipe, out, options, get_run_logger().log)


@flow(name="rsscale-update")
def rsscale_update(recipe: str, out: str, options: Sequence[str] = ()) -> None:
    """Keep a map up to date."""
    update(recipe, out, options)


if __name__ == "__main__":
    rsscale_update.serve(
        name="nightly",
        cron="0 2 * * *",
        parameters={"recipe": sys.argv[1], "out": sys.argv[2], "options": sys.argv[3:]},
    )
