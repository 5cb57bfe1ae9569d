"""The command that measures a map or its objects: assess."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rsscale.cli.application import command
from rsscale.cli.options import RunPath
from rsscale.errors import RecipeError


@dataclass(frozen=True)
class _Measure:
    """A function that measures a run against one kind of reference, and the options it takes.

    Attributes
    ----------
    function : str
        ``module:name``, imported when it is needed; its arguments are the run and the reference.
    arguments : mapping
        Of a further option's name to the argument of the function.
    """

    function: str
    arguments: Mapping[str, str]

    def __call__(self, folder: str, reference: Path, options: Mapping[str, Any]) -> object:
        module, name = self.function.split(":")
        arguments = {self.arguments[option]: value for option, value in options.items()}
        return getattr(import_module(module), name)(folder, reference, **arguments)


_REGIONS = {
    "--regions": "regions",
    "--region-id": "region_id",
    "--regions-layer": "regions_layer",
}
_MEASURES = {
    "--sample": _Measure(
        "rsscale.sample_assessment.assess_sample:assess_sample",
        {
            "--period": "period",
            "--step": "step",
            "--map-changed": "map_changed",
            "--confidence": "confidence",
            **_REGIONS,
        },
    ),
    "--reference": _Measure(
        "rsscale.pipeline.assessment:assess",
        {
            "--period": "period",
            "--class": "class_column",
            "--period-column": "period_column",
            "--exclude": "exclude",
            "--distance": "distance",
            "--block": "block",
            "--design": "design",
        },
    ),
    "--objects": _Measure(
        "rsscale.object_assessment.assess_objects:assess_objects",
        {
            "--step": "step",
            "--span": "span",
            "--period": "span",
            "--objects-layer": "truth_layer",
            "--class": "class_column",
            "--period-column": "period_column",
            "--iou": "iou",
            "--point-distance": "distance",
            "--within": "within",
            "--trained": "trained",
            "--sizes": "sizes",
            "--matching": "matching",
            "--max-detections": "max_detections",
            "--block": "block",
            "--confidence": "confidence",
            **_REGIONS,
        },
    ),
}


_Sample = Annotated[
    Path | None,
    typer.Option(help="An interpreted probability sample: areas and accuracies, with intervals."),
]
_Reference = Annotated[
    Path | None,
    typer.Option(
        help="A raster of the true classes, or labelled polygons: agreement where it lies, "
        "no areas."
    ),
]
_Period = Annotated[int | None, typer.Option(help="Which map; the last when omitted.")]
_Class = Annotated[
    str | None, typer.Option("--class", help="Column of the class name, for polygons.")
]
_PeriodColumn = Annotated[
    str | None, typer.Option(help="Column of the year that a label is true for.")
]
_Objects = Annotated[
    Path | None,
    typer.Option(
        help="True objects, polygons or points: precision, recall, average precision of the "
        "objects that a step has found."
    ),
]
_Exclude = Annotated[
    Path | None, typer.Option(help="With --reference: training labels to keep away from.")
]
_Distance = Annotated[float | None, typer.Option(help="With --reference: how far, metres; 1000.")]
_Block = Annotated[float | None, typer.Option(help="Width of an evaluation block, metres; 1000.")]
_Span = Annotated[str | None, typer.Option(help="With --objects: whose; the last when omitted.")]
_Iou = Annotated[
    list[float] | None,
    typer.Option(help="With --objects: intersection over union to match; 0.5. May be repeated."),
]
_PointDistance = Annotated[
    float | None,
    typer.Option(help="With --objects of points: metres; the object must hold the point else."),
]
_Within = Annotated[
    Path | None,
    typer.Option(help="With --objects: polygons in which the truth is complete."),
]
_Trained = Annotated[
    bool,
    typer.Option("--trained", help="With --objects: count them also where the model was trained."),
]
_Sizes = Annotated[
    str | None,
    typer.Option(help="With --objects: borders of sizes in m², such as 100,1000; or coco."),
]
_Matching = Annotated[
    Literal["score", "order"] | None,
    typer.Option(help="With --objects: score, highest first; order, as they are stored."),
]
_MaxDetections = Annotated[
    int | None, typer.Option(help="With --objects: the so many of highest score of a class.")
]
_ObjectsLayer = Annotated[str | None, typer.Option(help="Layer of the --objects file.")]
_Design = Annotated[
    Literal["random"] | None,
    typer.Option(help="With --reference: random, points are a simple random sample."),
]
_Regions = Annotated[
    Path | None,
    typer.Option(help="With --sample, --objects: polygons that get figures of their own."),
]
_RegionId = Annotated[str | None, typer.Option(help="Column of the regions' names.")]
_RegionsLayer = Annotated[str | None, typer.Option(help="Layer of the regions' file.")]
_Step = Annotated[
    str | None,
    typer.Option(
        help="With --sample: whose classes; those that it was drawn from. With --objects: "
        "whose; the only one that has any."
    ),
]
_Confidence = Annotated[
    float | None, typer.Option(help="With --sample, --objects: of the intervals; 0.95.")
]
_MapChanged = Annotated[
    bool,
    typer.Option("--map-changed", help="Take a sample of an older map: its strata stay those."),
]


@command
def assess(
    folder: RunPath,
    sample: _Sample = None,
    reference: _Reference = None,
    period: _Period = None,
    class_: _Class = None,
    period_column: _PeriodColumn = None,
    objects: _Objects = None,
    exclude: _Exclude = None,
    distance: _Distance = None,
    block: _Block = None,
    span: _Span = None,
    iou: _Iou = None,
    point_distance: _PointDistance = None,
    within: _Within = None,
    trained: _Trained = False,
    sizes: _Sizes = None,
    matching: _Matching = None,
    max_detections: _MaxDetections = None,
    objects_layer: _ObjectsLayer = None,
    design: _Design = None,
    regions: _Regions = None,
    region_id: _RegionId = None,
    regions_layer: _RegionsLayer = None,
    step: _Step = None,
    confidence: _Confidence = None,
    map_changed: _MapChanged = False,
) -> None:
    """Measure a map by an interpreted sample or against the truth, or objects against true ones."""
    kind, truth = _reference({"--sample": sample, "--reference": reference, "--objects": objects})
    options = {
        "--period": period,
        "--class": class_,
        "--period-column": period_column,
        "--exclude": exclude,
        "--distance": distance,
        "--block": block,
        "--span": span,
        "--iou": iou or None,
        "--point-distance": point_distance,
        "--within": within,
        "--trained": trained or None,
        "--sizes": _sizes(sizes),
        "--matching": matching,
        "--max-detections": max_detections,
        "--objects-layer": objects_layer,
        "--design": design,
        "--regions": regions,
        "--region-id": region_id,
        "--regions-layer": regions_layer,
        "--step": step,
        "--confidence": confidence,
        "--map-changed": map_changed or None,
    }
    given = {option: value for option, value in options.items() if value is not None}
    _check_options(kind, given)
    print(_MEASURES[kind](folder, truth, given))


def _reference(files: Mapping[str, Path | None]) -> tuple[str, Path]:
    """The option that names the reference, and its file."""
    given = [(option, file) for option, file in files.items() if file is not None]
    if len(given) != 1:
        raise RecipeError(
            "give one of --sample, an interpreted probability sample, for areas and accuracies of "
            "the whole map; --reference, a raster or polygons of the truth, for agreement there; "
            "--objects, true objects, for scores of the objects that a step has found"
        )
    return given[0]


def _check_options(kind: str, given: Mapping[str, Any]) -> None:
    """Refuse options that would do nothing with this kind of reference."""
    for option in given:
        if option not in _MEASURES[kind].arguments:
            others = [other for other, m in _MEASURES.items() if option in m.arguments]
            raise RecipeError(
                f"{option} does nothing with {kind}: it goes with {' or '.join(others)}; leave it "
                "out"
            )
    if {"--period", "--span"} <= set(given):
        raise RecipeError("--period and --span both say whose objects; give one of them")


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
