"""A user's function over arrays: at once where they lie in memory, block by block where lazy."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, product
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from rsscale.cluster.sealed import Sealed
from rsscale.errors import AreaError, RecipeError
from rsscale.functions.call import UserFunction
from rsscale.functions.layers import EMPTY_CORE, seen_layers
from rsscale.geo.georeference import geobox_of
from rsscale.layers import Layer
from rsscale.steps.block import layers_dataset


def apply_to_arrays(
    name: str,
    function: Callable[..., xr.Dataset],
    of: Mapping[str, xr.Dataset],
    *,
    layers: tuple[Layer, ...] | None,
    halo: int,
    parameters: Mapping[str, Any],
) -> xr.Dataset:
    """The layers of a function over arrays. See :func:`rsscale.apply`."""
    box = _common_box(of)
    named = {n: dataset.transpose(..., "y", "x") for n, dataset in of.items()}
    layouts = {n: _Layout.of(n, dataset) for n, dataset in named.items()}
    arrays = [named[n].variables[m.name].data for n, layout in layouts.items() for m in layout.maps]
    if layers is None:
        size = EMPTY_CORE + 2 * halo
        small = GeoBox((size, size), box.affine, box.crs)
        empty = {n: layout.empty(small) for n, layout in layouts.items()}
        layers = seen_layers(name, function, empty, parameters)
    blocks = _Blocks(UserFunction(name, function, layers, halo, parameters), layouts, box.pad(halo))
    fills = [
        m.beyond(f"{n}.{m.name}") if halo else 0
        for n, layout in layouts.items()
        for m in layout.maps
    ]
    is_lazy = any(hasattr(array, "dask") for array in arrays)
    values = (_lazily if is_lazy else _at_once)(blocks, arrays, fills)
    like = next(iter(of.values()))
    coords = {name: like[name] for name in ("y", "x", "spatial_ref") if name in like.coords}
    return layers_dataset(layers, values, coords)


@dataclass(frozen=True)
class _Map:
    """One variable with ``y`` and ``x``, without its values.

    Attributes
    ----------
    name : str
    dims : tuple of str
        ``y`` and ``x`` last.
    leading : tuple of int
        Lengths of the others.
    dtype : dtype
    attributes : mapping
    is_coordinate : bool
    """

    name: str
    dims: tuple[Hashable, ...]
    leading: tuple[int, ...]
    dtype: np.dtype[Any]
    attributes: Mapping[Any, Any]
    is_coordinate: bool

    def nodata(self) -> Any:
        """Its nodata value; None when it declares none."""
        nodata = self.attributes.get("nodata", self.attributes.get("_FillValue"))
        if nodata is None and self.dtype.kind == "f":
            nodata = np.nan
        # A coordinate counts something, such as observations.
        if nodata is None and (self.is_coordinate or self.dtype.kind == "b"):
            nodata = 0
        return None if nodata is None else self.dtype.type(nodata)

    def beyond(self, name: str) -> Any:
        """The value beyond its edge.

        Raises
        ------
        RecipeError
            When it does not say.
        """
        nodata = self.nodata()
        if nodata is None:
            raise RecipeError(
                f"{name} is {self.dtype} and does not say what lies beyond its edge, within the "
                "halo; set its attribute 'nodata'"
            )
        return nodata


@dataclass(frozen=True)
class _Layout:
    """Layout of a Dataset of arrays over a box; holds no pixels, so it is cheap to pickle.

    Attributes
    ----------
    maps : tuple of _Map
    rest : Dataset
        Variables without ``y`` and ``x``, such as ``time`` and ``band``: the same in every block.
    """

    maps: tuple[_Map, ...]
    rest: xr.Dataset

    @classmethod
    def of(cls, name: str, dataset: xr.Dataset) -> _Layout:
        on_grid = {n: v for n, v in dataset.variables.items() if {"y", "x"} <= set(v.dims)}
        halves = [n for n, v in dataset.data_vars.items() if len({"y", "x"} & set(v.dims)) == 1]
        if halves:
            raise AreaError(f"{name}.{halves[0]} has one of y and x; it needs both, or neither")
        maps = tuple(
            _Map(str(n), v.dims, v.shape[:-2], v.dtype, v.attrs, n in dataset.coords)
            for n, v in on_grid.items()
        )
        rest = dataset.drop_vars([*on_grid, "y", "x"], errors="ignore").load()
        return cls(maps, rest)

    def block(self, values: Sequence[npt.NDArray[Any]], box: GeoBox) -> xr.Dataset:
        """The Dataset of some arrays over a box."""
        made = {
            m.name: xr.Variable(m.dims, array, dict(m.attributes))
            for m, array in zip(self.maps, values, strict=True)
        }
        places = {n: c for n, c in xr_coords(box, always_yx=True).items() if n in ("y", "x")}
        coordinates = [m.name for m in self.maps if m.is_coordinate]
        return self.rest.assign(made).assign_coords(places).set_coords(coordinates)

    def empty(self, box: GeoBox) -> xr.Dataset:
        """A block in which nothing was seen."""
        nodata = [0 if (value := m.nodata()) is None else value for m in self.maps]
        shapes = [(*m.leading, *box.shape) for m in self.maps]
        values = [
            np.full(shape, fill, m.dtype)
            for m, shape, fill in zip(self.maps, shapes, nodata, strict=True)
        ]
        return self.block(values, box)


@dataclass(frozen=True)
class _Blocks:
    """Computes one block: what a task of the graph calls.

    Attributes
    ----------
    function : UserFunction
    layouts : mapping of name to _Layout
    around : GeoBox
        All that the arrays cover, with the halo.
    """

    function: UserFunction
    layouts: Mapping[str, _Layout]
    around: GeoBox

    def __call__(
        self, row: int, col: int, values: Sequence[npt.NDArray[Any]]
    ) -> dict[str, npt.NDArray[Any]]:
        """The layers of the block that begins at a pixel, of all maps over it and its halo."""
        height, width = values[0].shape[-2:]
        box = self.around[row : row + height, col : col + width]
        given, rest = {}, list(values)
        for name, layout in self.layouts.items():
            count = len(layout.maps)
            given[name], rest = layout.block(rest[:count], box), rest[count:]
        halo = self.function.halo
        shape = (height - 2 * halo, width - 2 * halo)
        where = f"rows {row} to {row + shape[0]}, columns {col} to {col + shape[1]}"
        return self.function.values(given, shape, where)


def _at_once(blocks: _Blocks, arrays: Sequence[Any], fills: Sequence[Any]) -> dict[str, Any]:
    """Layers in memory: one block of everything."""
    halo = blocks.function.halo
    padded = []
    for array, fill in zip(arrays, fills, strict=True):
        width = [(0, 0)] * (array.ndim - 2) + [(halo, halo)] * 2
        # Copied also without a halo: a function may write into what it is given.
        padded.append(np.pad(array, width, constant_values=fill))
    return dict(blocks(0, 0, padded))


def _lazily(blocks: _Blocks, arrays: Sequence[Any], fills: Sequence[Any]) -> dict[str, Any]:
    """Layers as Dask arrays: one task a block computes all of them."""
    import dask.array as da
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph

    halo = blocks.function.halo
    cut = next(array.chunks[-2:] for array in arrays if hasattr(array, "dask"))
    around = [_overlapped(a, fill, cut, halo) for a, fill in zip(arrays, fills, strict=True)]
    sizes = [tuple(n - 2 * halo for n in lengths) for lengths in around[0].chunks[-2:]]
    starts = [list(accumulate(lengths, initial=0))[:-1] for lengths in sizes]
    places = list(product(*(range(len(lengths)) for lengths in sizes)))

    name = f"rsscale-apply-{tokenize(blocks.function, blocks.around, [a.name for a in around])}"
    graph = {
        (name, i, j): (
            Sealed(blocks),
            starts[0][i],
            starts[1][j],
            [(array.name, *(0,) * (array.ndim - 2), i, j) for array in around],
        )
        for i, j in places
    }
    base = HighLevelGraph.from_collections(name, graph, dependencies=around)
    lazy_arrays = {}
    for layer in blocks.function.layers:
        own = f"{name}-{layer.name}"
        leading, depth = ((0,), ((layer.depth,),)) if layer.axis else ((), ())
        taken = {(own, *leading, *p): (itemgetter(layer.name), (name, *p)) for p in places}
        layers = HighLevelGraph({**base.layers, own: taken}, {**base.dependencies, own: {name}})
        lazy_arrays[layer.name] = da.Array(
            layers, own, chunks=(*depth, *sizes), dtype=layer.numpy_dtype
        )
    return lazy_arrays


def _overlapped(array: Any, fill: Any, cut: tuple[tuple[int, ...], ...], halo: int) -> Any:
    """An array in whole blocks of rows and columns, each with its halo."""
    import dask.array as da

    same = da.asarray(array).rechunk((*array.shape[:-2], *cut))
    if not halo:
        return same
    axes = range(same.ndim)
    last = axes[-2:]
    depth = {axis: halo if axis in last else 0 for axis in axes}
    edge = {axis: fill if axis in last else "none" for axis in axes}
    return da.overlap.overlap(same, depth=depth, boundary=edge)


def _common_box(of: Mapping[str, xr.Dataset]) -> GeoBox:
    """The pixels that all arrays lie on."""
    boxes = {}
    for name, dataset in of.items():
        first = next((a for a in dataset.data_vars.values() if {"y", "x"} <= set(a.dims)), None)
        box = None if first is None else geobox_of(first)
        if not isinstance(box, GeoBox):
            raise AreaError(
                f"{name!r} has no variable with a georeference; it needs y, x and spatial_ref "
                "coordinates as rsscale.load and Run.open give them"
            )
        boxes[name] = box
    reference = next(iter(boxes.values()))
    for name, box in boxes.items():
        if box != reference:
            raise AreaError(f"{name!r} lies on {box}, the first on {reference}; use one grid")
    return reference
