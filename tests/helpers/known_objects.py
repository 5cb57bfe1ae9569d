"""A pass without imagery that writes objects of known place. For runs in seconds.

``steps: {ponds: {kind: "known_objects:ObjectPass", every: 24}}``, allowed by
``RSSCALE_PASSES=known_objects``. Cells of ``every`` pixels of the grid hold an object each, or
none: boxes and L-shapes whose place, class and score depend on nothing but the cell. Some reach
into other tiles; each belongs to the tile that holds its centre.
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
import pyarrow as pa
import pyproj
import shapely

from rsscale.errors import RsscaleError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.objects.columns import object_rows, object_schema
from rsscale.steps.base import Block, Pass, Result, Setup, Source
from rsscale.steps.kinds import ALLOWED
from rsscale.steps.options import Options

KIND = "known_objects:ObjectPass"
NAMES = {1: "pond", 4: "shed"}


class ObjectOptions(Options):
    """Pixels of a cell, which years have no objects at all, and a tile that fails."""

    every: int = 24
    without: tuple[int, ...] = ()
    fails: tuple[str, ...] = ()
    while_there: str = ""


@dataclass(repr=False, kw_only=True)
class ObjectPass(Pass):
    """Writes the objects of :func:`objects_in` whose centre lies in the tile and the area."""

    kind: ClassVar[str] = KIND
    version: ClassVar[str] = "1"
    Options: ClassVar[type[Options]] = ObjectOptions

    step: str
    schema: pa.Schema
    periods: tuple[str, ...]
    options: ObjectOptions
    sources: Mapping[str, Source] = field(default_factory=dict)

    @classmethod
    def open(cls, step: str, recipe: Any, options: Any, setup: Setup) -> list[Pass]:
        """No sources."""
        del recipe
        schema = object_schema(str(setup.grid.crs))
        return [cls(step=step, schema=schema, periods=setup.periods(), options=options)]

    def spans(self) -> Sequence[str]:
        """The recipe's periods."""
        return self.periods

    def parameters(self) -> Mapping[str, Any]:
        """What decides the objects."""
        return {"every": self.options.every, "without": self.options.without}

    def run(self, block: Block) -> Result:
        """The tile's own objects."""
        there = self.options.while_there
        if block.key.tile in self.options.fails and (not there or Path(there).exists()):
            raise RsscaleError(f"tile {block.key.tile} was told to fail")
        every = self.options.every
        found = objects_in(block.core, block.key.span, block.grid, every, self.step)
        if int(block.key.span[:4]) in self.options.without:
            found = found.slice(0, 0)
        cols, rows = _pixels(found, block.grid)
        inside = block.where[rows - block.core.row0, cols - block.core.col0]
        return Result(table=found.filter(pa.array(inside)))


def objects_in(
    box: PixelBox, span: str, grid: Grid, every: int = 24, step: str = "ponds"
) -> pa.Table:
    """All objects whose centre lies in a box of global pixels."""
    cells = [range(low // every, -(-high // every)) for low, high in
             ((box.row0, box.row1), (box.col0, box.col1))]  # fmt: skip
    row, col = (np.ravel(axis) for axis in np.meshgrid(*cells, indexing="ij"))
    year = int(span[:4])
    numbers = [_noise(row, col, year + 100 * n) for n in range(6)]
    kept = numbers[0] < 0.7
    row, col = row[kept], col[kept]
    right, down, wide, high, score = (one[kept] for one in numbers[1:])
    x, y = (col + 0.2 + 0.6 * right) * every, (row + 0.2 + 0.6 * down) * every
    wide, high = every * (0.1 + 0.9 * wide), every * (0.1 + 0.6 * high)  # some reach beyond
    inside = (x >= box.col0) & (x < box.col1) & (y >= box.row0) & (y < box.row1)
    row, col, x, y, wide, high, score = (one[inside] for one in (row, col, x, y, wide, high, score))
    (x0, y0), res = grid.origin, grid.resolution
    west, east = x0 + (x - wide / 2) * res, x0 + (x + wide / 2) * res
    north, south = y0 - (y - high / 2) * res, y0 - (y + high / 2) * res
    shapes = [
        shapely.box(w, s, e, n)
        if (r + c) % 3
        else shapely.Polygon(
            [(w, s), (e, s), (e, (s + n) / 2), ((w + e) / 2, (s + n) / 2), ((w + e) / 2, n), (w, n)]
        )
        for w, s, e, n, r, c in zip(west, south, east, north, row, col, strict=True)
    ]
    classes = np.where((row + 2 * col) % 5 < 3, 1, 4)
    return object_rows(
        shapes,
        crs=str(grid.crs),
        ids=[f"{r}_{c}" for r, c in zip(row, col, strict=True)],
        classes=classes,
        names=NAMES,
        area_m2=_areas(shapes, grid),
        span=span,
        run="known",
        step=step,
        model="0" * 16,
        scores=0.5 + 0.5 * score,
        cut=(row + col) % 11 == 0,
        parts=np.where((row + col) % 7 == 0, 2, 1),
    )


@contextmanager
def allowed(*more: str) -> Iterator[None]:
    """Let recipes name this pass, and others, here and in workers that are started meanwhile."""
    with mock.patch.dict(os.environ, {ALLOWED: ",".join(["known_objects", *more])}):
        yield


def _areas(shapes: list[shapely.Geometry], grid: Grid) -> list[float]:
    crs = pyproj.CRS(str(grid.crs))
    to_degrees = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    geod = crs.get_geod()
    found = []
    for shape in shapes:
        x, y = np.asarray(shape.exterior.coords).T
        found.append(abs(geod.polygon_area_perimeter(*to_degrees.transform(x, y))[0]))
    return found


def _pixels(table: pa.Table, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows of the centres."""
    (x0, y0), res = grid.origin, grid.resolution
    x, y = table["x"].to_numpy(), table["y"].to_numpy()
    return np.floor((x - x0) / res).astype(int), np.floor((y0 - y) / res).astype(int)


def _noise(row: np.ndarray, col: np.ndarray, salt: int) -> np.ndarray:
    """Numbers in [0, 1) that look random and depend on nothing but the cell and a salt."""
    mixed = (row * 73856093 ^ col * 19349663 ^ salt * 83492791) & 0xFFFFFFFF
    for factor in (0x85EBCA6B, 0xC2B2AE35):
        mixed = ((mixed ^ (mixed >> 15)) * factor) & 0xFFFFFFFF
    return ((mixed ^ (mixed >> 16)) & 0xFFFFFF) / 2**24
