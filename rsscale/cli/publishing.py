"""Commands on a finished run, for those who look at it: gates, report, publish, view."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

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
    quality = check_quality(folder, step=step, gates=thresholds, client=cluster, threads=threads)
    print(quality)
    if not quality.passed:
        raise typer.Exit(1)


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


@command
def view(
    folder: RunPath,
    port: Annotated[int, typer.Option(help="At 127.0.0.1; 0 takes any that is free.")] = 0,
    imagery: Annotated[
        bool,
        typer.Option(
            "--imagery", help="First make a pyramid of the imagery, to compare the map with."
        ),
    ] = False,
    stretch: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="LOW HIGH",
            help="What becomes black and white in the imagery, in the values of the composite; "
            "from a sample of the product when omitted.",
        ),
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser", help="Also open the page in the browser.")
    ] = False,
) -> None:
    """Look at a run's maps in the browser; Ctrl-C ends it."""
    from rsscale.cluster.signals import sigterm_interrupts
    from rsscale.viewer.view import view as serve

    viewer = serve(folder, port=port, imagery=imagery, stretch=stretch)
    # SIGTERM as Ctrl-C, so that what was made for the page is removed.
    with suppress(KeyboardInterrupt), sigterm_interrupts("terminated"), viewer:
        for note in viewer.notes:
            print(note)
        print(f"{viewer.url}  (Ctrl-C ends it)", flush=True)
        if browser:
            import webbrowser

            webbrowser.open(viewer.url)
        viewer.wait()
