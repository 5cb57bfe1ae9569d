"""Where the model of a training belongs, and what it is made from: labels, imagery and dates."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import shapely
from odc.geo.geom import Geometry

from rsscale.change_passes.network import ChangeNetworkPass
from rsscale.errors import RecipeError
from rsscale.geo.grid import Grid
from rsscale.geo.ground import pixel_width
from rsscale.geo.vector_file import split_layer
from rsscale.inputs.windows import span
from rsscale.layers import Period, YearPair, year_of
from rsscale.learn.models import Model, save_model
from rsscale.object_passes.detecting import DetectStep
from rsscale.object_training.report import ObjectReport
from rsscale.recipe import InputRecipe, Recipe, TrainRecipe
from rsscale.reference.labels import Labels
from rsscale.sampling.label_chips import label_periods, train_settings
from rsscale.store.run_folder import STATE
from rsscale.training.report import TrainingReport

AnyReport = TypeVar("AnyReport", TrainingReport, ObjectReport)


def model_folder(recipe: Recipe) -> Path:
    """Where the model that a recipe trains belongs: its ``model``, or that of its step.

    Raises
    ------
    RecipeError
        When the recipe names none, or several.
    """
    kind = _kind_with_model(recipe)
    if kind is not None:
        steps = [step for step in recipe.all_steps.values() if step.kind == kind]
        named = {str(step.options.get("model")) for step in steps}
        if len(named) != 1:
            raise RecipeError(
                f"the recipe has {len(steps)} steps of kind {kind!r}, with the models "
                f"{sorted(named)}; name one with 'model', or say with --out where the trained one "
                "goes"
            )
        return Path(recipe.path(named.pop()))
    if not isinstance(recipe.model, str):
        named_by = "names a model for each period" if recipe.model else "has no 'model'"
        raise RecipeError(f"the recipe {named_by}; say with --out where the trained one goes")
    folder = Path(recipe.model)
    if (folder.parent.parent / STATE).exists():
        raise RecipeError(
            f"the model {folder} is what a run was made from, and stays as it is; say with --out "
            "where the trained one goes"
        )
    return folder


def _kind_with_model(recipe: Recipe) -> str | None:
    """The kind of the step whose model is trained; None where it is the map's."""
    if recipe.train and recipe.train.change:
        return ChangeNetworkPass.kind
    kinds = {step.kind for step in recipe.steps.values()}
    return DetectStep.kind if recipe.model is None and DetectStep.kind in kinds else None


def save_trained(
    model: Model,
    report: AnyReport,
    folder: Path,
    recipe: Recipe,
    labels: Labels,
    *,
    original: Recipe | None = None,
) -> AnyReport:
    """Save a trained model with its report, which is given what the model is made from.

    Parameters
    ----------
    model : Model
    report : TrainingReport or ObjectReport
    folder : Path
    recipe : Recipe
        As it is trained: its inputs are those of the model.
    labels : Labels
        Of a detector the ground on which all objects are labelled.
    original : Recipe, optional
        As its writer has it, which the report keeps; when omitted ``recipe``.

    Returns
    -------
    TrainingReport or ObjectReport
        The same with its provenance.
    """
    settings = train_settings(recipe)
    periods = label_periods(recipe, labels)
    made_from = provenance(recipe, settings, periods)
    made_from["recipe"] = (original or recipe).to_yaml()
    report = replace(report, background=replace(report.background, provenance=made_from))
    bounds = labels.frame.to_crs("EPSG:4326").total_bounds
    save_model(
        model,
        folder,
        report=report,
        geometry=shapely.geometry.mapping(shapely.box(*bounds)),
        **imaged(periods),
        **({"license": settings.license} if settings.license else {}),
    )
    return report


def label_pixel_width(grid: Grid, labels: Labels) -> float:
    """Width of a pixel amid the labels, metres on the ground or degrees."""
    around = grid.box(Geometry(shapely.box(*labels.frame.total_bounds), labels.frame.crs))
    return pixel_width(grid.geobox_of(around))


def provenance(recipe: Recipe, settings: TrainRecipe, periods: Sequence[Period]) -> dict[str, Any]:
    """What a model is made from: labels with their digest, imagery and its dates, the recipe.

    Parameters
    ----------
    recipe : Recipe
        As it is trained: its inputs are those of the model.
    settings : TrainRecipe
    periods : sequence of int or YearPair
        What the labels are true for.
    """
    spans = [p.span if isinstance(p, YearPair) else p for p in periods]
    return {
        "labels": _label_file(Path(split_layer(settings.labels)[0])),
        "periods": spans,
        "inputs": {
            name: _imagery(inner, [year_of(period, name) for period in periods])
            for name, inner in recipe.inputs.items()
        },
        **({"license": settings.license} if settings.license else {}),
    }


def _label_file(path: Path) -> dict[str, Any]:
    """The name of a file of labels, and its digest; of a folder, such as a geodatabase, none."""
    if not path.is_file():
        return {"file": path.name}
    with path.open("rb") as file:
        return {"file": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _imagery(imagery: InputRecipe, years: Sequence[int]) -> dict[str, Any]:
    """Collections and dates that items were searched for."""
    spans = [span(imagery, year) for year in years]
    first, last = min(start for start, _ in spans), max(end for _, end in spans)
    dates = {} if imagery.static else {"first": f"{first:%Y-%m-%d}", "last": f"{last:%Y-%m-%d}"}
    return {"collection": imagery.collection, "bands": list(imagery.bands), **dates}


def imaged(periods: Sequence[Period]) -> dict[str, str]:
    """When training imagery was taken: STAC's properties for a span of time."""
    years = [year for p in periods for year in (p if isinstance(p, YearPair) else (p,))]
    return {
        "start_datetime": f"{min(years):04d}-01-01T00:00:00Z",
        "end_datetime": f"{max(years):04d}-12-31T23:59:59Z",
    }
