"""Sources of a second date as a first one would have it: moved onto it, in its digital numbers.

They read as what they are made of, with the same coordinates, chunks and types: whatever reads
imagery or layers reads them. What decides values beside the pixels, a gathered shift or gains, is
in their digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from rsscale.coregistration.resample import REACH, nearest, translate
from rsscale.geo.lattice import PixelBox
from rsscale.layers import TileKey
from rsscale.steps.base import Cost, Resources, Source

Gains = Mapping[str, tuple[float, float]]
"""Gain and offset of a second date by band."""


@dataclass(frozen=True)
class RegisteredSource:
    """A source whose pixels are moved by the shift that was found, so that it is taken back.

    Attributes
    ----------
    of : Source
        The second date.
    shift : Source or (float, float)
        A table of one row with ``dx`` and ``dy``, px, or both of them.
    most : int
        Pixels: no shift is greater, along rows or columns.
    moves : bool
        False: read as it is. The table is waited for all the same, since it is refused where both
        dates show different places; its numbers decide no value.
    """

    of: Source
    shift: Source | tuple[float, float]
    most: int
    moves: bool = True

    @property
    def reach(self) -> int:
        """Pixels beyond a box that are read of ``of``."""
        return self.most + REACH if self.moves else 0

    def read(self, box: PixelBox, key: TileKey, resources: Resources) -> xr.Dataset:
        """What ``of`` reads, moved; lazy where it is."""
        dataset = self.of.read(box.pad(self.reach), key, resources)
        if not self.moves:
            return dataset
        if isinstance(self.shift, tuple):
            dx, dy = self.shift
        else:
            table = self.shift.read(box, key, resources)
            dx, dy = (float(table[name].values[0]) for name in ("dx", "dy"))
        return moved(dataset, dx, dy, self.reach)

    def digest(self, box: PixelBox, key: TileKey) -> str:
        """Hash of what is moved, and of how far."""
        own = self.of.digest(box.pad(self.reach), key)
        how = repr(self.shift) if isinstance(self.shift, tuple) else self.shift.digest(box, key)
        if not self.moves:
            return own
        return hashlib.sha256(f"{own}\nmoved {how}".encode()).hexdigest()[:16]

    def inputs(self, box: PixelBox, key: TileKey) -> Sequence[str]:
        """Those of ``of``."""
        return self.of.inputs(box.pad(self.reach), key)

    def cost(self, box: PixelBox, key: TileKey) -> Cost:
        """That of ``of``, with what is read around."""
        return self.of.cost(box.pad(self.reach), key)


@dataclass(frozen=True)
class NormalisedSource:
    """Imagery whose digital numbers are brought to those of another date, band by band.

    Attributes
    ----------
    of : Source
        Reads ``composite`` ``(time, band, y, x)``.
    gains : Source or mapping of band to (float, float)
        A table with ``gain`` and ``offset``, a row for each band of each time in order, or those of
        each band by its name, for all times.
    bands : tuple of str
        That the table is of.
    reach : int
        0: a value depends on its own pixel.
    """

    of: Source
    gains: Source | Gains
    bands: tuple[str, ...]
    reach: int = 0

    def read(self, box: PixelBox, key: TileKey, resources: Resources) -> xr.Dataset:
        """What ``of`` reads, with ``gain * value + offset``; of the table's bands alone."""
        dataset = self.of.read(box, key, resources)
        composite = dataset["composite"].sel(band=list(self.bands))
        if isinstance(self.gains, Mapping):
            by_band = np.array([self.gains[band] for band in self.bands])
            both = np.tile(by_band, (composite.sizes["time"], 1, 1))
        else:
            table = self.gains.read(box, key, resources)
            flat = np.stack([table[name].values for name in ("gain", "offset")], axis=-1)
            both = flat.reshape(composite.sizes["time"], len(self.bands), 2)
        gain, offset = (
            xr.DataArray(both[..., number].astype(np.float32), dims=("time", "band"))
            for number in (0, 1)
        )
        values = composite * gain + offset
        normalised = composite.copy(data=values.transpose(*composite.dims).data)
        return normalised.to_dataset(name="composite")

    def digest(self, box: PixelBox, key: TileKey) -> str:
        """Hash of what is read, and of gains and offsets."""
        if isinstance(self.gains, Mapping):
            how = repr(sorted(self.gains.items()))
        else:
            how = self.gains.digest(box, key)
        parts = [self.of.digest(box, key), "normalised", *self.bands, how]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def inputs(self, box: PixelBox, key: TileKey) -> Sequence[str]:
        """Those of ``of``."""
        return self.of.inputs(box, key)

    def cost(self, box: PixelBox, key: TileKey) -> Cost:
        """That of ``of``."""
        return self.of.cost(box, key)


def moved(dataset: xr.Dataset, dx: float, dy: float, margin: int) -> xr.Dataset:
    """A Dataset without its margin, each value from ``(dx, dy)`` pixels away.

    Quantities are interpolated, NaN and nodata kept; classes and counts are those of the nearest
    pixel. Lazy variables stay so.

    Parameters
    ----------
    dataset : Dataset
        Variables ``(..., y, x)``, with ``nodata`` among the attributes of those of integers.
    dx, dy : float
        Pixels along columns and down.
    margin : int
        Pixels on every side, enough for the shift: see
        :func:`rsscale.coregistration.resample.reach_of`.
    """
    inside = slice(margin, -margin)
    core = dataset.isel(y=inside, x=inside)
    variables = {name: _moved(dataset[name], core[name], dx, dy, margin) for name in dataset}
    coords = {
        name: _moved(coord, core[name], dx, dy, margin).variable
        for name, coord in dataset.coords.items()
        if coord.dims[-2:] == ("y", "x")
    }
    return core.assign(variables).assign_coords(coords)


def _moved(
    array: xr.DataArray, inner: xr.DataArray, dx: float, dy: float, margin: int
) -> xr.DataArray:
    if array.dims[-2:] != ("y", "x"):
        return array
    is_count = array.dtype.kind in "iub"
    is_class = "flag_values" in array.attrs or "nodata" not in array.attrs
    if is_count and is_class:
        return inner.copy(data=nearest(array.data, dx, dy, margin))
    if array.chunks is None:
        return inner.copy(data=_values(array.values, dx, dy, margin, array.attrs.get("nodata")))
    return inner.copy(data=_lazily(array.data, inner.data, dx, dy, margin))


def _values(
    values: npt.NDArray[Any], dx: float, dy: float, margin: int, nodata: float | None
) -> npt.NDArray[Any]:
    """Moved quantities, of their own type: stored integers are rounded again."""
    if values.dtype.kind == "f" and (nodata is None or np.isnan(nodata)):
        return translate(values, dx, dy, margin).astype(values.dtype, copy=False)
    known = np.where(values == nodata, np.nan, values.astype(np.float32))
    quantities = translate(known, dx, dy, margin)
    missing = np.isnan(quantities)
    if values.dtype.kind in "iu":
        limits = np.iinfo(values.dtype)
        quantities = np.rint(quantities).clip(limits.min, limits.max)
    filled: npt.NDArray[Any] = np.where(missing, 0, quantities).astype(values.dtype)
    filled[missing] = nodata
    return filled


def _lazily(data: Any, inner: Any, dx: float, dy: float, margin: int) -> Any:
    """A Dask array moved chunk by chunk, each with the pixels around that it needs."""
    import dask.array as da

    rows, cols = (list(pairwise(accumulate(inner.chunks[axis], initial=0))) for axis in (-2, -1))

    def piece(top: int, bottom: int, left: int, right: int) -> Any:
        around = data[..., top : bottom + 2 * margin, left : right + 2 * margin]
        whole = around.rechunk({around.ndim - 2: -1, around.ndim - 1: -1})
        chunks = (*whole.chunks[:-2], (bottom - top,), (right - left,))
        return whole.map_blocks(translate, dx, dy, margin, dtype=np.float32, chunks=chunks)

    return da.block([[piece(*row, *col) for col in cols] for row in rows])
