"""Commands on what a run has made: quicklook, export, objects, transitions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rsscale.cli.application import command
from rsscale.cli.options import RunPath
from rsscale.errors import RecipeError


@command
def quicklook(
    folder: RunPath,
    out: Annotated[
        Path | None,
        typer.Option(
            help="PNG; quicklook.png in the run folder when omitted, of a step or layer with its "
            "name."
        ),
    ] = None,
    step: Annotated[
        str | None,
        typer.Option(
            help="Whose layer; when omitted the map, and the change: where the temporal model "
            "has maps of each year, those."
        ),
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="Another layer than the classes, e.g. confidence.")
    ] = None,
) -> None:
    """Draw a run's maps with a legend, or another layer."""
    from rsscale.pictures.layer_look import quicklook_layer
    from rsscale.pictures.quicklook import quicklook as draw
    from rsscale.reporting.named_times import open_named, source_step
    from rsscale.runs.run import Run

    if out is None and "://" in folder:
        raise RecipeError(f"{folder} is in a bucket; say with --out where the picture goes")
    run = Run(folder)
    steps = run.state["steps"]
    named = "-".join(["quicklook", *(name for name in (step, layer) if name)])
    path = out or Path(folder) / f"{named}.png"
    if step is None and not steps.get("map", {}).get("layers"):
        step = _last_step(steps)  # its maps lie in another run
    if layer is not None or step is not None:
        print(quicklook_layer(open_named(run, step or "map"), path, layer or ""))
        return
    change = open_named(run, "change") if _is_done(steps.get("change"), "change") else None
    # Beside the temporal model's change its own maps: those of single years differ without change.
    if _is_done(steps.get("change-years"), "classification"):
        source = source_step(run, "change")
        years, observed = open_named(run, "change-years"), open_named(run, source or "map")
        name = years.classification.attrs.get("long_name", "change-years")
        title = ": ".join(part for part in (observed.attrs.get("title"), name) if part)
        print(draw(years, path, title=title, change=change, observed=observed if source else None))
    else:
        print(draw(open_named(run, "map"), path, change=change))


def _last_step(steps: dict[str, Any]) -> str:
    """The change of a run without a map, else its last step that has layers."""
    with_layers = [name for name, step in steps.items() if step.get("layers")]
    return "change" if "change" in with_layers or not with_layers else with_layers[-1]


def _is_done(step: dict[str, Any] | None, name: str) -> bool:
    """Whether a run has a step that writes a layer, and all of its tiles."""
    if step is None or not any(layer["name"] == name for layer in step.get("layers", ())):
        return False
    return bool(step["tiles"]["done"] == step["tiles"]["total"])


@command
def export(
    folder: RunPath,
    to: Annotated[Path, typer.Option(help="A folder, or NAME.tif for one layer and period.")],
    step: Annotated[str, typer.Option(help="Whose layers.")] = "map",
    layer: Annotated[list[str] | None, typer.Option(help="All when omitted.")] = None,
    period: Annotated[list[str] | None, typer.Option(help="All when omitted.")] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Also where tiles are not done; they are nodata.")
    ] = False,
    whole_tiles: Annotated[
        bool,
        typer.Option(
            "--whole-tiles", help="Files as wide as whole tiles, where they are cut to the area."
        ),
    ] = False,
) -> None:
    """Write layers as Cloud Optimized GeoTIFFs, with colours, names and overviews."""
    from rsscale.pipeline.exporting import export as write

    paths = write(
        folder,
        to,
        step=step,
        layers=layer or (),
        periods=period or (),
        partial=partial,
        whole_tiles=whole_tiles,
    )
    for path in paths:
        print(path)


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


@command
def transitions(
    folder: RunPath,
    to: Annotated[Path, typer.Option(help="A folder.")],
    step: Annotated[str, typer.Option(help="A step of kind transitions.")] = "transitions",
    zone: Annotated[
        list[str] | None, typer.Option(help="Also a matrix and a picture of this polygon, by id.")
    ] = None,
) -> None:
    """Write what became what: CSV, Parquet, and a picture of the transition matrix."""
    from rsscale.reporting.transition_files import write_transitions

    for path in write_transitions(folder, to, step=step, zones=zone or ()):
        print(path)
