"""The layers of a step: one Zarr v3 group, written a whole shard at a time.

Made with zarr-python itself, since a template written by xarray leaves Zarr's own fill
value at 0, so that a tile that has not run would read as class 0.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr
from zarr import AsyncArray
from zarr.storage import MemoryStore, StorePath

from rsscale.errors import RecipeError, RunFolderError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.layers import Layer, TileKey
from rsscale.store import conventions
from rsscale.store.failpoints import failpoint
from rsscale.store.storage import Storage

_CHUNK = 512
_SHARD_BYTES = 300_000_000
# An all-nodata shard must be stored too: a missing object is how a lost one looks.
_CONFIG: Any = {"write_empty_chunks": True}


def inner_chunk(tile: int) -> int:
    """The largest width up to 512 px that divides a tile: the unit that readers decode."""
    return max(width for width in range(1, min(tile, _CHUNK) + 1) if tile % width == 0)


def axis_chunk(layer: Layer, tile: int) -> int:
    """Values along a layer's axis in one shard, so that a shard stays below 300 MB.

    Raises
    ------
    RecipeError
        When even one value, or the chunk that the layer asks for, is larger.
    """
    value_bytes = tile * tile * layer.numpy_dtype.itemsize
    most = _SHARD_BYTES // value_bytes
    wanted = layer.axis.chunk if layer.axis and layer.axis.chunk else min(layer.depth, most)
    if wanted > most or most == 0:
        raise RecipeError(
            f"a shard of layer {layer.name!r}, {max(wanted, 1)} values of {tile} x {tile} px, takes "
            f"{max(wanted, 1) * value_bytes / 1e6:.0f} MB in memory; it may take "
            f"{_SHARD_BYTES / 1e6:.0f} MB: use a smaller grid.tile or axis chunk"
        )
    return wanted


@dataclass(frozen=True)
class ZarrStore:
    """The layers of one step at one level: a sink that writes whole shards, alone.

    Attributes
    ----------
    storage : Storage
        The root of the Zarr hierarchy.
    grid : Grid
        Of the level; its tile width is the width of a shard.
    extent : PixelBox
        All tiles: what the arrays cover. Must lie on tile lines.
    spans : tuple of str
        Along the time axis.
    times : tuple of datetime64
        Coordinate of each span.
    layers : tuple of Layer
    group : str
        Path of the group below the root; empty for the root itself.
    """

    storage: Storage
    grid: Grid
    extent: PixelBox
    spans: tuple[str, ...]
    times: tuple[np.datetime64, ...]
    layers: tuple[Layer, ...]
    group: str = ""

    def create(self, attributes: Mapping[str, Any] | None = None) -> None:
        """Create the empty group; every pixel reads as its layer's nodata.

        Replaces the metadata of one that is there and leaves its shards, so that a store can
        grow; :func:`consolidate` the root afterwards.

        Raises
        ------
        RunFolderError
            When a tile is not a whole number of shards, or the folder can't be written.
        """
        for name, content in self._empty(attributes).items():
            self.storage.write(name, content)

    def lost(self) -> list[str]:
        """Names of metadata and coordinates that are not there; none of a store that is whole."""
        # Chunks of time and spatial_ref are not stored where they hold their fill value.
        arrays = [*(layer.name for layer in self.layers), "y", "x", "time", "spatial_ref"]
        arrays += [layer.axis.name for layer in self.layers if layer.axis]
        names = ["zarr.json", *(f"{name}/zarr.json" for name in arrays), "y/c/0", "x/c/0"]
        return [name for name in map(self._path, names) if not self.storage.exists(name)]

    def _empty(self, attributes: Mapping[str, Any] | None) -> dict[str, bytes]:
        """All objects of the empty group, by their names."""
        if self.extent.snap(self.grid.tile) != self.extent:
            raise RunFolderError(
                f"the product's extent {self.extent} does not lie on tile lines of "
                f"{self.grid.tile} px, so two tiles would write one shard and lose each other's "
                "data; align it to the grid's tiles"
            )
        box = self.grid.geobox_of(self.extent)
        memory: dict[str, Any] = {}
        group = zarr.create_group(
            MemoryStore(memory),
            zarr_format=3,
            attributes={
                **(attributes or {}),
                **conventions.georeference(box),
                "rsscale": {"spans": list(self.spans)},
            },
        )
        conventions.write_coordinates(group, box, self.times)
        for layer in self.layers:
            self._create_layer(group, layer)
        return {self._path(name): content.to_bytes() for name, content in memory.items()}

    def write(
        self,
        key: TileKey,
        layers: xr.Dataset,
        *,
        before_write: Callable[[], None] = lambda: None,
    ) -> dict[str, str]:
        """Write one tile's layers as whole shards, each there whole or not at all, and durable.

        Shards are encoded in memory and put in one step: zarr would merge into a shard that is
        there, fail on one that is damaged, and never sync.

        Parameters
        ----------
        key : TileKey
        layers : Dataset
            ``(y, x)`` or ``(axis, y, x)`` over the tile, of the store's layers.
        before_write : callable
            Called before each shard is put; raises where the tile is not wanted any more.

        Returns
        -------
        dict of str to str
            SHA-256 of the stored objects of each layer.
        """
        digests = {}
        for number, layer in enumerate(self.layers):
            if number:
                failpoint("between-layers")
            total = hashlib.sha256()
            parts = self._parts(layer, layers[layer.name].values)
            for name, values in zip(self._shards(layer, key), parts, strict=True):
                content = self._encode(layer, values)
                before_write()
                self.storage.write(name, content, point="before-rename")
                total.update(content)
            digests[layer.name] = total.hexdigest()
        return digests

    def stored(self, key: TileKey) -> dict[str, str]:
        """SHA-256 of a tile's stored objects as they are now; ``""`` where one is not there."""
        digests = {}
        for layer in self.layers:
            total = hashlib.sha256()
            try:
                for name in self._shards(layer, key):
                    total.update(self.storage.read(name))
            except FileNotFoundError:
                digests[layer.name] = ""
            else:
                digests[layer.name] = total.hexdigest()
        return digests

    def read(self, name: str, span: str, box: PixelBox) -> npt.NDArray[Any]:
        """Stored values of a layer over any box of the level's grid; nodata beyond the extent.

        Parameters
        ----------
        name : str
            Of the layer.
        span : str
        box : PixelBox

        Returns
        -------
        numpy.ndarray
            ``(y, x)`` or ``(axis, y, x)``, of the layer's type.

        Raises
        ------
        RunFolderError
            When a shard that is there can't be decoded.
        """
        layer = next(layer for layer in self.layers if layer.name == name)
        out = np.full(layer.shape(*box.shape), layer.nodata, layer.numpy_dtype)
        inside = box & self.extent
        if not inside.empty:
            rows, cols = inside.slices(self.extent)
            axis = (slice(None),) if layer.axis else ()
            try:
                values = self._arrays[name][(self.spans.index(span), *axis, rows, cols)]
            except Exception as error:
                raise RunFolderError(
                    f"{name} of {span} in {self.storage.url} can't be read: {error}; verify the run"
                ) from error
            out[(..., *inside.slices(box))] = values
        return out

    def shards(self, key: TileKey) -> Iterator[str]:
        """Names of all stored objects of a tile, from the root."""
        for layer in self.layers:
            yield from self._shards(layer, key)

    def shards_by_layer(self, key: TileKey) -> dict[str, list[str]]:
        """Names of the stored objects of each layer of a tile, from the root, in digest's order."""
        return {layer.name: list(self._shards(layer, key)) for layer in self.layers}

    def widened(self, extent: PixelBox, spans: Sequence[str], times: Sequence[Any]) -> ZarrStore:
        """The same store over more tiles or spans."""
        return replace(self, extent=extent, spans=tuple(spans), times=tuple(times))

    @cached_property
    def _arrays(self) -> dict[str, Any]:
        root = zarr.open_group(self.storage.zarr(read_only=True), mode="r", path=self.group)
        return {layer.name: root[layer.name] for layer in self.layers}

    def _path(self, name: str) -> str:
        return f"{self.group}/{name}" if self.group else name

    def _shards(self, layer: Layer, key: TileKey) -> Iterator[str]:
        """Names of a tile's shards (Zarr v3 core, default chunk key encoding)."""
        box = self.grid.tile_at(key.ix, key.iy).box
        rows, cols = box.slices(self.extent)
        tile = self.grid.tile
        place = (str(rows.start // tile), str(cols.start // tile))
        time = str(self.spans.index(key.span))
        for number in range(_chunks(layer, tile)):
            axis = (str(number),) if layer.axis else ()
            yield self._path("/".join([layer.name, "c", time, *axis, *place]))

    def _parts(self, layer: Layer, values: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
        """The data of each shard of a tile; the last is padded with nodata."""
        if layer.axis is None:
            yield values
            return
        size = axis_chunk(layer, self.grid.tile)
        for start in range(0, layer.depth, size):
            part = values[start : start + size]
            if len(part) < size:
                rest = np.full((size - len(part), *part.shape[1:]), layer.nodata, part.dtype)
                part = np.concatenate([part, rest])
            yield part

    def _encode(self, layer: Layer, values: npt.NDArray[Any]) -> bytes:
        """The bytes of one shard, by the codecs of the array that it belongs to."""
        metadata = _shard_metadata(layer.dtype, layer.nodata, *self._chunks_and_shard(layer))
        memory: dict[str, Any] = {}
        place = StorePath(MemoryStore(memory))
        zarr.Array(AsyncArray(metadata, place, _CONFIG))[...] = values[np.newaxis]
        (shard,) = memory.values()
        content: bytes = shard.to_bytes()
        return content

    def _chunks_and_shard(self, layer: Layer) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shapes of what readers decode and of what is written whole, with the time axis."""
        tile, chunk = self.grid.tile, inner_chunk(self.grid.tile)
        size = (axis_chunk(layer, tile),) if layer.axis else ()
        return (1, *size, chunk, chunk), (1, *size, tile, tile)

    def _create_layer(self, group: zarr.Group, layer: Layer) -> None:
        depth = (layer.depth,) if layer.axis else ()
        chunks, shard = self._chunks_and_shard(layer)
        group.create_array(
            layer.name,
            shape=(len(self.spans), *depth, *self.extent.shape),
            dtype=layer.dtype,
            chunks=chunks,
            shards=shard,
            fill_value=layer.numpy_dtype.type(layer.nodata),
            dimension_names=("time", *layer.dims()),
            attributes={
                **layer.cf_attributes(),
                "grid_mapping": "spatial_ref",
                "coordinates": "spatial_ref",
            },
            config=_CONFIG,
        )
        if layer.axis and layer.axis.name not in group:
            values = np.array(layer.axis.values)
            small = values.astype(np.uint8) if values.min() >= 0 and values.max() < 256 else values
            group.create_array(
                layer.axis.name,
                data=small,
                chunks=small.shape,
                dimension_names=(layer.axis.name,),
            )


@lru_cache(maxsize=64)
def _shard_metadata(
    dtype: str, nodata: float, chunks: tuple[int, ...], shard: tuple[int, ...]
) -> Any:
    """Zarr metadata of an array of one shard.

    A NaN is found again as the object that it is, which a layer keeps; one of NumPy's that is made
    for each call would not be.
    """
    array = zarr.create_array(
        MemoryStore(),
        shape=shard,
        dtype=dtype,
        chunks=chunks,
        shards=shard,
        fill_value=np.dtype(dtype).type(nodata),
    )
    return array.metadata


def _chunks(layer: Layer, tile: int) -> int:
    """Shards of one tile along the axis."""
    return math.ceil(layer.depth / axis_chunk(layer, tile)) if layer.axis else 1


def describe_levels(
    storage: Storage, overviews: Sequence[ZarrStore], methods: Sequence[str]
) -> None:
    """Write a store's overviews into its root attributes, by the convention ``multiscales``.

    Parameters
    ----------
    storage : Storage
    overviews : sequence of ZarrStore
        Groups of the same store, from fine to coarse.
    methods : sequence of str
        How their layers were reduced.
    """
    root = json.loads(storage.read("zarr.json"))
    root.pop("consolidated_metadata", None)
    boxes = {store.group: store.grid.geobox_of(store.extent) for store in overviews}
    root["attributes"] = conventions.multiscales(root["attributes"], boxes, methods)
    storage.write("zarr.json", json.dumps(root).encode())


def consolidate(storage: Storage) -> None:
    """Write the consolidated metadata of a whole store, which xarray opens by one read."""
    with warnings.catch_warnings():
        # Zarr warns that consolidated metadata is not in the v3 specification; xarray reads it.
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        try:
            zarr.consolidate_metadata(storage.zarr(read_only=False), zarr_format=3)
        except OSError as error:
            raise RunFolderError(
                f"{storage.url} can't be written: {error.strerror or error}"
            ) from error


def open_product(storage: Storage, group: str = "") -> xr.Dataset:
    """A step's layers as a lazy Dataset, dims ``(time, y, x)``; chunks are whole shards.

    Parameters
    ----------
    storage : Storage
    group : str
        Path of a group in the store, such as ``"1"``, the first overview.

    Raises
    ------
    RunFolderError
        When there is none.
    """
    if not storage.exists(f"{group}/zarr.json" if group else "zarr.json"):
        raise RunFolderError(f"there is no product at {storage.url}; run the recipe first")
    source = storage.zarr(read_only=True)
    options: dict[str, Any] = {"group": group} if group else {}
    ds = xr.open_zarr(source, chunks={}, **options)
    first = next(iter(ds.data_vars.values()))
    width = first.encoding.get("shards", first.encoding["chunks"])[-1]
    chunks = {"time": 1, "y": width, "x": width}
    opened: xr.Dataset = xr.open_zarr(source, chunks=chunks, **options)
    # What the Zarr's conventions say is told by coordinates, which a part of it keeps true.
    opened.attrs = conventions.without_georeference(opened.attrs)
    return opened
