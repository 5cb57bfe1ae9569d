"""Measure the maps of a run against a reference, away from what the model was trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import numpy.typing as npt
import shapely

from rsscale.accuracy.assess import Accuracy
from rsscale.accuracy.assess import assess as assess_map
from rsscale.errors import RecipeError
from rsscale.geo.lattice import PixelBox
from rsscale.geo.rasterize import area_mask
from rsscale.geo.vector_file import VectorFileError, read_vector, split_layer
from rsscale.layers import NODATA
from rsscale.model.spec import LandClass, classes_from_attributes
from rsscale.reference.class_raster import RasterOnGrid
from rsscale.reference.labels import read_labels
from rsscale.runs.plan import RunPlan
from rsscale.runs.run import Run
from rsscale.steps.base import span_time
from rsscale.store import zarr_store as store
from rsscale.store.ledger import write_json
from rsscale.store.run_folder import RunFolder

_RASTERS = (".tif", ".tiff", ".vrt")
_Reference = Callable[[PixelBox], npt.NDArray[np.uint8]]


def assess(
    run: Run | str | Path,
    reference: str | Path | Mapping[int, str | Path],
    *,
    period: int | None = None,
    class_column: str | None = None,
    exclude: str | Path | None = None,
    distance: float = 1000.0,
    block: float = 1000.0,
) -> Accuracy:
    """Measure a run's maps and write ``accuracy.json`` into its folder.

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
    exclude : path, optional
        Training labels; the recipe's own when omitted and if they are there.
    distance, block : float
        Metres: only blocks of this width that lie wholly so far from every training label
        are counted.

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
    """
    folder = run.folder if isinstance(run, Run) else RunFolder.at(run)
    plan = RunPlan.read(folder)
    references = _by_period(plan, reference, period)
    product = store.open_product(folder.store("map"))
    keep_off = _training_labels(plan, exclude)
    by_period = {}
    for year, path in references.items():
        layer = (
            product["classification"]
            .sel(time=span_time(str(year), plan.recipe.periods))
            .drop_vars("time")
        )
        classes = classes_from_attributes(layer.attrs)
        by_period[year] = assess_map(
            layer,
            _inside(plan, _reference(plan, Path(path), year, classes, class_column)),
            grid=plan.grid,
            classes=classes,
            exclude=keep_off,
            distance=distance,
            block=block,
        )
    pooled = reduce(add, by_period.values())
    content = pooled.to_dict() | {
        "distance_m": distance,
        "block_m": block,
        "periods": {str(year): accuracy.to_dict() for year, accuracy in by_period.items()},
    }
    write_json(folder.storage, "accuracy.json", content)
    return pooled


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


def _reference(
    plan: RunPlan,
    path: Path,
    period: int,
    classes: tuple[LandClass, ...],
    class_column: str | None,
) -> _Reference:
    """Reference class values of a box, from a raster or from labels."""
    if not split_layer(path)[0].exists():
        raise RecipeError(f"there is no reference at {path}")
    if path.suffix.lower() in _RASTERS:
        return RasterOnGrid(path, plan.grid).read
    training = plan.recipe.train
    column = class_column or (training.class_ if training else None)
    if column is None:
        raise RecipeError(f"{path}: say with --class which column holds the class name")
    labels = read_labels(path, column, classes=classes)
    return labels.on(plan.grid, period).rasterize


def _inside(plan: RunPlan, reference: _Reference) -> _Reference:
    """The reference inside the run's area: what was not asked for is not missing."""
    area = plan.grid.project(plan.area).geom

    def read(box: PixelBox) -> npt.NDArray[np.uint8]:
        return np.where(area_mask(area, plan.grid, box), reference(box), np.uint8(NODATA))

    return read


def _training_labels(plan: RunPlan, exclude: str | Path | None) -> shapely.Geometry | None:
    """All training labels as one geometry in the grid's CRS."""
    training = plan.recipe.train
    path = Path(exclude) if exclude else Path(training.labels) if training else None
    if path is None or (exclude is None and not split_layer(path)[0].exists()):
        return None
    layer = None if exclude or training is None else training.labels_layer
    if not split_layer(path)[0].exists():
        raise RecipeError(f"there are no labels to keep away from at {path}")
    try:
        frame = read_vector(path, layer, key="layer")
    except VectorFileError as error:
        raise RecipeError(f"labels {path} {error}") from None
    return shapely.union_all(frame.to_crs(plan.grid.crs).geometry.values)
