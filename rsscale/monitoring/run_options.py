"""How a run is watched, and how it ends before it is done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunOptions:
    """Options of monitoring, and the grace of a run that is told to end.

    Attributes
    ----------
    metrics_port : int, optional
        Serve Prometheus metrics there.
    heartbeat : Path, optional
        A file that is written anew every few seconds.
    grace_s : float
        After SIGTERM, how long tiles in flight may take before they are abandoned.
    walltime_s : float, optional
        Seconds from the start of this process to its end; Slurm's own when omitted. No tile is
        begun that takes longer than what is left, by the slowest so far.
    webhook : str, optional
        An address that is told by a POST of JSON how the run has ended; that of the environment
        variable ``RSSCALE_WEBHOOK`` when omitted.
    """

    metrics_port: int | None = None
    heartbeat: Path | None = None
    grace_s: float = 25.0
    walltime_s: float | None = None
    webhook: str | None = None
