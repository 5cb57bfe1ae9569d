"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe, YAML.")]
RunPath = Annotated[str, typer.Argument(metavar="FOLDER", help="A run folder, or s3://….")]
Heartbeat = Annotated[
    Path | None, typer.Option(help="A file that is written anew every few seconds.")
]
MetricsPort = Annotated[
    int | None, typer.Option("--metrics", help="Serve Prometheus metrics on this port.")
]
Grace = Annotated[float, typer.Option(help="Seconds that SIGTERM leaves to tiles in flight.")]
Cluster = Annotated[
    str | None,
    typer.Option(
        help="local, local:N worker processes, cuda, slurm:N, pbs:N, lsf:N, kubernetes, gateway, "
        "ssh:A,B, a scheduler's tcp://host:port or tls://host:port; for run and resume also array: "
        "start the command as often as you like. The recipe's key `cluster` when omitted."
    ),
]
Walltime = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Time that this process has, in seconds or HH:MM:SS: it ends before, with exit code "
        "75 when there is more to do. Slurm's own when omitted.",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key, e.g. grid.tile=1024."),
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Trust = Annotated[
    bool, typer.Option("--trust", help="Run models that are programs, as they lie now.")
]
