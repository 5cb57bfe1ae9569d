"""Command that publishes a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from rsscale.cli.application import command
from rsscale.cli.options import RunPath


@command
def publish(
    folder: RunPath,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="A folder, or s3://….")],
    cogs: Annotated[
        Literal["whole", "tile", "region", "none"],
        typer.Option(help="How GeoTIFFs are cut; none: Zarr only."),
    ] = "whole",
    step: Annotated[list[str] | None, typer.Option(help="Whose layers; all.")] = None,
    layer: Annotated[list[str] | None, typer.Option(help="Which GeoTIFFs; all.")] = None,
    period: Annotated[list[str] | None, typer.Option(help="Which GeoTIFFs; all.")] = None,
    regions: Annotated[Path | None, typer.Option(help="Polygons, for --cogs region.")] = None,
    region_id: Annotated[str | None, typer.Option(help="Column of their id.")] = None,
    regions_layer: Annotated[str | None, typer.Option(help="Layer of their file.")] = None,
    about: Annotated[
        Path | None, typer.Option(help="YAML: title, licence, providers, citation, ….")
    ] = None,
    model: Annotated[bool, typer.Option(help="Publish the models too.")] = True,
    partial: Annotated[
        bool, typer.Option("--partial", help="Also where tiles are not done; they are nodata.")
    ] = False,
    override: Annotated[
        list[str] | None, typer.Option(metavar="GATE", help="A quality gate that may fail.")
    ] = None,
) -> None:
    """Publish a finished run: Zarr, GeoTIFFs, STAC, tables, a data card."""
    from rsscale.publishing.publish import publish as write

    print(
        write(
            folder,
            target,
            cogs=cogs,
            steps=step or (),
            layers=layer or (),
            periods=period or (),
            regions=regions,
            region_id=region_id,
            regions_layer=regions_layer,
            about=about,
            model=model,
            partial=partial,
            override=override or (),
        )
    )
