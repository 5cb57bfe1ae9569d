"""Layers or objects of a step over a small box, without a run: what a run writes there."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from rsscale.cluster.machine import Machine
from rsscale.cluster.profile import NumericProfile
from rsscale.errors import AreaError, RecipeError, nearest
from rsscale.geo.area import read_area
from rsscale.inference.constant_pixels import constant_lines, fold_constant
from rsscale.layers import TileKey
from rsscale.objects.columns import GEOMETRY, is_of_objects
from rsscale.plans.find_items import check_reach, find_items, index_items
from rsscale.plans.planning import inputs_read, open_recipe, read_margin
from rsscale.recipe import Recipe
from rsscale.recipe.given_model import reading
from rsscale.steps.base import Gather, Pass, Resources, span_time
from rsscale.steps.evaluate import evaluate
from rsscale.steps.kinds import recipe_of
from rsscale.store.run_folder import RunFolder

if TYPE_CHECKING:
    import geopandas as gpd
    import pyarrow as pa

    from rsscale.recipe.given_model import GivenModel

_log = logging.getLogger(__name__)


def preview(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    bbox: Any,
    *,
    step: str = "map",
    device: str = "auto",
    threads: int | None = None,
    overrides: Sequence[str] = (),
    trust: bool = False,
    model: GivenModel | Mapping[int, GivenModel] | None = None,
) -> xr.Dataset | gpd.GeoDataFrame:
    """Compute a step of a recipe over a small box for all its spans, in memory.

    Parameters
    ----------
    recipe : path, mapping or Recipe
    bbox : (west, south, east, north) in degrees, or anything that is an area
        Computed are the grid's pixels around it.
    step : str
        Which step; those that it reads are computed as far as it needs them.
    device, threads
        As for :func:`rsscale.run`; the same give the same values as a run.
    overrides : sequence of "key.sub=value"
    trust : bool
        Run models that are programs (``.pt2``), which may do anything; they are trusted as they
        lie now, by the digest of their files, which the recipe keeps as ``trust``.
    model : Model, ModelFolder, or mapping of period to those, optional
        In place of the recipe's ``model``; as for :func:`rsscale.run`.

    Returns
    -------
    xarray.Dataset
        ``(time, y, x)`` in the layers' types, as the product has it; pixels outside the recipe's
        area are nodata here too.
    geopandas.GeoDataFrame
        Of a step that finds objects: those whose centre lies in the box and in the area. Windows
        around the box are looked at as well; an object that reaches farther than one window
        beyond the box may be larger in a run.

    Raises
    ------
    AreaError
        When the box does not touch the recipe's area.
    RecipeError
        When there is no such step, or it writes neither layers nor objects.
    """
    with reading(recipe, overrides, model) as given:
        return _preview(recipe_of(given, (), trust=trust), bbox, step, device, threads)


def _preview(
    recipe: Recipe, bbox: Any, step: str, device: str, threads: int | None
) -> xr.Dataset | gpd.GeoDataFrame:
    profile = NumericProfile.on(Machine.here(), device, threads)
    profile.apply()
    setup, steps = open_recipe(recipe, RunFolder.at(Path("preview")), computes=True)
    chosen = _written(steps, step)
    asked = read_area(bbox)
    if not setup.area.intersects(asked):
        raise AreaError(
            f"the box {list(asked.boundingbox.bbox)} lies outside the recipe's area "
            f"{[round(v, 4) for v in setup.area.boundingbox.bbox]}; choose a box inside it"
        )
    passes = [step for step in steps if isinstance(step, Pass)]
    box = setup.grid.box(asked)
    reach = read_margin(passes, box) + sum(step.reach + step.beside for step in passes)
    items = find_items(recipe, asked, reach, inputs=inputs_read(passes))
    indexes = index_items(recipe, setup.grid, items)
    check_reach(recipe, setup.grid, indexes, [box.pad(reach)], recipe.periods)
    setup.indexes.update(indexes)
    by_span_read = {span: Resources(profile) for span in chosen.spans()}
    results = [
        evaluate(
            chosen,
            TileKey(step, span, 0, 0),
            box,
            grid=setup.grid,
            shape=setup.shape,
            resources=resources,
        ).result
        for span, resources in by_span_read.items()
    ]
    read = fold_constant(resources.constant.facts() for resources in by_span_read.values())
    for line in constant_lines(read):
        _log.warning("%s", line)
    if is_of_objects(chosen.schema):
        return _objects([result.table for result in results], setup.grid.crs)
    by_span = [result.layers for result in results if result.layers is not None]
    times = [span_time(span, recipe.periods) for span in chosen.spans()]
    stacked: xr.Dataset = xr.concat(
        by_span,
        dim=xr.DataArray(times, dims="time", name="time"),
        coords="minimal",
        compat="override",
        join="override",
    )
    return stacked.assign_coords(dict(by_span[0].coords.items()))


def _objects(tables: Sequence[pa.Table | None], crs: str) -> gpd.GeoDataFrame:
    """Objects of all spans."""
    import geopandas as gpd
    import pyarrow as pa

    rows = pa.concat_tables([table for table in tables if table is not None])
    geometry = gpd.GeoSeries.from_wkb(rows[GEOMETRY].to_pylist(), crs=crs)
    return gpd.GeoDataFrame(rows.drop_columns([GEOMETRY, "bbox"]).to_pandas(), geometry=geometry)


def _written(steps: Sequence[Pass | Gather], name: str) -> Pass:
    """The step of a name, which writes layers or objects."""
    passes = [step for step in steps if isinstance(step, Pass) and 0 in step.levels()]
    known = {step.step: step for step in passes if step.layers or is_of_objects(step.schema)}
    if name not in known:
        raise RecipeError(
            f"there is no step {name!r} with layers or objects; the recipe has {', '.join(known)}"
            f"{nearest(name, known)}"
        )
    return known[name]
