"""A run folder: where a run keeps everything that it needs to go on, and all that it made."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pystac
import yaml
from odc.geo.geom import Geometry

from rsscale.cluster.profile import NumericProfile
from rsscale.errors import RecipeError, RunFolderError
from rsscale.geo.area import read_area
from rsscale.items.freeze import freeze
from rsscale.items.item_index import ItemIndex
from rsscale.items.item_store import INDEX, RECORDS, FrozenItems, write_index
from rsscale.learn.models import model_files
from rsscale.recipe import Recipe, read_recipe
from rsscale.store.ledger import Ledger, write_json
from rsscale.store.storage import Folder, Place, place

_AREA, _RECIPE, _STATE = "area.geojson", "recipe.yaml", "run.json"
_EVENTS = "events.jsonl"
# What a planning that was cut short may have left behind; it is planned again.
_KNOWN = {_RECIPE, _AREA, "items", "models", "lease", "product.zarr", "ledger", _EVENTS}


@dataclass(frozen=True)
class RunFolder:
    """The files of one run, in a folder or below a prefix of a bucket.

    ``recipe.yaml``, ``area.geojson``, ``items/`` and ``models/`` are what the map is made from;
    the plan's hash in ``run.json`` covers them. ``ledger/`` tells which tiles are done.
    """

    place: Place

    @classmethod
    def at(cls, where: str | os.PathLike[str] | Place) -> RunFolder:
        """The run folder at a path or address."""
        return cls(place(where))

    @property
    def url(self) -> str:
        """Where it lies."""
        return self.place.url

    @property
    def product(self) -> Place:
        """The map."""
        return self.place.child("product.zarr")

    @property
    def change(self) -> Place:
        """Change between two periods."""
        return self.place.child("change.zarr")

    @property
    def ledger(self) -> Ledger:
        """What is done."""
        return Ledger(self.place)

    @property
    def exists(self) -> bool:
        """Whether a run was planned here."""
        return self.place.exists(_STATE)

    def check_usable(self) -> None:
        """Refuse a folder that can't be written or holds something else; changes nothing."""
        if self.exists:
            return
        if isinstance(self.place, Folder):
            _check_writable(self.place.path)
        others = sorted({name.partition("/")[0] for name in self.place.names()} - _KNOWN)
        if [name for name in others if not name.startswith(".")]:
            raise RunFolderError(
                f"{self.url} is not a run folder and holds {others[0]!r}; choose an empty --out"
            )

    def make(self) -> None:
        """Make the folder, if it is one on a disk."""
        if isinstance(self.place, Folder):
            try:
                self.place.path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise RunFolderError(
                    f"{self.url} can't be made: {error.strerror}; choose another --out"
                ) from None

    def write_inputs(
        self,
        recipe: Recipe,
        area: Geometry,
        items: Mapping[str, pystac.ItemCollection],
        indexes: Mapping[str, ItemIndex],
        models: Mapping[str, Path],
    ) -> None:
        """Freeze what the map is made from.

        Parameters
        ----------
        recipe : Recipe
        area : Geometry
        items : mapping of input name to ItemCollection
        indexes : mapping of input name to ItemIndex
        models : mapping of digest to folder
        """
        write_json(self.place, _AREA, _as_geojson(area))
        for name, collection in items.items():
            with tempfile.TemporaryDirectory() as scratch:
                file = Path(scratch) / "items.parquet"
                freeze(collection, file)
                self.place.write(f"items/{name}.parquet", file.read_bytes())
            write_index(indexes[name], partial(self._write_index_file, name))
        for digest, model in models.items():
            for file in model_files(model):
                self.place.write(f"models/{digest}/{file.name}", file.read_bytes())
        local = recipe.model_copy(update={"area": _AREA, "bbox": None})
        header = f"# map {recipe.map_hash()}, layout {recipe.layout_hash()}\n"
        self.place.write(_RECIPE, (header + local.to_yaml()).encode())

    def _write_index_file(self, name: str, ending: str, content: bytes) -> None:
        self.place.write(f"items/{name}.{ending}", content)

    def read_recipe(self) -> tuple[Recipe, Geometry]:
        """The recipe and the area, as they were frozen."""
        try:
            content = yaml.safe_load(self.place.read(_RECIPE))
            area = json.loads(self.place.read(_AREA))["features"][0]
        except (FileNotFoundError, ValueError, yaml.YAMLError) as error:
            raise RunFolderError(
                f"{self.url} is damaged: its recipe or area can't be read ({error}); run the "
                "recipe again into an empty folder"
            ) from None
        try:
            return read_recipe(content), read_area(area)
        except RecipeError as error:
            raise RunFolderError(f"{self.url}/{_RECIPE} is damaged: {error}") from None

    def read_items(self, recipe: Recipe) -> dict[str, FrozenItems]:
        """The items of each input, as they were frozen."""
        files = {
            name: [self.place.local(f"items/{name}.{ending}") for ending in (INDEX, RECORDS)]
            for name in recipe.inputs
        }
        return {name: FrozenItems(*pair) for name, pair in files.items()}

    def model_path(self, digest: str) -> Path:
        """A local folder with a frozen model."""
        folder = f"models/{digest}"
        names = [name for name in self.place.names(folder) if name.startswith(f"{folder}/")]
        if not names:
            raise RunFolderError(f"{self.url} is damaged: its model {digest} is not there any more")
        files = [self.place.local(name) for name in names]
        return files[0].parent

    def plan_hash(self, recipe: Recipe, models: Mapping[int, str]) -> str:
        """Hash of all that decides the pixels: recipe, area, items, models and layout."""
        parts = [recipe.map_hash(), recipe.layout_hash(), json.dumps(recipe.periods)]
        parts += [f"{period}={digest}" for period, digest in sorted(models.items())]
        files = [_AREA, *(f"items/{name}.{INDEX}" for name in sorted(recipe.inputs))]
        parts += [hashlib.sha256(self.place.read(file)).hexdigest() for file in files]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def read_state(self) -> dict[str, Any]:
        """The content of ``run.json``."""
        try:
            state: dict[str, Any] = json.loads(self.place.read(_STATE))
        except FileNotFoundError:
            raise RunFolderError(
                f"{self.url} is not a run folder: it has no {_STATE}; give the --out of a run"
            ) from None
        except ValueError:
            raise RunFolderError(
                f"{self.url}/{_STATE} is not JSON; the folder is damaged, run the recipe "
                "again into an empty one"
            ) from None
        return state

    def write_state(self, state: Mapping[str, Any]) -> None:
        """Replace ``run.json``."""
        write_json(self.place, _STATE, state)

    def append_events(self, lines: Iterable[str]) -> None:
        """Add lines of JSON to ``events.jsonl``."""
        self.place.append(_EVENTS, "".join(f"{line}\n" for line in lines).encode())

    def read_events(self) -> Iterator[dict[str, Any]]:
        """What ``events.jsonl`` tells, without lines that a death cut short."""
        for line in self.place.read_log(_EVENTS).splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue

    def profile(self) -> NumericProfile:
        """The numeric profile that the run was planned with."""
        return NumericProfile(**self.read_state()["profile"])


def _check_writable(path: Path) -> None:
    """Whether a folder can be made or written, told by the first one above that is there."""
    there = path
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        raise RunFolderError(f"{path} can't be made: {there} is a file; choose another --out")
    if not os.access(there, os.W_OK | os.X_OK):
        raise RunFolderError(f"{there} can't be written; choose another --out")


def _as_geojson(area: Geometry) -> dict[str, Any]:
    feature = {"type": "Feature", "properties": {}, "geometry": area.json}
    return {"type": "FeatureCollection", "features": [feature]}
