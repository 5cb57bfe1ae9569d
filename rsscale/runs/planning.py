"""Plan a run: check everything, freeze the inputs, make the empty product.

Nothing is written before all that can be checked has been checked.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pystac
import shapely
from odc.geo.geom import Geometry

from rsscale.cluster.profile import NumericProfile
from rsscale.errors import RunFolderError
from rsscale.geo.grid import Grid, Tile
from rsscale.geo.lattice import PixelBox
from rsscale.items.item_index import ItemIndex
from rsscale.items.item_store import FrozenItems
from rsscale.learn.models import Model
from rsscale.model.spec import ModelSpec, class_attributes
from rsscale.passes.inputs import span
from rsscale.passes.job import (
    find_items,
    index_items,
    open_models,
    read_margin,
    recipe_area,
)
from rsscale.passes.mapping import period_start
from rsscale.recipe import Recipe
from rsscale.runs.folder import RunFolder
from rsscale.store import zarr_store as store
from rsscale.store.ledger import Entry

_VERSIONS = ("rsscale", "torch", "rasterio", "stackstac", "xarray", "zarr", "dask", "numpy")
# A model's content is the same on any device.
_ANY = NumericProfile("cpu", 1)


@dataclass(frozen=True)
class TileTask:
    """One unit of work of a run: small, since it travels to a worker.

    Attributes
    ----------
    period : int
    ix, iy : int
        Index of the tile.
    fingerprint : str
        Hash of what decides the tile's pixels; filled in when it is handed out.
    """

    period: int
    ix: int
    iy: int
    fingerprint: str = ""


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
    models : mapping of period to str
        Digest of each period's model.
    window : int
        Width of what a model window reads beyond a tile, at most, px.
    """

    folder: RunFolder
    recipe: Recipe
    grid: Grid
    area: Geometry
    extent: PixelBox
    hash: str
    models: Mapping[int, str]
    window: int

    @classmethod
    def read(cls, folder: RunFolder) -> RunPlan:
        """Read back what :func:`plan_run` wrote."""
        state = folder.read_state()
        if state["state"] == "updating":
            raise RunFolderError(
                f"an update of {folder.url} was cut short while it was planned; run the recipe "
                "again with --update"
            )
        recipe, area = folder.read_recipe()
        return cls(
            folder=folder,
            recipe=recipe,
            grid=recipe.grid.build(),
            area=area,
            extent=PixelBox(*state["extent"]),
            hash=state["plan"],
            models={int(period): digest for period, digest in state["models"].items()},
            window=state["window"],
        )

    @cached_property
    def sources(self) -> dict[str, FrozenItems]:
        """The frozen items of each input."""
        return self.folder.read_items(self.recipe)

    @cached_property
    def shape(self) -> shapely.Geometry:
        """The area in the grid's CRS."""
        return self.grid.project(self.area).geom

    def tasks(self) -> Iterator[TileTask]:
        """Every (period, tile), lazily."""
        return tile_tasks(self.recipe, self.grid, self.area)

    def tile(self, task: TileTask) -> Tile:
        """The tile of a task."""
        return self.grid.tile_at(task.ix, task.iy)

    def time_index(self, task: TileTask) -> int:
        """Where a task's period lies along the product's time axis."""
        return self.recipe.periods.index(task.period)

    def with_fingerprint(self, task: TileTask) -> TileTask:
        """A task with the hash of all that decides its pixels: recipe, model, items, area.

        Items count where they lie at all near the tile, by the whole of their JSON.
        """
        box = self.tile(task).box
        around = self.grid.geobox_of(box.pad(self.window))
        parts = [self.recipe.map_hash(), self.recipe.layout_hash(), self.models[task.period]]
        parts.append(self._area_in(box))
        for name, one in self.recipe.inputs.items():
            parts.append(self.sources[name].digest(around, *span(one, task.period)))
        digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
        return replace(task, fingerprint=digest)

    def _area_in(self, box: PixelBox) -> str:
        extent = self.grid.geobox_of(box).extent.geom
        part = shapely.intersection(self.shape, extent)
        if part.equals(extent):
            return "whole"
        return hashlib.sha256(shapely.to_wkb(shapely.normalize(part))).hexdigest()

    def damaged(self, task: TileTask, entry: Entry) -> list[str]:
        """Layers of a tile whose stored object is not what its entry says."""
        stored = store.tile_digests(
            self.folder.product,
            self.recipe.output.layers,
            self.time_index(task),
            self.tile(task).box,
            self.extent,
        )
        return [name for name, found in stored.items() if entry.digests.get(name) != found]


@dataclass(frozen=True)
class Prepared:
    """All that a plan needs, checked and not yet written."""

    recipe: Recipe
    area: Geometry
    models: Mapping[int, Model]
    items: Mapping[str, pystac.ItemCollection]
    indexes: Mapping[str, ItemIndex]
    extent: PixelBox
    tiles: int


def prepare_plan(
    recipe: Recipe, profile: NumericProfile, search_at: Mapping[str, str] | None = None
) -> Prepared:
    """Open, search and check all that a recipe names; write nothing.

    Parameters
    ----------
    recipe : Recipe
    profile : NumericProfile
    search_at : mapping of input name to str, optional
        Other addresses of the inputs' catalogues.

    Raises
    ------
    RsscaleError
        For anything that can't work: see :mod:`rsscale.errors`.
    """
    models = open_models(recipe, replace(profile, device="cpu", precision="float32", compile=False))
    area, grid = recipe_area(recipe), recipe.grid.build()
    searched = recipe.with_catalogs(search_at or {})
    items = find_items(searched, area, read_margin(recipe, models))
    indexes = index_items(recipe, grid, items)  # refuses items without the bands
    extent, tiles = grid.extent(area)
    return Prepared(recipe, area, models, items, indexes, extent, tiles * len(recipe.periods))


def check_same(recipe: Recipe, folder: RunFolder) -> list[str]:
    """Keys in which a recipe differs from the one that a folder was made from.

    Besides the recipe's own keys ``area`` and ``model`` (their content counts).
    """
    stored, stored_area = folder.read_recipe()
    differs = list(_differences(_deciding(stored), _deciding(recipe)))
    if stored_area != recipe_area(recipe):
        differs.append("area")
    models = {str(p): digest for p, digest in digests(open_models(recipe, _ANY)).items()}
    if models != folder.read_state().get("models"):
        differs.append("model")
    return differs


def plan_run(prepared: Prepared, folder: RunFolder, profile: NumericProfile) -> None:
    """Write a plan: freeze the inputs, make the empty product, or keep it for an update.

    Raises
    ------
    RunFolderError
        When an update would change what the product's arrays are: extent, periods or layers.
    """
    recipe, extent = prepared.recipe, prepared.extent
    window = read_margin(recipe, prepared.models)
    plan = {
        "profile": profile.to_dict(),
        "models": {str(p): digest for p, digest in digests(prepared.models).items()},
        "window": window,
        "items": {name: len(collection) for name, collection in prepared.items.items()},
        "extent": [extent.row0, extent.col0, extent.row1, extent.col1],
        "versions": {name: version(name) for name in _VERSIONS}
        | {"python": platform.python_version()},
    }
    is_update = folder.exists
    if is_update:
        _check_layout(prepared, folder)
        folder.write_state(folder.read_state() | {"state": "updating"})
    paths = {m.digest: Path(recipe.model_path(p)) for p, m in prepared.models.items()}
    folder.write_inputs(recipe, prepared.area, prepared.items, prepared.indexes, paths)
    if not is_update:
        store.create(
            folder.product,
            recipe.grid.build(),
            extent,
            times=[period_start(period) for period in recipe.periods],
            layers=product_layers(recipe, prepared.models[recipe.periods[0]].spec),
            attributes={"title": recipe.name, "source": f"rsscale {version('rsscale')}"},
        )
    folder.write_state(
        plan
        | {
            "state": "planned",
            "plan": folder.plan_hash(recipe, digests(prepared.models)),
            "tiles": {"total": prepared.tiles, "done": 0, "failed": 0},
        }
    )


def _check_layout(prepared: Prepared, folder: RunFolder) -> None:
    """Refuse an update that the product's arrays can't hold."""
    stored, _ = folder.read_recipe()
    extent = PixelBox(*folder.read_state()["extent"])
    spec = prepared.models[prepared.recipe.periods[0]].spec
    flags = class_attributes(spec.classes)
    metadata = json.loads(folder.product.read("classification/zarr.json"))["attributes"]
    fixed = {
        "grid": stored.grid == prepared.recipe.grid,
        "periods": stored.periods == prepared.recipe.periods,
        "output.layers": stored.output == prepared.recipe.output,
        "area (its tiles)": extent == prepared.extent,
        "model (its classes)": metadata["flag_values"] == list(flags["flag_values"])
        and metadata["flag_meanings"] == flags["flag_meanings"],
    }
    differs = [name for name, is_same in fixed.items() if not is_same]
    if differs:
        raise RunFolderError(
            f"{folder.url} can't be updated: {', '.join(differs)} would change the shape of its "
            "product; choose another --out"
        )


def tile_tasks(recipe: Recipe, grid: Grid, area: Geometry) -> Iterator[TileTask]:
    """Every (period, tile) of a run, lazily."""
    for period in recipe.periods:
        for tile in grid.tiles(area):
            yield TileTask(period, tile.ix, tile.iy)


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
