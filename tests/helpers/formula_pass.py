"""A pass without imagery: layers from a formula of global pixel indices. For runs in seconds.

``steps: {map: {kind: "formula_pass:FormulaPass"}}``, allowed by ``RSSCALE_PASSES=formula_pass``;
see :func:`formula_recipe` and :func:`allowed`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import numpy as np

from rsscale.errors import RsscaleError
from rsscale.geo.lattice import PixelBox
from rsscale.layers import Axis, Layer
from rsscale.legend.classes import LandClass, class_attributes
from rsscale.steps.base import Block, Fold, Pass, Result, Source
from rsscale.steps.kinds import ALLOWED
from rsscale.steps.options import Options

KIND = "formula_pass:FormulaPass"

CLASSES = (
    LandClass(1, "water", "#2b83ba"),
    LandClass(2, "open forest", "#1b7837"),
    LandClass(4, "crops", "#f2cf5b"),
    LandClass(9, "built", "#d7191c"),
)
LAYERS = {
    "classification": Layer(
        "classification", overview="mode", attributes=class_attributes(CLASSES)
    ),
    "confidence": Layer("confidence", overview="mean", attributes={"units": "percent"}),
    "probability": Layer(
        "probability",
        axis=Axis("class", tuple(c.value for c in CLASSES)),
        overview="mean",
        attributes={"units": "percent"},
    ),
    "temperature": Layer("temperature", "int16", -32768, scale=0.01, offset=15.0, overview="mean"),
    "index": Layer("index", "float32", float("nan"), overview="nearest"),
}
# Metres of EPSG:32631: off all tile lines, some 1300 x 900 px of 10 m, a corner cut off.
AREA = ((729_005, 4_981_007), (736_003, 4_980_000), (742_001, 4_985_000), (738_007, 4_989_003))
# The same shape in the west of it, of a quarter of the pixels: for what needs no whole area.
SMALL = ((729_005, 4_981_007), (732_504, 4_980_503), (735_503, 4_983_003), (733_506, 4_985_005))


class FormulaOptions(Options):
    """Which layers, and tiles that fail: always, or while a file is there."""

    layers: tuple[str, ...] = tuple(LAYERS)
    fails: tuple[str, ...] = ()
    while_there: str = ""


@dataclass(repr=False, kw_only=True)
class FormulaPass(Pass):
    """Writes :func:`values` of the tile's pixels."""

    kind: ClassVar[str] = KIND
    version: ClassVar[str] = "1"
    Options: ClassVar[type[Options]] = FormulaOptions
    facts: ClassVar[Mapping[str, Fold]] = {"water": "sum"}

    step: str
    layers: tuple[Layer, ...]
    periods: tuple[str, ...]
    options: FormulaOptions
    sources: Mapping[str, Source] = field(default_factory=dict)

    @classmethod
    def open(cls, step: str, recipe: Any, options: Any, setup: Any) -> list[Pass]:
        """No sources."""
        del recipe
        layers = tuple(LAYERS[name] for name in options.layers)
        return [cls(step=step, layers=layers, periods=setup.periods(), options=options)]

    def spans(self) -> Sequence[str]:
        """The recipe's periods."""
        return self.periods

    def parameters(self) -> Mapping[str, Any]:
        """None that decides a value."""
        return {}

    def run(self, block: Block) -> Result:
        """The formula over the core, or an error for a tile that is to fail."""
        there = self.options.while_there
        if block.key.tile in self.options.fails and (not there or Path(there).exists()):
            raise RsscaleError(f"tile {block.key.tile} was told to fail")
        found = values(block.core, block.key.span)
        water = int((block.where & (found["classification"] == 1)).sum())
        declared = {layer.name: found[layer.name] for layer in self.layers}
        return Result(layers=block.dataset(self.layers, declared), facts={"water": water})


def values(box: PixelBox, span: str) -> dict[str, np.ndarray]:
    """All layers over a box of global pixels, as they are stored; some pixels have no value."""
    row = np.arange(box.row0, box.row1, dtype=np.int64)[:, None]
    col = np.arange(box.col0, box.col1, dtype=np.int64)[None, :]
    year = int(span[:4])
    shape = np.sin(row / 41 + year) + np.cos(col / 67) + np.sin((row + col) / 29)
    field_ = shape + 1.2 * (_noise(row, col, year) - 0.5)
    codes = np.array([c.value for c in CLASSES], np.uint8)
    classes = codes[np.digitize(field_, [-1.0, 0.3, 1.6])]
    gone = (_noise(row, col, year + 1) < 0.04) | (np.cos(row / 97) * np.sin(col / 83) > 0.9)
    share = np.stack([_noise(row, col, year + 10 + k) for k in range(len(CLASSES))])
    percent = np.rint(100 * share / share.sum(axis=0)).astype(np.uint8)
    stored = {
        "classification": np.where(gone, 255, classes),
        "confidence": np.where(gone, 255, percent.max(axis=0)),
        "probability": np.where(gone, 255, percent),
        "temperature": np.where(gone, -32768, np.rint(800 * field_)),
        "index": np.where(gone, np.nan, field_),
    }
    return {name: array.astype(LAYERS[name].dtype) for name, array in stored.items()}


def formula_recipe(
    folder: Path,
    *,
    tile: int = 512,
    steps: Mapping[str, Any] | None = None,
    shape: Sequence[tuple[int, int]] = AREA,
    **changes: Any,
) -> dict[str, Any]:
    """A recipe whose map is the formula's; writes the area's file into a folder, of a polygon.

    ``steps`` are further ones; ``options`` among the changes are those of the formula.
    """
    import geopandas as gpd
    import shapely

    area = folder / "area.gpkg"
    if not area.exists():
        folder.mkdir(parents=True, exist_ok=True)
        frame = gpd.GeoDataFrame(geometry=[shapely.Polygon(shape)], crs="EPSG:32631")
        frame.to_file(area)
    options = changes.pop("options", {})
    return {
        "name": "formula",
        "area": str(area),
        "grid": {"crs": "EPSG:32631", "resolution": 10, "tile": tile},
        "periods": [2023],
        # A recipe has an input; no step reads it, so that no catalogue is asked.
        "inputs": {"none": {"catalog": "nowhere", "bands": ["red"], "composite": {"by": "year"}}},
        "steps": {"map": {"kind": KIND, **options}, **(steps or {})},
        **changes,
    }


def over(ds: Any, shape: Sequence[tuple[int, int]] = AREA) -> Any:
    """A dataset over the box around an area, in memory: the same pixels whatever the tiles."""
    x, y = (sorted(axis) for axis in zip(*shape, strict=True))
    return ds.sel(x=slice(x[0], x[-1]), y=slice(y[-1], y[0])).load()


@contextmanager
def allowed() -> Iterator[None]:
    """Let recipes name this pass, here and in workers that are started meanwhile."""
    with mock.patch.dict(os.environ, {ALLOWED: "formula_pass"}):
        yield


def _noise(row: np.ndarray, col: np.ndarray, salt: int) -> np.ndarray:
    """Numbers in [0, 1) that look random and depend on nothing but the pixel and a salt."""
    mixed = (row * 73856093 ^ col * 19349663 ^ salt * 83492791) & 0xFFFFFFFF
    for factor in (0x85EBCA6B, 0xC2B2AE35):
        mixed = ((mixed ^ (mixed >> 15)) * factor) & 0xFFFFFFFF
    return ((mixed ^ (mixed >> 16)) & 0xFFFFFF) / 2**24
