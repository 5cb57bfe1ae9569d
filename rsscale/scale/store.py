"""The product: one Zarr v3 group for all periods, written a whole shard at a time.

Made with zarr-python itself, since a template written by xarray leaves Zarr's own fill
value at 0, so that a tile that has not run would read as class 0.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import xarray as xr
import zarr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from rsscale import durable
from rsscale.errors import RunFolderError
from rsscale.grid import Grid, PixelBox
from rsscale.modelspec import NODATA
from rsscale.scale.failpoints import failpoint

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
    path: Path,
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
    path : Path
        A folder that does not exist yet.
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
    box = grid.geobox_of(extent)
    try:
        root = zarr.create_group(
            path, zarr_format=3, attributes={**attributes, **_conventions(box)}
        )
    except OSError as error:
        raise RunFolderError(f"{path} can't be written: {error.strerror or error}") from error
    _write_coordinates(root, box, times)
    for layer in layers:
        _create_layer(root, layer, len(times), extent, grid.tile)
    with warnings.catch_warnings():
        # Zarr warns that consolidated metadata is not in the v3 specification; xarray reads it.
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        zarr.consolidate_metadata(path, zarr_format=3)


def write_tile(
    path: Path,
    period: int,
    box: PixelBox,
    extent: PixelBox,
    ds: xr.Dataset,
    *,
    tile: str = "",
) -> dict[str, str]:
    """Write one tile's layers as whole shards and make them durable.

    Parameters
    ----------
    path : Path
        The product.
    period : int
        Index along time.
    box, extent : PixelBox
        The tile's core, and the product's extent.
    ds : Dataset
        ``(y, x)`` layers over ``box``.
    tile : str
        The tile's id, for failpoints.

    Returns
    -------
    dict of str to str
        SHA-256 of the stored object of each layer.
    """
    root = zarr.open_group(path, mode="r+", zarr_format=3)
    rows, cols = box.slices(extent)
    digests: dict[str, str] = {}
    for name in ds.data_vars:
        if digests:
            failpoint("between-layers", tile)
        array = _array(root, str(name)).with_config(_CONFIG)
        shard = shard_path(path, array, period, box, extent)
        # zarr merges into a shard that is there, and fails on one that is damaged.
        shard.unlink(missing_ok=True)
        array[(period, ..., rows, cols)] = ds[name].values
        # zarr renames but never syncs.
        durable.sync(shard)
        durable.sync(shard.parent)
        digests[str(name)] = digest(shard)
    return digests


def shard_path(
    path: Path, array: zarr.Array[Any], period: int, box: PixelBox, extent: PixelBox
) -> Path:
    """Where the shard of a tile is stored."""
    rows, cols = box.slices(extent)
    width = array.shards[-1] if array.shards else array.chunks[-1]
    index = (period, *(0,) * (array.ndim - 3), rows.start // width, cols.start // width)
    return path / array.basename / array.metadata.encode_chunk_key(index)


def tile_digests(
    path: Path, names: Sequence[str], period: int, box: PixelBox, extent: PixelBox
) -> dict[str, str]:
    """SHA-256 of a tile's stored objects as they are now; ``""`` for one that is not there."""
    root = zarr.open_group(path, mode="r", zarr_format=3)
    return {
        name: digest(shard_path(path, _array(root, name), period, box, extent)) for name in names
    }


def digest(path: Path) -> str:
    """SHA-256 of a file, or ``""`` where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


def open_product(path: Path) -> xr.Dataset:
    """The product as a lazy Dataset, dims ``(time, y, x)``, uint8; chunks are whole shards."""
    if not path.exists():
        raise RunFolderError(f"there is no product at {path}; run the recipe first")
    ds = xr.open_zarr(path, chunks={})
    first = next(iter(ds.data_vars.values()))
    width = first.encoding.get("shards", first.encoding["chunks"])[-1]
    product: xr.Dataset = xr.open_zarr(path, chunks={"time": 1, "y": width, "x": width})
    return product


def _array(root: zarr.Group, name: str) -> zarr.Array[Any]:
    found = root[name]
    if not isinstance(found, zarr.Array):
        raise RunFolderError(f"{root.store_path}/{name} is a group; expected an array")
    return found


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
