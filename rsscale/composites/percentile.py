"""Percentiles of float32 values by a sorting network: median, percentiles, minimum, maximum.

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

Observations = list[torch.Tensor]
"""Values of one band, ``(pixels,)`` for each observation."""


def percentile(values: Observations, valid: Validity, percent: int) -> torch.Tensor:
    """A percentile of the valid values, linear between ranks as ``numpy.percentile``.

    Parameters
    ----------
    values : list of torch.Tensor
        Per observation, ``(pixels,)`` float32 of one band; overwritten.
    valid : Validity
        Which of them count.
    percent : int
        From 0 to 100; 50 is the median, the mean of the middle two of an even number.
    """
    if not values:
        return torch.zeros(valid.count.shape, device=valid.device)
    # High percentiles are low ones of the negated values: then invalid observations, infinite,
    # are always last, and only the few smallest need sorting.
    mirrored = percent > 50
    if mirrored:
        for observation in values:
            observation.neg_()
    reduced = (_complete if valid.is_complete else _gated)(
        values, valid, min(percent, 100 - percent)
    )
    return reduced.neg_() if mirrored else reduced


def _complete(values: Observations, valid: Validity, percent: int) -> torch.Tensor:
    """Where all observations are valid: equal ranks at every pixel, arithmetic as in `_gated`."""
    below, share, last = rank(percent, len(valid.invalid))
    if last == 0:
        return _least(values)
    _sort(values, last + 1)
    if below == last:
        return values[below]
    if percent == 50:
        return values[below].add_(values[last]).mul_(0.5)
    return values[below].add_(values[last].sub_(values[below]).mul_(float(np.float32(share))))


def rank(percent: int, observations: int) -> tuple[int, float, int]:
    """Rank below a percentile, share of the way to the next rank, and rank above, from 0."""
    span = percent * (observations - 1)
    return span // 100, span % 100 / 100, -(-span // 100)


def _gated(values: Observations, valid: Validity, percent: int) -> torch.Tensor:
    """Where the number of valid observations differs between pixels."""
    for observation, penalty in zip(values, valid.penalty, strict=True):
        observation.add_(penalty)
    gates = _gates(valid, percent)
    if not gates.pairs:
        return _least(values)
    _sort(values, len(gates.pairs) + 1)
    return _between(values, gates, halves=percent == 50)


@dataclass(frozen=True)
class _Gates:
    """Terms of minima and maxima that select the ranks below and above a percentile.

    Attributes
    ----------
    pairs : list of (torch.Tensor, torch.Tensor)
        Per rank from 1, for the percentile's lower and upper rank: +inf where that rank is >= r,
        else -inf; ``max(min(sorted[r], gate))`` over r then selects the value at the rank.
    share : torch.Tensor
        Position of the percentile between the two, 0 to 1, float32.
    """

    pairs: list[tuple[torch.Tensor, torch.Tensor]]
    share: torch.Tensor


def _gates(valid: Validity, percent: int) -> _Gates:
    """Gates of a strip, computed once for all its bands."""
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
    """Gates of each rank from 1, for the lower and the upper rank, and each pixel's share.

    A gate is ``most`` where the percentile's rank is that rank or higher, else ``least``, a NumPy
    scalar of the same type; see :class:`_Gates`.
    """
    # A pixel's ranks depend on its number of observations alone: one table for all numbers.
    ranks = [rank(percent, max(count, 1)) for count in range(len(valid.invalid) + 1)]
    below, share, above = map(np.array, zip(*ranks, strict=True))
    number = valid.count.astype(np.intp)

    def look_up(of_numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return of_numbers.take(number, mode="clip")  # unchecked: it can't be beyond

    pairs = [
        (look_up(np.where(below >= r, most, least)), look_up(np.where(above >= r, most, least)))
        for r in range(1, above[-1] + 1)
    ]
    return pairs, look_up(share.astype("float32"))


def _least(values: Observations) -> torch.Tensor:
    least = values[0]
    for observation in values[1:]:
        torch.minimum(least, observation, out=least)
    return least


def _sort(values: Observations, ranks: int) -> None:
    """Put the ``ranks`` smallest in order; the others come after them in any order."""
    spare = torch.empty_like(values[0])
    for low, high in sorting_network(len(values), ranks):
        torch.minimum(values[low], values[high], out=spare)
        torch.maximum(values[low], values[high], out=values[high])
        values[low], spare = spare, values[low]


def _between(values: Observations, gates: _Gates, *, halves: bool) -> torch.Tensor:
    """Interpolate between the ranks below and above: by halves, or by each pixel's share."""
    below, above, spare = values[0].clone(), values[0].clone(), torch.empty_like(values[0])
    # Ranks rise in value, so the highest one that a gate lets through is the maximum.
    for ranked, (below_gate, above_gate) in zip(values[1:], gates.pairs, strict=False):
        torch.maximum(below, torch.minimum(ranked, below_gate, out=spare), out=below)
        torch.maximum(above, torch.minimum(ranked, above_gate, out=spare), out=above)
    if halves:  # the mean is exact where both are the same
        return below.add_(above).mul_(0.5)
    # Without any observation both are infinite and the difference NaN, as the result has to be.
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
