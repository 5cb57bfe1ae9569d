"""A sound map of two years without imagery or model, to be checked, and faults to put into it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import numpy as np
import xarray as xr
from odc.geo.geom import box as corners

import rsscale as rs
from rsscale.geo.lattice import PixelBox, position_hash
from rsscale.layers import Layer, TileKey
from rsscale.legend.classes import LandClass, class_attributes
from rsscale.model.map_layers import APPLICABLE
from rsscale.quality.map_source import map_source
from rsscale.steps.base import Block, Pass, Result, Source
from rsscale.steps.kinds import ALLOWED
from rsscale.store.run_folder import RunFolder

KIND, CRS = "checked_map:SoundMap", "EPSG:32631"
CLASSES = (
    LandClass(1, "water", "#2b83ba"),
    LandClass(2, "forest", "#1b7837"),
    LandClass(3, "crops", "#f2cf5b"),
)
LAYERS = (
    Layer("classification", overview="mode", attributes=class_attributes(CLASSES)),
    Layer("confidence", overview="mean", attributes={"units": "percent"}),
    Layer("observations", overview="mean"),
    APPLICABLE,
)
WEST, NORTH = 499_200, 4_600_320  # rows and columns that tiles of 128 px and their multiples share
HEIGHT, WIDTH = 768, 1024
# Waves in random directions of random length are a random field that has a value everywhere.
_RANDOM = np.random.default_rng(3)
_WAVES = [
    (np.cos(angle) / length, np.sin(angle) / length, phase)
    for angle, length, phase in zip(
        _RANDOM.uniform(0, 2 * np.pi, 16), _RANDOM.uniform(4, 22, 16), _RANDOM.uniform(0, 6, 16),
        strict=True,
    )
]  # fmt: skip


def values(box: PixelBox, span: str) -> dict[str, np.ndarray]:
    """All layers over a box of the grid's pixels."""
    row = np.arange(box.row0, box.row1, dtype=np.int64)[:, None]
    col = np.arange(box.col0, box.col1, dtype=np.int64)[None, :]
    shape = sum(np.cos(down * row + right * col + phase) for down, right, phase in _WAVES)
    seed = int(span[:4])
    noise = (position_hash(row + 0 * col, col + 0 * row + seed * 10_007) >> np.uint64(40)) / 2**24
    shape = np.asarray(shape) + 1.5 * (noise - 0.5)
    distance = np.abs(np.abs(shape) - 2.5)
    return {
        "classification": (np.digitize(shape, [-2.5, 2.5]) + 1).astype(np.uint8),
        "confidence": np.clip(55 + 12 * distance + 4 * noise, 0, 100).astype(np.uint8),
        "observations": np.full(shape.shape, 7, np.uint8),
        "applicable": np.ones(shape.shape, np.uint8),
    }


@dataclass(repr=False, kw_only=True)
class SoundMap(Pass):
    """Writes :func:`values` of the tile's pixels."""

    kind: ClassVar[str] = KIND
    version: ClassVar[str] = "1"

    step: str
    periods: tuple[str, ...]
    layers: tuple[Layer, ...] = LAYERS
    sources: Mapping[str, Source] = field(default_factory=dict)

    @classmethod
    def open(cls, step: str, recipe: Any, options: Any, setup: Any) -> list[Pass]:
        """No sources."""
        del recipe, options
        return [cls(step=step, periods=setup.periods())]

    def spans(self) -> Sequence[str]:
        """The recipe's periods."""
        return self.periods

    def parameters(self) -> Mapping[str, Any]:
        """None."""
        return {}

    def run(self, block: Block) -> Result:
        """The field over the core."""
        found = values(block.core, block.key.span)
        return Result(layers=block.dataset(self.layers, found))


def recipe(*, tile: int = 256, **changes: Any) -> dict[str, Any]:
    """A recipe of the map."""
    area = corners(WEST + 90, NORTH - 10 * HEIGHT + 90, WEST + 10 * WIDTH - 90, NORTH - 90, CRS)
    return {
        "name": "checked",
        "bbox": list(area.to_crs("EPSG:4326").boundingbox.bbox),
        "grid": {"crs": CRS, "resolution": 10, "tile": tile},
        "periods": [2023, 2024],
        "steps": {"map": {"kind": KIND}},
        **changes,
    }


def make_run(folder: Path, **changes: Any) -> Path:
    """The finished run."""
    with allowed():
        rs.run(recipe(**changes), folder, threads=2, device="cpu")
    return folder


@contextmanager
def allowed() -> Iterator[None]:
    """Let recipes name this pass."""
    with mock.patch.dict(os.environ, {ALLOWED: "checked_map"}):
        yield


def copy_of(run: Path, folder: Path) -> Path:
    """A run that may be damaged, with what was checked of it."""
    shutil.copytree(run, folder)
    return folder


def overwrite(
    run: Path,
    change: Callable[[dict[str, np.ndarray]], None],
    tiles: Sequence[TileKey],
    *,
    in_ledger: bool = True,
) -> None:
    """Store other values in some tiles, as if the run had made them so, or behind its back."""
    folder = RunFolder.at(run)
    source = map_source(folder, "map")
    for key in tiles:
        box = source.store.grid.tile_at(key.ix, key.iy).box
        arrays = {one.name: source.store.read(one.name, key.span, box) for one in LAYERS}
        change(arrays)
        layers = xr.Dataset({name: (("y", "x"), array) for name, array in arrays.items()})
        digests = source.store.write(key, layers)
        entry = folder.ledger.read(key)
        assert entry is not None
        if in_ledger:
            folder.ledger.commit(replace(entry, digests={**entry.digests, **digests}))


def keys_of(run: Path, span: str = "2024") -> list[TileKey]:
    """All tiles of a span, in order; the twelfth of those of 256 px has neighbours all around."""
    found = [entry.key for entry in RunFolder.at(run).ledger.entries("map")]
    return sorted(key for key in found if key.span == span)
