"""Stack composites as a network's channels window by window, without copying all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from rsscale.errors import ModelError
from rsscale.geo.lattice import PixelBox
from rsscale.inference.sampled_values import SampledValues
from rsscale.model.model_input import DAYS, ModelInput
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


_SAMPLED = 16


@dataclass(frozen=True)
class WindowPlanes:
    """The planes that one window of a model is made of.

    Attributes
    ----------
    planes : list of array or None
        One ``(row, col)`` for each channel; None for a blank of a series.
    days : mapping of input name to array
        Day of the year of each time ``(T,)``, 0 for blanks; of the inputs that take days.
    """

    planes: list[npt.NDArray[Any] | None]
    days: dict[str, npt.NDArray[np.float32]]


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
        self._inputs = [InputPlanes(inputs[i.name], i) for i in spec.inputs]
        self._observations = [plane for part in self._inputs for plane in part.observations]
        # An input without observations, such as elevation, is known everywhere: it must not make a
        # class of what no sensor saw. When no input counts its observations, all channels tell.
        counted = any(part.counts for part in self._inputs)
        each = spec.seen == "all"
        telling = [
            [plane for time in part.times for plane in time]
            for part in self._inputs
            if part.counts or not counted or each
        ]
        # Of each group of planes one must have a value at a pixel.
        self._telling = telling if each else [list(chain(*telling))]
        self._is_fixed = not any(i.series for i in spec.inputs)
        self._fixed = self._choose(box) if self._is_fixed else None

    def choose(self, window: PixelBox) -> WindowPlanes:
        """The planes of a window: all of a composite, the observations of a series within it."""
        return self._fixed or self._choose(window)

    def _choose(self, window: PixelBox) -> WindowPlanes:
        inside = (window & self.box).slices(self.box)
        planes: list[npt.NDArray[Any] | None] = []
        days = {}
        for part in self._inputs:
            chosen = part.choose(inside)
            planes += part.planes(chosen)
            if part.takes_days:
                days[part.name] = part.days(chosen)
        return WindowPlanes(planes, days)

    def fill(self, out: npt.NDArray[np.float32], box: PixelBox, chosen: WindowPlanes) -> None:
        """Copy a box into ``out`` ``(channel, row, col)``, NaN where there is nothing to copy."""
        inside = box & self.box
        if inside != box:
            out.fill(np.nan)
        if inside.empty:
            return
        into, source = inside.slices(box), inside.slices(self.box)
        for channel, plane in zip(out, chosen.planes, strict=True):
            if plane is None:
                channel.fill(np.nan)
            else:
                np.copyto(channel[into], plane[source], casting="same_kind")

    def seen(self, box: PixelBox) -> npt.NDArray[np.bool_]:
        """Pixels ``(row, col)`` of a box at which some sensor saw something, or each of them did.

        The contract says which (``seen``).
        """
        out = np.zeros(box.shape, bool)
        for strip in strips(box & self.box, rows_in_cache(4 * box.shape[1])):
            place = strip.slices(self.box)
            groups = [_any_known([plane[place] for plane in group]) for group in self._telling]
            out[strip.slices(box)] = np.logical_and.reduce(groups)
        return out

    def sampled_values(self) -> SampledValues:
        """Of every sixteenth pixel of every sixteenth row: values beside those of the training."""
        total = SampledValues()
        for part in self._inputs:
            total += part.sampled_values()
        return total

    def observations(self, box: PixelBox) -> npt.NDArray[np.uint8]:
        """Clear observations ``(row, col)`` over all inputs and time windows, at most 254."""
        out = np.zeros(box.shape, np.uint8)
        for strip in strips(box & self.box, rows_in_cache(4 * box.shape[1])):
            total = np.zeros(strip.shape, np.int32)
            for plane in self._observations:
                total += plane[strip.slices(self.box)]
            out[strip.slices(box)] = np.minimum(total, MAX_OBSERVATIONS)
        return out


def _any_known(planes: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
    """Pixels at which one of some planes has a value."""
    known: npt.NDArray[np.bool_] = np.isfinite(planes[0])
    for plane in planes[1:]:
        if known.all():  # mostly after the first
            break
        known |= np.isfinite(plane)
    return known


class InputPlanes:
    """One input of a stack as planes ``(row, col)``, in the model's order of bands."""

    def __init__(self, array: xr.DataArray, model_input: ModelInput) -> None:
        names = [str(name) for name in array["band"].values]
        order = [names.index(band) for band in model_input.bands]
        self._input = model_input
        self.name, self.takes_days = model_input.name, DAYS in model_input.takes
        self.times = [[time[index] for index in order] for time in array.values]
        self.counts = "observations" in array.coords
        self.observations = list(array["observations"].values) if self.counts else []
        self._days = days_of_year(array) if self.takes_days else np.zeros(0, np.float32)

    def choose(self, inside: tuple[slice, slice]) -> list[int | None]:
        """Numbers of the times that a window sees; None for a blank.

        Of a series: each observation with a known pixel in the window, in order. Where there are
        more than the network takes, those with most known pixels; of equals the earlier ones.
        """
        if not self._input.series:
            return list(range(len(self.times)))
        known = np.array([self._known(number, inside) for number in range(len(self.times))], int)
        most = np.argsort(-known, kind="stable")[: self._input.series]
        chosen = sorted(int(number) for number in most if known[number])
        return [*chosen, *[None] * (self._input.series - len(chosen))]

    def _known(self, number: int, inside: tuple[slice, slice]) -> int:
        """Known pixels of an observation in part of the box."""
        if self.counts:
            return int(np.count_nonzero(self.observations[number][inside]))
        return int(np.isfinite(self.times[number][0][inside]).sum())

    def sampled_values(self) -> SampledValues:
        """See :meth:`InputStack.sampled_values`; none of an input that is given as it is."""
        total = SampledValues()
        if not self._input.is_scaled:
            return total
        scaling = zip(self._input.bands, self._input.mean, self._input.std, strict=True)
        for number, (band, mean, std) in enumerate(scaling):
            for planes in self.times:
                sample = planes[number][::_SAMPLED, ::_SAMPLED]
                total += SampledValues.of_band(f"{self.name}.{band}", sample, mean, std)
        return total

    def planes(self, chosen: Sequence[int | None]) -> list[npt.NDArray[Any] | None]:
        """Planes of the chosen times: band by band of each."""
        blank: list[npt.NDArray[Any] | None] = [None] * len(self._input.bands)
        return [
            plane
            for number in chosen
            for plane in (blank if number is None else self.times[number])
        ]

    def days(self, chosen: Sequence[int | None]) -> npt.NDArray[np.float32]:
        """Day of the year of the chosen times, 1 to 366; 0 for blanks."""
        days = [0.0 if number is None else self._days[number] for number in chosen]
        return np.array(days, np.float32)


def days_of_year(array: xr.DataArray) -> npt.NDArray[np.float32]:
    """Day of the year of each time of an input, 1 to 366.

    Raises
    ------
    ModelError
        When it has no dates.
    """
    if "time" not in array.coords or array["time"].dtype.kind != "M":
        raise ModelError(
            "a model takes the day of the year of its input's times, and the input has no dates; "
            "give its dimension 'time' datetimes as a coordinate"
        )
    return array["time"].dt.dayofyear.values.astype(np.float32)
