"""Command that writes the objects of a run into one file: objects."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rsscale.cli.application import command
from rsscale.cli.options import RunPath


@command
def objects(
    folder: RunPath,
    to: Annotated[
        Path,
        typer.Option(
            help="A file: .parquet (GeoParquet), .gpkg, .fgb (FlatGeobuf), .geojson or .pmtiles."
        ),
    ],
    step: Annotated[
        str | None, typer.Option(help="Needed where several steps hold objects.")
    ] = None,
    span: Annotated[str | None, typer.Option(help="Such as 2023; all when omitted.")] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Also where tiles are not done.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is there.")
    ] = False,
) -> None:
    """Write the objects that a step has found into one file, for GIS and databases."""
    from rsscale.object_files.export_objects import export_objects

    print(export_objects(folder, to, step=step, span=span, partial=partial, overwrite=overwrite))
