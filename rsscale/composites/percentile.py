"""Reducers that ask for ranks: median, percentiles, least and greatest.

All pixels of a strip are sorted at once by a network of minima and maxima. It gives the
values of a sort of each pixel at a fraction of its cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rsscale.composites.validity import Validity

Looks = list[torch.Tensor]


def percentile(values: Looks, valid: Validity, percent: int) -> torch.Tensor:
    """A percentile of the valid values, linear between ranks as ``numpy.percentile``.

    Parameters
    ----------
    values : list of torch.Tensor
        Per look, ``(pixels,)`` float32 of one band; they are used up.
    valid : Validity
        Which of them count.
    percent : int
        From 0 to 100; 50 is the median, the mean of the middle two of an even number.
    """
    if not values:
        return torch.zeros(valid.count.shape, device=valid.device)
    # High percentiles are low ones of the negated values: then invalid looks, infinite, are
    # always last, and only the few smallest need sorting.
    mirrored = percent > 50
    if mirrored:
        for look in values:
            look.neg_()
    reduced = (_complete if valid.is_complete else _gated)(
        values, valid, min(percent, 100 - percent)
    )
    return reduced.neg_() if mirrored else reduced


def _complete(values: Looks, valid: Validity, percent: int) -> torch.Tensor:
    """Where all looks are valid every pixel has the same ranks; the same arithmetic as gated."""
    below, share, last = rank(percent, len(valid.invalid))
    if last == 0:
        return _least(values)
    _sort(values, last + 1)
    if below == last:
        return values[below]
    if percent == 50:
        return values[below].add_(values[last]).mul_(0.5)
    return values[below].add_(values[last].sub_(values[below]).mul_(float(np.float32(share))))


def rank(percent: int, looks: int) -> tuple[int, float, int]:
    """The rank below a percentile, how far it is from there to the next, and the rank above."""
    span = percent * (looks - 1)
    return span // 100, span % 100 / 100, -(-span // 100)


def _gated(values: Looks, valid: Validity, percent: int) -> torch.Tensor:
    """Where each pixel has its own number of looks."""
    for look, missing in zip(values, valid.missing, strict=True):
        look.add_(missing)
    gates = _gates(valid, percent)
    if not gates.pairs:
        return _least(values)
    _sort(values, len(gates.pairs) + 1)
    return _between(values, gates, halves=percent == 50)


@dataclass(frozen=True)
class _Gates:
    """Which ranks a percentile lies between, as terms for minima and maxima.

    Attributes
    ----------
    pairs : list of (torch.Tensor, torch.Tensor)
        Per rank from 1: infinity where the rank below, or above, the percentile is of that
        rank or more; else minus infinity.
    share : torch.Tensor
        How far from the one to the other, float32.
    """

    pairs: list[tuple[torch.Tensor, torch.Tensor]]
    share: torch.Tensor


def _gates(valid: Validity, percent: int) -> _Gates:
    """Gates of a strip, made once for all its bands."""
    if percent not in valid.shared:
        plus, minus = np.float32(np.inf), np.float32(-np.inf)
        pairs, share = pixel_gates(valid, percent, minus, plus)
        on_device = [(_tensor(below, valid), _tensor(above, valid)) for below, above in pairs]
        valid.shared[percent] = _Gates(on_device, _tensor(share, valid))
    gates: _Gates = valid.shared[percent]
    return gates


def _tensor(numbers: npt.NDArray[Any], valid: Validity) -> torch.Tensor:
    return torch.from_numpy(numbers).to(valid.device)


def pixel_gates(
    valid: Validity, percent: int, least: Any, most: Any
) -> tuple[list[tuple[npt.NDArray[Any], npt.NDArray[Any]]], npt.NDArray[np.float32]]:
    """For each rank from 1: ``most`` where the ranks below, and above, are that or more.

    Elsewhere ``least``, a NumPy scalar of the same type; and each pixel's share between its ranks.
    """
    # Its number of looks decides of a pixel: all is worked out for each number, and looked up.
    ranks = [rank(percent, max(looks, 1)) for looks in range(len(valid.invalid) + 1)]
    below, share, above = map(np.array, zip(*ranks, strict=True))
    number = valid.count.astype(np.intp)

    def look_up(of_numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return of_numbers.take(number, mode="clip")  # unchecked: it can't be beyond

    pairs = [
        (look_up(np.where(below >= r, most, least)), look_up(np.where(above >= r, most, least)))
        for r in range(1, above[-1] + 1)
    ]
    return pairs, look_up(share.astype("float32"))


def _least(values: Looks) -> torch.Tensor:
    least = values[0]
    for look in values[1:]:
        torch.minimum(least, look, out=least)
    return least


def _sort(values: Looks, ranks: int) -> None:
    """Put the ``ranks`` smallest in order; the others come after them in any order."""
    spare = torch.empty_like(values[0])
    for low, high in sorting_network(len(values), ranks):
        torch.minimum(values[low], values[high], out=spare)
        torch.maximum(values[low], values[high], out=values[high])
        values[low], spare = spare, values[low]


def _between(values: Looks, gates: _Gates, *, halves: bool) -> torch.Tensor:
    """Between the ranks below and above: their mean, or a share of the way up."""
    below, above, spare = values[0].clone(), values[0].clone(), torch.empty_like(values[0])
    # Ranks rise in value, so the highest one that a gate lets through is the maximum.
    for ranked, (below_gate, above_gate) in zip(values[1:], gates.pairs, strict=False):
        torch.maximum(below, torch.minimum(ranked, below_gate, out=spare), out=below)
        torch.maximum(above, torch.minimum(ranked, above_gate, out=spare), out=above)
    if halves:  # the mean is exact where both are the same
        return below.add_(above).mul_(0.5)
    # Without any look both are infinite and the difference NaN, as the result has to be.
    return below.add_(above.sub_(below).mul_(gates.share))


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
