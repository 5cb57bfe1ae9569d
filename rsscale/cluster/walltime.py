"""The time that a scheduler gives a process, and whether another tile fits into it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from rsscale.errors import RecipeError

# A tile may take longer than the slowest so far; then there is the state to write.
_MARGIN = 1.25
_LAST_S = 2.0
_SLURM = "SLURM_JOB_END_TIME"
_ASKED_S = 30.0
_FORM = re.compile(r"(?:(?P<days>\d+)-)?(?:(?P<hours>\d+):)?(?P<minutes>\d+):(?P<seconds>\d+)")


@dataclass
class Walltime:
    """When a process will be ended, and how long tiles take.

    Attributes
    ----------
    ends : float or None
        Seconds since 1970; None when nothing ends it.
    slowest : float
        Seconds of the slowest tile so far.
    was_short : bool
        Whether :meth:`is_short` was true: then no further tile has been begun.
    """

    ends: float | None = None
    slowest: float = 0.0
    was_short: bool = False

    @classmethod
    def of(
        cls, seconds: float | None = None, environment: Mapping[str, str] = os.environ
    ) -> Walltime:
        """The end of this process.

        Parameters
        ----------
        seconds : float, optional
            From its start. When omitted, inside of a job of Slurm the end of the job:
            ``SLURM_JOB_END_TIME``, or what ``squeue`` says, since releases before 23.02 set no
            such variable.
        environment : mapping
        """
        if seconds is not None:
            return cls(psutil.Process().create_time() + seconds)
        text = environment.get(_SLURM, "")
        if text.isdigit():
            return cls(float(text))
        left = _left_by_squeue(environment)
        return cls() if left is None else cls(time.time() + left)

    def add(self, seconds: float) -> None:
        """Count a tile that was computed."""
        self.slowest = max(self.slowest, seconds)

    def left(self) -> float:
        """Seconds to the end, less what writing the state takes."""
        return float("inf") if self.ends is None else max(self.ends - time.time() - _LAST_S / 2, 0)

    def is_short(self) -> bool:
        """Whether the time that is left is less than the slowest tile took, with some margin."""
        if self.ends is None:
            return False
        self.was_short |= self.ends - time.time() < _MARGIN * self.slowest + _LAST_S
        return self.was_short


def _left_by_squeue(environment: Mapping[str, str]) -> float | None:
    """Seconds that Slurm leaves to the job that this process is in, if it is in one."""
    job, squeue = environment.get("SLURM_JOB_ID", ""), shutil.which("squeue")
    if not job.isdigit() or squeue is None:
        return None
    array, index = (environment.get(f"SLURM_ARRAY_{name}", "") for name in ("JOB_ID", "TASK_ID"))
    if array.isdigit() and index.isdigit():
        job = f"{array}_{index}"  # its last job has the number of the whole array
    words = [squeue, "--noheader", "--jobs", job, "--format", "%L"]
    try:
        answer = subprocess.run(words, capture_output=True, text=True, timeout=_ASKED_S, check=True)  # noqa: S603
        return parse_walltime(answer.stdout.strip())
    except (OSError, subprocess.SubprocessError, RecipeError):  # also UNLIMITED
        return None


def parse_walltime(text: str) -> float:
    """Seconds of ``3600``, ``1:00:00``, ``60:00`` or ``1-00:00:00``, as schedulers write them.

    Raises
    ------
    RecipeError
        For anything else.
    """
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    match = _FORM.fullmatch(text)
    if match is None:
        raise RecipeError(
            f"walltime {text!r} is not a time; give seconds, or as schedulers do [D-]HH:MM:SS"
        )
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
