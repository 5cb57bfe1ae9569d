"""Inputs and result of a pass for one tile, and the protocol of sources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import xarray as xr

from rsscale.cluster.profile import NumericProfile
from rsscale.errors import RsscaleError
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.layers import Layer, TileKey
from rsscale.read.stage_timer import StageTimer

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class Resources:
    """Resources that one tile computes with, and counters of its work.

    Attributes
    ----------
    profile : NumericProfile
        Device, threads, batch, precision.
    meter : StageTimer
        Filled while sources are read: how long threads worked and read, how many bytes.
    unreadable : dict of asset to str
        Filled likewise: what could not be read and counts as not seen, where the recipe says so.
    """

    profile: NumericProfile
    meter: StageTimer = field(default_factory=StageTimer)
    unreadable: dict[str, str] = field(default_factory=dict)

    def stages(self) -> dict[str, float]:
        """Seconds of ``read`` and ``prepare``: of all threads together, over their number."""
        count = self.profile.threads or 1
        return {
            "read": self.meter.reading_s / count,
            "prepare": (self.meter.working_s - self.meter.reading_s) / count,
        }


@dataclass(frozen=True)
class Cost:
    """Cost of reading a box from a source.

    Attributes
    ----------
    bytes : float
        Decoded, of the whole box.
    observations : int
        Items, or dates, at most.
    """

    bytes: float = 0.0
    observations: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.bytes + other.bytes, self.observations + other.observations)


class NotReadyError(RsscaleError):
    """A tile of an earlier step that a tile reads has not been computed, or is no longer valid."""

    exit_code = 1


class Source(Protocol):
    """Something that a pass reads, by boxes of the grid's pixels: imagery, layers, a file.

    What ``read`` returns of a pixel must not depend on the box that was asked for.
    """

    def read(self, box: PixelBox, key: TileKey, resources: Resources) -> xr.Dataset:
        """The values over a box for a key's span and level; may be lazy, for strips."""

    def digest(self, box: PixelBox, key: TileKey) -> str:
        """Hash of all that :meth:`read` could return: it changes when that does.

        Raises
        ------
        NotReadyError
            When something that it reads has not been computed yet.
        """

    def inputs(self, box: PixelBox, key: TileKey) -> Sequence[str]:
        """Names of what is read, for the ledger: ids of items, or nothing."""

    def cost(self, box: PixelBox, key: TileKey) -> Cost:
        """Cost of reading the box, without reading."""


@dataclass(frozen=True)
class Block:
    """Input of a pass: one tile, and its sources around it.

    Attributes
    ----------
    key : TileKey
    grid : Grid
        The pixels, at the key's level.
    core : PixelBox
        What the pass answers for.
    around : PixelBox
        Core and halo: what the inputs cover.
    inputs : mapping of source name to Dataset
        Over ``around``; values as they are stored, with ``nodata`` among the attributes.
    where : bool array (y, x)
        Pixels of the core inside the area. The engine writes nodata into all layers elsewhere,
        where the pass is masked.
    resources : Resources
    """

    key: TileKey
    grid: Grid
    core: PixelBox
    around: PixelBox
    inputs: Mapping[str, xr.Dataset]
    where: npt.NDArray[np.bool_]
    resources: Resources

    @property
    def inside(self) -> tuple[slice, slice]:
        """Rows and columns of the core in arrays over ``around``."""
        return self.core.slices(self.around)

    def dataset(
        self, layers: Iterable[Layer], values: Mapping[str, npt.NDArray[Any]]
    ) -> xr.Dataset:
        """Values over the core as a Dataset with coordinates, in the layers' order and types."""
        return over_box(layers, values, self.grid, self.core)


@dataclass(frozen=True)
class Result:
    """Result of a pass for a tile.

    Attributes
    ----------
    layers : Dataset, optional
        ``(y, x)`` or ``(axis, y, x)`` over the core: the pass's layers, no more and no less.
    table : pyarrow.Table, optional
        Rows of the pass's schema.
    facts : mapping of str to number
        Of those that the pass declares; one that is left out or None does not count.
    seconds : mapping of stage to float
        Where the time went, apart from reading and writing, which the engine takes.
    """

    layers: xr.Dataset | None = None
    table: pa.Table | None = None
    facts: Mapping[str, float | None] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


def over_box(
    layers: Iterable[Layer], values: Mapping[str, npt.NDArray[Any]], grid: Grid, box: PixelBox
) -> xr.Dataset:
    """Arrays over a box of a grid as a Dataset with coordinates and the layers' attributes."""
    from odc.geo.xr import xr_coords  # brings rasterio

    coords = xr_coords(grid.geobox_of(box), always_yx=True)
    return layers_dataset(layers, values, {str(name): coord for name, coord in coords.items()})


def layers_dataset(
    layers: Iterable[Layer], values: Mapping[str, Any], coords: Mapping[str, Any]
) -> xr.Dataset:
    """Arrays as a Dataset with the layers' attributes, in their order.

    Parameters
    ----------
    layers : iterable of Layer
    values : mapping of name to array
        ``(y, x)`` or ``(axis, y, x)``; lazy ones stay so.
    coords : mapping
        ``y``, ``x`` and ``spatial_ref``; those of the layers' axes are added.
    """
    layers = tuple(layers)
    axes = {layer.axis.name: np.array(layer.axis.values) for layer in layers if layer.axis}
    arrays = {
        layer.name: xr.DataArray(
            values[layer.name],
            dims=layer.dims(),
            attrs={**layer.attributes, "nodata": layer.nodata, "grid_mapping": "spatial_ref"},
        )
        for layer in layers
    }
    return xr.Dataset(arrays, coords={**coords, **axes})
