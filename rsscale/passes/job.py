"""A recipe with everything that it names opened: items found, model loaded, area read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pystac
import shapely
from odc.geo.geom import Geometry

from rsscale.catalog.search import search
from rsscale.cluster.profile import NumericProfile
from rsscale.errors import ModelError
from rsscale.geo.area import read_area
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.items.item_index import ItemIndex, Lookup
from rsscale.items.versions import newest_versions
from rsscale.learn.accelerate import accelerate
from rsscale.learn.models import Model, open_frozen, open_model
from rsscale.passes.inputs import bands_to_read, span, window_names
from rsscale.passes.mapping import MappedTile, map_tile
from rsscale.recipe import Recipe

# A model's resolution and the grid's may differ by rounding, not by more.
_SAME_RESOLUTION = 0.01


@dataclass(frozen=True)
class Job:
    """Everything that the tile function needs, checked against each other.

    Attributes
    ----------
    recipe : Recipe
    grid : Grid
    area : Geometry
        EPSG:4326.
    shape : shapely geometry
        The area in the grid's CRS.
    sources : mapping of input name to Lookup
    models : mapping of period to Model
    """

    recipe: Recipe
    grid: Grid
    area: Geometry
    shape: shapely.Geometry
    sources: Mapping[str, Lookup]
    models: Mapping[int, Model]

    def map(
        self,
        period: int,
        box: PixelBox,
        profile: NumericProfile,
        readers: int | None = None,
        plain: Model | None = None,
    ) -> MappedTile:
        """The tile function for one box; see :func:`rsscale.passes.mapping.map_tile`."""
        return map_tile(
            self.recipe,
            self.grid,
            self.sources,
            self.models[period],
            period=period,
            box=box,
            area=self.shape,
            batch=profile.batch,
            threads=readers or profile.threads,
            device=profile.device,
            plain=plain,
        )


def open_job(
    recipe: Recipe,
    area: Geometry,
    sources: Mapping[str, Lookup],
    profile: NumericProfile,
    model_paths: Mapping[int, str | Path] | None = None,
) -> Job:
    """Open what a recipe names and check that it fits together.

    Parameters
    ----------
    recipe : Recipe
    area : Geometry
        EPSG:4326.
    sources : mapping of input name to Lookup
        The items of each input.
    profile : NumericProfile
    model_paths : mapping of period to path, optional
        Where a run keeps the models; the recipe's own when omitted.

    Raises
    ------
    ModelError
        When a model's bands, time windows or resolution are not the recipe's.
    BandError
        When an item lacks a band.
    """
    grid = recipe.grid.build()
    return Job(
        recipe=recipe,
        grid=grid,
        area=area,
        shape=grid.project(area).geom,
        sources=sources,
        models=open_models(recipe, profile, model_paths),
    )


def open_models(
    recipe: Recipe, profile: NumericProfile, paths: Mapping[int, str | Path] | None = None
) -> dict[int, Model]:
    """Each period's model, checked against the recipe; a folder is opened once."""
    opening: Callable[..., Model] = open_frozen
    if paths is None:
        paths = {period: recipe.model_path(period) for period in recipe.periods}
        opening = open_model
    opened = {path: _open(opening, path, profile) for path in set(paths.values())}
    models = {period: opened[paths[period]] for period in recipe.periods}
    for period, model in models.items():
        check_model(recipe, model, period)
    return models


def _open(opening: Callable[..., Model], path: str | Path, profile: NumericProfile) -> Model:
    profile.apply()  # the number of threads becomes part of compiled code
    return accelerate(
        opening(path, device=profile.device),
        precision=profile.precision,
        compile=profile.compile,
        batch=profile.batch,
    )


def check_model(recipe: Recipe, model: Model, period: int) -> None:
    """Refuse a model that was made for other inputs."""
    for wanted in model.spec.inputs:
        if wanted.name not in recipe.inputs:
            raise ModelError(
                f"model {model.spec.name!r} wants an input {wanted.name!r}; "
                f"the recipe has {list(recipe.inputs)}"
            )
        one = recipe.inputs[wanted.name]
        model.spec.check_input(wanted.name, one.bands, window_names(one, period))
    trained, used = model.spec.resolution, recipe.grid.resolution
    if trained and abs(trained - used) > _SAME_RESOLUTION * used:
        raise ModelError(
            f"model {model.spec.name!r} was trained at a resolution of {trained:g}, the recipe's "
            f"grid has {used:g}; train a model for this grid, or change grid.resolution"
        )


def index_items(
    recipe: Recipe, grid: Grid, items: Mapping[str, pystac.ItemCollection]
) -> dict[str, ItemIndex]:
    """The items of each input by where they lie."""
    return {
        name: ItemIndex(items[name], grid.crs, bands_to_read(one))
        for name, one in recipe.inputs.items()
    }


def recipe_area(recipe: Recipe) -> Geometry:
    """The recipe's area in EPSG:4326."""
    return read_area(recipe.area if recipe.area is not None else list(recipe.bbox or ()))


def find_items(
    recipe: Recipe, area: Geometry, margin: int, periods: tuple[int, ...] | None = None
) -> dict[str, pystac.ItemCollection]:
    """Search each input's catalogue, period by period.

    Parameters
    ----------
    recipe : Recipe
    area : Geometry
        EPSG:4326.
    margin : int
        Pixels around the area that a window at its edge reads.
    periods : tuple of int, optional
        The recipe's own when omitted.

    Returns
    -------
    dict of input name to pystac.ItemCollection
        Each scene once, in its newest version.

    Raises
    ------
    CatalogError
        When a catalogue is not there, or has nothing for one of the periods.
    """
    grid = recipe.grid.build()
    around = _with_margin(grid, area, margin)
    found = {}
    for name, one in recipe.inputs.items():
        items: dict[str, pystac.Item] = {}
        for period in periods or recipe.periods:
            result = search(
                one.catalog,
                one.collection,
                area=around,
                datetime=None if one.static else span(one, period),
                query=one.query,
                sign=one.sign,
            )
            items |= {item.id: item for item in result}
        found[name] = newest_versions(items.values()).items
    return found


def _with_margin(grid: Grid, area: Geometry, margin: int) -> Geometry:
    """The area and what windows at its edge read, in EPSG:4326."""
    projected = grid.project(area)
    around = Geometry(projected.geom.buffer(margin * grid.resolution, quad_segs=4), projected.crs)
    return read_area(around)


def read_margin(recipe: Recipe, models: Mapping[int, Model]) -> int:
    """Pixels beyond the area that its map can depend on."""
    windows = max(model.spec.lattice.window for model in models.values())
    dilate = max((one.mask.dilate for one in recipe.inputs.values() if one.mask), default=0.0)
    return windows + int(np.ceil(dilate / recipe.grid.resolution)) + 4
