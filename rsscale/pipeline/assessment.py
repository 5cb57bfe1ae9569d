"""Measure the maps of a run against a reference, away from what the model was trained on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.accuracy.assess import Accuracy
from rsscale.accuracy.assess import assess as assess_map
from rsscale.errors import RecipeError
from rsscale.geo.lattice import PixelBox
from rsscale.geo.rasterize import area_mask
from rsscale.geo.vector_file import split_layer
from rsscale.layers import NODATA
from rsscale.legend.attribute_table import read_legend
from rsscale.legend.classes import LandClass, classes_from_attributes
from rsscale.legend.values import names_beside
from rsscale.plans.plan import RunPlan
from rsscale.reference.class_raster import RasterOnGrid
from rsscale.reference.labels import read_columns, read_frame, read_labels
from rsscale.runs.run import Run
from rsscale.steps.base import span_time
from rsscale.store import zarr_store as store
from rsscale.store.ledger import write_json
from rsscale.store.run_folder import RunFolder
from rsscale.store.step_version import span_versions, step_version
from rsscale.store.storage import Storage

if TYPE_CHECKING:
    import xarray as xr

_RASTERS = (".tif", ".tiff", ".vrt")
_COUNTED = 512  # width of the blocks in which labelled pixels are counted
_Reference = Callable[[PixelBox], npt.NDArray[np.uint8]]


def assess(
    run: Run | str | Path,
    reference: str | Path | Mapping[int, str | Path],
    *,
    period: int | None = None,
    class_column: str | None = None,
    period_column: str | None = None,
    exclude: str | Path | None = None,
    distance: float = 1000.0,
    block: float = 1000.0,
    design: Literal["random"] | None = None,
) -> Accuracy:
    """Measure a run's maps and write ``accuracy.json`` into its folder.

    Figures against another reference that ``accuracy.json`` held are kept beside it, by their
    reference's digest.

    Parameters
    ----------
    run : Run or path
        A finished run.
    reference : path, or mapping of period to path
        A raster of class values (any CRS; nearest pixel), or labelled polygons or points.
    period : int, optional
        Which map, when one reference is given; the last period when omitted.
    class_column : str, optional
        The column of the class name, for polygons; the recipe's ``train.class`` when omitted.
    period_column : str, optional
        The column of the year that a label is true for; the recipe's ``train.period_column``
        when omitted, where the labels have it. Of labels of several years, those of the map's
        year count.
    exclude : path, optional
        Training labels; the recipe's own when omitted and if they are there.
    distance, block : float
        Metres: only blocks of this width that lie wholly so far from every training label
        are counted.
    design : "random", optional
        Says that points are a simple random sample; see :func:`rsscale.accuracy.assess.assess`.

    Returns
    -------
    Accuracy
        Of all periods given together; ``accuracy.json`` also holds each.

    Raises
    ------
    RecipeError
        When a reference is not there or of a kind that can't be read.
    AreaError
        When no block is left to measure.
    ModelError
        When the reference is of other classes than the map, such as one of change.
    """
    folder = run.folder if isinstance(run, Run) else RunFolder.at(run)
    plan = RunPlan.read(folder)
    references = _by_period(plan, reference, period)
    product = store.open_product(folder.store("map"))
    keep_off = _training_labels(plan, exclude)
    by_period, records = {}, {}
    for year, path in references.items():
        layer = _class_map(product, year, plan)
        classes = classes_from_attributes(layer.attrs)
        source = _reference(
            plan,
            Path(path),
            year,
            classes,
            class_column=class_column,
            period_column=period_column,
        )
        map_accuracy = assess_map(
            layer,
            _inside(plan, source.read),
            grid=plan.grid,
            classes=classes,
            exclude=keep_off.shapes,
            distance=distance,
            block=block,
            design=design,
        )
        notes = [*source.notes(map_accuracy, distance), *keep_off.notes, *map_accuracy.notes]
        by_period[year] = replace(map_accuracy, notes=tuple(notes))
        records[str(year)] = source.record
    pooled = reduce(add, by_period.values())
    kept = keep_other_figures(folder.storage, records)
    content = pooled.to_dict() | _assessed_maps(folder, by_period)
    content |= {
        "references": records,
        "training_labels": keep_off.record,
        "distance_m": distance,
        "block_m": block,
        "design": design,
    }
    write_json(folder.storage, "accuracy.json", content)
    return replace(pooled, notes=(*pooled.notes, *kept))


def _class_map(product: xr.Dataset, year: int, plan: RunPlan) -> xr.DataArray:
    """The classes ``(y, x)`` of a period, lazy."""
    time = span_time(str(year), plan.recipe.periods)
    return product["classification"].sel(time=time).drop_vars("time")


def _assessed_maps(folder: RunFolder, by_period: Mapping[int, Accuracy]) -> dict[str, Any]:
    """What ``accuracy.json`` says of the maps: which versions were measured when, and how."""
    measured = {str(year) for year in by_period}
    versions = {span: v for span, v in span_versions(folder).items() if span in measured}
    return {
        "assessed": datetime.now(UTC).isoformat(timespec="seconds"),
        "step": "map",
        "version": step_version(folder),
        "versions": versions,
        "periods": {str(year): accuracy.to_dict() for year, accuracy in by_period.items()},
    }


def _by_period(
    plan: RunPlan, reference: str | Path | Mapping[int, str | Path], period: int | None
) -> dict[int, str | Path]:
    periods = plan.recipe.periods
    references = (
        dict(reference) if isinstance(reference, Mapping) else {period or periods[-1]: reference}
    )
    for year in references:
        if year not in periods:
            raise RecipeError(f"the run has no map of {year}; it has {list(periods)}")
    return references


@dataclass(frozen=True)
class _ReferenceSource:
    """A reference of one period, and what ``accuracy.json`` records of it."""

    read: _Reference
    record: dict[str, Any]
    total: int | None = None  # labelled pixels, where they are few enough to be counted
    told: tuple[str, ...] = ()  # of the names of its values

    def notes(self, accuracy: Accuracy, distance: float) -> list[str]:
        left_out = self.record.get("left_out", [])
        notes = [*self.told, *(f"reference labels: {reason}" for reason in left_out)]
        if self.total is not None and accuracy.pixels < self.total:
            notes.append(
                f"{accuracy.pixels:,} of {self.total:,} reference pixels are measured; the others "
                f"lie in blocks within {distance:g} m of training labels, or outside the area"
            )
        return notes


def _reference(
    plan: RunPlan,
    path: Path,
    period: int,
    classes: tuple[LandClass, ...],
    *,
    class_column: str | None,
    period_column: str | None,
) -> _ReferenceSource:
    """Reference class values of a box, from a raster or from labels."""
    if not split_layer(path)[0].exists():
        raise RecipeError(f"there is no reference at {path}")
    record: dict[str, Any] = {"path": str(path), "sha256": file_digest(path)}
    if path.suffix.lower() in _RASTERS:
        told = names_beside(read_legend(path).names, classes, holder=path.name)
        read = RasterOnGrid(path, plan.grid).read
        return _ReferenceSource(read, record | {"kind": "raster"}, told=tuple(told))
    training = plan.recipe.train
    column = class_column or (training.class_ if training else None)
    if column is None:
        raise RecipeError(f"{path}: say with --class which column holds the class name")
    years = period_column or _shared_column(path, training.period_column if training else None)
    labels = read_labels(path, column, classes=classes, period_column=years)
    of_year = labels.of(period)
    if of_year.frame.empty:
        there = sorted(set(labels.frame["period"]))
        raise RecipeError(
            f"labels {path} have the years {there} in column {years!r}, and none of {period}; "
            "say with --period which map they are for"
        )
    on_grid = of_year.on(plan.grid)
    pixels = sum(int((on_grid.rasterize(b) != NODATA).sum()) for b in on_grid.blocks(_COUNTED))
    others = len(labels.frame) - len(of_year.frame)
    left_out = [f"other years left out: {others} of {len(labels.frame)} features"] if others else []
    left_out += labels.unused.lines()
    record |= {
        "kind": "labels",
        "class_column": column,
        "period_column": years,
        "features": len(of_year.frame),
        "left_out": left_out,
    }
    return _ReferenceSource(on_grid.rasterize, record, pixels)


def _shared_column(path: Path, column: str | None) -> str | None:
    """The column of the training labels' years, where the reference has it too."""
    return column if column and column in read_columns(path) else None


def file_digest(path: Path) -> str | None:
    """SHA-256 of a file, in hexadecimal digits; None of a folder."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def keep_other_figures(storage: Storage, references: Mapping[str, Any]) -> list[str]:
    """Keep what ``accuracy.json`` says against other references; returns a note of it."""
    try:
        data = storage.read("accuracy.json")
    except FileNotFoundError:
        return []
    before = json.loads(data)
    then, now = (
        {year: record.get("sha256") for year, record in some.items()}
        for some in (before.get("references", {}), references)
    )
    if then == now:
        return []
    name = f"accuracy-{hashlib.sha256(data).hexdigest()[:8]}.json"
    write_json(storage, name, before)
    return [f"accuracy.json held figures against another reference; they are in {name} now"]


def _inside(plan: RunPlan, reference: _Reference) -> _Reference:
    """The reference inside the run's area: what was not asked for is not missing."""
    area = plan.grid.project(plan.area).geom

    def read(box: PixelBox) -> npt.NDArray[np.uint8]:
        return np.where(area_mask(area, plan.grid, box), reference(box), np.uint8(NODATA))

    return read


@dataclass(frozen=True)
class _KeepOff:
    """Training labels to keep away from, and what is said of them."""

    shapes: shapely.Geometry | None
    record: str | None
    notes: tuple[str, ...] = ()


def _training_labels(plan: RunPlan, exclude: str | Path | None) -> _KeepOff:
    """All training labels as one geometry in the grid's CRS."""
    training = plan.recipe.train
    path = Path(exclude) if exclude else Path(training.labels) if training else None
    if path is None:
        return _KeepOff(None, None)
    layer = None if exclude or training is None else training.labels_layer
    if not split_layer(path)[0].exists():
        if exclude is not None:
            raise RecipeError(f"there are no labels to keep away from at {path}")
        note = (
            f"the training labels {path} are not here, so that what was trained on is measured "
            "too; say with --exclude where they are"
        )
        return _KeepOff(None, None, (note,))
    frame = read_frame(path, layer).to_crs(plan.grid.crs)
    return _KeepOff(shapely.union_all(frame.geometry.values), str(path))
