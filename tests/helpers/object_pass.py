"""Objects without imagery: squares of a few pixels at places that the index of a cell decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import shapely

from rsscale.geo.grid import Grid
from rsscale.layers import Layer
from rsscale.legend.classes import LandClass
from rsscale.objects.columns import object_rows, object_schema
from rsscale.steps.base import Block, Pass, Result, Source

KIND = "object_pass:SquaresPass"
CELL = 10  # pixels: a square in each cell, but for every fifth
CLASSES = (LandClass(1, "pond", "#4a90c2"), LandClass(2, "shed", "#b5484b"))


@dataclass(repr=False, kw_only=True)
class SquaresPass(Pass):
    """Writes :func:`squares` whose centre lies in the tile."""

    kind: ClassVar[str] = KIND
    version: ClassVar[str] = "1"

    step: str
    periods: tuple[str, ...]
    schema: pa.Schema
    grid: Grid
    layers: tuple[Layer, ...] = ()
    classes: tuple[LandClass, ...] = CLASSES
    sources: Mapping[str, Source] = field(default_factory=dict)

    @classmethod
    def open(cls, step: str, recipe: Any, options: Any, setup: Any) -> list[Pass]:
        del recipe, options
        grid = setup.grid
        return [cls(step=step, periods=setup.periods(), schema=object_schema(grid.crs), grid=grid)]

    def spans(self) -> Sequence[str]:
        return self.periods

    def parameters(self) -> Mapping[str, Any]:
        return {}

    def run(self, block: Block) -> Result:
        box = block.core
        cells, corners = squares(
            np.arange(box.row0 // CELL, box.row1 // CELL + 1),
            np.arange(box.col0 // CELL, box.col1 // CELL + 1),
        )
        middle = corners[:, :2] + 2  # x, y
        inside = (
            (middle[:, 0] >= box.col0)
            & (middle[:, 0] < box.col1)
            & (middle[:, 1] >= box.row0)
            & (middle[:, 1] < box.row1)
        )
        cells, corners = cells[inside], corners[inside]
        (x0, y0), metres = self.grid.origin, self.grid.resolution
        x, y = x0 + metres * corners[:, [0, 2]], y0 - metres * corners[:, [1, 3]]
        shapes = shapely.box(x[:, 0], y[:, 1], x[:, 1], y[:, 0])
        rows = object_rows(
            shapes,
            crs=self.grid.crs,
            ids=[f"{row}-{col}" for row, col in cells.tolist()],
            classes=1 + (cells[:, 0] + cells[:, 1]) % 2,
            names={one.value: one.name for one in CLASSES},
            area_m2=shapely.area(shapes),
            span=block.key.span,
            run="test",
            step=self.step,
            model="model",
            scores=(cells[:, 1] % 50 + 40) / 100,
        )
        return Result(table=rows)


def squares(rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells ``row, col`` and the pixels ``x0, y0, x1, y1`` of their squares of 4 x 4."""
    cells = np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1).reshape(-1, 2)
    cells = cells[(cells.sum(axis=1) % 5) != 0]
    low = cells[:, ::-1] * CELL + 3
    return cells, np.hstack([low, low + 4])
