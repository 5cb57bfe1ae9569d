"""Read a run's layers for a report: in blocks, and from overviews where that is enough."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import odc.geo.xr  # noqa: F401 -- gives datasets their .odc
import xarray as xr

from rsscale.errors import RunFolderError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.geo.pixel_area import pixel_areas
from rsscale.layers import NODATA
from rsscale.legend.values import class_values, declared_nodata
from rsscale.runs.run import Run
from rsscale.store.run_state import run_grid

_BLOCK = 2048  # pixels: memory of a block is some 100 MB with its areas, whatever the product
# Up to so many pixels are counted one by one; of more, those of an overview.
COUNTED = 1_000_000_000
_VALUES = 256


@dataclass(frozen=True, eq=False)
class Product:
    """The layers of a step at one of its levels.

    Attributes
    ----------
    ds : Dataset
        Lazy, ``(time, y, x)``.
    grid : Grid
        Of the level.
    box : PixelBox
        What it covers.
    level : int
        0 is the full resolution.
    """

    ds: xr.Dataset
    grid: Grid
    box: PixelBox
    level: int

    def blocks(self, *, most: int | None = None) -> Iterator[tuple[slice, slice]]:
        """Rows and columns of squares that together cover it.

        Parameters
        ----------
        most : int, optional
            So many pixels at most: blocks at even distances.
        """
        height, width = self.box.shape
        corners = [(r, c) for r in range(0, height, _BLOCK) for c in range(0, width, _BLOCK)]
        every = 1 if most is None else max(math.ceil(height * width / most), 1)
        for row, col in corners[every // 2 :: every]:
            yield slice(row, row + _BLOCK), slice(col, col + _BLOCK)

    def areas(self, rows: slice, cols: slice) -> npt.NDArray[np.float64]:
        """Hectares of each pixel of a block, on the ellipsoid."""
        height, width = self.box.shape
        part = PixelBox(
            self.box.row0 + rows.start, self.box.col0 + cols.start,
            self.box.row0 + min(rows.stop, height), self.box.col0 + min(cols.stop, width),
        )  # fmt: skip
        areas = pixel_areas(self.grid, part) / 10_000
        return np.broadcast_to(areas, part.shape)


def open_level(run: Run, state: Mapping[str, Any], step: str, *, most: float) -> Product:
    """The finest level of a step that has at most so many pixels, or else the coarsest there is.

    Raises
    ------
    RunFolderError
        When the step has no layers.
    """
    product = _opened(run, state, step, 0)
    for level in range(1, _levels(run, state, step) + 1):
        if math.prod(product.box.shape) <= most:
            break
        product = _opened(run, state, step, level)
    return product


def _levels(run: Run, state: Mapping[str, Any], step: str) -> int:
    """How many finished levels of overviews a step's store has."""
    made = [
        other
        for name, other in state["steps"].items()
        if other.get("store") == state["steps"][step].get("store", step) and name != step
    ]
    if not made or any(step["tiles"]["done"] < step["tiles"]["total"] for step in made):
        return 0
    store, level = run.folder.store(step), 0
    while store.exists(f"{level + 1}/zarr.json"):
        level += 1
    return level


def _opened(run: Run, state: Mapping[str, Any], step: str, level: int) -> Product:
    ds = run.open(step, level)
    grid = run_grid(state).at_level(level)
    return Product(ds, grid, grid.box_of(ds.odc.geobox), level)


def count_classes(
    product: Product, layer: xr.DataArray
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Pixels and hectares of each value of a layer ``(y, x)``; 255 is no value."""
    pixels, hectares = np.zeros(_VALUES, np.int64), np.zeros(_VALUES)
    nodata = declared_nodata(layer)
    for rows, cols in product.blocks():
        values = class_values(layer[rows, cols].values, nodata, holder=str(layer.name)).ravel()
        pixels += np.bincount(values, minlength=_VALUES)
        if (values != NODATA).any():
            areas = product.areas(rows, cols).ravel()
            hectares += np.bincount(values, weights=areas, minlength=_VALUES)
    return pixels, hectares


def count_pairs(
    product: Product, before: xr.DataArray, after: xr.DataArray
) -> npt.NDArray[np.float64]:
    """Hectares of each pair of values of two layers ``(y, x)``: ``(256, 256)``."""
    total = np.zeros(_VALUES * _VALUES)
    for rows, cols in product.blocks():
        first, second = (
            class_values(layer[rows, cols].values, declared_nodata(layer), holder=str(layer.name))
            for layer in (before, after)
        )
        pairs = first.astype(np.int64).ravel() * _VALUES + second.ravel()
        if (pairs != _VALUES * _VALUES - 1).any():
            areas = product.areas(rows, cols).ravel()
            total += np.bincount(pairs, weights=areas, minlength=total.size)
    return total.reshape(_VALUES, _VALUES)


def check_has(ds: xr.Dataset, layer: str, step: str) -> xr.DataArray:
    """A layer of a step, ``(time, y, x)``."""
    if layer not in ds.data_vars:
        raise RunFolderError(f"step {step!r} has no layer {layer!r}")
    layer_array = ds[layer]
    layer_array = layer_array if "time" in layer_array.dims else layer_array.expand_dims("time")
    return layer_array.transpose("time", "y", "x")
