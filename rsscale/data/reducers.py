"""Reduces the looks of a block of pixels with torch, a strip of pixels at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

# Pixels a strip. A dozen looks of a strip stay in the second-level cache, and torch runs an
# elementwise operation of this many elements (at::internal::GRAIN_SIZE) in the calling
# thread: more would start a team of OpenMP threads in each of Dask's threads.
STRIP = 32768

_Looks = list[torch.Tensor]


def reduce_looks(
    block: npt.NDArray[Any],
    *,
    looks: Sequence[Sequence[int]],
    scale: npt.NDArray[np.float32],
    offset: npt.NDArray[np.float32],
    fill: float,
    reducer: str,
) -> npt.NDArray[np.float32]:
    """Reduce one block.

    Parameters
    ----------
    block : numpy.ndarray
        ``(T, B, h, w)``, the numbers of the files.
    looks : sequence of sequence of int
        The looks of each window, indices into T in their canonical order.
    scale, offset : numpy.ndarray
        ``(T, B)`` float32.
    fill : float
        Nodata of the block; NaN and infinity are nodata in any case.
    reducer : str
        A key of :data:`REDUCERS`.

    Returns
    -------
    numpy.ndarray
        ``(windows, B + 1, h, w)`` float32: the bands, NaN without a valid look, and then
        the number of valid looks, at most 254.
    """
    bands, height, width = block.shape[1:]
    flat = block.reshape(block.shape[0], bands, height * width)
    out = np.empty((len(looks), bands + 1, height * width), "float32")
    reduce = REDUCERS[reducer]
    for window, chosen in enumerate(looks):
        for start in range(0, height * width, STRIP):
            strip = slice(start, min(start + STRIP, height * width))
            valid = _Validity.of([flat[look, :, strip] for look in chosen], fill, strip)
            out[window, bands, strip] = np.minimum(valid.count, 254)
            for band in range(bands):
                values = [
                    _physical(flat[look, band, strip], scale[look, band], offset[look, band])
                    for look in chosen
                ]
                reduced = reduce(values, valid).add_(valid.blank)
                torch.from_numpy(out[window, band, strip]).copy_(reduced)
    return out.reshape(len(looks), bands + 1, height, width)


@dataclass
class _Validity:
    """Which looks of a strip count, as terms to add and multiply.

    Arithmetic with these runs at memory speed; a masked fill costs as much as thirty
    comparators, and these are shared by all bands.

    Attributes
    ----------
    count : numpy.ndarray
        ``(pixels,)`` int16, number of valid looks.
    missing : list of torch.Tensor
        Per look, 0 where it is valid and infinity where not.
    """

    count: npt.NDArray[np.int16]
    missing: list[torch.Tensor]

    @classmethod
    def of(cls, looks: Sequence[npt.NDArray[Any]], fill: float, strip: slice) -> _Validity:
        invalid = [_invalid(look, fill) for look in looks]
        count = np.full(strip.stop - strip.start, len(looks), "int16")
        for look in invalid:
            count -= look
        return cls(count, [_switch(look, np.inf, 0.0) for look in invalid])

    @cached_property
    def weight(self) -> list[torch.Tensor]:
        """Per look, 1 where it is valid and 0 where not."""
        return [(look == 0).float() for look in self.missing]

    @cached_property
    def blank(self) -> torch.Tensor:
        """0, and NaN where no look is valid."""
        return _switch(self.count == 0, np.nan, 0.0)

    @cached_property
    def gates(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Per rank from 1, infinity where the (lower, upper) middle is of that rank or more.

        With n looks the middle two have the ranks (n - 1) // 2 and n // 2; else minus infinity.
        """
        return [
            (
                _switch(self.count > 2 * rank, np.inf, -np.inf),
                _switch(self.count >= 2 * rank, np.inf, -np.inf),
            )
            for rank in range(1, len(self.missing) // 2 + 1)
        ]


def _switch(where: npt.NDArray[np.bool_], yes: float, no: float) -> torch.Tensor:
    return torch.from_numpy(np.where(where, np.float32(yes), np.float32(no)))


def _invalid(look: npt.NDArray[Any], fill: float) -> npt.NDArray[np.bool_]:
    """Where any band of a look ``(B, pixels)`` is nodata."""
    invalid = np.zeros(look.shape[1], bool)
    for band in look:
        if band.dtype.kind == "f":
            invalid |= ~np.isfinite(band)
        if not np.isnan(fill):
            invalid |= band == band.dtype.type(fill)
    return invalid


def _physical(numbers: npt.NDArray[Any], scale: np.float32, offset: np.float32) -> torch.Tensor:
    values = numbers.astype("float32")
    if numbers.dtype.kind == "f":  # what is not finite must not survive a product with zero
        np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    values *= scale
    values += offset
    return torch.from_numpy(values)


def _median(values: _Looks, valid: _Validity) -> torch.Tensor:
    """The middle of the valid values, or the mean of the middle two.

    Invalid looks become infinite and so end up last; a sorting network then brings the
    looks in order, all pixels at once. It gives the values of a sort of each pixel at a
    fraction of its cost.
    """
    if not values:
        return torch.zeros(valid.count.shape)
    for look, missing in zip(values, valid.missing, strict=True):
        look.add_(missing)
    spare = torch.empty_like(values[0])
    for low, high in sorting_network(len(values), len(values) // 2 + 1):
        torch.minimum(values[low], values[high], out=spare)
        torch.maximum(values[low], values[high], out=values[high])
        values[low], spare = spare, values[low]
    lower, upper = values[0].clone(), values[0].clone()
    # Ranks rise in value, so the highest one that a gate lets through is the maximum.
    for ranked, (lower_gate, upper_gate) in zip(values[1:], valid.gates, strict=False):
        torch.maximum(lower, torch.minimum(ranked, lower_gate, out=spare), out=lower)
        torch.maximum(upper, torch.minimum(ranked, upper_gate, out=spare), out=upper)
    return (lower.add_(upper)).mul_(0.5)


def _mean(values: _Looks, valid: _Validity) -> torch.Tensor:
    """Sum in the looks' order over their number; a look without data adds exactly zero."""
    total = torch.zeros(valid.count.shape, dtype=torch.float64)
    for look, weight in zip(values, valid.weight, strict=True):
        total += look.mul_(weight)
    return total.div_(torch.from_numpy(np.maximum(valid.count, 1))).float()


@lru_cache(maxsize=256)
def sorting_network(size: int, ranks: int) -> tuple[tuple[int, int], ...]:
    """Comparators ``(i, j)``, i < j, that put the ``ranks`` smallest of ``size`` in order.

    Batcher's merge exchange (Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M),
    without the comparators that those ranks do not depend on.
    """
    pairs: list[tuple[int, int]] = []
    top = 1 << max((size - 1).bit_length() - 1, 0)
    p = top
    while p > 0:
        q, r, d = top, 0, p
        while True:
            pairs += [(i, i + d) for i in range(size - d) if i & p == r]
            if q == p:
                break
            d, q, r = q - p, q // 2, p
        p //= 2
    wanted = set(range(ranks))
    needed = []
    for low, high in reversed(pairs):
        if low in wanted or high in wanted:
            wanted |= {low, high}
            needed.append((low, high))
    return tuple(reversed(needed))


REDUCERS: dict[str, Callable[[_Looks, _Validity], torch.Tensor]] = {
    "median": _median,
    "mean": _mean,
}
