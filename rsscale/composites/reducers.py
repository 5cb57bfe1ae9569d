"""Reduce the observations of a block of pixels with torch, a strip of pixels at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rsscale.composites.geomedian import geomedian, medoid, picked
from rsscale.composites.percentile import Observations, percentile
from rsscale.composites.percentile_int import have_one_scale, number_percentile
from rsscale.composites.reducer_names import percent_of
from rsscale.composites.validity import Validity, physical
from rsscale.memory import mmap_array

# Pixels a strip. A dozen scenes of a strip stay in the second-level cache, and torch runs an
# elementwise operation of this many elements (at::internal::GRAIN_SIZE) in the calling
# thread: more would start a team of OpenMP threads in each of Dask's threads.
STRIP = 32768
# NumPy starts no threads, and takes the interpreter's lock after each operation: with strips of
# 32768 two threads took longer than one, with these half as long.
NUMBER_STRIP = 4 * STRIP
# An accelerator is faster with few large calls.
DEVICE_STRIP = 1 << 20


@dataclass(frozen=True)
class _Strip:
    """Observations of some pixels; iterating gives the values of band after band.

    Attributes
    ----------
    numbers : sequence of sequence of numpy.ndarray
        ``(pixels,)``, of each observation, of each band.
    scale, offset : numpy.ndarray
        ``(observations, bands)`` float32.
    device : torch.device
    """

    numbers: Sequence[Sequence[npt.NDArray[Any]]]
    scale: npt.NDArray[np.float32]
    offset: npt.NDArray[np.float32]
    device: torch.device

    def __iter__(self) -> Iterator[Observations]:
        return map(self.values, range(self.scale.shape[1]))

    def values(self, band: int) -> Observations:
        """Physical values of each observation."""
        return [
            physical(observation[band], scale, offset, self.device)
            for observation, scale, offset in zip(
                self.numbers, self.scale[:, band], self.offset[:, band], strict=True
            )
        ]

    def percentile(self, band: int, valid: Validity, percent: int) -> _Reduced:
        """Percentile by the integers where they are ordered as the values are, else by these."""
        numbers = [observation[band] for observation in self.numbers]
        scale, offset = self.scale[:, band], self.offset[:, band]
        if _are_whole(numbers[0], self.device) and have_one_scale(scale, offset):
            return number_percentile(numbers, valid, percent, scale[0], offset[0])
        return percentile(self.values(band), valid, percent)


def _are_whole(numbers: npt.NDArray[Any], device: torch.device) -> bool:
    return numbers.dtype.kind in "iu" and device.type == "cpu"


_Reduced = torch.Tensor | npt.NDArray[np.float32]
Reducer = Callable[[_Strip, Validity], Iterable[_Reduced]]


def reduce_observations(
    planes: Sequence[Sequence[npt.NDArray[Any]]],
    *,
    shape: tuple[int, int],
    scenes: Sequence[Sequence[int]],
    scale: npt.NDArray[np.float32],
    offset: npt.NDArray[np.float32],
    fill: float,
    reducer: str,
    device: str = "cpu",
) -> npt.NDArray[np.float32]:
    """Reduce the observations of some pixels.

    Parameters
    ----------
    planes : sequence of sequence of numpy.ndarray
        ``(h * w,)``, the numbers of the files: of each of T scenes, of each of B bands.
    shape : (int, int)
        Height and width.
    scenes : sequence of sequence of int
        Scenes of each window, indices into T, in canonical order; for ``"best-pixel"``, the
        best first.
    scale, offset : numpy.ndarray
        ``(T, B)`` float32.
    fill : float
        Nodata of the numbers; NaN and infinity are nodata in any case.
    reducer : str
        One of :data:`rsscale.composites.reducer_names.REDUCERS`, or a percentile.
    device : str
        A torch device.

    Returns
    -------
    numpy.ndarray
        ``(windows, B + 1, h, w)`` float32: the bands, NaN without a valid observation, and then
        the number of valid observations, at most 254.
    """
    bands, pixels = len(planes[0]), math.prod(shape)
    out = mmap_array((len(scenes), bands + 1, pixels), "float32")
    reduce, where = _reducer(reducer), torch.device(device)
    step = STRIP if where.type == "cpu" else DEVICE_STRIP
    of_numbers = percent_of(reducer) is not None and _are_whole(planes[0][0], where)
    if of_numbers and all(map(have_one_scale, scale.T, offset.T)):
        step = NUMBER_STRIP

    for window, chosen in enumerate(scenes):
        for start in range(0, pixels, step):
            strip = slice(start, min(start + step, pixels))
            cut = [[plane[strip] for plane in planes[scene]] for scene in chosen]
            valid = Validity.of(cut, fill, strip.stop - strip.start, where)
            seen, valid = valid.without_blank(chosen)
            out[window, bands, strip] = np.minimum(valid.count, 254)
            if not seen:
                out[window, :bands, strip] = np.nan
                continue
            numbers = [[plane[strip] for plane in planes[scene]] for scene in seen]
            of_seen = _Strip(numbers, scale[seen], offset[seen], where)
            for band, reduced in enumerate(reduce(of_seen, valid)):
                _add(reduced, valid.blank, out[window, band, strip])
    return out.reshape(len(scenes), bands + 1, *shape)


def _add(reduced: _Reduced, blank: torch.Tensor, out: npt.NDArray[np.float32]) -> None:
    if isinstance(reduced, torch.Tensor):
        torch.from_numpy(out).copy_(reduced.add_(blank))
    else:
        np.add(reduced, blank.numpy(), out=out)


def _reducer(name: str) -> Reducer:
    """The function of a reducer's name."""
    percent = percent_of(name)
    if percent is not None:
        return partial(_percentiles, percent=percent)
    return _OTHERS[name]


def _percentiles(strip: _Strip, valid: Validity, percent: int) -> Iterator[_Reduced]:
    bands = range(strip.scale.shape[1])
    return (strip.percentile(band, valid, percent) for band in bands)


def _each_band(reduce: Callable[[Observations, Validity], torch.Tensor]) -> Reducer:
    """Make a reducer that holds one band at a time in memory."""
    return lambda bands, valid: (reduce(values, valid) for values in bands)


def _mean(values: Observations, valid: Validity) -> torch.Tensor:
    """Sum in canonical order over the number; an invalid observation adds exactly zero."""
    total = torch.zeros(valid.count.shape, dtype=torch.float64, device=valid.device)
    for observation, weight in zip(values, valid.weight, strict=True):
        total += observation.mul_(weight)
    return total.div_(valid.number).float()


def _first(values: Observations, valid: Validity) -> torch.Tensor:
    return picked(values, valid.first, valid)


_OTHERS: dict[str, Reducer] = {
    "mean": _each_band(_mean),
    "best-pixel": _each_band(_first),
    "medoid": medoid,
    "geomedian": geomedian,
}
