"""Measure the objects of a run against true ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import shapely

from rsscale.errors import RecipeError, nearest
from rsscale.geo.ground import ground_scale
from rsscale.object_assessment.figures_file import keep_figures
from rsscale.object_assessment.objects_of_step import AssessedStep
from rsscale.object_assessment.trained_ground import TrainedGround
from rsscale.object_files.step_objects import Bounds
from rsscale.object_scores.matching import Rule
from rsscale.object_scores.object_scores import ObjectScores
from rsscale.object_scores.score import score_objects
from rsscale.pipeline.assessment import file_digest
from rsscale.reference.class_column import years_in
from rsscale.reference.vector_file import read_vector_file
from rsscale.runs.run import Run
from rsscale.sample_assessment.regions import read_regions
from rsscale.survey_estimators.intervals import CONFIDENCE

if TYPE_CHECKING:
    import geopandas as gpd


def assess_objects(
    run: Run | str | Path,
    truth: str | Path,
    *,
    step: str | None = None,
    span: str | int | None = None,
    truth_layer: str | None = None,
    class_column: str | None = None,
    period_column: str | None = None,
    iou: float | Sequence[float] = (0.5,),
    distance: float | None = None,
    within: str | Path | None = None,
    trained: bool = False,
    regions: str | Path | None = None,
    region_id: str | None = None,
    regions_layer: str | None = None,
    sizes: Sequence[float] | Literal["coco"] | None = None,
    matching: Rule = "score",
    max_detections: int | None = None,
    block: float = 1000.0,
    resamples: int = 1000,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> ObjectScores:
    """Score the objects of a step; write ``objects-accuracy.json`` into the run's folder.

    Only what lies inside the run's area counts, by the centre of the true objects, and not where
    the model of the step was trained. Figures that the file has of other steps and spans are kept.

    Parameters
    ----------
    run : Run or path
        Whose step is done.
    truth : path
        True objects: polygons or points of any vector file, in any CRS.
    step : str, optional
        Which writes objects; the only one of these when omitted.
    span : str or int, optional
        Whose objects; the last when omitted.
    truth_layer : str, optional
        Of the file, where it has several.
    class_column : str, optional
        Of the truth: names or values of classes. All objects are of one class when omitted.
    period_column : str, optional
        Of the year that a true object is there; the recipe's ``train.period_column`` where the
        truth has it. Only objects of the span's year count, of a pair of years the later one.
    within : path, optional
        Polygons in which the truth is complete; all of the run's area when omitted.
    trained : bool
        Also count objects where the model was trained and validated. Else they are left out, as the
        record of its training has the places, and what was detected there.
    regions : path, optional
        Polygons that get figures of their own.
    region_id, regions_layer : str, optional
        The column that names them, and which layer of the file.
    iou, distance, sizes, matching, max_detections, block, resamples, confidence, seed
        As of :func:`rsscale.score_objects`; a pixel of COCO's sizes is one of the run's grid.

    Returns
    -------
    ObjectScores

    Raises
    ------
    RecipeError
        When the step writes no objects, or the truth can't be used; see
        :func:`rsscale.score_objects`.
    RunFolderError
        When the run has no such step, or it is not done.
    """
    run = run if isinstance(run, Run) else Run(run)
    objects = AssessedStep.open(run, step, span)
    path = Path(truth)
    given = _read(path, "true objects", truth_layer)
    period_column = period_column or _shared_column(objects, given)
    given = _of_span(given, period_column, objects.span, path)
    zones, parts = _regions(objects, regions, region_id, regions_layer)
    area, files = _area(objects, within)
    crs = objects.plan.grid.crs
    ground, true = TrainedGround.of(objects), given.to_crs(crs)
    remarks = ground.remarks(area, true, counts=trained)
    area = area if trained else ground.left_out(area, true)
    scores = score_objects(
        objects.read(_reach(area, given, crs)),
        given,
        iou=iou,
        distance=distance,
        class_column=class_column,
        classes=objects.classes or None,
        within=area,
        regions=zones,
        region_id=region_id,
        sizes=sizes,
        resolution=_metres_of_a_pixel(objects, area),
        matching=matching,
        max_detections=max_detections,
        block=block,
        resamples=resamples,
        confidence=confidence,
        seed=seed,
    )
    scores = replace(scores, notes=(*remarks, *scores.notes, *objects.notes))
    record = {**_file(path), "class_column": class_column, "period_column": period_column}
    files = {"truth": record, **files, **parts, **ground.record(counts=trained)}
    keep_figures(run.folder, objects, scores, files)
    return scores


def _metres_of_a_pixel(objects: AssessedStep, area: shapely.Geometry) -> float:
    """On the ground, in the middle of an area."""
    grid, place = objects.plan.grid, area.representative_point()
    scale = ground_scale(grid.crs, place.x, place.y)
    return float(grid.resolution * (scale.x * scale.y) ** 0.5)


def _file(path: Path) -> dict[str, Any]:
    """What the figures say of a file that they were made of."""
    return {"path": str(path), "sha256": file_digest(path)}


def _read(path: Path, subject: str, layer: str | None = None) -> gpd.GeoDataFrame:
    if not path.exists():
        raise RecipeError(f"there are no {subject} at {path}")
    return read_vector_file(path, f"{subject} {path.name}", layer)


def _shared_column(objects: AssessedStep, truth: gpd.GeoDataFrame) -> str | None:
    """The column of the year that labels of the training have, where the truth has it too."""
    train = objects.plan.recipe.train
    column = train.period_column if train else None
    return column if column in truth.columns else None


def _of_span(
    truth: gpd.GeoDataFrame, column: str | None, span: str, path: Path
) -> gpd.GeoDataFrame:
    """True objects of the span's year."""
    if column is None:
        return truth
    columns = [str(name) for name in truth.columns if name != truth.geometry.name]
    if column not in columns:
        raise RecipeError(
            f"true objects {path.name} have no column {column!r} of the year; there are {columns}"
            f"{nearest(column, columns)}"
        )
    years = np.array(years_in(truth[column], path), np.int64)
    year = span.rpartition("-")[2]
    if not year.isdigit():
        raise RecipeError(
            f"the objects are of {span!r}, and the true ones of the years in {column!r}; leave out "
            "the column, and give a file of the objects that count"
        )
    chosen = truth[years == int(year)]
    if not len(chosen):
        raise RecipeError(
            f"true objects {path.name} have none of {year} in {column!r}, only of "
            f"{sorted(set(years.tolist()))}"
        )
    return chosen


def _area(
    objects: AssessedStep, within: str | Path | None
) -> tuple[shapely.Geometry, dict[str, Any]]:
    """Where objects count, in the grid's CRS."""
    plan = objects.plan
    area = plan.grid.project(plan.area).geom
    if within is None:
        return area, {}
    path = Path(within)
    frame = _read(path, "areas of truth").to_crs(plan.grid.crs)
    shape = shapely.intersection(shapely.union_all(frame.geometry.to_numpy()), area)
    if shapely.area(shape) <= 0:
        raise RecipeError(
            f"the areas of truth {path.name} share no area with the run; expected polygons in "
            "which the truth is complete"
        )
    return shape, {"within": _file(path)}


def _reach(area: shapely.Geometry, truth: gpd.GeoDataFrame, crs: str) -> Bounds:
    """Bounds of all that may match a true object whose centre is in the area."""
    sides = truth.to_crs(crs).bounds.to_numpy().reshape(-1, 4)
    most = float(
        np.nanmax(sides[:, 2:] - sides[:, :2], initial=0.0, where=np.isfinite(sides[:, 2:]))
    )
    x0, y0, x1, y1 = area.bounds
    return x0 - most, y0 - most, x1 + most, y1 + most


def _regions(
    objects: AssessedStep, path: str | Path | None, column: str | None, layer: str | None
) -> tuple[gpd.GeoDataFrame | None, dict[str, Any]]:
    import geopandas as gpd

    plan = objects.plan
    zones = read_regions(path, column, layer, plan.grid, plan.extent)
    if zones is None or path is None or column is None:
        return None, {}
    frame = gpd.GeoDataFrame({column: zones.ids}, geometry=list(zones.shapes), crs=plan.grid.crs)
    return frame, {"regions": _file(Path(path))}
