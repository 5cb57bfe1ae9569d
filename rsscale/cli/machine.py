"""Commands on this machine: doctor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from rsscale.cli.application import command


@command
def doctor(
    recipe: Annotated[
        Path | None, typer.Argument(metavar="[RECIPE]", help="Its catalogues are asked, too.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where runs are to be written.")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="All of it, for a report.")] = False,
) -> None:
    """Tell whether this machine has what runs need; ends with 1 where it has not."""
    from rsscale.diagnosis.diagnose import diagnose

    diagnosis = diagnose(recipe, folder=out)
    print(json.dumps(diagnosis.to_dict(), indent=1) if as_json else diagnosis)
    if diagnosis.problems:
        raise typer.Exit(1)
