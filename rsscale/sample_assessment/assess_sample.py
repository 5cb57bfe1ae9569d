"""Measure a run's maps by an interpreted probability sample."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rsscale.errors import RecipeError
from rsscale.estimation.area_estimates import AreaEstimates
from rsscale.estimation.estimate import MappedClasses, Region, estimate_areas
from rsscale.estimation.estimator import Intervals
from rsscale.estimation.intervals import CONFIDENCE
from rsscale.estimation.sample_table import PROBABILITY, SampleTable, interpreted, read_sample_table
from rsscale.estimation.units import Floats
from rsscale.legend.class_codes import class_positions
from rsscale.pipeline.assessment import file_digest
from rsscale.reference.zones import Zones, read_zones
from rsscale.runs.run import Run
from rsscale.sample_assessment.area_files import write_area_files
from rsscale.sample_assessment.layers_of_run import MapLayers, area_tiles, change_layer
from rsscale.sample_assessment.mapped_classes import check_inside, unit_areas
from rsscale.sample_assessment.regions import check_apart, zones_of
from rsscale.sample_assessment.sample_file import SampleFile, read_sample_file
from rsscale.store.step_version import step_version

# Hectares of the counted map and of the design may differ by rounding alone.
_SAME = 1e-6


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
    intervals: Intervals = "student",
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
        Of areas: ``"student"``, or ``"normal"`` as in the papers.

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
    _check_version(run, maps, file, step, map_changed=map_changed)
    references = file.references(maps.periods, None if period is None else str(period))
    check_inside(file.row, file.col, maps.plan.extent, _ids(file))
    if file.record is None and PROBABILITY not in file.frame.columns:
        raise RecipeError(_refusal(file, maps, references))
    zones = _zones(regions, region_id, regions_layer, maps)
    table = _table(file, maps, references)  # mistakes are told before all pixels are counted
    hectares = {p: maps.of(p).hectares(zones, area_tiles(maps.plan)) for p in references}
    if file.record is None:
        table = _table(file, maps, references, float(list(hectares.values())[-1][0, :-1].sum()))
    mapped = _mapped(run, maps, file, hectares, table.design.hectares)
    some = zones_of(file.place, zones) if zones else {}
    parts = [
        Region(name, inside, {p: _known(one[1 + k]) for p, one in hectares.items()})
        for k, (name, inside) in enumerate(some.items())
    ]
    found = estimate_areas(
        table,
        mapped,
        maps.classes,
        regions=parts,
        confidence=confidence,
        intervals=intervals,
        notes=_notes(file, zones, table, map_changed=map_changed),
    )
    record = {
        "path": str(file.path),
        "sha256": file_digest(file.path),
        "record": file.record is not None,
    }
    head = {
        "version": step_version(run.folder, maps.step),
        "step": maps.step,
        "assessed": datetime.now(UTC).isoformat(timespec="seconds"),
        "map_changed": map_changed,
    }
    write_area_files(run.folder.storage, found, head, record, _points(file, maps, table, mapped))
    return found


def _open(run: Run, sample: Path, step: str | None) -> tuple[MapLayers, SampleFile]:
    first = MapLayers.open(run, step or "map", "classification") if step else None
    from rsscale.runs.plan import RunPlan

    file = read_sample_file(sample, RunPlan.read(run.folder).grid)
    if first is None:
        record = file.record
        first = MapLayers.open(
            run, record.step if record else "map", record.layer if record else "classification"
        )
    return first, file


def _check_version(
    run: Run, maps: MapLayers, file: SampleFile, step: str | None, *, map_changed: bool
) -> None:
    """Refuse a sample of another version of the map, unless that is meant."""
    record = file.record
    if record is None or map_changed:
        return
    now = step_version(run.folder, record.step)
    if record.version != now:
        raise RecipeError(
            f"the sample {file.path.name} was drawn from the version {record.version} of "
            f"{record.step!r}, and the run has {now} now: its strata are those of an older map; "
            "use --map-changed to estimate with these strata, which is right and less precise, or "
            "draw a new sample"
        )
    del maps, step


def _ids(file: SampleFile) -> npt.NDArray[Any]:
    frame = file.frame
    found: npt.NDArray[Any] = (
        frame["id"] if "id" in frame.columns else frame.index.to_series()
    ).to_numpy()
    return found


def _refusal(file: SampleFile, maps: MapLayers, references: Mapping[str, str]) -> str:
    """What is said of points that are no probability sample, with what they do tell."""
    period, column = list(references.items())[-1]
    ids = _ids(file).tolist()
    reference = class_positions(file.frame[column].tolist(), maps.classes, column=column, ids=ids)
    used = interpreted(reference)
    mapped = maps.of(period).at(file.row, file.col)
    agree = int((mapped[used] == reference[used]).sum())
    share = f"{agree:,} of {int(used.sum()):,}" + (
        f" ({agree / used.sum():.3f})" if used.any() else ""
    )
    return (
        f"{file.path.name} is no probability sample: beside it lies no design record "
        f"({file.path.name}.design.json), and it has no column {PROBABILITY!r}, so that nobody "
        "knows what each unit stands for; there are no areas, no accuracies of the map and no "
        "intervals. "
        f"What may be told is the agreement of these units: {share} have the class of the map of "
        f"{period}. Draw a sample with rsscale design"
    )


def _zones(
    regions: str | Path | None, column: str | None, layer: str | None, maps: MapLayers
) -> Zones | None:
    """Regions, which may not overlap: else a unit counts in two of them."""
    if regions is None:
        return None
    if column is None:
        raise RecipeError("say with --region-id which column of the regions holds their names")
    path = Path(regions)
    if not path.exists():
        raise RecipeError(f"there are no regions at {path}")
    zones = read_zones(path, column, maps.plan.grid, layer)
    if not zones.near(maps.plan.extent):
        raise RecipeError(zones.far_away)
    check_apart(zones, path.name)
    return zones


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


def _mapped(
    run: Run, maps: MapLayers, file: SampleFile, hectares: Mapping[str, Floats], total: float
) -> MappedClasses:
    """The maps at the units, and the hectares of their classes where these are the population."""

    def is_whole(counted: Floats) -> bool:
        return abs(float(counted[:-1].sum()) - total) <= _SAME * total

    change, of_change = {}, {}
    for before, after in zip(list(hectares), list(hectares)[1:], strict=False):
        span = f"{before}-{after}"
        layer = change_layer(run, maps.plan, maps.step, span)
        if layer is not None:
            change[span] = layer.at(file.row, file.col)
            of_change[span] = layer.hectares(None, area_tiles(maps.plan))[0]
    counted = {p: one[0] for p, one in hectares.items()}
    return MappedClasses(
        {p: maps.of(p).at(file.row, file.col) for p in hectares},
        {p: _known(one) for p, one in counted.items()},
        change,
        {span: _known(one) for span, one in of_change.items()},
        frozenset(name for name, one in (counted | of_change).items() if is_whole(one)),
    )


def _known(counted: Floats) -> Floats:
    """Hectares of classes; pixels without one are not of the population that was drawn from."""
    found = counted.copy()
    found[-1] = 0.0
    return found


def _notes(
    file: SampleFile, zones: Zones | None, table: SampleTable, *, map_changed: bool
) -> Sequence[str]:
    notes = []
    if file.record is None:
        notes.append(
            "there is no design record: strata, clusters and their sizes are taken from the "
            f"sample's columns, and sizes are sums of 1 / {PROBABILITY}"
        )
    if map_changed:
        notes.append(
            "the sample was drawn from another version of the map (--map-changed): strata are "
            "those of that map, and the figures of this one are by ratios of totals"
        )
    if zones is not None:
        some = list(zones_of(file.place, zones).values())
        outside = int((~np.any(some, axis=0)).sum())
        if outside:
            notes.append(f"{outside:,} of {len(table):,} units lie in no region")
    return notes


def _points(
    file: SampleFile, maps: MapLayers, table: SampleTable, mapped: MappedClasses
) -> dict[str, Any]:
    """Units as GeoJSON in degrees: what the map has and what the interpreter, by period."""
    names = [*(c.name for c in maps.classes), None]
    values = [*(c.value for c in maps.classes), None]
    degrees = file.frame.geometry.to_crs("EPSG:4326")
    features = []
    for period, reference in table.references.items():
        for n, (k, r) in enumerate(
            zip(mapped.periods[period].tolist(), reference.tolist(), strict=True)
        ):
            point = degrees.iloc[n]
            is_known = r >= 0
            features.append(
                {
                    "type": "Feature",
                    "geometry": {
                        "type": "Point",
                        "coordinates": [round(point.x, 7), round(point.y, 7)],
                    },
                    "properties": {
                        "id": json.loads(json.dumps(table.ids[n], default=_plain)),
                        "period": period,
                        "map": names[k],
                        "map_value": values[k],
                        "reference": names[r] if is_known else None,
                        "reference_value": values[r] if is_known else None,
                        "agrees": k == r if is_known else None,
                        "stratum": table.design.strata[int(table.stratum[n])].name,
                    },
                }
            )
    return {"type": "FeatureCollection", "features": features}


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)
