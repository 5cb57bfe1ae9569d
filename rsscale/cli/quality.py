"""The command on the quality of a map: gates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rsscale.cli.application import command
from rsscale.cli.options import Cluster, RunPath


@command
def gates(
    folder: RunPath,
    step: Annotated[str, typer.Option(help="Whose layers.")] = "map",
    recipe: Annotated[
        Path | None, typer.Option(help="A recipe whose gates count; the run's own when omitted.")
    ] = None,
    cluster: Cluster = None,
    threads: Annotated[int | None, typer.Option(help="Threads of each process.")] = None,
) -> None:
    """Check whether a map may be published: seams, blank or missing tiles, shares, confidence."""
    from rsscale.quality.check import check_quality, read_thresholds

    thresholds = None if recipe is None else read_thresholds(recipe)
    found = check_quality(folder, step=step, gates=thresholds, client=cluster, threads=threads)
    print(found)
    if not found.passed:
        raise typer.Exit(1)
