"""Stack composites as a network's channels window by window, without copying all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import xarray as xr

from rsscale.geo.lattice import PixelBox
from rsscale.model.spec import ModelSpec

MAX_OBSERVATIONS = 254
"""Where the count of clear observations saturates; 255 is nodata."""

# Temporaries of this size stay in a core's cache, and below what the allocator hands back to
# the kernel at every release.
_CACHE_BYTES = 4 << 20


def rows_in_cache(row_bytes: int) -> int:
    """Rows to work on at once, at least one, that take ``row_bytes`` each."""
    return max(_CACHE_BYTES // max(row_bytes, 1), 1)


def strips(box: PixelBox, rows: int) -> Iterator[PixelBox]:
    """A box from top to bottom in pieces of at most ``rows`` rows; none of an empty box."""
    if box.empty:
        return
    for top in range(box.row0, box.row1, rows):
        yield PixelBox(top, box.col0, min(top + rows, box.row1), box.col1)


class InputStack:
    """The inputs of a model over one box.

    Parameters
    ----------
    inputs : mapping of input name to DataArray
        ``(time, band, y, x)`` in memory, NaN where missing, all of one shape; ``observations``
        ``(time, y, x)`` counts clear observations.
    spec : ModelSpec
        Its order of inputs and bands.
    box : PixelBox
        What they cover, in global pixels.
    """

    def __init__(self, inputs: Mapping[str, xr.DataArray], spec: ModelSpec, box: PixelBox) -> None:
        self.box = box
        self._observations: list[npt.NDArray[np.integer]] = []
        # In the order of rsscale.model.layout.stack_channels: input, time, band.
        self._planes: list[np.ndarray] = []
        counted: list[bool] = []
        for model_input in spec.inputs:
            array = inputs[model_input.name]
            names = [str(name) for name in array["band"].values]
            planes = [
                time[names.index(band)] for time in array.values for band in model_input.bands
            ]
            self._planes += planes
            counted += [_counts_observations(array)] * len(planes)
            if _counts_observations(array):
                self._observations += list(array["observations"].values)
        # An input without observations, such as elevation, is known everywhere: it must not make a
        # class of what no sensor saw. When no input counts its observations, all channels tell.
        self._telling = [
            plane
            for plane, tells in zip(self._planes, counted, strict=True)
            if tells or not any(counted)
        ]

    def __len__(self) -> int:
        return len(self._planes)

    def fill(self, out: npt.NDArray[np.float32], box: PixelBox) -> None:
        """Copy a box into ``out`` ``(channel, row, col)``, NaN where there is nothing to copy."""
        inside = box & self.box
        if inside != box:
            out.fill(np.nan)
        if inside.empty:
            return
        into, source = inside.slices(box), inside.slices(self.box)
        for channel, plane in zip(out, self._planes, strict=True):
            np.copyto(channel[into], plane[source], casting="same_kind")

    def seen(self, box: PixelBox) -> npt.NDArray[np.bool_]:
        """Pixels ``(row, col)`` of a box at which some sensor saw something."""
        out = np.zeros(box.shape, bool)
        for strip in strips(box & self.box, rows_in_cache(4 * box.shape[1])):
            part = out[strip.slices(box)]
            for plane in self._telling:
                part |= np.isfinite(plane[strip.slices(self.box)])
                if part.all():  # mostly after the first
                    break
        return out

    def observations(self, box: PixelBox) -> npt.NDArray[np.uint8]:
        """Clear observations ``(row, col)`` over all inputs and time windows, at most 254."""
        out = np.zeros(box.shape, np.uint8)
        for strip in strips(box & self.box, rows_in_cache(4 * box.shape[1])):
            total = np.zeros(strip.shape, np.int32)
            for plane in self._observations:
                total += plane[strip.slices(self.box)]
            out[strip.slices(box)] = np.minimum(total, MAX_OBSERVATIONS)
        return out


def _counts_observations(array: xr.DataArray) -> bool:
    return "observations" in array.coords
