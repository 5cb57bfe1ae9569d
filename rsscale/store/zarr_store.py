"""The product: one Zarr v3 group for all periods, written a whole shard at a time.

Made with zarr-python itself, since a template written by xarray leaves Zarr's own fill
value at 0, so that a tile that has not run would read as class 0.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyproj
import xarray as xr
import zarr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from zarr.core.buffer import cpu
from zarr.storage import MemoryStore

from rsscale.errors import RunFolderError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.layers import NODATA
from rsscale.store.failpoints import failpoint
from rsscale.store.storage import Place

_CHUNK = 512
# An all-nodata shard must be stored too: a missing object is how a lost one looks.
_CONFIG: Any = {"write_empty_chunks": True}
# https://github.com/zarr-conventions/zarr-conventions-spec: how a reader knows the prefixes.
_CONVENTIONS = [
    {
        "name": "spatial",
        "schema_url": "https://raw.githubusercontent.com/zarr-conventions/spatial/refs/tags/v1/schema.json",
        "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
        "spec_url": "https://github.com/zarr-conventions/spatial/blob/v1/README.md",
        "description": "Spatial coordinate information",
    },
    {
        "name": "proj:",
        "schema_url": "https://raw.githubusercontent.com/zarr-conventions/geo-proj/refs/tags/v1/schema.json",
        "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
        "spec_url": "https://github.com/zarr-conventions/geo-proj/blob/v1/README.md",
        "description": "Coordinate reference system information for geospatial data",
    },
]


@dataclass(frozen=True)
class Layer:
    """One uint8 layer of a product, dims ``(time, y, x)`` or ``(time, class, y, x)``.

    Attributes
    ----------
    name : str
        The variable's name.
    attributes : mapping
        CF attributes.
    classes : tuple of int
        Class values along the ``class`` dimension; empty for a 2-D layer.
    """

    name: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[int, ...] = ()


def inner_chunk(tile: int) -> int:
    """The largest width up to 512 px that divides a tile: the unit that readers decode."""
    return max(width for width in range(1, min(tile, _CHUNK) + 1) if tile % width == 0)


def create(
    product: Place,
    grid: Grid,
    extent: PixelBox,
    *,
    times: Sequence[np.datetime64],
    layers: Sequence[Layer],
    attributes: Mapping[str, Any],
) -> None:
    """Create the empty product; every pixel reads as nodata (255).

    Parameters
    ----------
    product : Place
        A folder without a product; anything that is there is replaced.
    grid : Grid
        Its tile width becomes the shard width: one task writes whole shards, alone.
    extent : PixelBox
        All tiles of the run; must lie on tile lines.
    times : sequence of datetime64
        Start of each period.
    layers : sequence of Layer
        What a tile writes.
    attributes : mapping
        Attributes of the group.

    Raises
    ------
    RunFolderError
        When a tile is not a whole number of shards, or the folder can't be written.
    """
    if extent.snap(grid.tile) != extent:
        raise RunFolderError(
            f"the product's extent {extent} does not lie on tile lines of {grid.tile} px, so two "
            "tiles would write one shard and lose each other's data; align it to the grid's tiles"
        )
    box, store = grid.geobox_of(extent), product.zarr(read_only=False)
    try:
        root = zarr.create_group(
            store, overwrite=True, zarr_format=3, attributes={**attributes, **_conventions(box)}
        )
    except OSError as error:
        raise RunFolderError(
            f"{product.url} can't be written: {error.strerror or error}"
        ) from error
    _write_coordinates(root, box, times)
    for layer in layers:
        _create_layer(root, layer, len(times), extent, grid.tile)
    with warnings.catch_warnings():
        # Zarr warns that consolidated metadata is not in the v3 specification; xarray reads it.
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        zarr.consolidate_metadata(store, zarr_format=3)


def write_tile(
    product: Place,
    period: int,
    box: PixelBox,
    extent: PixelBox,
    ds: xr.Dataset,
    *,
    before_write: Callable[[], None] = lambda: None,
) -> dict[str, str]:
    """Write one tile's layers as whole shards, each there whole or not at all, and durable.

    Shards are encoded in memory and put in one step: zarr would merge into a shard that is
    there, fail on one that is damaged, and never sync.

    Parameters
    ----------
    product : Place
        The product.
    period : int
        Index along time.
    box, extent : PixelBox
        The tile's core, and the product's extent.
    ds : Dataset
        ``(y, x)`` layers over ``box``.
    before_write : callable
        Called before each shard is put; raises where the tile is not wanted any more.

    Returns
    -------
    dict of str to str
        SHA-256 of the stored object of each layer.
    """
    digests = {}
    for number, name in enumerate(map(str, ds.data_vars)):
        metadata = json.loads(product.read(f"{name}/zarr.json"))
        key = _shard_key(name, metadata, period, box, extent)
        content = _encode(metadata, ds[name].values)
        if number:
            failpoint("between-layers")
        before_write()
        product.write(key, content)
        digests[name] = hashlib.sha256(content).hexdigest()
    return digests


def _encode(metadata: Mapping[str, Any], values: np.ndarray) -> bytes:
    """The bytes of one shard, by the codecs of the array that it belongs to."""
    lone = {**metadata, "shape": metadata["chunk_grid"]["configuration"]["chunk_shape"]}
    memory: dict[str, Any] = {"zarr.json": cpu.Buffer.from_bytes(json.dumps(lone).encode())}
    array = zarr.open_array(MemoryStore(memory), mode="r+", zarr_format=3).with_config(_CONFIG)
    array[...] = values[np.newaxis]
    (shard,) = (content for path, content in memory.items() if path != "zarr.json")
    content: bytes = shard.to_bytes()
    return content


def _shard_key(
    name: str, metadata: Mapping[str, Any], period: int, box: PixelBox, extent: PixelBox
) -> str:
    """Where the shard of a tile is stored (Zarr v3 core, default chunk key encoding)."""
    rows, cols = box.slices(extent)
    shape = metadata["chunk_grid"]["configuration"]["chunk_shape"]
    index = (period, *(0,) * (len(shape) - 3), rows.start // shape[-2], cols.start // shape[-1])
    return "/".join([name, "c", *map(str, index)])


def tile_digests(
    product: Place, names: Sequence[str], period: int, box: PixelBox, extent: PixelBox
) -> dict[str, str]:
    """SHA-256 of a tile's stored objects as they are now; ``""`` for one that is not there."""
    found = {}
    for name in names:
        try:
            metadata = json.loads(product.read(f"{name}/zarr.json"))
            content = product.read(_shard_key(name, metadata, period, box, extent))
        except FileNotFoundError:
            found[name] = ""
        else:
            found[name] = hashlib.sha256(content).hexdigest()
    return found


def open_product(product: Place) -> xr.Dataset:
    """The product as a lazy Dataset, dims ``(time, y, x)``, uint8; chunks are whole shards."""
    if not product.exists("zarr.json"):
        raise RunFolderError(f"there is no product at {product.url}; run the recipe first")
    source = product.zarr(read_only=True)
    ds = xr.open_zarr(source, chunks={})
    first = next(iter(ds.data_vars.values()))
    width = first.encoding.get("shards", first.encoding["chunks"])[-1]
    opened: xr.Dataset = xr.open_zarr(source, chunks={"time": 1, "y": width, "x": width})
    return opened


def _write_coordinates(root: zarr.Group, box: GeoBox, times: Sequence[np.datetime64]) -> None:
    coords = xr_coords(box, always_yx=True)
    for name in ("y", "x"):
        values = np.asarray(coords[name].values, np.float64)
        # One chunk: a coordinate is read whole, always.
        root.create_array(
            name,
            data=values,
            chunks=values.shape,
            dimension_names=(name,),
            fill_value=np.nan,
            attributes={k: v for k, v in coords[name].attrs.items() if k != "crs"},
        )
    days = np.array(times, "datetime64[D]").astype(np.int64)
    root.create_array(
        "time",
        data=days,
        chunks=days.shape,
        dimension_names=("time",),
        attributes={
            "standard_name": "time",
            "units": "days since 1970-01-01",
            "calendar": "proleptic_gregorian",
        },
    )
    crs = coords["spatial_ref"]
    root.create_array(
        "spatial_ref", data=np.array(0, np.int32), dimension_names=(), attributes=dict(crs.attrs)
    )


def _create_layer(root: zarr.Group, layer: Layer, times: int, extent: PixelBox, tile: int) -> None:
    chunk = inner_chunk(tile)
    classes = (len(layer.classes),) if layer.classes else ()
    root.create_array(
        layer.name,
        shape=(times, *classes, *extent.shape),
        dtype=np.uint8,
        chunks=(1, *classes, chunk, chunk),
        shards=(1, *classes, tile, tile),
        fill_value=NODATA,
        dimension_names=("time", "class", "y", "x") if classes else ("time", "y", "x"),
        # `_FillValue` would make xarray return float32.
        attributes={
            **layer.attributes,
            "nodata": NODATA,
            "grid_mapping": "spatial_ref",
            "coordinates": "spatial_ref",
        },
        config=_CONFIG,
    )
    if layer.classes and "class" not in root:
        values = np.array(layer.classes, np.uint8)
        root.create_array("class", data=values, chunks=values.shape, dimension_names=("class",))


def _conventions(box: GeoBox) -> dict[str, Any]:
    """Georeference by the Zarr conventions ``spatial`` and ``proj``, beside CF's spatial_ref."""
    crs = pyproj.CRS(str(box.crs))
    code = crs.to_epsg()
    proj = {"proj:code": f"EPSG:{code}"} if code else {"proj:wkt2": crs.to_wkt()}
    return {
        "zarr_conventions": _CONVENTIONS,
        "spatial:dimensions": ["y", "x"],
        "spatial:bbox": list(box.boundingbox.bbox),
        "spatial:transform": list(box.affine)[:6],
        "spatial:shape": list(box.shape),
        **proj,
    }
