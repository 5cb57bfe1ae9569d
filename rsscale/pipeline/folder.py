"""A run folder: where a run keeps everything that it needs to go on, and all that it made."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pystac
from odc.geo.geom import Geometry

from rsscale.data.area import read_area
from rsscale.data.items import freeze, thaw
from rsscale.errors import RunFolderError
from rsscale.pipeline.job import Profile
from rsscale.recipe import Recipe, read_recipe
from rsscale.scale.ledger import Ledger, write_durably, write_json

_AREA = "area.geojson"


@dataclass(frozen=True)
class RunFolder:
    """The files of one run, under one path.

    ``recipe.yaml``, ``area.geojson`` and ``items/`` are what the map is made from; the plan's
    hash in ``run.json`` covers them and the model. ``ledger/`` tells which tiles are done.
    """

    path: Path

    @property
    def product(self) -> Path:
        """The map."""
        return self.path / "product.zarr"

    @property
    def change(self) -> Path:
        """Change between two periods."""
        return self.path / "change.zarr"

    @property
    def ledger(self) -> Ledger:
        """What is done."""
        return Ledger(self.path / "ledger")

    @property
    def exists(self) -> bool:
        """Whether a run was planned here."""
        return (self.path / "run.json").exists()

    def check_usable(self) -> None:
        """Refuse a folder that can't be written or holds something else."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(
                f"{self.path} can't be made: {error.strerror}; choose another --out"
            ) from None
        if not os.access(self.path, os.W_OK):
            raise RunFolderError(f"{self.path} can't be written; choose another --out")
        # What a planning that was cut short left behind is planned again.
        known = {"recipe.yaml", _AREA, "items", "product.zarr", "ledger", "events.jsonl"}
        others = sorted(p.name for p in self.path.iterdir() if p.name not in known)
        if not self.exists and [name for name in others if not name.startswith(".")]:
            raise RunFolderError(
                f"{self.path} is not a run folder and holds {others[0]!r}; choose an empty --out"
            )

    def write_inputs(
        self, recipe: Recipe, area: Geometry, items: Mapping[str, pystac.ItemCollection]
    ) -> None:
        """Freeze what the map is made from."""
        write_json(self.path / _AREA, _as_geojson(area))
        for name, collection in items.items():
            path = self._items_path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            freeze(collection, path)
        local = recipe.model_copy(update={"area": _AREA, "bbox": None})
        header = f"# map {recipe.map_hash()}, layout {recipe.layout_hash()}\n"
        write_durably(self.path / "recipe.yaml", (header + local.to_yaml()).encode())

    def read_recipe(self) -> tuple[Recipe, Geometry]:
        """The recipe and the area, as they were frozen."""
        return read_recipe(self.path / "recipe.yaml"), read_area(self.path / _AREA)

    def read_items(self, recipe: Recipe) -> dict[str, pystac.ItemCollection]:
        """The items of each input, as they were frozen."""
        return {name: thaw(self._items_path(name)) for name in recipe.inputs}

    def plan_hash(self, recipe: Recipe, model_digests: Mapping[int, str]) -> str:
        """Hash of all that decides the pixels: recipe, area, items, model and layout."""
        parts = [recipe.map_hash(), recipe.layout_hash()]
        parts += [f"{period}={digest}" for period, digest in sorted(model_digests.items())]
        files = [self.path / _AREA, *(self._items_path(name) for name in sorted(recipe.inputs))]
        parts += [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def read_state(self) -> dict[str, Any]:
        """The content of ``run.json``."""
        try:
            state: dict[str, Any] = json.loads((self.path / "run.json").read_text("utf-8"))
        except FileNotFoundError:
            raise RunFolderError(
                f"{self.path} is not a run folder: it has no run.json; give the --out of a run"
            ) from None
        except ValueError:
            raise RunFolderError(
                f"{self.path / 'run.json'} is not JSON; the folder is damaged, run the recipe "
                "again into an empty one"
            ) from None
        return state

    def write_state(self, state: Mapping[str, Any]) -> None:
        """Replace ``run.json``."""
        write_json(self.path / "run.json", state)

    def profile(self) -> Profile:
        """The numeric profile that the run was planned with."""
        return Profile(**self.read_state()["profile"])

    def event(self, kind: str, **fields: Any) -> None:
        """Append one line to ``events.jsonl``."""
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": kind}
        with (self.path / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line | fields) + "\n")

    def _items_path(self, name: str) -> Path:
        return self.path / "items" / f"{name}.parquet"


def _as_geojson(area: Geometry) -> dict[str, Any]:
    feature = {"type": "Feature", "properties": {}, "geometry": area.json}
    return {"type": "FeatureCollection", "features": [feature]}
