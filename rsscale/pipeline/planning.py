"""Plan a run: check everything, freeze the inputs, make the empty product.

Nothing is written before all that can be checked has been checked.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from importlib.metadata import version
from typing import Any

from odc.geo.geom import Geometry

from rsscale.errors import RunFolderError
from rsscale.grid import Grid, PixelBox, Tile
from rsscale.learn.models import Model, open_model
from rsscale.modelspec import ModelSpec, class_attributes
from rsscale.pipeline.folder import RunFolder
from rsscale.pipeline.job import (
    Profile,
    check_model,
    find_items,
    index_items,
    read_margin,
    recipe_area,
)
from rsscale.pipeline.tile import period_start
from rsscale.recipe import Recipe
from rsscale.scale import store

_VERSIONS = ("rsscale", "torch", "rasterio", "stackstac", "xarray", "zarr", "dask", "numpy")


@dataclass(frozen=True)
class TileTask:
    """One unit of work of a run: small, since it travels to a worker."""

    period: int
    ix: int
    iy: int


@dataclass(frozen=True)
class RunPlan:
    """A planned run as its folder keeps it.

    Attributes
    ----------
    folder : RunFolder
    recipe : Recipe
    grid : Grid
    area : Geometry
        EPSG:4326.
    extent : PixelBox
        All tiles of the run: what the product covers.
    hash : str
        Of all that decides the pixels.
    """

    folder: RunFolder
    recipe: Recipe
    grid: Grid
    area: Geometry
    extent: PixelBox
    hash: str

    @classmethod
    def read(cls, folder: RunFolder) -> RunPlan:
        """Read back what :func:`plan_run` wrote."""
        state = folder.read_state()
        recipe, area = folder.read_recipe()
        extent = PixelBox(*state["extent"])
        return cls(folder, recipe, recipe.grid.build(), area, extent, state["plan"])

    def tasks(self) -> Iterator[TileTask]:
        """Every (period, tile), lazily."""
        return tile_tasks(self.recipe, self.grid, self.area)

    def tile(self, task: TileTask) -> Tile:
        """The tile of a task."""
        return self.grid.tile_at(task.ix, task.iy)

    def time_index(self, task: TileTask) -> int:
        """Where a task's period lies along the product's time axis."""
        return self.recipe.periods.index(task.period)

    def is_done(self, task: TileTask) -> bool:
        """Whether a tile has an entry of this plan and its shards are what the entry says."""
        tile = self.tile(task)
        entry = self.folder.ledger.read(task.period, tile.id)
        if entry is None or entry.plan != self.hash:
            return False
        names = list(entry.digests)
        stored = store.tile_digests(
            self.folder.product, names, self.time_index(task), tile.box, self.extent
        )
        return set(names) == set(self.recipe.output.layers) and stored == dict(entry.digests)


def plan_run(
    recipe: Recipe,
    folder: RunFolder,
    profile: Profile,
    search_at: Mapping[str, str] | None = None,
) -> None:
    """Make a run folder ready, or check that the one that is there fits.

    Parameters
    ----------
    recipe : Recipe
    folder : RunFolder
        New, empty, or made from the same recipe.
    profile : Profile
        The numeric profile of a new run; an existing one keeps its own.
    search_at : mapping of input name to str, optional
        Other addresses of the inputs' catalogues.

    Raises
    ------
    RunFolderError
        When the folder was made from another recipe, area or model; says what differs.
    RsscaleError
        For anything else that can't work: see :mod:`rsscale.errors`.
    """
    models = _open_models(recipe)
    area = recipe_area(recipe)
    folder.check_usable()
    if folder.exists:
        _check_same(recipe, area, models, folder)
        return
    searched = recipe.with_catalogs(search_at or {})
    items = find_items(searched, area, read_margin(recipe, models))
    grid = recipe.grid.build()
    index_items(recipe, grid, items)  # refuses items without the bands
    extent = product_extent(grid, area)
    spec = models[recipe.periods[0]].spec

    folder.write_inputs(recipe, area, items)
    if not folder.product.exists():
        store.create(
            folder.product,
            grid,
            extent,
            times=[period_start(period) for period in recipe.periods],
            layers=product_layers(recipe, spec),
            attributes={"title": recipe.name, "source": f"rsscale {version('rsscale')}"},
        )
    tiles = sum(1 for _ in tile_tasks(recipe, grid, area))
    folder.write_state(
        {
            "state": "planned",
            "plan": folder.plan_hash(recipe, digests(models)),
            "profile": profile.to_dict(),
            "tiles": {"total": tiles, "done": 0, "failed": 0},
            "items": {name: len(collection) for name, collection in items.items()},
            "extent": [extent.row0, extent.col0, extent.row1, extent.col1],
            "versions": {name: version(name) for name in _VERSIONS}
            | {"python": platform.python_version()},
        }
    )
    folder.event("planned", tiles=tiles)


def tile_tasks(recipe: Recipe, grid: Grid, area: Geometry) -> Iterator[TileTask]:
    """Every (period, tile) of a run, lazily."""
    for period in recipe.periods:
        for tile in grid.tiles(area):
            yield TileTask(period, tile.ix, tile.iy)


def product_extent(grid: Grid, area: Geometry) -> PixelBox:
    """The box of all tiles of an area."""
    boxes = (tile.box for tile in grid.tiles(area))
    return reduce(PixelBox.__or__, boxes)


def product_layers(recipe: Recipe, spec: ModelSpec) -> list[store.Layer]:
    """The layers that a recipe writes, with their CF attributes."""
    known = {
        "classification": store.Layer(
            "classification", {"long_name": "land cover class", **class_attributes(spec.classes)}
        ),
        "confidence": store.Layer(
            "confidence", {"long_name": "probability of the class", "units": "percent"}
        ),
        "observations": store.Layer("observations", {"long_name": "number of clear looks"}),
        "probability": store.Layer(
            "probability",
            {"long_name": "probability of each class", "units": "percent"},
            tuple(c.value for c in spec.classes),
        ),
    }
    return [known[name] for name in recipe.output.layers]


def digests(models: Mapping[int, Model]) -> dict[int, str]:
    """Content hash of each period's model."""
    return {period: model.digest for period, model in models.items()}


def _open_models(recipe: Recipe) -> dict[int, Model]:
    paths = {period: recipe.model_path(period) for period in recipe.periods}
    opened = {path: open_model(path, device="cpu") for path in set(paths.values())}
    models = {period: opened[path] for period, path in paths.items()}
    for period, model in models.items():
        check_model(recipe, model, period)
    return models


def _check_same(
    recipe: Recipe, area: Geometry, models: Mapping[int, Model], folder: RunFolder
) -> None:
    """Refuse to go on in a folder that was made from something else."""
    stored, stored_area = folder.read_recipe()
    differs = list(_differences(_deciding(stored), _deciding(recipe)))
    if not differs and stored_area != area:
        differs = ["area"]
    if differs:
        raise RunFolderError(
            f"{folder.path} was made from another recipe: {', '.join(differs)} "
            "differ; choose another --out, or run the recipe.yaml in it"
        )
    if folder.plan_hash(stored, digests(models)) != folder.read_state()["plan"]:
        raise RunFolderError(
            f"{folder.path} was made with another model or its frozen inputs were changed; "
            "choose another --out"
        )


def _deciding(recipe: Recipe) -> dict[str, Any]:
    """The parts of a recipe that decide the map, apart from area and model."""
    return recipe.model_dump(mode="json", include={"grid", "periods", "inputs", "output", "change"})


def _differences(one: Any, other: Any, place: str = "") -> Iterator[str]:
    """Keys that differ, as a recipe's author would write them."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {**one, **other}:
            below = f"{place}.{key}" if place else str(key)
            yield from _differences(one.get(key), other.get(key), below)
    elif one != other:
        yield place
