"""Measure a run's maps by an interpreted probability sample."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rsscale.errors import RecipeError
from rsscale.estimation.area_estimates import AreaEstimates
from rsscale.estimation.estimate import Region, estimate_areas
from rsscale.estimation.sample_table import PROBABILITY, SampleTable, read_sample_table
from rsscale.pipeline.assessment import file_digest
from rsscale.plans.plan import RunPlan
from rsscale.reference.zones import Zones
from rsscale.runs.run import Run
from rsscale.sample_assessment.area_files import write_area_files
from rsscale.sample_assessment.layers_of_run import MapLayers
from rsscale.sample_assessment.mapped_classes import unit_areas
from rsscale.sample_assessment.mapped_sample import known, mapped_hectares, mapped_sample
from rsscale.sample_assessment.regions import read_regions, zones_of
from rsscale.sample_assessment.remarks import no_probability_sample, not_sampled, remarks
from rsscale.sample_assessment.sample_file import SampleFile, read_sample_file
from rsscale.sample_assessment.sample_points import sample_points
from rsscale.sample_assessment.unit_checks import check_covered, check_units
from rsscale.store.step_version import is_same_version, span_versions, step_version
from rsscale.survey_estimators.estimator import Intervals
from rsscale.survey_estimators.intervals import CONFIDENCE
from rsscale.survey_estimators.units import Floats


def assess_sample(
    run: Run | str | Path,
    sample: str | Path,
    *,
    period: int | None = None,
    regions: str | Path | None = None,
    region_id: str | None = None,
    regions_layer: str | None = None,
    step: str | None = None,
    map_changed: bool = False,
    confidence: float = CONFIDENCE,
    intervals: Intervals = "adjusted",
) -> AreaEstimates:
    """Estimate accuracies and areas by a sample; write ``areas.json`` and its tables.

    Writes ``areas.json``, ``areas.parquet``, ``areas.csv`` and ``sample.geojson`` into the run's
    folder. Of the maps, the pixels of the units are read, and all pixels are counted by class,
    tile by tile.

    Parameters
    ----------
    run : Run or path
        Whose step is done.
    sample : path
        As ``rsscale design`` wrote it and interpreters filled it, its design record beside it; or
        points with the columns ``reference`` and ``inclusion_probability``.
    period : int, optional
        Which map a single column ``reference`` is for; what the record says, or the last.
    regions : path, optional
        Polygons that get figures of their own, by the same sample.
    region_id : str, optional
        The column of their names.
    regions_layer : str, optional
        Which layer of the file.
    step : str, optional
        Whose classes are measured; those that the sample was drawn from, else the map's.
    map_changed : bool
        Take a sample that was drawn from another version of the map: its strata are then those of
        the older map, and the estimators those of strata that are not the map's classes.
    confidence : float
    intervals : str
        Of areas: ``"adjusted"``, or ``"normal"`` as in the papers.

    Returns
    -------
    AreaEstimates

    Raises
    ------
    RecipeError
        When the sample is no probability sample, was drawn from another version of the map, does
        not cover it, or holds what is no class; each with what to do.
    RunFolderError
        When the step is not done.
    """
    run = run if isinstance(run, Run) else Run(run)
    maps, file = _open(run, Path(sample), step)
    if not map_changed:
        _check_version(run, file)
    references = file.references(maps.periods, None if period is None else str(period))
    check_units(file.row, file.col, maps.plan, file.ids)
    if file.record is None and PROBABILITY not in file.frame.columns:
        raise RecipeError(no_probability_sample(file, maps, references))
    zones = read_regions(regions, region_id, regions_layer, maps.plan.grid, maps.plan.extent)
    table = _table(file, maps, references)  # mistakes are told before all pixels are counted
    hectares = {
        p: mapped_hectares(maps, file, p, zones, is_same=not map_changed) for p in references
    }
    counted = _counted(hectares)
    if file.record is None:
        check_covered(table, counted)
        table = _table(file, maps, references, counted)
    mapped = mapped_sample(run, maps, file, hectares, table.design.hectares)
    estimates = estimate_areas(
        table,
        mapped,
        maps.classes,
        regions=_parts(file, zones, hectares),
        confidence=confidence,
        intervals=intervals,
        notes=remarks(file, zones, mapped, map_changed=map_changed),
    )
    points = sample_points(file, maps, table, mapped)
    head = {**_versions(run, maps, references), "map_changed": map_changed}
    write_area_files(run.folder.storage, estimates, head, _record(file), points)
    return estimates


def _open(run: Run, sample: Path, step: str | None) -> tuple[MapLayers, SampleFile]:
    """The maps that are measured: those that the sample was drawn from, unless a step is named."""
    plan = RunPlan.read(run.folder)
    file = read_sample_file(sample, plan.grid)
    record = file.record
    layer = record.layer if record and step in (None, record.step) else "classification"
    return MapLayers.open(run, plan, step or (record.step if record else "map"), layer), file


def _check_version(run: Run, file: SampleFile) -> None:
    """Refuse a sample of another version of the map."""
    record = file.record
    if record is None:
        return
    known = {"version": record.version, "versions": record.versions}
    if not is_same_version(run.folder, record.step, known):
        now = step_version(run.folder, record.step)
        raise RecipeError(
            f"the sample {file.path.name} was drawn from the version {record.version} of "
            f"{record.step!r}, and the run has {now} now: its strata are those of an older map; "
            "use --map-changed to estimate with these strata, which is right and less precise, or "
            "draw a new sample"
        )


def _table(
    file: SampleFile,
    maps: MapLayers,
    references: Mapping[str, str],
    hectares: float | None = None,
) -> SampleTable:
    return read_sample_table(
        file.frame,
        file.record.design if file.record else None,
        maps.classes,
        references=references,
        seconds=file.seconds(dict(references)),
        hectares=hectares,
        place=file.place,
        size=unit_areas(maps.plan.grid, file.row, file.col),
    )


def _counted(hectares: Mapping[str, Floats]) -> float:
    """Mapped hectares of all classes in the last period."""
    period, last = list(hectares.items())[-1]
    counted = float(last[0, :-1].sum())
    if counted <= 0:
        raise RecipeError(
            f"the map of {period} has no pixel with a class; run it again, or name another step"
        )
    return counted


def _parts(file: SampleFile, zones: Zones | None, hectares: Mapping[str, Floats]) -> list[Region]:
    """The units of each region, and what is mapped there."""
    some = zones_of(file.place, zones) if zones else {}
    return [
        Region(name, inside, {p: known(table[1 + k]) for p, table in hectares.items()})
        for k, (name, inside) in enumerate(some.items())
    ]


def _record(file: SampleFile) -> dict[str, Any]:
    """What ``areas.json`` says of the sample's file."""
    return {
        "path": str(file.path),
        "sha256": file_digest(file.path),
        "record": file.record is not None,
        "not_sampled": [] if file.record is None else list(not_sampled(file.record)),
    }


def _versions(run: Run, maps: MapLayers, references: Mapping[str, str]) -> dict[str, Any]:
    """What ``areas.json`` says of the map: its version, and those of the spans that it is of."""
    step = maps.step.step
    return {
        "version": step_version(run.folder, step),
        "versions": {
            span: version
            for span, version in span_versions(run.folder, step).items()
            if not {*span.split("-")}.isdisjoint(references)
        },
        "step": step,
        "layer": maps.layer.name,
        "assessed": datetime.now(UTC).isoformat(timespec="seconds"),
    }
