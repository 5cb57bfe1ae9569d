"""A pass without imagery: classes from a formula of global pixel indices, for runs in a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rsscale.geo.lattice import PixelBox
from rsscale.layers import Layer
from rsscale.steps.base import Block, Pass, Result, Source

KIND = "index_pass:IndexPass"
LAYER = Layer("classification", overview="mode", attributes={"flag_values": [1, 2, 3]})
# Metres of EPSG:32631: 400 x 300 px of 10 m, off all tile lines, a corner cut off.
AREA = ((729_005, 4_981_007), (732_995, 4_981_007), (733_005, 4_983_000), (729_500, 4_984_003))


@dataclass(repr=False, kw_only=True)
class IndexPass(Pass):
    """Writes :func:`classes` of the tile's pixels."""

    kind: ClassVar[str] = KIND
    version: ClassVar[str] = "1"

    step: str
    layers: tuple[Layer, ...] = (LAYER,)
    periods: tuple[str, ...]
    sources: Mapping[str, Source] = field(default_factory=dict)

    @classmethod
    def open(cls, step: str, recipe: Any, options: Any, setup: Any) -> list[Pass]:
        del recipe, options
        return [cls(step=step, periods=setup.periods())]

    def spans(self) -> Sequence[str]:
        return self.periods

    def parameters(self) -> Mapping[str, Any]:
        """None that decides a value."""
        return {}

    def run(self, block: Block) -> Result:
        values = {"classification": classes(block.core, int(block.key.span))}
        return Result(layers=block.dataset(self.layers, values))


def classes(box: PixelBox, year: int) -> np.ndarray:
    """Values 1 to 3 in patches of a few pixels, 255 here and there."""
    row = np.arange(box.row0, box.row1, dtype=np.int64)[:, None]
    col = np.arange(box.col0, box.col1, dtype=np.int64)[None, :]
    mixed = (row // 6 * 73856093 ^ col // 6 * 19349663 ^ year * 83492791) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 15)) * 0x85EBCA6B) & 0xFFFFFFFF
    draw = mixed >> 16 & 63
    return np.where(draw == 0, 255, 1 + draw % 3).astype(np.uint8)


def index_recipe(folder: Path, *, tile: int = 64, **changes: Any) -> dict[str, Any]:
    """A recipe whose map is the formula's; ``steps`` are further ones."""
    import geopandas as gpd
    import shapely

    area = folder / "area.gpkg"
    if not area.exists():
        frame = gpd.GeoDataFrame(geometry=[shapely.Polygon(AREA)], crs="EPSG:32631")
        frame.to_file(area)
    steps = {"map": {"kind": KIND}, **changes.pop("steps", {})}
    return {
        "name": "index",
        "area": str(area),
        "grid": {"crs": "EPSG:32631", "resolution": 10, "tile": tile},
        "periods": [2023],
        "steps": steps,
        **changes,
    }
