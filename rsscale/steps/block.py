"""Inputs and result of a pass for one tile, and the protocol of sources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import xarray as xr

from rsscale.cluster.profile import NumericProfile
from rsscale.errors import RsscaleError, nearest
from rsscale.geo.grid import Grid
from rsscale.geo.lattice import PixelBox
from rsscale.inference.constant_pixels import ConstantPixels
from rsscale.layers import Layer, TileKey
from rsscale.read.stage_timer import StageTimer

if TYPE_CHECKING:
    import pyarrow as pa


# Pixels that coordinates may be off, which single precision and other tools round.
_SAME_PIXEL = 0.25


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
    constant : ConstantPixels
        Counts likewise observations that are the same number in all bands.
    """

    profile: NumericProfile
    meter: StageTimer = field(default_factory=StageTimer)
    unreadable: dict[str, str] = field(default_factory=dict)
    constant: ConstantPixels = field(default_factory=ConstantPixels)

    def stages(self) -> dict[str, float]:
        """Seconds of ``read`` and ``prepare``: of all threads together, over their number."""
        count = self.profile.threads or 1
        return {
            "read": self.meter.reading_s / count,
            # Work is counted when it ends, so that a read of work under way may be ahead of it.
            "prepare": max(self.meter.working_s - self.meter.reading_s, 0.0) / count,
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


class Unstored:
    """What all sources have in common whose content no run has stored, in a preview."""

    step: Any
    """The step that is read, by whose name it is told."""

    def digest(self, box: PixelBox, key: TileKey) -> str:
        """Nothing is stored, so that nothing is hashed."""
        del box, key
        return ""

    def inputs(self, box: PixelBox, key: TileKey) -> Sequence[str]:
        """The step's name."""
        del box, key
        return [self.step.step]

    def cost(self, box: PixelBox, key: TileKey) -> Cost:
        """The sources that the step itself reads; nothing of a gather, whose rows are small."""
        sources = getattr(self.step, "sources", {})
        return sum((source.cost(box, key) for source in sources.values()), Cost())


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
        """Values over the core as a Dataset with coordinates, in the layers' order.

        Parameters
        ----------
        layers : iterable of Layer
        values : mapping of name to array
            One for each layer, ``(y, x)`` or ``(axis, y, x)`` over the core: without the halo, so
            ``array[block.inside]`` of one over ``around``. A DataArray's axes are taken by name.

        Raises
        ------
        RsscaleError
            When a layer is missing, an array belongs to none, or has another shape or place.
        """
        layers = tuple(layers)
        step, declared = self.key.step, [layer.name for layer in layers]
        for name in declared:
            if name not in values:
                raise RsscaleError(
                    f"step {step!r} gave block.dataset no array for layer {name!r}, only for "
                    f"{', '.join(map(str, values)) or 'none'}; give one for each declared layer"
                )
        for name in values:
            if name not in declared:
                raise RsscaleError(
                    f"step {step!r} gave block.dataset an array {name!r}, declared are the layers "
                    f"{', '.join(declared)}{nearest(str(name), declared)}"
                )
        arrays = {layer.name: self._over_core(layer, values[layer.name]) for layer in layers}
        return over_box(layers, arrays, self.grid, self.core)

    def _over_core(self, layer: Layer, values: Any) -> Any:
        """The array of a layer, by position; refused where it is not over the core."""
        place = f"step {self.key.step!r} gave layer {layer.name!r}"
        if isinstance(values, xr.DataArray):
            values = by_name(values, layer, place)
            refuse_misplaced(values, layer, centres(self.grid, self.core), place)
            values = values.data
        wanted, given = layer.shape(*self.core.shape), np.shape(values)
        if given != wanted:
            around = layer.shape(*self.around.shape)
            remedy = "give array[block.inside]" if layer.axis is None else "crop it by block.inside"
            hint = f" (this has the halo: {remedy})" if given == around else ""
            raise RsscaleError(
                f"{place} as {given}, expected is {wanted}: the tile without its halo{hint}"
            )
        return values


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


def centres(grid: Grid, box: PixelBox) -> dict[str, npt.NDArray[Any]]:
    """Coordinates ``y`` and ``x`` of the pixels of a box: their centres, north first."""
    height, width = box.shape
    to_crs = grid.geobox_of(box).affine
    return {
        "y": to_crs.f + to_crs.e * (np.arange(height) + 0.5),
        "x": to_crs.c + to_crs.a * (np.arange(width) + 0.5),
    }


def by_name(array: xr.DataArray, layer: Layer, place: str) -> xr.DataArray:
    """The array with its axes in the layer's order, which their names tell.

    Raises
    ------
    RsscaleError
        When it has other dimensions.
    """
    if set(array.dims) != set(layer.dims()):
        dims = ", ".join(map(str, array.dims))
        raise RsscaleError(
            f"{place} with the dimensions ({dims}), expected are ({', '.join(layer.dims())})"
        )
    return array.transpose(*layer.dims())


def refuse_misplaced(
    array: xr.DataArray, layer: Layer, places: Mapping[str, npt.NDArray[Any]], place: str
) -> None:
    """Refuse an array whose coordinates say that its pixels lie elsewhere, or in another order.

    Parameters
    ----------
    array : DataArray
        Of the layer's dimensions. Those without coordinates are taken by position.
    layer : Layer
    places : mapping of dimension to array
        The coordinates that it should have.
    place : str
        Begins the message: which step and layer.

    Raises
    ------
    RsscaleError
    """
    axes = {} if layer.axis is None else {layer.axis.name: np.array(layer.axis.values)}
    for dim, expected in {**places, **axes}.items():
        if dim not in array.coords or array[dim].dims != (dim,):
            continue
        given = array[dim].values
        # Text along an axis, or fractions, are names of ours to nobody: only numbers compare.
        if dim in axes and (given.dtype.kind not in "iuf" or (given % 1 != 0).any()):
            continue
        if given.dtype.kind in "iuf" and given.shape == expected.shape:
            step = abs(expected[1] - expected[0]) if len(expected) > 1 else 1.0
            if (np.abs(given - expected) <= _SAME_PIXEL * step).all():
                continue
        raise RsscaleError(
            f"{place} with {dim} from {_ends(given)}, expected is {_ends(expected)}: its pixels "
            "are stored by their position, so give them in the order of the tile"
        )


def _ends(values: npt.NDArray[Any]) -> str:
    return f"{values[0]} to {values[-1]} ({len(values)})" if len(values) else "nothing (0)"


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
