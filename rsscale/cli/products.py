"""Commands on what a run has made: assess, quicklook, export, transitions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rsscale.cli.application import command
from rsscale.cli.options import RunPath
from rsscale.errors import RecipeError


@command
def assess(
    folder: RunPath,
    sample: Annotated[
        Path | None,
        typer.Option(
            help="An interpreted probability sample: areas and accuracies, with intervals."
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="A raster of the true classes, or labelled polygons: agreement where it lies, "
            "no areas."
        ),
    ] = None,
    period: Annotated[int | None, typer.Option(help="Which map; the last when omitted.")] = None,
    class_: Annotated[
        str | None, typer.Option("--class", help="Column of the class name, for polygons.")
    ] = None,
    period_column: Annotated[
        str | None, typer.Option(help="Column of the year that a label is true for.")
    ] = None,
    objects: Annotated[
        Path | None,
        typer.Option(
            help="True objects, polygons or points: precision, recall, average precision of the "
            "objects that a step has found."
        ),
    ] = None,
    exclude: Annotated[Path | None, typer.Option(help="Training labels to keep away from.")] = None,
    distance: Annotated[float, typer.Option(help="How far, metres.")] = 1000.0,
    block: Annotated[float, typer.Option(help="Width of an evaluation block, metres.")] = 1000.0,
    span: Annotated[
        str | None, typer.Option(help="With --objects: whose; the last when omitted.")
    ] = None,
    iou: Annotated[
        list[float] | None,
        typer.Option(
            help="With --objects: intersection over union to match; 0.5. May be repeated."
        ),
    ] = None,
    point_distance: Annotated[
        float | None,
        typer.Option(help="With --objects of points: metres; the object must hold the point else."),
    ] = None,
    within: Annotated[
        Path | None,
        typer.Option(help="With --objects: polygons in which the truth is complete."),
    ] = None,
    sizes: Annotated[
        str | None,
        typer.Option(help="With --objects: borders of sizes in m², such as 100,1000; or coco."),
    ] = None,
    matching: Annotated[
        Literal["score", "order"],
        typer.Option(help="With --objects: highest score first, or as they are stored."),
    ] = "score",
    max_detections: Annotated[
        int | None, typer.Option(help="With --objects: the so many of highest score of a class.")
    ] = None,
    objects_layer: Annotated[str | None, typer.Option(help="Layer of the --objects file.")] = None,
    design: Annotated[
        Literal["random"] | None, typer.Option(help="random: points are a simple random sample.")
    ] = None,
    regions: Annotated[
        Path | None,
        typer.Option(help="With --sample, --objects: polygons that get figures of their own."),
    ] = None,
    region_id: Annotated[str | None, typer.Option(help="Column of the regions' names.")] = None,
    regions_layer: Annotated[str | None, typer.Option(help="Layer of the regions' file.")] = None,
    step: Annotated[
        str | None,
        typer.Option(
            help="With --sample: whose classes; those that it was drawn from. With --objects: "
            "whose; the only one that has any."
        ),
    ] = None,
    confidence: Annotated[
        float, typer.Option(help="With --sample, --objects: of the intervals.")
    ] = 0.95,
    map_changed: Annotated[
        bool,
        typer.Option("--map-changed", help="Take a sample of an older map: its strata stay those."),
    ] = False,
) -> None:
    """Measure a map by an interpreted sample or against the truth, or objects against true ones."""
    if sum(one is not None for one in (sample, reference, objects)) != 1:
        raise RecipeError(
            "give one of --sample, an interpreted probability sample, for areas and accuracies of "
            "the whole map; --reference, a raster or polygons of the truth, for agreement there; "
            "--objects, true objects, for scores of the objects that a step has found"
        )
    if objects is not None:
        from rsscale.object_assessment.assess_objects import assess_objects

        print(
            assess_objects(
                folder,
                objects,
                step=step,
                span=span or period,
                truth_layer=objects_layer,
                class_column=class_,
                period_column=period_column,
                iou=iou or (0.5,),
                distance=point_distance,
                within=within,
                regions=regions,
                region_id=region_id,
                regions_layer=regions_layer,
                sizes=_sizes(sizes),
                matching=matching,
                max_detections=max_detections,
                block=block,
                confidence=confidence,
            )
        )
        return
    if sample is not None:
        from rsscale.sample_assessment.assess_sample import assess_sample

        print(
            assess_sample(
                folder,
                sample,
                period=period,
                regions=regions,
                region_id=region_id,
                regions_layer=regions_layer,
                step=step,
                map_changed=map_changed,
                confidence=confidence,
            )
        )
        return
    from rsscale.pipeline.assessment import assess as measure

    if reference is None:  # said above
        return
    accuracy = measure(
        folder,
        reference,
        period=period,
        class_column=class_,
        period_column=period_column,
        exclude=exclude,
        distance=distance,
        block=block,
        design=design,
    )
    print(accuracy)


def _sizes(text: str | None) -> list[float] | Literal["coco"] | None:
    """Borders of sizes, of ``100,1000``."""
    if text is None:
        return None
    if text == "coco":
        return "coco"
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise RecipeError(
            f"--sizes is {text!r}; expected borders in m², such as 100,1000, or coco"
        ) from None


@command
def quicklook(
    folder: RunPath,
    out: Annotated[Path | None, typer.Option(help="PNG; in the run folder when omitted.")] = None,
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
    from rsscale.reporting.named_times import open_named
    from rsscale.runs.run import Run

    if out is None and "://" in folder:
        raise RecipeError(f"{folder} is in a bucket; say with --out where the picture goes")
    run = Run(folder)
    path = out or Path(folder) / "quicklook.png"
    steps = run.state["steps"]
    if step is None and not steps.get("map", {}).get("layers"):
        step = _last_step(steps)  # its maps lie in another run
    if layer is not None or step is not None:
        print(quicklook_layer(open_named(run, step or "map"), path, layer or ""))
        return
    change = open_named(run, "change") if _is_done(steps.get("change"), "change") else None
    # Beside the temporal model's change its own maps: those of single years differ without change.
    years = "change-years" if _is_done(steps.get("change-years"), "classification") else "map"
    print(draw(open_named(run, years), path, change=change))


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
) -> None:
    """Write layers as Cloud Optimized GeoTIFFs, with colours, names and overviews."""
    from rsscale.pipeline.exporting import export as write

    paths = write(folder, to, step=step, layers=layer or (), periods=period or (), partial=partial)
    for path in paths:
        print(path)


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
