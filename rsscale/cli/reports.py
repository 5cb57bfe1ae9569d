"""The command that writes the report of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rsscale.cli.application import command
from rsscale.cli.options import RunPath


@command
def report(
    folder: RunPath,
    out: Annotated[
        Path | None, typer.Option(help="The HTML file; report.html in the run folder when omitted.")
    ] = None,
) -> None:
    """Write one page about a run: map, areas, accuracy, change, gates, costs, provenance."""
    from rsscale.run_report.write import report as write

    print(write(folder, out))
